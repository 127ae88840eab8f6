"""What follows by itself: from the lines, from the money, from time."""

from collections import Counter

from tabletap.domain import events as e
from tabletap.domain.base import Context, Event, Kind, Message, OrderId, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.messages import ClosePayment
from tabletap.domain.vocabulary import OrderStatus

from .state import CLOSED, DONE, UNMADE, I, Line, Order, S


def illegal(state: Order, move: str, why: str = "") -> Refusal:
    return Refusal(Code.ILLEGAL_MOVE, f"an order that is {state.status} cannot {move}" + (f": {why}" if why else ""))


def status_changed(state: Order, to: OrderStatus) -> e.OrderStatusChanged:
    return e.OrderStatusChanged(order_id=state.placed.order_id, number=state.placed.number, was=state.status, to=to)


def release_to_kitchen(state: Order, ctx: Context) -> tuple[Event, ...]:
    """The event that gives the order to the kitchen, if every condition is met now."""
    placed = state.placed
    due = placed.release_at is None or ctx.now >= placed.release_at
    if state.released or state.status in CLOSED or not state.accepted or not due or not state.makes_something:
        return ()
    if placed.prepay and not state.paid_up:
        return ()
    lines = tuple(line.facts for line in state.lines.values() if line.live)
    return (
        e.OrderReleased(order_id=placed.order_id, placed=placed, lines=lines, paid=state.paid_up, released_at=ctx.now),
    )


def follow_lines(state: Order) -> tuple[Event, ...]:
    """The order's own move, where its lines have moved on without it."""
    live = [line.status for line in state.lines.values() if line.to_make]
    if (not live and state.status in UNMADE) or state.status in CLOSED:
        return ()
    if all(status in DONE for status in live):
        to = S.READY
    elif any(status in DONE or status is I.STARTED for status in live):
        to = S.PREPARING
    else:
        return ()
    return () if to is state.status else (status_changed(state, to),)


def reopen(state: Order, ctx: Context) -> tuple[Event, ...]:
    """The order's own move after lines were added or taken off: neither ready nor paid, if they are not.

    One that was of gift cards alone may now be for the kitchen.
    """
    live = [line.status for line in state.lines.values() if line.live]
    if state.status is S.READY and not all(status in DONE for status in live):
        return (status_changed(state, S.PREPARING),)
    lines = follow_lines(state)
    if state.status is S.PAID and not state.paid_up and not lines:
        return (status_changed(state, S.PENDING),)
    return lines or follow_money(state, ctx) or release_to_kitchen(state, ctx)


def follow_money(state: Order, ctx: Context) -> tuple[Event, ...]:
    """The order's own moves where it has just become paid up: the kitchen may have waited for that."""
    lines = follow_lines(state)
    if lines or state.status not in (S.PENDING, S.PAYMENT_PENDING) or not state.paid_up:
        return lines
    if not state.makes_something:  # gift cards alone: there is nothing to hand over
        return (status_changed(state, S.COMPLETED),)
    paid = (status_changed(state, S.PAID),) if state.applied or state.discounts else ()
    return (*paid, *release_to_kitchen(state, ctx))


def cancelled(state: Order, reason: str | None, merged_into: OrderId | None = None) -> e.OrderCancelled:
    """The end of the order before its time: the sale of all that still stands is taken back."""
    live = [line for line in state.lines.values() if line.live]
    return e.OrderCancelled(
        order_id=state.placed.order_id,
        number=state.placed.number,
        was=state.status,
        reversal=reversal_of(live, state.unsettled),
        reason=reason,
        merged_into=merged_into,
    )


def close_payments(state: Order, reason: str) -> tuple[Message, ...]:
    """Tell every payment in flight to stop."""
    return tuple(
        Message(Ref(Kind.PAYMENT, payment_id, state.placed.cafe_id), ClosePayment(reason=reason))
        for payment_id in state.reserved
    )


def reversal_of(lines: list[Line], owed: int) -> e.Reversal:
    """Take the sale of ``lines`` back: out of what is still ``owed`` first, then out of what had been refunded."""
    total = sum(line.facts.due for line in lines)
    gift = sum(line.facts.total for line in lines if line.facts.gift)
    service = sum(line.facts.service - line.facts.service_tax for line in lines)
    tax = Counter[str]()
    for line in lines:
        tax.update(line.facts.taxes)
    from_receivable = min(total, owed)
    return e.Reversal(
        net=total - gift - service - tax.total(),
        gift=gift,
        service=service,
        tax=dict(tax),
        from_receivable=from_receivable,
        from_refunds=total - from_receivable,
    )
