"""A payment as it stands: the tables of its lifecycle and of its refunds', its money, and how events change it."""

from datetime import datetime, timedelta
from types import MappingProxyType
from uuid import UUID

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import Event, Kind, Ref
from tabletap.domain.vocabulary import MANUAL, PaymentStatus, RefundStatus

P = PaymentStatus
R = RefundStatus

_LATE = "late money"
PAYMENT_MOVES: MappingProxyType[tuple[PaymentStatus, PaymentStatus], str] = MappingProxyType(
    {
        (P.PENDING, P.PROCESSING): "the provider has it",
        (P.PENDING, P.COMPLETED): "money is here",
        (P.PENDING, P.FAILED): "refused",
        (P.PENDING, P.CANCELLED): "given up",
        (P.PENDING, P.EXPIRED): "not paid in time",
        (P.PROCESSING, P.COMPLETED): "money is here",
        (P.PROCESSING, P.FAILED): "refused",
        (P.PROCESSING, P.CANCELLED): "given up",
        (P.PROCESSING, P.EXPIRED): "not paid in time",
        (P.COMPLETED, P.PARTIALLY_REFUNDED): "part given back",
        (P.COMPLETED, P.REFUNDED): "all given back",
        (P.PARTIALLY_REFUNDED, P.PARTIALLY_REFUNDED): "another part given back",
        (P.PARTIALLY_REFUNDED, P.REFUNDED): "all given back",
        (P.REFUNDED, P.PARTIALLY_REFUNDED): "transferred once more",
        (P.FAILED, P.COMPLETED): _LATE,
        (P.CANCELLED, P.COMPLETED): _LATE,
        (P.EXPIRED, P.COMPLETED): _LATE,
    }
)
"""(from, to) -> why it happens. What is not here is refused by name."""

REFUND_MOVES: MappingProxyType[tuple[RefundStatus, RefundStatus], str] = MappingProxyType(
    {
        (R.PENDING, R.PROCESSING): "the provider has it",
        (R.PENDING, R.COMPLETED): "given back",
        (R.PENDING, R.FAILED): "refused",
        (R.PROCESSING, R.COMPLETED): "given back",
        (R.PROCESSING, R.FAILED): "refused",
    }
)
"""The same for a refund. One that failed stays so: giving back is asked for again, as another refund."""

OPEN = frozenset({P.PENDING, P.PROCESSING})
CLOSED = frozenset({P.FAILED, P.CANCELLED, P.EXPIRED})
TAKEN = frozenset({P.COMPLETED, P.PARTIALLY_REFUNDED, P.REFUNDED})
UNDER_WAY = frozenset({R.PENDING, R.PROCESSING})

VERIFY_AFTER = timedelta(seconds=30)
"""A payment that its provider says nothing of is asked about after so long, then less and less often (spec P8)."""
VERIFY_AT_LEAST_EVERY = timedelta(minutes=10)
SILENCE = timedelta(seconds=2)
"""An answer that never came is asked for sooner: a customer is waiting."""
SILENCE_AT_MOST = timedelta(minutes=1)


def verification_pause(attempt: int) -> timedelta:
    """From the ``attempt``-th question (from 1) to the next: 30 s, doubling, at most 10 min.

    >>> [verification_pause(attempt).total_seconds() for attempt in (1, 2, 3, 9)]
    [30.0, 60.0, 120.0, 600.0]
    """
    return min(VERIFY_AFTER * (1 << min(attempt - 1, 10)), VERIFY_AT_LEAST_EVERY)


def silence_pause(attempt: int) -> timedelta:
    """The same where an answer never came: 2 s, doubling, at most 1 min.

    >>> [silence_pause(attempt).total_seconds() for attempt in (1, 2, 3, 9)]
    [2.0, 4.0, 8.0, 60.0]
    """
    return min(SILENCE * (1 << min(attempt - 1, 10)), SILENCE_AT_MOST)


class RefundRecord(msgspec.Struct, frozen=True):
    """One refund as it stands. ``attempt``: so often the provider was asked; ``next_at``: when it is asked again."""

    requested: e.RefundRequested
    status: RefundStatus = R.PENDING
    attempt: int = 0
    next_at: datetime | None = None
    external_id: str | None = None
    reason: str | None = None

    @property
    def stands(self) -> bool:
        """Whether its money is given back or going to be."""
        return self.status is not R.FAILED


