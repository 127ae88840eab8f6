"""Errors on the wire (spec Q1), and the only place that knows which HTTP status a code has."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

from tabletap.domain.cardlike import redact
from tabletap.domain.errors import Code, Refusal

STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.AUTH_REQUIRED: 401,
        Code.INVALID_TOKEN: 401,
        Code.TOKEN_EXPIRED: 401,
        Code.INVALID_SIGNATURE: 401,
        Code.FORBIDDEN: 403,
        Code.NOT_FOUND: 404,
        Code.METHOD_NOT_ALLOWED: 405,
        Code.MALFORMED: 400,
        Code.VALIDATION_ERROR: 400,
        Code.PAYLOAD_TOO_LARGE: 413,
        Code.CARD_DATA_REFUSED: 400,
        Code.IDEMPOTENCY_KEY_MISSING: 400,
        Code.IDEMPOTENCY_KEY_INVALID: 400,
        Code.IDEMPOTENCY_KEY_REUSED: 422,
        Code.DUPLICATE_IN_PROGRESS: 409,
        Code.RATE_LIMIT_EXCEEDED: 429,
        Code.TOO_MANY_SUBSCRIPTIONS: 429,
        Code.UNKNOWN_OPERATION: 400,
        Code.OVERLOADED: 503,
        Code.NOT_EXECUTED: 503,
        Code.OUTCOME_UNKNOWN: 504,
        Code.UNAVAILABLE: 503,
        Code.INTERNAL_ERROR: 500,
        Code.CAFE_CLOSED: 409,
        Code.SLUG_TAKEN: 409,
        Code.ITEM_UNAVAILABLE: 409,
        Code.KITCHEN_BUSY: 409,
        Code.ILLEGAL_MOVE: 409,
        Code.ORDER_CLOSED: 409,
        Code.ORDER_PAID: 409,
        Code.NOTHING_OWED: 409,
        Code.AMOUNT_EXCEEDS_OWED: 409,
        Code.LINE_CLAIMED: 409,
        Code.TENDERED_TOO_LITTLE: 409,
        Code.METHOD_UNSUPPORTED: 400,
        Code.INSUFFICIENT_FUNDS: 400,
        Code.REFUND_EXCEEDS_ORIGINAL: 409,
        Code.PAYMENT_FAILED: 402,
        Code.PAYMENT_EXPIRED: 409,
        Code.GIFT_CARD_EXPIRED: 400,
        Code.DRAWER_CLOSED: 409,
        Code.DRAWERS_OPEN: 409,
    }
)


class ProblemField(msgspec.Struct, frozen=True):
    """One field at fault, by its path (``items.0.sku``)."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every error answer."""

    error: str
    code: Code
    timestamp: datetime
    path: str
    errors: tuple[ProblemField, ...] = ()


def problem(refusal: Refusal, path: str) -> Problem:
    """A refusal as the wire tells it. ``path``: of the request.

    Whatever of a request stands in it, a card number never does (spec P10).
    """
    return Problem(
        error=redact(refusal.message),
        code=refusal.code,
        timestamp=datetime.now(UTC),
        path=redact(path),
        errors=fields_at_fault(refusal),
    )


def fields_at_fault(refusal: Refusal) -> tuple[ProblemField, ...]:
    """The fields that a refusal blames, without card numbers."""
    return tuple(ProblemField(redact(field), redact(message)) for field, message in refusal.errors)


def headers(refusal: Refusal) -> dict[str, str]:
    """What goes with an error answer besides its body."""
    extra = {"content-type": "application/json"}
    if refusal.retry_after_s is not None:
        extra["retry-after"] = str(refusal.retry_after_s)
    if STATUS[refusal.code] == 401:
        extra["www-authenticate"] = "Bearer"
    return extra
