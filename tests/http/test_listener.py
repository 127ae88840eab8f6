"""One port serves REST and sockets, and no client can hold or harm it."""

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.lowlevel
from hypercorn.typing import ASGIFramework
from quart import request
from quart_trio import QuartTrio
from trio.testing import MockClock
from trio_websocket import open_websocket_url

from tabletap.http.listener import ListenerLimits, serve
from tabletap.http.sockets.stream import Connection
from tabletap.realtime.frames import close_frame, text_frame
from tabletap.realtime.limits import GOING_AWAY, SessionLimits
from tabletap.realtime.session import Admission, Refusal, Session, serve_session

REQUEST = b"GET /hello HTTP/1.1\r\nHost: tabletap\r\n\r\n"
UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def make_app() -> QuartTrio:
    app = QuartTrio("hello")

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    @app.post("/echo")
    async def echo() -> bytes:
        body = await request.get_data()
        assert isinstance(body, bytes)
        return body

    @app.get("/much")
    async def much() -> bytes:
        return bytes(50_000_000)

    @app.get("/stuck")
    async def stuck() -> str:
        await trio.sleep_forever()
        return ""

    return app


class Server:
    def __init__(self) -> None:
        self.port = 0
        self.stop = trio.Event()
        self.stopped = trio.Event()
        self.sessions: set[Session] = set()

    # The server is its own door.

    async def admit(self, request: object, remote: str) -> Admission | Refusal:
        assert remote == "127.0.0.1"
        return Admission(principal=None)

    async def opened(self, session: Session) -> None:
        self.sessions.add(session)
        session.send(text_frame(b"welcome"))

    async def message(self, session: Session, message: str | bytes) -> None:
        assert isinstance(message, str)
        session.send(text_frame(message.encode()))

    def busy(self, session: Session, message: str | bytes) -> None: ...

    def closed(self, session: Session) -> None:
        self.sessions.discard(session)

    async def doors(self, connection: Connection) -> None:
        async with trio.open_nursery() as writing:
            await serve_session(connection, self, SessionLimits(), writing, remote=connection.client)

    def close_doors(self) -> None:
        for session in self.sessions:
            session.close(GOING_AWAY)

    async def connect(self) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        _opened.append(stream.socket)
        return stream


_opened: list[trio.socket.SocketType] = []


@pytest.fixture(autouse=True)
def no_socket_outlives_its_test() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop()._sock.close()  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def serving(app: ASGIFramework | None = None, **limits: float) -> AsyncIterator[Server]:
    server = Server()

    async def run(task_status: trio.TaskStatus[int]) -> None:
        await serve(
            app or make_app(),
            server.doors,
            host="127.0.0.1",
            port=0,
            limits=ListenerLimits(**limits),  # type: ignore[arg-type]
            stop=server.stop,
            close_doors=server.close_doors,
            task_status=task_status,
        )
        server.stopped.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server.port = await nursery.start(run)
            yield server
            server.stop.set()


