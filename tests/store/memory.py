"""The store in memory: journal, reader, outbox and wakes, with faults to order. For the tests of other floors.

What it promises is what ``journal_contract`` checks; the Postgres store passes the same suite. Events rest as JSON, so
that whoever reads them gets what a log would give back.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import trio
import uuid_utils.compat

from tabletap.actors.ports import (
    Answered,
    CafeEntry,
    Commit,
    Conflict,
    DuplicateKey,
    Publisher,
    Recorded,
    Sent,
    State,
    Stored,
)
from tabletap.actors.runtime import Address, Outage
from tabletap.domain import drawer as drawers
from tabletap.domain import ledger
from tabletap.domain import order as orders
from tabletap.domain import payment as payments
from tabletap.domain.access import Subject
from tabletap.domain.base import CafeId, Job, OrderId, PaymentId, Ref
from tabletap.domain.cafe import Cafe
from tabletap.domain.events import Place, order_of, tag_of
from tabletap.domain.jobs import FlowState
from tabletap.domain.order import CLOSED, Order, OrderView
from tabletap.domain.payment import Payment, PaymentView
from tabletap.store import codec
from tabletap.store.projections.ledger import lines
from tabletap.store.projections.order import WAITING, places
from tabletap.store.shard import Unwritable


class Down(Outage):
    """The store was told to be away."""


class MemoryStore:
    """Implements ``Journal``, ``Reader`` and ``WakeSource``. ``outbox``: messages that nobody has consumed yet.

    ``fail_before`` / ``fail_after``: the next commit ends in an outage, without and with having become durable.
    ``conflict_next``: the next commit loses to another node. ``with store.outage():`` everything is away.
    ``handed_over`` is called with the messages of each commit, as the relay is.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        handed_over: Callable[[Sequence[Sent]], None] = lambda sent: None,
    ) -> None:
        self.publisher = publisher
        self.handed_over = handed_over
        self.outbox: dict[UUID, Sent] = {}
        self.wakes: dict[Ref, datetime] = {}
        self.balances: dict[tuple[CafeId, str, str], int] = {}
        self.fail_before = False
        self.fail_after = False
        self.conflict_next = False
        self.commits = 0
        self._now = now
        self._down = False
        self._log: dict[CafeId, list[tuple[Recorded, bytes]]] = {}
        self._versions: dict[UUID, int] = {}
        self._snapshots: dict[UUID, tuple[int, int, bytes]] = {}
        self._answers: dict[tuple[str, UUID], Answered] = {}
        self._cafes: dict[UUID, Cafe] = {}
        self._orders: dict[UUID, Order] = {}
        self._payments: dict[UUID, Payment] = {}
        self._drawers: dict[UUID, drawers.Drawer] = {}
        self._places: dict[UUID, Place] = {}

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Nothing can be reached for as long as the block runs."""
        self._down = True
        try:
            yield
        finally:
            self._down = False

    # -- Journal

    async def load(self, ref: Ref, pinned: Sequence[str] = ()) -> Stored:
        await self._reach()
        version, offset, snapshot = self._snapshots.get(ref.id, (0, 0, None))
        stream = [one for one in self._events(ref.cafe_id) if ref.id in (one.ref.id, one.author.id)]
        newest = {tag_of(one.event): one for one in stream if one.offset <= offset and one.ref.id == ref.id}
        later = [one for one in stream if one.offset > offset]
        own = [one.version for one in later if one.ref.id == ref.id]
        return Stored(
            version=own[-1] if own else version,
            snapshot=snapshot,
            pinned=sorted((newest[tag] for tag in pinned if tag in newest), key=lambda one: one.offset),
            later=later,
        )

    async def commit(self, commit: Commit) -> Sequence[Recorded]:
        """Durable before the first checkpoint: whoever is cancelled loses the answer, not the commit."""
        if self._down or self._take("fail_before"):
            await trio.lowlevel.checkpoint()
            raise Down("before the commit")
        if self._take("conflict_next"):
            await trio.lowlevel.checkpoint()
            raise Conflict("as ordered")
        recorded = self._write(commit)
        if recorded:
            self.publisher.publish(commit.author.cafe_id, recorded)
        if commit.sent:
            self.handed_over(commit.sent)
        await trio.lowlevel.checkpoint()
        if self._take("fail_after"):
            raise Down("after the commit")
        return recorded

    def _write(self, commit: Commit) -> Sequence[Recorded]:
        now = self._now()
        self._check(commit, now)
        cafe_id, author = commit.author.cafe_id, commit.author
        log = self._log.setdefault(cafe_id, [])
        recorded = [
            Recorded(
                cafe_id=cafe_id,
                offset=offset,
                id=uuid_utils.compat.uuid7(),
                ref=new.ref,
                version=new.version,
                author=author,
                order_id=order_of(new.event),
                at=new.at,
                by=new.by,
                event=new.event,  # type: ignore[arg-type]
            )
            for offset, new in enumerate(commit.events, start=len(log) + 1)
        ]
        for one in recorded:
            log.append((one, codec.encode(one.event)))
            self._versions[one.ref.id] = one.version
            for order_id, place in places(one.event):
                if place is None:
                    self._places.pop(order_id, None)
                else:
                    self._places[order_id] = place
        for state in commit.states:
            self._project(state)
        self.outbox.update((sent.id, sent) for sent in commit.sent)
        for id_ in commit.consumed:
            self.outbox.pop(id_, None)
        for answer in commit.answered:
            self._answers[answer.idempotency.scope, answer.idempotency.key] = answer
        for ref, at in commit.wakes:
            self.wakes.pop(ref, None)
            if at is not None:
                self.wakes[ref] = at
        if commit.snapshot is not None:
            version = max((new.version for new in commit.events if new.ref == author), default=commit.version)
            self._snapshots[author.id] = (version, len(log), commit.snapshot)
        self.commits += 1
        return recorded

    def _check(self, commit: Commit, now: datetime) -> None:
        versions = dict(self._versions)
        for new in commit.events:
            if new.version <= versions.get(new.ref.id, 0):
                raise Conflict(f"{new.ref} has version {new.version}")
            versions[new.ref.id] = new.version
        for answer in commit.answered:
            known = self._answers.get((answer.idempotency.scope, answer.idempotency.key))
            if known is not None and known.expires_at > now:
                raise DuplicateKey
        taken = {(order.placed.cafe_id, order.placed.business_day, order.placed.number): id_
                 for id_, order in self._orders.items()}  # fmt: skip
        for state in commit.states:
            if isinstance(state, Cafe) and any(c.slug == state.slug and c.id != state.id for c in self._cafes.values()):
                raise Unwritable("cafes_slug", state.slug)
            if isinstance(state, Order):
                placed = state.placed
                number = (placed.cafe_id, placed.business_day, placed.number)
                if taken.get(number, placed.order_id) != placed.order_id:
                    raise Conflict("orders_number")
        balances = dict(self.balances)
        states: dict[UUID, State] = {state.ref.id: state for state in commit.states}
        for new in commit.events:
            for line in lines(new.event, states.get(new.ref.id)):
                key = (commit.author.cafe_id, line.account, line.currency)
                balances[key] = balances.get(key, 0) + line.amount
        for (_, account, _), balance in balances.items():
            if balance < 0 and account in ledger.GUARDED_FROM_BELOW:
                raise Unwritable("ledger_balances_from_below", account)
            if balance > 0 and ledger.guarded_from_above(account):
                raise Unwritable("ledger_balances_from_above", account)
        self.balances = balances

    def _project(self, state: State) -> None:
        match state:
            case Cafe():
                self._cafes[state.id] = state
            case Order():
                self._orders[state.placed.order_id] = state
            case Payment():
                self._payments[state.initiated.payment_id] = state
            case drawers.Drawer():
                self._drawers[state.opened.drawer_id] = state

    # -- Reader

    async def cafes(self) -> Sequence[CafeEntry]:
        await self._reach()
        entries = [CafeEntry(cafe.id, cafe.slug, cafe.settings.name) for cafe in self._cafes.values()]
        return sorted(entries, key=lambda entry: (entry.name, entry.slug))

    async def order(self, order_id: OrderId) -> OrderView | None:
        await self._reach()
        return self._view(self._orders[order_id]) if order_id in self._orders else None

    async def orders(
        self, cafe_id: CafeId, *, active: bool = False, before: OrderId | None = None, limit: int = 100
    ) -> Sequence[OrderView]:
        await self._reach()
        found = sorted((order for order in self._orders.values() if order.placed.cafe_id == cafe_id), key=_newness)
        if before is not None:
            last = self._orders.get(before)
            found = [one for one in found if last is not None and _newness(one) < _newness(last)]
        found = [one for one in found if one.status not in CLOSED] if active else found[::-1]
        return [self._view(one) for one in found[:limit]]

    async def orders_with_offset(self, cafe_id: CafeId) -> tuple[int, Sequence[OrderView]]:
        views = await self.orders(cafe_id, active=True, limit=10_000)
        return len(self._log.get(cafe_id, ())), views

    async def unreleased(self, cafe_id: CafeId, sku: str) -> Sequence[OrderId]:
        views = await self.orders(cafe_id, active=True, limit=10_000)
        return [one.id for one in views if one.released_at is None and any(line.sku == sku for line in one.items)]

    async def payment(self, payment_id: PaymentId) -> PaymentView | None:
        await self._reach()
        found = self._payments.get(payment_id)
        return None if found is None else payments.view(found)

    async def payments(self, order_id: OrderId) -> Sequence[PaymentView]:
        await self._reach()
        found = [one for one in self._payments.values() if one.initiated.order_id == order_id]
        return [
            payments.view(one)
            for one in sorted(found, key=lambda one: (one.initiated.initiated_at, one.initiated.payment_id))
        ]

    async def drawers(self, cafe_id: CafeId) -> Sequence[drawers.DrawerView]:
        await self._reach()
        found = [one for one in self._drawers.values() if one.opened.cafe_id == cafe_id and one.closed is None]
        return [
            drawers.view(one) for one in sorted(found, key=lambda one: (one.opened.opened_at, one.opened.drawer_id))
        ]

    async def subject(self, kind: str, ident: UUID) -> Subject | None:
        await self._reach()
        order = self._orders.get(ident)
        if kind == "order" and order is not None:
            return Subject(order.placed.cafe_id, order.placed.order_id, _customer(order))
        if kind == "flow" and (flow := await self.flow(ident)) is not None:
            return Subject(flow.cafe_id, OrderId(ident))
        payment = self._payments.get(ident)
        if kind == "payment" and payment is not None:
            started = payment.initiated
            whose = started.customer_id or _customer(self._orders.get(started.order_id))
            return Subject(started.cafe_id, started.order_id, whose)
        return None

    async def flow(self, flow: UUID) -> FlowState | None:
        await self._reach()
        jobs = [sent.message for sent in self.outbox.values() if isinstance(sent.message, Job)]
        cafes = [job.cafe_id for job in jobs if job.flow == flow]
        return FlowState(flow_id=flow, cafe_id=cafes[0], total=len(cafes), done=0, dead=0) if cafes else None

    async def log(self, cafe_id: CafeId, after: int, limit: int, order_id: OrderId | None = None) -> Sequence[Recorded]:
        await self._reach()
        newer = [one for one in self._events(cafe_id) if one.offset > after]
        if order_id is None:
            return newer[:limit]
        placed = next((one.offset for one in self._events(cafe_id) if one.order_id == order_id), 0)
        since = max(after, placed)
        return [one for one in newer if one.order_id == order_id or (one.order_id is None and one.offset > since)][
            :limit
        ]

    async def history(self, cafe_id: CafeId, order_ids: Collection[OrderId], before: int) -> Sequence[Recorded]:
        await self._reach()
        return [one for one in self._events(cafe_id) if one.order_id in order_ids and one.offset < before]

    async def head(self, cafe_id: CafeId) -> int:
        await self._reach()
        return len(self._log.get(cafe_id, ()))

    async def answered(self, scope: str, key: UUID, now: datetime) -> Answered | None:
        await self._reach()
        found = self._answers.get((scope, key))
        return found if found is not None and found.expires_at > now else None

    # -- WakeSource

    async def upcoming(self, until: datetime, limit: int) -> Sequence[tuple[Address, datetime]]:
        await self._reach()
        due = sorted((at, ref) for ref, at in self.wakes.items() if at <= until)
        return [(Address(ref.kind.value, ref), at) for at, ref in due[:limit]]

    # -- what they share

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._down:
            raise Down("as ordered")

    def _take(self, fault: str) -> bool:
        ordered: bool = getattr(self, fault)
        setattr(self, fault, False)
        return ordered

    def _events(self, cafe_id: CafeId) -> list[Recorded]:
        return [msgspec.structs.replace(one, event=codec.event(data)) for one, data in self._log.get(cafe_id, ())]

    def _view(self, order: Order) -> OrderView:
        place = self._places.get(order.placed.order_id) if order.status in WAITING else None
        return orders.view(order, place)


def _newness(order: Order) -> tuple[Any, ...]:
    return (order.placed.business_day, order.placed.number)


def _customer(order: Order | None) -> str | None:
    return order.placed.customer.id if order is not None and order.placed.customer else None
