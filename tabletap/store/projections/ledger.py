"""Postings and balances."""

from typing import NamedTuple
from uuid import UUID

from tabletap.actors.ports import State
from tabletap.domain.account import Account
from tabletap.domain.base import Event
from tabletap.domain.cafe import Cafe
from tabletap.domain.drawer import Drawer
from tabletap.domain.events import order_of, tag_of
from tabletap.domain.ledger import postings
from tabletap.domain.order import Order
from tabletap.domain.payment import Payment
from tabletap.domain.tips import TipJar
from tabletap.store.batch import ROWS, Change, insert

ENTRIES = insert(
    "ledger_entries",
    {
        "cafe_id": "uuid",
        '"offset"': "int8",
        "line": "int2",
        "account": "text",
        "currency": "text",
        "amount": "int8",
        "order_id": "uuid",
        "payment_id": "uuid",
        "at": "timestamptz",
    },
)

BALANCES = Change(
    "move_balances",
    f"""MERGE INTO ledger_balances AS held USING {ROWS} AS fresh (cafe_id, account, currency, amount)
        ON held.cafe_id = fresh.cafe_id AND held.account = fresh.account AND held.currency = fresh.currency
        WHEN MATCHED THEN UPDATE SET balance = held.balance + fresh.amount
        WHEN NOT MATCHED THEN INSERT VALUES (fresh.cafe_id, fresh.account, fresh.currency, fresh.amount)""",
    "uuid",
    "text",
    "text",
    "int8",
)
"""Not ON CONFLICT: that would hold the guards of an account against the movement before it is added to the balance."""


class Line(NamedTuple):
    """One entry, before its event has an offset."""

    account: str
    currency: str
    amount: int
    order_id: UUID | None
    payment_id: UUID | None


def lines(event: Event, state: State | None) -> list[Line]:
    """The entries of ``event``, in the currency of the entity it is about.

    They are sorted, since a mapping inside an event may come back from the log in another order.
    """
    entries = postings(event)
    if not entries:
        return []
    if state is None:
        raise ValueError(f"{tag_of(event)} moves money, but the state of its entity is not in the commit")
    currency, order_id = _currency(state), order_of(event)
    payment_id: UUID | None = getattr(event, "payment_id", None)
    return [Line(entry.account, currency, entry.amount, order_id, payment_id) for entry in sorted(entries)]


def _currency(state: State) -> str:
    match state:
        case Order():
            return state.placed.currency
        case Payment():
            return state.initiated.currency
        case Drawer():
            return state.opened.currency
        case Account():
            return state.opened.currency
        case TipJar():
            return state.currency
        case Cafe():
            return state.settings.currency
