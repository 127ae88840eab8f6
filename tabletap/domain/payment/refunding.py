"""Money goes back: each refund a record of its own, asked for, under way, done or refused (spec P6).

What is asked for is owed at once (``refunds_due``), so that no two refunds can promise the same cent; the order hears
of it when it is done. A provider that does not answer is asked how the refund stands, never told to refund twice.
"""

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Context, Decision, Kind, Message, Ref
from tabletap.domain.charge import RefundOrder
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.messages import NoteRefund, ReturnUnapplied, TakeCash
from tabletap.domain.tasks import GiveBack, VerifyRefund
from tabletap.domain.vocabulary import Method, RefundState, RefundTo, Surplus

from .asking import charge, illegal, job
from .commands import HearRefund, HearSilence, Refund
from .state import TAKEN, UNDER_WAY, P, Payment, R, RefundRecord, evolve, silence_pause, verification_pause


def refund(state: Payment, command: Refund, ctx: Context) -> Decision | Refusal:
    """Ask for money to be given back. What staff hand over themselves is done with that."""
    if state.status not in (P.COMPLETED, P.PARTIALLY_REFUNDED) or state.completed is None:
        return illegal(state, P.REFUNDED)
    if command.to is RefundTo.CREDIT and state.initiated.credit is None:
        return invalid("to", "nobody knows whose credit that would be: the order has no customer account")
    amount = state.refundable if command.amount is None else command.amount
    if amount > state.refundable:
        return Refusal(Code.REFUND_EXCEEDS_ORIGINAL, f"{amount} cents is more than the {state.refundable} left of it")
    nothing_left = state.refundable == 0 and not state.standing_refunds and not state.disputed
    if amount < 1 and not nothing_left:  # the last cents, rounded away when paid, are given back as nothing
        return invalid("amount", "must be at least 1 cent")
    requested = _requested(state, amount, command.to, command.reason, ctx)
    asked = _ask(state, requested)
    if command.to is RefundTo.CREDIT or command.drawer_id is None or state.initiated.method is not Method.CASH:
        return asked
    out = TakeCash(payment_id=state.initiated.payment_id, entry_id=ctx.new_id(), amount=-amount)
    drawer = Message(Ref(Kind.DRAWER, command.drawer_id, state.initiated.cafe_id), out)
    return msgspec.structs.replace(asked, messages=(*asked.messages, drawer) if amount else asked.messages)


def _requested(state: Payment, amount: int, to: RefundTo, reason: str | None, ctx: Context) -> e.RefundRequested:
    """Out of what is spare first, then of the sale, the tip, the cash rounding."""
    done = state.completed
    assert done is not None
    standing = state.standing_refunds
    full = amount == state.refundable
    spare = state.spare
    sold = done.amount - (state.unapplied - state.given_back) - sum(refund.from_sale for refund in standing)
    tipped = done.tip - sum(refund.from_tip for refund in standing)
    if full and not state.disputed:
        from_surplus, from_sale, from_tip = spare, sold, tipped
    else:
        from_surplus = min(amount, spare)
        from_sale = min(amount - from_surplus, sold)
        from_tip = min(amount - from_surplus - from_sale, tipped)
    return e.RefundRequested(
        payment_id=state.initiated.payment_id,
        order_id=state.initiated.order_id,
        refund_id=ctx.new_id(),
        method=state.initiated.method,
        to=to,
        amount=amount,
        from_surplus=from_surplus,
        from_sale=from_sale,
        from_tip=from_tip,
        from_rounding=amount - from_surplus - from_sale - from_tip,
        requested_at=ctx.now,
        account=state.initiated.credit if to is RefundTo.CREDIT else None,
        reason=reason,
    )


def _ask(state: Payment, requested: e.RefundRequested) -> Decision:
    after = evolve(state, requested)
    if state.manual and requested.to is RefundTo.ORIGINAL:
        done = _completed(after, after.refunds[requested.refund_id], None)
        return msgspec.structs.replace(done, events=(requested, *done.events))
    order = _order_of(after.refunds[requested.refund_id])
    return Decision((requested,), jobs=(job(state, GiveBack(charge(state), order)),))


def _order_of(refund: RefundRecord) -> RefundOrder:
    asked = refund.requested
    return RefundOrder(
        refund_id=asked.refund_id,
        amount=asked.amount,
        reason=asked.reason,
        external_id=refund.external_id,
        account=asked.account,
    )


def _completed(state: Payment, refund: RefundRecord, external_id: str | None) -> Decision:
    asked = refund.requested
    others = any(
        other.status in UNDER_WAY for other in state.refunds.values() if other.requested.refund_id != asked.refund_id
    )
    completed = e.RefundCompleted(
        payment_id=asked.payment_id,
        order_id=asked.order_id,
        refund_id=asked.refund_id,
        method=asked.method,
        to=asked.to,
        amount=asked.amount,
        refunded=state.refunded + asked.amount,
        full=not others and state.refundable == 0 and not state.disputed,
        external_id=external_id,
        reason=asked.reason,
    )
    note = NoteRefund(payment_id=asked.payment_id, refund_id=asked.refund_id, amount=asked.from_sale)
    return Decision((completed,), messages=(Message(state.order_ref, note),) if asked.from_sale else ())


