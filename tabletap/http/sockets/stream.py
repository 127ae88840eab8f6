"""An accepted TCP connection, whose request head is read once and can then be read again by whoever serves it."""

import re
import socket
import struct

import trio

# As h11 sees the end of a head: it takes bare newlines too, and two parsers must not disagree about where it ends.
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST and keeps nothing


class HeadTooLarge(Exception):  # noqa: N818 - named by what is the case
    """No end of the request head within the bound."""


class Connection(trio.abc.HalfCloseableStream):
    """What Hypercorn and trio-websocket are given instead of trio's `SocketStream`."""

    __slots__ = (
        "__weakref__",
        "_pushed_back",
        "_transport",
        "_write_timeout_seconds",
        "client",
        "idle",
        "reading_head",
        "scope",
        "socket",
    )

    def __init__(self, transport: trio.SocketStream, *, write_timeout_seconds: float) -> None:
        self.socket = transport.socket  # Hypercorn asks it for addresses, a session writes to it
        self.client = str(transport.socket.getpeername()[0])  # its address; of a door's, as the listener knows it
        self.scope = trio.CancelScope()  # ends this connection and no other
        self.reading_head = True
        self.idle = False  # between two requests
        self._transport = transport
        self._write_timeout_seconds = write_timeout_seconds
        self._pushed_back = bytearray()
        transport.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)

    async def read_head(self, max_bytes: int) -> bytes:
        """The request head with its blank line, which stays to be read again, like all that came with it.

        Shorter when the peer ended early or when the first byte cannot begin a request: h11 answers those best.
        """
        received = self._pushed_back
        while True:
            data = await self._transport.receive_some(4096)
            searched_to = max(0, len(received) - 2)
            received += data
            end = _END_OF_HEAD.search(received, searched_to)
            head = received[: end.end()] if end else received
            if len(head) > max_bytes:
                raise HeadTooLarge
            if end or not data or received[0] < 0x21:
                self.reading_head = False
                return bytes(head)

    @property
    def has_received(self) -> bool:
        return bool(self._pushed_back)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if not self._pushed_back:
            return await self._transport.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        taken = bytes(self._pushed_back[:max_bytes])
        self._pushed_back = self._pushed_back[len(taken) :]  # emptied in place, it would keep its memory
        return taken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # Hypercorn shields its sends, so only a bound in here ends one to a client that does not read.
        with trio.move_on_after(self._write_timeout_seconds) as patience:
            await self._transport.send_all(data)
        if patience.cancelled_caught:
            self.abort()
            raise trio.BrokenResourceError("the client did not read in time")

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._transport.send_eof()

    async def aclose(self) -> None:
        await self._transport.aclose()

    def abort(self) -> None:
        """Drop the connection now, wherever its tasks wait: their calls fail, shielded or not."""
        if self.socket.fileno() != -1:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.socket.close()

    async def answer_and_leave(self, response: bytes, *, linger_seconds: float = 1.0) -> None:
        """Send a last response and see that it arrives: closing on unread input would send a reset after it."""
        with trio.move_on_after(linger_seconds):
            await self._transport.send_all(response)
            await self._transport.send_eof()
            while await self._transport.receive_some(65536):
                pass
