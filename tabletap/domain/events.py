"""Every event there is: what the log holds, in the words of the trade.

An event is complete in itself: whoever reads the log later needs no other table to tell a screen what happened. Times
are the log's (each record carries its own), amounts are cents. ``TYPES`` maps a tag to its class; ``AnyEvent`` decodes.
"""

from datetime import date, datetime
from typing import Any, get_args
from uuid import UUID

import msgspec

from .base import CafeId, Event, OrderId, PaymentId, Ref
from .menu import Menu, Priced
from .settings import CafeSettings
from .vocabulary import (
    AccountKind,
    Channel,
    ChargeState,
    ItemStatus,
    Method,
    OrderStatus,
    RefundTo,
    Surplus,
    TipRule,
)

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
    """A priced line with its number on the ticket, and its share of the order's service charge.

    ``service`` is charged beside ``total`` and contains ``service_tax`` of the class ``service_class``.
    """

    line: int
    added: bool = False
    service: int = 0
    service_tax: int = 0
    service_class: str = ""

    @property
    def due(self) -> int:
        """What the customer pays for the line: itself and its share of the service charge."""
        return self.total + self.service

    @property
    def taxes(self) -> dict[str, int]:
        """The tax contained in ``due``, by class."""
        taxes = {self.tax_class: self.tax}
        if self.service_tax:
            taxes[self.service_class] = taxes.get(self.service_class, 0) + self.service_tax
        return taxes


class ServiceTerms(msgspec.Struct, frozen=True):
    """A service charge as an order was placed under it: both rates in basis points, the tax contained in the charge.

    What is added to the order later comes under the same terms.
    """

    rate: int
    tax_class: str
    tax_rate: int


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
    service: ServiceTerms | None = None


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
    """A sale taken back: ``net``, ``service`` (charge, net) and ``tax`` by class, out of what was owed or refunded."""

    net: int = 0
    service: int = 0
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


class PaymentsWithdrawn(Event, frozen=True, tag="order.payments_withdrawn", kw_only=True):
    """``sku`` sold out ``at`` before the kitchen had the order: what these payments still bring goes back."""

    order_id: OrderId
    sku: str
    at: datetime
    payments: tuple[PaymentId, ...] = ()


class RefundNoted(Event, frozen=True, tag="order.refund_noted", kw_only=True):
    order_id: OrderId
    payment_id: PaymentId
    refund_id: UUID
    amount: int


# -- payment


class PaymentInitiated(Event, frozen=True, tag="payment.initiated", kw_only=True):
    """Admitted by its order, which has set ``amount`` aside for it. ``total`` = amount + tip + rounding.

    ``account``: the account of ours that pays (credit, gift card). ``credit``: the customer's credit account, where the
    customer is known: refunds may go there. ``surplus``: what the cafe does with money its order has no use for.
    ``lines``: those it pays for, ``share``: which part of how many (2 of 3), where the bill is split so.
    """

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
    account: Ref | None = None
    credit: Ref | None = None
    surplus: Surplus = Surplus.HOLD
    lines: tuple[int, ...] = ()
    share: tuple[int, int] | None = None
    metadata: dict[str, str] = {}


class PaymentProcessing(Event, frozen=True, tag="payment.processing", kw_only=True):
    """The provider has it, as ``external_id``; ``redirect_url``: where the customer approves it."""

    payment_id: PaymentId
    order_id: OrderId
    external_id: str | None = None
    redirect_url: str | None = None


class VerificationPlanned(Event, frozen=True, tag="payment.verification_planned", kw_only=True):
    """The provider is to be asked again at ``at`` (the ``attempt``-th time, from 1), if it has not spoken by then."""

    payment_id: PaymentId
    order_id: OrderId
    attempt: int
    at: datetime
    reason: str | None = None


class ProviderSettled(Event, frozen=True, tag="payment.provider_settled", kw_only=True):
    """The provider will say no more of a payment that came to nothing: it is ``state`` there too."""

    payment_id: PaymentId
    order_id: OrderId
    state: ChargeState


class PaymentCompleted(Event, frozen=True, tag="payment.completed", kw_only=True):
    """Money is here: ``received`` = ``amount`` (for the order) + ``tip`` + ``rounding`` + ``surplus``.

    ``fee``: what the provider keeps of it. ``external_id``: what the provider calls it.
    """

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
    fee: int = 0
    external_id: str | None = None
    statement_line: str | None = None
    late: bool = False


class PaymentClosed(Event, frozen=True, tag="payment.closed", kw_only=True):
    """It came to nothing: failed, cancelled or expired, as ``status`` says. ``final``: so says its provider too."""

    payment_id: PaymentId
    order_id: OrderId
    status: str
    reason: str | None = None
    final: bool = False


class PaymentUnapplied(Event, frozen=True, tag="payment.unapplied", kw_only=True):
    """Money that its order had no use for any more: owed back to whoever paid, never lost.

    ``given_back``: so much of it was refunded, as if of the sale, before the order could say so.
    """

    payment_id: PaymentId
    order_id: OrderId
    amount: int
    given_back: int = 0


