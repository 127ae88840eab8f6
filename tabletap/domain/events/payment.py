"""A payment, its provider, its refunds."""

from datetime import datetime
from uuid import UUID

from tabletap.domain.base import CafeId, Event, OrderId, PaymentId, Ref
from tabletap.domain.vocabulary import (
    ChargeState,
    Method,
    RefundTo,
    Surplus,
)


class PaymentInitiated(Event, frozen=True, tag="payment.initiated", kw_only=True):
    """Admitted by its order, which has set ``amount`` aside for it. ``total`` = amount + tip + rounding.

    ``account``: the account of ours that pays (credit, gift card). ``credit``: the customer's credit account, where the
    customer is known: refunds may go there. ``surplus``: what the cafe does with money its order has no use for.
    ``lines``: those it pays for, ``share``: which part of how many (2 of 3), where the bill is split so.
    """

    payment_id: PaymentId
    order_id: OrderId
    cafe_id: CafeId
    order_number: int
    method: Method
    amount: int
    tip: int
    rounding: int
    total: int
    currency: str
    reference: str
    initiated_at: datetime
    expires_at: datetime
    customer_id: str | None = None
    account: Ref | None = None
    credit: Ref | None = None
    surplus: Surplus = Surplus.HOLD
    lines: tuple[int, ...] = ()
    share: tuple[int, int] | None = None
    metadata: dict[str, str] = {}


class PaymentProcessing(Event, frozen=True, tag="payment.processing", kw_only=True):
    """The provider has it, as ``external_id``; ``redirect_url``: where the customer approves it."""

    payment_id: PaymentId
    order_id: OrderId
    external_id: str | None = None
    redirect_url: str | None = None


class VerificationPlanned(Event, frozen=True, tag="payment.verification_planned", kw_only=True):
    """The provider is to be asked again at ``at`` (the ``attempt``-th time, from 1), if it has not spoken by then."""

    payment_id: PaymentId
    order_id: OrderId
    attempt: int
    at: datetime
    reason: str | None = None


class ProviderSettled(Event, frozen=True, tag="payment.provider_settled", kw_only=True):
    """The provider will say no more of a payment that came to nothing: it is ``state`` there too."""

    payment_id: PaymentId
    order_id: OrderId
    state: ChargeState


class PaymentCompleted(Event, frozen=True, tag="payment.completed", kw_only=True):
    """Money is here: ``received`` = ``amount`` (for the order) + ``tip`` + ``rounding`` + ``surplus``.

    ``fee``: what the provider keeps of it. ``external_id``: what the provider calls it.
    """

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    received: int
    amount: int
    tip: int
    rounding: int = 0
    surplus: int = 0
    tendered: int | None = None
    change: int | None = None
    fee: int = 0
    external_id: str | None = None
    statement_line: str | None = None
    late: bool = False


class PaymentClosed(Event, frozen=True, tag="payment.closed", kw_only=True):
    """It came to nothing: failed, cancelled or expired, as ``status`` says. ``final``: so says its provider too."""

    payment_id: PaymentId
    order_id: OrderId
    status: str
    reason: str | None = None
    final: bool = False


class PaymentUnapplied(Event, frozen=True, tag="payment.unapplied", kw_only=True):
    """Money that its order had no use for any more: owed back to whoever paid, never lost.

    ``given_back``: so much of it was refunded, as if of the sale, before the order could say so.
    """

    payment_id: PaymentId
    order_id: OrderId
    amount: int
    given_back: int = 0


class StatementMatched(Event, frozen=True, tag="payment.statement_matched", kw_only=True):
    """A line of a bank statement is the money that staff had seen before: counted already."""

    payment_id: PaymentId
    order_id: OrderId
    statement_line: str


class MoreReceived(Event, frozen=True, tag="payment.more_received", kw_only=True):
    """The customer has transferred once more for a payment that was complete: all of it is owed back.

    ``statement_line`` tells one transfer from the next.
    """

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    amount: int
    statement_line: str


class RefundRequested(Event, frozen=True, tag="payment.refund_requested", kw_only=True):
    """To be given back: of the surplus first, then of the sale, the tip, the cash rounding.

    ``to``: the way the money came, or the customer's credit (``account``). Owed until it is completed or fails.
    """

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    method: Method
    to: RefundTo
    amount: int
    from_surplus: int
    from_sale: int
    from_tip: int
    from_rounding: int
    requested_at: datetime
    account: Ref | None = None
    reason: str | None = None


class RefundProcessing(Event, frozen=True, tag="payment.refund_processing", kw_only=True):
    """The provider is at it, or has not answered; it is asked again at ``at`` (the ``attempt``-th time, from 1)."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    attempt: int
    at: datetime
    accepted: bool = False
    external_id: str | None = None
    reason: str | None = None


class RefundCompleted(Event, frozen=True, tag="payment.refund_completed", kw_only=True):
    """Given back. ``refunded``: all so far; ``full``: nothing is left of the payment."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    method: Method
    to: RefundTo
    amount: int
    refunded: int
    full: bool
    external_id: str | None = None
    reason: str | None = None


class RefundFailed(Event, frozen=True, tag="payment.refund_failed", kw_only=True):
    """The provider would not: the money is here still. The parts say where it is owed from again."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    amount: int
    from_surplus: int
    from_sale: int
    from_tip: int
    from_rounding: int
    reclassified: int = 0
    reason: str | None = None


class PaymentDisputed(Event, frozen=True, tag="payment.disputed", kw_only=True):
    """A chargeback: the provider has taken ``amount`` back, and ``fee`` for its trouble."""

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    dispute_id: str
    amount: int
    fee: int = 0
    reason: str | None = None


class DisputeWon(Event, frozen=True, tag="payment.dispute_won", kw_only=True):
    """The chargeback is undone: ``amount`` is here again (the fee is not)."""

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    dispute_id: str
    amount: int
