"""What a crash costs, what an outage does not, and where messages go that nobody will process."""

from random import Random

import pytest
import trio

from tabletap.actors.runtime import (
    Actor,
    ActorFailed,
    Asked,
    Limits,
    MailboxFull,
    Outage,
    OutcomeUnknown,
    Quarantined,
)
from tabletap.actors.runtime.supervision import Trouble
from tabletap.actors.runtime.testing import settle

from .conftest import A, B, Bug

CALM = Limits(backoff_seconds=1, backoff_jitter=0, restarts=10)


class StorageDown(Outage):
    pass


def crashing_on(*poison, times=10**9):
    """An on_message that raises for some messages, so many times each."""
    left = dict.fromkeys(poison, times)

    def on_message(address, message):
        if left.get(message, 0):
            left[message] -= 1
            raise Bug(message)

    return on_message


async def test_a_crash_restarts_the_actor_and_its_messages_come_again_one_at_a_time_in_order(
    autojump_clock, raised, probes
):
    probes.on_message = crashing_on(2, times=1)
    async with raised(CALM) as system:
        for number in (1, 2, 3):
            system.tell(A, number)
        await trio.sleep(0.5)
        system.tell(A, 4)
        system.tell(A, 5)
        await settle(system)
        assert probes.batches == [[1, 2, 3], [1], [2], [3], [4, 5]]
        assert probes.births[A] == 2
        assert system.counters.restarts == 1
        assert system.counters.told == 5


async def test_a_message_that_kills_its_actor_twice_is_set_aside(autojump_clock, raised, probes):
    probes.on_message = crashing_on(2)
    letters = []
    async with raised(CALM, on_dead_letter=letters.append) as system:
        for number in (1, 2, 3):
            system.tell(A, number)
        await settle(system)
        assert probes.seen[A] == [1, 1, 3]  # the first was in the crashed batch, and unsettled
        (letter,) = letters
        assert (letter.address, letter.message) == (A, "int")
        assert "poison" in letter.reason
        assert "Bug" in letter.reason
        assert list(system.dead_letters) == letters
        assert system.counters.dead_letters == 1


async def test_a_settled_batch_is_never_delivered_again(autojump_clock, raised):
    effects = []

    class Settles(Actor):
        async def receive(self, batch):
            effects.extend(batch.messages)
            batch.settle()
            if len(effects) == 2:
                raise Bug

    address = A._replace(kind="settles")
    async with raised(CALM, factories={"settles": lambda _: Settles()}) as system:
        system.tell(address, 1)
        system.tell(address, 2)
        await settle(system)
        system.tell(address, 3)
        await settle(system)
        assert effects == [1, 2, 3]


async def test_an_asker_of_a_settled_batch_that_crashed_hears_that_the_outcome_is_unknown(autojump_clock, raised):
    class Settles(Actor):
        async def receive(self, batch):
            batch.settle()
            raise Bug

    address = A._replace(kind="settles")
    async with raised(CALM, factories={"settles": lambda _: Settles()}) as system:
        with pytest.raises(OutcomeUnknown) as unknown:
            await system.ask(address, 1, timeout=None)
        assert isinstance(unknown.value.__cause__, Bug)


async def test_an_answered_ask_is_not_delivered_again(autojump_clock, raised):
    seen = []

    class AnswersThenCrashes(Actor):
        async def receive(self, batch):
            for item in batch:
                seen.append(item.message if isinstance(item, Asked) else item)
                if isinstance(item, Asked):
                    item.answer("done")
            if len(seen) == 2:
                raise Bug

    address = A._replace(kind="crashes")
    async with raised(CALM, factories={"crashes": lambda _: AnswersThenCrashes()}) as system:
        system.tell(address, "told")
        assert await system.ask(address, "asked", timeout=5) == "done"
        await settle(system)
        assert seen == ["told", "asked", "told"]


