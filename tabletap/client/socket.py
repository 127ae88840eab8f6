"""One connection to a door: the handshake, messages in, messages out, the goodbye."""

import base64
import contextlib
import hashlib
import re
import secrets
from collections import deque

import h11
import trio

from .frames import CLOSE, MAX_MESSAGE_BYTES, PING, PONG, TEXT, FrameReader, ProtocolViolation, frame
from .server import Server

RECEIVE_BYTES = 256 * 1024
REFUSAL_BYTES = 4096
PONGS_BEHIND_AT_MOST = 64
RETRY_AFTER_AT_MOST_S = 300.0
HANDSHAKE_SECONDS = 15.0
_RETRY_AFTER = re.compile(r"\bretry_after=([0-9]{1,9})\b")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Closed(Exception):  # noqa: N818 - named by what is the case
    """The connection has ended: with a close code of the server's, or (1006) without a word. ``retry_after_s``: how
    long the server asks to be left alone, by ``retry_after=SECONDS`` in the reason."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        asked = _RETRY_AFTER.search(reason)
        self.retry_after_s = _seconds(asked[1].encode()) if asked else 0.0


class Refused(Exception):  # noqa: N818 - the same
    """The door answered the handshake with an HTTP status."""

    def __init__(self, status: int, body: bytes, retry_after_s: float = 0.0) -> None:
        super().__init__(f"refused with {status}: {body[:200].decode(errors='replace')}")
        self.status = status
        self.retry_after_s = retry_after_s


class Socket:
    """An open connection. One task reads (``receive``), one writes what was posted (``write``)."""

    def __init__(self, stream: trio.abc.Stream, max_message_bytes: int) -> None:
        self._stream = stream
        self._reader = FrameReader(max_message_bytes)
        self._first = b""  # what came with the end of the handshake
        self._goodbye: Closed | None = None
        self._outbox: deque[bytes] = deque()
        self._posted = trio.Event()
        self._writing = False
        self._farewell = 1000

    @classmethod
    async def open(
        cls, server: Server, target: str, token: str, max_message_bytes: int = MAX_MESSAGE_BYTES
    ) -> "Socket":
        """Dial and shake hands. Raises Refused, Closed, OSError or trio.TooSlowError."""
        stream = await server.dial()
        try:
            socket = cls(stream, max_message_bytes)
            with trio.fail_after(HANDSHAKE_SECONDS):
                await socket._shake_hands(server.authority, target, token)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return socket

    async def _shake_hands(self, authority: str, target: str, token: str) -> None:
        key = base64.b64encode(secrets.token_bytes(16))
        http = h11.Connection(h11.CLIENT)
        request = h11.Request(
            method="GET",
            target=target,
            headers=[
                ("host", authority),
                ("connection", "Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-version", "13"),
                ("sec-websocket-key", key.decode()),
                ("authorization", f"Bearer {token}"),
            ],
        )
        await self._stream.send_all(http.send(request) + http.send(h11.EndOfMessage()))
        status, retry_after, body, expected = 0, 0.0, b"", base64.b64encode(hashlib.sha1(key + _GUID).digest())  # noqa: S324 - RFC 6455
        while True:
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as error:
                raise Closed(1006, str(error)) from error
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
            elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                if dict(event.headers).get(b"sec-websocket-accept") != expected:
                    raise Closed(1006, "the handshake was not for us")
                self._first = http.trailing_data[0]
                return
            elif isinstance(event, h11.Response):
                status, retry_after = event.status_code, _seconds(dict(event.headers).get(b"retry-after", b""))
            elif isinstance(event, h11.Data):
                body = (body + bytes(event.data))[:REFUSAL_BYTES]
            elif event is h11.PAUSED or isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                raise Refused(status, body, retry_after) if status else Closed(1006)

    async def receive(self) -> list[bytes]:
        """The text messages that came next, perhaps none. Pings are answered on the way. Raises Closed."""
        if self._goodbye is not None:
            raise self._goodbye
        data, self._first = self._first, b""
        try:
            if self._reader.violation is not None:
                raise self._reader.violation
            data = data or bytes(await self._stream.receive_some(RECEIVE_BYTES))
            found = self._reader.feed(data)
        except ProtocolViolation as violation:
            self._farewell = violation.code
            raise Closed(1006, str(violation)) from violation
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise Closed(1006, str(error)) from error
        if not data:
            raise Closed(1006)
        texts = []
        for opcode, payload in found:
            if opcode == TEXT:
                texts.append(payload)
            elif opcode == PING:
                if len(self._outbox) < PONGS_BEHIND_AT_MOST:  # who does not read may miss some
                    self._post(frame(PONG, payload))
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2]) or 1005
                self._farewell = code if payload else 1000
                self._goodbye = Closed(code, payload[2:].decode(errors="replace"))
                break
        return texts

    def post(self, message: bytes) -> None:
        """Send a text message soon, after what was posted before."""
        self._post(frame(TEXT, message))

    def _post(self, data: bytes) -> None:
        self._outbox.append(data)
        self._posted.set()

    async def write(self) -> None:
        """Write what is posted, until cancelled. A broken connection is the reader's to notice."""
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            while True:
                await self._posted.wait()
                self._posted = trio.Event()
                joined = b"".join(self._outbox)
                self._outbox.clear()
                self._writing = True
                await self._stream.send_all(joined)
                self._writing = False

    async def aclose(self) -> None:
        """Say goodbye if that is possible at once, and leave. Nothing may follow a frame that was cut."""
        if not self._writing:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 0.2), contextlib.suppress(Exception):
                await self._stream.send_all(frame(CLOSE, self._farewell.to_bytes(2)))
        await trio.aclose_forcefully(self._stream)


def _seconds(retry_after: bytes) -> float:
    """A server of ours gives seconds; a date, which a proxy might, is as good as nothing."""
    return min(float(retry_after), RETRY_AFTER_AT_MOST_S) if retry_after.isdigit() else 0.0
