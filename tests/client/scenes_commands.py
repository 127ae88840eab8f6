"""Scenes of the shared script, on commands: each is settled once, and done at most once more than it was asked."""

from .stage import Stage

KEY = "7c4f9ed8-3c86-4d8a-9d8b-4b1f1f0f7c55"


async def _live(stage: Stage):  # type: ignore[no-untyped-def]
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    return line


async def a_command_is_answered(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=None, data={"items": []}, key=KEY)
    asked = await line.hears("orders.place")
    assert (asked["data"], asked["idempotencyKey"]) == ({"items": []}, KEY)
    await line.say(type="reply", id=asked["id"], data={"number": 7})
    assert await stage.client.settled(1) == {"ok": {"number": 7}}


async def answers_find_who_asked_in_whatever_order_they_come(stage: Stage) -> None:
    line = await _live(stage)
    asked = []
    for n in range(3):
        stage.client.do("perform", n=n, op="ping", timeout_ms=None)
        asked.append(await line.hears("ping"))
    for n in (2, 0, 1):
        await line.say(type="reply", id=asked[n]["id"], data=n)
    for n in range(3):
        assert await stage.client.settled(n) == {"ok": n}


async def an_answer_that_comes_twice_settles_once(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="ping", timeout_ms=None)
    asked = await line.hears("ping")
    await line.say(type="reply", id=asked["id"], data=1)
    await line.say(type="error", id=asked["id"], code="FORBIDDEN", error="no")
    await line.say(type="reply", id="nobody's", data=1)
    await line.say(type="reply", id=None, data=1)
    await line.events(11)
    await stage.client.heard(11)
    assert await stage.client.settled(1) == {"ok": 1}
    await stage.client.figures()
    assert stage.client.settled_times(1) == 1


