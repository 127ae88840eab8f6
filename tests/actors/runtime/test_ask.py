"""Asking: one answer, an honest end when there is none."""

import pytest
import trio

from tabletap.actors.runtime import (
    Actor,
    ActorFailed,
    Asked,
    Limits,
    NotExecuted,
    OutcomeUnknown,
    System,
)
from tabletap.actors.runtime.testing import settle
from tabletap.actors.runtime.timers import TICK_SECONDS

from .conftest import A, Bug


async def test_an_ask_is_answered(autojump_clock, raised, probes):
    probes.on_message = lambda address, message: message * 2
    async with raised() as system:
        assert await system.ask(A, 21, timeout=1) == 42
        assert await system.ref(A).ask(4, timeout=None) == 8
        assert system.counters.asked == 2


async def test_a_hundred_askers_each_get_their_own_answer(autojump_clock, raised, probes):
    probes.on_message = lambda address, message: -message
    answers = {}

    async def ask(number):
        answers[number] = await system.ask(A, number, timeout=1)

    async with raised() as system, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, number)
    assert answers == {number: -number for number in range(100)}


async def test_an_ask_not_taken_in_time_is_not_executed(autojump_clock, raised, probes):
    probes.gate = trio.Event()
    async with raised() as system:
        system.tell(A, "in hand")
        await trio.testing.wait_all_tasks_blocked()
        begin = trio.current_time()
        with pytest.raises(NotExecuted) as late:
            await system.ask(A, "late", timeout=2)
        assert late.value.address == A
        assert 2 <= trio.current_time() - begin <= 2 + 2 * TICK_SECONDS
        probes.gate.set()
        await settle(system)
        assert probes.seen[A] == ["in hand"]
        assert system.counters.expired == 1


async def test_an_ask_without_time_left_is_not_even_sent(autojump_clock, raised, probes):
    async with raised() as system:
        with pytest.raises(NotExecuted):
            await system.ask(A, "late", timeout=0)
        assert system.live == 0


async def test_an_ask_taken_and_not_answered_in_time_has_an_unknown_outcome(autojump_clock, raised, probes):
    probes.gate = trio.Event()
    async with raised() as system:
        with pytest.raises(OutcomeUnknown):
            await system.ask(A, "slow", timeout=2)
        probes.gate.set()
        await settle(system)
        assert probes.seen[A] == ["slow"]


async def test_a_cancelled_asker_loses_its_reply_never_the_command(autojump_clock, raised, probes):
    async with raised() as system:
        probes.gate = trio.Event()
        for seconds in (0.5, 1.0):
            with trio.move_on_after(seconds) as scope:
                await system.ask(A, seconds, timeout=100)
            assert scope.cancelled_caught
        probes.gate.set()
        await settle(system)
        assert probes.seen[A] == [0.5, 1.0]


async def test_a_caller_already_cancelled_sends_nothing(autojump_clock, raised, probes):
    async with raised() as system:
        with trio.CancelScope() as scope:
            scope.cancel()
            await system.ask(A, "never", timeout=1)
        await settle(system)
        assert probes.seen == {}


class Later(Actor):
    """Answers after receive has returned, and from another task."""

    async def receive(self, batch):
        held.extend(batch)


held: list[Asked] = []


async def test_an_answer_may_come_later_and_only_the_first_counts(autojump_clock, raised):
    held.clear()
    answers = []

    async def ask():
        answers.append(await system.ask(A._replace(kind="later"), 1, timeout=5))

    async with raised(factories={"later": lambda _: Later()}) as system, trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        (asked,) = held
        assert (asked.answered, asked.expired) == (False, False)
        asked.answer("first")
        asked.answer("second")
        asked.fail(Bug())
    assert answers == ["first"]
    assert asked.answered


async def test_an_actor_may_fail_an_ask_and_lives_on(autojump_clock, raised):
    class Refuses(Actor):
        async def receive(self, batch):
            for asked in batch:
                asked.fail(Bug("no tea left"))

    async with raised(factories={"refuses": lambda _: Refuses()}) as system:
        with pytest.raises(Bug, match="no tea left"):
            await system.ask(A._replace(kind="refuses"), 1, timeout=5)
        assert system.counters.restarts == 0


async def test_a_crash_by_this_message_tells_its_asker_with_the_cause(autojump_clock, raised, probes):
    def crash(address, message):
        raise Bug(message)

    probes.on_message = crash
    async with raised() as system:
        with pytest.raises(ActorFailed) as failure:
            await system.ask(A, "poison", timeout=None)
        assert isinstance(failure.value.__cause__, Bug)


async def test_the_end_of_the_system_leaves_no_asker_behind(autojump_clock):
    held.clear()
    outcomes = []

    async def ask():
        try:
            await system.ask(A._replace(kind="later"), 1, timeout=None)
        except OutcomeUnknown:
            outcomes.append("unknown")

    system = System({"later": lambda _: Later()}, Limits(stop_seconds=1))
    async with trio.open_nursery() as nursery, system:
        nursery.start_soon(ask)
        await trio.sleep(1)
    assert outcomes == ["unknown"]
