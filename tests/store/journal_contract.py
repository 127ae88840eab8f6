"""What every store promises to the actors. Subclass ``JournalContract`` and give it a fixture ``store``."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
import trio
import trio.testing
import uuid_utils.compat

from tabletap.actors.ports import (
    Answered,
    Commit,
    Conflict,
    DuplicateKey,
    Idempotency,
    Journal,
    New,
    Reader,
    Recorded,
    Sent,
)
from tabletap.actors.runtime import WakeSource
from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import order as orders
from tabletap.domain import payment as payments
from tabletap.domain.base import CafeId, Job, Kind, Message, OrderId, PaymentId, Ref
from tabletap.domain.messages import Release
from tabletap.domain.tasks import ProcessWebhook
from tabletap.domain.vocabulary import Channel, Queue
from tests.domain.world import BANANA, NOON, STAFF, TOAST
from tests.store.shop import Shop, Tape

PINNED = ("cafe.opened", "cafe.configured", "cafe.menu_published")


class Store(NamedTuple):
    """``now``: the store's clock stands at NOON. ``waiting``: ids of messages that nobody has consumed."""

    journal: Journal
    reader: Reader
    wakes: WakeSource
    tape: Tape
    waiting: Callable[[], Awaitable[set[UUID]]]

    async def write(self, shop: Shop) -> list[Recorded]:
        """Everything the shop has decided and that is not written yet."""
        recorded: list[Recorded] = []
        for commit in shop.taken():
            recorded += await self.journal.commit(commit)
        return recorded


def availability(shop: Shop, version: int, sku: str = "toast") -> Commit:
    """A commit of the cafe about nothing much."""
    event = e.ItemAvailabilityChanged(sku, available=False)
    return Commit(
        author=shop.cafe_ref, version=version - 1, events=[New(shop.cafe_ref, version, event, shop.now, STAFF)]
    )


def answer(key: UUID, body: bytes = b'{"ok":true}', hours: float = 24) -> Answered:
    return Answered(Idempotency("demo:sam", key, b"digest"), True, body, NOON + timedelta(hours=hours))


def told(events: Sequence[Recorded]) -> list[tuple[Any, ...]]:
    return [(one.offset, one.id, one.ref, one.version, one.author, one.order_id, one.at, one.by, one.event)
            for one in events]  # fmt: skip


