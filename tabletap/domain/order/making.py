"""Moves: the order and its lines through the kitchen, or out of it."""

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Context, Decision, Role
from tabletap.domain.errors import Code, Refusal

from .commands import MoveItem, MoveOrder
from .following import (
    cancelled,
    close_payments,
    follow_lines,
    follow_money,
    illegal,
    release_to_kitchen,
    reversal_of,
    status_changed,
)
from .rewarding import return_discounts
from .state import CLOSED, ITEM_MOVES, ORDER_MOVES, UNMADE, I, Line, Order, S, evolve


def accept(state: Order, ctx: Context) -> Decision | Refusal:
    if state.status in CLOSED:
        return illegal(state, "be accepted")
    if state.accepted:
        return NOTHING
    accepted = e.OrderAccepted(state.placed.order_id)
    return Decision((accepted, *release_to_kitchen(evolve(state, accepted), ctx)))


def move_order(state: Order, command: MoveOrder, ctx: Context) -> Decision | Refusal:
    to = ORDER_MOVES[command.move].get(state.status)
    if to is None:
        return illegal(state, command.move)
    if to is state.status:
        return NOTHING
    if to is S.CANCELLED:
        return cancel(state, command.reason, ctx)
    if not state.released:
        return illegal(state, command.move, "the kitchen does not have it yet")
    if to is S.COMPLETED:
        return Decision((status_changed(state, to),))
    target, movable = (I.STARTED, {I.QUEUED}) if to is S.PREPARING else (I.READY, {I.QUEUED, I.HELD, I.STARTED})
    numbers = tuple(number for number, line in state.lines.items() if line.status in movable)
    if not numbers:
        return illegal(state, command.move, "no line is waiting for it")
    moved = e.ItemsMoved(order_id=state.placed.order_id, lines=numbers, to=target, device=ctx.by.device)
    return Decision((moved, *follow_lines(evolve(state, moved))))


def cancel(state: Order, reason: str | None, ctx: Context) -> Decision | Refusal:
    if ctx.by.role is Role.CUSTOMER and state.status not in UNMADE:
        return illegal(state, "be cancelled by its customer", "it is being made")
    if state.kept > 0:
        return Refusal(Code.ORDER_PAID, f"{state.kept} cents have been paid: refund them first")
    if state.cards_good:
        return illegal(state, "be cancelled", "its gift cards were sold: a refund takes back what is left on them")
    returned, points = return_discounts(state, ctx)
    after = state
    for one in returned:
        after = evolve(after, one)
    told = close_payments(state, "the order was cancelled")
    return Decision((*returned, cancelled(after, reason)), messages=(*told, *points))


def move_item(state: Order, command: MoveItem, ctx: Context) -> Decision | Refusal:
    line = state.lines.get(command.line)
    if line is None:
        return Refusal(Code.NOT_FOUND, f"the order has no line {command.line}")
    to = ITEM_MOVES[command.move].get(line.status)
    if to is None or state.status in CLOSED:
        where = f"is {line.status}" if state.status not in CLOSED else f"belongs to a {state.status} order"
        return Refusal(Code.ILLEGAL_MOVE, f"a line that {where} cannot {command.move}")
    order_id = state.placed.order_id
    if line.status is I.VOIDED:
        if command.move == "void" or line.acknowledged:
            return NOTHING
        return Decision((e.VoidAcknowledged(order_id, command.line, ctx.by.device),))
    if to is line.status:
        return NOTHING
    if to is I.VOIDED:
        return void(state, line, command.reason, ctx)
    if not state.released and command.move not in ("hold", "fire"):
        return illegal(state, f"{command.move} a line", "the kitchen does not have it yet")
    moved = e.ItemsMoved(order_id=order_id, lines=(command.line,), to=to, device=ctx.by.device)
    return Decision((moved, *follow_lines(evolve(state, moved))))


def void(state: Order, line: Line, reason: str | None, ctx: Context) -> Decision | Refusal:
    cut = state.total - line.facts.due
    if cut < state.kept + sum(state.reserved.values()):
        return Refusal(Code.ORDER_PAID, "the line has been paid or is being paid: refund or cancel that payment first")
    voided = e.ItemVoided(
        order_id=state.placed.order_id, line=line.facts.line, reversal=reversal_of([line], state.owed), reason=reason
    )
    after = evolve(state, voided)
    if any(other.live for other in after.lines.values()):
        return Decision((voided, *follow_money(after, ctx)))
    gone = e.OrderCancelled(
        order_id=state.placed.order_id,
        number=state.placed.number,
        was=state.status,
        reversal=e.Reversal(),
        reason=reason or "every line was voided",
    )
    return Decision((voided, gone), messages=close_payments(state, "the order was cancelled"))
