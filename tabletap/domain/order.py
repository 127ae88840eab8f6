"""An order: from the basket to the table.

Three axes, never mixed (spec O4): where the order stands, where each line stands at its station, and what has been
paid. The cafe admits an order (``cafe.decide``); from then on it lives here.

* ``ORDER_MOVES`` and ``ITEM_MOVES`` are the whole lifecycle. A move that is not in its table is refused by name; a
  move to where the order or line already stands changes nothing and is no error, so that every retry is safe.
* The order follows its lines: the first started line makes it ``preparing``, the last ready one ``ready``; a recall
  takes it back. ``paid`` and ``payment_pending`` are said only while nothing is being made; the payment status always.
* The kitchen has the order once it is *released*: approved where the cafe approves, paid where it wants that first,
  and due where it was scheduled. Until then no line moves.
* ``total = paid + reserved + owed`` while it lives: each payment sets its amount aside before any money moves, so no
  two can take the same cent. A sale that is taken back (void, cancel) may not cut into money that was not given back.
"""

from datetime import date, datetime
from types import MappingProxyType
from typing import assert_never
from uuid import UUID

import msgspec

from . import events as e
from .base import (
    NOTHING,
    Birth,
    CafeId,
    Command,
    Context,
    Decision,
    Event,
    Kind,
    Message,
    OrderId,
    PaymentId,
    Ref,
    Role,
    Wake,
)
from .errors import Code, Refusal, invalid
from .menu import MAX_LINES, Modifier, Note, Priced
from .messages import Absorb, ClosePayment, NoteRefund, Release, ReturnUnapplied, Settle, Unmerge
from .money import cash_rounding
from .payment import expires_at, reference
from .vocabulary import Channel, ItemStatus, Method, OrderStatus, PaymentStatus

S = OrderStatus
I = ItemStatus  # noqa: E741  beside S it reads as what it is

# -- lifecycle


_UNMADE = (S.PENDING, S.PAYMENT_PENDING, S.PAID)

ORDER_MOVES: MappingProxyType[str, MappingProxyType[OrderStatus, OrderStatus]] = MappingProxyType(
    {
        "start": MappingProxyType({**dict.fromkeys(_UNMADE, S.PREPARING), S.PREPARING: S.PREPARING}),
        "ready": MappingProxyType({**dict.fromkeys(_UNMADE, S.READY), S.PREPARING: S.READY, S.READY: S.READY}),
        "complete": MappingProxyType({S.READY: S.COMPLETED, S.COMPLETED: S.COMPLETED}),
        "cancel": MappingProxyType(
            {
                **dict.fromkeys(_UNMADE, S.CANCELLED),
                S.PREPARING: S.CANCELLED,
                S.READY: S.CANCELLED,
                S.CANCELLED: S.CANCELLED,
            }
        ),
    }
)
"""Move -> from -> to. To the status it has: already so, nothing happens."""

ITEM_MOVES: MappingProxyType[str, MappingProxyType[ItemStatus, ItemStatus]] = MappingProxyType(
    {
        "start": MappingProxyType({I.QUEUED: I.STARTED, I.STARTED: I.STARTED}),
        "bump": MappingProxyType({I.QUEUED: I.READY, I.STARTED: I.READY, I.READY: I.READY, I.VOIDED: I.VOIDED}),
        "recall": MappingProxyType({I.READY: I.STARTED, I.STARTED: I.STARTED}),
        "hold": MappingProxyType({I.QUEUED: I.HELD, I.HELD: I.HELD}),
        "fire": MappingProxyType({I.HELD: I.QUEUED, I.QUEUED: I.QUEUED}),
        "void": MappingProxyType(
            {
                I.QUEUED: I.VOIDED,
                I.HELD: I.VOIDED,
                I.STARTED: I.VOIDED,
                I.READY: I.VOIDED,
                I.VOIDED: I.VOIDED,
            }
        ),
    }
)
"""The same for a line. A bump of a voided line acknowledges the void: the struck-through line may go."""

