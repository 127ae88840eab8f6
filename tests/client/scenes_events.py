"""Scenes of the shared script, on events: each is told once and in order, or a resync is."""

from .stage import ROOM, Line, Stage

BEYOND = 2**53 - 1
CHECKS = {"check_every_ms": 60_000}
LATER_MS = 61_000
"""When, by dice of 0.5, a check is due that is made every 60 s."""


async def a_drop_in_mid_stream_is_resumed_after_the_last_event(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11, 12)
    await stage.client.heard(11, 12)
    await line.drop()
    line = await stage.goes_on(12, head=15)
    await line.events(13, 14, 15)
    await stage.client.heard(11, 12, 13, 14, 15)


async def a_frame_that_is_cut_is_told_whole_by_the_next_connection(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11)
    await stage.client.heard(11)
    await line.raw(b"\x81\x7e\x01\x00" + b'{"type":"order_updated","room":"')
    await line.drop()
    line = await stage.goes_on(11, head=12)
    await line.events(12)
    await stage.client.heard(11, 12)


async def before_anything_was_heard_the_welcomes_offset_is_resumed_from(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    await line.drop()
    line = await stage.goes_on(10, head=12)
    await line.events(11, 12)
    await stage.client.heard(11, 12)


async def an_offset_of_an_earlier_life_is_gone_on_from(stage: Stage) -> None:
    stage.begin(after=7)
    knock = await stage.peer.knock()
    assert knock.after == 7
    line = await knock.accept()
    await line.welcome(9)
    await line.subscribed(7)
    await line.events(8, 9)
    await stage.client.heard(8, 9)


async def an_event_that_is_told_twice_is_heard_once(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11, 11, 12, 11, 12, 13)
    await stage.client.heard(11, 12, 13)
    assert (await stage.client.figures())["repeated"] == 3


async def a_recovery_that_begins_too_early_repeats_nothing(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11, 13)
    await stage.client.heard(11, 13)
    await line.drop()
    line = await stage.goes_on(13, head=14)
    await line.events(11, 13, 14)
    await stage.client.heard(11, 13, 14)


async def two_events_may_share_an_offset(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.event(11, ident="evt_a")
    await line.event(11, ident="evt_b")
    await line.event(11, ident="evt_a")
    await line.event(12)
    await stage.client.heard(11, 11, 12)


async def a_loss_at_the_end_is_found_by_the_heartbeat_and_told(stage: Stage) -> None:
    stage.begin(**CHECKS)
    line = await stage.open(10)
    await line.events(11)  # and 12 and 13 are lost
    await stage.client.heard(11)
    await stage.client.advance(4_000)
    await line.heartbeat(13)
    await line.hears_nothing_more()  # it may have been another room's
    await _late_heartbeat(stage, line, 13)
    asked = await line.hears("subscribe")
    assert (asked["room"], asked["after"]) == (ROOM, 11)
    await line.subscribed(11, ident=asked["id"])
    await line.events(12, 13)
    await stage.client.heard(11, 12, 13)


async def a_loss_in_the_middle_ends_in_a_snapshot(stage: Stage) -> None:
    stage.begin(**CHECKS)
    line = await stage.open(10)
    await line.events(11, 13)
    await stage.client.heard(11, 13)
    await _late_heartbeat(stage, line, 13)
    asked = await line.hears("subscribe")
    assert asked["after"] == 11
    await line.subscribed(11, ident=asked["id"])
    await line.events(12, 13)
    again = await line.hears("subscribe")
    assert again["after"] == BEYOND
    await line.resync(13, ident=again["id"])
    await line.events(14)
    await stage.client.heard(11, 13, "resync 13", 14)
    assert (await stage.client.figures())["late"] == 1


async def what_comes_while_a_check_is_under_way_is_taken_from_its_answer(stage: Stage) -> None:
    stage.begin(**CHECKS)
    line = await stage.open(10)
    await line.events(11)
    await stage.client.heard(11)
    await _late_heartbeat(stage, line, 13)
    asked = await line.hears("subscribe")
    await line.events(14)  # live, before the server has read the question
    await line.subscribed(11, ident=asked["id"])
    await line.events(12, 13, 14)
    await stage.client.heard(11, 12, 13, 14)


async def offsets_jump_where_other_rooms_had_something_to_hear(stage: Stage) -> None:
    stage.begin(**CHECKS)
    line = await stage.open(10)
    await line.events(11, 14)
    await stage.client.heard(11, 14)
    await _late_heartbeat(stage, line, 16)
    asked = await line.hears("subscribe")
    await line.subscribed(11, ident=asked["id"])
    await line.events(14)
    await line.heartbeat(16)  # the recovery is over, and has found nothing
    await _late_heartbeat(stage, line, 16)
    await line.hears_nothing_more()
    await line.drop()
    line = await stage.goes_on(16, head=17)  # nothing between 14 and 16 was for this room
    await line.events(17)
    await stage.client.heard(11, 14, 17)
    assert await stage.client.figures() == {"repeated": 0, "late": 0, "resyncs": 0, "checks": 1}


async def an_event_that_comes_after_a_newer_one_ends_in_a_snapshot(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(12, 11, 13)
    asked = await line.hears("subscribe")
    assert asked["after"] == BEYOND
    await line.events(14)
    await line.resync(14, ident=asked["id"])
    await line.events(15)
    await stage.client.heard(12, "resync 14", 15)


async def a_snapshot_that_was_asked_for_is_asked_for_again_by_the_next_connection(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(12, 11)
    await line.hears("subscribe")
    await line.drop()
    knock = await stage.comes_back()
    assert knock.after == BEYOND
    line = await knock.accept()
    await line.welcome(14)
    await line.resync(14)
    await line.events(15)
    await stage.client.heard(12, "resync 14", 15)


async def a_snapshot_that_does_not_come_is_asked_for_again(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(12, 11)
    await line.hears("subscribe")
    await line.drop()
    knock = await stage.comes_back()
    line = await knock.accept()
    await line.welcome(14)
    await line.heartbeat(14)
    asked = await line.hears("subscribe")
    assert (asked["room"], asked["after"]) == (ROOM, BEYOND)
    await line.resync(14, ident=asked["id"])
    await stage.client.heard(12, "resync 14")


async def a_room_that_may_not_be_checked_is_left_in_peace(stage: Stage) -> None:
    stage.begin(**CHECKS)
    line = await stage.open(10)
    await line.events(11)
    await stage.client.heard(11)
    await _late_heartbeat(stage, line, 13)
    asked = await line.hears("subscribe")
    await line.say(type="error", id=asked["id"], code="TOO_MANY_SUBSCRIPTIONS", error="no")
    await line.ended()  # what came in between was not taken
    line = await stage.goes_on(11, head=13)
    await line.events(12)
    await stage.client.heard(11, 12)
    await _late_heartbeat(stage, line, 13)
    await line.hears_nothing_more()


async def a_resync_is_told_and_what_it_covers_is_not(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11)
    await stage.client.heard(11)
    await line.drop()
    knock = await stage.comes_back()
    line = await knock.accept()
    await line.welcome(500)
    await line.resync(500)
    await line.events(499, 500, 501)
    await stage.client.heard(11, "resync 500", 501)
    assert stage.client.told[-2]["resync"] == [ROOM, 500, {"at": 500}]


async def a_database_that_was_set_back_ends_in_a_snapshot(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11, 12)
    await stage.client.heard(11, 12)
    await line.heartbeat(5)
    asked = await line.hears("subscribe")
    await line.resync(5, ident=asked["id"])
    await line.events(6)
    await stage.client.heard(11, 12, "resync 5", 6)


async def a_recovery_that_begins_too_late_ends_in_a_snapshot(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await line.events(11)
    await stage.client.heard(11)
    await line.drop()
    line = await (await stage.comes_back()).accept()
    await line.welcome(20)
    await line.subscribed(19)
    asked = await line.hears("subscribe")
    assert asked["after"] == BEYOND
    await line.resync(20, ident=asked["id"])
    await stage.client.heard(11, "resync 20")


async def a_server_that_does_not_name_its_rooms_is_understood(stage: Stage) -> None:
    stage.begin()
    line = await (await stage.peer.knock()).accept()
    await line.welcome(10, rooms=None)
    await line.events(11, 12)
    await stage.client.heard(11, 12)
    await line.drop()
    line = await stage.goes_on(12, head=13)
    await line.events(13)
    await stage.client.heard(11, 12, 13)


# -- other rooms


async def another_room_is_gone_on_with_by_its_own_offset(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    stage.client.do("subscribe", room="order:1")
    asked = await line.hears("subscribe")
    assert (asked["room"], "after" in asked) == ("order:1", False)
    await line.subscribed(20, ident=asked["id"], room="order:1", recovered=False)
    await stage.client.until(lambda told: told.get("subscribed") == "order:1")
    await line.events(21, room="order:1")
    await line.events(22)
    await stage.client.heard(21, 22)
    await line.drop()
    line = await (await stage.comes_back()).accept()
    await line.welcome(30)
    asked = await line.hears("subscribe")
    assert (asked["room"], asked["after"]) == ("order:1", 21)
    await line.events(23, room="order:1")  # before it is asked: it will be told again
    await line.subscribed(21, ident=asked["id"], room="order:1")
    await line.events(23, 24, room="order:1")
    await stage.client.heard(21, 22, 23, 24)
    stage.client.do("unsubscribe", room="order:1")
    await line.hears("unsubscribe")
    await line.events(25, room="order:1")
    await line.events(26)
    await stage.client.heard(21, 22, 23, 24, 26)


async def a_room_that_is_not_ours_is_refused_to_who_asked(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    stage.client.do("subscribe", room="order:2")
    asked = await line.hears("subscribe")
    await line.say(type="error", id=asked["id"], code="FORBIDDEN", error="not yours")
    refused = await stage.client.until(lambda told: "subscribed" in told)
    assert refused["refused"] == "FORBIDDEN"


async def a_room_that_is_ours_no_more_is_told(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    stage.client.do("subscribe", room="order:1", after=10)
    asked = await line.hears("subscribe")
    await line.subscribed(10, ident=asked["id"], room="order:1")
    await line.events(11, room="order:1")
    await stage.client.heard(11)
    await line.drop()
    line = await (await stage.comes_back()).accept()
    await line.welcome(11)
    asked = await line.hears("subscribe")
    await line.say(type="error", id=asked["id"], code="FORBIDDEN", error="not yours any more")
    await stage.client.heard(11, "left order:1")


async def a_subscription_that_is_refused_for_now_is_tried_on_another_connection(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    stage.client.do("subscribe", room="order:1", after=10)
    asked = await line.hears("subscribe")
    await line.say(type="error", id=asked["id"], code="OVERLOADED", error="too many commands")
    await line.ended()
    line = await (await stage.comes_back()).accept()
    await line.welcome(11)
    asked = await line.hears("subscribe")
    await line.subscribed(10, ident=asked["id"], room="order:1")
    await line.events(11, room="order:1")
    await stage.client.heard(11)


async def a_subscription_that_is_not_answered_ends_the_connection(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    stage.client.do("subscribe", room="order:1", after=10)
    await line.hears("subscribe")
    for _ in range(4):
        await stage.client.advance(4_000)
        await line.heartbeat(10)
    await line.ended()
    knock = await stage.comes_back()
    assert knock.after == 10


async def a_flow_is_told_from_its_snapshot_on_and_its_events_share_offsets(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    stage.client.do("subscribe", room="flow:1")
    asked = await line.hears("subscribe")
    await line.resync(10, ident=asked["id"], room="flow:1")
    await line.event(10, room="flow:1", kind="job_started", ident="evt_a")
    await line.event(10, room="flow:1", kind="job_completed", ident="evt_b")
    await line.event(10, room="flow:1", kind="job_completed", ident="evt_b")
    await line.event(12, room="flow:1", kind="flow_completed", ident="evt_c")
    await stage.client.heard("resync 10", 10, 10, 12)


async def what_is_told_of_the_doors_is_in_no_log_and_shares_offsets(stage: Stage) -> None:
    stage.begin()
    line = await stage.open(10)
    await stage.client.status("live")
    for room, kind in (("presence", "presence_updated"), ("alerts", "alert_raised")):
        stage.client.do("subscribe", room=f"cafe:1:{room}")
        asked = await line.hears("subscribe")
        await line.subscribed(10, ident=asked["id"], room=f"cafe:1:{room}")
        for ident in ("a", "b", "b"):
            await line.event(10, room=f"cafe:1:{room}", kind=kind, ident=f"evt_{room}_{ident}")
    await line.event(10, room="cafe:1:announcements", kind="announcement", ident="evt_c")
    await stage.client.heard(10, 10, 10, 10, 10)


async def _late_heartbeat(stage: Stage, line: Line, newest: int) -> None:
    """A heartbeat when a check is due, without the silence that would end the connection."""
    for _ in range(LATER_MS // 10_000):
        await stage.client.advance(10_000)
        await line.say(type="weather")
        await line.hears_nothing_more()
    await stage.client.advance(LATER_MS % 10_000)
    await line.heartbeat(newest)
