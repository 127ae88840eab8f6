"""Payconic (spec P3): card, bank transfer and digital wallet, approved by the customer on Payconic's own page.

The wire format is Payconic's ``/v1``: JSON in camel case, amounts in cents, ``Authorization: Bearer``,
``X-Merchant-ID``, ``Idempotency-Key`` on every POST (our payment or refund id, which is its ``merchantReference`` too).
What may be done with a payment is in its ``_links``: cancel and refund go where those lead, and where there is none
they are not possible. Webhooks carry ``X-Payconic-Signature``, the hex HMAC-SHA256 of the raw body.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

import httpx
import msgspec

from tabletap.actors.audit_ports import StatedPage
from tabletap.actors.ports import ForgedWebhook, GatewaySilent, Heard, Presentation
from tabletap.domain.base import utc
from tabletap.domain.cafe import Cafe
from tabletap.domain.charge import Charge, RefundOrder, RefundStanding, Standing
from tabletap.domain.payment import PaymentView
from tabletap.domain.vocabulary import ChargeState, RefundState

from . import payconic_wire as wire
from .client import ClientLimits, ProviderClient, Refused, T


class PayconicSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``url``: without ``/v1``; empty: Payconic is not set up here. ``timeout_s``: of a call with its repetitions."""

    url: str
    key: str
    merchant_id: str
    webhook_secret: str
    timeout_s: float

    def __post_init__(self) -> None:
        if self.url and not (self.key and self.merchant_id and self.webhook_secret):
            raise ValueError("key, merchant_id and webhook_secret must all be there where url is")


