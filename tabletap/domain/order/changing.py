"""Changes: lines added and taken off, tables moved, two orders continued as one."""

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Context, Decision, Event, Kind, Message, OrderId, Ref, Role
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.menu import MAX_LINES
from tabletap.domain.messages import Absorb, Unmerge
from tabletap.domain.vocabulary import Channel

from .charging import number_lines
from .commands import Change, MergeInto, MoveTable
from .following import cancelled, follow_lines, illegal, reopen
from .making import void
from .state import CLOSED, DONE, UNMADE, I, Order, S, evolve


def change(state: Order, command: Change, ctx: Context) -> Decision | Refusal:
    if state.status in CLOSED:
        return Refusal(Code.ORDER_CLOSED, f"the order is {state.status}")
    if ctx.by.role is Role.CUSTOMER and state.status not in UNMADE:
        return illegal(state, "be changed by its customer", "it is being made")
    if len(state.lines) + len(command.add) > MAX_LINES:
        return invalid("add", f"an order has at most {MAX_LINES} lines")
    if state.placed.prepay and command.add and state.released:
        return illegal(state, "grow", "it was paid before it was made: place another order")
    changed: list[Event] = []
    after = state
    if command.add or command.note is not None:
        added = number_lines(command.add, max(state.lines) + 1, state.placed.service, added=state.released)
        changed.append(e.OrderChanged(order_id=state.placed.order_id, added=added, note=command.note))
        after = evolve(after, changed[-1])
    for index, number in enumerate(command.remove):
        line = after.lines.get(number)
        if line is None or line.status not in (I.QUEUED, I.HELD):
            return invalid(f"remove.{index}", f"line {number} is not waiting to be made")
        if not any(other.live and other is not line for other in after.lines.values()):
            return invalid(f"remove.{index}", "nothing would be left: cancel the order instead")
        removed = void(after, line, "taken off the order", ctx)
        if isinstance(removed, Refusal):
            return removed
        changed.append(removed.events[0])
        after = evolve(after, changed[-1])
    return Decision((*changed, *reopen(after, ctx)))


def move_table(state: Order, command: MoveTable) -> Decision | Refusal:
    if state.status in CLOSED:
        return Refusal(Code.ORDER_CLOSED, f"the order is {state.status}")
    if state.placed.channel is not Channel.TABLE:
        return illegal(state, "move tables", "it does not sit at one")
    if state.table == command.table:
        return NOTHING
    return Decision((e.OrderTableMoved(state.placed.order_id, command.table),))


def merge_into(state: Order, command: MergeInto) -> Decision | Refusal:
    if state.merged_into == command.into:
        return NOTHING
    if state.status in CLOSED:
        return Refusal(Code.ORDER_CLOSED, f"the order is {state.status}")
    if command.into == state.placed.order_id:
        return invalid("into", "an order cannot be merged into itself")
    if state.applied or state.reserved:
        return Refusal(Code.ORDER_PAID, "an order with payments cannot be merged: settle or refund them first")
    if state.discounts or state.cards:
        return illegal(state, "be merged", "points or gift cards belong to it")
    live = [line for line in state.lines.values() if line.live]
    merged = cancelled(state, "merged", command.into)
    absorb = Absorb(
        source=state.placed.order_id,
        into=command.into,
        lines=tuple(line.facts for line in live),
        statuses={line.facts.line: line.status for line in live},
    )
    return Decision((merged,), messages=(Message(Ref(Kind.ORDER, command.into, state.placed.cafe_id), absorb),))


def absorb(state: Order, command: Absorb, ctx: Context) -> Decision:
    """Lines that came from another order. Even a completed order takes them: what was eaten is owed somewhere.

    An order that was itself merged passes them on, and one that was cancelled meanwhile sends them back. So does one
    that is completed if they are still to be made, and one that the kitchen does not have yet if they are being made:
    nobody would ever finish them. Lines that come back to where they began were merged in a circle: it opens here.
    """
    if command.source in state.absorbed:
        return NOTHING
    if command.source == state.placed.order_id:
        return unmerge(state, command.into)
    if state.merged_into is not None:
        return Decision(messages=(Message(Ref(Kind.ORDER, state.merged_into, state.placed.cafe_id), command),))
    statuses = {command.statuses.get(facts.line, I.QUEUED) for facts in command.lines}
    unmade, made = statuses - DONE, statuses & (DONE | {I.STARTED})
    if (
        state.status is S.CANCELLED
        or (state.status is S.COMPLETED and unmade)
        or (state.status is not S.COMPLETED and not state.released and made)
    ):
        back = Message(Ref(Kind.ORDER, command.source, state.placed.cafe_id), Unmerge(command.into))
        return Decision(messages=(back,))
    first = max(state.lines) + 1
    numbers = {facts.line: first + index for index, facts in enumerate(command.lines)}
    changed = e.OrderChanged(
        order_id=state.placed.order_id,
        added=tuple(msgspec.structs.replace(facts, line=numbers[facts.line], added=True) for facts in command.lines),
        statuses={
            numbers[line]: I.SERVED if state.status is S.COMPLETED else status
            for line, status in command.statuses.items()
        },
        absorbed=command.source,
    )
    after = evolve(state, changed)
    return Decision((changed, *reopen(after, ctx)))


def unmerge(state: Order, into: OrderId) -> Decision:
    """The order that should have taken this one's lines could not: go on alone."""
    if state.merged_into is None or state.merged_into != into:
        return NOTHING
    live = tuple(line.facts for line in state.lines.values() if line.live)
    undone = e.MergeUndone(order_id=state.placed.order_id, number=state.placed.number, lines=live)
    return Decision((undone, *follow_lines(evolve(state, undone))))
