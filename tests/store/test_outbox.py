from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing
import uuid_utils.compat

from tabletap.actors.ports import Commit, Sent
from tabletap.actors.runtime import Address, MailboxFull, Outage
from tabletap.domain.base import CafeId, Kind, Message, Ref
from tabletap.domain.messages import ReturnUnapplied
from tabletap.store.jobs import Jobs
from tabletap.store.outbox import Relay, RelayLimits
from tabletap.store.pool import Database
from tests.domain.world import STAFF
from tests.store.journal_contract import Store
from tests.store.opened import opened, rows, run
from tests.store.shop import Shop

CAFE = CafeId(UUID(int=1))
QUICK = RelayLimits(first_pause_seconds=0.001, longest_pause_seconds=0.01, net_seconds=0.02)


def receiver(number: int) -> Ref:
    return Ref(Kind.PAYMENT, UUID(int=100 + number), CAFE)


def message(to: Ref, amount: int = 1) -> Sent:
    return Sent(uuid_utils.compat.uuid7(), Message(to, ReturnUnapplied(amount)), STAFF)


class Lost:
    """A hand-over that never reaches the relay, as after a crash right behind the commit."""

    def hand_over(self, sent: Sequence[Sent]) -> None:
        pass


class Actors:
    """Receivers: they note what comes and consume it, unless they were told to do something else first."""

    def __init__(self) -> None:
        self.got: list[Sent] = []
        self.first: dict[UUID, Callable[[Sent], Awaitable[None]]] = {}
        self.under_way = 0
        self.most_under_way = 0
        self.store: Store

    async def deliver(self, sent: Sent) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if sent.id in self.first:
                await self.first[sent.id](sent)
            await self.store.journal.commit(Commit(author=sent.message.to, version=0, consumed=[sent.id]))
            self.got.append(sent)
        finally:
            self.under_way -= 1

    @property
    def amounts(self) -> list[tuple[int, int]]:
        return [(sent.message.to.id.int - 100, sent.message.command.amount) for sent in self.got]  # type: ignore[attr-defined]

    async def until(self, count: int) -> None:
        while len(self.got) < count:
            await trio.lowlevel.checkpoint()


class Failing:
    """Fails so many times, or for good."""

    def __init__(self, error: Exception, times: float = float("inf")) -> None:
        self.error = error
        self.times = times
        self.tries = 0

    async def __call__(self, _sent: Sent) -> None:
        self.tries += 1
        await trio.lowlevel.checkpoint()
        if self.tries <= self.times:
            raise self.error


@asynccontextmanager
async def relaying(
    database: Database, actors: Actors, limits: RelayLimits = QUICK, *, lost: bool = False
) -> AsyncIterator[tuple[Relay, Store]]:
    relay = Relay(database, actors.deliver, limits)
    async with opened(database, Lost() if lost else relay) as store:
        actors.store = store
        async with trio.open_nursery() as nursery:
            await nursery.start(relay.run)
            yield relay, store
            nursery.cancel_scope.cancel()


async def send(store: Store, *sent: Sent) -> None:
    await store.journal.commit(Commit(author=Ref(Kind.CAFE, CAFE, CAFE), version=0, sent=sent))


async def outbox(database: Database) -> list[tuple[Any, ...]]:
    return await rows(database, "SELECT id, attempts, last_error FROM outbox ORDER BY seq")


@pytest.fixture
def actors() -> Actors:
    return Actors()


async def test_what_is_committed_is_delivered_at_once_from_memory_and_consumed(
    migrated: Database, actors: Actors
) -> None:
    async with relaying(migrated, actors) as (relay, store):
        shop = Shop()
        order = shop.place()
        shop.take(shop.pay(order))
        await store.write(shop)
        (sent,) = shop.outbox[order]
        assert await relay.delivered([sent.id], 10)
        assert actors.got == [sent]
        assert await outbox(migrated) == []
        assert relay.stats().netted == 0
        assert await relay.delivered([sent.id], 10), "what is not held any more has been delivered"


async def test_messages_of_one_receiver_keep_their_order_and_receivers_do_not_wait_for_each_other(
    migrated: Database, actors: Actors
) -> None:
    release = trio.Event()

    async def slowly(_: Sent) -> None:
        await release.wait()

    sent = [message(receiver(number), amount) for amount in range(1, 6) for number in range(3)]
    actors.first[sent[0].id] = slowly
    async with relaying(migrated, actors) as (_, store):
        await send(store, *sent)
        await actors.until(10)
        assert all(number != 0 for number, _ in actors.amounts)
        release.set()
        await actors.until(15)
        for number in range(3):
            assert [amount for one, amount in actors.amounts if one == number] == [1, 2, 3, 4, 5]
        assert await outbox(migrated) == []


async def test_only_so_many_deliveries_are_under_way(migrated: Database, actors: Actors) -> None:
    async with relaying(migrated, actors, RelayLimits(at_once=3)) as (_, store):
        await send(store, *(message(receiver(number)) for number in range(20)))
        await actors.until(20)
    assert actors.most_under_way == 3


async def test_a_message_that_always_fails_is_set_aside_and_holds_up_only_its_own_receiver(
    migrated: Database, actors: Actors
) -> None:
    poisoned, behind, elsewhere = message(receiver(0), 1), message(receiver(0), 2), message(receiver(1), 3)
    failing = actors.first[poisoned.id] = Failing(ZeroDivisionError("poison\0"))
    async with relaying(migrated, actors) as (relay, store):
        await send(store, poisoned, behind, elsewhere)
        assert not await relay.delivered([poisoned.id, elsewhere.id], 10)
        await actors.until(2)
        assert sorted(actors.amounts) == [(0, 2), (1, 3)]
        assert failing.tries == 5
        assert await outbox(migrated) == []
        assert await rows(migrated, "SELECT id, attempts, last_error FROM outbox_dead") == [
            (poisoned.id, 5, "ZeroDivisionError: poison ")
        ]
        assert relay.stats().dead == 1
        failing.times = 0
        assert await Jobs(migrated, relay).replay(poisoned.id)
        await actors.until(3)
        assert not await Jobs(migrated, relay).replay(poisoned.id)
        assert await rows(migrated, "SELECT id FROM outbox_dead") == []


