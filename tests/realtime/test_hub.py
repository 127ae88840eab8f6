"""The publisher: rooms hear every commit in the order of the log, and nobody's failure is another's."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio

from tabletap.actors.ports import Publisher, Recorded
from tabletap.domain import events as e
from tabletap.domain.base import CafeId, OrderId
from tabletap.domain.vocabulary import Channel, ItemStatus, OrderStatus
from tabletap.realtime.hub import Hub, HubLimits
from tabletap.realtime.telling import Batch
from tabletap.realtime.tickets import Ticket, tickets_from

from .cafe_log import CAFE, FakeReader, FakeSession, Writer, ident, logged, placed, recorded, story

STAFF = f"cafe:{CAFE}:staff"
KITCHEN = f"cafe:{CAFE}:kitchen"
ORDER = OrderId(ident(1))
MOVED = e.OrderTableMoved(ORDER, "7")


@asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[Hub]:
    async with trio.open_nursery() as nursery:
        await nursery.start(hub.run)
        yield hub
        nursery.cancel_scope.cancel()


def test_a_hub_is_what_the_storage_writer_publishes_to() -> None:
    publisher: Publisher = Hub()
    publisher.publish(CAFE, ())


@pytest.mark.parametrize("seed", range(3))
def test_members_hear_their_room_of_every_commit_in_order(seed: int) -> None:
    hub, records = Hub(), Writer(seed).write(200)
    sessions = {room: FakeSession() for room in story(records)}
    for room, session in list(sessions.items())[:60]:
        hub.rooms.join(session, room)
        sessions[room] = session
    for start in range(0, 200, 7):
        hub.publish(CAFE, records[start : start + 7])
    for room, session in list(sessions.items())[:60]:
        heard = [(m["offset"], m["type"], m["data"]) for m in session.messages]
        assert heard == story(records)[room]
    assert hub.head(CAFE) == 200


def test_a_frame_is_encoded_once_for_all_members_of_its_room() -> None:
    hub, one, other = Hub(), FakeSession(), FakeSession()
    hub.rooms.join(one, STAFF)
    hub.rooms.join(other, STAFF)
    hub.publish(CAFE, logged(placed(1)))
    assert one.sent[0] is other.sent[0]
    assert one.messages[0]["eventId"].startswith("evt_")
    assert one.messages[0]["timestamp"] == 1772452801000


def test_a_follower_that_fails_keeps_nobody_from_hearing() -> None:
    hub, session, seen = Hub(), FakeSession(), list[int]()
    hub.rooms.join(session, STAFF)

    def broken(events: Sequence[Recorded]) -> None:
        raise RuntimeError

    hub.follow(CAFE, broken)
    end = hub.follow(CAFE, lambda events: seen.extend(record.offset for record in events))
    records = logged(placed(1), MOVED)
    hub.publish(CAFE, records[:1])
    end()
    end()
    hub.publish(CAFE, records[1:])
    assert (seen, session.heard(STAFF)) == ([1], [1, 2])


@pytest.mark.parametrize("lines", [(object(),), None], ids=["not to be encoded", "not to be cast"])
def test_an_event_that_cannot_be_told_keeps_no_other_from_being_told(lines: Any) -> None:
    hub, session = Hub(), FakeSession()
    hub.rooms.join(session, STAFF)
    broken = e.ItemsMoved(order_id=ORDER, lines=lines, to=ItemStatus.STARTED)
    hub.publish(CAFE, logged(placed(1), broken, MOVED))
    assert session.heard(STAFF) == [1, 3]


def test_what_was_in_the_log_before_anybody_subscribed_is_not_told_again() -> None:
    hub, session, followed = Hub(), FakeSession(), list[int]()
    hub.follow(CAFE, lambda events: followed.extend(record.offset for record in events))
    hub.ensure_head(CAFE, 2)
    hub.rooms.join(session, STAFF)
    records = logged(placed(1), MOVED, MOVED)
    hub.publish(CAFE, records)
    assert session.heard(STAFF) == [3]
    assert followed == [1, 2, 3]
    hub.ensure_head(CAFE, 1)
    assert hub.head(CAFE) == 3


def test_a_hole_in_what_is_published_sends_the_sessions_back_to_the_log() -> None:
    hub, session, elsewhere = Hub(), FakeSession(), FakeSession()
    hub.attach(session, CAFE)
    hub.attach(elsewhere, CafeId(ident(2)))
    hub.publish(CAFE, [recorded(placed(1), 1)])
    hub.publish(CAFE, [recorded(MOVED, 3)])
    assert (session.closed, elsewhere.closed) == (4008, None)
    assert hub.recent(CAFE, 1) is None


def test_memory_is_bounded_per_cafe_and_over_all_and_the_quietest_cafe_pays() -> None:
    hub = Hub(HubLimits(ring_events_per_cafe=5, ring_events_total=8))
    quiet, busy = CafeId(ident(1)), CafeId(ident(2))
    records = logged(placed(1), *[MOVED] * 9)
    hub.publish(quiet, records)
    assert hub.oldest(quiet) == 6
    hub.publish(busy, records)
    assert (hub.oldest(busy), hub.oldest(quiet)) == (6, 8)
    assert hub.recent(quiet, 7) is not None
    assert hub.recent(quiet, 6) is None


async def test_a_heartbeat_tells_each_session_the_newest_offset_of_its_cafe(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hub = Hub(HubLimits(heartbeat_ms=15_000))
    session, other, unknown, recovering = (FakeSession() for _ in range(4))
    hub.publish(CAFE, logged(placed(1), MOVED))
    hub.publish(CafeId(ident(2)), logged(placed(1)))
    async with running(hub):
        hub.attach(session, CAFE)
        hub.attach(other, CafeId(ident(2)))
        hub.attach(unknown, CafeId(ident(3)))
        hub.attach(recovering, CAFE)
        hub.seats.take(recovering, STAFF, CAFE, 0)
        await trio.sleep(31)
        hub.detach(session)
        await trio.sleep(30)
    assert session.messages == [{"type": "heartbeat", "offset": 2}] * 2
    assert [m["offset"] for m in other.messages] == [1] * 4
    assert unknown.messages == recovering.messages == []


async def test_an_order_placed_before_this_process_lived_is_looked_up_and_what_follows_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    waiting = placed(1, released=False, prepay=True, customer=e.Customer(id="ann"))
    cancel = e.OrderCancelled(order_id=ORDER, number=1, was=OrderStatus.PENDING, reversal=e.Reversal())
    records = logged(waiting, cancel, placed(2))
    reader = FakeReader(records[:1])
    hub = Hub(source=tickets_from(reader))  # type: ignore[arg-type]
    async with running(hub):
        kitchen, ann = FakeSession(), FakeSession()
        hub.ensure_head(CAFE, 1)
        hub.rooms.join(kitchen, KITCHEN)
        hub.rooms.join(ann, "user:ann")
        hub.publish(CAFE, records[1:])
        assert hub.head(CAFE) == 1
        await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(1)
        assert hub.head(CAFE) == 3
        assert ann.heard("user:ann") == [2]
        assert kitchen.heard(KITCHEN) == [3]


async def test_when_nothing_can_be_looked_up_the_kitchen_is_told_rather_than_kept_waiting(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def broken(cafe_id: CafeId, order_ids: Iterable[UUID]) -> dict[OrderId, Ticket]:
        raise ConnectionError

    hub, kitchen = Hub(source=broken), FakeSession()
    async with running(hub):
        hub.ensure_head(CAFE, 1)
        hub.rooms.join(kitchen, KITCHEN)
        hub.publish(CAFE, [recorded(MOVED, 2)])
        await trio.sleep(5)
        hub.publish(CAFE, [recorded(MOVED, 3)])
    assert kitchen.heard(KITCHEN) == [2, 3]


async def test_tickets_out_of_the_projections_tell_who_makes_what_and_whose_it_is() -> None:
    order = placed(1, customer=e.Customer(id="ann"))
    done = e.OrderCancelled(order_id=ORDER, number=1, was=OrderStatus.PENDING, reversal=e.Reversal())
    waiting = placed(2, released=False)
    look_up = tickets_from(FakeReader(logged(order, waiting, done)))  # type: ignore[arg-type]
    nobody = OrderId(ident(99))
    assert await look_up(CAFE, [ORDER, waiting.order_id, nobody]) == {
        ORDER: Ticket("ann", {1: ("bar", 0), 2: ("grill", 0)}, 0, whole=True, channel=Channel.TABLE),
        waiting.order_id: Ticket(None, {1: ("bar", 0), 2: ("grill", 0)}, None, whole=True, channel=Channel.TABLE),
        nobody: Ticket(whole=True),
    }


class Laborious(FakeSession):
    """One that takes its time to be told, as thousands do together."""

    def __init__(self, clock: trio.testing.MockClock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds
        self.told: list[tuple[float, int]] = []

    def tell(self, batch: Batch) -> bool:
        self._clock.jump(self._seconds)
        self.told.append((round(trio.current_time() - self.begun, 3), len(batch.told)))
        return super().tell(batch)

    begun = 0.0


async def test_what_comes_right_after_something_long_to_tell_is_told_together(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with running(Hub()) as hub:
        session = Laborious(mock_clock, 0.01)
        session.begun = trio.current_time()
        hub.rooms.join(session, STAFF)
        records = Writer(1).write(60)
        records = [record for record in records if record.offset <= 40]
        for at in range(0, 40, 10):
            hub.publish(CAFE, records[at : at + 10])
        assert [at for at, _ in session.told] == [0.01]
        assert hub.head(CAFE) == 10, "what waits is not told of either"
        mock_clock.jump(0.007)
        await trio.testing.wait_all_tasks_blocked()
        assert len(session.told) == 1
        mock_clock.jump(0.002)
        await trio.testing.wait_all_tasks_blocked()
        assert len(session.told) == 2
        assert hub.head(CAFE) == 40
        assert session.heard(STAFF) == [offset for offset, _, _ in story(records)[STAFF]]


async def test_a_small_room_never_waits(mock_clock: trio.testing.MockClock) -> None:
    async with running(Hub()) as hub:
        session = Laborious(mock_clock, 0.001)
        hub.rooms.join(session, STAFF)
        for record in (records := Writer(1).write(40)):
            hub.publish(CAFE, [record])
        assert session.heard(STAFF) == [offset for offset, _, _ in story(records)[STAFF]]
