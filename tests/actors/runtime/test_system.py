"""Starting, stopping, and looking inside."""

from contextvars import ContextVar

import pytest
import trio

from tabletap.actors.runtime import Actor, Address, Asked, Limits, NotRunning, OutcomeUnknown, Stopping, System
from tabletap.actors.runtime.testing import Probes, seeded, settle

from .conftest import A, B, Bug


async def test_stop_drains_the_mailboxes_and_lets_every_actor_stop(autojump_clock, raised, probes):
    async def slow(address, message):
        await trio.sleep(1)

    probes.on_message = slow
    async with raised() as system:
        for number in range(5):
            system.tell(A, number)
            system.tell(B, number)
        await system.stop(60)
        assert probes.seen == {A: list(range(5)), B: list(range(5))}
        assert probes.ends == {A: 1, B: 1}
        assert system.live == 0
        assert system.counters.dead_letters == 0


async def test_a_stopping_system_refuses_new_work(autojump_clock, raised, probes):
    probes.gate = trio.Event()
    async with raised() as system:
        ref = system.ref(A)
        ref.tell(1)
        await trio.testing.wait_all_tasks_blocked()
        ref.tell(2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.stop, 60)
            await trio.testing.wait_all_tasks_blocked()
            for tell in (ref.tell, lambda message: system.tell(B, message)):
                with pytest.raises(Stopping):
                    tell("new")
            with pytest.raises(Stopping):
                await system.ask(A, "new", timeout=1)
            probes.gate.set()
        assert probes.seen[A] == [1, 2]


async def test_while_draining_actors_may_still_use_each_other_and_storage_stops_last(autojump_clock, raised, probes):
    order = []

    class Storage(Actor):
        async def receive(self, batch):
            for asked in batch:
                asked.answer("stored")

        async def stopped(self):
            order.append("storage")

    class Entity(Actor):
        async def receive(self, batch):
            await trio.sleep(1)
            for _ in batch:
                answer = await system.ask(Address("storage", 0), "commit", timeout=5)
                order.append(answer)

        async def stopped(self):
            order.append(await system.ask(Address("storage", 0), "snapshot", timeout=5))
            order.append("entity")

    system = System({"storage": lambda _: Storage(), "entity": lambda _: Entity()})
    async with system:
        system.tell(Address("entity", 1), "command")
        await system.stop(60)
    assert order == ["stored", "stored", "entity", "storage"]


async def test_at_the_deadline_what_is_left_is_cut_off_and_everyone_is_told(autojump_clock, raised, probes):
    letters, outcomes = [], {}

    async def hangs(address, message):
        await trio.sleep_forever()

    async def ask(address, message):
        try:
            await system.ask(address, message, timeout=None)
        except (OutcomeUnknown, Stopping) as end:
            outcomes[message] = type(end)

    probes.on_message = hangs
    async with raised(on_dead_letter=letters.append) as system, trio.open_nursery() as nursery:
        system.tell(A, "told, in hand")
        nursery.start_soon(ask, B, "asked, in hand")
        await trio.testing.wait_all_tasks_blocked()
        system.tell(A, "told, waiting")
        nursery.start_soon(ask, B, "asked, waiting")
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        await system.stop(5)
        assert trio.current_time() - begin == pytest.approx(5)
        assert system.live == 0
    assert outcomes == {"asked, in hand": OutcomeUnknown, "asked, waiting": Stopping}
    assert [letter.reason for letter in letters] == ["cut off: the system stopped"] * 2


async def test_run_ends_when_stopped_and_when_cancelled(autojump_clock):
    for ending in ("stop", "cancel"):
        system = System({"probe": Probes()})
        async with trio.open_nursery() as nursery:
            assert await nursery.start(system.run) is system
            system.tell(A, 1)
            await settle(system)
            if ending == "stop":
                await system.stop(1)
            else:
                nursery.cancel_scope.cancel()
        assert system.live == 0


async def test_leaving_the_block_stops_gracefully_and_an_error_in_it_comes_out_bare(autojump_clock, raised, probes):
    async with raised() as system:
        system.tell(A, 1)
    assert probes.seen[A] == [1]
    assert probes.ends[A] == 1
    with pytest.raises(Bug):
        async with System({"probe": Probes()}):
            raise Bug


