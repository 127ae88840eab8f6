"""Scenes of the shared script, on connections: how they end, and how the client comes back."""

import base64
import json

from tabletap.realtime.frames import text_frame

from .stage import Stage

EPOCH_S = 1_700_000_000


def jwt(lifetime_s: int) -> str:
    """A token that says when it runs out, and nothing else."""
    claims = base64.urlsafe_b64encode(json.dumps({"exp": EPOCH_S + lifetime_s}).encode()).rstrip(b"=").decode()
    return f"head.{claims}.{lifetime_s}"


async def after_these_close_codes_it_goes_on_where_it_was(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    for offset, code in enumerate((1000, 1001, 1002, 1007, 1009, 1011, 1012, 1013, 4008, 4029, 4999), 11):
        await line.events(offset)
        await stage.client.heard(*range(11, offset + 1))
        await line.close(code, "why")
        line = await stage.goes_on(offset, head=offset)
        waited = [told["code"] for told in stage.client.told if told.get("status") == "waiting"]
        assert waited[-1] == code


async def after_these_close_codes_it_stays_away(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    stage.client.do("perform", n=1, op="ping", timeout_ms=None, repeatable=True)
    await line.hears("ping")
    await line.close(4003, "no business here")
    assert (await stage.client.until(lambda told: "denied" in told))["denied"] == 4003
    assert (await stage.client.status("stopped"))["code"] == 4003
    assert await stage.client.settled(1) == {"denied": 4003}
    await stage.client.advance(3_600_000)
    await stage.peer.nobody_knocks()
    stage.client.do("perform", n=2, op="ping", timeout_ms=None)
    assert await stage.client.settled(2) == {"denied": 4003}


async def a_breach_of_policy_keeps_it_away(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.close(1008)
    assert (await stage.client.until(lambda told: "denied" in told))["denied"] == 1008
    await stage.client.advance(3_600_000)
    await stage.peer.nobody_knocks()


async def with_one_token_its_end_is_the_end(stage: Stage) -> None:
    stage.begin("old")
    line = await stage.open(10)
    await line.close(4001, "the token has expired")
    assert (await stage.client.until(lambda told: "denied" in told))["denied"] == 4001
    await stage.peer.nobody_knocks()


async def where_there_are_fresh_tokens_the_next_connection_has_one(stage: Stage) -> None:
    stage.begin("old", "new", "newest")
    knock = await stage.peer.knock()
    assert knock.token == "old"
    line = await knock.accept()
    await line.welcome(10)
    await line.events(11)
    await stage.client.heard(11)
    await line.drop()
    knock = await stage.comes_back()
    assert knock.token == "old"
    line = await knock.accept()
    await line.welcome(11)
    await stage.client.status("live", 2)
    await line.close(4001)
    knock = await stage.comes_back()
    assert (knock.token, knock.after) == ("new", 11)
    line = await knock.accept()
    await line.welcome(12)
    await line.subscribed(11)
    await line.events(12)
    await stage.client.heard(11, 12)


async def a_token_is_renewed_in_band_before_it_runs_out(stage: Stage) -> None:
    stage.begin(jwt(300), jwt(900), jwt(1800))
    knock = await stage.peer.knock()
    assert knock.token == jwt(300)
    line = await knock.accept()
    await line.welcome(10, heartbeat_ms=1_000_000)
    await stage.client.status("live")
    await stage.client.advance(239_000)
    await line.hears_nothing_more()
    await stage.client.advance(1_001)
    asked = await line.hears("auth")
    assert asked["token"] == jwt(900)
    await line.say(type="reply", id=asked["id"], data={"expiresAt": "2023-11-14T22:28:20Z"})
    await line.events(11)
    await stage.client.heard(11)
    await stage.client.advance(600_001)
    asked = await line.hears("auth")
    assert asked["token"] == jwt(1800)
    await line.drop()
    assert (await stage.comes_back()).token == jwt(900)  # nobody knows whether the newest was taken


async def a_silent_server_is_left(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10, heartbeat_ms=2_000)
    await line.events(11)
    await stage.client.heard(11)
    await stage.client.advance(4_900)
    await line.heartbeat(11)
    await line.hears_nothing_more()
    await stage.client.advance(4_900)
    await stage.client.figures()
    assert stage.client.told[-3].get("status") != "waiting"
    await stage.client.advance(200)
    await line.ended()
    line = await stage.goes_on(11, head=12)
    await line.events(12)
    await stage.client.heard(11, 12)


async def a_server_that_never_welcomes_is_left(stage: Stage) -> None:
    stage.begin()
    line = await (await stage.peer.knock()).accept()
    await line.say(type="weather")
    await line.hears_nothing_more()
    await stage.client.advance(10_001)
    await line.ended()
    await stage.comes_back()


async def what_is_no_message_ends_the_connection_and_loses_nothing(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    garbage = ("{", "", "[]", "null", "5", '"x"', "{}", '{"type":5}', '{"type":"order_updated","offset":"x"}', "\0")
    for offset, text in enumerate(garbage, 11):
        await line.events(offset)
        await line.text(text)
        await line.ended()
        line = await stage.goes_on(offset, head=offset)
    await stage.client.heard(*range(11, 11 + len(garbage)))


async def what_no_frame_may_be_ends_the_connection_and_loses_nothing(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    frames = (
        b"\xc1\x02{}",  # a reserved bit
        b"\x83\x00",  # an opcode that does not exist
        b"\x81\x82\0\0\0\0{}",  # masked
        b"\x80\x00",  # a continuation of nothing
        b"\x81\x02\xc3\x28",  # not UTF-8
        b"\x09\x00",  # a ping in pieces
        b"\x88\x01\x03",  # half a close code
    )
    for offset, frame in enumerate(frames, 11):
        await line.events(offset)
        await stage.client.heard(*range(11, offset + 1))
        await line.raw(frame)
        await line.ended()
        line = await stage.goes_on(offset, head=offset)


async def a_message_without_bounds_ends_the_connection_and_loses_nothing(stage: Stage) -> None:
    stage.begin(max_message=4096)
    line = await stage.open(10)
    await line.events(11)
    await stage.client.heard(11)
    await line.event(12, text="x" * 5000)
    await line.ended()
    line = await stage.goes_on(11, head=12)
    await line.events(12)
    await stage.client.heard(11, 12)


async def what_a_newer_server_says_does_no_harm(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.say(type="weather", temperature=31)
    await line.raw(b"\x82\x02{}")  # a binary message
    await line.raw(b"\x89\x02hi")
    await line.raw(b"\x8a\x00")
    await line.say(type="heartbeat", offset=10, mood="good")
    await line.event(11, kind="order_sung", song="x")
    await line.say(type="error", code="UNKNOWN_OPERATION", error="what?")
    await stage.client.heard(11)
    assert stage.client.told[-1]["event"][2:] == ["order_sung", {"song": "x"}]


async def a_message_in_many_pieces_is_one(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    whole = text_frame(b'{"type":"order_updated","room":"cafe:demo:kitchen","offset":11,"eventId":"e","data":{}}')[2:]
    await line.raw(b"\x01\x05" + whole[:5])
    await line.raw(b"\x89\x00")
    await line.raw(b"\x00\x00")
    await line.raw(b"\x80" + bytes([len(whole) - 5]) + whole[5:])
    await stage.client.heard(11)


async def a_door_that_is_shut_for_now_is_knocked_at_less_and_less(stage: Stage) -> None:
    stage.begin()
    pauses = []
    knock = await stage.peer.knock()
    for status in (429, 503, 500, 502, 504, 429, 503):
        await knock.refuse(status, Retry_After="7")
        knock = await stage.comes_back()
        waiting = [told for told in stage.client.told if told.get("status") == "waiting"][-1]
        pauses.append(waiting["pauseMs"])
        assert waiting["code"] == (status if stage.client.sees_handshakes else 1006)
    alone = 10_500 if stage.client.sees_handshakes else 0  # and at random as long again
    assert pauses == [alone + pause for pause in (250, 500, 1000, 2000, 4000, 8000, 10_000)]
    line = await knock.accept()
    await line.welcome(10)
    await line.events(11)
    await stage.client.heard(11)


async def a_server_that_asks_to_be_left_alone_is(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    for reason, alone_ms in (("retry_after=4", 6000), ("too many, retry_after=2 or so", 3000), ("retry_after=soon", 0)):
        tries = len([told for told in stage.client.told if told.get("status") == "waiting"])
        await line.close(1013, reason)
        line = await stage.goes_on(10, head=10)
        waiting = [told for told in stage.client.told if told.get("status") == "waiting"][-1]
        assert waiting["pauseMs"] == alone_ms + 250 * 2**tries


async def a_server_asks_to_be_left_alone_for_minutes_at_most(stage: Stage) -> None:
    stage.begin(random=0.0)
    line = await stage.open(10)
    await line.close(1013, "retry_after=999999999")
    assert (await stage.client.status("waiting"))["pauseMs"] == 300_000
    await stage.goes_on(10, head=10)


async def a_door_that_stays_shut_is_left_where_one_is_told(stage: Stage) -> None:
    stage.begin()
    await (await stage.peer.knock()).refuse(401)
    if stage.client.sees_handshakes:
        assert (await stage.client.until(lambda told: "denied" in told))["denied"] == 401
        await stage.client.advance(3_600_000)
        await stage.peer.nobody_knocks()
    else:  # it is not told why: it says so, and its user asks by REST
        await stage.client.until(lambda told: told.get("unopened") == 1)
        await (await stage.comes_back()).refuse(401)
        await stage.client.until(lambda told: told.get("unopened") == 2)


async def a_token_that_is_refused_at_the_door_is_replaced(stage: Stage) -> None:
    stage.begin("old", "new", "newest")
    await (await stage.peer.knock()).refuse(401)
    knock = await stage.comes_back()
    assert knock.token == "new"
    line = await knock.accept()
    await line.welcome(10)
    await line.events(11)
    await stage.client.heard(11)


async def a_server_that_is_away_is_found_again(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11)
    await stage.client.heard(11)
    await stage.peer.away()
    await line.drop()
    pauses = []
    for tries in range(1, 9):
        waiting = await stage.client.status("waiting", tries)
        pauses.append(waiting["pauseMs"])
        if tries == 8:
            await stage.peer.here()
        await stage.client.advance(waiting["pauseMs"] + 1)
    assert pauses == [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]
    knock = await stage.peer.knock()
    assert knock.after == 11
    line = await knock.accept()
    await line.welcome(12)
    await line.subscribed(11)
    await line.events(12)
    await stage.client.heard(11, 12)


async def pauses_are_short_again_after_a_connection_that_lasted(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    for _ in range(3):
        await line.drop()
        line = await stage.goes_on(10, head=10)
    await stage.client.status("live", 4)
    await stage.client.advance(5_000)
    await line.drop()
    await stage.goes_on(10, head=10)
    pauses = [told["pauseMs"] for told in stage.client.told if told.get("status") == "waiting"]
    assert pauses == [250, 500, 1000, 250]


async def all_of_a_pause_is_chance(stage: Stage) -> None:
    stage.begin(random=0.004)
    line = await stage.open(10)
    await line.drop()
    assert (await stage.client.status("waiting"))["pauseMs"] == 2
    await stage.goes_on(10, head=10)


async def who_talks_too_much_waits_longer(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    await line.close(4029)
    assert (await stage.client.status("waiting"))["pauseMs"] == 4000


async def an_answer_to_another_clients_handshake_is_none(stage: Stage) -> None:
    stage.begin()
    line = await (await stage.peer.knock()).accept(wrongly=True)
    await line.ended()
    line = await (await stage.comes_back()).accept()
    await line.welcome(10)
    await line.events(11)
    await stage.client.heard(11)
