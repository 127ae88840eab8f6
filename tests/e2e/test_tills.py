"""Tills across a SIGKILL: one that was away for a thousand events has each once, in order, by socket as by REST (spec
S3); and a batch that was cut off is finished by its repeat (spec S7)."""

import json
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import trio
from trio_websocket import WebSocketConnection, connect_websocket_url

from tabletap.simulate.rest import Rest
from tests.load.crash_server import CrashServer

PATIENCE_S = 120
EVENTS = 1_000
EVENTS_PER_ORDER = 6
ORDERS_UNTIL_KILL = 60
ORDER = {
    "channel": "online",
    "items": [{"sku": "flat-white", "quantity": 1, "modifiers": [{"group": "milk", "option": "full-cream"}]}],
}
MOVES = ("start", "ready", "complete")
BATCH = 100


class Till:
    """Who knows nothing but the address, the key and JSON."""

    def __init__(self, crash: CrashServer, name: str) -> None:
        self._crash = crash
        self._name = name
        self.welcome: Any = None

    async def connect(self, stack: AsyncExitStack) -> WebSocketConnection:
        url = f"ws{self._crash.server.url.removeprefix('http')}/ws/pos/demo?{urlencode({'till': self._name})}"
        key = self._crash.demo["posApiKey"].encode()
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        socket = await connect_websocket_url(nursery, url, extra_headers=[(b"X-API-Key", key)], message_queue_size=100)
        stack.push_async_callback(socket._stream.aclose)
        self.welcome = json.loads(await socket.get_message())
        return socket

    async def hear(self, *, until_order: str, acknowledge: bool) -> list[Any]:
        """Every event up to the one that completes an order."""
        heard: list[Any] = []
        async with AsyncExitStack() as stack:
            socket = await self.connect(stack)
            while True:
                message = json.loads(await socket.get_message())
                if "eventId" not in message:
                    continue
                heard.append(message)
                if acknowledge:
                    await socket.send_message(json.dumps({"op": "ack", "offset": message["offset"]}))
                order = message["data"]["order"]
                if (order["id"], order["status"]) == (until_order, "completed"):
                    return heard


class Guests:
    """Who go on placing orders that are made at once, whatever becomes of the server."""

    def __init__(self, crash: CrashServer, rest: Rest) -> None:
        self._crash = crash
        self._rest = rest
        self.placed: list[str] = []

    async def order(self) -> str:
        """One more, completed."""
        answer = await self._rest.ask("POST", "/api/demo/orders", key=str(uuid4()), body=ORDER)
        order: str = json.loads(answer.body)["id"]
        self.placed.append(order)
        for move in MOVES:
            path = f"/api/orders/{order}/{move}"
            moved = await self._rest.ask("POST", path, token=self._crash.demo["tokens"]["owner"])
            assert moved.ok, moved.body
        return order


def events_after(crash: CrashServer, cursor: int) -> list[Any]:
    """What tills are told, by REST, page by page."""
    found: list[Any] = []
    headers = {"X-API-Key": crash.demo["posApiKey"], "X-Tenant-ID": "demo"}
    with httpx.Client(base_url=crash.server.url, headers=headers, timeout=PATIENCE_S) as http:
        while page := http.get("/api/demo/events", params={"after": cursor, "limit": 100}).json():
            if not page["events"]:
                return found
            found += page["events"]
            cursor = page["cursor"]
    return found


async def cursor_beyond(rest: Rest, crash: CrashServer, name: str, offset: int) -> int:
    """How far a till has got, as management is told when it has got there; what it is told is written down."""
    while True:
        answer = await rest.ask("GET", "/api/demo/pos-status", token=crash.demo["tokens"]["owner"])
        cursor = next(int(till["cursor"]) for till in json.loads(answer.body)["tills"] if till["till"] == name)
        if cursor >= offset:
            return cursor
        await trio.sleep(0.01)


