"""The one writer of a session's connection.

trio-websocket is given this stream instead of the connection and writes its handshake, pongs and close frames to it;
rooms push finished frames past trio-websocket into the same place. What must hold:

- Every byte passes through `_put`, frame by frame, in order. A frame that was begun is finished before another byte is
  sent, or the connection is aborted: the rest of a cut frame would be read as payload of the next.
- A caller that is cancelled leaves its frame in the queue. Only the writer itself can cut a frame, and it aborts.
- Nothing follows a close frame.
- What waits is bounded in bytes and in age. A session beyond that has overrun: its queue is dropped, since the client
  gets all of it from the log when it comes back, and it is told so by close code 4008.

While nothing waits, a push is one non-blocking `send` on the bare socket and there is no task. When the socket takes
less, a flush task lives until the session has caught up. TLS has no bare socket: all goes through the flush task.
"""

import contextlib
import math
import socket
import struct
from collections import deque
from collections.abc import Callable

import msgspec
import trio

from tabletap.realtime.frames import close_frame, is_close_frame

GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
TOO_SLOW = 4008
TOO_MANY_MESSAGES = 4029

HEAD_BYTES = 64 * 1024
_JOIN_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST and keeps nothing


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    handshake_seconds: float = 10
    max_message_bytes: int = 64 * 1024
    messages_per_second: float = 20
    message_burst: int = 60
    commands_in_flight: int = 16
    queued_bytes: int = 1024 * 1024
    queued_age_seconds: float = 10
    # The kernel's share per socket. Left to itself it grows to megabytes for a client that does not read.
    socket_buffer_bytes: int = 128 * 1024
    ping_after_seconds: float = 25
    pong_within_seconds: float = 15
    # For the close frame to leave, the peer to answer it, and what it still sends to be read away.
    close_grace_seconds: float = 3


