"""Payments as doors show them."""

from tabletap.domain.payment import Payment, view
from tabletap.store import codec
from tabletap.store.batch import upsert

PAYMENTS = upsert(
    "payments",
    {
        "id": "uuid",
        "cafe_id": "uuid",
        "order_id": "uuid",
        "method": "text",
        "status": "text",
        "total": "int8",
        "refunded": "int8",
        "currency": "text",
        "reference": "text",
        "customer_id": "text",
        "initiated_at": "timestamptz",
        "expires_at": "timestamptz",
        "doc": "jsonb",
    },
    "cafe_id",
    "order_id",
    "method",
    "currency",
    "reference",
    "customer_id",
    "initiated_at",
)


def row(state: Payment) -> tuple[object, ...]:
    started = state.initiated
    return (
        started.payment_id,
        started.cafe_id,
        started.order_id,
        started.method.value,
        state.status.value,
        started.total,
        state.refunded,
        started.currency,
        started.reference,
        started.customer_id,
        started.initiated_at,
        started.expires_at,
        codec.encode(view(state)),
    )
