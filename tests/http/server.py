"""One running server as its clients know it: two cafes, everybody's tokens, REST by httpx, sockets by trio-websocket.

Both cafes want to be paid before the kitchen sees an order: their orders stay where they are put, no kitchen's queue
moves, and a log in which nothing was done does not grow. Tests that want more open a cafe of their own.
"""

import contextlib
import hashlib
import hmac
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, connect_websocket_url
from wsproto.utilities import LocalProtocolError

from tabletap.domain.base import CafeId, Role
from tabletap.http.auth import Authenticator, AuthSettings
from tabletap.http.operations import OPERATIONS
from tests.store.conftest import temporary_folder

ROLES = ("customer", "staff", "kitchen", "counter", "manager", "owner", "admin")
PATIENCE_S = 30
"""No test waits longer for anything; none asserts how long it took."""

MENU: Mapping[str, Any] = {
    "currency": "AUD",
    "stations": ["bar", "kitchen"],
    "taxClasses": {"gst": 1000, "free": 0},
    "categories": [{"id": "all", "name": "All"}],
    "groups": [
        {
            "id": "milk",
            "name": "Milk",
            "options": [{"id": "oat", "name": "Oat", "price": 80, "groups": ["brand"]}, {"id": "soy", "name": "Soy"}],
        },
        {"id": "brand", "name": "Brand", "options": [{"id": "house", "name": "House", "price": 20}]},
    ],
    "items": [
        {
            "sku": "flat-white",
            "name": "Flat white",
            "category": "all",
            "price": 450,
            "station": "bar",
            "taxClass": "gst",
            "groups": ["milk"],
            "sizes": [{"id": "cup", "name": "Cup", "price": 450}, {"id": "mug", "name": "Mug", "price": 520}],
            "prepSeconds": 60,
        },
        {
            "sku": "toast",
            "name": "Toast",
            "category": "all",
            "price": 723,
            "station": "kitchen",
            "taxClass": "gst",
            "prepSeconds": 240,
        },
        {"sku": "beans", "name": "Beans", "category": "all", "price": 1600, "station": "bar", "taxClass": "free"},
    ],
}
BANK = {"accountName": "Test Cafe Pty Ltd", "bsb": "062-000", "accountNumber": "12345678"}
SETTINGS: Mapping[str, Any] = {"name": "Test Cafe", "tables": ["1", "2", "Terrace 3"], "bank": BANK}
PREPAY = ("online", "table", "counter")

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cafe:
    """A cafe, and the token of one person of each role who works (or is a customer) there and nowhere else."""

    id: str
    slug: str
    settings: Mapping[str, Any]
    tokens: Mapping[str, str]


