"""Thousands that come back at once are told what they would be told alone, and it is read and made once for all."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from tabletap.actors.ports import Recorded
from tabletap.domain import events as e
from tabletap.domain.base import OrderId
from tabletap.realtime.hub import Hub, HubLimits
from tabletap.realtime.replay import subscribe
from tabletap.realtime.shelf import Flights, Shelf
from tabletap.realtime.storms import StormLimits

from .cafe_log import CAFE, FakeReader, FakeSession, Writer, ident, logged, placed, story
from .test_hub import running

STAFF = f"cafe:{CAFE}:staff"
MOVED = e.OrderTableMoved(OrderId(ident(1)), "7")
LOG = logged(placed(1), *[MOVED] * 99)
PAGES = HubLimits(ring_events_per_cafe=1, replay_page_events=20)
Snapshot = Callable[[], Awaitable[tuple[int, Any]]]


class House:
    """A server that has just started: what there is of the log is in the database alone."""

    def __init__(self, records: list[Recorded], limits: HubLimits = PAGES) -> None:
        self.reader = FakeReader(records)
        self.hub = Hub(limits, None, self.reader.tickets, self.reader.history)
        self.hub.ensure_head(CAFE, records[-1].offset)
        self.snapshots = 0

    async def snapshot(self) -> tuple[int, Any]:
        self.snapshots += 1
        offset = await self.reader.head(CAFE)
        return offset, {"orders": offset}

    async def resume(self, *after: int, room: str = STAFF) -> list[FakeSession]:
        """As many clients, at once."""
        sessions = [FakeSession() for _ in after]
        async with trio.open_nursery() as nursery:
            for session, offset in zip(sessions, after, strict=True):
                resume = partial(subscribe, self.hub, self.reader, session, room, CAFE, offset, 1, self.snapshot)  # type: ignore[arg-type]
                nursery.start_soon(resume)
        return sessions

    def commit(self, *events: e.OrderTableMoved) -> None:
        fresh = logged(*[record.event for record in self.reader.records], *events)[len(self.reader.records) :]
        self.reader.records.extend(fresh)
        self.hub.publish(CAFE, fresh)


async def test_who_comes_back_from_near_the_same_offset_reads_the_log_once_and_shares_the_frames() -> None:
    house = House(LOG)
    sessions = await house.resume(*[43] * 50, *range(40, 60))
    assert house.reader.log_reads == 3, "40 to 60, to 80, to 100"
    for after, session in zip([*[43] * 50, *range(40, 60)], sessions, strict=True):
        assert session.heard(STAFF) == [*range(after + 1, 101)]
        assert [piece is shared for piece, shared in zip(session.sent[-2:], sessions[0].sent[-2:], strict=True)] == [
            True
        ] * 2
    assert len({id(session.sent[1]) for session in sessions[:50]}) == 1


async def test_every_room_is_told_its_own_story_whoever_else_comes_back_with_it() -> None:
    records = Writer(5).write(120)
    told = story(records)
    house = House(records, HubLimits(ring_events_per_cafe=1, replay_page_events=16, replay_chunk_bytes=900))
    heard: dict[tuple[str, int], FakeSession] = {}

    async def one(room: str, after: int) -> None:
        (heard[room, after],) = await house.resume(after, room=room)

    async with trio.open_nursery() as nursery:
        for room in told:
            for after in (0, 33, 64, 119):
                nursery.start_soon(one, room, after)
    for (room, after), session in heard.items():
        found = [(m["offset"], m["type"], m["data"]) for m in session.messages[1:]]
        assert found == [event for event in told[room] if event[0] > after], (room, after)
        assert {m["room"] for m in session.messages} == {room}


async def test_what_was_kept_before_the_log_went_on_hides_nothing_of_it() -> None:
    house = House(LOG[:50])
    await house.resume(41)
    house.commit(*[MOVED] * 25)
    later, latest = await house.resume(41, 60)
    assert later.heard(STAFF) == [*range(42, 76)]
    assert latest.heard(STAFF) == [*range(61, 76)]


async def test_what_is_committed_but_not_published_comes_live_and_once(autojump_clock: MockClock) -> None:
    house = House(LOG[:50])
    house.reader.records = list(LOG[:70])
    early = await house.resume(30)
    house.hub.publish(CAFE, LOG[50:70])
    late = await house.resume(30)
    assert [one.heard(STAFF) for one in (*early, *late)] == [[*range(31, 71)]] * 2


async def test_what_is_kept_is_bounded_and_dropped_when_nobody_asks_for_it(autojump_clock: MockClock) -> None:
    storms = StormLimits(frames_bytes=20_000, log_events=50, keep_s=10)
    house = House(LOG, HubLimits(ring_events_per_cafe=1, replay_page_events=20, storms=storms, heartbeat_ms=5_000))
    shelves = house.hub.shelves
    async with running(house.hub):
        (session,) = await house.resume(0)
        assert session.heard(STAFF) == [*range(1, 101)]
        assert 0 < shelves.cuts.weight <= 20_000
        assert 0 < shelves.stretches.weight <= 50
        await trio.sleep(16)
    assert (len(shelves.cuts), len(shelves.stretches), shelves.cuts.weight) == (0, 0, 0)


async def test_one_persons_room_takes_no_space_of_what_many_share() -> None:
    house = House(logged(placed(1, customer=e.Customer(name="Ann", phone=None, id="ann")), *[MOVED] * 30))
    (ann,) = await house.resume(0, room="user:ann")
    assert ann.heard("user:ann")
    assert len(house.hub.shelves.cuts) == 0


# -- when the log has it no more


@pytest.mark.parametrize("room", [STAFF, f"cafe:{CAFE}:pos", f"order:{ident(1)}", "user:ann"])
@pytest.mark.parametrize(("gone", "after"), [(30, 5), (30, 29), (5, 0), (100, 20)])
async def test_what_was_taken_off_the_log_is_not_passed_over_in_silence(room: str, gone: int, after: int) -> None:
    house = House(LOG)
    kept = house.reader.records[gone:]

    async def log(cafe_id: object, after: int, limit: int, order_id: object = None) -> list[Recorded]:
        await trio.lowlevel.checkpoint()
        return [record for record in kept if record.offset > after][:limit]

    house.reader.log = log  # type: ignore[assignment]
    (session,) = await house.resume(after, room=room)
    assert [m["type"] for m in session.messages if m["type"] != "subscribed"] == ["resync"]
    assert session.messages[-1]["snapshot"] == {"orders": 100}
    assert room in session.rooms


async def test_what_the_log_still_has_needs_no_snapshot() -> None:
    house = House(LOG)
    house.reader.log = partial(_from, LOG[30:])  # type: ignore[assignment]
    (session,) = await house.resume(30)
    assert (session.heard(STAFF), house.snapshots) == ([*range(31, 101)], 0)


async def _from(kept: list[Recorded], cafe_id: object, after: int, limit: int, order_id: object = None) -> Any:
    await trio.lowlevel.checkpoint()
    return [record for record in kept if record.offset > after][:limit]


async def test_a_storm_of_those_who_missed_too_much_takes_one_snapshot(autojump_clock: MockClock) -> None:
    house = House(LOG, HubLimits(ring_events_per_cafe=1, replay_events_max=10))
    sessions = await house.resume(*range(50))
    assert house.snapshots == 1
    assert all(session.messages[0]["snapshot"] == {"orders": 100} for session in sessions)
    house.commit(*[MOVED] * 20)
    await trio.sleep(2)
    (later,) = await house.resume(0)
    assert (house.snapshots, later.messages[0]["offset"]) == (2, 120), "it is given to others for a moment only"


async def test_nobody_is_set_back_by_a_snapshot_that_others_share(autojump_clock: MockClock) -> None:
    house = House(LOG, HubLimits(ring_events_per_cafe=1, replay_events_max=10))
    await house.resume(0)
    house.commit(*[MOVED] * 20)
    (session,) = await house.resume(105)
    assert (house.snapshots, session.messages[0]["offset"]) == (2, 120)


# -- the parts


async def test_who_asks_for_what_is_under_way_waits_for_it(autojump_clock: MockClock) -> None:
    flights, done = Flights(), list[int]()

    async def work() -> int:
        await trio.sleep(1)
        done.append(len(done))
        return done[-1]

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(flights.join, "key", work)
        nursery.start_soon(flights.join, "other", work)
    assert len(done) == 2
    assert await flights.join("key", work) == 2


async def test_who_is_cancelled_takes_nobody_with_them(autojump_clock: MockClock) -> None:
    flights, found = Flights(), list[str]()

    async def work() -> str:
        await trio.sleep(1)
        return "found"

    async def wait() -> None:
        found.append(await flights.join("key", work))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            async with trio.open_nursery() as leaving:
                leaving.start_soon(wait)
                await trio.sleep(0.1)
                nursery.start_soon(wait)
                nursery.start_soon(wait)
    assert found == ["found"] * 2


async def test_what_fails_fails_for_all_who_waited_and_for_nobody_after(autojump_clock: MockClock) -> None:
    flights, failed = Flights(), list[str]()
    works = iter([OSError("gone"), "found"])

    async def work() -> str:
        await trio.sleep(1)
        match next(works):
            case OSError() as error:
                raise error
            case found:
                return str(found)

    async def wait() -> None:
        try:
            await flights.join("key", work)
        except OSError as error:
            failed.append(str(error))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
    assert failed == ["gone"] * 3
    assert await flights.join("key", work) == "found"


async def test_a_shelf_keeps_what_was_asked_for_last() -> None:
    shelf: Shelf[str] = Shelf(10)
    for name in "abc":
        shelf.put(name, name, 3)
    assert shelf.get("a") == "a"
    shelf.put("d", "d", 3)
    assert [shelf.get(name) for name in "abcd"] == ["a", None, "c", "d"]
    shelf.put("a", "heavier", 4)
    assert (shelf.weight, shelf.get("a")) == (10, "heavier")
    shelf.put("e", "too heavy", 11)
    assert (shelf.weight, shelf.get("e")) == (10, None)
    shelf.forget(60)
    assert (shelf.weight, len(shelf)) == (10, 3)
