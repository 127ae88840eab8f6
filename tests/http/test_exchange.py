"""A request and its answer take one task where the body came with its head, and nothing of HTTP is lost by it."""

import itertools

import pytest
import trio
from quart import request
from quart_trio import QuartTrio

from tabletap.http.exchange import Exchange

from .test_listener import no_socket_outlives_its_test, read_all, read_response, serving

__all__ = ["no_socket_outlives_its_test"]

BODY = bytes(range(256)) * 3
POST = b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class App(QuartTrio):
    asgi_http_class = Exchange

    def __init__(self) -> None:
        super().__init__("exchange")
        self.began = trio.Event()
        self.left = trio.Event()
        self.config["MAX_CONTENT_LENGTH"] = 10_000_000
        self.post("/echo")(self.echo)
        self.post("/later")(self.later)
        self.post("/stuck")(self.stuck)
        self.get("/hello")(self.hello)
        self.get("/fails")(self.fails)

    async def echo(self) -> bytes:
        body = await request.get_data()
        assert isinstance(body, bytes)
        return body

    async def later(self) -> str:
        """The body waits meanwhile, piece by piece."""
        await trio.sleep(0.2)
        return str(len(await self.echo()))

    async def stuck(self) -> str:
        self.began.set()
        try:
            await trio.sleep_forever()
        finally:
            self.left.set()
        return ""

    async def hello(self) -> str:
        return "hello"

    async def fails(self) -> str:
        raise RuntimeError("a bug")


async def test_a_body_may_arrive_in_any_two_pieces() -> None:
    async with serving(App()) as server:
        client = await server.connect()
        for at in (*range(1, len(POST), 97), len(POST) - len(BODY), len(POST) - 1):
            await client.send_all(POST[:at])
            await trio.sleep(0.005)
            await client.send_all(POST[at:])
            assert (await read_response(client))[::2] == (200, BODY)


async def test_a_body_in_more_pieces_than_may_wait_is_read_whole() -> None:
    size = 3_000_000
    async with serving(App()) as server:
        client = await server.connect()
        await client.send_all(b"POST /later HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % size)
        await client.send_all(bytes(size))
        assert (await read_response(client))[::2] == (200, b"%d" % size)


async def test_a_body_in_chunks_is_read_whole() -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (b"a", b"bc" * 50, BODY)) + b"0\r\n\r\n"
    async with serving(App()) as server:
        client = await server.connect()
        await client.send_all(b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert (await read_response(client))[::2] == (200, b"a" + b"bc" * 50 + BODY)


async def test_requests_sent_without_waiting_are_answered_in_their_order() -> None:
    async with serving(App()) as server:
        client = await server.connect()
        bodies = [b"%d" % number * 10 for number in range(5)]
        posts = (b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n%b" % (len(b), b) for b in bodies)
        await client.send_all(b"".join(posts))
        received = b""
        while received.count(b"HTTP/1.1 200") < 5 or not received.endswith(bodies[-1]):
            received += await client.receive_some()
        places = [received.index(body) for body in bodies]
        assert places == sorted(places)


@pytest.mark.parametrize("sent", [POST, POST[:-1]], ids=["with a whole body", "in the middle of its body"])
async def test_a_client_that_leaves_ends_whoever_answers_it(sent: bytes) -> None:
    app = App()
    async with serving(app) as server:
        client = await server.connect()
        await client.send_all(sent.replace(b"/echo", b"/stuck"))
        await app.began.wait()
        await client.aclose()
        await app.left.wait()


async def test_a_failure_is_answered_and_the_connection_goes_on() -> None:
    async with serving(App()) as server:
        client = await server.connect()
        for path, _ in itertools.product((b"/fails", b"/nowhere"), range(2)):
            await client.send_all(b"GET %b HTTP/1.1\r\nHost: t\r\n\r\n" % path)
            assert (await read_response(client))[0] == (500 if path == b"/fails" else 404)
        await client.send_all(POST)
        assert (await read_response(client))[::2] == (200, BODY)


async def test_the_head_alone_is_answered_by_a_head_alone() -> None:
    async with serving(App()) as server:
        client = await server.connect()
        await client.send_all(b"HEAD /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        head, _, body = (await read_all(client)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"content-length: 5" in head.lower()
        assert body == b""
