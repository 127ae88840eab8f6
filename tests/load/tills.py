"""Tills as somebody else would write them, from the documents of the door and of REST alone: with a WebSocket library,
or with an HTTP client that asks again and again. They keep what they heard, and count what went over the wire.
"""

import json
from dataclasses import dataclass
from random import Random
from urllib.parse import urlencode

import trio
from trio_websocket import wrap_client_stream

from tabletap.client import Server
from tabletap.simulate.rest import Connection

_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass
class Wire:
    """What went over some connections: bytes of TCP's payload, HTTP requests (handshakes too), WebSocket messages."""

    to_server: int = 0
    from_server: int = 0
    requests: int = 0
    messages: int = 0


class Counted(trio.abc.Stream):
    """A connection whose bytes are counted."""

    def __init__(self, stream: trio.abc.Stream, wire: Wire) -> None:
        self._stream = stream
        self._wire = wire

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._wire.to_server += len(data)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = bytes(await self._stream.receive_some(max_bytes))
        self._wire.from_server += len(data)
        return data

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


class Till:
    """One till of a cafe. ``ready``: it listens; ``known``: when it had which order for the first time (trio's clock);
    ``twice``: events it was told again."""

    def __init__(self, server: Server, slug: str, key: str, name: str, wire: Wire) -> None:
        self._server = server
        self._key = key
        self._name = name
        self._wire = wire
        self.slug = slug
        self.ready = trio.Event()
        self.known: dict[str, float] = {}
        self.twice = 0
        self._last = -1
        self._stream: Counted | None = None

    async def aclose(self) -> None:
        """When it runs no more."""
        if self._stream is not None:
            await self._stream.aclose()

    async def run(self) -> None:
        """Until cancelled."""
        raise NotImplementedError

    def _learn(self, order_id: str, offset: int) -> None:
        self.known.setdefault(order_id, trio.current_time())
        self.twice += offset <= self._last
        self._last = max(self._last, offset)

    async def _dial(self) -> Counted:
        await self.aclose()
        self._stream = Counted(await self._server.dial(), self._wire)
        return self._stream


class PushedTill(Till):
    """Holds a socket, and acknowledges each event when it has it."""

    async def run(self) -> None:
        path = f"/ws/pos/{self.slug}?{urlencode({'till': self._name})}"
        async with trio.open_nursery() as nursery:
            self._wire.requests += 1
            socket = await wrap_client_stream(
                nursery,
                await self._dial(),  # type: ignore[arg-type]
                self._server.authority,
                path,
                extra_headers=[(b"X-API-Key", self._key.encode())],
                message_queue_size=100,
            )
            while True:
                message = json.loads(await socket.get_message())
                self._wire.messages += 1
                if message["type"] == "welcome":
                    self.ready.set()
                elif "eventId" in message:
                    self._learn(message["data"]["order"]["id"], message["offset"])
                    self._wire.messages += 1
                    await socket.send_message(json.dumps({"op": "ack", "offset": message["offset"]}))


class PollingTill(Till):
    """Asks every so many seconds for what comes after its cursor, on a connection that it keeps."""

    def __init__(self, server: Server, slug: str, key: str, name: str, wire: Wire, every_s: float, chance: Random):
        super().__init__(server, slug, key, name, wire)
        self._every_s = every_s
        self._begins_s = chance.uniform(0, every_s)
        self._connection: Connection | None = None

    async def run(self) -> None:
        cursor = await self._ask(None)
        self.ready.set()
        at = trio.current_time() + self._begins_s
        while True:
            await trio.sleep_until(at)
            at += self._every_s
            cursor = await self._ask(cursor)

    async def _ask(self, cursor: int | None) -> int:
        after = {} if cursor is None else {"after": cursor}
        path = f"/api/{self.slug}/orders/pending?{urlencode({**after, 'till': self._name})}"
        headers = [("X-API-Key", self._key), ("X-Tenant-ID", self.slug)]
        while True:
            try:
                if self._connection is None:
                    self._connection = Connection(await self._dial(), self._server.authority)
                self._wire.requests += 1
                answer = await self._connection.exchange("GET", path, headers, b"")
            except _BROKEN:
                self._connection = None  # it was idle for too long: the same again on a new one
                continue
            break
        assert answer.status == 200, answer.body
        if not self._connection.ready_again():
            self._connection = None
        told = json.loads(answer.body)
        for order in told["orders"]:
            self._learn(order["id"], order.get("offset", 0))
        return int(told["cursor"])