async def test_being_cancelled_from_outside_is_not_swallowed(autojump_clock):
    async def hangs(address, message):
        await trio.sleep_forever()

    with trio.move_on_after(5) as scope:
        async with System({"probe": Probes(hangs)}, Limits(stop_seconds=100)) as system:
            system.tell(A, 1)
        pytest.fail("unreachable: the cancel came while it stopped")
    assert scope.cancelled_caught


async def test_a_system_that_does_not_run_takes_nothing():
    system = System({"probe": Probes()})
    with pytest.raises(NotRunning):
        system.tell(A, 1)
    assert system.live == 0


request_id: ContextVar[str] = ContextVar("request_id", default="none")


async def test_an_actor_does_not_inherit_the_context_of_its_first_sender(autojump_clock, raised, probes):
    probes.on_message = lambda address, message: request_id.get()
    async with raised() as system:
        request_id.set("r-1")
        assert await system.ask(A, 1, timeout=1) == "none"


async def test_the_tree_tells_what_each_actor_is_up_to(autojump_clock, raised, probes):
    probes.gate = trio.Event()
    async with raised() as system:
        system.tell(A, "in hand")
        system.tell(B, 1)
        await trio.sleep(2)
        system.tell(A, 17, size=300)
        system.tell(A, 18)
        await trio.sleep(3)
        lines = {line.address: line for line in system.tree()}
        busy = lines[A]
        assert (busy.state, busy.depth, busy.bytes, busy.restarts, busy.doing) == ("busy", 2, 300, 0, "str")
        assert busy.oldest_seconds == pytest.approx(5)
        probes.gate.set()
        await settle(system)
        resting = next(line for line in system.tree() if line.address == A)
        assert (resting.state, resting.depth, resting.bytes, resting.oldest_seconds) == ("idle", 0, 0, 0.0)
        assert resting.doing is None


async def test_the_tree_names_the_message_in_work_within_a_batch(autojump_clock, raised):
    class Slow(Actor):
        async def receive(self, batch):
            for message in batch:
                await trio.sleep(10)
                if isinstance(message, Asked):
                    message.answer()

    address = Address("slow", 1)
    async with raised(factories={"slow": lambda _: Slow()}) as system, trio.open_nursery() as nursery:
        system.tell(address, 1)
        system.tell(address, "two")
        nursery.start_soon(lambda: system.ask(address, 3.0, timeout=100))
        doing = []
        for _ in range(3):
            await trio.sleep(9)
            doing += [line.doing for line in system.tree()]
            await trio.sleep(1)
    assert doing == ["int", "str", "float"]


async def test_the_tree_shows_a_backoff_and_counts_restarts(autojump_clock, raised, probes):
    failures = [Bug()]

    def fail_once(address, message):
        if failures:
            raise failures.pop()

    probes.on_message = fail_once
    async with raised(Limits(backoff_seconds=100)) as system:
        system.tell(A, 1)
        await trio.sleep(1)
        (line,) = system.tree()
        assert (line.state, line.restarts, line.depth) == ("backoff", 1, 1)
        assert line.oldest_seconds == pytest.approx(1)
        await settle(system)


def test_a_failure_under_chance_names_its_seed():
    with pytest.raises(Bug) as failure, seeded(7) as rng:  # noqa: PT012 - the chance comes first
        first = rng.random()
        raise Bug
    assert "TABLETAP_SEED=7" in failure.value.__notes__[0]
    with seeded(7) as again:
        assert again.random() == first


async def test_many_leave_in_slices(autojump_clock, raised, probes):
    leaving = []

    async def note(address):
        leaving.append(len([line for line in system.tree() if line.state == "stopping"]))
        await trio.sleep(1)

    probes.on_stopped = note
    async with raised(Limits(leave_at_once=10)) as system:
        for number in range(35):
            system.tell(Address("probe", number), number)
        await settle(system)
        await system.stop(60)
        assert max(leaving) <= 10
        assert len(leaving) == 35
