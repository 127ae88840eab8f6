"""An order as it stands: the tables of its lifecycle, its lines and its money, and how events change it."""

from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import Event, Kind, OrderId, PaymentId, Ref
from tabletap.domain.vocabulary import ItemStatus, OrderStatus, PaymentStatus

S = OrderStatus
I = ItemStatus  # noqa: E741  beside S it reads as what it is


UNMADE = (S.PENDING, S.PAYMENT_PENDING, S.PAID)

ORDER_MOVES: MappingProxyType[str, MappingProxyType[OrderStatus, OrderStatus]] = MappingProxyType(
    {
        "start": MappingProxyType({**dict.fromkeys(UNMADE, S.PREPARING), S.PREPARING: S.PREPARING}),
        "ready": MappingProxyType({**dict.fromkeys(UNMADE, S.READY), S.PREPARING: S.READY, S.READY: S.READY}),
        "complete": MappingProxyType({S.READY: S.COMPLETED, S.COMPLETED: S.COMPLETED}),
        "cancel": MappingProxyType(
            {
                **dict.fromkeys(UNMADE, S.CANCELLED),
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


class Line(msgspec.Struct, frozen=True):
    """One line of the order at its station. ``acknowledged``: the kitchen has seen that it is void."""

    facts: e.Numbered
    status: ItemStatus = I.QUEUED
    acknowledged: bool = False

    @property
    def live(self) -> bool:
        return self.status is not I.VOIDED

    @property
    def to_make(self) -> bool:
        """Whether anybody has something to do for it: not for a gift card."""
        return self.live and self.facts.gift is None


class Claim(msgspec.Struct, frozen=True):
    """What a payment is for, where the bill is split by item or by share: worth ``amount`` cents."""

    amount: int
    lines: tuple[int, ...] = ()
    share: tuple[int, int] | None = None


class Order(msgspec.Struct, frozen=True):
    """``reserved``: payment in flight -> cents set aside for it. ``applied``: payment -> cents it paid.

    ``claims``: payment -> what it is for; it holds while the payment is in flight and once it is paid in full.
    ``sold_out``: sku -> when, while the kitchen did not have the order. ``withdrawn``: payments that were in flight
    then, whose money goes back. ``discounts``: what points took off it. ``cards_good``: the gift cards on it are paid.
    ``points``: what it has earned.
    """

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
    claims: dict[PaymentId, Claim] = {}
    sold_out: dict[str, datetime] = {}
    withdrawn: frozenset[PaymentId] = frozenset()
    discounts: dict[UUID, e.OrderDiscounted] = {}
    cards_good: bool = False
    points: int = 0

    @property
    def ref(self) -> Ref:
        return Ref(Kind.ORDER, self.placed.order_id, self.placed.cafe_id)

    @property
    def subtotal(self) -> int:
        return sum(line.facts.total for line in self.lines.values() if line.live)

    @property
    def service(self) -> int:
        """The service charge, tax included."""
        return sum(line.facts.service for line in self.lines.values() if line.live)

    @property
    def discount(self) -> int:
        return sum(one.amount for one in self.discounts.values())

    @property
    def total(self) -> int:
        return sum(line.facts.due for line in self.lines.values() if line.live) - self.discount

    @property
    def tax(self) -> int:
        off = sum(sum(one.tax.values()) for one in self.discounts.values())
        return sum(line.facts.tax + line.facts.service_tax for line in self.lines.values() if line.live) - off

    @property
    def cards(self) -> tuple[Line, ...]:
        """The gift cards on it."""
        return tuple(line for line in self.lines.values() if line.live and line.facts.gift is not None)

    @property
    def makes_something(self) -> bool:
        """Whether there is anything for the kitchen in it."""
        return any(line.to_make for line in self.lines.values())

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
    def held_claims(self) -> dict[PaymentId, Claim]:
        """The claims that hold now."""
        return {
            payment_id: claim
            for payment_id, claim in self.claims.items()
            if payment_id in self.reserved or self.applied.get(payment_id, 0) >= claim.amount
        }

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


def born(event: e.OrderPlaced) -> Order:
    """The order as the cafe admitted it."""
    return Order(
        placed=event,
        lines={facts.line: Line(facts, I.SERVED if facts.gift else I.QUEUED) for facts in event.lines},
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
            state = replace(state, reserved=state.reserved | {event.payment_id: event.amount})
            if not event.lines and event.share is None:
                return state
            claim = Claim(event.amount, event.lines, event.share)
            return replace(state, claims=state.claims | {event.payment_id: claim})
        case e.PaymentSettled():
            return replace(
                state,
                reserved=_without(state.reserved, event.payment_id),
                applied=state.applied | {event.payment_id: event.amount},
            )
        case e.PaymentReleased():
            return replace(state, reserved=_without(state.reserved, event.payment_id))
        case e.PaymentsWithdrawn():
            sold_out = state.sold_out | {event.sku: event.at}
            return replace(state, sold_out=sold_out, withdrawn=state.withdrawn.union(event.payments))
        case e.RefundNoted():
            return replace(state, refunds=state.refunds | {event.refund_id: (event.payment_id, event.amount)})
        case e.OrderDiscounted():
            return replace(state, discounts=state.discounts | {event.discount_id: event})
        case e.DiscountReturned():
            left = {key: one for key, one in state.discounts.items() if key != event.discount_id}
            return replace(state, discounts=left)
        case e.CardsSold():
            return replace(state, cards_good=True)
        case e.PointsCounted():
            return replace(state, points=event.points)
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
