"""One port for REST and sockets.

The listener reads the head of a connection's first request once. A WebSocket upgrade below `/ws/` goes to the doors;
everything else, garbage included, to Hypercorn's HTTP/1.1 protocol with the Quart app, where the connection stays.

What must hold: a connection is bounded in number, in the size and time of its head, and in the time a write may take;
its failure ends nothing but itself; and after `stop` nothing a client does or fails to do can keep `serve` alive for
longer than `graceful_seconds`.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from http import HTTPStatus

import msgspec
import structlog
import trio
from h11 import ERROR, LocalProtocolError, Response
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, H11SendableEvent, LifespanState
from hypercorn.utils import parse_socket_addr

from tabletap.http.exchange import Apps
from tabletap.http.proxies import Proxies
from tabletap.http.sockets.stream import Connection, HeadTooLarge

log = structlog.get_logger(__name__)

Doors = Callable[[Connection], Awaitable[None]]


class ListenerLimits(msgspec.Struct, frozen=True, kw_only=True):
    backlog: int = 1024
    max_connections: int = 20_000
    max_head_bytes: int = 16 * 1024
    head_timeout_seconds: float = 10
    keep_alive_timeout_seconds: float = 75
    keep_alive_requests: int = 100_000
    # Silence of the client, also while its request is being answered: must exceed the longest long poll.
    read_timeout_seconds: int = 120
    write_timeout_seconds: float = 30
    # How long a stop waits for answers and close handshakes before it cuts off.
    graceful_seconds: float = 5


async def serve(
    app: ASGIFramework,
    doors: Doors,
    *,
    host: str | None,
    port: int,
    limits: ListenerLimits,
    stop: trio.Event,
    close_doors: Callable[[], None] = lambda: None,
    proxies: Proxies | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `stop` is set; report the bound port (of interest for port 0) once connections are taken.

    `proxies`: whose word on a client's address is taken; none: nobody's. `close_doors` tells every socket to close
    (1001) and must not wait. Being cancelled drops all connections at once.
    """
    config = _hypercorn_config(limits)
    state: LifespanState = {}
    lifespan = Lifespan(ASGIWrapper(app), config, state)
    async with trio.open_nursery() as background:
        await background.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        listeners = await _open_listeners(host, port, limits.backlog)
        proxies = proxies or Proxies()
        listener = _Listener(ASGIWrapper(proxies.before(app)), doors, config, limits, state, proxies)
        await listener.run(listeners, stop, close_doors, task_status)
        await lifespan.wait_for_shutdown()
        background.cancel_scope.cancel()


