"""What Payconic says: its objects, refusals and webhooks, and what they mean here. No I/O.

A field that is not listed is not read.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

import msgspec

from tabletap.actors.audit_ports import Stated
from tabletap.actors.ports import Heard, MalformedWebhook
from tabletap.domain.base import PaymentId
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.vocabulary import ChargeState, Method, RefundState

from .client import UNREADABLE

SIGNATURE_HEADER = "x-payconic-signature"
TEXT_CHARS = 280
NOT_FOUND = "PAYMENT_NOT_FOUND"
MISMATCH = "IDEMPOTENCY_MISMATCH"
"""What is asked for under a key is there, but was asked for in other words."""

METHODS: MappingProxyType[Method, str] = MappingProxyType(
    {
        Method.PAYCONIC_CARD: "card",
        Method.PAYCONIC_BANK_TRANSFER: "bank_transfer",
        Method.PAYCONIC_DIGITAL_WALLET: "digital_wallet",
    }
)

Cents = Annotated[int, msgspec.Meta(ge=0)]


class Status(StrEnum):
    PENDING = "PENDING"
    IDENTIFIED = "IDENTIFIED"
    AUTHORIZED = "AUTHORIZED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


STATES: MappingProxyType[Status, ChargeState] = MappingProxyType(
    {
        Status.PENDING: ChargeState.OPEN,
        Status.IDENTIFIED: ChargeState.OPEN,
        Status.AUTHORIZED: ChargeState.PROCESSING,
        Status.SUCCEEDED: ChargeState.SUCCEEDED,
        Status.FAILED: ChargeState.FAILED,
        Status.CANCELLED: ChargeState.CANCELLED,
        Status.EXPIRED: ChargeState.EXPIRED,
    }
)


class RefundStatus(StrEnum):
    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


REFUND_STATES: MappingProxyType[RefundStatus, RefundState] = MappingProxyType(
    {
        RefundStatus.PENDING: RefundState.PENDING,
        RefundStatus.SUCCEEDED: RefundState.SUCCEEDED,
        RefundStatus.FAILED: RefundState.FAILED,
    }
)


class Link(msgspec.Struct, frozen=True):
    href: str


class Links(msgspec.Struct, frozen=True):
    """What may be done with a payment as it stands."""

    checkout: Link | None = None
    cancel: Link | None = None
    refund: Link | None = None


class Payment(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    id: str
    merchant_reference: str
    status: Status
    captured_amount: Cents = 0
    fee: Cents = 0
    failure_reason: str | None = None
    links: Links = msgspec.field(name="_links", default=Links())


class Payments(msgspec.Struct, frozen=True):
    """``next``: of a page of a statement, where there are more."""

    payments: tuple[Payment, ...]
    next: str | None = None


class Refund(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    id: str
    merchant_reference: str
    status: RefundStatus
    failure_reason: str | None = None


class Refunds(msgspec.Struct, frozen=True):
    refunds: tuple[Refund, ...]


class DisputeObject(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    amount: Cents
    fee: Cents = 0
    reason: str | None = None


class Data(msgspec.Struct, frozen=True, kw_only=True):
    payment: Payment
    refund: Refund | None = None
    dispute: DisputeObject | None = None


class Event(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    id: str
    event_type: str
    sequence: Annotated[int, msgspec.Meta(ge=1)]
    data: Data


class _Problem(msgspec.Struct, frozen=True):
    code: str
    message: str


def explain(body: bytes) -> tuple[str, str]:
    """The code and the message of a refusal."""
    problem = msgspec.json.decode(body, type=_Problem)
    return problem.code, problem.message


def standing(payment: Payment) -> Standing:
    state, checkout = STATES[payment.status], payment.links.checkout
    return Standing(
        state=state,
        external_id=payment.id,
        amount=payment.captured_amount,
        fee=payment.fee,
        redirect_url=checkout.href if checkout and state is ChargeState.OPEN else None,
        reason=payment.failure_reason,
    )


def stated(payment: Payment) -> Stated:
    ours = _uuid(payment.merchant_reference)
    payment_id = None if ours is None else PaymentId(ours)
    return Stated(reference=payment.merchant_reference, payment_id=payment_id, standing=standing(payment))


def refund_standing(refund: Refund) -> RefundStanding:
    return RefundStanding(state=REFUND_STATES[refund.status], external_id=refund.id, reason=refund.failure_reason)


def heard(body: bytes) -> Heard:
    """An event, understood. Raises MalformedWebhook."""
    try:
        event = msgspec.json.decode(body, type=Event)
    except UNREADABLE as error:
        raise MalformedWebhook(str(error)) from error
    payment, refund, dispute = event.data.payment, event.data.refund, event.data.dispute
    payment_id, refund_id = _uuid(payment.merchant_reference), _uuid(refund.merchant_reference) if refund else None
    return Heard(
        event_id=event.id,
        type=event.event_type,
        payment_id=None if payment_id is None else PaymentId(payment_id),
        sequence=event.sequence,
        standing=standing(payment) if event.event_type.startswith("payment.") else None,
        refund=(refund_id, refund_standing(refund)) if refund and refund_id else None,
        dispute=_dispute(dispute, won=event.event_type == "dispute.won") if dispute else None,
    )


def _dispute(dispute: DisputeObject, *, won: bool) -> Dispute:
    return Dispute(dispute_id=dispute.id, amount=dispute.amount, fee=dispute.fee, won=won, reason=dispute.reason)


def _uuid(reference: str) -> UUID | None:
    """Our id; None for a reference that is not ours (another till of the same merchant)."""
    try:
        return UUID(reference)
    except ValueError:
        return None