async def read_response(stream: trio.SocketStream) -> tuple[int, bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        data = await stream.receive_some()
        assert data, received
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while len(body) < int(lengths[0]):
        body += await stream.receive_some()
    return int(head.split(b" ")[1]), head, body


async def read_all(stream: trio.SocketStream) -> bytes:
    received = b""
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in stream:
            received += data
    return received


async def test_one_port_serves_requests_and_sockets() -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(REQUEST)
        assert (await read_response(client))[::2] == (200, b"hello")
        async with open_websocket_url(f"ws://127.0.0.1:{server.port}/ws/orders?cafe=x") as ws:
            assert await ws.get_message() == "welcome"
            await ws.send_message("flat white")
            assert await ws.get_message() == "flat white"


async def test_a_kept_alive_connection_serves_more_requests() -> None:
    async with serving() as server:
        client = await server.connect()
        for body in (b"one", b"two", b"x" * 100_000):
            await client.send_all(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert (await read_response(client))[::2] == (200, body)


async def test_an_idle_connection_is_closed_after_its_keep_alive_time(autojump_clock: MockClock) -> None:
    async with serving(keep_alive_timeout_seconds=0.5) as server:
        # Several: what once kept some of them open was a race.
        for _ in range(20):
            client = await server.connect()
            await client.send_all(REQUEST)
            await read_response(client)
            answered = trio.current_time()
            assert await client.receive_some() == b""
            assert trio.current_time() - answered == pytest.approx(0.5, abs=0.1)


async def test_a_connection_that_is_to_close_is_closed() -> None:
    async with serving() as server:
        for _ in range(20):
            client = await server.connect()
            await client.send_all(REQUEST[:-2] + b"Connection: close\r\n\r\n")
            with trio.fail_after(5):
                assert (await read_all(client)).endswith(b"hello")


async def test_the_server_does_not_tell_its_name() -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(REQUEST)
        assert b"server:" not in (await read_response(client))[1].lower()


async def test_a_head_may_arrive_in_any_two_pieces() -> None:
    async with serving() as server:
        for head, status in ((REQUEST, 200), (UPGRADE % b"/ws/orders", 101)):
            for at in range(1, len(head)):
                client = await server.connect()
                await client.send_all(head[:at])
                await trio.lowlevel.checkpoint()
                await client.send_all(head[at:])
                assert (await client.receive_some(12)) == b"HTTP/1.1 %d" % status
                await client.aclose()


async def test_a_head_may_arrive_byte_by_byte() -> None:
    async with serving() as server:
        client = await server.connect()
        for byte in REQUEST:
            await client.send_all(bytes((byte,)))
            await trio.lowlevel.checkpoint()
        assert (await read_response(client))[0] == 200


@pytest.mark.parametrize("filler", [b"x" * 20_000, b"a: b\r\n" * 4000, b"x" * 20_000 + b"\r\n\r\n"])
async def test_a_head_that_is_too_large_is_answered_with_431(filler: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(b"GET /hello HTTP/1.1\r\n" + filler)
        assert (await read_response(client))[0] == 431


async def test_a_head_that_comes_too_slowly_is_answered_with_408(autojump_clock: MockClock) -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(REQUEST[:10])
        assert (await read_response(client))[0] == 408


async def test_a_connection_that_asks_for_nothing_is_closed_without_an_answer(autojump_clock: MockClock) -> None:
    async with serving() as server:
        client = await server.connect()
        assert await client.receive_some() == b""


async def test_a_connection_too_many_is_turned_away_with_503() -> None:
    async with serving(max_connections=2) as server:
        first, second = await server.connect(), await server.connect()
        await second.send_all(REQUEST)
        await read_response(second)
        third = await server.connect()
        assert (await read_response(third))[0] == 503
        await first.aclose()
        await second.aclose()
        while True:
            again = await server.connect()
            await again.send_all(REQUEST)
            status, _, _ = await read_response(again)
            if status == 200:
                break
            await trio.sleep(0.01)


@pytest.mark.parametrize("path", [b"/hello", b"/ws", b"/wsx/orders", b"/WS/orders"])
async def test_an_upgrade_outside_the_doors_goes_to_http(path: bytes) -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(UPGRADE % path)
        assert (await client.receive_some()).split(b" ")[1] in {b"400", b"404"}


async def test_a_plain_request_below_the_doors_goes_to_http() -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(b"GET /ws/orders HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await read_response(client))[0] == 404


@pytest.mark.parametrize(
    "garbage",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"\r\n\r\n",
        b"GET /hello HTTP/1.1\r\n\r\n",  # no Host
        b"GET /hello HTTP/1.1\r\nHost : t\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_garbage_is_answered_with_4xx_and_harms_nobody(garbage: bytes) -> None:
    async with serving() as server:
        client, other = await server.connect(), await server.connect()
        await client.send_all(garbage)
        assert (await client.receive_some()).startswith(b"HTTP/1.1 4")
        await other.send_all(REQUEST)
        assert (await read_response(other))[0] == 200


async def test_http_1_0_is_served_and_closed() -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(b"GET /hello HTTP/1.0\r\n\r\n")
        answer = await read_all(client)
        assert b" 200 " in answer.split(b"\r\n")[0]
        assert answer.endswith(b"hello")


async def test_an_offer_of_http_2_is_ignored() -> None:
    async with serving() as server:
        client = await server.connect()
        await client.send_all(REQUEST[:-2] + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n")
        assert (await read_response(client))[::2] == (200, b"hello")


async def test_a_connection_that_fails_ends_alone() -> None:
    server = Server()

    async def broken_doors(connection: Connection) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug")

    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[int]) -> None:
            await serve(
                make_app(),
                broken_doors,
                host="127.0.0.1",
                port=0,
                limits=ListenerLimits(),
                stop=server.stop,
                task_status=task_status,
            )

        server.port = await nursery.start(run)
        client, other = await server.connect(), await server.connect()
        await client.send_all(UPGRADE % b"/ws/orders")
        assert await read_all(client) == b""
        await other.send_all(REQUEST)
        assert (await read_response(other))[0] == 200
        server.stop.set()


async def test_a_client_that_resets_harms_nobody() -> None:
    async with serving() as server:
        for _ in range(3):
            client = await server.connect()
            await client.send_all(b"GET /much HTTP/1.1\r\nHost: t\r\n\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await client.aclose()
        other = await server.connect()
        await other.send_all(REQUEST)
        assert (await read_response(other))[0] == 200


async def test_stopping_tells_sockets_1001_and_ends_idle_connections() -> None:
    async with serving() as server:
        idle, silent = await server.connect(), await server.connect()
        await idle.send_all(REQUEST)
        await read_response(idle)
        client = await server.connect()
        await client.send_all(UPGRADE % b"/ws/orders")
        welcomed = b""
        while not welcomed.endswith(text_frame(b"welcome")):
            welcomed += await client.receive_some()
        server.stop.set()
        assert await client.receive_some() == close_frame(GOING_AWAY)
        await client.aclose()
        assert await read_all(idle) == b""
        assert await read_all(silent) == b""
        await server.stopped.wait()
        with pytest.raises(OSError, match="connect"):
            await server.connect()


@pytest.mark.parametrize("request_line", [b"GET /much", b"GET /stuck", b"POST /echo"])
async def test_a_client_that_does_not_read_or_write_cannot_hold_a_stop(request_line: bytes) -> None:
    async with serving(graceful_seconds=0.2) as server:
        client = await server.connect()
        await client.send_all(request_line + b" HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\n")
        await trio.sleep(0.1)
        server.stop.set()
        with trio.fail_after(5):
            await server.stopped.wait()


async def test_a_socket_that_does_not_read_cannot_hold_a_stop() -> None:
    async with serving(graceful_seconds=0.2) as server:
        client = await server.connect()
        await client.send_all(UPGRADE % b"/ws/orders")
        await client.receive_some()
        [session] = server.sessions
        while session.send(text_frame(bytes(60_000))):
            pass
        server.stop.set()
        with trio.fail_after(5):
            await server.stopped.wait()


async def test_being_cancelled_drops_everything_at_once() -> None:
    server = Server()
    async with trio.open_nursery() as nursery:

        async def run(task_status: trio.TaskStatus[int]) -> None:
            await serve(
                make_app(),
                server.doors,
                host="127.0.0.1",
                port=0,
                limits=ListenerLimits(),
                stop=server.stop,
                task_status=task_status,
            )

        server.port = await nursery.start(run)
        client = await server.connect()
        await client.send_all(b"GET /much HTTP/1.1\r\nHost: t\r\n\r\n")
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def test_a_client_that_does_not_read_its_answer_is_dropped() -> None:
    async with serving(write_timeout_seconds=0.2) as server:
        client = await server.connect()
        await client.send_all(b"GET /much HTTP/1.1\r\nHost: t\r\n\r\n")
        await trio.sleep(0.5)
        assert len(await read_all(client)) < 50_000_000