class MoreReceived(Event, frozen=True, tag="payment.more_received", kw_only=True):
    """The customer has transferred once more for a payment that was complete: all of it is owed back.

    ``statement_line`` tells one transfer from the next.
    """

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    amount: int
    statement_line: str


class RefundRequested(Event, frozen=True, tag="payment.refund_requested", kw_only=True):
    """To be given back: of the surplus first, then of the sale, the tip, the cash rounding.

    ``to``: the way the money came, or the customer's credit (``account``). Owed until it is completed or fails.
    """

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    method: Method
    to: RefundTo
    amount: int
    from_surplus: int
    from_sale: int
    from_tip: int
    from_rounding: int
    requested_at: datetime
    account: Ref | None = None
    reason: str | None = None


class RefundProcessing(Event, frozen=True, tag="payment.refund_processing", kw_only=True):
    """The provider is at it, or has not answered; it is asked again at ``at`` (the ``attempt``-th time, from 1)."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    attempt: int
    at: datetime
    accepted: bool = False
    external_id: str | None = None
    reason: str | None = None


class RefundCompleted(Event, frozen=True, tag="payment.refund_completed", kw_only=True):
    """Given back. ``refunded``: all so far; ``full``: nothing is left of the payment."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    method: Method
    to: RefundTo
    amount: int
    refunded: int
    full: bool
    external_id: str | None = None
    reason: str | None = None


class RefundFailed(Event, frozen=True, tag="payment.refund_failed", kw_only=True):
    """The provider would not: the money is here still. The parts say where it is owed from again."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    amount: int
    from_surplus: int
    from_sale: int
    from_tip: int
    from_rounding: int
    reclassified: int = 0
    reason: str | None = None


class PaymentDisputed(Event, frozen=True, tag="payment.disputed", kw_only=True):
    """A chargeback: the provider has taken ``amount`` back, and ``fee`` for its trouble."""

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    dispute_id: str
    amount: int
    fee: int = 0
    reason: str | None = None


class DisputeWon(Event, frozen=True, tag="payment.dispute_won", kw_only=True):
    """The chargeback is undone: ``amount`` is here again (the fee is not)."""

    payment_id: PaymentId
    order_id: OrderId
    method: Method
    dispute_id: str
    amount: int


# -- account: credit of a customer, a gift card


class AccountOpened(Event, frozen=True, tag="account.opened", kw_only=True):
    """``cafe_id``: the cafe that owes the balance, or the installation. ``owner``: the customer, where it is one's."""

    account_id: UUID
    cafe_id: CafeId
    kind: AccountKind
    currency: str
    opened_at: datetime
    owner: str | None = None


class AccountCredited(Event, frozen=True, tag="account.credited", kw_only=True):
    """``entry_id`` tells one movement from its repeat: the refund it comes from, or an id of its own.

    ``granted``: given away by staff; else it is a refund of ``payment_id``.
    """

    account_id: UUID
    entry_id: UUID
    kind: AccountKind
    amount: int
    balance: int
    granted: bool = False
    payment_id: PaymentId | None = None
    reason: str | None = None
    owner: str | None = None


class AccountDebited(Event, frozen=True, tag="account.debited", kw_only=True):
    """``entry_id``: the payment it was spent on, or an id of its own where staff took it back (``granted``)."""

    account_id: UUID
    entry_id: UUID
    kind: AccountKind
    amount: int
    balance: int
    granted: bool = False
    payment_id: PaymentId | None = None
    reason: str | None = None
    owner: str | None = None


class SpendingBarred(Event, frozen=True, tag="account.spending_barred", kw_only=True):
    """The payment took nothing and never will: it was given up, or the balance did not cover it (``why``)."""

    account_id: UUID
    payment_id: PaymentId
    why: str


# -- tips


class TipShare(msgspec.Struct, frozen=True):
    """What one of the staff gets of a pool."""

    user: str
    role: str
    amount: int


class TipsDistributed(Event, frozen=True, tag="tips.distributed", kw_only=True):
    """The tips of a time (from ``since`` to before ``until``), shared out as of the ``read_offset`` of the log.

    ``amount``: all shares together; ``charged``: what was kept back for tips that had been refunded.
    """

    cafe_id: CafeId
    distribution_id: UUID
    since: datetime
    until: datetime
    read_offset: int
    rule: TipRule
    currency: str
    amount: int
    charged: int
    shares: tuple[TipShare, ...]


class TipsPaidOut(Event, frozen=True, tag="tips.paid_out", kw_only=True):
    """One of the staff has been given ``amount`` of their tips; ``owed``: what is left. ``way``: cash or bank."""

    cafe_id: CafeId
    payout_id: UUID
    user: str
    amount: int
    owed: int
    way: str


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
    | PaymentsWithdrawn
    | RefundNoted
    | PaymentInitiated
    | PaymentProcessing
    | VerificationPlanned
    | ProviderSettled
    | PaymentCompleted
    | PaymentClosed
    | PaymentUnapplied
    | MoreReceived
    | RefundRequested
    | RefundProcessing
    | RefundCompleted
    | RefundFailed
    | PaymentDisputed
    | DisputeWon
    | AccountOpened
    | AccountCredited
    | AccountDebited
    | SpendingBarred
    | TipsDistributed
    | TipsPaidOut
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
