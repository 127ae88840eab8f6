"""Every event there is: what the log holds, in the words of the trade.

An event is complete in itself: whoever reads the log later needs no other table to tell a screen what happened. Times
are the log's (each record carries its own), amounts are cents. ``TYPES`` maps a tag to its class; ``AnyEvent`` decodes.
"""

from datetime import date, datetime
from typing import Any, get_args
from uuid import UUID

import msgspec

from .base import CafeId, Event, OrderId, PaymentId
from .menu import Menu, Priced
from .settings import CafeSettings
from .vocabulary import Channel, ItemStatus, Method, OrderStatus

# -- cafe


class CafeOpened(Event, frozen=True, tag="cafe.opened"):
    slug: str
    settings: CafeSettings
    menu: Menu


class CafeConfigured(Event, frozen=True, tag="cafe.configured"):
    settings: CafeSettings


class MenuPublished(Event, frozen=True, tag="cafe.menu_published"):
    menu: Menu


class ItemAvailabilityChanged(Event, frozen=True, tag="cafe.item_availability_changed"):
    """86'd or back. ``until``: sold out till then. ``remaining``: so many left to sell, then sold out."""

    sku: str
    available: bool
    until: datetime | None = None
    remaining: int | None = None


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """Where an order stands in the queue (1 = next) and when it should be ready."""

    order_id: OrderId
    position: int
    ready_at: datetime


class QueueMoved(Event, frozen=True, tag="cafe.queue_moved"):
    """The kitchen's queue as it stands: load 0-100 and every place that changed since the last time."""

    load: int
    active: int
    places: tuple[Place, ...]


# -- order


class Customer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who to call out. ``id`` is the account, where there is one."""

    name: str | None = None
    phone: str | None = None
    id: str | None = None


class Numbered(Priced, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A priced line with its number on the ticket."""

    line: int
    added: bool = False


class OrderPlaced(Event, frozen=True, tag="order.placed", kw_only=True):
    """Admitted by the cafe with the next number of its day. ``released``: the kitchen has it from the start."""

    order_id: OrderId
    cafe_id: CafeId
    number: int
    business_day: date
    channel: Channel
    currency: str
    lines: tuple[Numbered, ...]
    placed_at: datetime
    table: str | None = None
    note: str | None = None
    customer: Customer | None = None
    scheduled_for: datetime | None = None
    release_at: datetime | None = None
    prepay: bool = False
    needs_approval: bool = False
    released: bool = False


class OrderAccepted(Event, frozen=True, tag="order.accepted"):
    order_id: OrderId


class OrderReleased(Event, frozen=True, tag="order.released", kw_only=True):
    """The kitchen has it from now on: approved, paid where the cafe wants that first, and due."""

    order_id: OrderId
    placed: OrderPlaced
    lines: tuple[Numbered, ...]
    paid: bool
    released_at: datetime | None = None


class OrderChanged(Event, frozen=True, tag="order.changed", kw_only=True):
    """Lines added to the order (and the sale). ``absorbed``: from that order, with the ``statuses`` they had."""

    order_id: OrderId
    added: tuple[Numbered, ...] = ()
    statuses: dict[int, ItemStatus] = {}
    note: str | None = None
    absorbed: OrderId | None = None


