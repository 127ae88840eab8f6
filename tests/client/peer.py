"""A server that misbehaves as a scene tells it, on a real socket: nothing is sent, closed or refused by itself."""

import base64
import contextlib
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trio
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Ping, TextMessage

from tabletap.realtime.frames import close_frame, event_frame, message_frame, text_frame

ROOM = "cafe:demo:kitchen"
PATIENCE_S = 20
"""No test waits longer for anything; none asserts how long it took."""


class Knock:
    """A handshake that waits for its answer. ``after``: from where the client wants to go on."""

    def __init__(self, stream: trio.SocketStream, head: bytes) -> None:
        request, *lines = head.decode("latin-1").split("\r\n")
        named = (line.partition(":") for line in lines if line)
        self.headers = {name.lower(): value.strip() for name, _, value in named}
        self.target = request.split(" ")[1]
        query = parse_qs(urlsplit(self.target).query)
        self.after = int(query["after"][0]) if "after" in query else None
        self._stream = stream

    @property
    def token(self) -> str:
        """As a client of ours brings it: in a header, or as a subprotocol from where there are no headers."""
        offered = self.headers.get("sec-websocket-protocol", "")
        by_protocol = [one.strip().removeprefix("bearer.") for one in offered.split(",") if "bearer." in one]
        return self.headers.get("authorization", "").removeprefix("Bearer ") or by_protocol[0]

    async def refuse(self, status: int, **headers: str) -> None:
        """Answer with an HTTP status."""
        named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        answer = f"HTTP/1.1 {status} No\r\n{named}Content-Length: 0\r\nConnection: close\r\n\r\n"
        await self._stream.send_all(answer.encode())
        await self._stream.aclose()

    async def accept(self, *, wrongly: bool = False) -> "Line":
        """Let it in. ``wrongly``: with the answer to another client's question."""
        key = self.headers["sec-websocket-key"] + ("x" if wrongly else "")
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        chosen = "Sec-WebSocket-Protocol: tabletap.v1\r\n" if "sec-websocket-protocol" in self.headers else ""
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n{chosen}\r\n"
        )
        await self._stream.send_all(answer.encode())
        return Line(self._stream)


class Line:
    """An open connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = Connection(ConnectionType.SERVER)
        self._heard: list[dict[str, Any]] = []
        self._ended = False

    async def raw(self, data: bytes) -> None:
        """Anything at all."""
        await self._stream.send_all(data)

    async def text(self, text: str | bytes) -> None:
        """A text message, whatever it says."""
        await self.raw(text_frame(text if isinstance(text, bytes) else text.encode()))

    async def say(self, **message: Any) -> None:
        await self.raw(message_frame(message))

    async def welcome(self, offset: int, *, heartbeat_ms: int = 5000, rooms: tuple[str, ...] | None = (ROOM,)) -> None:
        named = {} if rooms is None else {"rooms": rooms}
        await self.say(type="welcome", session="s", cafeId="demo", offset=offset, heartbeatMs=heartbeat_ms, **named)

    async def subscribed(self, offset: int, *, ident: Any = None, room: str = ROOM, recovered: bool = True) -> None:
        await self.say(type="subscribed", id=ident, room=room, offset=offset, recovered=recovered)

    async def events(self, *offsets: int, room: str = ROOM) -> None:
        """One event each; an event is the same whenever it is told."""
        for offset in offsets:
            await self.event(offset, room=room)

    async def event(
        self, offset: int, *, room: str = ROOM, kind: str = "order_updated", ident: str | None = None, **data: Any
    ) -> None:
        told = json.dumps(data or {"n": offset}).encode()
        await self.raw(event_frame(kind, room, offset, ident or f"evt_{offset}", 1_700_000_000_000, told))

    async def heartbeat(self, offset: int) -> None:
        await self.say(type="heartbeat", offset=offset)

    async def resync(self, offset: int, *, ident: Any = None, room: str = ROOM) -> None:
        await self.say(type="resync", id=ident, room=room, offset=offset, snapshot={"at": offset})

    async def hears(self, op: str) -> dict[str, Any]:
        """The client's next message, which must be this one."""
        with trio.fail_after(PATIENCE_S):
            while not self._heard:
                assert not self._ended, f"the client has gone, and never said {op}"
                await self._read()
        said = self._heard.pop(0)
        assert said["op"] == op, said
        return said

    async def hears_nothing_more(self) -> None:
        """All that the client says until it has answered a ping."""
        self._pongs = 0
        await self.raw(b"\x89\x00")
        with trio.fail_after(PATIENCE_S):
            while not self._pongs and not self._ended:
                await self._read()
        assert not self._heard, self._heard

    _pongs = 0

    async def _read(self) -> None:
        try:
            data = await self._stream.receive_some()
        except trio.BrokenResourceError:
            data = b""
        if not data:
            self._ended = True
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, TextMessage):
                self._heard.append(json.loads(event.data))
            elif isinstance(event, CloseConnection):
                self._ended = True
            elif not isinstance(event, Ping):
                self._pongs += 1

    async def ended(self) -> None:
        """The client goes."""
        with trio.fail_after(PATIENCE_S):
            while not self._ended:
                await self._read()
        await self._stream.aclose()

    async def close(self, code: int, reason: str = "") -> None:
        """A close frame, its answer, and the end."""
        await self.raw(close_frame(code, reason))
        await self.ended()

    async def drop(self) -> None:
        """The end without a word."""
        await self._stream.aclose()


class Peer:
    """The listener. ``away``: nobody answers at its port."""

    def __init__(self) -> None:
        self.port = 0
        self._listener: trio.SocketListener | None = None
        self._streams: list[trio.SocketStream] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def here(self) -> None:
        (self._listener,) = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
        self.port = self._listener.socket.getsockname()[1]

    async def away(self) -> None:
        assert self._listener is not None
        await self._listener.aclose()

    async def knock(self) -> Knock:
        """The next client that comes."""
        assert self._listener is not None
        with trio.fail_after(PATIENCE_S):
            stream = await self._listener.accept()
            self._streams.append(stream)
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some()
                assert data, head
                head += data
        return Knock(stream, head.partition(b"\r\n\r\n")[0])

    async def nobody_knocks(self) -> None:
        """No connection waits to be accepted."""
        assert self._listener is not None
        with trio.move_on_after(0.05) as patience:
            await self._listener.accept()
        assert patience.cancelled_caught, "somebody came"

    async def aclose(self) -> None:
        for stream in self._streams:
            await trio.aclose_forcefully(stream)
        with contextlib.suppress(AssertionError):
            await self.away()
