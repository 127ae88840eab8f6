"""Payments and their refunds as doors show them."""

from tabletap.domain.payment import Payment, RefundRecord, view
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
        "external_id": "text",
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

REFUNDS = upsert(
    "refunds",
    {
        "id": "uuid",
        "payment_id": "uuid",
        "cafe_id": "uuid",
        "order_id": "uuid",
        "status": "text",
        '"to"': "text",
        "amount": "int8",
        "currency": "text",
        "requested_at": "timestamptz",
        "external_id": "text",
    },
    "payment_id",
    "cafe_id",
    "order_id",
    '"to"',
    "amount",
    "currency",
    "requested_at",
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
        state.external_id,
        codec.encode(view(state)),
    )


def refund_row(state: Payment, refund: RefundRecord) -> tuple[object, ...]:
    asked = refund.requested
    return (
        asked.refund_id,
        asked.payment_id,
        state.initiated.cafe_id,
        asked.order_id,
        refund.status.value,
        asked.to.value,
        asked.amount,
        state.initiated.currency,
        asked.requested_at,
        refund.external_id,
    )
