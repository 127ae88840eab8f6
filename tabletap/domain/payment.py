"""A payment: one attempt to pay (part of) an order.

``PAYMENT_MOVES`` is the whole lifecycle (spec P2). Its order has set the amount aside before the payment exists, so a
payment that completes always has an order waiting for it; where the order is gone meanwhile, the money is *unapplied*:
owed back, in its own account, never lost. Money that comes after the payment was given up (expired, cancelled, failed)
completes it all the same, late: it is here, and pretending otherwise would lose it.

Cash is counted by staff: ``tendered`` covers the total, the rest is change. A transfer is matched by staff: what was
received may be less (that much is paid, the rest is owed again) or more (the surplus is owed back).
"""

from datetime import datetime, timedelta
from types import MappingProxyType
from typing import assert_never
from uuid import UUID

import msgspec

from . import events as e
from .base import NOTHING, Command, Context, Decision, Event, Kind, Message, OrderId, PaymentId, Ref, Wake
from .errors import Code, Refusal, invalid
from .messages import ClosePayment, NoteRefund, Release, ReturnUnapplied, Settle, TakeCash
from .vocabulary import Method, PaymentStatus

P = PaymentStatus

EXPIRES_AFTER: MappingProxyType[Method, timedelta] = MappingProxyType(
    {
        Method.CASH: timedelta(minutes=30),
        Method.QR_CODE_BANK_TRANSFER: timedelta(minutes=15),
    }
)

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
        (P.FAILED, P.COMPLETED): _LATE,
        (P.CANCELLED, P.COMPLETED): _LATE,
        (P.EXPIRED, P.COMPLETED): _LATE,
    }
)
"""(from, to) -> why it happens. What is not here is refused by name."""

OPEN = frozenset({P.PENDING, P.PROCESSING})
TAKEN = frozenset({P.COMPLETED, P.PARTIALLY_REFUNDED, P.REFUNDED})

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, so that a reference survives being read aloud and typed."""


def reference(payment_id: PaymentId) -> str:
    """The unique text a customer puts on a transfer: 14 characters, within the 18 of a BECS lodgement reference.

    The last 60 bits of a UUIDv7 are random, so two references meet as rarely as two ids.
    """
    bits = payment_id.int & ((1 << 60) - 1)
    return "TT" + "".join(_ALPHABET[bits >> shift & 31] for shift in range(55, -1, -5))


def expires_at(method: Method, now: datetime) -> datetime:
    """When a payment begun ``now`` is given up."""
    return now + EXPIRES_AFTER[method]


# -- state


class Payment(msgspec.Struct, frozen=True):
    """``unapplied``: what the order had no use for; ``given_back``: what of it had been refunded before it said so."""

    initiated: e.PaymentInitiated
    status: PaymentStatus = P.PENDING
    completed: e.PaymentCompleted | None = None
    closed_reason: str | None = None
    unapplied: int = 0
    given_back: int = 0
    refunds: tuple[e.PaymentRefunded, ...] = ()

    @property
    def ref(self) -> Ref:
        return Ref(Kind.PAYMENT, self.initiated.payment_id, self.initiated.cafe_id)

    @property
    def order_ref(self) -> Ref:
        return Ref(Kind.ORDER, self.initiated.order_id, self.initiated.cafe_id)

    @property
    def received(self) -> int:
        """Money that came in and stayed (change excluded)."""
        return self.completed.received if self.completed else 0

    @property
    def refunded(self) -> int:
        return sum(refund.amount for refund in self.refunds)

    @property
    def refundable(self) -> int:
        return self.received - self.refunded


# -- commands


class VerifyCash(Command, frozen=True):
    """Staff have counted ``tendered`` cents in notes and coins, and put them into the drawer, if one is open."""

    tendered: int
    drawer_id: UUID | None = None


class VerifyTransfer(Command, frozen=True):
    """Staff (or a bank statement) have seen ``received`` cents arrive."""

    received: int


class Cancel(Command, frozen=True):
    """Give it up, so that another way of paying can be chosen."""

    reason: str | None = None


class Refund(Command, frozen=True):
    """Give back ``amount`` (left out: all that is left)."""

    amount: int | None = None
    reason: str | None = None
    drawer_id: UUID | None = None


PaymentCommand = VerifyCash | VerifyTransfer | Cancel | Refund | ClosePayment | ReturnUnapplied | Wake


# -- decide


def decide(state: Payment, command: PaymentCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the payment as it stands."""
    match command:
        case VerifyCash():
            return _verify_cash(state, command, ctx)
        case VerifyTransfer():
            return _verify_transfer(state, command)
        case Cancel():
            return _close(state, P.CANCELLED, command.reason)
        case Refund():
            return _refund(state, command, ctx)
        case ClosePayment():
            return _close(state, P.CANCELLED, command.reason) if state.status in OPEN else NOTHING
        case ReturnUnapplied():
            return _return_unapplied(state, command)
        case Wake():
            if state.status not in OPEN or ctx.now < state.initiated.expires_at:
                return NOTHING
            return _close(state, P.EXPIRED, "not paid in time")
        case _:
            assert_never(command)