async def test_the_wait_before_a_restart_doubles_up_to_its_cap_and_part_of_it_is_chance(autojump_clock, raised, probes):
    limits = Limits(backoff_seconds=1, backoff_most_seconds=10, backoff_jitter=0, restarts=100)
    trouble = Trouble()
    waits = []
    for _ in range(6):
        trouble.crashed(0.0, limits)
        waits.append(trouble.backoff_seconds(limits, Random(1)))
    assert waits == [1, 2, 4, 8, 10, 10]
    jittered = Limits(backoff_seconds=1, backoff_most_seconds=10, backoff_jitter=0.5)
    some = {trouble.backoff_seconds(jittered, Random(seed)) for seed in range(20)}
    assert len(some) == 20
    assert all(5 <= wait <= 10 for wait in some)


async def test_crashes_outside_the_window_are_forgiven(autojump_clock, raised, probes):
    probes.on_message = crashing_on("bad", times=10**9)
    limits = Limits(backoff_seconds=0.1, restarts=2, restart_window_seconds=60)
    async with raised(limits) as system:
        for _ in range(5):  # two crashes each: delivered, and delivered once more
            system.tell(A, "bad")
            await trio.sleep(100)
        assert system.counters.quarantines == 0
        assert system.counters.restarts == 10


async def test_over_its_budget_an_address_is_quarantined_and_comes_back_after_its_cool_off(
    autojump_clock, raised, probes
):
    escalated, letters = [], []

    async def never_starts(address):
        raise Bug("no start")

    async def ask():
        with pytest.raises(ActorFailed) as failure:
            await system.ask(A, "asked", timeout=None)
        assert isinstance(failure.value.__cause__, Bug)

    probes.on_started = never_starts
    limits = Limits(restarts=3, backoff_seconds=0.1, quarantine_seconds=100)
    async with raised(
        limits, on_escalate=lambda *what: escalated.append(what), on_dead_letter=letters.append
    ) as system:
        system.tell(A, "told")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
        assert [(address, str(crash)) for address, crash in escalated] == [(A, "no start")]
        assert [letter.reason for letter in letters] == ["quarantined: crashed too often"]
        assert (system.counters.restarts, system.counters.quarantines) == (3, 1)
        with pytest.raises(Quarantined) as refusal:
            system.tell(A, "refused")
        assert 0 < refusal.value.retry_after_seconds <= 100
        with pytest.raises(Quarantined):
            await system.ask(A, "refused", timeout=1)
        with pytest.raises(Quarantined):
            system.ref(A).tell("refused")
        assert [line.state for line in system.tree()] == ["quarantined"]
        assert system.live == 0
        system.tell(B, "others live")
        probes.on_started = None
        await trio.sleep(101)
        system.tell(A, "back")
        await settle(system)
        assert probes.seen[A] == ["back"]


async def test_an_outage_spends_no_budget_however_long_and_keeps_every_message(autojump_clock, raised, probes):
    down_until = 10_000.0

    def write(address, message):
        if trio.current_time() < down_until:
            raise StorageDown

    probes.on_message = write
    limits = Limits(restarts=1, backoff_seconds=1, backoff_most_seconds=60, mailbox_messages=3)
    async with raised(limits) as system:
        system.tell(A, 1)
        system.tell(A, 2)
        await trio.sleep(5000)
        system.tell(A, 3)
        with pytest.raises(MailboxFull):  # and it stays bounded
            system.tell(A, 4)
        await settle(system)
        assert probes.seen[A] == [1, 2, 3]
        assert system.counters.restarts == 0
        assert system.counters.outages > 50
        assert system.counters.told == 3


