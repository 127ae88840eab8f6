"""Timers that are data: they survive restarts, hold little, and are never lost."""

import itertools
from datetime import timedelta

import trio

from tabletap.actors.runtime import Address, Limits, Outage, Wake, Waker
from tabletap.actors.runtime.testing import settle

from .conftest import A, B, Bug


class Table:
    """A source as a database would be: the truth about each address's next wake."""

    def __init__(self, clock):
        self.rows = {}
        self.reads = []
        self.down = False
        self.delay = 0.0
        self.clock = clock

    def set(self, address, seconds):
        self.rows[address] = self.clock.now() + timedelta(seconds=seconds)

    async def upcoming(self, until, limit):
        found = sorted(((a, due) for a, due in self.rows.items() if due <= until), key=lambda row: row[1])[:limit]
        self.reads.append(len(found))
        await trio.sleep(self.delay)
        if self.down:
            raise Outage
        return found


class At:
    """Sees the second at which each wake arrived, and clears the row as an entity would."""

    def __init__(self, system, table, probes):
        self.seen = []
        self.begin = system.clock.now()
        self.waker = None

        def on_message(address, message):
            if isinstance(message, Wake):
                self.seen.append((address.key, round((system.clock.now() - self.begin).total_seconds(), 1)))
                if table.rows.get(address) == message.due:
                    del table.rows[address]
                    self.waker.schedule(address, None)

        probes.on_message = on_message


async def start(nursery, system, probes, **more):
    table = Table(system.clock)
    at = At(system, table, probes)
    more.setdefault("horizon_seconds", 100)
    more.setdefault("page", 10)
    at.waker = waker = Waker(system, table, system.clock, **more)
    return table, at, waker


async def test_wakes_stored_before_the_start_come_when_due_and_overdue_ones_at_once(autojump_clock, raised, probes):
    async with raised() as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes)
        table.set(A, 30)
        table.set(B, -500)
        await nursery.start(waker.run)
        await trio.sleep(60)
        assert at.seen == [("b", 0.0), ("a", 30.0)]
        nursery.cancel_scope.cancel()


async def test_a_wake_is_replaced_and_cancelled(autojump_clock, raised, probes):
    async with raised() as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes)
        await nursery.start(waker.run)
        await trio.sleep(1)
        for address, seconds in ((A, 10), (A, 5), (B, 7)):
            table.set(address, seconds)
            waker.schedule(address, table.rows[address])
        await trio.sleep(1)
        del table.rows[B]
        waker.schedule(B, None)
        await trio.sleep(200)
        assert at.seen == [("a", 6.0)]
        assert waker.held == 0
        nursery.cancel_scope.cancel()


async def test_what_lies_beyond_the_horizon_is_not_held_and_comes_all_the_same(autojump_clock, raised, probes):
    async with raised() as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes)
        await nursery.start(waker.run)
        table.set(A, 1000)
        waker.schedule(A, table.rows[A])
        assert waker.held == 0
        await trio.sleep(1100)
        assert at.seen == [("a", 1000.0)]
        nursery.cancel_scope.cancel()


async def test_more_wakes_than_a_page_all_come_in_time_while_few_are_held(autojump_clock, raised, probes):
    async with raised() as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes, page=5)
        for number in range(100):
            table.set(Address("probe", number), number % 50)
        await nursery.start(waker.run)
        most = 0
        for _ in range(60):
            await trio.sleep(1)
            most = max(most, waker.held)
        assert sorted(key for key, _ in at.seen) == list(range(100))
        assert all(seconds - key % 50 < 0.1 for key, seconds in at.seen)
        assert most <= 20
        nursery.cancel_scope.cancel()


async def test_scheduling_more_than_a_page_forgets_the_later_ones_until_their_time(autojump_clock, raised, probes):
    async with raised(Limits()) as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes, page=5)
        await nursery.start(waker.run)
        await trio.sleep(0.5)
        for number in range(200):
            address = Address("probe", number)
            table.set(address, 1 + number / 10)
            waker.schedule(address, table.rows[address])
            assert waker.held <= 2 * 5 + 65
        await trio.sleep(50)
        assert [key for key, _ in at.seen] == list(range(200))
        nursery.cancel_scope.cancel()


