"""Orders with their payments, drawers, accounts of customers: each says of itself what the ledger says of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from tabletap.domain import audit as rules
from tabletap.domain.account import Account
from tabletap.domain.audit import Finding, Rule
from tabletap.domain.base import Kind
from tabletap.domain.drawer import Drawer
from tabletap.domain.events import (
    AccountCredited,
    AccountDebited,
    DrawerCashTaken,
    PaymentCompleted,
    RefundCompleted,
)
from tabletap.domain.order import Order
from tabletap.domain.payment import Payment
from tabletap.domain.tips import TipJar
from tabletap.store import codec
from tabletap.store.pool import Connection
from tabletap.store.projections import ledger

from .dossier import Dossier
from .report import Notes


class Judge:
    """``at``: the state is a former one, so what waits in the outbox now says nothing about it."""

    def __init__(self, connection: Connection, notes: Notes, at: datetime | None) -> None:
        self._connection = connection
        self._notes = notes
        self._at = at

    def can_be_followed(self, one: Dossier) -> bool:
        """Whether its part of the log is whole; else that is a fault."""
        if one.broken is None:
            return True
        self._notes.faults.add(Finding(Rule.LOG, f"{one.ref.kind} {one.ref.id}", one.broken, one.ref.cafe_id))
        return False

    async def check(self, page: Sequence[Dossier]) -> None:
        """Judge a page of entities."""
        for one in page:
            self._derive(one)
        payments = [state for one in page for state in one.states.values() if isinstance(state, Payment)]
        held, waiting = await self._held(payments), await self._waiting(page)
        for one in page:
            order = one.states[one.ref]
            if isinstance(order, Order):
                self._order(one, order, held, waiting)
        await self._drawers([one for one in page if one.ref.kind is Kind.DRAWER])
        for one in page:
            state = one.states[one.ref]
            if isinstance(state, TipJar):
                self._notes.faults.extend(rules.of_tips(state, _sums(one)))
            elif isinstance(state, Account):
                self._notes.checked.customer_accounts += 1
                moves = [each.event for each in one.events if isinstance(each.event, AccountCredited | AccountDebited)]
                self._notes.faults.extend(rules.of_held(one.ref, moves, _sums(one)))

    def _derive(self, one: Dossier) -> None:
        """The entries of its events are their postings."""
        for event in one.events:
            expected = [tuple(line) for line in ledger.lines(event.event, one.states[event.ref])]
            words = rules.entries_of_event(expected, one.entries.get(event.offset, ()))
            if words is not None:
                self._notes.faults.add(Finding(Rule.ENTRIES, f"offset {event.offset}", words, event.cafe_id))

    # -- orders

    def _order(self, one: Dossier, order: Order, held: Mapping[UUID, int], waiting: frozenset[UUID]) -> None:
        notes = self._notes
        notes.checked.orders += 1
        notes.faults.extend(rules.of_order(order, _sums(one)))
        for state in one.states.values():
            if not isinstance(state, Payment):
                continue
            notes.checked.payments += 1
            notes.checked.refunds += len(state.refunds)
            id_ = state.initiated.payment_id
            waits = self._at is not None or not waiting.isdisjoint((id_, one.ref.id))
            judged = rules.of_payment(state, order, _sums(one, id_), held.get(id_, 0), waits=waits)
            notes.faults.extend(judged.faults)
            notes.on_its_way.extend(judged.on_its_way)
            notes.in_transit += judged.in_transit

    async def _held(self, payments: Iterable[Payment]) -> Mapping[UUID, int]:
        """Payment -> what accounts of customers have put in transit for it, less what they took from there."""
        accounts: dict[UUID, set[UUID]] = {}
        for payment in payments:
            named = [payment.initiated.account, *(refund.requested.account for refund in payment.refunds.values())]
            for ref in named:
                if ref is not None:
                    accounts.setdefault(ref.id, set()).add(payment.initiated.payment_id)
        if not accounts:
            return {}
        rows = await self._connection.fetch(
            """SELECT data FROM events WHERE entity_id = ANY ($1::uuid[])
               AND type IN ('account.credited', 'account.debited') AND (data->>'payment_id')::uuid = ANY ($2::uuid[])
               AND ($3::timestamptz IS NULL OR at <= $3)""",
            list(accounts),
            list(set().union(*accounts.values())),
            self._at,
        )
        held: Counter[UUID] = Counter()
        for (data,) in rows:
            match codec.event(data):
                case AccountCredited(granted=False, payment_id=UUID() as id_, amount=amount):
                    held[id_] += amount
                case AccountDebited(granted=False, payment_id=UUID() as id_, amount=amount):
                    held[id_] -= amount
        return held

    async def _waiting(self, page: Sequence[Dossier]) -> frozenset[UUID]:
        """Orders and payments for whom a message waits, as far as their money is moving."""
        moving: set[UUID] = set()
        for one in page:
            if one.ref.kind is Kind.ORDER and _sums(one).get("clearing"):
                moving |= {ref.id for ref in one.states}
        if not moving or self._at is not None:
            return frozenset()
        rows = await self._connection.fetch(
            "SELECT entity_id FROM outbox WHERE entity_id = ANY ($1::uuid[])", list(moving)
        )
        return frozenset(row[0] for row in rows)

    # -- drawers

    async def _drawers(self, page: Sequence[Dossier]) -> None:
        takings = {
            one.ref: [each.event for each in one.events if isinstance(each.event, DrawerCashTaken)] for one in page
        }
        moved = await self._moved({taken.payment_id for each in takings.values() for taken in each})
        for one in page:
            drawer = one.states[one.ref]
            assert isinstance(drawer, Drawer)
            self._notes.checked.drawers += 1
            self._notes.faults.extend(rules.of_drawer(drawer, takings[one.ref], _sums(one), moved))

    async def _moved(self, payments: set[UUID]) -> Mapping[UUID, frozenset[int]]:
        """Payment -> what came in by it, and (negative) what went out."""
        if not payments:
            return {}
        rows = await self._connection.fetch(
            """SELECT data FROM events WHERE entity_id = ANY ($1::uuid[])
               AND type IN ('payment.completed', 'payment.refund_completed')""",
            list(payments),
        )
        moved: dict[UUID, set[int]] = defaultdict(set)
        for (data,) in rows:
            match codec.event(data):
                case PaymentCompleted(payment_id=id_, received=received):
                    moved[id_].add(received)
                case RefundCompleted(payment_id=id_, amount=amount):
                    moved[id_].add(-amount)
        return {id_: frozenset(amounts) for id_, amounts in moved.items()}


def _sums(one: Dossier, payment_id: UUID | None = None) -> Mapping[str, int]:
    """The entries of its events by account; ``payment_id``: those that name the payment."""
    sums: dict[str, int] = defaultdict(int)
    for entries in one.entries.values():
        for account, _, amount, _, of_payment in entries:
            if payment_id is None or of_payment == payment_id:
                sums[account] += amount
    return sums