def _illegal(state: Payment, to: PaymentStatus) -> Refusal:
    return Refusal(Code.ILLEGAL_MOVE, f"a payment that is {state.status} cannot become {to}")


def _verify_cash(state: Payment, command: VerifyCash, ctx: Context) -> Decision | Refusal:
    started = state.initiated
    if started.method is not Method.CASH:
        return invalid("tendered", f"a {started.method} payment is not verified by counting cash")
    if state.status in TAKEN:
        return _illegal(state, P.COMPLETED)
    if state.status not in OPEN:
        return Refusal(Code.PAYMENT_EXPIRED, f"the payment is {state.status}: give the cash back or start another")
    if command.tendered < started.total:
        return Refusal(
            Code.TENDERED_TOO_LITTLE, f"{command.tendered} cents do not cover {started.total}: hand it back or split"
        )
    return _complete(
        state,
        e.PaymentCompleted(
            payment_id=started.payment_id,
            order_id=started.order_id,
            method=started.method,
            received=started.total,
            amount=started.amount,
            tip=started.tip,
            rounding=started.rounding,
            tendered=command.tendered,
            change=command.tendered - started.total,
        ),
        _through_drawer(state, command.drawer_id, started.total, ctx),
    )


def _verify_transfer(state: Payment, command: VerifyTransfer) -> Decision | Refusal:
    started = state.initiated
    if started.method is not Method.QR_CODE_BANK_TRANSFER:
        return invalid("received", f"a {started.method} payment is not verified by a bank statement")
    if (state.status, P.COMPLETED) not in PAYMENT_MOVES:
        return _illegal(state, P.COMPLETED)
    if command.received < 1:
        return invalid("received", "must be at least 1 cent")
    amount = min(command.received, started.amount)
    tip = min(command.received - amount, started.tip)
    return _complete(
        state,
        e.PaymentCompleted(
            payment_id=started.payment_id,
            order_id=started.order_id,
            method=started.method,
            received=command.received,
            amount=amount,
            tip=tip,
            surplus=command.received - amount - tip,
            late=state.status not in OPEN,
        ),
    )


def _complete(state: Payment, completed: e.PaymentCompleted, drawer: tuple[Message, ...] = ()) -> Decision:
    settle = Settle(payment_id=state.initiated.payment_id, amount=completed.amount)
    return Decision((completed,), messages=(Message(state.order_ref, settle), *drawer))


def _through_drawer(state: Payment, drawer_id: UUID | None, amount: int, ctx: Context) -> tuple[Message, ...]:
    """Tell the drawer what went in (or, negative, out)."""
    if drawer_id is None or amount == 0 or state.initiated.method is not Method.CASH:
        return ()
    taken = TakeCash(payment_id=state.initiated.payment_id, entry_id=ctx.new_id(), amount=amount)
    return (Message(Ref(Kind.DRAWER, drawer_id, state.initiated.cafe_id), taken),)


def _close(state: Payment, to: PaymentStatus, reason: str | None) -> Decision | Refusal:
    if state.status is to:
        return NOTHING
    if (state.status, to) not in PAYMENT_MOVES:
        return _illegal(state, to)
    closed = e.PaymentClosed(
        payment_id=state.initiated.payment_id, order_id=state.initiated.order_id, status=to.value, reason=reason
    )
    return Decision((closed,), messages=(Message(state.order_ref, Release(state.initiated.payment_id)),))


