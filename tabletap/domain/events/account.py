"""Account: credit of a customer, a gift card, the points of a phone number."""

from datetime import datetime
from uuid import UUID

from tabletap.domain.base import CafeId, Event, PaymentId
from tabletap.domain.vocabulary import AccountKind, Cause


class AccountOpened(Event, frozen=True, tag="account.opened", kw_only=True):
    """``cafe_id``: the cafe that owes the balance, or the installation.

    ``owner``, ``label``, ``serial``: as in ``Holding``. ``expires_at``: what is left then is the cafe's.
    """

    account_id: UUID
    cafe_id: CafeId
    kind: AccountKind
    currency: str
    opened_at: datetime
    owner: str | None = None
    label: str | None = None
    serial: UUID | None = None
    expires_at: datetime | None = None


class AccountCredited(Event, frozen=True, tag="account.credited", kw_only=True):
    """``entry_id`` tells one movement from its repeat: the refund it comes from, or an id of its own.

    ``granted``: given away by staff; else ``cause``, or it is a refund of ``payment_id``. ``reference``: the order it
    is about, ours or a till's. ``returns``: the entry of which it comes back.
    ``expires_at``: the card had expired, and is good again until then.
    """

    account_id: UUID
    entry_id: UUID
    kind: AccountKind
    amount: int
    balance: int
    granted: bool = False
    payment_id: PaymentId | None = None
    reason: str | None = None
    owner: str | None = None
    label: str | None = None
    cause: Cause | None = None
    reference: str | None = None
    returns: UUID | None = None
    expires_at: datetime | None = None


class AccountDebited(Event, frozen=True, tag="account.debited", kw_only=True):
    """``entry_id``: the payment it was spent on, or an id of its own where staff took it back (``granted``) or there is
    another ``cause``. ``reference``: as above."""

    account_id: UUID
    entry_id: UUID
    kind: AccountKind
    amount: int
    balance: int
    granted: bool = False
    payment_id: PaymentId | None = None
    reason: str | None = None
    owner: str | None = None
    label: str | None = None
    cause: Cause | None = None
    reference: str | None = None


class SpendingBarred(Event, frozen=True, tag="account.spending_barred", kw_only=True):
    """The payment took nothing and never will: it was given up, or the balance did not cover it (``why``)."""

    account_id: UUID
    payment_id: PaymentId
    why: str