async def an_answer_that_comes_too_late_changes_nothing(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.start", timeout_ms=5_000)
    asked = await line.hears("orders.start")
    await stage.client.advance(5_001)
    assert await stage.client.settled(1) == {"unanswered": True}
    await line.say(type="reply", id=asked["id"], data={})
    await line.events(11)
    await stage.client.heard(11)
    assert stage.client.settled_times(1) == 1


async def what_was_never_sent_was_not_done(stage: Stage) -> None:
    stage.begin()
    knock = await stage.peer.knock()
    stage.client.do("perform", n=1, op="orders.start", timeout_ms=5_000)
    await stage.client.advance(5_001)
    assert await stage.client.settled(1) == {"unanswered": False}
    line = await knock.accept()
    await line.welcome(10)
    await line.hears_nothing_more()


async def what_is_asked_without_a_connection_is_sent_with_the_next(stage: Stage) -> None:
    stage.begin()
    knock = await stage.peer.knock()
    stage.client.do("perform", n=1, op="orders.start", timeout_ms=None)
    line = await knock.accept()
    await line.welcome(10)
    asked = await line.hears("orders.start")
    await line.say(type="reply", id=asked["id"], data={})
    assert await stage.client.settled(1) == {"ok": {}}


async def a_command_with_a_key_is_sent_again_under_it(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="payments.verify", timeout_ms=None, key=KEY)
    await line.hears("payments.verify")
    await line.drop()
    line = await stage.goes_on(10, head=10)
    asked = await line.hears("payments.verify")
    assert asked["idempotencyKey"] == KEY
    await line.say(type="reply", id=asked["id"], data={"paid": 450})
    assert await stage.client.settled(1) == {"ok": {"paid": 450}}
    await line.hears_nothing_more()


async def a_command_without_a_key_is_not_sent_again(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=None)
    await line.hears("orders.place")
    await line.drop()
    assert await stage.client.settled(1) == {"unanswered": True}
    line = await stage.goes_on(10, head=10)
    await line.hears_nothing_more()


async def a_repeatable_command_is_sent_again(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.start", timeout_ms=None, repeatable=True)
    await line.hears("orders.start")
    await line.drop()
    line = await stage.goes_on(10, head=10)
    asked = await line.hears("orders.start")
    await line.say(type="reply", id=asked["id"], data={})
    assert await stage.client.settled(1) == {"ok": {}}


async def a_command_that_is_never_answered_ends_with_its_time(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="payments.verify", timeout_ms=9_000, key=KEY)
    await line.hears("payments.verify")
    await line.drop()
    line = await stage.goes_on(10, head=10)
    await line.hears("payments.verify")
    await stage.client.advance(9_000)
    assert await stage.client.settled(1) == {"unanswered": True}


async def a_refusal_is_told_and_nothing_is_sent_again(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=None, key=KEY)
    asked = await line.hears("orders.place")
    await line.say(type="error", id=asked["id"], code="KITCHEN_BUSY", error="later", errors=[])
    assert await stage.client.settled(1) == {"refused": "KITCHEN_BUSY"}
    await stage.client.advance(5_000)
    await line.hears_nothing_more()


async def what_was_not_done_for_now_is_tried_again(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=None)
    for code in ("OVERLOADED", "RATE_LIMIT_EXCEEDED", "NOT_EXECUTED"):
        asked = await line.hears("orders.place")
        await line.say(type="error", id=asked["id"], code=code, error="not now")
        await line.hears_nothing_more()
        await stage.client.advance(2_000)
    asked = await line.hears("orders.place")
    await line.say(type="reply", id=asked["id"], data={})
    assert await stage.client.settled(1) == {"ok": {}}


async def what_was_not_done_until_the_end_was_refused(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=3_000)
    asked = await line.hears("orders.place")
    await line.say(type="error", id=asked["id"], code="OVERLOADED", error="not now")
    await line.hears_nothing_more()
    await stage.client.advance(1_000)
    asked = await line.hears("orders.place")
    await line.say(type="error", id=asked["id"], code="OVERLOADED", error="not now")
    await line.hears_nothing_more()
    await stage.client.advance(2_001)
    assert await stage.client.settled(1) == {"refused": "OVERLOADED"}


async def an_unknown_outcome_is_asked_for_again_only_under_a_key(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=None)
    asked = await line.hears("orders.place")
    await line.say(type="error", id=asked["id"], code="OUTCOME_UNKNOWN", error="perhaps")
    assert await stage.client.settled(1) == {"unanswered": True}
    stage.client.do("perform", n=2, op="orders.place", timeout_ms=None, key=KEY)
    for code in ("OUTCOME_UNKNOWN", "DUPLICATE_IN_PROGRESS", "UNAVAILABLE"):
        asked = await line.hears("orders.place")
        assert asked["idempotencyKey"] == KEY
        await line.say(type="error", id=asked["id"], code=code, error="perhaps")
        await line.hears_nothing_more()
        await stage.client.advance(2_000)
    asked = await line.hears("orders.place")
    await line.say(type="reply", id=asked["id"], data={})
    assert await stage.client.settled(2) == {"ok": {}}


async def only_so_many_are_under_way_at_once(stage: Stage) -> None:
    line = await _live(stage)
    for n in range(20):
        stage.client.do("perform", n=n, op="ping", timeout_ms=None)
    asked = [await line.hears("ping") for _ in range(16)]
    await line.hears_nothing_more()
    for one in asked:
        await line.say(type="reply", id=one["id"], data=0)
    for _ in range(4):
        one = await line.hears("ping")
        await line.say(type="reply", id=one["id"], data=0)
    for n in range(20):
        assert await stage.client.settled(n) == {"ok": 0}


async def a_message_that_no_server_takes_is_not_sent(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=None, data={"note": "x" * 65_536})
    assert await stage.client.settled(1) == {"unanswered": False}
    await line.hears_nothing_more()


async def a_command_that_was_too_big_for_the_server_does_not_end_the_next_connection_too(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("perform", n=1, op="orders.place", timeout_ms=None, data={"note": "x" * 60_000}, key=KEY)
    await line.hears("orders.place")
    await line.close(1009)
    assert await stage.client.settled(1) == {"unanswered": True}
    line = await stage.goes_on(10, head=10)
    await line.hears_nothing_more()


async def an_ack_is_said_and_said_again_and_never_less(stage: Stage) -> None:
    line = await _live(stage)
    stage.client.do("ack", offset=11)
    assert (await line.hears("ack"))["offset"] == 11
    stage.client.do("ack", offset=9)
    stage.client.do("ack", offset=13)
    assert (await line.hears("ack"))["offset"] == 13
    await line.drop()
    await stage.client.status("waiting")
    stage.client.do("ack", offset=14)
    line = await stage.goes_on(10, head=14)
    assert (await line.hears("ack"))["offset"] == 14
    await line.hears_nothing_more()
