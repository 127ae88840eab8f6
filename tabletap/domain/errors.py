"""Refusals: what the rules say no to. A refusal is a value, never an exception; nothing changed.

The code is stable and belongs to the wire (spec Q1); ``http.problems`` alone knows which HTTP status a code has.
"""

from enum import StrEnum
from typing import NamedTuple

import msgspec


class Code(StrEnum):
    """Every stable error code, doors' codes included, so that no two mean the same."""

    AUTH_REQUIRED = "AUTH_REQUIRED"
    INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105  a code, not a secret
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105  the same
    INVALID_SIGNATURE = "INVALID_SIGNATURE"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    MALFORMED = "MALFORMED"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    CARD_DATA_REFUSED = "CARD_DATA_REFUSED"
    IDEMPOTENCY_KEY_MISSING = "IDEMPOTENCY_KEY_MISSING"
    IDEMPOTENCY_KEY_INVALID = "IDEMPOTENCY_KEY_INVALID"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    DUPLICATE_IN_PROGRESS = "DUPLICATE_IN_PROGRESS"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    TOO_MANY_SUBSCRIPTIONS = "TOO_MANY_SUBSCRIPTIONS"
    UNKNOWN_OPERATION = "UNKNOWN_OPERATION"
    OVERLOADED = "OVERLOADED"
    NOT_EXECUTED = "NOT_EXECUTED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"

    CAFE_CLOSED = "CAFE_CLOSED"
    SLUG_TAKEN = "SLUG_TAKEN"
    ITEM_UNAVAILABLE = "ITEM_UNAVAILABLE"
    KITCHEN_BUSY = "KITCHEN_BUSY"
    ILLEGAL_MOVE = "ILLEGAL_MOVE"
    ORDER_CLOSED = "ORDER_CLOSED"
    ORDER_PAID = "ORDER_PAID"
    NOTHING_OWED = "NOTHING_OWED"
    AMOUNT_EXCEEDS_OWED = "AMOUNT_EXCEEDS_OWED"
    LINE_CLAIMED = "LINE_CLAIMED"
    TENDERED_TOO_LITTLE = "TENDERED_TOO_LITTLE"
    METHOD_UNSUPPORTED = "METHOD_UNSUPPORTED"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    REFUND_EXCEEDS_ORIGINAL = "REFUND_EXCEEDS_ORIGINAL"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    PAYMENT_EXPIRED = "PAYMENT_EXPIRED"
    GIFT_CARD_EXPIRED = "GIFT_CARD_EXPIRED"
    DRAWER_CLOSED = "DRAWER_CLOSED"
    DRAWERS_OPEN = "DRAWERS_OPEN"


class FieldError(NamedTuple):
    """What is wrong with one field, named by its path on the wire (``items.0.sku``)."""

    field: str
    message: str


class Refusal(msgspec.Struct, frozen=True):
    """A rule said no. ``retry_after_s``: when asking again may help (seconds)."""

    code: Code
    message: str
    errors: tuple[FieldError, ...] = ()
    retry_after_s: int | None = None


def invalid(field: str, message: str) -> Refusal:
    """A refusal that blames one field of the request."""
    return Refusal(Code.VALIDATION_ERROR, f"{field}: {message}", (FieldError(field, message),))