CLOSED = frozenset({S.COMPLETED, S.CANCELLED})
DONE = frozenset({I.READY, I.SERVED})


# -- state


class Line(msgspec.Struct, frozen=True):
    """One line of the order at its station. ``acknowledged``: the kitchen has seen that it is void."""

    facts: e.Numbered
    status: ItemStatus = I.QUEUED
    acknowledged: bool = False

    @property
    def live(self) -> bool:
        return self.status is not I.VOIDED


class Order(msgspec.Struct, frozen=True):
    """``reserved``: payment in flight -> cents set aside for it. ``applied``: payment -> cents it paid."""

    placed: e.OrderPlaced
    lines: dict[int, Line]
    status: OrderStatus = S.PENDING
    accepted: bool = False
    released: bool = False
    table: str | None = None
    note: str | None = None
    reserved: dict[PaymentId, int] = {}
    applied: dict[PaymentId, int] = {}
    refunds: dict[UUID, tuple[PaymentId, int]] = {}
    reversed_from_refunds: int = 0
    merged_into: OrderId | None = None
    absorbed: frozenset[OrderId] = frozenset()
    released_at: datetime | None = None

    @property
    def ref(self) -> Ref:
        return Ref(Kind.ORDER, self.placed.order_id, self.placed.cafe_id)

    @property
    def total(self) -> int:
        return sum(line.facts.total for line in self.lines.values() if line.live)

    @property
    def tax(self) -> int:
        return sum(line.facts.tax for line in self.lines.values() if line.live)

    @property
    def paid(self) -> int:
        return sum(self.applied.values())

    @property
    def refunded(self) -> int:
        return sum(amount for _, amount in self.refunds.values())

    @property
    def kept(self) -> int:
        """What was paid and not given back."""
        return self.paid - self.refunded

    @property
    def unsettled(self) -> int:
        """What no payment has paid yet, set aside or not."""
        return 0 if self.status is S.CANCELLED else max(0, self.total - (self.paid - self.reversed_from_refunds))

    @property
    def owed(self) -> int:
        """What a new payment may still take."""
        return max(0, self.unsettled - sum(self.reserved.values()))

    @property
    def paid_up(self) -> bool:
        return self.unsettled == 0

    @property
    def in_kitchen(self) -> bool:
        return self.released and self.status not in CLOSED

    @property
    def payment_status(self) -> PaymentStatus:
        if self.refunded:
            return PaymentStatus.REFUNDED if self.kept == 0 else PaymentStatus.PARTIALLY_REFUNDED
        if self.status is S.CANCELLED:
            return PaymentStatus.CANCELLED
        if self.paid_up:
            return PaymentStatus.COMPLETED
        return PaymentStatus.PROCESSING if self.reserved else PaymentStatus.PENDING


# -- commands


class Accept(Command, frozen=True):
    """Staff take the order on, where the cafe approves each."""


class MoveOrder(Command, frozen=True):
    """``move``: a key of ``ORDER_MOVES``."""

    move: str
    reason: str | None = None


class MoveItem(Command, frozen=True):
    """``move``: a key of ``ITEM_MOVES``."""

    line: int
    move: str
    reason: str | None = None


class Change(Command, frozen=True):
    """Add priced lines, take lines off that nobody has started, or set the note."""

    add: tuple[Priced, ...] = ()
    remove: tuple[int, ...] = ()
    note: Note | None = None


class MoveTable(Command, frozen=True):
    table: str


class MergeInto(Command, frozen=True):
    """Continue this order in another one (two tables become one tab)."""

    into: OrderId


class InitiatePayment(Command, frozen=True):
    """Set ``amount`` (left out: all that is owed) aside and bring a payment for it into the world."""

    method: Method
    amount: int | None = None
    tip: int = 0
    currency: str | None = None
    customer_id: str | None = None
    metadata: dict[str, str] = {}