async def test_messages_in_hand_count_against_the_bound_while_an_outage_lasts(autojump_clock, raised, probes):
    async def write(address, message):
        await trio.sleep(1)
        if trio.current_time() < 50:
            raise StorageDown

    probes.on_message = write
    refused = 0
    async with raised(Limits(mailbox_messages=3, backoff_seconds=0.5)) as system:
        for number in range(100):
            try:
                system.tell(A, number)
            except MailboxFull:
                refused += 1
            await trio.sleep(0.25)
        assert refused > 90
        assert sum(line.depth for line in system.tree()) <= 6
        await settle(system)


async def test_an_outage_wrapped_by_a_nursery_is_still_an_outage(autojump_clock, raised, probes):
    failures = [ExceptionGroup("nursery", [StorageDown(), StorageDown()])]

    def fail_once(address, message):
        if failures:
            raise failures.pop()

    probes.on_message = fail_once
    async with raised(CALM) as system:
        system.tell(A, 1)
        await settle(system)
        assert (system.counters.outages, system.counters.restarts) == (1, 0)
        failures.append(ExceptionGroup("nursery", [StorageDown(), Bug()]))
        system.tell(A, 2)
        await settle(system)
        assert (system.counters.outages, system.counters.restarts) == (1, 1)


async def test_an_outage_during_a_trial_convicts_nobody(autojump_clock, raised, probes):
    failures = [StorageDown(), StorageDown(), Bug()]

    def fail(address, message):
        if failures:
            raise failures.pop()

    probes.on_message = fail
    async with raised(CALM) as system:
        system.tell(A, 1)
        system.tell(A, 2)
        await settle(system)
        assert probes.seen[A] == [1, 2]
        assert system.counters.dead_letters == 0


async def test_an_ask_that_expires_during_a_backoff_has_an_unknown_outcome_and_is_not_tried_again(
    autojump_clock, raised, probes
):
    probes.on_message = crashing_on("asked", times=1)
    async with raised(CALM) as system:
        with pytest.raises(OutcomeUnknown):
            await system.ask(A, "asked", timeout=0.5)
        await settle(system)
        assert probes.seen[A] == []


async def test_one_actors_crash_leaves_the_others_alone(autojump_clock, raised, probes):
    probes.on_message = crashing_on("bad")
    async with raised(Limits(restarts=0)) as system:
        system.tell(B, 1)
        system.tell(A, "bad")
        system.tell(B, 2)
        await settle(system)
        assert probes.seen[B] == [1, 2]
        assert probes.births[B] == 1


async def test_a_base_exception_ends_the_system(autojump_clock, raised, probes):
    class Fatal(BaseException):
        pass

    def fatal(address, message):
        raise Fatal

    probes.on_message = fatal
    with pytest.raises(BaseExceptionGroup) as group:  # noqa: PT012 - the block is the system's life
        async with raised() as system:
            system.tell(A, 1)
            await trio.sleep_forever()
    assert group.group_contains(Fatal)


async def test_dead_letters_are_a_bounded_ring_and_all_are_counted(autojump_clock, raised, probes):
    probes.on_message = crashing_on(*range(5))
    async with raised(Limits(dead_letters=2, restarts=100, backoff_seconds=0.1)) as system:
        for number in range(5):
            system.tell(A, number)
        await settle(system)
        assert (len(system.dead_letters), system.dead_letters.total) == (2, 5)


async def test_a_failing_callback_harms_nobody(autojump_clock, raised, probes, caplog):
    def broken(*_):
        raise ValueError("callback")

    probes.on_message = crashing_on("bad")
    async with raised(CALM, on_dead_letter=broken, on_crash=broken) as system:
        system.tell(A, "bad")
        system.tell(A, "good")
        await settle(system)
        assert probes.seen[A] == ["good"]
    assert "callback" in caplog.text


async def test_a_crash_is_loud_where_nobody_listens(autojump_clock, raised, probes, caplog):
    probes.on_message = crashing_on("bad", times=1)
    async with raised(CALM, on_crash=None) as system:
        system.tell(A, "bad")
        await settle(system)
    assert "actor probe:a crashed" in caplog.text