class _Listener:
    def __init__(
        self,
        app: ASGIWrapper,
        doors: Doors,
        config: Config,
        limits: ListenerLimits,
        state: LifespanState,
        proxies: Proxies,
    ) -> None:
        self._proxies = proxies
        self._app = app
        self._doors = doors
        self._config = config
        self._limits = limits
        self._state = state
        self._context = WorkerContext(max_requests=None)
        self._open: set[Connection] = set()
        self._turning_away = 0
        self._drained = trio.Event()
        self._stopping = False

    async def run(
        self,
        listeners: list[trio.SocketListener],
        stop: trio.Event,
        close_doors: Callable[[], None],
        task_status: trio.TaskStatus[int],
    ) -> None:
        async with trio.open_nursery() as connections:
            try:
                async with trio.open_nursery() as accepting:
                    # serve_listeners backs off when descriptors run out, and closes the listeners when it ends.
                    accept = partial(trio.serve_listeners, handler_nursery=connections)
                    await accepting.start(accept, self._serve_connection, listeners)
                    task_status.started(listeners[0].socket.getsockname()[1])
                    await stop.wait()
                    accepting.cancel_scope.cancel()
                await self._wind_down(close_doors)
            finally:
                # Past the deadline, or cancelled from outside: Hypercorn shields its writes, so the sockets go first.
                for connection in tuple(self._open):
                    connection.abort()
                    connection.scope.cancel()

    async def _wind_down(self, close_doors: Callable[[], None]) -> None:
        self._stopping = True
        with trio.move_on_after(self._limits.graceful_seconds) as patience:
            await self._context.terminated.set()  # idle connections end now, busy ones after their answer
            for connection in tuple(self._open):
                if connection.reading_head or connection.idle:
                    connection.scope.cancel()
            try:
                close_doors()
            except Exception:
                log.exception("close_doors_failed")
            if self._open:
                await self._drained.wait()
        if patience.cancelled_caught:
            log.warning("connections_cut_off", count=len(self._open))

    async def _serve_connection(self, stream: trio.SocketStream) -> None:
        try:
            connection = Connection(stream, write_timeout_seconds=self._limits.write_timeout_seconds)
        except OSError:  # reset between accept and now
            stream.socket.close()
            return
        if len(self._open) >= self._limits.max_connections:
            await self._turn_away(connection)
            return
        self._open.add(connection)
        try:
            with connection.scope:
                await self._route(connection)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("connection_lost")
        except Exception:
            log.exception("connection_failed")
        finally:
            connection.socket.close()
            self._open.discard(connection)
            if self._stopping and not self._open:
                self._drained.set()

    async def _turn_away(self, connection: Connection) -> None:
        # Politeness is bounded as well: under a flood the sockets are simply closed.
        try:
            if self._turning_away < 64:
                self._turning_away += 1
                try:
                    await connection.answer_and_leave(_response(HTTPStatus.SERVICE_UNAVAILABLE, b"Retry-After: 2\r\n"))
                finally:
                    self._turning_away -= 1
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("connection_lost")
        finally:
            connection.socket.close()

    async def _route(self, connection: Connection) -> None:
        head = None
        try:
            with trio.move_on_after(self._limits.head_timeout_seconds):
                head = await connection.read_head(self._limits.max_head_bytes)
        except HeadTooLarge:
            await connection.answer_and_leave(_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
            return
        if head is None:
            # A browser's spare connection has asked for nothing and gets no answer.
            if connection.has_received:
                await connection.answer_and_leave(_response(HTTPStatus.REQUEST_TIMEOUT))
        elif _asks_for_door(head):
            connection.client = self._proxies.client(connection.client, _headers_of(head))
            del head  # a socket lasts
            await self._doors(connection)
        elif head:
            await _HttpConnection(self._app, self._config, self._context, self._state, connection).run()


class _Http1(H11Protocol):
    """HTTP/1.1 with one write for an answer's head and the first of its body."""

    _held = b""

    async def _check_protocol(self, event: object) -> None:
        """Stay with HTTP/1.1: an offer of h2c (Java's client makes one by default) may be ignored, and is."""

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self._held + (self.connection.send(event) or b"")
        except LocalProtocolError:
            if self.connection.their_state != ERROR:
                raise
            return
        if type(event) is Response:
            self._held = data
        elif data:
            self._held = b""
            await self.send(RawData(data=data))


class _HttpConnection(TCPServer):
    """Hypercorn's connection without its TLS and its HTTP/2, and with one timer instead of a task for each silence."""

    def __init__(
        self, app: ASGIWrapper, config: Config, context: WorkerContext, state: LifespanState, stream: Connection
    ) -> None:
        super().__init__(app, config, context, state, stream)  # type: ignore[arg-type]  # it asks for no more than this
        self._connection = stream
        self._silence = trio.CancelScope()

    async def run(self) -> None:
        sock = self._connection.socket
        async with Apps() as task_group:
            self.protocol = _Http1(  # type: ignore[assignment]  # the part of ProtocolWrapper that is used
                self.app,
                self.config,
                self.context,
                task_group,
                ConnectionState(self.state.copy()),
                ssl=False,
                client=parse_socket_addr(sock.family, sock.getpeername()),
                server=parse_socket_addr(sock.family, sock.getsockname()),
                send=self.protocol_send,
            )
            await self._read_data()
        await self._close()

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, Updated):
            self._connection.idle = event.idle
            self._silence.deadline = self._bound()
        else:
            await super().protocol_send(event)

    async def _read_data(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._bound()) as self._silence:
                try:
                    data = await self.stream.receive_some(MAX_RECV)
                except (trio.ClosedResourceError, trio.BrokenResourceError):
                    break
            if self._silence.cancelled_caught:
                break
            await self.protocol.handle(RawData(bytes(data)))
            if not data:
                break
        await self.protocol.handle(Closed())

    def _bound(self) -> float:
        """Until when the client may be silent."""
        seconds = self.config.keep_alive_timeout if self._connection.idle else self.config.read_timeout or math.inf
        return trio.current_time() + seconds

    async def _close(self) -> None:
        # Quart-Trio cancels the task that sent an answer as soon as it is complete, which is while Hypercorn, in that
        # task, may still close: without this shield the connection would stay.
        with trio.CancelScope(shield=True):
            await super()._close()


def _asks_for_door(head: bytes) -> bool:
    """Whether this is a WebSocket upgrade below /ws/. Only the routing is decided here: wsproto checks the rest."""
    if not head.startswith(b"GET /ws/"):
        return False
    tokens: dict[bytes, bytes] = {}
    for name, value in _headers_of(head):
        if name in {b"upgrade", b"connection"}:
            tokens[name] = tokens.get(name, b"") + b"," + value.lower()
    return all(
        wanted in (token.strip() for token in tokens.get(name, b"").split(b","))
        for name, wanted in ((b"upgrade", b"websocket"), (b"connection", b"upgrade"))
    )


def _headers_of(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    for line in head.split(b"\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.lower(), value


def _response(status: HTTPStatus, headers: bytes = b"") -> bytes:
    line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    return line + headers + b"Content-Length: 0\r\nConnection: close\r\n\r\n"


async def _open_listeners(host: str | None, port: int, backlog: int) -> list[trio.SocketListener]:
    listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    if port == 0:
        # Every address would get a port of its own; a free port is asked for by tests and demos, which use one.
        for spare in listeners[1:]:
            await spare.aclose()
        del listeners[1:]
    return listeners


def _hypercorn_config(limits: ListenerLimits) -> Config:
    config = Config()
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")
    config.h11_max_incomplete_size = limits.max_head_bytes
    config.keep_alive_timeout = limits.keep_alive_timeout_seconds
    config.keep_alive_max_requests = limits.keep_alive_requests
    config.read_timeout = limits.read_timeout_seconds
    config.graceful_timeout = limits.graceful_seconds
    config.websocket_max_message_size = limits.max_head_bytes  # no sockets outside the doors
    return config
