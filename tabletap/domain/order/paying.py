"""Money: an amount is set aside before a payment exists, and applied once when its money is here."""

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Birth, Context, Decision, Event, Kind, Message, PaymentId, Ref
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.messages import NoteRefund, Release, ReturnUnapplied, Settle
from tabletap.domain.money import cash_rounding
from tabletap.domain.payment import expires_at, reference
from tabletap.domain.vocabulary import Method

from .commands import MAX_TIP, InitiatePayment
from .following import follow_money, status_changed
from .state import Order, S, evolve


def initiate_payment(state: Order, command: InitiatePayment, ctx: Context) -> Decision | Refusal:
    if state.status is S.CANCELLED:
        return Refusal(Code.ORDER_CLOSED, "the order is cancelled")
    placed = state.placed
    if command.currency not in (None, placed.currency):
        return invalid("currency", f"the order is in {placed.currency}")
    if not 0 <= command.tip <= MAX_TIP:
        return invalid("tipAmount", f"must be 0 to {MAX_TIP} cents")
    if state.owed == 0:
        why = "another payment is under way: finish or cancel it" if state.reserved else "it is paid"
        return Refusal(Code.NOTHING_OWED, f"nothing is left to pay on this order: {why}")
    amount = state.owed if command.amount is None else command.amount
    if amount < 1:
        return invalid("amount", "must be at least 1 cent")
    if amount > state.owed:
        return Refusal(Code.AMOUNT_EXCEEDS_OWED, f"{amount} cents is more than the {state.owed} still owed")
    payment_id = PaymentId(ctx.new_id())
    last_cash = command.method is Method.CASH and amount == state.owed
    rounding = cash_rounding(amount + command.tip, placed.currency) if last_cash else 0
    initiated = e.PaymentInitiated(
        payment_id=payment_id,
        order_id=placed.order_id,
        cafe_id=placed.cafe_id,
        order_number=placed.number,
        method=command.method,
        amount=amount,
        tip=command.tip,
        rounding=rounding,
        total=amount + command.tip + rounding,
        currency=placed.currency,
        reference=reference(payment_id),
        initiated_at=ctx.now,
        expires_at=expires_at(command.method, ctx.now),
        customer_id=command.customer_id,
        metadata=command.metadata,
    )
    pending = (status_changed(state, S.PAYMENT_PENDING),) if state.status is S.PENDING else ()
    return Decision(pending, births=(Birth(Ref(Kind.PAYMENT, payment_id, placed.cafe_id), (initiated,)),))


def settle(state: Order, command: Settle, ctx: Context) -> Decision:
    """Apply a payment's money: what it set aside, or, where that has lapsed, what is still owed. The rest goes back."""
    if command.payment_id in state.applied:
        return NOTHING
    placed = state.placed
    set_aside = state.reserved.get(command.payment_id)
    room = state.owed if set_aside is None else set_aside
    amount = min(command.amount, room) if state.status is not S.CANCELLED else 0
    surplus = command.amount - amount
    unsettled = state.unsettled - amount
    settled = e.PaymentSettled(
        order_id=placed.order_id, payment_id=command.payment_id, amount=amount, paid=state.paid + amount, owed=unsettled
    )
    after = evolve(state, settled)
    follow: tuple[Event, ...] = ()
    if after.paid_up and state.status in (S.PENDING, S.PAYMENT_PENDING):
        follow = follow_money(after, ctx)
    elif state.status is S.PAYMENT_PENDING and not after.reserved:
        follow = (status_changed(after, S.PENDING),)
    back = Message(Ref(Kind.PAYMENT, command.payment_id, placed.cafe_id), ReturnUnapplied(surplus))
    return Decision((settled, *follow), messages=(back,) if surplus else ())


def release_payment(state: Order, command: Release) -> Decision:
    if command.payment_id not in state.reserved:
        return NOTHING
    released = e.PaymentReleased(order_id=state.placed.order_id, payment_id=command.payment_id)
    after = evolve(state, released)
    if state.status is S.PAYMENT_PENDING and not after.reserved:
        return Decision((released, status_changed(after, S.PENDING)))
    return Decision((released,))


def note_refund(state: Order, command: NoteRefund) -> Decision:
    given_back = sum(amount for payment_id, amount in state.refunds.values() if payment_id == command.payment_id)
    amount = min(command.amount, state.applied.get(command.payment_id, 0) - given_back)
    if (
        command.refund_id in state.refunds or amount <= 0
    ):  # beyond what it applied, its payment gave back what was spare
        return NOTHING
    noted = e.RefundNoted(
        order_id=state.placed.order_id,
        payment_id=command.payment_id,
        refund_id=command.refund_id,
        amount=amount,
    )
    return Decision((noted,))
