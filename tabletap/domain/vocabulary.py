"""The words of the trade as types: channels, statuses, ways of paying. One spelling each, shared by log and wire."""

from enum import StrEnum


class Channel(StrEnum):
    """How an order came in: from afar, by the QR code at a table, or rung up at the till."""

    ONLINE = "online"
    TABLE = "table"
    COUNTER = "counter"


class OrderStatus(StrEnum):
    """Where the order as a whole stands (spec O4)."""

    PENDING = "pending"
    PAYMENT_PENDING = "payment_pending"
    PAID = "paid"
    PREPARING = "preparing"
    READY = "ready"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ItemStatus(StrEnum):
    """Where one line stands at its station (spec O4)."""

    QUEUED = "queued"
    HELD = "held"
    STARTED = "started"
    READY = "ready"
    SERVED = "served"
    VOIDED = "voided"


class PaymentStatus(StrEnum):
    """Where one attempt to pay stands (spec P2); an order's payment status is told in the same words."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Method(StrEnum):
    """Ways of paying that this installation can take (spec P1)."""

    CASH = "cash"
    QR_CODE_BANK_TRANSFER = "qr_code_bank_transfer"