class PayconicGateway:
    """``public_url``: where Payconic reaches this server; ``return_to``: the page a customer comes back to."""

    provider = "payconic"
    manual = False

    def __init__(
        self,
        settings: PayconicSettings,
        public_url: Callable[[], str],
        return_to: Callable[[Charge], str],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._webhook_secret = settings.webhook_secret.encode()
        self._public_url = public_url
        self._return_to = return_to
        self._client = ProviderClient(
            self.provider,
            settings.url,
            {"authorization": f"Bearer {settings.key}", "x-merchant-id": settings.merchant_id},
            wire.explain,
            ClientLimits(timeout_s=settings.timeout_s),
            transport,
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def initiate(self, charge: Charge) -> Standing:
        """Make the payment; the customer approves it at ``redirect_url``."""
        body = {
            "merchantReference": str(charge.payment_id),
            "amount": charge.amount,
            "currency": charge.currency,
            "method": wire.METHODS[charge.method],
            "description": f"Order {charge.order_number}",
            "reference": charge.reference,
            "expiresAt": utc(charge.expires_at),
            "callbackUrl": f"{self._public_url()}/api/webhooks/{self.provider}",
            "returnUrl": self._return_to(charge),
        }
        try:
            made = await self._post("/v1/payments", wire.Payment, body, key=charge.payment_id)
        except Refused as refused:
            if refused.code == wire.MISMATCH:
                return await self.verify(charge)  # it is there; it was asked for when our own address was another
            return Standing(state=ChargeState.FAILED, reason=refused.reason)
        return wire.standing(_ours(made, charge))

    async def verify(self, charge: Charge) -> Standing:
        found = await self._find(charge)
        return Standing(state=ChargeState.ABSENT) if found is None else wire.standing(found)

    async def cancel(self, charge: Charge) -> Standing:
        found = await self._find(charge)
        if found is None:
            return Standing(state=ChargeState.ABSENT)
        if found.links.cancel is None:
            return wire.standing(found)
        try:
            return wire.standing(_ours(await self._client.delete(found.links.cancel.href, wire.Payment), charge))
        except Refused:  # PAYMENT_NOT_PENDING: the customer was faster
            return await self.verify(charge)

    async def refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        found = await self._find(charge)
        if found is None:
            return RefundStanding(state=RefundState.FAILED, reason="the payment was never made")
        if found.links.refund is None:
            made = await self._find_refund(found.id, refund)
            if made is None:
                return RefundStanding(state=RefundState.FAILED, reason="the payment cannot be refunded")
            return wire.refund_standing(made)
        body = {
            "merchantReference": str(refund.refund_id),
            "amount": refund.amount,
            "reason": None if refund.reason is None else refund.reason[: wire.TEXT_CHARS],
        }
        try:
            return wire.refund_standing(
                await self._post(found.links.refund.href, wire.Refund, body, key=refund.refund_id)
            )
        except Refused as refused:
            if refused.code == wire.MISMATCH:
                return await self.verify_refund(charge, refund)
            return RefundStanding(state=RefundState.FAILED, reason=refused.reason)

    async def verify_refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        external_id = charge.external_id
        if external_id is None:
            found = await self._find(charge)
            external_id = found.id if found else None
        made = await self._find_refund(external_id, refund) if external_id else None
        return RefundStanding(state=RefundState.ABSENT) if made is None else wire.refund_standing(made)

    async def changed_since(self, since: datetime, after: str | None, limit: int) -> StatedPage:
        """For reconciliation: Payconic's own list of what has changed."""
        params = {"updatedSince": utc(since).isoformat(), "limit": str(limit)} | ({"after": after} if after else {})
        try:
            page = await self._client.get("/v1/payments", wire.Payments, params)
        except Refused as refused:
            raise GatewaySilent(f"payconic did not tell what has changed ({refused})") from refused
        return StatedPage([wire.stated(payment) for payment in page.payments], page.next)

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> Heard:
        right = hmac.new(self._webhook_secret, body, hashlib.sha256).hexdigest()
        given = headers.get(wire.SIGNATURE_HEADER, "")
        if not hmac.compare_digest(right.encode(), given.encode(errors="replace")):
            raise ForgedWebhook("the signature is not Payconic's")
        return wire.heard(body)

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:  # noqa: ARG002  the same at every cafe
        """Payconic's page, once it has said where that is."""
        return Presentation(redirect_url=payment.redirect_url)

    async def _find(self, charge: Charge) -> wire.Payment | None:
        """By its own id, where we know that, else by ours."""
        if charge.external_id is not None:
            try:
                found = await self._client.get(f"/v1/payments/{quote(charge.external_id, safe='')}", wire.Payment)
            except Refused as refused:
                _must_be_absent(refused)
                return None
            return _ours(found, charge)
        params = {"merchantReference": str(charge.payment_id)}
        try:
            listed = await self._client.get("/v1/payments", wire.Payments, params)
        except Refused as refused:
            _must_be_absent(refused)
            return None
        return _ours(listed.payments[0], charge) if listed.payments else None

    async def _find_refund(self, external_id: str, refund: RefundOrder) -> wire.Refund | None:
        url = f"/v1/payments/{quote(external_id, safe='')}/refunds"
        try:
            listed = await self._client.get(url, wire.Refunds, {"merchantReference": str(refund.refund_id)})
        except Refused as refused:
            _must_be_absent(refused)
            return None
        return next((made for made in listed.refunds if made.merchant_reference == str(refund.refund_id)), None)

    async def _post(self, url: str, answer: type[T], body: Mapping[str, object], key: UUID) -> T:
        return await self._client.post(url, answer, msgspec.json.encode(body), "application/json", str(key))


def _must_be_absent(refused: Refused) -> None:
    """Only its own word for it makes a payment absent: a 404 of whoever stands before it does not."""
    if refused.code != wire.NOT_FOUND:
        raise GatewaySilent(f"payconic did not answer the question ({refused})") from refused


def _ours(payment: wire.Payment, charge: Charge) -> wire.Payment:
    if payment.merchant_reference != str(charge.payment_id):
        raise GatewaySilent("payconic answered with another payment")
    return payment
