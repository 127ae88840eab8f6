"""What may wait, how it is handed over, and what is refused."""

from dataclasses import dataclass

import pytest
import trio

from tabletap.actors.runtime import KindLimits, Limits, MailboxFull, NotExecuted, Ref
from tabletap.actors.runtime.testing import settle

from .conftest import A, B


async def test_all_that_waits_is_handed_over_in_one_batch(autojump_clock, raised, probes):
    async with raised() as system:
        for number in range(5):
            system.tell(A, number)
        await settle(system)
        assert probes.batches == [[0, 1, 2, 3, 4]]
        assert system.counters.told == 5


async def test_what_arrives_during_a_batch_is_the_next_batch(autojump_clock, raised, probes):
    probes.gate = trio.Event()
    async with raised() as system:
        system.tell(A, 1)
        await trio.testing.wait_all_tasks_blocked()
        system.tell(A, 2)
        system.tell(A, 3)
        probes.gate.set()
        await settle(system)
        assert probes.batches == [[1], [2, 3]]


@pytest.mark.parametrize("through_ref", [False, True])
async def test_a_mailbox_is_bounded_by_count(autojump_clock, raised, probes, through_ref):
    probes.gate = trio.Event()
    async with raised(Limits(mailbox_messages=2, retry_after_seconds=3)) as system:
        ref = system.ref(A)
        tell = ref.tell if through_ref else lambda message: system.tell(A, message)
        tell("in hand")
        await trio.testing.wait_all_tasks_blocked()
        tell(1)
        tell(2)
        with pytest.raises(MailboxFull) as refusal:
            tell(3)
        assert refusal.value.address == A
        assert refusal.value.retry_after_seconds == 3
        assert system.counters.refused == 1
        probes.gate.set()
        await settle(system)
        tell(4)
        await settle(system)
        assert probes.seen[A] == ["in hand", 1, 2, 4]


async def test_a_mailbox_is_bounded_by_bytes(autojump_clock, raised, probes):
    async with raised(Limits(mailbox_bytes=100)) as system:
        system.tell(A, "half", size=50)
        system.tell(A, "light")
        system.tell(A, "other half", size=50)
        with pytest.raises(MailboxFull):
            system.tell(A, "one more", size=1)
        await settle(system)
        system.tell(A, "again", size=100)
        await settle(system)
        assert probes.seen[A] == ["half", "light", "other half", "again"]


async def test_a_full_mailbox_refuses_an_ask_at_once(autojump_clock, raised):
    async with raised(Limits(mailbox_messages=1)) as system:
        system.tell(A, 1)
        with pytest.raises(MailboxFull):
            await system.ask(A, 2, timeout=5)


async def test_a_kind_may_have_its_own_bounds(autojump_clock, raised, probes):
    limits = Limits(mailbox_messages=1, kinds={"probe": KindLimits(mailbox_messages=3)})
    async with raised(limits) as system:
        for number in range(3):
            system.tell(A, number)
        with pytest.raises(MailboxFull):
            system.tell(A, 3)


async def test_expired_asks_make_room_when_it_is_needed(autojump_clock, raised, probes):
    probes.gate = trio.Event()
    async with raised(Limits(mailbox_messages=1)) as system:
        system.tell(A, "in hand")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(NotExecuted):
            await system.ask(A, "late", timeout=1)
        system.tell(A, "fits")
        probes.gate.set()
        await settle(system)
        assert probes.seen[A] == ["in hand", "fits"]


async def test_a_message_for_an_unknown_kind_is_the_senders_mistake(autojump_clock, raised):
    async with raised() as system:
        with pytest.raises(LookupError, match="nowhere"):
            system.tell(A._replace(kind="nowhere"), 1)


async def test_a_ref_stays_good_across_passivation(autojump_clock, raised, probes):
    async with raised(Limits(idle_seconds=10)) as system:
        ref: Ref = system.ref(A)
        ref.tell(1)
        await trio.sleep(20)
        assert system.live == 0
        ref.tell(2)
        ref.tell(3)
        await settle(system)
        assert probes.seen[A] == [1, 2, 3]
        assert probes.births[A] == 2


@dataclass(frozen=True)
class Price:
    coalesce_key: str | None
    cents: int


COALESCING = Limits(mailbox_messages=2, mailbox_bytes=100, kinds={"probe": KindLimits(coalesces=True)})


async def test_a_newer_message_replaces_the_waiting_one_with_its_key(autojump_clock, raised, probes):
    async with raised(COALESCING) as system:
        system.tell(A, Price("tea", 1))
        system.tell(A, Price("mint", 2))
        for cents in range(10):  # a full mailbox has room for news of what it holds
            system.tell(A, Price("tea", cents))
        await settle(system)
        assert probes.seen[A] == [Price("tea", 9), Price("mint", 2)]
        assert system.counters.coalesced == 10
        system.tell(A, Price("tea", 11))
        await settle(system)
        assert probes.seen[A][-1] == Price("tea", 11)


async def test_coalescing_keeps_count_of_bytes(autojump_clock, raised):
    async with raised(COALESCING) as system:
        system.tell(A, Price("tea", 1), size=60)
        system.tell(A, Price("tea", 2), size=100)
        with pytest.raises(MailboxFull):
            system.tell(A, Price("tea", 3), size=101)
        with pytest.raises(MailboxFull):
            system.tell(A, Price("mint", 3), size=1)


async def test_messages_without_a_key_and_other_kinds_never_coalesce(autojump_clock, raised, probes):
    async with raised(COALESCING) as system:
        system.tell(A, Price(None, 1))
        system.tell(A, Price(None, 2))
        await settle(system)
        assert len(probes.seen[A]) == 2
    async with raised() as system:
        system.tell(B, Price("tea", 1))
        system.tell(B, Price("tea", 2))
        await settle(system)
        assert len(probes.seen[B]) == 2