class Server:
    """``a`` and ``b`` are cafes that know nothing of each other."""

    def __init__(self, url: str, state: Path, http: httpx.Client, knocking: httpx.Client) -> None:
        self.url = url
        self._knocking = knocking
        self.state = state
        self.http = http
        self.auth = Authenticator(
            AuthSettings(secret=(state / "secret").read_bytes(), token_lifetime_s=3600, leeway_s=0)
        )
        self.admin = self.token("admin")
        self.a = self.open_cafe(prepay=PREPAY)
        self.b = self.open_cafe(prepay=PREPAY)

    # -- who

    def token(self, role: str, *cafes: str, user: str | None = None, lifetime_s: int | None = None) -> str:
        """A person's token; for no cafe in particular: for all of them."""
        ids = frozenset(CafeId(uuid.UUID(cafe)) for cafe in cafes) or None
        return self.auth.issue(
            user=user or f"{role}-{next(_numbers)}",
            role=Role(role),
            cafes=ids,
            token_id=uuid.uuid4(),
            lifetime_s=lifetime_s,
        )

    def open_cafe(self, **settings: Any) -> Cafe:
        """A cafe of the test's own."""
        slug = f"cafe-{next(_numbers)}"
        whole = {**SETTINGS, **settings}
        opened = self.call("POST", "/api/cafes", self.admin, {"slug": slug, "settings": whole, "menu": MENU})
        assert opened.status_code == 201, opened.text
        cafe_id = opened.json()["cafeId"]
        tokens = {role: self.token(role, cafe_id) for role in ROLES}
        return Cafe(cafe_id, slug, opened.json()["settings"], tokens)

    # -- tills

    def key(self, cafe: Cafe, *scopes: str, name: str | None = None) -> Any:
        """A till's key as it is shown once; for no scope in particular: for all of them."""
        body = {"name": name or f"Till {next(_numbers)}", **({"scopes": scopes} if scopes else {})}
        made = self.call("POST", f"/api/{cafe.slug}/pos-keys", cafe.tokens["owner"], body)
        assert made.status_code == 201, made.text
        return made.json()

    def ask(self, cafe: Cafe, key: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """What a till asks of ``/api/SLUG/`` with its key."""
        method = "GET" if body is None else "POST"
        return self.call(method, f"/api/{cafe.slug}/{path}", None, body, headers=of_till(cafe, key), params=query)

    def till(self, cafe: Cafe, key: str, **query: Any) -> AbstractAsyncContextManager["Socket"]:
        """A till that was welcomed at its door."""
        return self.socket("pos", cafe, None, headers={"X-API-Key": key}, **query)

    # -- REST

    def call(
        self, method: str, path: str, token: str | None = None, body: Any = None, *, key: str | None = None, **more: Any
    ) -> httpx.Response:
        """One request. ``key`` is the Idempotency-Key."""
        headers = dict(more.pop("headers", {}))
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        if key is not None:
            headers["idempotency-key"] = key
        if body is not None:
            more["json"] = body
        return self.http.request(method, path, headers=headers, **more)

    def perform(
        self,
        name: str,
        fields: Mapping[str, Any],
        token: str | None = None,
        *,
        key: str | None = None,
    ) -> httpx.Response:
        """An operation by its name: what the path or the query does not take of ``fields`` is the body."""
        operation = OPERATIONS[name]
        rest = {field: value for field, value in fields.items() if field not in operation.params}
        path = operation.path.format(**fields)
        if operation.method == "GET":
            return self.call("GET", path, token, params=rest)
        return self.call(operation.method, path, token, rest, key=key)

    def place(self, cafe: Cafe, token: str | None = None, **more: Any) -> Any:
        """An order as its customer gets it."""
        body = {"channel": "online", "items": [{"sku": "toast", "quantity": 2}], **more}
        placed = self.call("POST", f"/api/{cafe.slug}/orders", token, body)
        assert placed.status_code == 201, placed.text
        return placed.json()

    def order(self, cafe: Cafe, order: Mapping[str, Any]) -> Any:
        """The order as it stands."""
        found = self.call("GET", f"/api/orders/{order['id']}", cafe.tokens["staff"])
        assert found.status_code == 200, found.text
        return found.json()

    def initiate(self, cafe: Cafe, order: Mapping[str, Any], method: str = "cash", **more: Any) -> Any:
        """A payment just begun."""
        body = {"orderId": order["id"], "paymentMethod": method, **more}
        begun = self.call("POST", "/api/payments/initiate", cafe.tokens["counter"], body, key=new_key())
        assert begun.status_code == 201, begun.text
        return begun.json()

    def verify(self, cafe: Cafe, payment: Mapping[str, Any], **more: Any) -> Any:
        """A payment that is complete."""
        path = f"/api/payments/{payment['paymentId']}/verify"
        verified = self.call("POST", path, cafe.tokens["counter"], more, key=new_key())
        assert verified.status_code == 200, verified.text
        return verified.json()

    def pay(self, cafe: Cafe, order: Mapping[str, Any]) -> Any:
        """The whole order, in cash."""
        return self.verify(cafe, self.initiate(cafe, order), tendered=100_000)

    def footprint(self, *cafes: Cafe) -> Any:
        """Everything that doing something leaves in these cafes: their orders, and the heads of their logs, when all
        that follows from it is done. The place in the queue comes by itself, and the estimate moves with the clock."""
        self.settle()
        seen: list[Any] = []
        for _ in range(QUEUE_NEWS_TRIES):
            seen = [self.call("GET", f"/api/{cafe.slug}/orders?limit=500", self.admin).json() for cafe in cafes]
            orders = [order for listed in seen for order in listed["orders"]]
            if not any(order["inKitchen"] and order["queuePosition"] is None for order in orders):
                break
            time.sleep(0.02)  # the queue's own news, an event too, gather for half a second
        for orders in seen:
            for order in orders["orders"]:
                order.update(queuePosition=None, estimatedReadyAt=None)
        return seen

    def footprint_at_rest(self, *cafes: Cafe) -> Any:
        """The same, once the news of a queue that has moved are told as well: they gather for half a second."""

        def still() -> Any:
            seen = self.footprint(*cafes)
            time.sleep(1)
            return seen if self.footprint(*cafes) == seen else None

        return until(still)

    def settle(self) -> None:
        """Wait until nothing is on its way between orders, payments and their providers."""
        until(self._at_rest)

    def _at_rest(self) -> bool:
        queues = self.call("GET", "/api/admin/jobs", self.admin).json()["queues"]
        busy = {queue["queue"] for queue in queues if queue["waiting"] or queue["running"]}
        return not busy & {"actor", "payment-processing"}

    def tell(self, provider: str, event: Any, *, signature: str | None = None, **headers: str) -> httpx.Response:
        """Something that a provider tells us (Payconic's sandbox, which is the demo's), under its signature."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        secret = json.loads((self.state / "sandbox.json").read_text())["webhook_secret"]
        right = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
        told = {"x-payconic-signature": right if signature is None else signature, **headers}
        return self.http.post(f"/api/webhooks/{provider}", content=body, headers=told)

    # -- sockets

    def door(self, door: str, cafe: Cafe | None, **query: Any) -> str:
        """The address of a door."""
        if door == "pos" and cafe is not None:
            door, cafe = f"pos/{cafe.slug}", None
        asked = {**({"cafe": cafe.slug} if cafe else {}), **{name.rstrip("_"): text for name, text in query.items()}}
        return str(httpx.URL(f"{self.url}/ws/{door}", params=asked))

    def knock(
        self, door: str, cafe: Cafe | None, token: str | None, *, headers: Mapping[str, str] | None = None, **query: Any
    ) -> httpx.Response:
        """What a door answers to a handshake: 101 lets in (and the client goes away again), the rest turns away."""
        asked = {
            "connection": "upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            **({} if token is None else {"authorization": f"Bearer {token}"}),
            **(headers or {}),
        }
        with self._knocking.stream("GET", self.door(door, cafe, **query), headers=asked) as response:
            if response.status_code == 101:
                response.extensions["network_stream"].close()
            else:
                response.read()
        return response

    @asynccontextmanager
    async def socket(
        self,
        door: str,
        cafe: Cafe | None,
        token: str | None,
        *,
        subprotocols: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> AsyncIterator["Socket"]:
        """A client that was welcomed at a door."""
        url = "ws" + self.door(door, cafe, **query).removeprefix("http")
        brought = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        if token is not None:
            brought.append((b"authorization", b"Bearer " + token.encode()))
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(PATIENCE_S):
                    connection = await connect_websocket_url(
                        nursery, url, extra_headers=brought, subprotocols=subprotocols, message_queue_size=1000
                    )
                try:
                    socket = Socket(connection)
                    socket.welcome = await socket.next()
                    yield socket
                except BaseException as error:  # noqa: BLE001  raised outside: the nursery would wrap it
                    failure = error
                with trio.move_on_after(PATIENCE_S, shield=True):
                    await connection.aclose()
                    await connection._stream.aclose()  # which it leaves to its reader, where the server closed first
                nursery.cancel_scope.cancel()
        except* LocalProtocolError:
            pass  # trio-websocket's, if a ping arrives while it closes
        if failure is not None:
            raise failure


class Socket:
    """A client at a door. ``heard``: every event and notice so far, in order, but for heartbeats and answers."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self.welcome: Any = None
        self.heard: list[Any] = []
        self._ids = itertools.count(1)

    async def next(self) -> Any:
        """The next message, heartbeats apart."""
        while True:
            with trio.fail_after(PATIENCE_S):
                message = json.loads(await self.connection.get_message())
            if message["type"] != "heartbeat":
                return message

    async def send(self, text: str | bytes) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.connection.send_message(text)

    async def say(self, op: str, **fields: Any) -> Any:
        """Say something and wait for its one answer; what comes before that is ``heard``."""
        ident = next(self._ids)
        await self.send(json.dumps({"op": op, "id": ident, **fields}))
        while (message := await self.next()).get("id") != ident:
            self.heard.append(message)
        return message

    async def perform(self, name: str, data: Mapping[str, Any], *, key: str | None = None) -> Any:
        """An operation by its name: its reply or error."""
        return await self.say(name, data=data, **({} if key is None else {"idempotencyKey": key}))

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Listen until such a message; it is the last one ``heard``."""
        for message in self.heard:
            if wanted(message):
                return message
        while True:
            self.heard.append(await self.next())
            if wanted(self.heard[-1]):
                return self.heard[-1]

    async def silence(self) -> list[Any]:
        """All that was heard until now: what the server had sent before it answered a ping."""
        await self.say("ping")
        return self.heard

    async def close_code(self) -> int:
        """Listen until the server closes."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                self.heard.append(await self.next())
        reason = self.connection.closed
        assert reason is not None
        return int(reason.code)


def of_till(cafe: Cafe, key: str) -> dict[str, str]:
    """The headers of a till."""
    return {"X-API-Key": key, "X-Tenant-ID": cafe.slug}


def new_key() -> str:
    """An Idempotency-Key that nobody has used."""
    return str(uuid.uuid4())


QUEUE_NEWS_TRIES = 40
"""Some orders never get a place: they are ready, or all their lines are held."""


def until(so: Callable[[], Any]) -> Any:
    """Ask until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := so()):
        assert time.monotonic() < deadline, "it never was"
        time.sleep(0.01)
    return answer


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What ``work`` answers to each of 0..count-1, all of them let go at the same moment."""
    gate = threading.Barrier(count)

    def run(index: int) -> Any:
        gate.wait(PATIENCE_S)
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def problem_of(response: httpx.Response, status: int, code: str) -> Any:
    """The body of an error answer, checked for its shape (spec Q1)."""
    assert response.status_code == status, f"{response.status_code}, not {status}: {response.text[:300]}"
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["code"] == code, body
    assert {"error", "code", "timestamp", "path"} <= body.keys() <= {"error", "code", "timestamp", "path", "errors"}
    assert isinstance(body["error"], str)
    assert body["error"]
    for field in body.get("errors", ()):
        assert field.keys() == {"field", "message"}
    return body


def fields_at_fault(problem: Any) -> set[str]:
    """The names that an error blames."""
    return {error["field"] for error in problem.get("errors", ())}


def _client(url: str, *, kept: int) -> httpx.Client:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=kept)
    return httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False, limits=limits)


@contextmanager
def running(**environment: str) -> Iterator[Server]:
    """``python -m tabletap demo --port 0`` on a state folder of its own, ended by SIGTERM in time and in good order."""
    with temporary_folder() as folder:
        state = Path(environment.pop("TABLETAP_STATE", folder / "state"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TABLETAP_")}
        kept.pop("DATABASE_URL", None)
        command = [sys.executable, "-m", "tabletap", "demo", "--port", "0"]
        log = folder / "server.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                env={**kept, "TABLETAP_STATE": str(state), **environment},
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert process.stdout is not None
        with process.stdout:
            try:
                ready = process.stdout.readline().decode().split()
                assert ready[:1] == ["ready"], log.read_text()
                with _client(ready[1], kept=100) as http, _client(ready[1], kept=0) as knocking:
                    yield Server(ready[1], state, http, knocking)
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    status = process.wait(10)  # as the protocol promises
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise
        told = log.read_text()
        assert status == 0, told
        broken = [line for line in told.splitlines() if "[error" in line or "[critical" in line or "Traceback" in line]
        assert not broken, told[-20_000:]
