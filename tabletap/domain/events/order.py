"""An order: its lines, its way through the kitchen, its money."""

from datetime import date, datetime
from uuid import UUID

import msgspec

from tabletap.domain.base import CafeId, Event, OrderId, PaymentId
from tabletap.domain.holding import Holding
from tabletap.domain.menu import Priced
from tabletap.domain.vocabulary import (
    Channel,
    ItemStatus,
    OrderStatus,
)


class Customer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who to call out. ``id`` is the account, where there is one."""

    name: str | None = None
    phone: str | None = None
    id: str | None = None


class Numbered(Priced, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A priced line with its number on the ticket, and its share of the order's service charge.

    ``service`` is charged beside ``total`` and contains ``service_tax`` of the class ``service_class``. ``gift``: the
    line is a gift card, to be opened so when it is paid: nothing to make, nothing to tax yet.
    """

    line: int
    added: bool = False
    service: int = 0
    service_tax: int = 0
    service_class: str = ""
    gift: Holding | None = None

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


class LoyaltyTerms(msgspec.Struct, frozen=True):
    """Who earns points by paying the order, and how many per whole unit of its currency, as it was placed."""

    holding: Holding
    points_per_unit: int


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
    loyalty: LoyaltyTerms | None = None


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
    """A sale taken back: ``net``, ``service`` (charge, net), ``gift`` (cards that were not good yet) and ``tax`` by
    class, out of what was owed or refunded."""

    net: int = 0
    gift: int = 0
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
    """Money of a payment has been taken for this order. ``paid``: and not given back, with this."""

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
    """Money of this order has been given back. ``paid``: what is left of what was paid; ``refunded``: so far."""

    order_id: OrderId
    payment_id: PaymentId
    refund_id: UUID
    amount: int
    paid: int
    refunded: int


class OrderDiscounted(Event, frozen=True, tag="order.discounted", kw_only=True):
    """``points`` of ``holding`` became ``amount`` cents less to pay, which contain ``tax`` by class.

    ``owed``: what no payment has paid yet, with this.
    """

    order_id: OrderId
    discount_id: UUID
    amount: int
    tax: dict[str, int]
    points: int
    holding: Holding
    owed: int


class DiscountReturned(Event, frozen=True, tag="order.discount_returned", kw_only=True):
    """The order is cancelled: the points go back to whose they were."""

    order_id: OrderId
    discount_id: UUID
    amount: int
    tax: dict[str, int]


class CardsSold(Event, frozen=True, tag="order.cards_sold"):
    """The order is paid: the gift cards on it are good from now on."""

    order_id: OrderId


class PointsCounted(Event, frozen=True, tag="order.points_counted"):
    """What has been paid and not given back is worth so many ``points``."""

    order_id: OrderId
    points: int