class SessionStream(trio.abc.Stream):
    def __init__(self, transport: trio.abc.Stream, limits: SessionLimits, nursery: trio.Nursery) -> None:
        self._transport = transport
        self._limits = limits
        self._nursery = nursery
        self._raw = raw_socket(transport)
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_buffer_bytes)
        self._queue: deque[tuple[float, bytes]] = deque()  # whole frames, with the time they came
        self._chunk = memoryview(b"")  # what is being written; begins inside a frame once a part has gone
        self._chunk_since = math.inf
        self._close_by = math.inf
        self._patience = trio.CancelScope()
        self._progress = trio.lowlevel.ParkingLot()
        self._dead = False
        self._answered = False
        self.behind = False  # something waits, and a flush task writes it
        self.accepted = False  # the handshake is over: what is sent are frames
        self.sealed = False  # a close frame was queued or sent
        self.overran = False
        self.waiting_bytes = 0
        self.sent_bytes = 0
        self.frames_direct = 0
        self.frames_queued = 0
        self.received_bytes = 0
        self.last_received = trio.current_time()
        self.unclaimed_bytes = 0  # received since the session last got a message out of them
        # What the session wants to hear of. None may send or wait.
        self.on_sealed: Callable[[], None] = _nobody
        self.on_abort: Callable[[], None] = _nobody
        self.on_left: Callable[[], None] = _nobody

    def push(self, frame: bytes) -> bool:
        """Send one finished frame, now or soon. False: not sent, and no other will be."""
        if self.sealed or self._dead:
            return False
        if self.behind and self._too_slow(len(frame)):
            self._overrun()
            return False
        return self._put(frame)

    def seal(self, code: int, reason: str = "") -> None:
        """Queue a close frame behind what waits; nothing is sent after it."""
        if not self.sealed and not self._dead:
            self._seal(close_frame(code, reason))

    def abort(self) -> None:
        """Drop the connection now. Safe at any time, any number of times."""
        if self._dead:
            return
        self._dead = True
        self._forget_queue()
        bare = _trio_socket(self._transport)
        if bare is not None and bare.fileno() != -1:
            with contextlib.suppress(OSError):
                bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            bare.close()
        self._patience.cancel()
        self._progress.unpark_all()
        self.on_abort()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """For trio-websocket, which hands over one frame (or a piece of its handshake) at a time."""
        await trio.lowlevel.checkpoint()
        if self._dead:
            raise trio.ClosedResourceError
        if self.sealed or not data:
            return
        frame = bytes(data)
        if is_close_frame(frame):
            self._seal(frame)
            return
        self.push(frame)
        # Waiting holds up trio-websocket's reader: a client that sends pings but reads no pongs is read no further.
        written_by_then = self.sent_bytes + self.waiting_bytes
        while self.behind and self.sent_bytes < written_by_then:
            await self._progress.park()
        if self._dead:
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.behind:
            await self._progress.park()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = await self._transport.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.on_left()
            raise
        self.last_received = trio.current_time()
        self.received_bytes += len(data)
        self.unclaimed_bytes += len(data)
        # trio-websocket counts the size of a message but not its fragments, and empty ones are free. No honest
        # message costs more than 7 bytes per byte; pings without any message would take days to get here.
        # Before the handshake is over it keeps all that comes, and nothing but the head should.
        if self.unclaimed_bytes > HEAD_BYTES + (8 * self._limits.max_message_bytes if self.accepted else 0):
            if self.accepted:
                self.seal(TOO_BIG, "too much without a message")
            data = b""
        if not data:
            self.on_left()
        return bytes(data)

    async def aclose(self) -> None:
        """trio-websocket has finished. The connection is closed by `hang_up`, when all that waits has left."""
        self._answered = self.sealed  # both close frames have passed; else it met an error, and the peer may go on
        self.on_left()
        await trio.lowlevel.checkpoint()

    async def hang_up(self) -> None:
        """Write out what waits and close, in a way that the peer gets it; abort when it takes too long."""
        self.sealed = True
        try:
            with (
                trio.move_on_after(self._limits.close_grace_seconds),
                contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self.wait_send_all_might_not_block()
                if isinstance(self._transport, trio.abc.HalfCloseableStream):
                    await self._transport.send_eof()
                    # Closing on unread input sends a reset, which can overtake the close frame.
                    while not self._answered and await self._transport.receive_some(65536):
                        pass
            if not self.behind:
                self._dead = True
        finally:
            self.abort()
            with contextlib.suppress(trio.BrokenResourceError):
                await trio.aclose_forcefully(self._transport)

    def _put(self, frame: bytes) -> bool:
        if self.behind:
            self._queue.append((trio.current_time(), frame))
            self.waiting_bytes += len(frame)
            self.frames_queued += 1
            return True
        sent = 0
        if self._raw is not None:
            try:
                sent = self._raw.send(frame)
            except BlockingIOError:
                pass
            except OSError:
                self.abort()
                return False
            self.sent_bytes += sent
            if sent == len(frame):
                self.frames_direct += 1
                return True
        self.behind = True
        self.frames_queued += 1
        self._chunk = memoryview(frame)[sent:]
        self._chunk_since = trio.current_time()
        self.waiting_bytes = len(self._chunk)
        self._nursery.start_soon(self._flush)
        return True

    def _too_slow(self, size: int) -> bool:
        # A frame is not measured when it comes first: one larger than the bound would close every session it meets.
        return (
            self.waiting_bytes + size > self._limits.queued_bytes
            or trio.current_time() - self._chunk_since > self._limits.queued_age_seconds
        )

    def _overrun(self) -> None:
        self.overran = True
        self._forget_queue()
        self.seal(TOO_SLOW, "too slow")

    def _forget_queue(self) -> None:
        self._queue.clear()
        self.waiting_bytes = len(self._chunk)

    def _seal(self, frame: bytes) -> None:
        self._put(frame)
        self.sealed = True
        self._close_by = trio.current_time() + self._limits.close_grace_seconds
        self._patience.deadline = self._close_by
        self.on_sealed()

    async def _flush(self) -> None:
        try:
            while self.waiting_bytes and not self._dead:
                self._join_chunk()
                with trio.CancelScope(deadline=self._deadline()) as self._patience:
                    await self._write_chunk()
                if self._patience.cancelled_caught:
                    if self.sealed or self._raw is None:
                        break
                    self._overrun()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if self.waiting_bytes:
                self.abort()
            self.behind = False
            self._chunk_since = math.inf
            self._progress.unpark_all()

    def _join_chunk(self) -> None:
        parts: list[bytes | memoryview] = [self._chunk] if self._chunk else []
        size = len(self._chunk)
        if not parts:
            self._chunk_since = self._queue[0][0]
        while self._queue and size < _JOIN_BYTES:
            frame = self._queue.popleft()[1]
            parts.append(frame)
            size += len(frame)
        self._chunk = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def _deadline(self) -> float:
        if self.sealed:
            return self._close_by
        # Waiting can be given up on a bare socket, to say 4008 after the frame in flight. Inside a TLS record it
        # cannot: there the next push notices the age, and this is the end.
        grace = 0 if self._raw is not None else self._limits.close_grace_seconds
        return self._chunk_since + self._limits.queued_age_seconds + grace

    async def _write_chunk(self) -> None:
        if self._raw is None:
            await self._transport.send_all(self._chunk)
            self._written(len(self._chunk))
            return
        while self._chunk:
            try:
                sent = self._raw.send(self._chunk)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._raw)
            else:
                self._written(sent)

    def _written(self, size: int) -> None:
        self._chunk = self._chunk[size:]
        self.sent_bytes += size
        self.waiting_bytes -= size
        self._progress.unpark_all()


def raw_socket(transport: trio.abc.Stream) -> socket.socket | None:
    """The standard library's non-blocking socket below an unencrypted stream.

    trio's own `send` costs four times as much. It is the object and not its descriptor that is used: after a close its
    number is -1, while the descriptor may already be another client's.
    """
    if isinstance(transport, trio.SSLStream):
        return None
    bare = _trio_socket(transport)
    return None if bare is None else bare._sock  # type: ignore[attr-defined]  # noqa: SLF001


def _trio_socket(transport: trio.abc.Stream) -> trio.socket.SocketType | None:
    if isinstance(transport, trio.SSLStream):
        transport = transport.transport_stream
    found = getattr(transport, "socket", None)
    return found if isinstance(found, trio.socket.SocketType) else None


def _nobody() -> None:
    return None
