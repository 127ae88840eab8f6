"""An order on the wire (``protocol.md``): its shape exists once, here."""

from datetime import date, datetime

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import CafeId, OrderId
from tabletap.domain.giftcode import masked
from tabletap.domain.menu import Modifier
from tabletap.domain.vocabulary import Channel, ItemStatus, OrderStatus, PaymentStatus

from .state import CLOSED, Line, Order, S


class LineView(msgspec.Struct, frozen=True, rename="camel"):
    """A line on the wire (``protocol.md``). ``serviceCharge``: what it costs beside ``total``; ``claim``: somebody who
    splits the bill by item is paying for it (``processing``) or has paid (``completed``); ``giftCard``: of a line
    that is one, with all but the end of its code hidden."""

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
    service_charge: int = 0
    claim: PaymentStatus | None = None
    gift_card: str | None = None


class ShareView(msgspec.Struct, frozen=True, rename="camel"):
    """One share of the bill that somebody is paying (``processing``) or has paid (``completed``): 2 of 3."""

    share: int
    of: int
    status: PaymentStatus


class OrderView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """An order on the wire (``protocol.md``). ``trackingToken`` is left out unless a door adds it for its owner.

    ``discount``: what points took off, contained in ``total``; ``points``: what paying it has earned.
    """

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
    service_charge: int
    tax: int
    total: int
    paid: int
    refunded: int
    owed: int
    currency: str
    placed_at: datetime
    scheduled_for: datetime | None
    merged_into: OrderId | None
    shares: tuple[ShareView, ...] = ()
    discount: int = 0
    points: int = 0
    released_at: datetime | None = None
    queue_position: int | None = None
    estimated_ready_at: datetime | None = None
    tracking_token: str | msgspec.UnsetType = msgspec.UNSET


def line_view(line: Line, claim: PaymentStatus | None = None) -> LineView:
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
        service_charge=facts.service,
        claim=claim,
        gift_card=masked(facts.gift.label or "") if facts.gift else None,
    )


def view(state: Order, place: e.Place | None = None) -> OrderView:
    """The order as the wire tells it; ``place``: where it stands in the queue, if it stands in it."""
    placed = state.placed
    claims = [
        (PaymentStatus.PROCESSING if payment_id in state.reserved else PaymentStatus.COMPLETED, claim)
        for payment_id, claim in state.held_claims.items()
    ]
    claimed = {number: status for status, claim in claims for number in claim.lines}
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
        items=tuple(line_view(line, claimed.get(number)) for number, line in state.lines.items()),
        note=state.note,
        customer_name=placed.customer.name if placed.customer else None,
        subtotal=state.subtotal,
        service_charge=state.service,
        tax=state.tax,
        total=state.total,
        paid=state.kept,
        refunded=state.refunded,
        owed=state.unsettled,
        currency=placed.currency,
        placed_at=placed.placed_at,
        scheduled_for=placed.scheduled_for,
        merged_into=state.merged_into,
        shares=tuple(ShareView(*claim.share, status) for status, claim in claims if claim.share is not None),
        discount=state.discount,
        points=state.points,
        released_at=state.released_at,
        queue_position=place.position if place and waiting else None,
        estimated_ready_at=place.ready_at if place and waiting else None,
    )
