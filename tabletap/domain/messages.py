"""What entities say to each other.

Each is an outbox row of the commit that caused it and may arrive more than once: a receiver that has had it changes
nothing. Tagged, since they rest in a table between two lives of the server.
"""

from uuid import UUID

from .base import Command, OrderId, PaymentId
from .events import Numbered
from .holding import Holding
from .vocabulary import Cause, ItemStatus


class Settle(Command, frozen=True, tag=True):
    """Payment to order: my money is here."""

    payment_id: PaymentId
    amount: int


class Release(Command, frozen=True, tag=True):
    """Payment to order: I came to nothing."""

    payment_id: PaymentId


class NoteRefund(Command, frozen=True, tag=True):
    """Payment to order: so much of what I paid has been given back."""

    payment_id: PaymentId
    refund_id: UUID
    amount: int


class ClosePayment(Command, frozen=True, tag=True):
    """Order to payment: I am gone, stop."""

    reason: str | None = None


class ReturnUnapplied(Command, frozen=True, tag=True):
    """Order to payment: I had no use for so much of your money; it is owed back."""

    amount: int


class Absorb(Command, frozen=True, tag=True):
    """Order to order: take my lines (two tables become one tab). ``into``: the order that was first asked to."""

    source: OrderId
    into: OrderId
    lines: tuple[Numbered, ...]
    statuses: dict[int, ItemStatus] = {}


class Unmerge(Command, frozen=True, tag=True):
    """Order to order: what you sent to ``into`` could not be taken; keep your lines."""

    into: OrderId


class TakeCash(Command, frozen=True, tag=True):
    """Payment to drawer: cash went in (or, negative, out)."""

    payment_id: PaymentId
    entry_id: UUID
    amount: int


class PutOn(Command, frozen=True, tag=True, omit_defaults=True):
    """Order to account: a card was sold, points were earned, or (``returns``: what was used) come back."""

    holding: Holding
    entry_id: UUID
    amount: int
    cause: Cause
    reference: str | None = None
    returns: UUID | None = None


class TakeBack(Command, frozen=True, tag=True):
    """Order to account: what was sold or earned is refunded; take as much of it as there still is."""

    holding: Holding
    entry_id: UUID
    amount: int
    reference: str


class TakeDiscount(Command, frozen=True, tag=True):
    """Account to order: these points are ``amount`` cents less to pay. If you have no use for that, give them back."""

    discount_id: UUID
    amount: int
    points: int
    holding: Holding


AnyMessage = (
    Settle
    | Release
    | NoteRefund
    | ClosePayment
    | ReturnUnapplied
    | Absorb
    | Unmerge
    | TakeCash
    | PutOn
    | TakeBack
    | TakeDiscount
)