class Payment(msgspec.Struct, frozen=True):
    """``unapplied``: what the order had no use for; ``given_back``: what of it had been refunded before it said so.

    ``final``: its provider will say no more of it. ``attempt``, ``next_at``: as of a refund. ``more``: what was
    transferred for it after it was complete; ``matched``: the line of a statement that showed what staff had seen.
    """

    initiated: e.PaymentInitiated
    status: PaymentStatus = P.PENDING
    completed: e.PaymentCompleted | None = None
    closed_reason: str | None = None
    final: bool = False
    external_id: str | None = None
    redirect_url: str | None = None
    attempt: int = 0
    next_at: datetime | None = None
    unapplied: int = 0
    given_back: int = 0
    more: tuple[e.MoreReceived, ...] = ()
    matched: str | None = None
    refunds: dict[UUID, RefundRecord] = {}
    disputes: dict[str, e.PaymentDisputed] = {}
    disputes_won: frozenset[str] = frozenset()

    @property
    def ref(self) -> Ref:
        return Ref(Kind.PAYMENT, self.initiated.payment_id, self.initiated.cafe_id)

    @property
    def order_ref(self) -> Ref:
        return Ref(Kind.ORDER, self.initiated.order_id, self.initiated.cafe_id)

    @property
    def manual(self) -> bool:
        """Whether staff say when the money is here."""
        return self.initiated.method in MANUAL

    @property
    def received(self) -> int:
        """Money that came in and stayed (change excluded)."""
        return (self.completed.received if self.completed else 0) + sum(more.amount for more in self.more)

    @property
    def standing_refunds(self) -> tuple[e.RefundRequested, ...]:
        """What is given back or going to be."""
        return tuple(refund.requested for refund in self.refunds.values() if refund.stands)

    @property
    def refunded(self) -> int:
        """What has been given back."""
        return sum(refund.requested.amount for refund in self.refunds.values() if refund.status is R.COMPLETED)

    @property
    def disputed(self) -> int:
        """What the provider has taken back and not given again."""
        return sum(dispute.amount for key, dispute in self.disputes.items() if key not in self.disputes_won)

    @property
    def refundable(self) -> int:
        """What may still be given back."""
        return max(0, self.received - sum(refund.amount for refund in self.standing_refunds) - self.disputed)

    @property
    def spare(self) -> int:
        """What the order has no use for and nobody has given back yet."""
        surplus = (self.completed.surplus if self.completed else 0) + sum(more.amount for more in self.more)
        returned = sum(refund.from_surplus for refund in self.standing_refunds)
        return surplus + self.unapplied - self.given_back - returned

    @property
    def statement_line(self) -> str | None:
        """The line of a statement that its first money stands on, if one has shown it yet."""
        return self.matched or (self.completed.statement_line if self.completed else None)

    @property
    def knows_line(self) -> frozenset[str]:
        """The lines of bank statements that have been counted."""
        lines = {more.statement_line for more in self.more}
        if self.statement_line:
            lines.add(self.statement_line)
        return frozenset(lines)


def born(event: e.PaymentInitiated) -> Payment:
    """The payment as its order admitted it."""
    payment = Payment(initiated=event)
    if payment.manual:
        return payment
    return msgspec.structs.replace(payment, next_at=event.initiated_at + VERIFY_AFTER)


def evolve(state: Payment, event: Event) -> Payment:
    """The payment after ``event``. Never refuses."""
    replace = msgspec.structs.replace
    match event:
        case e.PaymentProcessing():
            return replace(
                state,
                status=P.PROCESSING if state.status is P.PENDING else state.status,
                external_id=event.external_id or state.external_id,
                redirect_url=event.redirect_url or state.redirect_url,
            )
        case e.VerificationPlanned():
            return replace(state, attempt=event.attempt, next_at=event.at)
        case e.ProviderSettled():
            return replace(state, final=True, next_at=None)
        case e.PaymentCompleted():
            external_id = event.external_id or state.external_id
            return replace(
                state, status=P.COMPLETED, completed=event, external_id=external_id, final=True, next_at=None
            )
        case e.PaymentClosed():
            closed = replace(state, status=P(event.status), closed_reason=event.reason)
            return replace(closed, final=True, next_at=None) if event.final else closed
        case e.PaymentUnapplied():
            return replace(
                state, unapplied=state.unapplied + event.amount, given_back=state.given_back + event.given_back
            )
        case e.StatementMatched():
            return replace(state, matched=event.statement_line)
        case e.MoreReceived():
            status = P.PARTIALLY_REFUNDED if state.status is P.REFUNDED else state.status
            return replace(state, more=(*state.more, event), status=status)
        case e.PaymentDisputed():
            return replace(state, disputes=state.disputes | {event.dispute_id: event})
        case e.DisputeWon():
            return replace(state, disputes_won=state.disputes_won | {event.dispute_id})
        case e.RefundRequested() | e.RefundProcessing() | e.RefundCompleted() | e.RefundFailed():
            return _refunds(state, event)
        case _:
            return state


_RefundEvent = e.RefundRequested | e.RefundProcessing | e.RefundCompleted | e.RefundFailed


def _refunds(state: Payment, event: _RefundEvent) -> Payment:
    replace = msgspec.structs.replace
    status = state.status
    given_back = state.given_back
    known = state.refunds.get(event.refund_id)
    match event:
        case e.RefundRequested():
            refund = RefundRecord(event, next_at=event.requested_at + VERIFY_AFTER)
        case e.RefundProcessing():
            assert known is not None
            refund = replace(
                known,
                status=R.PROCESSING if event.accepted else known.status,
                attempt=event.attempt,
                next_at=event.at,
                external_id=event.external_id or known.external_id,
            )
        case e.RefundCompleted():
            assert known is not None
            external_id = event.external_id or known.external_id
            refund = replace(known, status=R.COMPLETED, next_at=None, external_id=external_id)
            status = P.REFUNDED if event.full else P.PARTIALLY_REFUNDED
        case e.RefundFailed():
            assert known is not None
            refund = replace(known, status=R.FAILED, next_at=None, reason=event.reason)
            given_back -= event.reclassified
    return replace(state, refunds=state.refunds | {event.refund_id: refund}, status=status, given_back=given_back)


def asks_provider(state: Payment) -> bool:
    """Whether the provider still has to say what became of it."""
    return not state.manual and not state.final and state.status not in TAKEN


def wake_at(state: Payment) -> datetime | None:
    """When an open payment is given up, or the next question to its provider is due."""
    times = [refund.next_at for refund in state.refunds.values() if refund.status in UNDER_WAY]
    times.append(state.initiated.expires_at if state.status in OPEN else None)
    times.append(state.next_at if asks_provider(state) else None)
    return min((time for time in times if time is not None), default=None)
