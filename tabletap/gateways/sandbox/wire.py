"""What is said on the wire: requests, payments, refunds, webhooks and errors. Amounts are cents, times RFC 3339 UTC."""

import hashlib
import hmac
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

AMOUNT_AT_MOST = 100_000_000
BODY_BYTES = 64 * 1024
PAGE_PAYMENTS = 200
SIGNATURE_HEADER = "X-Payconic-Signature"

Amount = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_AT_MOST)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,100}$")]
Text = Annotated[str, msgspec.Meta(max_length=280)]
Url = Annotated[str, msgspec.Meta(pattern=r"^https?://[\x21-\x7e]+$", max_length=2000)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
ProviderMethod = Literal["card", "bank_transfer", "digital_wallet"]


class Status(StrEnum):
    """Where a payment stands. IDENTIFIED: the customer has opened it; AUTHORIZED: approved, the money on its way."""

    PENDING = "PENDING"
    IDENTIFIED = "IDENTIFIED"
    AUTHORIZED = "AUTHORIZED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


class RefundStatus(StrEnum):
    """Where a refund stands."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class EventType(StrEnum):
    """What a webhook tells."""

    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_FAILED = "payment.failed"
    PAYMENT_CANCELLED = "payment.cancelled"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
    DISPUTE_OPENED = "dispute.opened"
    DISPUTE_WON = "dispute.won"


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class PaymentRequest(_Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/payments``. A moment that has passed already is taken: the payment expires at once."""

    merchant_reference: Name
    amount: Amount
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    method: ProviderMethod
    description: Text
    reference: Text
    expires_at: Moment
    callback_url: Url
    return_url: Url

    def __post_init__(self) -> None:
        """Raises ValueError for a URL that no client could go to."""
        for url in (self.callback_url, self.return_url):
            origin(url)


class RefundRequest(_Wire, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``POST /v1/payments/{id}/refunds``."""

    merchant_reference: Name
    amount: Amount
    reason: Text | None = None


class Link(_Wire, frozen=True, kw_only=True):
    """Where something can be done."""

    href: str


class Links(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What can be done with a payment now: ``cancel`` until it is approved, ``refund`` once it has succeeded."""

    here: Link = msgspec.field(name="self")
    checkout: Link
    cancel: Link | None = None
    refund: Link | None = None


class Payment(_Wire, frozen=True, kw_only=True):
    """A payment. ``sequence``: how many webhooks have told of it so far; ``fee``: what of the captured we keep."""

    id: str
    merchant_reference: str
    status: Status
    amount: int
    currency: str
    method: ProviderMethod
    captured_amount: int
    refunded_amount: int
    fee: int
    failure_reason: str | None
    created_at: datetime
    expires_at: datetime
    sequence: int
    links: Links = msgspec.field(name="_links")


class Refund(_Wire, frozen=True, kw_only=True):
    """A refund of a payment."""

    id: str
    payment_id: str
    merchant_reference: str
    status: RefundStatus
    amount: int
    failure_reason: str | None
    created_at: datetime


class Dispute(_Wire, frozen=True, kw_only=True):
    """Money that the customer has had taken back."""

    id: str
    amount: int
    fee: int
    reason: str


class Told(_Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What a webhook is about: the payment as it stood then, and what has become of its refund or dispute."""

    payment: Payment
    refund: Refund | None = None
    dispute: Dispute | None = None


class Event(_Wire, frozen=True, kw_only=True):
    """A webhook's body. ``sequence`` counts those of one payment from 1 without gaps."""

    id: str
    event_type: EventType
    sequence: int
    created_at: datetime
    data: Told


class Page(_Wire, frozen=True, kw_only=True):
    """Payments in the order of their first change since the moment asked for. ``next``: ask again ``after`` it."""

    payments: list[Payment]
    next: str | None


class Problem(_Wire, frozen=True, kw_only=True):
    """The body of every error answer."""

    code: str
    message: str
    trace_id: str
    span_id: str


class Refused(Exception):  # noqa: N818  an answer, nothing broke
    """A request that is not carried out, as its answer tells it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def origin(url: str) -> str:
    """Scheme, host and port of a URL. Raises ValueError if it has none that can be gone to.

    >>> origin("http://127.0.0.1:9010/demo?payment=R1")
    'http://127.0.0.1:9010'
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.port == 0 or set(parts.netloc) & set("\"';,<>\\"):
        raise ValueError("a URL is not one that can be gone to")
    return f"{parts.scheme}://{parts.netloc}"


def sign(secret: str, body: bytes) -> str:
    """The signature of a webhook: hex HMAC-SHA256 over its raw body.

    >>> sign("whsec", b"{}")[:8]
    'ae6341ea'
    """
    return hmac.digest(secret.encode(), body, hashlib.sha256).hex()
