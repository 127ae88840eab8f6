"""What is said between a payment and the gateway that takes its money. Amounts are cents."""

from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

import msgspec

from .base import CafeId, OrderId, PaymentId, Ref
from .events import PaymentInitiated
from .vocabulary import ChargeState, Method, RefundState

EXPIRES_AFTER: MappingProxyType[Method, timedelta] = MappingProxyType(
    {
        Method.PAYCONIC_CARD: timedelta(minutes=30),
        Method.PAYCONIC_BANK_TRANSFER: timedelta(minutes=60),
        Method.PAYCONIC_DIGITAL_WALLET: timedelta(minutes=30),
        Method.STRIPE_CARD: timedelta(minutes=30),
        Method.QR_CODE_BANK_TRANSFER: timedelta(minutes=15),
        Method.CUSTOMER_CREDIT: timedelta(minutes=5),
        Method.GIFT_CARD: timedelta(minutes=5),
        Method.CASH: timedelta(minutes=30),
    }
)
"""How long a payment waits for its money before it is given up (spec P1)."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so that a reference survives being read aloud and typed."""


def expires_at(method: Method, now: datetime) -> datetime:
    """When a payment begun ``now`` is given up."""
    return now + EXPIRES_AFTER[method]


def reference(payment_id: PaymentId) -> str:
    """The unique text a customer puts on a transfer: 14 characters, within the 18 of a BECS lodgement reference.

    The last 60 bits of a UUIDv7 are random, so two references meet as rarely as two ids.
    """
    bits = payment_id.int & ((1 << 60) - 1)
    return "TT" + "".join(_ALPHABET[bits >> shift & 31] for shift in range(55, -1, -5))


class Charge(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A payment as its gateway needs to know it.

    ``payment_id`` is the provider-side idempotency key of everything that is asked about it: a charge is made once per
    payment, however often it is asked for. ``external_id``: what the provider calls it, once it has said so.
    ``account``: the account of ours that pays (credit, gift card).
    """

    payment_id: PaymentId
    order_id: OrderId
    cafe_id: CafeId
    order_number: int
    method: Method
    amount: int
    currency: str
    reference: str
    expires_at: datetime
    external_id: str | None = None
    customer_id: str | None = None
    account: Ref | None = None


class Standing(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a charge stands with its provider. ``amount``: what it has really taken; ``fee``: what of that it keeps;
    ``reason``: why not, in words for the customer; ``redirect_url``: where the customer approves it."""

    state: ChargeState
    external_id: str | None = None
    amount: int = 0
    fee: int = 0
    redirect_url: str | None = None
    reason: str | None = None


class RefundOrder(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A refund as a gateway needs to know it; ``refund_id`` is its provider-side idempotency key.

    ``account``: where it goes instead of back the way it came (the customer's credit).
    """

    refund_id: UUID
    amount: int
    reason: str | None = None
    external_id: str | None = None
    account: Ref | None = None


class RefundStanding(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a refund stands with its provider."""

    state: RefundState
    external_id: str | None = None
    reason: str | None = None


class Dispute(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A customer has had the provider take money back (chargeback). ``won``: the cafe has it again after all."""

    dispute_id: str
    amount: int
    fee: int = 0
    won: bool = False
    reason: str | None = None


def charge_of(initiated: PaymentInitiated) -> Charge:
    """What a gateway has to be told to take the money of a payment that begins."""
    return Charge(
        payment_id=initiated.payment_id,
        order_id=initiated.order_id,
        cafe_id=initiated.cafe_id,
        order_number=initiated.order_number,
        method=initiated.method,
        amount=initiated.total,
        currency=initiated.currency,
        reference=initiated.reference,
        expires_at=initiated.expires_at,
        customer_id=initiated.customer_id,
        account=initiated.account,
    )
