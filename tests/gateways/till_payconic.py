"""Payconic at the till: the sandbox, as a process, over real HTTP."""

import hashlib
import hmac
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import trio

from tabletap.domain.charge import Charge
from tabletap.domain.vocabulary import Method
from tabletap.gateways.payconic import PayconicGateway, PayconicSettings

from .sandbox_process import KEY, MERCHANT, WEBHOOK_SECRET, Sandbox, running_sandbox
from .till import Opener, Till
from .webhook_receiver import Inbox, Receiver

SILENT_TIMEOUT_S = 0.5
"""How long an answer that will not come is waited for."""


class Running(NamedTuple):
    sandbox: Sandbox
    receiver: Receiver


def settings(url: str, timeout_s: float = 10.0) -> PayconicSettings:
    return PayconicSettings(url=url, key=KEY, merchant_id=MERCHANT, webhook_secret=WEBHOOK_SECRET, timeout_s=timeout_s)


@contextmanager
def nobody_listens() -> Iterator[str]:
    """The URL of a port at which nobody listens, nor will until the end of the block."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def public_url(inbox: Inbox, receiver: Receiver, provider: str) -> Callable[[], str]:
    """Where this server would be reached, if it were one: its webhooks arrive in ``inbox``."""
    receiver._inboxes[f"{urlsplit(inbox.url).path}/api/webhooks/{provider}"] = inbox
    return lambda: inbox.url


def return_to(charge: Charge) -> str:
    return f"https://order.example/corner?payment={charge.reference}"


class PayconicTill(Till):
    def __init__(self, method: Method, running: Running) -> None:
        self.method = method
        self.sandbox = running.sandbox
        self.inbox = running.receiver.inbox()
        self.public_url = public_url(self.inbox, running.receiver, "payconic")
        self.gateway = self.made(settings(self.sandbox.url))

    def made(self, how: PayconicSettings) -> PayconicGateway:
        return PayconicGateway(how, self.public_url, return_to)

    def _stated(self, charge: Charge):
        payments = self.sandbox.statement()["payments"]
        return [payment for payment in payments if payment["merchantReference"] == str(charge.payment_id)]

    async def approve(self, charge: Charge) -> None:
        for payment in self._stated(charge):
            self.sandbox.http.post(f"/control/payments/{payment['id']}/approve")

    async def decline(self, charge: Charge) -> None:
        for payment in self._stated(charge):
            self.sandbox.act(payment["id"], "decline")

    async def taken(self, charge: Charge) -> list[int]:
        return [payment["captured"] for payment in self._stated(charge) if payment["captured"]]

    async def given_back(self, charge: Charge) -> list[int]:
        refunds = [refund for payment in self._stated(charge) for refund in payment["refunds"]]
        return [refund["amount"] for refund in refunds if refund["status"] != "FAILED"]

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        self.sandbox.misbehave(timeoutAfterCharging=1.0, seed=1)
        patient, self.gateway = self.gateway, self.made(settings(self.sandbox.url, SILENT_TIMEOUT_S))
        try:
            yield
        finally:
            await self.gateway.aclose()
            self.gateway = patient
            self.sandbox.misbehave()

    @asynccontextmanager
    async def unreachable(self) -> AsyncIterator[PayconicGateway]:
        with nobody_listens() as url:
            gateway = self.made(settings(url))
            yield gateway
            await gateway.aclose()

    async def webhooks(self, count: int) -> list[tuple[dict[str, str], bytes]]:
        arrived = await trio.to_thread.run_sync(self.inbox.until, count)
        return [(delivery.headers, delivery.body) for delivery in arrived[:count]]

    def signed(self, body: bytes) -> dict[str, str]:
        return {"x-payconic-signature": hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()}


class Payconic(Opener):
    """One sandbox for all tests of one method."""

    lacks = PayconicTill.lacks

    def __init__(self, method: Method) -> None:
        self._method = method

    @contextmanager
    def running(self) -> Iterator[Running]:
        with running_sandbox() as sandbox, Receiver().serving() as receiver:
            yield Running(sandbox, receiver)

    @asynccontextmanager
    async def till(self, running: Running) -> AsyncIterator[PayconicTill]:
        till = PayconicTill(self._method, running)
        yield till
        await till.gateway.aclose()
