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
    """Ways of paying (spec P1). Which of them an installation takes is a matter of its gateways."""

    PAYCONIC_CARD = "payconic_card"
    PAYCONIC_BANK_TRANSFER = "payconic_bank_transfer"
    PAYCONIC_DIGITAL_WALLET = "payconic_digital_wallet"
    STRIPE_CARD = "stripe_card"
    QR_CODE_BANK_TRANSFER = "qr_code_bank_transfer"
    CUSTOMER_CREDIT = "customer_credit"
    GIFT_CARD = "gift_card"
    CASH = "cash"


class RefundStatus(StrEnum):
    """Where one refund stands (spec P6)."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class RefundTo(StrEnum):
    """Which way a refund goes: back the way the money came, or onto the customer's credit."""

    ORIGINAL = "original"
    CREDIT = "credit"


class Surplus(StrEnum):
    """What a cafe does with money that an order had no use for (late, twice, too much): give it back the way it came,
    make it the customer's credit (or give it back, where nobody knows the customer), or leave it to staff."""

    REFUND = "refund"
    CREDIT = "credit"
    HOLD = "hold"


class AccountKind(StrEnum):
    """What a balance held for somebody is: credit of a customer, what is left on a gift card, points (no money)."""

    CREDIT = "credit"
    GIFT_CARD = "gift_card"
    LOYALTY = "loyalty"


class Cause(StrEnum):
    """Why something moved on a gift card or on somebody's points, where it was neither staff nor a payment of ours.

    ``sold``: an order that bought the card is paid. ``used``: a till took it for a sale of its own, or points became a
    discount. ``returned``: that was undone. ``earned``: by paying an order. ``expired``: nobody came for it in time.
    ``taken_back``: what had been sold or earned was refunded.
    """

    SOLD = "sold"
    USED = "used"
    RETURNED = "returned"
    EARNED = "earned"
    EXPIRED = "expired"
    TAKEN_BACK = "taken_back"


class CreditScope(StrEnum):
    """Where a customer's credit is good: at the cafe that gave it, or at every cafe of the installation."""

    CAFE = "cafe"
    INSTALLATION = "installation"


class TipRule(StrEnum):
    """How tips are shared: evenly, by hours or points, or a percentage to each role and within it by hours."""

    EQUAL = "equal"
    HOURS = "hours"
    POINTS = "points"
    ROLE_PERCENT = "role_percent"


class ChargeState(StrEnum):
    """What a provider says of a charge. ``absent``: it has never heard of it."""

    ABSENT = "absent"
    OPEN = "open"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class RefundState(StrEnum):
    """What a provider says of a refund. ``absent``: it has never heard of it."""

    ABSENT = "absent"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Queue(StrEnum):
    """The named queues of jobs (spec H6)."""

    PAYMENTS = "payment-processing"
    ORDERS = "order-processing"
    NOTIFICATIONS = "notification-queue"
    WEBHOOKS = "webhook-processing"
    SOCKETS = "websocket-events"
    RECONCILIATION = "reconciliation"


MANUAL = frozenset({Method.CASH, Method.QR_CODE_BANK_TRANSFER})
"""Ways of paying where staff say that the money is here: there is no provider to ask."""
