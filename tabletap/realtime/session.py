"""A socket's life: handshake, messages in, frames out, goodbye.

`serve_session` holds one connection from its request head to its end. trio-websocket speaks the protocol; what to
admit and what to do with a message is the `Door`'s. What must hold:

- Messages are taken from trio-websocket always and at once: while its queue is full it answers no pings.
- Commands start in the order they came, a bounded number at a time; one beyond that is answered `busy`, never queued.
- Whatever the peer sends or does not send, the session ends within its limits and nothing but the session. (That a
  peer is there is for the door to look at: ``Session.check_peer``.)
"""

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import structlog
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, wrap_server_stream
from uuid_utils import uuid7
from wsproto.utilities import ProtocolError

from tabletap.realtime.frames import ping_frame
from tabletap.realtime.limits import (
    INTERNAL_ERROR,
    PROTOCOL_ERROR,
    TOO_BIG,
    TOO_MANY_MESSAGES,
    TRY_AGAIN_LATER,
    SessionLimits,
)
from tabletap.realtime.stream import SessionStream
from tabletap.realtime.turns import TurnedAway, Turns

log = structlog.get_logger(__name__)

_INBOUND_QUEUE = 16
_RECEIVE_BYTES = 16 * 1024
_PING = ping_frame()
_PLAIN_ANSWER = b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_TURNED_AWAY_BODY = b'{"error":"too many clients are coming at once","code":"OVERLOADED"}'
_TURNED_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: %d\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%b"
)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP answer instead of a socket."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """``limits``: of the session, where its door has limits of its own."""

    principal: object
    subprotocol: str | None = None
    limits: SessionLimits | None = None


class Door(Protocol):
    async def admit(self, request: WebSocketRequest, remote: str) -> Admission | Refusal: ...

    async def opened(self, session: "Session") -> None:
        """Welcome it and join its rooms. Messages come afterwards."""

    async def message(self, session: "Session", message: str | bytes) -> None: ...

    def busy(self, session: "Session", message: str | bytes) -> None:
        """Too many commands are in flight: answer this one with an error."""

    def closed(self, session: "Session") -> None:
        """Called once for each session that was opened, however it ended."""


class TokenBucket:
    __slots__ = ("_at", "_burst", "_per_second", "_tokens")

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._at = trio.current_time()

    def take(self) -> bool:
        now = trio.current_time()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Session:
    __slots__ = (
        "_bucket",
        "_heard_at_ping",
        "_in_flight",
        "_limits",
        "_look_again",
        "_to_start",
        "flooded",
        "id",
        "principal",
        "rooms",
        "send",
        "silent",
        "stream",
        "tell",
    )

    def __init__(self, stream: SessionStream, limits: SessionLimits, principal: object) -> None:
        self.id = str(uuid7())
        self.principal = principal
        self.flooded = False  # closed because it sent too much
        self.silent = False  # given up because it did not answer a ping
        self.rooms: set[str] = set()
        self.stream = stream
        self.send = stream.push
        self.tell = stream.tell
        self._limits = limits
        self._bucket = TokenBucket(limits.messages_per_second, limits.message_burst)
        self._to_start: list[str | bytes] = []  # a few at most; a deque would cost each connection 600 bytes
        self._in_flight = 0
        self._heard_at_ping: int | None = None
        self._look_again = 0.0  # at its peer: nothing is to be done before

    @property
    def free(self) -> bool:
        return self.stream.free

    @property
    def bare_send(self) -> Callable[[bytes], int] | None:
        return self.stream.bare_send

    def sent_short(self, data: bytes, sent: int | None) -> None:
        self.stream.sent_short(data, sent)

    @property
    def overran(self) -> bool:
        return self.stream.overran

    @property
    def limits(self) -> SessionLimits:
        return self._limits

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame after what waits; the session ends when the peer answers or the grace time is over."""
        self.stream.seal(code, reason)

    async def converse(self, socket: WebSocketConnection, door: Door, commands: trio.Nursery) -> None:
        """Until the connection closes. Whoever leaves then cancels the commands: their replies have nowhere to go."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = await socket.get_message()
                self.stream.unclaimed_bytes = 0
                if self.stream.sealed:
                    continue  # read on, so that the peer's answer to our close is found
                if not self._bucket.take():
                    self.flooded = True
                    self.close(TOO_MANY_MESSAGES, "too many messages")
                elif self._in_flight >= self._limits.commands_in_flight:
                    door.busy(self, message)
                else:
                    self._in_flight += 1
                    self._to_start.append(message)
                    commands.start_soon(self._run_command, door)
        while self._to_start:  # what came before the end still counts
            await trio.lowlevel.checkpoint()

    async def _run_command(self, door: Door) -> None:
        # trio starts tasks in any order; taking the oldest message here makes the order of starts that of arrival.
        message = self._to_start.pop(0)
        try:
            await door.message(self, message)
        except Exception:
            log.exception("socket_command_failed", session=self.id)
            self.close(INTERNAL_ERROR, "internal error")
        finally:
            self._in_flight -= 1

    def check_peer(self, now: float) -> None:
        """Ping a silent peer, abort a dead one. Any byte is a sign of life, not just a pong.

        Called every second or so by whoever has the sessions: a timer in each would cost more than the pings.
        """
        if now < self._look_again:
            return
        stream = self.stream
        if self._heard_at_ping == stream.received_bytes:
            self.silent = True
            stream.abort()
        elif now >= (due := stream.last_received + self._limits.ping_after_seconds):
            self.send(_PING)
            self._heard_at_ping = stream.received_bytes
            self._look_again = now + self._limits.pong_within_seconds
        else:
            self._look_again = due


async def serve_session(
    transport: trio.abc.Stream,
    door: Door,
    limits: SessionLimits,
    writing: trio.Nursery,
    turns: Turns | None = None,
    *,
    remote: str = "",
) -> None:
    """Hold one connection, whose first bytes are a WebSocket upgrade request, until it is closed.

    ``writing``: where sessions that are behind have their flush task; one for all, since most never need it.
    ``turns``: of handshakes; None: there are never too many. Who gets none is answered 503 with ``Retry-After``.
    ``remote``: the client's address, where it has one.
    """
    stream = SessionStream(transport, limits, writing)
    try:
        await _hold(stream, _Handshake(stream, door, limits, remote, turns))
    finally:
        await stream.hang_up()


async def _hold(stream: SessionStream, handshake: "_Handshake") -> None:
    door, limits = handshake.door, handshake.limits
    try:
        async with trio.open_nursery() as life:

            def last_words() -> None:
                life.cancel_scope.deadline = trio.current_time() + limits.close_grace_seconds

            stream.on_sealed = last_words
            stream.on_abort = life.cancel_scope.cancel
            socket = await handshake.run(life)
            if socket is not None and handshake.session is not None:
                await handshake.session.converse(socket, door, life)
                # trio-websocket ends on a protocol error without telling the peer; after a seal this does nothing.
                reason = socket.closed
                if reason is not None and reason.code in {PROTOCOL_ERROR, 1007, TOO_BIG}:
                    stream.seal(reason.code)
            life.cancel_scope.cancel()
    except Exception as failure:
        if not _only_bad_input(failure):
            log.exception("session_failed", remote=handshake.remote)
        if handshake.session is None:
            stream.push(_PLAIN_ANSWER % b"400 Bad Request")
        else:
            stream.seal(PROTOCOL_ERROR)
    finally:
        if handshake.session is not None:
            door.closed(handshake.session)


class _Handshake:
    def __init__(
        self, stream: SessionStream, door: Door, limits: SessionLimits, remote: str, turns: Turns | None
    ) -> None:
        self._stream = stream
        self._turns = turns
        self.door = door
        self.limits = limits
        self.remote = remote
        self.session: Session | None = None  # set once the door has to be told of the end

    async def run(self, reading: trio.Nursery) -> WebSocketConnection | None:
        """When it is its turn; until it has been welcomed, or answered otherwise."""
        if self._turns is None:
            return await self._shake(reading)
        try:
            async with self._turns.turn():
                return await self._shake(reading)
        except TurnedAway as turned_away:
            answer = _TURNED_AWAY % (turned_away.retry_after_s, len(_TURNED_AWAY_BODY), _TURNED_AWAY_BODY)
            self._stream.push(answer)
            return None

    async def _shake(self, reading: trio.Nursery) -> WebSocketConnection | None:
        with trio.move_on_after(self.limits.handshake_seconds) as patience, contextlib.suppress(ConnectionClosed):
            # trio-websocket answers a malformed request itself and leaves, without a word to who awaits the request.
            self._stream.on_left = patience.cancel
            request = await wrap_server_stream(
                reading, self._stream, _INBOUND_QUEUE, self.limits.max_message_bytes, _RECEIVE_BYTES
            )
            answer = await self._ask(request)
            if isinstance(answer, Refusal):
                await request.reject(answer.status, extra_headers=list(answer.headers), body=answer.body)
                return None
            socket = await request.accept(subprotocol=answer.subprotocol)
            _forget_handshake(socket)
            self._stream.accepted = True
            self._stream.on_left = _not_our_concern  # from here on trio-websocket tells it by ConnectionClosed
            limits = answer.limits or self.limits
            self.session = Session(self._stream, limits, answer.principal)
            try:
                await self.door.opened(self.session)
            except Exception:
                log.exception("socket_welcome_failed", session=self.session.id)
                self.session.close(INTERNAL_ERROR, "internal error")
            return socket
        if self.session is not None:
            self._stream.seal(TRY_AGAIN_LATER)
        elif not self._stream.spoke:
            in_time = trio.current_time() < patience.deadline
            self._stream.push(_PLAIN_ANSWER % (b"400 Bad Request" if in_time else b"503 Service Unavailable"))
        return None

    async def _ask(self, request: WebSocketRequest) -> Admission | Refusal:
        try:
            return await self.door.admit(request, self.remote)
        except Exception:
            log.exception("socket_admission_failed", remote=self.remote)
            return Refusal(status=500, body=b'{"error":"internal error","code":"INTERNAL_ERROR"}')


class _Shaken:
    """What stands in the place of a handshake that is over."""

    __slots__ = ()

    def events(self) -> tuple[()]:
        return ()


_SHAKEN: Any = _Shaken()


def _forget_handshake(socket: WebSocketConnection) -> None:
    """The request and the state of its HTTP parser are kept, 5 KB, for as long as a connection lasts."""
    socket._wsproto.handshake = _SHAKEN  # noqa: SLF001  a public name of wsproto, which trio-websocket keeps to itself
    socket._handshake_headers = ()  # noqa: SLF001  has no setter; nobody asks for them again


def _only_bad_input(failure: BaseException) -> bool:
    """What wsproto and trio-websocket let through when a peer sends what they did not expect."""
    if isinstance(failure, BaseExceptionGroup):
        return all(_only_bad_input(part) for part in failure.exceptions)
    return isinstance(failure, ProtocolError | UnicodeError | ConnectionClosed)


def _not_our_concern() -> None:
    return None
