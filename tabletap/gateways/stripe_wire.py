"""What Stripe says, as far as it matters here: its objects, its signature, its events. No I/O.

Objects may be expanded or named by their id only; a field that is not listed is not read.
"""

import hashlib
import hmac
from enum import StrEnum
from types import MappingProxyType
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

from tabletap.actors.ports import ForgedWebhook, Heard, MalformedWebhook
from tabletap.domain.base import PaymentId
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.vocabulary import ChargeState, RefundState

from .client import UNREADABLE

VERSION = "2024-06-20"
"""The shapes below are those of this version; a newer account sends them too when asked so."""

SIGNATURE_HEADER = "stripe-signature"
SIGNATURES_AT_MOST = 16
SESSION = "cs_"
CHARGES = ("ch_", "py_")
"""How ids begin: of visits to Stripe's page, of charges by card and by other ways."""

METADATA_CHARS = 500
OTHER_WORDS = "idempotency_error"
"""The key is known, but was used with another body."""

T = TypeVar("T")


# -- objects


class Metadata(msgspec.Struct, frozen=True):
    """Our labels on their objects. Others put theirs on their own: nothing in here is sure to be there."""

    payment_id: str = ""
    refund_id: str = ""


class Labelled(msgspec.Struct, frozen=True, kw_only=True):
    """An object that may carry our labels."""

    metadata: Metadata | None = None

    @property
    def payment_id(self) -> PaymentId | None:
        """Whose it is; None: not ours."""
        found = _uuid(self.metadata.payment_id) if self.metadata else None
        return None if found is None else PaymentId(found)

    @property
    def refund_id(self) -> UUID | None:
        return _uuid(self.metadata.refund_id) if self.metadata else None


class BalanceTransaction(msgspec.Struct, frozen=True):
    fee: int = 0


class ChargeObject(msgspec.Struct, frozen=True):
    balance_transaction: str | BalanceTransaction | None = None


class PaymentError(msgspec.Struct, frozen=True):
    message: str | None = None


class IntentStatus(StrEnum):
    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    PROCESSING = "processing"
    REQUIRES_CAPTURE = "requires_capture"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


INTENT_STATES: MappingProxyType[IntentStatus, ChargeState] = MappingProxyType(
    {
        # A declined card is no end: the customer is still on the page and may take another.
        IntentStatus.REQUIRES_PAYMENT_METHOD: ChargeState.OPEN,
        IntentStatus.REQUIRES_CONFIRMATION: ChargeState.OPEN,
        IntentStatus.REQUIRES_ACTION: ChargeState.OPEN,
        IntentStatus.PROCESSING: ChargeState.PROCESSING,
        IntentStatus.REQUIRES_CAPTURE: ChargeState.PROCESSING,
        IntentStatus.SUCCEEDED: ChargeState.SUCCEEDED,
        IntentStatus.CANCELED: ChargeState.CANCELLED,
    }
)


class Intent(Labelled, frozen=True, kw_only=True):
    """``amount_received`` is None where a stand-in leaves it out: what has succeeded has then taken all of it."""

    id: str
    amount: int
    status: IntentStatus
    amount_received: int | None = None
    client_secret: str | None = None
    latest_charge: str | ChargeObject | None = None
    last_payment_error: PaymentError | None = None

    @property
    def taken(self) -> int:
        """What it has really taken (cents)."""
        if self.status is not IntentStatus.SUCCEEDED:
            return 0
        return self.amount if self.amount_received is None else self.amount_received

    @property
    def fee(self) -> int:
        """What Stripe keeps of it; 0 where it was not told."""
        charge = self.latest_charge
        transaction = charge.balance_transaction if isinstance(charge, ChargeObject) else None
        return transaction.fee if isinstance(transaction, BalanceTransaction) else 0

    def standing(self) -> Standing:
        error = self.last_payment_error
        return Standing(
            state=INTENT_STATES[self.status],
            external_id=self.id,
            amount=self.taken,
            fee=self.fee,
            reason=error.message if error else None,
        )


class SessionStatus(StrEnum):
    OPEN = "open"
    COMPLETE = "complete"
    EXPIRED = "expired"


SESSION_STATES: MappingProxyType[SessionStatus, ChargeState] = MappingProxyType(
    {
        SessionStatus.OPEN: ChargeState.OPEN,
        SessionStatus.COMPLETE: ChargeState.PROCESSING,  # until its intent says more
        SessionStatus.EXPIRED: ChargeState.EXPIRED,
    }
)


class Session(Labelled, frozen=True, kw_only=True):
    """A visit to Stripe's own page. ``payment_intent``: the money, once there is any."""

    id: str
    status: SessionStatus
    url: str | None = None
    payment_intent: str | Intent | None = None

    @property
    def intent(self) -> Intent | None:
        return self.payment_intent if isinstance(self.payment_intent, Intent) else None

    def standing(self) -> Standing:
        """As its intent says, once that has (or may have) the money: from then on it goes by the intent's id."""
        state, intent = SESSION_STATES[self.status], self.intent
        if intent is not None and (state is ChargeState.PROCESSING or intent.taken):
            return intent.standing()
        url = self.url if state is ChargeState.OPEN else None
        return Standing(state=state, external_id=self.id, redirect_url=url)


