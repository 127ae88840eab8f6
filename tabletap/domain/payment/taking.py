"""Money comes: counted by staff, seen on a statement, or told by a provider, in time or late."""

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Context, Decision, Event, Kind, Message, Ref
from tabletap.domain.charge import Standing
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.messages import Release, Settle, TakeCash
from tabletap.domain.tasks import AbandonCharge, OpenCharge
from tabletap.domain.vocabulary import ChargeState, Method, PaymentStatus

from .asking import charge, illegal, job, planned, question
from .commands import HearCharge, HearSilence, VerifyCash, VerifyTransfer
from .refunding import give_back_spare
from .state import CLOSED, OPEN, PAYMENT_MOVES, TAKEN, P, Payment, asks_provider, evolve

ASKED_AT_MOST = 60
"""A payment that came to nothing is not asked about for ever: after ten hours only its provider brings it up."""

_CAME_TO_NOTHING = {ChargeState.FAILED: P.FAILED, ChargeState.CANCELLED: P.CANCELLED, ChargeState.EXPIRED: P.EXPIRED}


# -- by staff


def verify_cash(state: Payment, command: VerifyCash, ctx: Context) -> Decision | Refusal:
    started = state.initiated
    if started.method is not Method.CASH:
        return invalid("tendered", f"a {started.method} payment is not verified by counting cash")
    if state.status in TAKEN:
        return illegal(state, P.COMPLETED)
    if state.status not in OPEN:
        return Refusal(Code.PAYMENT_EXPIRED, f"the payment is {state.status}: give the cash back or start another")
    if command.tendered < started.total:
        return Refusal(
            Code.TENDERED_TOO_LITTLE, f"{command.tendered} cents do not cover {started.total}: hand it back or split"
        )
    completed = e.PaymentCompleted(
        payment_id=started.payment_id,
        order_id=started.order_id,
        method=started.method,
        received=started.total,
        amount=started.amount,
        tip=started.tip,
        rounding=started.rounding,
        tendered=command.tendered,
        change=command.tendered - started.total,
    )
    decision = _completing(state, completed, ctx)
    into = through_drawer(state, command, started.total, ctx)
    return msgspec.structs.replace(decision, messages=(*decision.messages, *into))


def through_drawer(state: Payment, command: VerifyCash, amount: int, ctx: Context) -> tuple[Message, ...]:
    """Tell the drawer what went in."""
    if command.drawer_id is None or amount == 0:
        return ()
    taken = TakeCash(payment_id=state.initiated.payment_id, entry_id=ctx.new_id(), amount=amount)
    return (Message(Ref(Kind.DRAWER, command.drawer_id, state.initiated.cafe_id), taken),)


def verify_transfer(state: Payment, command: VerifyTransfer, ctx: Context) -> Decision | Refusal:
    started, line = state.initiated, command.statement_line
    if started.method is not Method.QR_CODE_BANK_TRANSFER:
        return invalid("received", f"a {started.method} payment is not verified by a bank statement")
    if line is not None and line in state.knows_line:
        return NOTHING
    if command.received < 1:
        return invalid("received", "must be at least 1 cent")
    if state.status in TAKEN:
        return _once_more(state, command, ctx) if line is not None else illegal(state, P.COMPLETED)
    return take(state, command.received, ctx, statement_line=line)


def _once_more(state: Payment, command: VerifyTransfer, ctx: Context) -> Decision:
    """A statement shows a transfer for a payment that is complete: what staff had seen before it, or another one."""
    payment_id, order_id = state.initiated.payment_id, state.initiated.order_id
    line, amount = command.statement_line or "", command.received
    events: tuple[Event, ...] = ()
    if state.statement_line is None and state.completed is not None:
        events = (e.StatementMatched(payment_id=payment_id, order_id=order_id, statement_line=line),)
        amount -= state.completed.received
    if amount > 0:
        more = e.MoreReceived(
            payment_id=payment_id,
            order_id=order_id,
            method=state.initiated.method,
            amount=amount,
            statement_line=line,
        )
        events = (*events, more)
    after = state
    for event in events:
        after = evolve(after, event)
    spare = give_back_spare(after, ctx)
    return msgspec.structs.replace(spare, events=(*events, *spare.events))


# -- whoever says so


def take(
    state: Payment,
    received: int,
    ctx: Context,
    *,
    fee: int = 0,
    external_id: str | None = None,
    statement_line: str | None = None,
) -> Decision:
    """``received`` cents are here: the order's part first, then the tip; what is more than that is owed back."""
    started = state.initiated
    amount = min(received, started.amount)
    tip = min(received - amount, started.tip)
    completed = e.PaymentCompleted(
        payment_id=started.payment_id,
        order_id=started.order_id,
        method=started.method,
        received=received,
        amount=amount,
        tip=tip,
        surplus=received - amount - tip,
        fee=fee,
        external_id=external_id,
        statement_line=statement_line,
        late=state.status not in OPEN,
    )
    return _completing(state, completed, ctx)


