"""A drawer of cash."""

from datetime import datetime
from uuid import UUID

from tabletap.domain.base import CafeId, Event, PaymentId


class DrawerOpened(Event, frozen=True, tag="drawer.opened", kw_only=True):
    drawer_id: UUID
    cafe_id: CafeId
    name: str
    float_amount: int
    currency: str
    opened_at: datetime


class DrawerMoved(Event, frozen=True, tag="drawer.moved", kw_only=True):
    """Cash put in (positive) or taken out (negative) for ``reason``, not for a sale."""

    drawer_id: UUID
    amount: int
    reason: str


class DrawerCashTaken(Event, frozen=True, tag="drawer.cash_taken", kw_only=True):
    """A cash payment (or, negative, a refund) went through this drawer. ``entry_id`` tells one from its repeat."""

    drawer_id: UUID
    payment_id: PaymentId
    entry_id: UUID
    amount: int


class DrawerClosed(Event, frozen=True, tag="drawer.closed", kw_only=True):
    drawer_id: UUID
    counted: int
    expected: int
    difference: int
