"""What may be asked of an order. What other entities say to it is in ``domain.messages``."""

from tabletap.domain.base import Command, OrderId, Wake
from tabletap.domain.menu import Note, Priced
from tabletap.domain.messages import Absorb, NoteRefund, Release, Settle, Unmerge
from tabletap.domain.vocabulary import Method


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


class InitiatePayment(Command, frozen=True):
    """Set ``amount`` (left out: all that is owed) aside and bring a payment for it into the world."""

    method: Method
    amount: int | None = None
    tip: int = 0
    currency: str | None = None
    customer_id: str | None = None
    metadata: dict[str, str] = {}


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
    | Settle
    | Release
    | NoteRefund
    | Wake
)

MAX_TIP = 1_000_00
"""A tip above this (cents) is a slip of the finger."""
