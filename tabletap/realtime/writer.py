"""The way out of a session's connection: finished frames in, whole frames out, and what happens when they wait.

What must hold:

- Every byte goes out frame by frame, in order. A frame that was begun is finished before another byte is sent, or the
  connection is aborted: the rest of a cut frame would be read as payload of the next.
- Only the flush task can cut a frame, by being cancelled, and then it aborts.
- Nothing follows a close frame.
- What waits is bounded in bytes and in age, by a ladder: newer states take the place of older ones, then all that
  rooms said gives way to a snapshot (the ``Keeper`` sees to it), then the session has overrun: its backlog is dropped,
  since the client gets all of it from the log when it comes back, and it is told so by close code 4008.

While nothing waits the session is `free`: a push is one non-blocking `send` on the bare socket, there is no task, and
rooms may make that very `send` themselves. When the socket takes less, a flush task lives until the session has caught
up. TLS has no bare socket: all goes through the flush task.
"""

import contextlib
import math
import socket
import struct
from collections.abc import Callable
from typing import Protocol

import trio

from .backlog import Backlog
from .frames import close_frame
from .limits import TOO_SLOW, SessionLimits
from .telling import Batch

_JOIN_BYTES = 64 * 1024
_LAST_WORDS_BYTES = 64 * 1024
_NOTHING = memoryview(b"")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST and keeps nothing


class Keeper(Protocol):
    """Who keeps the session's rooms, and is told when its client does not keep up. Nothing here may wait."""

    def turned(self) -> None:
        """The session is ``free`` now, or no longer."""

    def coalesced(self) -> None:
        """A state took the place of an older one."""

    def fell_behind(self, lowest: int) -> bool:
        """Rooms' frames from this offset on were not sent. True: the session will get a snapshot instead."""

    def gave_up(self, lowest: int | None) -> str:
        """The session is being closed, and from this offset on nothing was sent; what to tell the client."""