class JournalContract:
    async def test_what_is_written_is_answered_published_and_in_the_log_alike(self, store: Store) -> None:
        shop = Shop()
        shop.busy()
        recorded = await store.write(shop)
        cafe_id = shop.cafe_ref.cafe_id
        log = await store.reader.log(cafe_id, 0, 1000)
        assert [one.offset for one in log] == list(range(1, len(shop.log) + 1))
        assert told(log) == told(recorded) == told(store.tape.events[cafe_id])
        assert [msgspec.json.encode(one.event) for one in recorded] == [line.event for line in shop.log]
        assert await store.reader.head(cafe_id) == len(log) == store.tape.head(cafe_id)
        assert told(await store.reader.log(cafe_id, 3, 2)) == told(log[3:5])

    async def test_what_was_never_written_has_version_zero(self, store: Store) -> None:
        nobody = Ref(Kind.ORDER, uuid_utils.compat.uuid7(), CafeId(uuid_utils.compat.uuid7()))
        stored = await store.journal.load(nobody)
        assert (stored.version, stored.snapshot, list(stored.pinned), list(stored.later)) == (0, None, [], [])
        assert await store.reader.head(nobody.cafe_id) == 0
        assert await store.reader.order(OrderId(nobody.id)) is None

    async def test_a_stream_holds_what_is_about_an_entity_and_what_it_decided_about_others(self, store: Store) -> None:
        shop = Shop()
        order = shop.place()
        shop.place()
        payment = shop.paid(order)
        await store.write(shop)
        cafe = await store.journal.load(shop.cafe_ref)
        assert [type(one.event) for one in cafe.later] == [e.CafeOpened, e.OrderPlaced, e.OrderPlaced]
        assert cafe.version == 1
        stored = await store.journal.load(order)
        assert [type(one.event) for one in stored.later] == [
            e.OrderPlaced,
            e.OrderStatusChanged,
            e.PaymentInitiated,
            e.PaymentSettled,
            e.OrderStatusChanged,
        ]
        assert stored.version == 4
        state = orders.born(stored.later[0].event)  # type: ignore[arg-type]
        for one in stored.later[1:]:
            state = orders.evolve(state, one.event)
        assert state == shop.order(order)
        assert (await store.journal.load(payment)).version == 2

    async def test_a_snapshot_stands_for_what_was_before_it_except_for_pinned_events(self, store: Store) -> None:
        shop = Shop()
        shop.place()
        busy = msgspec.structs.replace(shop.cafe.settings, approval=True)
        shop.do(shop.cafe_ref, cafes.Configure(busy))
        shop.do(shop.cafe_ref, cafes.Configure(msgspec.structs.replace(busy, approval=False)))
        *rest, last = shop.taken()
        for commit in rest:
            await store.journal.commit(commit)
        await store.journal.commit(msgspec.structs.replace(last, snapshot=b"\x00kept"))
        shop.place()
        await store.write(shop)
        stored = await store.journal.load(shop.cafe_ref, PINNED)
        assert stored.snapshot == b"\x00kept"
        assert [(one.offset, type(one.event)) for one in stored.pinned] == [(1, e.CafeOpened), (4, e.CafeConfigured)]
        assert [(one.offset, type(one.event)) for one in stored.later] == [(5, e.OrderPlaced)]
        assert stored.version == 3
        assert list((await store.journal.load(shop.cafe_ref)).pinned) == []
        shop.do(shop.cafe_ref, cafes.SetAvailability("toast", available=False))
        await store.write(shop)
        assert (await store.journal.load(shop.cafe_ref)).version == 4

    async def test_a_newer_snapshot_replaces_the_older_even_without_events(self, store: Store) -> None:
        shop = Shop()
        await store.write(shop)
        shop.place()
        await store.write(shop)
        for state in (b"one", b"two"):
            await store.journal.commit(Commit(author=shop.cafe_ref, version=1, snapshot=state))
        stored = await store.journal.load(shop.cafe_ref, PINNED)
        assert (stored.snapshot, stored.version, list(stored.later)) == (b"two", 1, [])
        assert [type(one.event) for one in stored.pinned] == [e.CafeOpened]

    async def test_who_decided_on_an_old_version_loses_and_nothing_of_it_is_written(self, store: Store) -> None:
        shop = Shop()
        await store.write(shop)
        await store.journal.commit(availability(shop, 2))
        stale = msgspec.structs.replace(
            availability(shop, 2, "banana"), answered=[answer(UUID(int=5))], wakes=[(shop.cafe_ref, NOON)]
        )
        with pytest.raises(Conflict):
            await store.journal.commit(stale)
        assert await store.reader.head(shop.cafe_ref.cafe_id) == 2
        assert await store.reader.answered("demo:sam", UUID(int=5), NOON) is None
        assert list(await store.wakes.upcoming(NOON, 10)) == []
        assert (await store.journal.load(shop.cafe_ref)).version == 2
        again = await store.journal.commit(availability(shop, 3, "banana"))
        assert [one.offset for one in again] == [3]

    async def test_a_number_of_the_day_is_given_once(self, store: Store) -> None:
        shop = Shop()
        shop.place()
        await store.write(shop)
        placed = shop.orders[0].placed
        twin = msgspec.structs.replace(placed, order_id=OrderId(uuid_utils.compat.uuid7()))
        ref = Ref(Kind.ORDER, twin.order_id, twin.cafe_id)
        with pytest.raises(Conflict):
            await store.journal.commit(
                Commit(
                    author=shop.cafe_ref,
                    version=1,
                    events=[New(ref, 1, twin, shop.now, STAFF)],
                    states=[orders.born(twin)],
                )
            )

    async def test_a_key_is_answered_once_until_it_expires(self, store: Store) -> None:
        shop, key = Shop(), UUID(int=7)
        await store.write(shop)
        first = answer(key)
        assert list(await store.journal.commit(Commit(author=shop.cafe_ref, version=1, answered=[first]))) == []
        assert await store.reader.answered("demo:sam", key, NOON) == first
        assert await store.reader.answered("demo:sam", key, first.expires_at) is None
        assert await store.reader.answered("demo:kim", key, NOON) is None
        with pytest.raises(DuplicateKey):
            await store.journal.commit(msgspec.structs.replace(availability(shop, 2), answered=[answer(key, b"other")]))
        assert await store.reader.head(shop.cafe_ref.cafe_id) == 1
        assert await store.reader.answered("demo:sam", key, NOON) == first

    async def test_an_expired_key_may_be_used_again(self, store: Store) -> None:
        shop, key = Shop(), UUID(int=8)
        await store.write(shop)
        await store.journal.commit(Commit(author=shop.cafe_ref, version=1, answered=[answer(key, hours=-1)]))
        renewed = answer(key, b"[]")
        await store.journal.commit(Commit(author=shop.cafe_ref, version=1, answered=[renewed]))
        assert await store.reader.answered("demo:sam", key, NOON) == renewed

    async def test_a_message_waits_until_a_commit_of_its_receiver_has_consumed_it(self, store: Store) -> None:
        shop = Shop()
        order = shop.place()
        payment = shop.pay(order)
        shop.take(payment)
        await store.write(shop)
        (sent,) = shop.outbox[order]
        assert await store.waiting() == {sent.id}
        shop.deliver(order)
        await store.write(shop)
        assert await store.waiting() == set()
        repeated = Commit(author=order, version=3, consumed=[sent.id])
        assert list(await store.journal.commit(repeated)) == []

    async def test_a_job_waits_beside_the_messages_of_its_commit_until_it_is_consumed(self, store: Store) -> None:
        shop = Shop()
        await store.write(shop)
        flow, cafe_id = uuid_utils.compat.uuid7(), shop.cafe_ref.cafe_id
        task = ProcessWebhook(UUID(int=1))
        jobs = [Job(Queue.WEBHOOKS, "key", cafe_id, task, flow=flow), Job(Queue.ORDERS, "other", cafe_id, task)]
        message = Message(shop.cafe_ref, Release(PaymentId(UUID(int=2))))
        sent = [Sent(uuid_utils.compat.uuid7(), one, STAFF) for one in (*jobs, message)]
        for _ in range(2):  # written again, it is still there once
            await store.journal.commit(Commit(author=shop.cafe_ref, version=1, sent=sent))
        assert await store.waiting() == {one.id for one in sent}
        state = await store.reader.flow(flow)
        assert state is not None
        assert (state.cafe_id, state.total, state.done, state.dead) == (cafe_id, 1, 0, 0)
        subject = await store.reader.subject("flow", flow)
        assert subject is not None
        assert (subject.cafe_id, subject.customer_id) == (cafe_id, None)
        await store.journal.commit(Commit(author=shop.cafe_ref, version=1, consumed=[sent[0].id]))
        assert await store.waiting() == {sent[1].id, sent[2].id}
        assert await store.reader.flow(flow) is None
        assert await store.reader.subject("flow", flow) is None

    async def test_each_entity_has_one_wake_time_or_none(self, store: Store) -> None:
        shop = Shop()
        payment = shop.pay(shop.place())
        await store.write(shop)
        expires_at = shop.payment(payment).initiated.expires_at
        assert [((one.kind, one.key), at) for one, at in await store.wakes.upcoming(expires_at, 10)] == [
            (("payment", payment), expires_at)
        ]
        assert list(await store.wakes.upcoming(expires_at - timedelta(seconds=1), 10)) == []
        sooner = NOON + timedelta(minutes=1)
        await store.journal.commit(Commit(author=payment, version=1, wakes=[(payment, NOON), (payment, sooner)]))
        await store.journal.commit(Commit(author=shop.cafe_ref, version=1, wakes=[(shop.cafe_ref, NOON)]))
        both = await store.wakes.upcoming(expires_at, 10)
        assert [(one.key, at) for one, at in both] == [(shop.cafe_ref, NOON), (payment, sooner)]
        assert list(await store.wakes.upcoming(expires_at, 1)) == list(both[:1])
        await store.journal.commit(Commit(author=payment, version=1, wakes=[(payment, None)]))
        assert [one.key for one, _ in await store.wakes.upcoming(expires_at, 10)] == [shop.cafe_ref]

    async def test_views_are_those_of_the_domain(self, store: Store) -> None:
        shop = Shop()
        shop.busy()
        await store.write(shop)
        for state in shop.orders:
            shown = await store.reader.order(state.placed.order_id)
            assert shown is not None
            assert msgspec.structs.replace(shown, queue_position=None, estimated_ready_at=None) == orders.view(state)
        for payment in shop.payments:
            assert await store.reader.payment(payment.initiated.payment_id) == payments.view(payment)
            assert payments.view(payment) in await store.reader.payments(payment.initiated.order_id)
        (entry,) = await store.reader.cafes()
        assert (entry.id, entry.slug, entry.name) == (shop.cafe_ref.id, "corner", "Corner")

    async def test_a_drawer_is_listed_while_it_is_open(self, store: Store) -> None:
        shop, other = Shop(), Shop("other")
        till, second = (shop.do(shop.cafe_ref, cafes.OpenDrawer(name, 100)).births[0].ref for name in ("till", "bar"))
        other.do(other.cafe_ref, cafes.OpenDrawer("till", 100))
        shop.do(till, drawers.Count(100))
        await store.write(shop)
        await store.write(other)
        assert [(one.drawer_id, one.name) for one in await store.reader.drawers(shop.cafe_ref.cafe_id)] == [
            (second.id, "bar")
        ]

    async def test_a_cafe_is_listed_under_the_name_it_has_now(self, store: Store) -> None:
        shop = Shop()
        shop.do(shop.cafe_ref, cafes.Configure(msgspec.structs.replace(shop.cafe.settings, name="Roof")))
        shop.place()
        await store.write(shop)
        assert [entry.name for entry in await store.reader.cafes()] == ["Roof"]

    async def test_orders_are_listed_newest_first_and_by_pages_active_ones_oldest_first(self, store: Store) -> None:
        shop, other = Shop(), Shop("other")
        refs = [shop.place() for _ in range(5)]
        other.place()
        shop.do(refs[1], orders.MoveOrder("cancel"))
        shop.later(days=1)
        refs.append(shop.place())
        await store.write(shop)
        await store.write(other)
        cafe_id, reader = shop.cafe_ref.cafe_id, store.reader
        ids = [ref.id for ref in refs]
        assert [order.id for order in await reader.orders(cafe_id)] == ids[::-1]
        assert [order.id for order in await reader.orders(cafe_id, limit=2)] == [ids[5], ids[4]]
        page = await reader.orders(cafe_id, before=OrderId(ids[4]), limit=2)
        assert [order.id for order in page] == [ids[3], ids[2]]
        assert list(await reader.orders(cafe_id, before=OrderId(uuid_utils.compat.uuid7()))) == []
        active = await reader.orders(cafe_id, active=True)
        assert [order.id for order in active] == [id_ for id_ in ids if id_ != ids[1]]
        offset, same = await reader.orders_with_offset(cafe_id)
        assert (offset, list(same)) == (await reader.head(cafe_id), list(active))
        assert await reader.orders_with_offset(CafeId(uuid_utils.compat.uuid7())) == (0, [])

    async def test_the_orders_that_the_kitchen_does_not_have_are_found_by_what_is_in_them(self, store: Store) -> None:
        shop = Shop()
        cafe_id, reader = shop.cafe_ref.cafe_id, store.reader
        due = shop.now + timedelta(hours=2)
        shop.place(TOAST)
        waiting = [
            shop.place(*wishes, scheduled_for=due) for wishes in ((BANANA, TOAST), (BANANA,), (TOAST,), (TOAST,))
        ]
        shop.do(waiting[2], orders.MoveOrder("cancel"))
        await store.write(shop)
        assert list(await reader.unreleased(cafe_id, "toast")) == [waiting[0].id, waiting[3].id]
        assert list(await reader.unreleased(cafe_id, "banana")) == [waiting[0].id, waiting[1].id]
        assert list(await reader.unreleased(cafe_id, "toas")) == []
        assert list(await reader.unreleased(CafeId(uuid_utils.compat.uuid7()), "toast")) == []

    async def test_an_order_shows_its_place_in_the_queue_while_it_waits(self, store: Store) -> None:
        shop = Shop()
        first, second = shop.place(), shop.place()
        shop.move_queue(first, second)
        await store.write(shop)
        shown = await store.reader.order(OrderId(second.id))
        assert shown is not None
        assert (shown.queue_position, shown.estimated_ready_at) == (2, shop.now)
        shop.do(first, orders.MoveOrder("ready"))
        shop.move_queue(second)
        await store.write(shop)
        places = [order.queue_position for order in await store.reader.orders(shop.cafe_ref.cafe_id, active=True)]
        assert places == [None, 1]
        _, active = await store.reader.orders_with_offset(shop.cafe_ref.cafe_id)
        assert [order.queue_position for order in active] == [None, 1]
        shop.do(first, orders.MoveItem(line=1, move="recall"))
        await store.write(shop)
        recalled = await store.reader.order(OrderId(first.id))
        assert recalled is not None
        assert (recalled.status, recalled.queue_position) == ("preparing", None)

    async def test_it_is_known_whose_an_order_and_a_payment_are(self, store: Store) -> None:
        shop = Shop()
        mine = shop.place(TOAST, channel=Channel.ONLINE, customer=e.Customer("Ada", None, "ada"))
        theirs = shop.place()
        payment, other = shop.pay(mine), shop.pay(theirs)
        await store.write(shop)
        cafe_id, reader = shop.cafe_ref.cafe_id, store.reader
        for kind, ref, customer in (("order", mine, "ada"), ("payment", payment, "ada"), ("payment", other, None)):
            subject = await reader.subject(kind, ref.id)
            assert subject is not None
            assert (subject.cafe_id, subject.customer_id) == (cafe_id, customer)
            assert subject.order_id == (theirs.id if ref == other else mine.id)
        assert await reader.subject("order", payment.id) is None
        assert await reader.subject("flow", mine.id) is None

    async def test_the_log_of_an_orders_room_leaves_out_other_orders(self, store: Store) -> None:
        shop = Shop()
        shop.busy()
        await store.write(shop)
        cafe_id = shop.cafe_ref.cafe_id
        whole = await store.reader.log(cafe_id, 0, 1000)
        ours = shop.orders[2].placed.order_id
        placed = next(one.offset for one in whole if one.order_id == ours)
        expected = [one for one in whole if one.order_id == ours or (one.order_id is None and one.offset > placed)]
        assert 3 < len(expected) < len(whole)
        assert told(await store.reader.log(cafe_id, 0, 1000, ours)) == told(expected)
        after = expected[1].offset
        assert told(await store.reader.log(cafe_id, after, 2, ours)) == told(expected[2:4])

    async def test_a_caller_that_goes_away_loses_its_answer_and_not_its_commit(self, store: Store) -> None:
        shop = Shop()
        await store.write(shop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.journal.commit, availability(shop, 2))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        while await store.reader.head(shop.cafe_ref.cafe_id) != 2:
            await trio.lowlevel.checkpoint()
        while store.tape.head(shop.cafe_ref.cafe_id) != 2:
            await trio.lowlevel.checkpoint()

    async def test_many_at_once_get_contiguous_offsets_in_the_order_of_publication(self, store: Store) -> None:
        shops = [Shop(f"cafe-{number}") for number in range(5)]
        for shop in shops:
            await store.write(shop)
        answered: list[Recorded] = []

        async def places_orders(shop: Shop) -> None:
            for _ in range(8):
                shop.place()
            async with trio.open_nursery() as nursery:
                for commit in shop.taken():
                    nursery.start_soon(write, commit)

        async def write(commit: Commit) -> None:
            answered.extend(await store.journal.commit(commit))
            assert store.tape.head(commit.author.cafe_id) >= answered[-1].offset, "answered before it was published"

        async with trio.open_nursery() as nursery:
            for shop in shops:
                nursery.start_soon(places_orders, shop)
        for shop in shops:
            log = await store.reader.log(shop.cafe_ref.cafe_id, 0, 100)
            assert [one.offset for one in log] == list(range(1, 10))
            assert told(log) == told(store.tape.events[shop.cafe_ref.cafe_id])
            mine = sorted((one for one in answered if one.cafe_id == shop.cafe_ref.cafe_id), key=lambda one: one.offset)
            assert told(mine) == told(log[1:])