REFUND_STATES: MappingProxyType[str, RefundState] = MappingProxyType(
    {
        "pending": RefundState.PENDING,
        "requires_action": RefundState.PENDING,
        "succeeded": RefundState.SUCCEEDED,
        "failed": RefundState.FAILED,
        "canceled": RefundState.FAILED,
    }
)


class Refund(Labelled, frozen=True, kw_only=True):
    id: str
    amount: int
    status: str | None = None
    failure_reason: str | None = None

    @property
    def state(self) -> RefundState:
        return REFUND_STATES.get(self.status or "", RefundState.PENDING)

    def standing(self) -> RefundStanding:
        return RefundStanding(state=self.state, external_id=self.id, reason=self.failure_reason)


class DisputeObject(Labelled, frozen=True, kw_only=True):
    """It is about a charge and, where that came of one, an intent; labels of theirs are not on it."""

    id: str
    amount: int
    status: str
    reason: str | None = None
    charge: str | None = None
    payment_intent: str | None = None
    balance_transactions: tuple[BalanceTransaction, ...] = ()

    def dispute(self) -> Dispute | None:
        """None while it is only an inquiry, which moves no money, or where it never became more."""
        if self.status.startswith("warning_") or (self.status == "prevented" and not self.balance_transactions):
            return None
        fee = sum(max(0, transaction.fee) for transaction in self.balance_transactions)
        return Dispute(dispute_id=self.id, amount=self.amount, fee=fee, won=self.status == "won", reason=self.reason)


class Listed(Labelled, frozen=True, kw_only=True):
    """As much of an intent or a session as it takes to find it."""

    id: str
    created: int


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some of a list, newest first."""

    data: tuple[T, ...]
    has_more: bool = False


# -- refusals


class _Error(msgspec.Struct, frozen=True):
    type: str = ""
    code: str | None = None
    message: str | None = None


class _Errors(msgspec.Struct, frozen=True):
    error: _Error


def explain(body: bytes) -> tuple[str, str]:
    """The code (or else the type) and the message of a refusal."""
    error = msgspec.json.decode(body, type=_Errors).error
    return error.code or error.type, error.message or "Stripe refused"


# -- webhooks


def signature(secret: str, at_s: int, body: bytes) -> str:
    """The ``v1`` of a webhook: hex HMAC-SHA256 of ``{t}.{raw body}``, the secret literally, ``whsec_`` and all."""
    return hmac.new(secret.encode(), b"%d.%s" % (at_s, body), hashlib.sha256).hexdigest()


def check_signature(header: str, body: bytes, secret: str, now_s: float, tolerance_s: int) -> None:
    """``header``: ``t=SECONDS,v1=HEX[,v1=HEX...]`` (one for each secret while it is being changed): any may be right.

    Raises ForgedWebhook: also for what is older than ``tolerance_s``, or as much from the future.
    """
    pairs = [part.strip().partition("=")[::2] for part in header.split(",")]
    times = [value for name, value in pairs if name == "t"]
    given = [value for name, value in pairs if name == "v1"][:SIGNATURES_AT_MOST]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= 12) or not given:
        raise ForgedWebhook("there is no signature")
    right = signature(secret, int(times[0]), body).encode()
    if not any(hmac.compare_digest(right, value.encode(errors="replace")) for value in given):
        raise ForgedWebhook("the signature is not Stripe's")
    if abs(now_s - int(times[0])) > tolerance_s:
        raise ForgedWebhook(f"it was signed more than {tolerance_s} s from now")


class _Data(msgspec.Struct, frozen=True):
    object: msgspec.Raw


class _Event(msgspec.Struct, frozen=True):
    id: str
    type: str
    data: _Data


OF_PAYMENTS = ("payment_intent.", "checkout.session.", "charge.", "refund.")
"""The events that may be about a payment of ours begin like this."""


def heard(body: bytes) -> Heard:
    """An event, understood; of one that has nothing to say here, no more than its name. Raises MalformedWebhook."""
    try:
        event = msgspec.json.decode(body, type=_Event)
        return _heard(event)
    except UNREADABLE as error:
        raise MalformedWebhook(str(error)) from error


def _heard(event: _Event) -> Heard:
    kind, content = event.type, event.data.object
    payment_id, charge_id, standing, refund, dispute = None, None, None, None, None
    if kind.startswith(OF_PAYMENTS):
        payment_id = msgspec.json.decode(content, type=Labelled).payment_id
    if kind.startswith("payment_intent."):
        standing = msgspec.json.decode(content, type=Intent).standing()
    elif kind.startswith("checkout.session."):
        standing = msgspec.json.decode(content, type=Session).standing()
    elif kind.startswith("refund.") or kind == "charge.refund.updated":
        made = msgspec.json.decode(content, type=Refund)
        refund = (made.refund_id, made.standing()) if made.refund_id else None
    elif kind.startswith("charge.dispute."):
        disputed = msgspec.json.decode(content, type=DisputeObject)
        dispute = disputed.dispute()
        if dispute is not None:  # else nobody need be asked whose it is
            charge_id = disputed.payment_intent or disputed.charge
    return Heard(
        event_id=event.id,
        type=kind,
        payment_id=payment_id,
        charge_id=charge_id,
        standing=standing,
        refund=refund,
        dispute=dispute,
    )


def _uuid(label: str) -> UUID | None:
    try:
        return UUID(label)
    except ValueError:
        return None