class FrameWriter:
    """``push`` and ``tell`` never wait.

    ``free``: nothing waits and nothing has ended, so that bytes may go out at once. ``waiting_bytes``: of whole frames
    and the one in flight; ``caught_up_bytes``: how many that had to wait have left.
    """

    __slots__ = (
        "_backlog",
        "_chunk",
        "_chunk_since",
        "_close_by",
        "_dead",
        "_limits",
        "_nursery",
        "_patience",
        "_progress",
        "_raw",
        "_transport",
        "_urged",
        "behind",
        "caught_up_bytes",
        "frames_queued",
        "free",
        "keeper",
        "on_abort",
        "on_sealed",
        "overran",
        "sealed",
    )

    def __init__(self, transport: trio.abc.Stream, limits: SessionLimits, nursery: trio.Nursery) -> None:
        self._transport = transport
        self._limits = limits
        self._nursery = nursery
        self._raw = raw_socket(transport)
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.socket_buffer_bytes)
        self._backlog: Backlog | None = None  # while it is behind
        self._chunk = _NOTHING  # what is being written; begins inside a frame once a part has gone
        self._chunk_since = math.inf
        self._close_by = math.inf
        self._patience: trio.CancelScope | None = None
        self._progress: trio.lowlevel.ParkingLot | None = None  # once somebody has waited
        self._urged = False  # the flush task must look again
        self._dead = False
        self.keeper: Keeper | None = None
        self.free = self._raw is not None
        self.behind = False  # something waits, and a flush task writes it
        self.sealed = False  # a close frame was queued or sent
        self.overran = False
        self.caught_up_bytes = 0
        self.frames_queued = 0
        # What the session wants to hear of. None may send or wait.
        self.on_sealed: Callable[[], None] = nobody
        self.on_abort: Callable[[], None] = nobody

    @property
    def waiting_bytes(self) -> int:
        return len(self._chunk) + (0 if self._backlog is None else self._backlog.size)

    @property
    def bare_send(self) -> Callable[[bytes], int] | None:
        """What may be called instead of ``push`` and ``tell`` while the session is ``free``, by whoever then says when
        it has taken less (``sent_short``). None where that is never, or where nobody would hear that it is over."""
        return None if self._raw is None or self.keeper is None else self._raw.send

    def push(self, frame: bytes) -> bool:
        """Send one finished frame, now or soon. False: not sent, and no other will be."""
        if self.free:
            return self._send(frame)
        if self.sealed or self._dead:
            return False
        if self.behind and self._too_slow(len(frame)):
            self._overrun()
            return False
        return self._put(frame)

    def tell(self, batch: Batch) -> bool:
        """Send what the session's rooms said, now or soon. False: not sent, and nothing else will be."""
        if self.free:
            return self._send(batch.joined)
        if self.sealed or self._dead:
            return False
        return self._tell_later(batch) if self.behind else self._put(batch.joined)

    def seal(self, code: int, reason: str = "") -> None:
        """Queue a close frame behind what waits; nothing is sent after it."""
        if not self.sealed and not self._dead:
            self._seal(close_frame(code, reason))

    def abort(self) -> None:
        """Drop the connection now. Safe at any time, any number of times."""
        if self._dead:
            return
        self._dead = True
        self._turn()
        self._backlog = None
        bare = _trio_socket(self._transport)
        if bare is not None and bare.fileno() != -1:
            with contextlib.suppress(OSError):
                bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            bare.close()
        if self._patience is not None:
            self._patience.cancel()
        self._moved()
        self.on_abort()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.behind:
            await self._moves()

    # -- the way out

    def _send(self, data: bytes) -> bool:
        """Whole frames, while nothing waits: at once, or from where the socket takes no more, by the flush task."""
        sent: int | None
        try:
            sent = self._raw.send(data)  # type: ignore[union-attr]  # there is one where it is free
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = None
        if sent != len(data):
            self.sent_short(data, sent)
        return sent is not None

    def sent_short(self, data: bytes, sent: int | None) -> None:
        """Of whole frames the bare socket took so many bytes only; None: it has failed."""
        if sent is None:
            self.abort()
        else:
            self._fall_behind(memoryview(data)[sent:])

    def _put(self, frame: bytes) -> bool:
        if self.behind:
            self._waiting().add(trio.current_time(), frame)
            self.frames_queued += 1
            return True
        if self.free:
            return self._send(frame)
        self._fall_behind(memoryview(frame))
        return True

    def _fall_behind(self, chunk: memoryview) -> None:
        self.behind = True
        self._turn()
        self.frames_queued += 1
        self._chunk = chunk
        self._chunk_since = trio.current_time()
        self._nursery.start_soon(self._flush)

    def _turn(self) -> None:
        """To be called whenever something has begun to wait, or no longer does, or has ended."""
        free = self._raw is not None and not (self.behind or self.sealed or self._dead)
        if free is not self.free:
            self.free = free
            if self.keeper is not None:
                self.keeper.turned()

    def _waiting(self) -> Backlog:
        if self._backlog is None:
            self._backlog = Backlog()
        return self._backlog

    # -- the ladder

    def _tell_later(self, batch: Batch) -> bool:
        now, limits, backlog = trio.current_time(), self._limits, self._waiting()
        waiting, age = self.waiting_bytes + len(batch.joined), now - self._chunk_since
        far = waiting > limits.snapshot_bytes or age > limits.snapshot_age_seconds
        if far and self.keeper is not None and self.keeper.fell_behind(self._unsent(batch)):
            backlog.drop_told()
            return True
        if self._too_slow(len(batch.joined)):
            self._overrun(self._unsent(batch))
            return False
        coalesce = waiting > limits.coalesce_bytes or age > limits.coalesce_age_seconds
        for told in batch.told:
            self.frames_queued += 1
            if not coalesce:
                backlog.add(now, told.frame, told)
            elif backlog.coalesce(now, told) and self.keeper is not None:
                self.keeper.coalesced()
        return True

    def _too_slow(self, size: int) -> bool:
        # A frame is not measured when it comes first: one larger than the bound would close every session it meets.
        return (
            self.waiting_bytes + size > self._limits.queued_bytes
            or trio.current_time() - self._chunk_since > self._limits.queued_age_seconds
        )

    def _unsent(self, batch: Batch) -> int:
        """From which offset on nothing has been sent, if this is not."""
        lowest = self._waiting().lowest()
        return batch.told[0].offset if lowest is None else lowest

    def _overrun(self, lowest: int | None = None) -> None:
        self.overran = True
        if self._backlog is not None:
            lowest = self._backlog.lowest() if lowest is None else lowest
            self._backlog.clear()
        self._make_room()
        self.seal(TOO_SLOW, "too slow" if self.keeper is None else self.keeper.gave_up(lowest))
        if self._raw is not None and self._patience is not None:
            self._urged = True
            self._patience.cancel()

    def _make_room(self) -> None:
        """Let the kernel take what is in flight and the close frame, for a client that reads again some time later.

        trio keeps what the peer's window does not let out below 16 KB; a full buffer is over its own bound by up to a
        segment.
        """
        bare = None if self._raw is None else _trio_socket(self._transport)
        if bare is None:
            return
        size = self._limits.socket_buffer_bytes + len(self._chunk) + _LAST_WORDS_BYTES
        with contextlib.suppress(OSError):
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    def _seal(self, frame: bytes) -> None:
        self._put(frame)
        self.sealed = True
        self._turn()
        self._close_by = trio.current_time() + self._limits.close_grace_seconds
        if self._patience is not None:
            self._patience.deadline = self._close_by
        self.on_sealed()

    # -- the flush task

    async def _flush(self) -> None:
        try:
            while self.waiting_bytes and not self._dead:
                self._urged = False
                self._join_chunk()
                with trio.CancelScope(deadline=self._deadline()) as self._patience:
                    await self._write_chunk()
                if self._patience.cancelled_caught and not self._urged:
                    if self.sealed or self._raw is None:
                        break
                    self._overrun()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if self.waiting_bytes:
                self.abort()
            self.behind = False
            self._backlog = self._patience = None
            self._chunk, self._chunk_since = _NOTHING, math.inf
            self._turn()
            self._moved()

    def _join_chunk(self) -> None:
        """More than a part of a frame goes out at once: what waits, joined."""
        if self._backlog is None or not self._backlog or len(self._chunk) >= _JOIN_BYTES:
            return
        since, joined = self._backlog.take(_JOIN_BYTES - len(self._chunk))
        if joined is None:
            return
        if self._chunk:
            self._chunk = memoryview(b"".join((self._chunk, joined)))
        else:
            self._chunk, self._chunk_since = memoryview(joined), since

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
        self.caught_up_bytes += size
        self._moved()

    async def _moves(self) -> None:
        if self._progress is None:
            self._progress = trio.lowlevel.ParkingLot()
        await self._progress.park()

    def _moved(self) -> None:
        if self._progress is not None:
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


def nobody() -> None:
    return None
