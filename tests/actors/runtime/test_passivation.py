"""Who leaves, when, and that a message meets exactly one incarnation whenever it comes."""

from itertools import chain

import pytest
import trio
import trio.lowlevel

from tabletap.actors.runtime import Address, KindLimits, Limits
from tabletap.actors.runtime.testing import settle

from .conftest import A, B


async def test_an_actor_is_activated_by_its_first_message_only(autojump_clock, raised, probes):
    async with raised() as system:
        system.ref(A)
        assert system.live == 0
        system.tell(A, 1)
        assert system.live == 1
        await settle(system)
        assert probes.births == {A: 1}


async def test_messages_wait_while_an_actor_starts(autojump_clock, raised, probes):
    async def slow(address):
        await trio.sleep(5)

    probes.on_started = slow
    async with raised() as system:
        system.tell(A, 1)
        await trio.sleep(1)
        system.tell(A, 2)
        assert [line.state for line in system.tree()] == ["starting"]
        await settle(system)
        assert probes.batches == [[1, 2]]


async def test_an_idle_actor_is_passivated(autojump_clock, raised, probes):
    async with raised(Limits(idle_seconds=60)) as system:
        system.tell(A, 1)
        await trio.sleep(30)
        system.tell(A, 2)
        await trio.sleep(59)
        assert system.live == 1
        await trio.sleep(60 / 16 + 2)
        assert system.live == 0
        assert (probes.births[A], probes.ends[A]) == (1, 1)
        assert system.counters.passivations == 1


async def test_a_kind_may_have_its_own_idle_time(autojump_clock, raised, probes):
    limits = Limits(idle_seconds=10, kinds={"probe": KindLimits(idle_seconds=100)})
    async with raised(limits) as system:
        system.tell(A, 1)
        await trio.sleep(50)
        assert system.live == 1


async def test_an_actor_that_is_not_idle_by_its_own_word_stays(autojump_clock, raised, probes):
    probes.willing = False
    async with raised(Limits(idle_seconds=1, active_limit=1)) as system:
        system.tell(A, 1)
        system.tell(B, 1)
        await trio.sleep(10)
        assert system.live == 2
        probes.willing = True
        await trio.sleep(10)
        assert system.live == 0


async def test_beyond_the_active_limit_the_least_recently_used_leaves(autojump_clock, raised, probes):
    names = [Address("probe", number) for number in range(6)]
    async with raised(Limits(active_limit=3)) as system:
        for name in names[:3]:
            system.tell(name, 1)
            await settle(system)
        system.tell(names[0], 2)
        await settle(system)
        for name in names[3:5]:
            system.tell(name, 1)
            await settle(system)
        assert set(probes.alive) == {names[0], names[3], names[4]}


async def test_a_crowd_shrinks_to_the_limit_and_the_busy_are_spared(autojump_clock, raised, probes):
    async with raised(Limits(active_limit=10)) as system:
        probes.gate = trio.Event()
        for number in range(40):
            system.tell(Address("probe", number), number)
        await trio.sleep(1)
        assert system.live == 40
        probes.gate.set()
        await settle(system)
        assert system.live == 10
        assert sorted(chain.from_iterable(probes.seen.values())) == list(range(40))


async def test_a_message_during_stopped_finds_a_new_incarnation_afterwards(autojump_clock, raised, probes):
    async def slow(address):
        await trio.sleep(5)

    probes.on_stopped = slow
    async with raised(Limits(idle_seconds=10)) as system:
        system.tell(A, 1)
        await trio.sleep(12)
        assert [line.state for line in system.tree()] == ["stopping"]
        system.tell(A, 2)
        assert await system.ask(A, 3, timeout=60) is None
        assert probes.seen[A] == [1, 2, 3]
        assert (probes.births[A], probes.ends[A]) == (2, 1)
        assert system.live == 1


@pytest.mark.parametrize("stop_checkpoints", [0, 1, 2])
@pytest.mark.parametrize("start_checkpoints", [0, 1])
async def test_no_moment_of_passivation_loses_a_message_or_doubles_the_actor(
    autojump_clock, raised, probes, stop_checkpoints, start_checkpoints
):
    """Every interleaving at the grain of the scheduler: the message comes n checkpoints after the passivation."""

    async def checkpoints(count):
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    probes.on_started = lambda address: checkpoints(start_checkpoints)
    probes.on_stopped = lambda address: checkpoints(stop_checkpoints)
    async with raised(Limits(active_limit=1)) as system:
        sent = 0
        for moment in range(8):
            for times in (1, 2):
                system.tell(A, sent)
                sent += 1
                await settle(system)
                system.tell(B, "pushes A out")
                await checkpoints(moment)
                for _ in range(times):
                    system.tell(A, sent)
                    sent += 1
                await settle(system)
                assert probes.seen[A] == list(range(sent))
                assert probes.births[A] - probes.ends[A] in (0, 1)
        assert system.live == 1


async def test_a_message_that_comes_before_the_leaving_begins_keeps_the_actor(autojump_clock, raised, probes):
    async with raised(Limits(active_limit=1)) as system:
        system.tell(A, 1)
        await settle(system)
        system.tell(B, "would push A out")
        system.tell(A, 2)
        probes.willing = False  # from here on nobody else leaves
        await settle(system)
        assert probes.seen[A] == [1, 2]
        assert (probes.births[A], probes.ends[A]) == (1, 0)
        assert system.live == 2


async def test_an_error_in_stopped_is_loud_and_loses_nothing(autojump_clock, raised, probes):
    crashes = []

    async def bug(address):
        system.tell(A, 2)
        probes.on_stopped = None
        del probes.alive[A]
        raise ValueError

    probes.on_stopped = bug
    async with raised(Limits(idle_seconds=10), on_crash=lambda *crash: crashes.append(crash)) as system:
        system.tell(A, 1)
        await trio.sleep(15)
        assert probes.seen[A] == [1, 2]
        assert len(crashes) == 1


async def test_a_note_to_oneself_comes_and_can_be_cancelled(autojump_clock, raised, probes):
    async with raised() as system:
        system.tell(A, 1)
        await settle(system)
        context = probes.last(A).context
        context.tell_self_later(5, "later")
        context.tell_self_later(6, "never").cancel()
        await trio.sleep(4.9)
        assert probes.seen[A] == [1]
        await trio.sleep(5)
        assert probes.seen[A] == [1, "later"]


async def test_a_note_to_oneself_dies_with_the_incarnation(autojump_clock, raised, probes):
    async with raised(Limits(idle_seconds=10)) as system:
        system.tell(A, 1)
        await settle(system)
        probes.last(A).context.tell_self_later(15, "of the former life")
        await trio.sleep(12)
        system.tell(A, 2)
        await trio.sleep(9)
        assert probes.seen[A] == [1, 2]
