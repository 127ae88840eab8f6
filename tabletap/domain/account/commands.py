"""What may be asked of an account. What orders say to it is in ``domain.messages``."""

from uuid import UUID

import msgspec

from tabletap.domain.base import Command, PaymentId, Ref, Wake
from tabletap.domain.holding import Holding
from tabletap.domain.messages import PutOn, TakeBack

from .state import Bar


class Grant(Command, frozen=True):
    """Staff give ``amount`` away, load a gift card, or add points. ``reference``: the order it is for."""

    holding: Holding
    entry_id: UUID
    amount: int
    reason: str | None = None
    reference: str | None = None


class Withdraw(Command, frozen=True):
    """Staff take ``amount`` back."""

    holding: Holding
    entry_id: UUID
    amount: int
    reason: str | None = None
    reference: str | None = None


class Spend(Command, frozen=True):
    """A payment takes ``amount``."""

    holding: Holding
    payment_id: PaymentId
    amount: int

    @property
    def entry_id(self) -> UUID:
        return self.payment_id


class Deposit(Command, frozen=True):
    """A refund of ``payment_id`` comes in; ``entry_id``: the refund's.

    Never more than the payment has taken here. ``elsewhere``: it was made another way (by card, say), and what can be
    given back is for the payment to know.
    """

    holding: Holding
    entry_id: UUID
    amount: int
    payment_id: PaymentId
    elsewhere: bool = False


class Discount(msgspec.Struct, frozen=True):
    """What points become: ``amount`` cents off ``order``."""

    order: Ref
    amount: int


class Use(Command, frozen=True):
    """A till takes ``amount`` for a sale of its own (``reference``), or points become a ``discount``, here or there."""

    holding: Holding
    entry_id: UUID
    amount: int
    reason: str | None = None
    reference: str | None = None
    discount: Discount | None = None


class Return(Command, frozen=True):
    """What was ``used`` (by its entry's id) comes back, in parts if need be: never more than it was."""

    holding: Holding
    entry_id: UUID
    amount: int
    used: UUID
    reason: str | None = None


class BarSpending(Command, frozen=True):
    """Never let this payment take anything, unless it has."""

    holding: Holding
    payment_id: PaymentId
    why: Bar


Movement = Grant | Withdraw | Spend | Deposit | Use | Return
AccountCommand = Movement | BarSpending | PutOn | TakeBack | Wake
