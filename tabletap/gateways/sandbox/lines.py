"""The port: Hypercorn's connections on a listener that can really go down, and come back at the same port.

While it is down connections are refused; those that were open are cut off, but for the one over which it was told to.
Cancelling ``serve`` ends everything at once, whatever clients do.
"""

import logging
import socket
import struct
from collections.abc import Callable
from contextvars import ContextVar

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState

CONNECTIONS = 2_000
BACKLOG = 1_024
HEAD_BYTES = 16 * 1024
IDLE_S = 60.0
SILENCE_S = 90
"""Of a client, also while it waits for an answer: longer than the longest hang. It also ends connections that Hypercorn
has forgotten: Quart-Trio cancels the task in which Hypercorn arms its own timer as soon as an answer is sent."""

log = structlog.get_logger(__name__)

_RESET = struct.pack("ii", 1, 0)


class Lines:
    """Everybody's connections."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._open: set[_Connection] = set()
        self._listening = trio.CancelScope()
        self._up_at = 0.0
        self.is_down = False
        self.port = 0

    def bind(self, port: int) -> None:
        """Take a port (0: a free one) without listening yet. Raises OSError."""
        self._bound = trio.socket.from_stdlib_socket(_bound(self._host, port))
        self.port = self._bound.getsockname()[1]

    async def serve(
        self,
        app: ASGIFramework,
        on_up: Callable[[], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve at the bound port until cancelled. ``on_up``: called whenever it is back."""
        wrapped, config = ASGIWrapper(app), _config()
        state: LifespanState = {}
        lifespan = Lifespan(wrapped, config, state)
        context = WorkerContext(max_requests=None)

        async def handle(stream: trio.SocketStream) -> None:
            if self.is_down or len(self._open) >= CONNECTIONS:
                return  # which closes it
            connection = _Connection(wrapped, config, context, ConnectionState(state.copy()), stream)
            self._open.add(connection)
            try:
                await connection.run()
            except Exception:
                log.exception("connection_failed")
            finally:
                self._open.discard(connection)

        async with trio.open_nursery() as background:
            await background.start(lifespan.handle_lifespan)
            await lifespan.wait_for_startup()
            async with trio.open_nursery() as connections:
                try:
                    while True:
                        with trio.CancelScope() as self._listening:
                            self._bound.listen(BACKLOG)
                            listener = trio.SocketListener(self._bound)
                            task_status.started()
                            task_status = trio.TASK_STATUS_IGNORED
                            await trio.serve_listeners(handle, [listener], handler_nursery=connections)
                        await trio.sleep_until(self._up_at)
                        self.is_down = False
                        on_up()
                finally:
                    self._bound.close()
                    self._cut_off(spared=None)

    def go_down(self, seconds: float) -> None:
        """Refuse connections for so long, beginning now."""
        self._up_at = trio.current_time() + seconds
        if self.is_down:
            return
        self.is_down = True
        self._listening.cancel()
        self._bound.close()
        self._bound = trio.socket.from_stdlib_socket(_bound(self._host, self.port))  # nobody else may have it meanwhile
        self._cut_off(spared=_mine.get(None))

    def hang_up(self) -> None:
        """End the connection whose request is being answered, without an answer."""
        _mine.get().cut_off()

    def _cut_off(self, *, spared: "_Connection | None") -> None:
        for connection in tuple(self._open):
            if connection is not spared:
                connection.cut_off()


class _Connection(TCPServer):
    """Hypercorn's connection, with a short way to end it."""

    def __init__(
        self,
        app: ASGIWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
        stream: trio.SocketStream,
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]  # it asks for no more than this
        self._socket = stream.socket
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        _mine.set(self)  # known to the tasks that answer its requests
        with self._scope:
            await super().run()

    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # else a connection that its client has closed stays until the keep-alive ends

    def cut_off(self) -> None:
        """Reset it, now: its writes are shielded, so the socket goes first."""
        if self._socket.fileno() != -1:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._socket.close()
        self._scope.cancel()


_mine: ContextVar[_Connection] = ContextVar("connection")


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


def _config() -> Config:
    config = Config()
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    config.h11_max_incomplete_size = HEAD_BYTES
    config.keep_alive_timeout = IDLE_S
    config.keep_alive_max_requests = 1_000_000
    config.read_timeout = SILENCE_S
    return config