async def test_a_wake_scheduled_while_a_refill_is_on_its_way_wins_over_what_the_refill_read(
    autojump_clock, raised, probes
):
    async with raised() as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes)
        table.delay = 5
        table.set(A, 20)
        table.set(B, 20)
        await nursery.start(waker.run)
        await trio.sleep(2)
        table.set(A, 10)
        waker.schedule(A, table.rows[A])
        del table.rows[B]
        waker.schedule(B, None)
        await trio.sleep(40)
        assert at.seen == [("a", 12.0)]
        nursery.cancel_scope.cancel()


async def test_an_outage_of_the_source_delays_wakes_and_loses_none(autojump_clock, raised, probes):
    async with raised() as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes, retry_seconds=5)
        table.down = True
        table.set(A, 3)
        await nursery.start(waker.run)
        await trio.sleep(21)
        assert at.seen == []
        table.down = False
        await trio.sleep(10)
        assert [key for key, _ in at.seen] == ["a"]
        nursery.cancel_scope.cancel()


async def test_a_full_mailbox_does_not_keep_a_wake_out(autojump_clock, raised, probes):
    async with raised(Limits(mailbox_messages=1)) as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes)
        probes.gate = trio.Event()
        await nursery.start(waker.run)
        table.set(A, 5)
        waker.schedule(A, table.rows[A])
        system.tell(A, "in hand")
        await trio.sleep(1)
        system.tell(A, "fills the mailbox")
        await trio.sleep(10)
        probes.gate.set()
        await settle(system)
        assert at.seen == [("a", 11.0)]
        nursery.cancel_scope.cancel()


async def test_a_wake_that_became_a_dead_letter_comes_again_after_the_quarantine(autojump_clock, raised, probes):
    broken = True

    async def fails(address):
        if broken:
            raise Bug

    limits = Limits(restarts=1, backoff_seconds=0.1, quarantine_seconds=20)
    async with raised(limits) as system, trio.open_nursery() as nursery:
        table, at, waker = await start(nursery, system, probes, retry_seconds=1)
        probes.on_started = fails
        table.set(A, 5)
        await nursery.start(waker.run)
        await trio.sleep(10)
        assert system.counters.quarantines == 1
        broken = False
        await trio.sleep(20)
        assert [key for key, _ in at.seen] == ["a"]
        assert table.rows == {}
        nursery.cancel_scope.cancel()


async def test_a_wake_whose_time_stays_in_the_source_is_given_again_but_not_in_the_same_window(
    autojump_clock, raised, probes
):
    woken = []
    async with raised() as system, trio.open_nursery() as nursery:
        table, _, waker = await start(nursery, system, probes, horizon_seconds=100)
        probes.on_message = lambda address, message: woken.append(trio.current_time())
        table.set(A, 10)
        await nursery.start(waker.run)
        await trio.sleep(60)
        assert len(woken) == 1
        await trio.sleep(45)
        assert len(woken) == 2
        nursery.cancel_scope.cancel()


async def test_the_waker_ends_with_the_system(autojump_clock, raised, probes):
    async with trio.open_nursery() as nursery, raised() as system:
        table, _at, waker = await start(nursery, system, probes, horizon_seconds=10)
        await nursery.start(waker.run)
        table.set(A, 1)
        await system.stop(1)
        # leaving the nursery without a cancel is the test


async def test_a_wake_that_crashes_its_actor_is_offered_ever_less_often(autojump_clock, raised, probes):
    deaths = []

    def crash(address, message):
        raise Bug

    limits = Limits(restarts=100, backoff_seconds=0.01, backoff_most_seconds=0.01)
    async with raised(limits) as system, trio.open_nursery() as nursery:
        table, _, waker = await start(nursery, system, probes, retry_seconds=1, horizon_seconds=1000)
        probes.on_message = crash
        system.dead_letters.watch(lambda *_: deaths.append(trio.current_time()))
        table.set(A, 0)
        await nursery.start(waker.run)
        await trio.sleep(60)
        waits = [round(later - sooner) for sooner, later in itertools.pairwise(deaths)]
        assert waits == [1, 2, 4, 8, 16]
        nursery.cancel_scope.cancel()