async def test_a_failure_that_passes_leaves_a_note_and_no_more(migrated: Database, actors: Actors) -> None:
    sent = message(receiver(0))
    failing = actors.first[sent.id] = Failing(ZeroDivisionError("once"), times=2)
    async with relaying(migrated, actors) as (relay, store):
        await send(store, sent)
        await actors.until(1)
    assert failing.tries == 3
    assert relay.stats().failed == 2


@pytest.mark.parametrize("trouble", [Outage("away"), MailboxFull(Address("payment", 1), "is full", 1.0)])
async def test_an_outage_or_a_full_mailbox_is_no_failure_of_the_message(
    migrated: Database, actors: Actors, trouble: Exception
) -> None:
    sent = message(receiver(0))
    actors.first[sent.id] = Failing(trouble, times=12)
    async with relaying(migrated, actors) as (relay, store):
        await send(store, sent)
        await actors.until(1)
        assert relay.stats().failed == relay.stats().dead == 0


async def test_what_a_crash_kept_from_the_relay_is_delivered_by_the_net_once_and_in_order(
    migrated: Database, actors: Actors
) -> None:
    sent = [message(receiver(0), amount) for amount in range(1, 8)]
    async with relaying(migrated, actors, lost=True) as (relay, store):
        for one in sent:
            await send(store, one)
        await trio.sleep(0.1)
        assert actors.got == [], "they are leased to their writer"
        await run(migrated, "UPDATE outbox SET next_at = now()")
        await actors.until(7)
        await trio.sleep(0.1)
        assert actors.got == sent
        assert relay.stats().netted == 7
        assert await outbox(migrated) == []


async def test_two_nets_share_the_table_without_delivering_twice(migrated: Database, actors: Actors) -> None:
    sent = [message(receiver(number % 7), number) for number in range(70)]
    async with relaying(migrated, actors, lost=True) as (_, store), trio.open_nursery() as nursery:
        await nursery.start(Relay(migrated, actors.deliver, QUICK).run)
        await send(store, *sent)
        await run(migrated, "UPDATE outbox SET next_at = now()")
        await actors.until(70)
        await trio.sleep(0.1)
        assert len(actors.got) == 70
        for number in range(7):
            amounts = [amount for one, amount in actors.amounts if one == number]
            assert amounts == sorted(amounts)
        nursery.cancel_scope.cancel()


async def test_the_net_does_not_go_past_a_message_that_is_not_its_to_take(migrated: Database, actors: Actors) -> None:
    first, second, other = message(receiver(0), 1), message(receiver(0), 2), message(receiver(1), 3)
    async with relaying(migrated, actors, lost=True) as (_, store):
        await send(store, first, second, other)
        await run(migrated, "UPDATE outbox SET next_at = now() WHERE id <> $1", first.id)
        await actors.until(1)
        await trio.sleep(0.1)
        assert actors.got == [other]
        await run(migrated, "UPDATE outbox SET next_at = now()")
        await actors.until(3)
        assert actors.amounts == [(1, 3), (0, 1), (0, 2)]


async def test_what_memory_has_no_room_for_stays_in_the_table_and_keeps_its_order(
    migrated: Database, actors: Actors
) -> None:
    sent = [message(receiver(0), amount) for amount in range(1, 7)]
    release = trio.Event()

    async def slowly(_: Sent) -> None:
        await release.wait()

    actors.first[sent[0].id] = slowly
    limits = RelayLimits(held=2, net_seconds=0.02)
    async with relaying(migrated, actors, limits) as (relay, store):
        await send(store, *sent[:4])
        assert relay.stats().held == 2
        assert relay.stats().left_to_net == 2
        release.set()
        await actors.until(2)
        await send(store, *sent[4:])
        assert relay.stats().left_to_net == 4, "the receiver's later ones must not overtake those in the table"
        await run(migrated, "UPDATE outbox SET next_at = now()")
        await actors.until(6)
        assert actors.got == sent


async def test_receivers_with_messages_of_a_former_life_get_those_first(migrated: Database, actors: Actors) -> None:
    old, new, fresh = message(receiver(0), 1), message(receiver(0), 2), message(receiver(1), 3)
    async with opened(migrated) as former:
        await send(former, old)
    async with relaying(migrated, actors) as (relay, store):
        assert len(relay._spilled) == 1
        await send(store, new, fresh)
        await actors.until(1)
        assert actors.got == [fresh]
        await run(migrated, "UPDATE outbox SET next_at = now()")
        await actors.until(3)
        assert actors.got == [fresh, old, new]


async def test_what_waits_in_memory_is_kept_from_other_nodes_nets(migrated: Database, actors: Actors) -> None:
    sent, release = message(receiver(0)), trio.Event()

    async def slowly(_: Sent) -> None:
        await release.wait()

    actors.first[sent.id] = slowly
    async with relaying(migrated, actors) as (relay, store):
        await send(store, sent)
        await run(migrated, "UPDATE outbox SET next_at = now() + interval '1 second'")
        relay.wake()
        while not await rows(migrated, "SELECT FROM outbox WHERE next_at > now() + interval '5 seconds'"):
            await trio.lowlevel.checkpoint()
        assert not await relay.delivered([sent.id], 0)
        release.set()
        await actors.until(1)