def _completing(state: Payment, completed: e.PaymentCompleted, ctx: Context) -> Decision:
    settle = Settle(payment_id=state.initiated.payment_id, amount=completed.amount)
    spare = give_back_spare(evolve(state, completed), ctx)
    return Decision(
        (completed, *spare.events),
        messages=(Message(state.order_ref, settle), *spare.messages),
        jobs=spare.jobs,
    )


def cancel(state: Payment, reason: str | None, ctx: Context) -> Decision | Refusal:
    """Give it up."""
    return close(state, P.CANCELLED, reason, ctx)


def close(
    state: Payment, to: PaymentStatus, reason: str | None, ctx: Context, *, final: bool = False
) -> Decision | Refusal:
    """It comes to nothing. A provider that may still take the money is told to give it up."""
    if state.status is to:
        return NOTHING
    if (state.status, to) not in PAYMENT_MOVES:
        return illegal(state, to)
    closed = e.PaymentClosed(
        payment_id=state.initiated.payment_id,
        order_id=state.initiated.order_id,
        status=to.value,
        reason=reason,
        final=final or state.manual,
    )
    release = Message(state.order_ref, Release(state.initiated.payment_id))
    after = evolve(state, closed)
    if not asks_provider(after):
        return Decision((closed,), messages=(release,))
    plan = planned(after, ctx)
    return Decision((closed, plan), messages=(release,), jobs=(job(after, AbandonCharge(charge(after))),))


# -- by the provider


def hear_charge(state: Payment, command: HearCharge, ctx: Context) -> Decision | Refusal:
    """What a provider says is believed when it is news, and changes nothing when it is not."""
    standing = command.standing
    if state.manual:
        return invalid("paymentMethod", f"a {state.initiated.method} payment has no provider")
    if state.status in TAKEN:
        return NOTHING
    match standing.state:
        case ChargeState.SUCCEEDED if standing.amount < 1:
            return hear_silence(state, HearSilence(reason="it says that it has taken nothing"), ctx)
        case ChargeState.SUCCEEDED:
            return take(state, standing.amount, ctx, fee=standing.fee, external_id=standing.external_id)
        case ChargeState.FAILED | ChargeState.CANCELLED | ChargeState.EXPIRED:
            return _came_to_nothing(state, standing, ctx)
        case ChargeState.ABSENT:
            return _absent(state, ctx)
        case ChargeState.OPEN | ChargeState.PROCESSING:
            return _under_way(state, standing)


def _came_to_nothing(state: Payment, standing: Standing, ctx: Context) -> Decision | Refusal:
    if state.status in OPEN:
        return close(state, _CAME_TO_NOTHING[standing.state], standing.reason, ctx, final=True)
    return _settled(state, standing.state)


def _settled(state: Payment, to: ChargeState) -> Decision:
    if state.final:
        return NOTHING
    started = state.initiated
    return Decision((e.ProviderSettled(payment_id=started.payment_id, order_id=started.order_id, state=to),))


def _absent(state: Payment, ctx: Context) -> Decision:
    """The provider has never heard of it. The question for the money was lost: it is put again, under the same key."""
    if state.status in CLOSED:
        return _settled(state, ChargeState.ABSENT)
    plan = planned(state, ctx, reason="the provider does not know it")
    return Decision((plan,), jobs=(job(state, OpenCharge(charge(state))),))


def _under_way(state: Payment, standing: Standing) -> Decision:
    news = standing.external_id not in (None, state.external_id) or standing.redirect_url not in (
        None,
        state.redirect_url,
    )
    if state.status not in OPEN or not (news or state.status is P.PENDING):
        return NOTHING
    started = state.initiated
    processing = e.PaymentProcessing(
        payment_id=started.payment_id,
        order_id=started.order_id,
        external_id=standing.external_id,
        redirect_url=standing.redirect_url,
    )
    return Decision((processing,))


def hear_silence(state: Payment, command: HearSilence, ctx: Context) -> Decision:
    """Nobody knows whether it was done: it is looked up soon, never done again blindly."""
    if not asks_provider(state):
        return NOTHING
    return Decision((planned(state, ctx, silent=True, reason=command.reason),))


def verify_now(state: Payment) -> Decision | Refusal:
    if state.manual:
        what = "tendered" if state.initiated.method is Method.CASH else "received"
        return invalid(what, f"a {state.initiated.method} payment is verified by what was {what}")
    if not asks_provider(state):
        return NOTHING
    return Decision(jobs=(question(state),))


def wake(state: Payment, ctx: Context) -> Decision:
    """The time of the payment itself has come: to be given up, or to be asked about."""
    if state.status in OPEN and ctx.now >= state.initiated.expires_at:
        closed = close(state, P.EXPIRED, "not paid in time", ctx)
        assert isinstance(closed, Decision)
        return closed
    if not asks_provider(state) or state.next_at is None or ctx.now < state.next_at:
        return NOTHING
    if state.status in CLOSED and state.attempt >= ASKED_AT_MOST:
        return _settled(state, ChargeState.ABSENT)
    return Decision((planned(state, ctx),), jobs=(question(state),))
