"""Stripe at the till: the ``localstripe`` package's server, as a process, over real HTTP."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import trio

from tabletap.domain.charge import Charge
from tabletap.domain.vocabulary import Method
from tabletap.gateways import stripe_wire
from tabletap.gateways.stripe import StripeGateway, StripeSettings

from .till import Lacks, Opener, Till
from .till_payconic import SILENT_TIMEOUT_S, nobody_listens, return_to
from .webhook_receiver import Receiver

KEY = "sk_test_of_nobody"
WEBHOOK_SECRET = "whsec_of_nobody"
PAGE = "https://order.example/pay"
PATIENCE_S = 30


class Running(NamedTuple):
    http: httpx.Client
    receiver: Receiver


def settings(url: str, *, timeout_s: float = 10.0, page: str = PAGE) -> StripeSettings:
    return StripeSettings(
        url=url, key=KEY, webhook_secret=WEBHOOK_SECRET, page=page, timeout_s=timeout_s, tolerance_s=300
    )


class StripeTill(Till):
    """Intents on a page of our own: localstripe has no Checkout (``test_stripe`` speaks to a stand-in of that)."""

    method = Method.STRIPE_CARD
    lacks = frozenset({Lacks.STAFF, Lacks.FINAL_DECLINE, Lacks.GUARD, Lacks.SEQUENCE})

    def __init__(self, running: Running) -> None:
        self.http = running.http
        self.url = str(running.http.base_url)
        self.inbox = running.receiver.inbox()
        self.gateway = self.made(settings(self.url))
        self._did("POST", "/_config/webhooks/till", json={"url": self.inbox.url, "secret": WEBHOOK_SECRET})

    def made(self, how: StripeSettings) -> StripeGateway:
        return StripeGateway(how, return_to, time.time)

    def _did(self, method: str, path: str, **more: Any) -> Any:
        answer = self.http.request(method, path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def _intents(self, charge: Charge) -> list[Any]:
        listed = self._did("GET", "/v1/payment_intents", params={"limit": 10_000})["data"]
        return [intent for intent in listed if intent["metadata"].get("payment_id") == str(charge.payment_id)]

    def _pay(self, charge: Charge, card: str) -> list[int]:
        """Each confirmation's status."""
        answered = []
        for intent in self._intents(charge):
            path = f"/v1/payment_intents/{intent['id']}"
            self.http.post(path, data={"payment_method": card})
            answered.append(self.http.post(f"{path}/confirm").status_code)
        return answered

    async def approve(self, charge: Charge) -> None:
        self._pay(charge, "pm_card_visa")

    async def decline(self, charge: Charge) -> None:
        assert self._pay(charge, "pm_card_chargeCustomerFail") == [402]

    async def taken(self, charge: Charge) -> list[int]:
        return [intent["amount"] for intent in self._intents(charge) if intent["status"] == "succeeded"]

    async def given_back(self, charge: Charge) -> list[int]:
        refunds = self._did("GET", "/v1/refunds", params={"limit": 10_000})["data"]
        ours = [refund for refund in refunds if refund["metadata"].get("payment_id") == str(charge.payment_id)]
        return [refund["amount"] for refund in ours if refund["status"] != "failed"]

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        self._did("POST", "/_config/silence")
        patient, self.gateway = self.gateway, self.made(settings(self.url, timeout_s=SILENT_TIMEOUT_S))
        try:
            yield
        finally:
            await self.gateway.aclose()
            self.gateway = patient
            self._did("DELETE", "/_config/silence")

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[StripeGateway]:
        with nobody_listens() as url:
            gateway = self.made(settings(url))
            yield gateway
            await gateway.aclose()

    async def webhooks(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        arrived = await trio.to_thread.run_sync(self.inbox.until, count)
        return [(delivery.headers, delivery.body) for delivery in arrived[:count]]

    def signed(self, body: bytes) -> dict[str, str]:
        return {"stripe-signature": header(body, int(time.time()))}


def header(body: bytes, at_s: int, secret: str = WEBHOOK_SECRET) -> str:
    """As Stripe would sign it."""
    return f"t={at_s},v1={stripe_wire.signature(secret, at_s, body)}"


class Stripe(Opener):
    """One server for all tests."""

    lacks = StripeTill.lacks

    @contextmanager
    def running(self) -> Iterator[Running]:
        command = [sys.executable, "-m", "tests.gateways.localstripe_server"]
        root = Path(__file__).parents[2]
        process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            ready = process.stdout.readline().decode().split()
            assert ready[:1] == ["ready"], "localstripe did not start: its standard error says why"
            headers = {"authorization": f"Bearer {KEY}"}
            with (
                httpx.Client(base_url=ready[1], headers=headers, timeout=PATIENCE_S, trust_env=False) as http,
                Receiver().serving() as receiver,
            ):
                yield Running(http, receiver)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    @asynccontextmanager
    async def till(self, running: Running) -> AsyncIterator[StripeTill]:
        till = StripeTill(running)
        yield till
        await till.gateway.aclose()
