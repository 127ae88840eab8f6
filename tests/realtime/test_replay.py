"""Into a room without a gap and without a repeat, however commits, publishing, memory and reconnects interleave."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from tabletap.actors.ports import Recorded
from tabletap.domain import events as e
from tabletap.domain.base import Event, OrderId
from tabletap.realtime.defaults import DefaultRooms
from tabletap.realtime.hub import Hub, HubLimits
from tabletap.realtime.replay import subscribe
from tabletap.realtime.rooms import RoomFull, RoomLimits

from .cafe_log import CAFE, FakeReader, FakeSession, ident, logged, placed
from .test_hub import running

STAFF = f"cafe:{CAFE}:staff"
KITCHEN = f"cafe:{CAFE}:kitchen"
MOVED = e.OrderTableMoved(OrderId(ident(1)), "7")
Snapshot = Callable[[], Awaitable[tuple[int, Any]]]


def snapshot_of(reader: FakeReader) -> Snapshot:
    async def take() -> tuple[int, Any]:
        offset = await reader.head(CAFE)
        return offset, {"orders": offset}

    return take


class House:
    """A hub over a log of which all but ``ring`` events are only in the database."""

    def __init__(
        self, records: list[Recorded], limits: HubLimits | None = None, rooms: RoomLimits | None = None
    ) -> None:
        self.reader = FakeReader(records)
        self.hub = Hub(limits, rooms, self.reader.tickets, self.reader.history)
        self.hub.publish(CAFE, records)

    async def subscribe(self, session: FakeSession, room: str, after: int | None, request_id: Any = 1) -> None:
        await subscribe(self.hub, self.reader, session, room, CAFE, after, request_id, snapshot_of(self.reader))  # type: ignore[arg-type]

    def commit(self, *events: Event) -> None:
        fresh = logged(*[r.event for r in self.reader.records], *events)[len(self.reader.records) :]
        self.reader.records.extend(fresh)
        self.hub.publish(CAFE, fresh)


LOG = logged(placed(1), *[MOVED] * 29)
SMALL = HubLimits(ring_events_per_cafe=8, replay_page_events=5, replay_chunk_bytes=300)


async def test_subscribing_without_an_offset_starts_at_the_head() -> None:
    house, session = House(LOG), FakeSession()
    await house.subscribe(session, STAFF, None)
    house.commit(MOVED)
    assert session.messages[0] == {"type": "subscribed", "id": 1, "room": STAFF, "offset": 30, "recovered": False}
    assert session.heard(STAFF) == [31]


@pytest.mark.parametrize("after", [0, 1, 7, 21, 22, 25, 29, 30])
async def test_what_was_missed_comes_after_the_answer_and_before_what_is_live(after: int) -> None:
    house, session = House(LOG, SMALL), FakeSession()
    await house.subscribe(session, STAFF, after)
    house.commit(MOVED)
    assert session.messages[0] == {"type": "subscribed", "id": 1, "room": STAFF, "offset": after, "recovered": True}
    assert session.heard(STAFF) == [*range(after + 1, 32)]
    assert (house.reader.log_reads > 0) == (after < 22)


async def test_recovery_from_memory_hands_every_client_the_same_frames() -> None:
    house, one, other = House(LOG), FakeSession(), FakeSession()
    await house.subscribe(one, STAFF, 5)
    await house.subscribe(other, STAFF, 5)
    assert all(a is b for a, b in zip(one.sent[1:], other.sent[1:], strict=True))


async def test_subscribing_again_with_an_offset_is_a_seek() -> None:
    house, session = House(LOG), FakeSession()
    await house.subscribe(session, STAFF, 28)
    await house.subscribe(session, STAFF, 27, "again")
    await house.subscribe(session, STAFF, None, "and again")
    house.commit(MOVED)
    assert session.heard(STAFF) == [29, 30, 28, 29, 30, 31]
    assert [m["id"] for m in session.messages if m["type"] == "subscribed"] == [1, "again", "and again"]


async def test_who_missed_too_much_gets_a_snapshot_and_goes_on_from_there() -> None:
    limits = HubLimits(ring_events_per_cafe=8, replay_events_max=10)
    house, session = House(LOG, limits), FakeSession()
    await house.subscribe(session, STAFF, 3)
    house.commit(MOVED)
    resync = {"type": "resync", "id": 1, "room": STAFF, "offset": 30, "snapshot": {"orders": 30}}
    assert session.messages[0] == resync
    assert session.heard(STAFF) == [31]
    assert house.reader.log_reads == 0


async def test_an_orders_room_counts_only_what_is_read_for_it() -> None:
    busy = logged(placed(1), *[e.OrderTableMoved(OrderId(ident(2)), str(n)) for n in range(40)], MOVED)
    house = House(busy, HubLimits(ring_events_per_cafe=1, replay_events_max=10))
    session, room = FakeSession(), f"order:{ident(1)}"
    await house.subscribe(session, room, 0)
    assert session.messages[0]["type"] == "subscribed"
    assert session.heard(room) == [1, 42]


async def test_an_offset_the_log_has_never_reached_is_answered_with_a_snapshot() -> None:
    house, session = House(LOG), FakeSession()
    await house.subscribe(session, STAFF, 1000)
    house.commit(MOVED)
    assert [m["type"] for m in session.messages] == ["resync", "order_updated"]


async def test_a_snapshot_newer_than_what_was_published_is_not_followed_by_what_it_contains(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house, session = House(LOG, HubLimits(ring_events_per_cafe=8, replay_events_max=10)), FakeSession()
    fresh = logged(*[record.event for record in LOG], MOVED, MOVED)[30:]
    house.reader.records.extend(fresh)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.subscribe, session, STAFF, 3)
        await trio.sleep(1)
        house.hub.publish(CAFE, fresh[:1])
        await trio.sleep(1)
        house.hub.publish(CAFE, fresh[1:])
    house.commit(MOVED)
    assert session.messages[0]["offset"] == 32
    assert session.heard(STAFF) == [33]


async def test_a_session_is_in_no_more_rooms_than_it_may_and_a_refusal_changes_nothing() -> None:
    house, session = House(LOG, rooms=RoomLimits(rooms_per_session=2, members_per_room=1)), FakeSession()
    await house.subscribe(session, STAFF, None)
    with pytest.raises(RoomFull):
        await house.subscribe(FakeSession(), STAFF, 3)
    await house.subscribe(session, KITCHEN, None)
    with pytest.raises(RoomFull):
        await house.subscribe(session, "user:ann", 0)
    await house.subscribe(session, STAFF, 29)
    house.commit(MOVED)
    assert session.heard(STAFF) == [30, 31]
    assert session not in house.hub.seats


async def test_a_long_recovery_waits_for_the_client_chunk_by_chunk() -> None:
    house, session = House(LOG, SMALL), FakeSession()
    await house.subscribe(session, STAFF, 0)
    chunk_frames = max(len(frame) for frame in session.frames)
    assert session.stream.waits >= sum(map(len, session.frames)) // (SMALL.replay_chunk_bytes + chunk_frames)


async def test_a_session_that_takes_no_more_is_not_made_a_member() -> None:
    house, session = House(LOG, SMALL), FakeSession(takes=False)
    await house.subscribe(session, STAFF, 0)
    assert (session.rooms, session in house.hub.seats) == (set(), False)


async def test_leaving_ends_a_recovery(autojump_clock: trio.testing.MockClock) -> None:
    for end in ("leave", "detach"):
        house, session = House(LOG, SMALL), FakeSession()
        house.hub.attach(session, CAFE)
        house.reader.records.append(LOG[0])  # committed, not published: the recovery waits for it
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.subscribe, session, STAFF, 31)
            await trio.sleep(1)
            house.hub.leave(session, STAFF) if end == "leave" else house.hub.detach(session)
        assert session.rooms == set()


async def test_reading_an_old_placing_does_not_hide_what_became_of_the_order_since() -> None:
    waiting = placed(1, released=False, prepay=True)
    released = e.OrderReleased(order_id=waiting.order_id, placed=waiting, lines=waiting.lines, paid=True)
    before = logged(waiting, released, *[e.OrderTableMoved(OrderId(ident(2)), "1")] * 8)
    limits = HubLimits(replay_page_events=1)
    house, kitchen = House([], limits), FakeSession()
    house.reader.records = before
    async with running(house.hub):
        await house.subscribe(kitchen, KITCHEN, None)
        async with trio.open_nursery() as nursery:  # it reads the placing, and gets no further
            nursery.start_soon(house.subscribe, FakeSession(), KITCHEN, 0)
            while house.reader.log_reads < 2:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        house.commit(MOVED)
        with trio.fail_after(5):
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert kitchen.heard(KITCHEN) == [11]


# -- default rooms


async def test_a_client_that_resumes_at_once_gets_one_growing_sequence(autojump_clock: trio.testing.MockClock) -> None:
    house, session = House(LOG), FakeSession()
    async with running(house.hub):
        defaults = door(house, session)
        assert await defaults.hold() == 30
        defaults.open()
        house.commit(MOVED)
        await trio.sleep(0.05)
        assert session.frames == []
        defaults.heard("subscribe")
        await house.subscribe(session, STAFF, 27)
        house.commit(MOVED)
        await trio.sleep(1)
    assert session.heard(STAFF) == [*range(28, 33)]


@pytest.mark.parametrize("says", ["nothing", "orders.place"])
async def test_a_client_that_names_no_offset_hears_everything_since_its_welcome(
    says: str, autojump_clock: trio.testing.MockClock
) -> None:
    house, session = House(LOG), FakeSession()
    async with running(house.hub):
        defaults = door(house, session)
        await defaults.hold()
        defaults.open()
        house.commit(MOVED)
        if says == "nothing":
            await trio.sleep(0.09)
            assert session.heard(STAFF) == []
            await trio.sleep(0.02)
        else:
            defaults.heard(says)
        house.commit(MOVED)
        await trio.sleep(1)
    assert [m["type"] for m in session.messages] == ["order_updated"] * 2
    assert session.heard(STAFF) == [31, 32]


async def test_subscribing_to_a_held_room_without_an_offset_goes_on_from_the_welcome(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house, session = House(LOG), FakeSession()
    async with running(house.hub):
        defaults = door(house, session)
        await defaults.hold()
        defaults.open()
        house.commit(MOVED)
        defaults.heard("subscribe")
        await house.subscribe(session, STAFF, None)
        await trio.sleep(1)
    assert (session.messages[0]["offset"], session.heard(STAFF)) == (30, [31])


async def test_an_offset_in_the_address_resumes_every_default_room_without_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house, session = House(LOG, SMALL), FakeSession()
    async with running(house.hub):
        defaults = door(house, session, STAFF, KITCHEN)
        await defaults.hold()
        began = trio.current_time()
        defaults.open(10)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert trio.current_time() - began < 0.1
        house.commit(MOVED)
    assert session.heard(STAFF) == session.heard(KITCHEN) == [*range(11, 32)]
    answers = [m for m in session.messages if m["type"] == "subscribed"]
    assert {"type": "subscribed", "room": STAFF, "offset": 10, "recovered": True} in answers


async def test_a_recovery_that_fails_takes_its_own_session_down_and_nobody_else(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house, session, other = (
        House(LOG, HubLimits(replay_events_max=0, ring_events_per_cafe=1)),
        FakeSession(),
        FakeSession(),
    )

    async def broken() -> tuple[int, Any]:
        raise ConnectionError

    async with running(house.hub):
        await house.subscribe(other, STAFF, None)
        defaults = DefaultRooms(house.hub, house.reader, session, CAFE, {STAFF: broken})  # type: ignore[arg-type]
        await defaults.hold()
        defaults.open(3)
        await trio.sleep(1)
        house.commit(MOVED)
    assert (session.closed, other.heard(STAFF)) == (1011, [31])


def door(house: House, session: FakeSession, *rooms: str) -> DefaultRooms:
    snapshots = dict.fromkeys(rooms or (STAFF,), snapshot_of(house.reader))
    return DefaultRooms(house.hub, house.reader, session, CAFE, snapshots)  # type: ignore[arg-type]
