"""Requests that may be repeated are repeated until they are answered, under the same key."""

import trio

from tabletap.client import Server
from tabletap.simulate.rest import Rest

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
IN_PROGRESS = b'HTTP/1.1 409 Conflict\r\ncontent-length: 32\r\n\r\n{"code":"DUPLICATE_IN_PROGRESS"}'


async def served(answers: list[bytes | None], work: str) -> tuple[list[bytes], int]:
    """The requests that a server saw which gives ``answers`` (None: it drops the connection), and the repeats."""
    seen: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async for data in stream:
            seen.append(bytes(data))
            answer = answers[len(seen) - 1]
            if answer is None:
                return
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            trio.serve_tcp,
            serve,
            0,
        )
        port = listeners[0].socket.getsockname()[1]
        rest = Rest(Server(f"http://127.0.0.1:{port}"))
        for _ in range(work.count("ask")):
            assert (await rest.ask("POST", "/x", key="k", body={})).status == 200
        await rest.aclose()
        nursery.cancel_scope.cancel()
    return seen, rest.repeated


async def test_a_dropped_connection_a_full_and_a_busy_server_are_asked_again() -> None:
    seen, repeated = await served([None, BUSY, IN_PROGRESS, OK], "ask")
    assert repeated == 3
    assert len(seen) == 4
    assert all(b"idempotency-key: k" in request.lower() for request in seen)


async def test_connections_are_kept() -> None:
    seen, repeated = await served([OK, OK, OK], "ask ask ask")
    assert (len(seen), repeated) == (3, 0)
