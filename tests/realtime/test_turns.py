"""A storm comes in by turns: in order, so many at once, and whoever would wait too long is told when to come again."""

import contextlib

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tabletap.realtime.hub import Hub, HubLimits
from tabletap.realtime.replay import subscribe
from tabletap.realtime.storms import StormLimits
from tabletap.realtime.turns import TurnedAway, TurnLimits, Turns

from .cafe_log import CAFE, FakeReader, FakeSession
from .test_storms import LOG, STAFF


class Guests:
    """Each takes a second for their turn. ``turned_away``: after how long they were told to come again, and when."""

    def __init__(self, **limits: float) -> None:
        self.turns = Turns(TurnLimits(**{"at_once": 2, "waiting": 100, "wait_s": 60.0, **limits}))  # type: ignore[arg-type]
        self.began = trio.current_time()
        self.served: list[tuple[int, float]] = []
        self.turned_away: list[tuple[float, int]] = []
        self.most_at_work = 0

    def now(self) -> float:
        return round(trio.current_time() - self.began, 3)

    async def come(self, number: int) -> None:
        try:
            async with self.turns.turn():
                self.served.append((number, self.now()))
                self.most_at_work = max(self.most_at_work, int(self.turns.figures("x")["x_at_work"]))
                await trio.sleep(1)
        except TurnedAway as turned_away:
            self.turned_away.append((self.now(), turned_away.retry_after_s))


async def test_so_many_are_at_work_and_the_others_come_in_their_order(autojump_clock: MockClock) -> None:
    guests = Guests()
    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(guests.come, number)
            await trio.testing.wait_all_tasks_blocked()
    assert sorted(guests.served) == [(number, number // 2) for number in range(9)]
    assert guests.most_at_work == 2
    assert guests.turns.figures("x") == {"x_at_work": 0, "x_waiting": 0, "x_admitted": 9, "x_turned_away": 0}


async def test_one_more_than_may_wait_is_turned_away_at_once(autojump_clock: MockClock) -> None:
    guests = Guests(waiting=3)
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(guests.come, number)
    assert [at for at, _ in guests.turned_away] == [0.0] * 3
    assert len(guests.served) == 5
    assert guests.turns.refused == 3


async def test_who_waits_too_long_is_turned_away(autojump_clock: MockClock) -> None:
    guests = Guests(wait_s=2.5)
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(guests.come, number)
    assert [at for at, _ in guests.turned_away] == [2.5] * 2
    assert len(guests.served) == 6


async def test_the_longer_the_queue_the_later_one_is_to_come_again(autojump_clock: MockClock) -> None:
    guests = Guests(waiting=40)
    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(guests.come, number)
        await trio.sleep(15.5)  # by now it is known about how long a turn takes
        waiting, told = guests.turns.waiting, len(guests.turned_away)
        for number in range(60, 60 + 40 - waiting + 1):
            nursery.start_soon(guests.come, number)
    assert {retry_after for _, retry_after in guests.turned_away[:told]} == {1}
    assert 10 < guests.turned_away[-1][1] <= 20


async def test_who_leaves_the_queue_or_fails_at_their_turn_holds_up_nobody(autojump_clock: MockClock) -> None:
    guests = Guests(at_once=1)

    async def fail() -> None:
        with contextlib.suppress(OSError):
            async with guests.turns.turn():
                raise OSError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guests.come, 1)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await guests.come(2)
        nursery.start_soon(fail)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(guests.come, 3)
    assert guests.served == [(1, 0.0), (3, 1.0)]
    assert guests.turns.waiting == 0


# -- of recoveries


class Closed(FakeSession):
    """Keeps what it was closed with."""

    reason = ""

    def close(self, code: int, reason: str = "") -> None:
        super().close(code, reason)
        self.reason = reason


def house(recoveries: TurnLimits) -> tuple[Hub, FakeReader]:
    limits = HubLimits(replay_page_events=20, replay_chunk_bytes=2_000, storms=StormLimits(recoveries=recoveries))
    reader = FakeReader(LOG)
    hub = Hub(limits, None, reader.tickets, reader.history)
    hub.ensure_head(CAFE, LOG[-1].offset)
    return hub, reader


async def resume(hub: Hub, reader: FakeReader, session: FakeSession) -> None:
    async def snapshot() -> tuple[int, None]:
        raise AssertionError

    await subscribe(hub, reader, session, STAFF, CAFE, 0, 1, snapshot)  # type: ignore[arg-type]


async def test_a_recovery_that_gets_no_turn_is_closed_and_told_when_to_come_again(autojump_clock: MockClock) -> None:
    hub, reader = house(TurnLimits(at_once=1, waiting=3, wait_s=5))
    sessions = [Closed() for _ in range(10)]
    async with trio.open_nursery() as nursery:
        for session in sessions:
            nursery.start_soon(resume, hub, reader, session)
    turned_away = [session for session in sessions if session.closed is not None]
    assert len(turned_away) == hub.shelves.turns.refused == 6
    for session in sessions:
        if session in turned_away:
            assert (session.closed, session.reason, session.rooms) == (1013, "retry_after=1", set())
            assert session not in hub.seats
        else:
            assert (session.heard(STAFF), session.rooms) == ([*range(1, 101)], {STAFF})


async def test_nobody_has_a_turn_while_they_wait_for_their_client(autojump_clock: MockClock) -> None:
    hub, reader = house(TurnLimits(at_once=1, waiting=10, wait_s=5))
    slow, quick = FakeSession(), FakeSession()

    async def never() -> None:
        await trio.sleep_forever()

    slow.stream.wait_send_all_might_not_block = never  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(resume, hub, reader, slow)
        await trio.testing.wait_all_tasks_blocked()
        assert 0 < len(slow.heard(STAFF)) < 100
        await resume(hub, reader, quick)
        nursery.cancel_scope.cancel()
    assert quick.heard(STAFF) == [*range(1, 101)]


@pytest.mark.parametrize("what", ["recoveries", "handshakes"])
async def test_turns_are_counted_by_name(what: str) -> None:
    turns = Turns(TurnLimits(at_once=1, waiting=1, wait_s=1))
    async with turns.turn():
        assert turns.figures(what)[f"{what}_at_work"] == 1
    assert turns.figures(what)[f"{what}_admitted"] == 1