async def test_a_till_that_was_away_for_a_thousand_events_and_a_kill_has_each_of_them_once() -> None:
    with trio.fail_after(PATIENCE_S), CrashServer() as crash:
        await crash.start()
        rest, till = Rest(crash.server), Till(crash, "front")
        guests = Guests(crash, rest)
        async with AsyncExitStack() as stack:
            await till.connect(stack)
        first = await guests.order()
        acknowledged = (await till.hear(until_order=first, acknowledge=True))[-1]["offset"]
        begun = await cursor_beyond(rest, crash, "front", acknowledged)
        key = crash.demo["posApiKey"]
        while (len(guests.placed) - 1) * EVENTS_PER_ORDER < EVENTS:
            if len(guests.placed) == ORDERS_UNTIL_KILL:
                crash.kill()
                await crash.start()
            last = await guests.order()
        assert crash.demo["posApiKey"] == key, "a second start finds the key of the first"
        told = await till.hear(until_order=last, acknowledge=False)
        assert till.welcome["cursor"] == begun
        again = await till.hear(until_order=last, acknowledge=True)
        by_rest = await trio.to_thread.run_sync(events_after, crash, begun)
        await rest.aclose()
        assert told == again == by_rest
        offsets = [one["offset"] for one in told]
        assert len(offsets) >= EVENTS
        assert offsets == sorted(set(offsets))
        new = [one["data"]["orderId"] for one in told if one["type"] == "new_order"]
        assert [first, *new] == guests.placed
        assert len(await told_after_all(till)) == 0
        assert till.welcome["cursor"] >= offsets[-1]


async def told_after_all(till: Till) -> list[Any]:
    """What it is told when it has acknowledged everything."""
    heard: list[Any] = []
    async with AsyncExitStack() as stack:
        socket = await till.connect(stack)
        await socket.send_message('{"op":"ping","id":"last"}')
        while (message := json.loads(await socket.get_message())).get("id") != "last":
            heard.append(message)
    return [message for message in heard if "eventId" in message]


async def batch(crash: CrashServer, updates: list[Any], key: str) -> Any:
    """What a batch is answered; None: nobody knows."""
    body = {"updates": updates}
    headers = {"X-API-Key": crash.demo["posApiKey"], "X-Tenant-ID": "demo", "Idempotency-Key": key}
    async with httpx.AsyncClient(
        base_url=crash.server.url, headers=headers, timeout=PATIENCE_S, trust_env=False
    ) as http:
        try:
            answer = await http.post("/api/demo/orders/batch", json=body)
        except httpx.TransportError:
            return None
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def test_a_batch_that_a_kill_cut_off_is_finished_by_its_repeat_each_order_once() -> None:
    with trio.fail_after(PATIENCE_S), CrashServer() as crash:
        await crash.start()
        rest, till, key, told = Rest(crash.server), Till(crash, "front"), str(uuid4()), []
        answers = [await rest.ask("POST", "/api/demo/orders", key=str(uuid4()), body=ORDER) for _ in range(BATCH // 2)]
        orders = [json.loads(answer.body)["id"] for answer in answers]
        updates = [{"orderId": order, "move": move} for order in orders for move in MOVES[:2]]
        async with AsyncExitStack() as stack:
            socket = await till.connect(stack)
            begun = till.welcome["cursor"]
            async with trio.open_nursery() as nursery:

                async def send() -> None:
                    told.append(await batch(crash, updates, key))

                nursery.start_soon(send)
                while json.loads(await socket.get_message()).get("type") != "order_updated":
                    pass
                crash.kill()
        assert told == [None], "it was cut off"
        await crash.start()
        moved = {one["data"]["orderId"] for one in await trio.to_thread.run_sync(events_after, crash, begun)}
        assert 0 < len(moved) < len(orders), "the kill came in the midst of it"
        first, again = await batch(crash, updates, key), await batch(crash, updates, key)
        assert [one["order"]["status"] for one in first] == ["preparing", "ready"] * len(orders)
        assert [one["orderId"] for one in first] == [update["orderId"] for update in updates]
        assert again == first
        undisturbed = json.loads((await rest.ask("POST", "/api/demo/orders", key=str(uuid4()), body=ORDER)).body)["id"]
        await batch(crash, [{"orderId": undisturbed, "move": move} for move in MOVES[:2]], str(uuid4()))
        told_of: dict[str, list[Any]] = {}
        for one in await trio.to_thread.run_sync(events_after, crash, begun):
            if one["type"] == "order_updated":
                told_of.setdefault(one["data"]["orderId"], []).append(one["data"]["order"]["status"])
        assert told_of.keys() == {*orders, undisturbed}
        assert [order for order in orders if told_of[order] != told_of[undisturbed]] == []
        await rest.aclose()