OrderCommand = (
    Accept
    | MoveOrder
    | MoveItem
    | Change
    | MoveTable
    | MergeInto
    | Absorb
    | Unmerge
    | InitiatePayment
    | Settle
    | Release
    | NoteRefund
    | Wake
)

MAX_TIP = 1_000_00
"""A tip above this (cents) is a slip of the finger."""


# -- decide


def decide(state: Order, command: OrderCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the order as it stands."""
    match command:
        case Accept():
            return _accept(state, ctx)
        case MoveOrder():
            return _move_order(state, command, ctx)
        case MoveItem():
            return _move_item(state, command, ctx)
        case Change():
            return _change(state, command, ctx)
        case MoveTable():
            return _move_table(state, command)
        case MergeInto():
            return _merge_into(state, command)
        case Absorb():
            return _absorb(state, command, ctx)
        case Unmerge():
            return _unmerge(state, command.into)
        case InitiatePayment():
            return _initiate_payment(state, command, ctx)
        case Settle():
            return _settle(state, command, ctx)
        case Release():
            return _release_payment(state, command)
        case NoteRefund():
            return _note_refund(state, command)
        case Wake():
            return Decision(_release_to_kitchen(state, ctx))
        case _:
            assert_never(command)


def _illegal(state: Order, move: str, why: str = "") -> Refusal:
    return Refusal(Code.ILLEGAL_MOVE, f"an order that is {state.status} cannot {move}" + (f": {why}" if why else ""))


def _accept(state: Order, ctx: Context) -> Decision | Refusal:
    if state.status in CLOSED:
        return _illegal(state, "be accepted")
    if state.accepted:
        return NOTHING
    accepted = e.OrderAccepted(state.placed.order_id)
    return Decision((accepted, *_release_to_kitchen(evolve(state, accepted), ctx)))


def _release_to_kitchen(state: Order, ctx: Context) -> tuple[Event, ...]:
    """The event that gives the order to the kitchen, if every condition is met now."""
    placed = state.placed
    due = placed.release_at is None or ctx.now >= placed.release_at
    if state.released or state.status in CLOSED or not state.accepted or not due:
        return ()
    if placed.prepay and not state.paid_up:
        return ()
    lines = tuple(line.facts for line in state.lines.values() if line.live)
    return (
        e.OrderReleased(order_id=placed.order_id, placed=placed, lines=lines, paid=state.paid_up, released_at=ctx.now),
    )


def _move_order(state: Order, command: MoveOrder, ctx: Context) -> Decision | Refusal:
    to = ORDER_MOVES[command.move].get(state.status)
    if to is None:
        return _illegal(state, command.move)
    if to is state.status:
        return NOTHING
    if to is S.CANCELLED:
        return _cancel(state, command.reason, ctx)
    if not state.released:
        return _illegal(state, command.move, "the kitchen does not have it yet")
    if to is S.COMPLETED:
        return Decision((_status(state, to),))
    target, movable = (I.STARTED, {I.QUEUED}) if to is S.PREPARING else (I.READY, {I.QUEUED, I.HELD, I.STARTED})
    numbers = tuple(number for number, line in state.lines.items() if line.status in movable)
    if not numbers:
        return _illegal(state, command.move, "no line is waiting for it")
    moved = e.ItemsMoved(order_id=state.placed.order_id, lines=numbers, to=target, device=ctx.by.device)
    return Decision((moved, *_follow_lines(evolve(state, moved))))


def _status(state: Order, to: OrderStatus) -> e.OrderStatusChanged:
    return e.OrderStatusChanged(order_id=state.placed.order_id, number=state.placed.number, was=state.status, to=to)


def _follow_lines(state: Order) -> tuple[Event, ...]:
    """The order's own move, where its lines have moved on without it."""
    live = [line.status for line in state.lines.values() if line.live]
    if not live or state.status in CLOSED:
        return ()
    if all(status in DONE for status in live):
        to = S.READY
    elif any(status in DONE or status is I.STARTED for status in live):
        to = S.PREPARING
    else:
        return ()
    return () if to is state.status else (_status(state, to),)


def _cancel(state: Order, reason: str | None, ctx: Context) -> Decision | Refusal:
    if ctx.by.role is Role.CUSTOMER and state.status not in _UNMADE:
        return _illegal(state, "be cancelled by its customer", "it is being made")
    if state.kept > 0:
        return Refusal(Code.ORDER_PAID, f"{state.kept} cents have been paid: refund them first")
    live = [line for line in state.lines.values() if line.live]
    cancelled = e.OrderCancelled(
        order_id=state.placed.order_id,
        number=state.placed.number,
        was=state.status,
        reversal=_reversal(live, state.unsettled),
        reason=reason,
    )
    return Decision((cancelled,), messages=_close_payments(state, "the order was cancelled"))


def _close_payments(state: Order, reason: str) -> tuple[Message, ...]:
    """Tell every payment in flight that its order has gone."""
    return tuple(
        Message(Ref(Kind.PAYMENT, payment_id, state.placed.cafe_id), ClosePayment(reason=reason))
        for payment_id in state.reserved
    )


def _reversal(lines: list[Line], owed: int) -> e.Reversal:
    """Take the sale of ``lines`` back: out of what is still ``owed`` first, then out of what had been refunded."""
    total = sum(line.facts.total for line in lines)
    tax: dict[str, int] = {}
    for line in lines:
        tax[line.facts.tax_class] = tax.get(line.facts.tax_class, 0) + line.facts.tax
    from_receivable = min(total, owed)
    return e.Reversal(
        net=total - sum(tax.values()), tax=tax, from_receivable=from_receivable, from_refunds=total - from_receivable
    )


def _move_item(state: Order, command: MoveItem, ctx: Context) -> Decision | Refusal:
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
        return _void(state, line, command.reason, ctx)
    if not state.released and command.move not in ("hold", "fire"):
        return _illegal(state, f"{command.move} a line", "the kitchen does not have it yet")
    moved = e.ItemsMoved(order_id=order_id, lines=(command.line,), to=to, device=ctx.by.device)
    return Decision((moved, *_follow_lines(evolve(state, moved))))


def _void(state: Order, line: Line, reason: str | None, ctx: Context) -> Decision | Refusal:
    cut = state.total - line.facts.total
    if cut < state.kept + sum(state.reserved.values()):
        return Refusal(Code.ORDER_PAID, "the line has been paid or is being paid: refund or cancel that payment first")
    voided = e.ItemVoided(
        order_id=state.placed.order_id, line=line.facts.line, reversal=_reversal([line], state.owed), reason=reason
    )
    after = evolve(state, voided)
    if any(other.live for other in after.lines.values()):
        return Decision((voided, *_follow_money(after, ctx)))
    gone = e.OrderCancelled(
        order_id=state.placed.order_id,
        number=state.placed.number,
        was=state.status,
        reversal=e.Reversal(),
        reason=reason or "every line was voided",
    )
    return Decision((voided, gone), messages=_close_payments(state, "the order was cancelled"))


def _change(state: Order, command: Change, ctx: Context) -> Decision | Refusal:
    if state.status in CLOSED:
        return Refusal(Code.ORDER_CLOSED, f"the order is {state.status}")
    if ctx.by.role is Role.CUSTOMER and state.status not in _UNMADE:
        return _illegal(state, "be changed by its customer", "it is being made")
    if len(state.lines) + len(command.add) > MAX_LINES:
        return invalid("add", f"an order has at most {MAX_LINES} lines")
    if state.placed.prepay and command.add and state.released:
        return _illegal(state, "grow", "it was paid before it was made: place another order")
    changed: list[Event] = []
    after = state
    if command.add or command.note is not None:
        first = max(state.lines) + 1
        added = tuple(
            number_line(priced, first + index, added=state.released) for index, priced in enumerate(command.add)
        )
        changed.append(e.OrderChanged(order_id=state.placed.order_id, added=added, note=command.note))
        after = evolve(after, changed[-1])
    for index, number in enumerate(command.remove):
        line = after.lines.get(number)
        if line is None or line.status not in (I.QUEUED, I.HELD):
            return invalid(f"remove.{index}", f"line {number} is not waiting to be made")
        if not any(other.live and other is not line for other in after.lines.values()):
            return invalid(f"remove.{index}", "nothing would be left: cancel the order instead")
        removed = _void(after, line, "taken off the order", ctx)
        if isinstance(removed, Refusal):
            return removed
        changed.append(removed.events[0])
        after = evolve(after, changed[-1])
    return Decision((*changed, *_reopen(after, ctx)))


def number_line(priced: Priced, line: int, *, added: bool = False) -> e.Numbered:
    """A priced wish as line ``line`` of a ticket."""
    return e.Numbered(line=line, added=added, **msgspec.structs.asdict(priced))


def _move_table(state: Order, command: MoveTable) -> Decision | Refusal:
    if state.status in CLOSED:
        return Refusal(Code.ORDER_CLOSED, f"the order is {state.status}")
    if state.placed.channel is not Channel.TABLE:
        return _illegal(state, "move tables", "it does not sit at one")
    if state.table == command.table:
        return NOTHING
    return Decision((e.OrderTableMoved(state.placed.order_id, command.table),))


def _merge_into(state: Order, command: MergeInto) -> Decision | Refusal:
    if state.merged_into == command.into:
        return NOTHING
    if state.status in CLOSED:
        return Refusal(Code.ORDER_CLOSED, f"the order is {state.status}")
    if command.into == state.placed.order_id:
        return invalid("into", "an order cannot be merged into itself")
    if state.applied or state.reserved:
        return Refusal(Code.ORDER_PAID, "an order with payments cannot be merged: settle or refund them first")
    live = [line for line in state.lines.values() if line.live]
    merged = e.OrderCancelled(
        order_id=state.placed.order_id,
        number=state.placed.number,
        was=state.status,
        reversal=_reversal(live, state.unsettled),
        reason="merged",
        merged_into=command.into,
    )
    absorb = Absorb(
        source=state.placed.order_id,
        into=command.into,
        lines=tuple(line.facts for line in live),
        statuses={line.facts.line: line.status for line in live},
    )
    return Decision((merged,), messages=(Message(Ref(Kind.ORDER, command.into, state.placed.cafe_id), absorb),))


def _absorb(state: Order, command: Absorb, ctx: Context) -> Decision:
    """Lines that came from another order. Even a completed order takes them: what was eaten is owed somewhere.

    An order that was itself merged passes them on, and one that was cancelled meanwhile sends them back. So does one
    that is completed if they are still to be made, and one that the kitchen does not have yet if they are being made:
    nobody would ever finish them. Lines that come back to where they began were merged in a circle: it opens here.
    """
    if command.source in state.absorbed:
        return NOTHING
    if command.source == state.placed.order_id:
        return _unmerge(state, command.into)
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
    return Decision((changed, *_reopen(after, ctx)))


def _reopen(state: Order, ctx: Context) -> tuple[Event, ...]:
    """The order's own move after lines were added or taken off: neither ready nor paid, if they are not."""
    live = [line.status for line in state.lines.values() if line.live]
    if state.status is S.READY and not all(status in DONE for status in live):
        return (_status(state, S.PREPARING),)
    lines = _follow_lines(state)
    if state.status is S.PAID and not state.paid_up and not lines:
        return (_status(state, S.PENDING),)
    return lines or _follow_money(state, ctx)


def _follow_money(state: Order, ctx: Context) -> tuple[Event, ...]:
    """The order's own moves where it has just become paid up: the kitchen may have waited for that."""
    lines = _follow_lines(state)
    if lines or state.status not in (S.PENDING, S.PAYMENT_PENDING) or not state.paid_up:
        return lines
    paid = (_status(state, S.PAID),) if state.applied else ()
    return (*paid, *_release_to_kitchen(state, ctx))


def _unmerge(state: Order, into: OrderId) -> Decision:
    """The order that should have taken this one's lines could not: go on alone."""
    if state.merged_into is None or state.merged_into != into:
        return NOTHING
    live = tuple(line.facts for line in state.lines.values() if line.live)
    undone = e.MergeUndone(order_id=state.placed.order_id, number=state.placed.number, lines=live)
    return Decision((undone, *_follow_lines(evolve(state, undone))))


def _initiate_payment(state: Order, command: InitiatePayment, ctx: Context) -> Decision | Refusal:
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
    pending = (_status(state, S.PAYMENT_PENDING),) if state.status is S.PENDING else ()
    return Decision(pending, births=(Birth(Ref(Kind.PAYMENT, payment_id, placed.cafe_id), (initiated,)),))


def _settle(state: Order, command: Settle, ctx: Context) -> Decision:
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
        follow = _follow_money(after, ctx)
    elif state.status is S.PAYMENT_PENDING and not after.reserved:
        follow = (_status(after, S.PENDING),)
    back = Message(Ref(Kind.PAYMENT, command.payment_id, placed.cafe_id), ReturnUnapplied(surplus))
    return Decision((settled, *follow), messages=(back,) if surplus else ())


def _release_payment(state: Order, command: Release) -> Decision:
    if command.payment_id not in state.reserved:
        return NOTHING
    released = e.PaymentReleased(order_id=state.placed.order_id, payment_id=command.payment_id)
    after = evolve(state, released)
    if state.status is S.PAYMENT_PENDING and not after.reserved:
        return Decision((released, _status(after, S.PENDING)))
    return Decision((released,))


def _note_refund(state: Order, command: NoteRefund) -> Decision:
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


# -- evolve


def born(event: e.OrderPlaced) -> Order:
    """The order as the cafe admitted it."""
    return Order(
        placed=event,
        lines={facts.line: Line(facts) for facts in event.lines},
        accepted=not event.needs_approval,
        released=event.released,
        released_at=event.placed_at if event.released else None,
        table=event.table,
        note=event.note,
    )


def evolve(state: Order, event: Event) -> Order:
    """The order after ``event``. Never refuses; an event of another noun's concern changes nothing."""
    replace = msgspec.structs.replace
    match event:
        case e.OrderAccepted():
            return replace(state, accepted=True)
        case e.OrderReleased():
            return replace(state, released=True, released_at=event.released_at)
        case e.OrderChanged():
            lines = state.lines | {
                facts.line: Line(facts, event.statuses.get(facts.line, I.QUEUED)) for facts in event.added
            }
            absorbed = state.absorbed if event.absorbed is None else state.absorbed | {event.absorbed}
            note = state.note if event.note is None else event.note or None
            return replace(state, lines=lines, note=note, absorbed=absorbed)
        case e.ItemsMoved():
            moved = {number: replace(state.lines[number], status=event.to) for number in event.lines}
            return replace(state, lines=state.lines | moved)
        case e.ItemVoided():
            voided = replace(state.lines[event.line], status=I.VOIDED, acknowledged=not state.released)
            return replace(
                state,
                lines=state.lines | {event.line: voided},
                reversed_from_refunds=state.reversed_from_refunds + event.reversal.from_refunds,
            )
        case e.VoidAcknowledged():
            return replace(state, lines=state.lines | {event.line: replace(state.lines[event.line], acknowledged=True)})
        case e.OrderStatusChanged():
            lines = state.lines
            if event.to is S.COMPLETED:
                lines = {n: replace(line, status=I.SERVED) if line.live else line for n, line in lines.items()}
            return replace(state, status=event.to, lines=lines)
        case e.OrderCancelled():
            return replace(state, status=S.CANCELLED, merged_into=event.merged_into)
        case e.MergeUndone():
            return replace(state, status=S.PENDING, merged_into=None)
        case e.OrderTableMoved():
            return replace(state, table=event.table)
        case e.PaymentInitiated():
            return replace(state, reserved=state.reserved | {event.payment_id: event.amount})
        case e.PaymentSettled():
            return replace(
                state,
                reserved=_without(state.reserved, event.payment_id),
                applied=state.applied | {event.payment_id: event.amount},
            )
        case e.PaymentReleased():
            return replace(state, reserved=_without(state.reserved, event.payment_id))
        case e.RefundNoted():
            return replace(state, refunds=state.refunds | {event.refund_id: (event.payment_id, event.amount)})
        case _:
            return state


def _without(reserved: dict[PaymentId, int], payment_id: PaymentId) -> dict[PaymentId, int]:
    return {key: amount for key, amount in reserved.items() if key != payment_id}


def wake_at(state: Order) -> datetime | None:
    """When the order wants to be woken: a scheduled one, when its preparation is due."""
    waits = not state.released and state.accepted and state.status not in CLOSED
    if waits and state.placed.prepay and not state.paid_up:
        return None
    return state.placed.release_at if waits else None


# -- view


class LineView(msgspec.Struct, frozen=True, rename="camel"):
    """A line on the wire (``protocol.md``)."""

    line: int
    sku: str
    name: str
    quantity: int
    unit_price: int
    modifiers: tuple[Modifier, ...]
    total: int
    station: str
    status: ItemStatus
    note: str | None
    added: bool
    acknowledged: bool
    prep_seconds: int


class OrderView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An order on the wire (``protocol.md``). ``trackingToken`` is left out unless a door adds it for its owner."""

    id: OrderId
    cafe_id: CafeId
    number: int
    business_day: date
    channel: Channel
    table: str | None
    status: OrderStatus
    payment_status: PaymentStatus
    accepted: bool
    in_kitchen: bool
    items: tuple[LineView, ...]
    note: str | None
    customer_name: str | None
    subtotal: int
    tax: int
    total: int
    paid: int
    refunded: int
    owed: int
    currency: str
    placed_at: datetime
    scheduled_for: datetime | None
    merged_into: OrderId | None
    released_at: datetime | None = None
    queue_position: int | None = None
    estimated_ready_at: datetime | None = None
    tracking_token: str | msgspec.UnsetType = msgspec.UNSET


def line_view(line: Line) -> LineView:
    """One line as the wire tells it."""
    facts = line.facts
    return LineView(
        line=facts.line,
        sku=facts.sku,
        name=facts.name,
        quantity=facts.quantity,
        unit_price=facts.unit_price,
        modifiers=facts.modifiers,
        total=facts.total,
        station=facts.station,
        status=line.status,
        note=facts.note,
        added=facts.added,
        acknowledged=line.acknowledged,
        prep_seconds=facts.prep_seconds,
    )


def view(state: Order, place: e.Place | None = None) -> OrderView:
    """The order as the wire tells it; ``place``: where it stands in the queue, if it stands in it."""
    placed = state.placed
    waiting = place is not None and state.status not in CLOSED and state.status is not S.READY
    return OrderView(
        id=placed.order_id,
        cafe_id=placed.cafe_id,
        number=placed.number,
        business_day=placed.business_day,
        channel=placed.channel,
        table=state.table,
        status=state.status,
        payment_status=state.payment_status,
        accepted=state.accepted,
        in_kitchen=state.in_kitchen,
        items=tuple(line_view(line) for line in state.lines.values()),
        note=state.note,
        customer_name=placed.customer.name if placed.customer else None,
        subtotal=state.total,
        tax=state.tax,
        total=state.total,
        paid=state.kept,
        refunded=state.refunded,
        owed=state.unsettled,
        currency=placed.currency,
        placed_at=placed.placed_at,
        scheduled_for=placed.scheduled_for,
        merged_into=state.merged_into,
        released_at=state.released_at,
        queue_position=place.position if place and waiting else None,
        estimated_ready_at=place.ready_at if place and waiting else None,
    )