def _return_unapplied(state: Payment, command: ReturnUnapplied) -> Decision:
    """The order had no use for so much. Refunds that were faster than it took part of that for a part of the sale."""
    if state.unapplied or state.completed is None:
        return NOTHING
    applied = state.completed.amount - command.amount
    refunded = sum(refund.from_sale for refund in state.refunds)
    unapplied = e.PaymentUnapplied(
        payment_id=state.initiated.payment_id,
        order_id=state.initiated.order_id,
        amount=command.amount,
        given_back=max(0, refunded - applied),
    )
    return Decision((unapplied,))


def _refund(state: Payment, command: Refund, ctx: Context) -> Decision | Refusal:
    if state.status not in (P.COMPLETED, P.PARTIALLY_REFUNDED) or state.completed is None:
        return _illegal(state, P.REFUNDED)
    amount = state.refundable if command.amount is None else command.amount
    if amount > state.refundable:
        return Refusal(Code.REFUND_EXCEEDS_ORIGINAL, f"{amount} cents is more than the {state.refundable} left of it")
    done, full = state.completed, amount == state.refundable
    if amount < 1 and not (full and amount == 0):  # the last cents, rounded away when paid, are given back as nothing
        return invalid("amount", "must be at least 1 cent")
    unapplied = state.unapplied - state.given_back
    spare = done.surplus + unapplied - sum(refund.from_surplus for refund in state.refunds)
    sold = done.amount - unapplied - sum(refund.from_sale for refund in state.refunds)
    tipped = done.tip - sum(refund.from_tip for refund in state.refunds)
    from_surplus = spare if full else min(amount, spare)
    from_sale = sold if full else min(amount - from_surplus, sold)
    from_tip = tipped if full else min(amount - from_surplus - from_sale, tipped)
    refunded = e.PaymentRefunded(
        payment_id=state.initiated.payment_id,
        order_id=state.initiated.order_id,
        refund_id=ctx.new_id(),
        method=state.initiated.method,
        amount=amount,
        from_surplus=from_surplus,
        from_sale=from_sale,
        from_tip=from_tip,
        from_rounding=amount - from_surplus - from_sale - from_tip,
        refunded=state.refunded + amount,
        full=full,
        reason=command.reason,
    )
    note = NoteRefund(payment_id=state.initiated.payment_id, refund_id=refunded.refund_id, amount=from_sale)
    notes = (Message(state.order_ref, note),) if from_sale else ()
    return Decision((refunded,), messages=(*notes, *_through_drawer(state, command.drawer_id, -amount, ctx)))


# -- evolve


def born(event: e.PaymentInitiated) -> Payment:
    """The payment as its order admitted it."""
    return Payment(initiated=event)


def evolve(state: Payment, event: Event) -> Payment:
    """The payment after ``event``. Never refuses."""
    replace = msgspec.structs.replace
    match event:
        case e.PaymentCompleted():
            return replace(state, status=P.COMPLETED, completed=event)
        case e.PaymentClosed():
            return replace(state, status=P(event.status), closed_reason=event.reason)
        case e.PaymentUnapplied():
            return replace(
                state, unapplied=state.unapplied + event.amount, given_back=state.given_back + event.given_back
            )
        case e.PaymentRefunded():
            status = P.REFUNDED if event.full else P.PARTIALLY_REFUNDED
            return replace(state, status=status, refunds=(*state.refunds, event))
        case _:
            return state


def wake_at(state: Payment) -> datetime | None:
    """When an open payment is given up."""
    return state.initiated.expires_at if state.status in OPEN else None


# -- view


class PaymentView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A payment on the wire (``protocol.md``). How to pay (``redirectUrl``, ``qrCodeData``) is its gateway's to add."""

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
    change: int | None = None
    tendered: int | None = None
    received: int | None = None
    refunded_amount: int | None = None
    refund_id: UUID | None = None
    surplus: int | None = None
    reason: str | None = None
    redirect_url: str | None = None
    payment_url: str | None = None
    qr_code_data: str | None = None


def view(state: Payment) -> PaymentView:
    """The payment as the wire tells it."""
    started, done = state.initiated, state.completed
    spare = (done.surplus if done else 0) + state.unapplied
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
        change=done.change if done else None,
        tendered=done.tendered if done else None,
        received=done.received if done else None,
        refunded_amount=state.refunded or None,
        refund_id=state.refunds[-1].refund_id if state.refunds else None,
        surplus=spare or None,
        reason=state.closed_reason,
    )