class Reversal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A sale taken back: ``net`` and ``tax`` by class, out of what was still owed or what had been refunded before."""

    net: int = 0
    tax: dict[str, int] = {}
    from_receivable: int = 0
    from_refunds: int = 0


class ItemsMoved(Event, frozen=True, tag="order.items_moved", kw_only=True):
    order_id: OrderId
    lines: tuple[int, ...]
    to: ItemStatus
    device: str | None = None


class ItemVoided(Event, frozen=True, tag="order.item_voided", kw_only=True):
    order_id: OrderId
    line: int
    reversal: Reversal
    reason: str | None = None


class VoidAcknowledged(Event, frozen=True, tag="order.void_acknowledged"):
    order_id: OrderId
    line: int
    device: str | None = None


class OrderStatusChanged(Event, frozen=True, tag="order.status_changed", kw_only=True):
    order_id: OrderId
    number: int
    was: OrderStatus
    to: OrderStatus


class OrderCancelled(Event, frozen=True, tag="order.cancelled", kw_only=True):
    """``merged_into``: not lost but continued in another order."""

    order_id: OrderId
    number: int
    was: OrderStatus
    reversal: Reversal
    reason: str | None = None
    merged_into: OrderId | None = None


class MergeUndone(Event, frozen=True, tag="order.merge_undone", kw_only=True):
    """The order it was merged into had gone: it goes on alone, and its sale stands again."""

    order_id: OrderId
    number: int
    lines: tuple[Numbered, ...]


class OrderTableMoved(Event, frozen=True, tag="order.table_moved"):
    order_id: OrderId
    table: str


class PaymentSettled(Event, frozen=True, tag="order.payment_settled", kw_only=True):
    """Money of a payment has been taken for this order."""

    order_id: OrderId
    payment_id: PaymentId
    amount: int
    paid: int
    owed: int


class PaymentReleased(Event, frozen=True, tag="order.payment_released", kw_only=True):
    """A payment in flight came to nothing; what it had reserved is owed again."""

    order_id: OrderId
    payment_id: PaymentId


class RefundNoted(Event, frozen=True, tag="order.refund_noted", kw_only=True):
    order_id: OrderId
    payment_id: PaymentId
    refund_id: UUID
    amount: int


# -- payment


class PaymentInitiated(Event, frozen=True, tag="payment.initiated", kw_only=True):
    """Admitted by its order, which has set ``amount`` aside for it. ``total`` = amount + tip + rounding."""

    payment_id: PaymentId
    order_id: OrderId
    cafe_id: CafeId
    order_number: int
    method: Method
    amount: int
    tip: int
    rounding: int
    total: int
    currency: str
    reference: str
    initiated_at: datetime
    expires_at: datetime
    customer_id: str | None = None
    metadata: dict[str, str] = {}


class PaymentCompleted(Event, frozen=True, tag="payment.completed", kw_only=True):
    """Money is here: ``received`` = ``amount`` (for the order) + ``tip`` + ``rounding`` + ``surplus``."""

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    received: int
    amount: int
    tip: int
    rounding: int = 0
    surplus: int = 0
    tendered: int | None = None
    change: int | None = None
    late: bool = False


class PaymentClosed(Event, frozen=True, tag="payment.closed", kw_only=True):
    """It came to nothing: failed, cancelled or expired, as ``status`` says."""

    payment_id: PaymentId
    order_id: OrderId
    status: str
    reason: str | None = None


class PaymentUnapplied(Event, frozen=True, tag="payment.unapplied", kw_only=True):
    """Money that its order had no use for any more: owed back to whoever paid, never lost.

    ``given_back``: so much of it was refunded, as if of the sale, before the order could say so.
    """

    payment_id: PaymentId
    order_id: OrderId
    amount: int
    given_back: int = 0


class PaymentRefunded(Event, frozen=True, tag="payment.refunded", kw_only=True):
    """Given back: of the surplus first, then of the sale, the tip, the cash rounding. ``refunded``: all so far."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    method: Method
    amount: int
    from_surplus: int
    from_sale: int
    from_tip: int
    from_rounding: int
    refunded: int
    full: bool
    reason: str | None = None


# -- cash drawer


class DrawerOpened(Event, frozen=True, tag="drawer.opened", kw_only=True):
    drawer_id: UUID
    cafe_id: CafeId
    name: str
    float_amount: int
    currency: str
    opened_at: datetime


class DrawerMoved(Event, frozen=True, tag="drawer.moved", kw_only=True):
    """Cash put in (positive) or taken out (negative) for ``reason``, not for a sale."""

    drawer_id: UUID
    amount: int
    reason: str


class DrawerCashTaken(Event, frozen=True, tag="drawer.cash_taken", kw_only=True):
    """A cash payment (or, negative, a refund) went through this drawer. ``entry_id`` tells one from its repeat."""

    drawer_id: UUID
    payment_id: PaymentId
    entry_id: UUID
    amount: int


class DrawerClosed(Event, frozen=True, tag="drawer.closed", kw_only=True):
    drawer_id: UUID
    counted: int
    expected: int
    difference: int


AnyEvent = (
    CafeOpened
    | CafeConfigured
    | MenuPublished
    | ItemAvailabilityChanged
    | QueueMoved
    | OrderPlaced
    | OrderAccepted
    | OrderReleased
    | OrderChanged
    | ItemsMoved
    | ItemVoided
    | VoidAcknowledged
    | OrderStatusChanged
    | OrderCancelled
    | MergeUndone
    | OrderTableMoved
    | PaymentSettled
    | PaymentReleased
    | RefundNoted
    | PaymentInitiated
    | PaymentCompleted
    | PaymentClosed
    | PaymentUnapplied
    | PaymentRefunded
    | DrawerOpened
    | DrawerMoved
    | DrawerCashTaken
    | DrawerClosed
)

TYPES: dict[str, type[Event]] = {event.__struct_config__.tag: event for event in get_args(AnyEvent)}


def tag_of(event: Event) -> str:
    """The event's type as log and wire spell it (``order.placed``)."""
    tag: Any = type(event).__struct_config__.tag
    return str(tag)


def order_of(event: Event) -> OrderId | None:
    """The order that an event is about, if it is about one."""
    return getattr(event, "order_id", None)
