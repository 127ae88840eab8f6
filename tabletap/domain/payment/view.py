"""A payment on the wire (``protocol.md``): its shape exists once, here."""

from datetime import datetime
from uuid import UUID

import msgspec

from tabletap.domain.base import OrderId, PaymentId
from tabletap.domain.vocabulary import Method, PaymentStatus, RefundStatus, RefundTo

from .state import OPEN, Payment, RefundRecord


class RefundView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One refund of a payment on the wire."""

    refund_id: UUID
    status: RefundStatus
    to: RefundTo
    amount: int
    requested_at: datetime
    reason: str | None = None
    failure_reason: str | None = None


class PartView(msgspec.Struct, frozen=True):
    """A part of a bill that is split evenly: 2 of 3."""

    share: int
    of: int


def part_view(share: tuple[int, int] | None) -> PartView | None:
    """The part that a payment is for, where it is for one, as the wire tells it."""
    return None if share is None else PartView(*share)


class PaymentView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A payment on the wire (``protocol.md``). What to show of it (``qrCodeData``) is its gateway's to add.

    ``lines``: those of the order that it is for, ``part``: which part of the bill, where that is split so.
    """

    payment_id: PaymentId
    order_id: OrderId
    status: PaymentStatus
    amount: int
    tip_amount: int
    total_amount: int
    currency: str
    payment_method: Method
    reference: str
    expires_at: datetime
    rounding: int
    lines: tuple[int, ...] = ()
    part: PartView | None = None
    change: int | None = None
    tendered: int | None = None
    received: int | None = None
    refunded_amount: int | None = None
    refund_id: UUID | None = None
    refunds: tuple[RefundView, ...] = ()
    refundable: int | None = None
    disputed: int | None = None
    surplus: int | None = None
    reason: str | None = None
    redirect_url: str | None = None
    payment_url: str | None = None
    qr_code_data: str | None = None


def view(state: Payment) -> PaymentView:
    """The payment as the wire tells it."""
    started, done = state.initiated, state.completed
    spare = (done.surplus if done else 0) + state.unapplied + sum(more.amount for more in state.more)
    return PaymentView(
        payment_id=started.payment_id,
        order_id=started.order_id,
        status=state.status,
        amount=started.amount,
        tip_amount=started.tip,
        total_amount=started.total,
        currency=started.currency,
        payment_method=started.method,
        reference=started.reference,
        expires_at=started.expires_at,
        rounding=started.rounding,
        lines=started.lines,
        part=part_view(started.share),
        change=done.change if done else None,
        tendered=done.tendered if done else None,
        received=state.received if done else None,
        refunded_amount=state.refunded or None,
        refund_id=next(reversed(state.refunds), None),
        refunds=tuple(refund_view(refund) for refund in state.refunds.values()),
        refundable=state.refundable or None,
        disputed=state.disputed or None,
        surplus=spare or None,
        reason=state.closed_reason,
        redirect_url=state.redirect_url if state.status in OPEN else None,
    )


def refund_view(refund: RefundRecord) -> RefundView:
    """One refund as the wire tells it."""
    asked = refund.requested
    return RefundView(
        refund_id=asked.refund_id,
        status=refund.status,
        to=asked.to,
        amount=asked.amount,
        requested_at=asked.requested_at,
        reason=asked.reason,
        failure_reason=refund.reason,
    )
