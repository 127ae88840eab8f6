"""What may be asked of an order. What other entities say to it is in ``domain.messages``."""

from datetime import datetime
from typing import Annotated

import msgspec

from tabletap.domain.base import Command, OrderId, Ref, Wake
from tabletap.domain.menu import MAX_LINES, Note, Priced
from tabletap.domain.messages import Absorb, NoteRefund, Release, Settle, TakeDiscount, Unmerge
from tabletap.domain.vocabulary import Method, Surplus

MAX_SHARES = 50


class Accept(Command, frozen=True):
    """Staff take the order on, where the cafe approves each."""


class MoveOrder(Command, frozen=True):
    """``move``: a key of ``ORDER_MOVES``."""

    move: str
    reason: str | None = None


class MoveItem(Command, frozen=True):
    """``move``: a key of ``ITEM_MOVES``."""

    line: int
    move: str
    reason: str | None = None


class Change(Command, frozen=True):
    """Add priced lines, take lines off that nobody has started, or set the note."""

    add: tuple[Priced, ...] = ()
    remove: tuple[int, ...] = ()
    note: Note | None = None


class MoveTable(Command, frozen=True):
    table: str


class MergeInto(Command, frozen=True):
    """Continue this order in another one (two tables become one tab)."""

    into: OrderId


class ByItem(msgspec.Struct, frozen=True, tag_field="by", tag="item"):
    """Pay these lines, with their share of the service charge."""

    lines: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(min_length=1, max_length=MAX_LINES)]


class ByShare(msgspec.Struct, frozen=True, tag_field="by", tag="share"):
    """Pay the next share of the whole, which ``of`` people split evenly."""

    of: Annotated[int, msgspec.Meta(ge=2, le=MAX_SHARES)]


Split = ByItem | ByShare


class InitiatePayment(Command, frozen=True):
    """Set ``amount`` (left out: all that is owed, or what ``split`` comes to) aside and bring a payment for it into
    the world.

    ``account``: ours that pays (credit, gift card), which had ``funds`` cents a moment ago; it decides in the end.
    ``credit``: where refunds to credit may go. ``checked_at``: when the cafe last said that nothing has sold out.
    """

    method: Method
    amount: int | None = None
    tip: int = 0
    currency: str | None = None
    customer_id: str | None = None
    metadata: dict[str, str] = {}
    split: Split | None = None
    account: Ref | None = None
    credit: Ref | None = None
    surplus: Surplus = Surplus.HOLD
    funds: int | None = None
    checked_at: datetime | None = None


class Withdraw(Command, frozen=True):
    """``sku`` sold out ``at``: unless the kitchen has the order, nobody pays for it now."""

    sku: str
    at: datetime


OrderCommand = (
    Accept
    | MoveOrder
    | MoveItem
    | Change
    | MoveTable
    | MergeInto
    | Absorb
    | Unmerge
    | InitiatePayment
    | Withdraw
    | Settle
    | Release
    | NoteRefund
    | TakeDiscount
    | Wake
)

MAX_TIP = 1_000_00
"""A tip above this (cents) is a slip of the finger."""
