"""Money: an amount is set aside before a payment exists, and applied once when its money is here."""

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Birth, Context, Decision, Event, Job, Kind, Message, PaymentId, Ref, Role
from tabletap.domain.charge import charge_of, expires_at, reference
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.jobs import priority_of
from tabletap.domain.messages import NoteRefund, Release, ReturnUnapplied, Settle
from tabletap.domain.money import cash_rounding
from tabletap.domain.tasks import OpenCharge
from tabletap.domain.vocabulary import MANUAL, Method, Queue

from .commands import MAX_TIP, InitiatePayment, Withdraw
from .following import close_payments, follow_money, status_changed
from .splitting import claim_of
from .state import CLOSED, Claim, Order, S, evolve

ACCOUNT_FIELD = {Method.CUSTOMER_CREDIT: "customerId", Method.GIFT_CARD: "giftCard"}
"""Ways of paying out of an account of ours, and what on the wire names it."""

TIER = "customerTier"
"""Noted by staff or a till: ``premium`` goes first."""


def initiate_payment(state: Order, command: InitiatePayment, ctx: Context) -> Decision | Refusal:
    claim = _wanted(state, command)
    if isinstance(claim, Refusal):
        return claim
    amount, placed = claim.amount, state.placed
    if command.funds is not None and amount + command.tip > command.funds:
        return Refusal(Code.INSUFFICIENT_FUNDS, f"there are {command.funds} cents, not {amount + command.tip}")
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
        account=command.account,
        credit=command.credit,
        surplus=command.surplus,
        lines=claim.lines,
        share=claim.share,
        metadata=_trusted(command.metadata, ctx),
    )
    pending = (status_changed(state, S.PAYMENT_PENDING),) if state.status is S.PENDING else ()
    birth = Birth(Ref(Kind.PAYMENT, payment_id, placed.cafe_id), (initiated,))
    return Decision(pending, births=(birth,), jobs=_charged(initiated))


def _wanted(state: Order, command: InitiatePayment) -> Claim | Refusal:
    """What the payment is for, if it can be."""
    if state.status is S.CANCELLED:
        return Refusal(Code.ORDER_CLOSED, "the order is cancelled")
    if command.currency not in (None, state.placed.currency):
        return invalid("currency", f"the order is in {state.placed.currency}")
    if not 0 <= command.tip <= MAX_TIP:
        return invalid("tipAmount", f"must be 0 to {MAX_TIP} cents")
    if command.method in ACCOUNT_FIELD and command.account is None:
        return invalid(ACCOUNT_FIELD[command.method], f"a {command.method} payment needs it")
    gone = _sold_out_since(state, command)
    if gone is not None:
        return Refusal(Code.ITEM_UNAVAILABLE, f"sold out: {gone}")
    if state.owed == 0:
        why = "another payment is under way: finish or cancel it" if state.reserved else "it is paid"
        return Refusal(Code.NOTHING_OWED, f"nothing is left to pay on this order: {why}")
    if command.split is None:
        claim: Claim | Refusal = Claim(state.owed if command.amount is None else command.amount)
    elif command.amount is not None:
        return invalid("amount", "a split says itself what it comes to")
    else:
        claim = claim_of(state, command.split)
    if isinstance(claim, Refusal):
        return claim
    if claim.amount < 1:
        return invalid("amount", "must be at least 1 cent")
    if claim.amount > state.owed:
        return Refusal(Code.AMOUNT_EXCEEDS_OWED, f"{claim.amount} cents is more than the {state.owed} still owed")
    return claim


def _sold_out_since(state: Order, command: InitiatePayment) -> str | None:
    """What has sold out between the question at the door and now: the cafe knew it before this order did."""
    if state.released or command.checked_at is None:
        return None
    gone = {sku for sku, at in state.sold_out.items() if at >= command.checked_at}
    return next((line.facts.name for line in state.lines.values() if line.live and line.facts.sku in gone), None)


def _trusted(metadata: dict[str, str], ctx: Context) -> dict[str, str]:
    """What is noted about a payment. No customer says of themselves that they go first."""
    if ctx.by.role is not Role.CUSTOMER:
        return metadata
    return {key: value for key, value in metadata.items() if key != TIER}


def _charged(initiated: e.PaymentInitiated) -> tuple[Job, ...]:
    """The work of having a provider take the money, where there is one to ask."""
    if initiated.method in MANUAL:
        return ()
    premium = initiated.metadata.get(TIER) == "premium"
    job = Job(
        Queue.PAYMENTS,
        key=str(initiated.payment_id),
        cafe_id=initiated.cafe_id,
        task=OpenCharge(charge_of(initiated)),
        priority=priority_of(initiated.total, premium=premium),
    )
    return (job,)


def withdraw(state: Order, command: Withdraw) -> Decision:
    """Something has sold out: stop every payment in flight, unless the kitchen has the order.

    It is remembered: a payment whose money comes all the same gives it back, and one that was about to begin when it
    happened is refused.
    """
    concerned = any(line.live and line.facts.sku == command.sku for line in state.lines.values())
    known = state.sold_out.get(command.sku)
    if state.released or state.status in CLOSED or not concerned or (known is not None and known >= command.at):
        return NOTHING
    line = next(line.facts for line in state.lines.values() if line.facts.sku == command.sku)
    withdrawn = e.PaymentsWithdrawn(
        order_id=state.placed.order_id, sku=command.sku, at=command.at, payments=tuple(state.reserved)
    )
    return Decision((withdrawn,), messages=close_payments(state, f"{line.name} has sold out"))


def settle(state: Order, command: Settle, ctx: Context) -> Decision:
    """Apply a payment's money: what it set aside, or, where that has lapsed, what is still owed. The rest goes back.

    So does all of it where the order is cancelled, or the payment was withdrawn before the kitchen had the order.
    """
    if command.payment_id in state.applied:
        return NOTHING
    placed = state.placed
    set_aside = state.reserved.get(command.payment_id)
    room = state.owed if set_aside is None else set_aside
    refused = state.status is S.CANCELLED or command.payment_id in state.withdrawn
    amount = 0 if refused else min(command.amount, room)
    surplus = command.amount - amount
    unsettled = state.unsettled - amount
    settled = e.PaymentSettled(
        order_id=placed.order_id, payment_id=command.payment_id, amount=amount, paid=state.kept + amount, owed=unsettled
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
        paid=state.kept - amount,
        refunded=state.refunded + amount,
    )
    return Decision((noted,))
