"""Events and states as rows: one file per noun, each saying which table it fills and what a row is made of.

``project`` is all that the writer and ``rebuild`` know of it, so that rows written live and rows built again from the
log cannot differ. Every row is a function of the log alone: no clock, no order of writing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from tabletap.actors.ports import State
from tabletap.domain.account import Account
from tabletap.domain.base import CafeId, Event
from tabletap.domain.cafe import Cafe
from tabletap.domain.drawer import Drawer
from tabletap.domain.events import AccountCredited, AccountDebited, CafeConfigured, CafeOpened, TipsDistributed
from tabletap.domain.order import Order
from tabletap.domain.payment import Payment
from tabletap.domain.tips import TipJar
from tabletap.store.batch import Batch, Change

from . import account, cafe, drawer, ledger, order, payment, tips

TABLES: Sequence[str] = (
    "cafes",
    "orders",
    "order_places",
    "payments",
    "refunds",
    "drawers",
    "accounts",
    "account_entries",
    "tip_distributions",
    "ledger_entries",
    "ledger_balances",
)
"""All that is derived from the log."""

Row = tuple[Change, UUID, tuple[object, ...]]


def of_states(states: Iterable[State], events: Iterable[Event]) -> list[Row]:
    """The rows that tell of ``states``, which ``events`` have led to."""
    renamed = any(isinstance(event, CafeOpened | CafeConfigured) for event in events)
    rows: list[Row] = []
    for state in states:
        match state:
            case Order():
                rows.append((order.ORDERS, state.placed.order_id, order.row(state)))
            case Payment():
                rows.append((payment.PAYMENTS, state.initiated.payment_id, payment.row(state)))
                rows += ((payment.REFUNDS, id_, payment.refund_row(state, one)) for id_, one in state.refunds.items())
            case Drawer():
                rows.append((drawer.DRAWERS, state.opened.drawer_id, drawer.row(state)))
            case Account():
                rows.append((account.ACCOUNTS, state.opened.account_id, account.row(state)))
            case Cafe() if renamed:  # every order changes its cafe; the directory only shows name and slug
                rows.append((cafe.CAFES, state.id, cafe.row(state)))
            case Cafe() | TipJar():
                continue
    return rows


def put_places(batch: Batch, event: Event) -> None:
    """Follow what ``event`` says of places in the queue."""
    for order_id, place in order.places(event):
        if place is None:
            batch.swap(order.LEAVE, order.PLACES, order_id, (order_id,))
        else:
            batch.swap(order.PLACES, order.LEAVE, order_id, (order_id, place.position, place.ready_at))


def put_movements(batch: Batch, cafe_id: CafeId, offset: int, at: datetime, event: Event) -> None:
    """List what moved on an account, or a distribution of tips."""
    match event:
        case AccountCredited() | AccountDebited():
            row = account.entry_row(event, cafe_id, offset, at)
            batch.put(account.ENTRIES, (cafe_id, offset), row)
        case TipsDistributed():
            batch.put(tips.DISTRIBUTIONS, (cafe_id, offset), tips.row(event, offset))


def put_entries(
    batch: Batch, cafe_id: CafeId, offset: int, at: datetime, lines: Sequence[ledger.Line], *, balances: bool = True
) -> None:
    """Post the entries of the event at ``offset``."""
    for number, line in enumerate(lines, start=1):
        account, currency, amount, order_id, payment_id = line
        key = (cafe_id, offset, number)
        batch.put(ledger.ENTRIES, key, (*key, account, currency, amount, order_id, payment_id, at))
        if balances:
            batch.add(ledger.BALANCES, (cafe_id, account, currency), (cafe_id, account, currency, amount))