# -- money that the order had no use for


def give_back_spare(state: Payment, ctx: Context) -> Decision:
    """By the cafe's rule: back the way it came, or to the customer's credit; else it waits for staff."""
    if state.status not in TAKEN or not 0 < state.spare <= state.refundable:
        return NOTHING
    rule = state.initiated.surplus
    if rule is Surplus.CREDIT and state.initiated.credit is not None:
        to = RefundTo.CREDIT
    elif rule is Surplus.HOLD or state.manual:
        return NOTHING
    else:
        to = RefundTo.ORIGINAL
    return _ask(state, _requested(state, state.spare, to, "more than was owed", ctx))


def return_unapplied(state: Payment, command: ReturnUnapplied, ctx: Context) -> Decision:
    """The order had no use for so much. Refunds that were faster than it took part of that for a part of the sale."""
    if state.unapplied or state.completed is None:
        return NOTHING
    applied = state.completed.amount - command.amount
    refunded = sum(refund.from_sale for refund in state.standing_refunds)
    unapplied = e.PaymentUnapplied(
        payment_id=state.initiated.payment_id,
        order_id=state.initiated.order_id,
        amount=command.amount,
        given_back=max(0, refunded - applied),
    )
    spare = give_back_spare(evolve(state, unapplied), ctx)
    return msgspec.structs.replace(spare, events=(unapplied, *spare.events))


# -- what the provider says


def hear_refund(state: Payment, command: HearRefund, ctx: Context) -> Decision:
    """Believed when it is news; a refund that is done or has failed stays so."""
    refund = state.refunds.get(command.refund_id)
    if refund is None or refund.status not in UNDER_WAY:
        return NOTHING
    standing = command.standing
    match standing.state:
        case RefundState.SUCCEEDED:
            return _completed(state, refund, standing.external_id)
        case RefundState.FAILED:
            return _failed(state, refund, standing.reason)
        case RefundState.PENDING:
            if refund.status is R.PROCESSING and standing.external_id in (None, refund.external_id):
                return NOTHING
            return Decision((_processing(refund, ctx, accepted=True, external_id=standing.external_id),))
        case RefundState.ABSENT:
            asked = job(state, GiveBack(charge(state), _order_of(refund)))
            return Decision((_processing(refund, ctx),), jobs=(asked,))


def hear_silence(state: Payment, command: HearSilence, ctx: Context) -> Decision:
    """Nobody knows whether it was done: it is looked up soon."""
    refund = state.refunds.get(command.refund_id) if command.refund_id else None
    if refund is None or refund.status not in UNDER_WAY:
        return NOTHING
    return Decision((_processing(refund, ctx, silent=True, reason=command.reason),))


def _processing(
    refund: RefundRecord,
    ctx: Context,
    *,
    accepted: bool = False,
    silent: bool = False,
    external_id: str | None = None,
    reason: str | None = None,
) -> e.RefundProcessing:
    asked, attempt = refund.requested, refund.attempt + 1
    pause = silence_pause(attempt) if silent else verification_pause(attempt)
    return e.RefundProcessing(
        payment_id=asked.payment_id,
        order_id=asked.order_id,
        refund_id=asked.refund_id,
        attempt=attempt,
        at=ctx.now + pause,
        accepted=accepted,
        external_id=external_id,
        reason=reason,
    )


def _failed(state: Payment, refund: RefundRecord, reason: str | None) -> Decision:
    """Owed from again where it came from. What of it the order has called unapplied since is owed from there."""
    asked = refund.requested
    reclassified = min(asked.from_sale, state.given_back)
    failed = e.RefundFailed(
        payment_id=asked.payment_id,
        order_id=asked.order_id,
        refund_id=asked.refund_id,
        amount=asked.amount,
        from_surplus=asked.from_surplus + reclassified,
        from_sale=asked.from_sale - reclassified,
        from_tip=asked.from_tip,
        from_rounding=asked.from_rounding,
        reclassified=reclassified,
        reason=reason,
    )
    return Decision((failed,))


def wake(state: Payment, ctx: Context) -> Decision:
    """Refunds whose provider owes an answer are asked about."""
    due = [
        refund
        for refund in state.refunds.values()
        if refund.status in UNDER_WAY and refund.next_at is not None and ctx.now >= refund.next_at
    ]
    return Decision(
        tuple(_processing(refund, ctx) for refund in due),
        jobs=tuple(job(state, VerifyRefund(charge(state), _order_of(refund))) for refund in due),
    )
