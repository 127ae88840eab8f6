"""Orders as doors list them, and their places in the queue."""

from collections.abc import Iterable

from tabletap.domain.base import Event, OrderId
from tabletap.domain.events import OrderCancelled, OrderStatusChanged, Place, QueueMoved
from tabletap.domain.order import CLOSED, Order, view
from tabletap.domain.vocabulary import OrderStatus
from tabletap.store import codec
from tabletap.store.batch import remove, upsert

ORDERS = upsert(
    "orders",
    {
        "id": "uuid",
        "cafe_id": "uuid",
        "number": "int4",
        "business_day": "date",
        "channel": "text",
        '"table"': "text",
        "status": "text",
        "payment_status": "text",
        "active": "bool",
        "total": "int8",
        "paid": "int8",
        "currency": "text",
        "placed_at": "timestamptz",
        "customer_id": "text",
        "doc": "jsonb",
    },
    "cafe_id",
    "number",
    "business_day",
    "channel",
    "currency",
    "placed_at",
    "customer_id",
)

PLACES = upsert("order_places", {"order_id": "uuid", "queue_position": "int4", "ready_at": "timestamptz"})
LEAVE = remove("order_places", "order_id")

WAITING = frozenset({OrderStatus.PENDING, OrderStatus.PAYMENT_PENDING, OrderStatus.PAID, OrderStatus.PREPARING})
"""Only while it waits has an order a place to speak of."""


def row(state: Order) -> tuple[object, ...]:
    placed, shown = state.placed, view(state)
    return (
        placed.order_id,
        placed.cafe_id,
        placed.number,
        placed.business_day,
        placed.channel.value,
        state.table,
        state.status.value,
        shown.payment_status.value,
        state.status not in CLOSED,
        shown.total,
        shown.paid,
        placed.currency,
        placed.placed_at,
        placed.customer.id if placed.customer else None,
        codec.encode(shown),
    )


def places(event: Event) -> Iterable[tuple[OrderId, Place | None]]:
    """What ``event`` says of places: this order stands there now, or nowhere."""
    match event:
        case QueueMoved():
            return [(place.order_id, place) for place in event.places]
        case OrderStatusChanged() if event.to not in WAITING:
            return [(event.order_id, None)]
        case OrderCancelled():
            return [(event.order_id, None)]
        case _:
            return ()
