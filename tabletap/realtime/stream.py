"""A session's connection as trio-websocket sees it.

trio-websocket is given this stream instead of the connection and writes its handshake, pongs and close frames to it;
rooms push finished frames past trio-websocket into the same place, which is the one writer there is (``writer``).
A caller that is cancelled leaves its frame in the backlog.
"""

import contextlib
from collections.abc import Callable

import trio

from .frames import is_close_frame
from .limits import TOO_BIG, SessionLimits
from .writer import FrameWriter, nobody

HEAD_BYTES = 64 * 1024


class SessionStream(FrameWriter, trio.abc.Stream):
    """What is pushed or told leaves beside what trio-websocket sends; nothing comes in but through it."""

    __slots__ = ("_answered", "accepted", "last_received", "on_left", "received_bytes", "spoke", "unclaimed_bytes")

    def __init__(self, transport: trio.abc.Stream, limits: SessionLimits, nursery: trio.Nursery) -> None:
        super().__init__(transport, limits, nursery)
        self._answered = False
        self.accepted = False  # the handshake is over: what is sent are frames
        self.spoke = False  # trio-websocket has answered, whatever it was
        self.received_bytes = 0
        self.last_received = trio.current_time()
        self.unclaimed_bytes = 0  # received since the session last got a message out of them
        self.on_left: Callable[[], None] = nobody  # of interest to the session; may not send or wait

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """For trio-websocket, which hands over one frame (or a piece of its handshake) at a time."""
        await trio.lowlevel.checkpoint()
        if self._dead:
            raise trio.ClosedResourceError
        if self.sealed or not data:
            return
        self.spoke = True
        frame = bytes(data)
        if is_close_frame(frame):
            self._seal(frame)
            return
        self.push(frame)
        # Waiting holds up trio-websocket's reader: a client that sends pings but reads no pongs is read no further.
        caught_up_by_then = self.caught_up_bytes + self.waiting_bytes
        while self.behind and self.caught_up_bytes < caught_up_by_then:
            await self._moves()
        if self._dead:
            raise trio.BrokenResourceError

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
        self._turn()
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
