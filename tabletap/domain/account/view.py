"""An account on the wire: its shape exists once, here."""

from datetime import datetime
from uuid import UUID

import msgspec

from tabletap.domain.base import PaymentId
from tabletap.domain.vocabulary import Cause

from .state import Account


class AccountView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """An account on the wire. ``customerId``: whose credit it is. ``transactionId``: the movement this answers.

    ``label``, ``serial``: see ``Holding``.
    """

    account_id: UUID
    balance: int
    currency: str
    customer_id: str | None = None
    transaction_id: UUID | None = None
    label: str | None = None
    serial: UUID | None = None
    expires_at: datetime | None = None


class EntryView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A movement on the wire: ``amount`` in (positive) or out, ``balance`` after it, ``cursor`` for paging.

    ``granted``: by staff; else ``cause``, or it was a payment or, coming in, its refund. ``reason``: of staff, for
    staff. ``orderId``: what it is about, our order or a till's.
    """

    entry_id: UUID
    amount: int
    balance: int
    at: datetime
    cursor: int
    granted: bool = False
    payment_id: PaymentId | None = None
    reason: str | None = None
    cause: Cause | None = None
    order_id: str | None = None


def view(state: Account, moved: UUID | None = None) -> AccountView:
    """The account as the wire tells it, after ``moved``."""
    opened = state.opened
    return AccountView(
        account_id=opened.account_id,
        balance=state.balance,
        currency=opened.currency,
        customer_id=opened.owner,
        transaction_id=moved,
        label=opened.label,
        serial=opened.serial,
        expires_at=state.expires_at,
    )
