"""What a report is counted from: a stretch of a cafe's log, as its ledger has it."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from tabletap.domain.vocabulary import Channel, Method

CARRIED = ("receivable", "clearing", "tips", "tips_owed", "gift", "unapplied", "refunds_due")
"""The accounts whose balances a report tells, by the names that facts have for them."""


class Fact(msgspec.Struct, frozen=True):
    """Entries of the ledger, added up: on one ``account``, by events of one type.

    ``account`` as in the ledger; of those held for somebody only what they begin with (``gift``, ``credit``), tips that
    were distributed as ``tips_owed``. ``way``: of the payment, or that a refund leaves by. ``moved``: the event only
    moved a sale from one order to another. ``amount``: debit positive, credit negative. ``entries``: how many.
    """

    event: str
    account: str
    amount: int
    entries: int = 1
    way: Method | None = None
    channel: Channel | None = None
    moved: bool = False


class Sold(msgspec.Struct, frozen=True):
    """An item of the menu: how many were ordered and not voided, and what they came to (before discounts)."""

    sku: str
    name: str
    quantity: int
    sales: int


class Hour(msgspec.Struct, frozen=True):
    """Orders that were placed in one hour (0-23, the cafe's own time) and stand, and what they came to then."""

    hour: int
    orders: int
    sales: int


class DrawerCount(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A drawer's session, as far as it falls into this time. ``carried``: what was in it before; ``expected`` = carried
    + float + payments - refunds + paid in - paid out. ``difference``: counted less expected; None: not counted yet."""

    drawer_id: UUID
    name: str
    carried: int
    float_amount: int
    payments: int
    refunds: int
    paid_in: int
    paid_out: int
    expected: int
    counted: int | None
    difference: int | None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report is counted from. ``before``, ``after``: balances as the time began and ended, of the accounts
    that outlast a day, by the same names. ``cancelled``: or merged into others."""

    currency: str
    entries: tuple[Fact, ...] = ()
    before: Mapping[str, int] = {}
    after: Mapping[str, int] = {}
    placed: int = 0
    cancelled: int = 0
    hours: tuple[Hour, ...] = ()
    items: tuple[Sold, ...] = ()
    drawers: tuple[DrawerCount, ...] = ()
