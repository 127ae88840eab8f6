"""Stripe: cards by PaymentIntents, refunds, and webhooks signed ``Stripe-Signature: t=...,v1=...``.

Where the customer pays is the setting ``page``:

- empty: on Stripe's own page. A Checkout Session is made, and its intent comes into being when the customer pays.
- an address: on a page of the installation's own that confirms a PaymentIntent with Stripe.js. It is handed the
  intent's client secret behind the ``#``, where no server sees it.

Either way the money is one PaymentIntent whose ``metadata[payment_id]`` is ours, made under our payment id as its
``Idempotency-Key``: asked for twice, it is made once. Without an id of Stripe's it is looked for among the newest,
since Stripe's search lags by a minute. Bodies are form-encoded, amounts are cents, an expanded intent carries the fee.

Stripe does not number its events, so what they say of a charge is only a reason to ask.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

import httpx
import msgspec

from tabletap.actors.ports import GatewaySilent, Heard, Presentation
from tabletap.domain.base import PaymentId
from tabletap.domain.cafe import Cafe
from tabletap.domain.charge import Charge, RefundOrder, RefundStanding, Standing
from tabletap.domain.payment import PaymentView
from tabletap.domain.vocabulary import ChargeState, RefundState

from . import stripe_wire as wire
from .client import ClientLimits, ProviderClient, Refused, T

PAGE = 100
PAGES_AT_MOST = 20
"""How far back something is looked for: 2,000 intents."""

CLOCKS_APART = timedelta(minutes=5)
"""How much later than Stripe's our clock may be."""

FEE = "latest_charge.balance_transaction"
"""What must be expanded for an intent to carry its fee."""


class StripeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``key`` empty: Stripe is not set up here. ``page``: see above. ``tolerance_s``: how old a webhook may be."""

    url: str
    key: str
    webhook_secret: str
    page: str
    timeout_s: float
    tolerance_s: int

    def __post_init__(self) -> None:
        if self.key and not self.webhook_secret:
            raise ValueError("webhook_secret is missing: without it anybody could speak for Stripe")


class StripeGateway:
    """``return_to``: the page a customer comes back to; ``now``: seconds since 1970, for the age of webhooks."""

    provider = "stripe"
    manual = False

    def __init__(
        self,
        settings: StripeSettings,
        return_to: Callable[[Charge], str],
        now: Callable[[], float],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._return_to = return_to
        self._now = now
        self._client = ProviderClient(
            self.provider,
            settings.url,
            {"authorization": f"Bearer {settings.key}", "stripe-version": wire.VERSION},
            wire.explain,
            ClientLimits(timeout_s=settings.timeout_s),
            transport,
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    # -- charges

    async def initiate(self, charge: Charge) -> Standing:
        try:
            if self._settings.page:
                return self._of_intent(await self._make_intent(charge), charge)
            return (await self._make_session(charge)).standing()
        except Refused as refused:
            if refused.code == wire.OTHER_WORDS:
                return await self.verify(charge)  # it is there; it was asked for when our own address was another
            return Standing(state=ChargeState.FAILED, reason=refused.reason)

    async def verify(self, charge: Charge) -> Standing:
        found = await self._find(charge)
        if found is None:
            return Standing(state=ChargeState.ABSENT)
        return self._standing(found, charge)

    async def cancel(self, charge: Charge) -> Standing:
        found = await self._find(charge)
        if found is None:
            return Standing(state=ChargeState.ABSENT)
        standing = self._standing(found, charge)
        if standing.state is not ChargeState.OPEN:
            return standing
        what = "expire" if isinstance(found, wire.Session) else "cancel"
        with contextlib.suppress(Refused):  # the customer was faster, or is being served just now
            # Without a key: to give up twice is to give up once, and a kept refusal would outlive its reason.
            await self._post(f"{_path(found.id)}/{what}", msgspec.Raw, {}, key=None)
        return await self.verify(msgspec.structs.replace(charge, external_id=found.id))

    # -- refunds

    async def refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        """Looked for before it is asked for: it may be asked for again long after Stripe has forgotten its key."""
        intent = await self._find_intent(charge)
        if intent is None or not intent.taken:
            return RefundStanding(state=RefundState.FAILED, reason="there is no money to give back")
        refunds = await self._refunds_of(intent)
        for made in refunds:
            if made.refund_id == refund.refund_id:
                return made.standing()
        given_back = sum(made.amount for made in refunds if made.state is not RefundState.FAILED)
        if given_back + refund.amount > intent.taken:
            return RefundStanding(state=RefundState.FAILED, reason="more than is left of the payment")
        body: dict[str, str | int] = {
            "payment_intent": intent.id,
            "amount": refund.amount,
            "metadata[refund_id]": str(refund.refund_id),
            "metadata[payment_id]": str(charge.payment_id),
        }
        if refund.reason is not None:
            body["metadata[reason]"] = refund.reason[: wire.METADATA_CHARS]
        try:
            return (await self._post("/v1/refunds", wire.Refund, body, key=refund.refund_id)).standing()
        except Refused as refused:
            return RefundStanding(state=RefundState.FAILED, reason=refused.reason)

    async def verify_refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        intent = await self._find_intent(charge)
        if intent is not None and intent.taken:
            for made in await self._refunds_of(intent):
                if made.refund_id == refund.refund_id:
                    return made.standing()
        return RefundStanding(state=RefundState.ABSENT)

    # -- webhooks

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> Heard:
        wire.check_signature(
            headers.get(wire.SIGNATURE_HEADER, ""),
            body,
            self._settings.webhook_secret,
            self._now(),
            self._settings.tolerance_s,
        )
        return wire.heard(body)

    async def payment_of(self, external_id: str) -> PaymentId | None:
        """Whose an intent or a charge is: a dispute names nothing else. None: not ours."""
        found = await self._get(external_id, wire.Labelled)
        return found.payment_id if found else None

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:  # noqa: ARG002  the same at every cafe
        """The page to pay on, once Stripe has said where that is."""
        return Presentation(redirect_url=payment.redirect_url)

    # -- what Stripe knows

    async def _make_intent(self, charge: Charge) -> wire.Intent:
        body = {
            "amount": charge.amount,
            "currency": charge.currency.lower(),
            "payment_method_types[]": "card",
            **_labels("metadata", charge),
        }
        return await self._post("/v1/payment_intents", wire.Intent, body, key=charge.payment_id)

    async def _make_session(self, charge: Charge) -> wire.Session:
        """Without ``expires_at``, which Stripe wants half an hour away at least: who begins it also ends it."""
        back = self._return_to(charge)
        body = {
            "mode": "payment",
            "payment_method_types[]": "card",
            "client_reference_id": str(charge.payment_id),
            "line_items[0][quantity]": 1,
            "line_items[0][price_data][currency]": charge.currency.lower(),
            "line_items[0][price_data][unit_amount]": charge.amount,
            "line_items[0][price_data][product_data][name]": f"Order {charge.order_number}",
            "success_url": back,
            "cancel_url": back,
            **_labels("metadata", charge),
            **_labels("payment_intent_data[metadata]", charge),
        }
        return await self._post("/v1/checkout/sessions", wire.Session, body, key=charge.payment_id)

    async def _find(self, charge: Charge) -> wire.Intent | wire.Session | None:
        found: wire.Intent | wire.Session | None
        external_id = charge.external_id
        if external_id is None:
            external_id = await self._look_for(charge)
        if external_id is None:
            return None
        if external_id.startswith(wire.SESSION):
            found = await self._get(external_id, wire.Session, f"payment_intent.{FEE}")
        else:
            found = await self._get(external_id, wire.Intent, FEE)
        if found is not None and found.payment_id != charge.payment_id:
            raise GatewaySilent("stripe answered with another payment")
        return found

    async def _find_intent(self, charge: Charge) -> wire.Intent | None:
        found = await self._find(charge)
        return found.intent if isinstance(found, wire.Session) else found

    async def _look_for(self, charge: Charge) -> str | None:
        """Its id among the newest, back to when the payment's own id was made (as a UUIDv7, it begins with its time).

        Raises GatewaySilent where there is more than we look through.
        """
        since_s = (charge.payment_id.int >> 80) // 1000 - int(CLOCKS_APART.total_seconds())
        url = "/v1/payment_intents" if self._settings.page else "/v1/checkout/sessions"
        params: dict[str, str | int] = {"limit": PAGE}
        for _ in range(PAGES_AT_MOST):
            page = await self._page(url, wire.Page[wire.Listed], params)
            for made in page.data:
                if made.payment_id == charge.payment_id:
                    return made.id
            if not page.has_more or not page.data or page.data[-1].created < since_s:
                return None
            params["starting_after"] = page.data[-1].id
        raise GatewaySilent("stripe has made more since than can be looked through")

    async def _refunds_of(self, intent: wire.Intent) -> tuple[wire.Refund, ...]:
        page = await self._page("/v1/refunds", wire.Page[wire.Refund], {"limit": PAGE, "payment_intent": intent.id})
        if page.has_more:
            raise GatewaySilent("the payment has more refunds than can be looked through")
        return page.data

    async def _page(self, url: str, answer: type[T], params: Mapping[str, str | int]) -> T:
        try:
            return await self._client.get(url, answer, params)
        except Refused as refused:
            raise GatewaySilent(f"stripe did not answer the question ({refused})") from refused

    async def _get(self, external_id: str, answer: type[T], expand: str | None = None) -> T | None:
        try:
            return await self._client.get(_path(external_id), answer, {"expand[]": expand} if expand else None)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise GatewaySilent(f"stripe did not answer the question ({refused})") from refused

    async def _post(self, url: str, answer: type[T], body: Mapping[str, str | int], key: UUID | None) -> T:
        content = urlencode(body).encode()
        return await self._client.post(
            url, answer, content, "application/x-www-form-urlencoded", None if key is None else str(key)
        )

    # -- in our words

    def _standing(self, found: wire.Intent | wire.Session, charge: Charge) -> Standing:
        return found.standing() if isinstance(found, wire.Session) else self._of_intent(found, charge)

    def _of_intent(self, intent: wire.Intent, charge: Charge) -> Standing:
        standing = intent.standing()
        if standing.state is not ChargeState.OPEN or not self._settings.page or intent.client_secret is None:
            return standing
        page = f"{self._settings.page}?payment={quote(charge.reference)}#{intent.client_secret}"
        return msgspec.structs.replace(standing, redirect_url=page)


_KINDS = ((wire.SESSION, "checkout/sessions"), *((prefix, "charges") for prefix in wire.CHARGES))


def _path(external_id: str) -> str:
    kind = next((kind for prefix, kind in _KINDS if external_id.startswith(prefix)), "payment_intents")
    return f"/v1/{kind}/{quote(external_id, safe='')}"


def _labels(name: str, charge: Charge) -> dict[str, str | int]:
    return {f"{name}[payment_id]": str(charge.payment_id), f"{name}[reference]": charge.reference}
