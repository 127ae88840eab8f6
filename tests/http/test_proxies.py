"""Whose address a request comes from: a trusted proxy's word is taken, and nobody else's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import pytest
import trio
from quart import request
from quart_trio import QuartTrio

from tabletap.http.listener import ListenerLimits, serve
from tabletap.http.proxies import HOPS_AT_MOST, Proxies
from tabletap.http.sockets.stream import Connection
from tabletap.realtime.limits import SessionLimits
from tabletap.realtime.session import Admission, Refusal, serve_session
from tabletap.settings import load

NEAR, FAR, CLIENT, LIAR = "10.0.0.1", "10.9.9.9", "203.0.113.7", "198.51.100.66"
OURS = Proxies(["10.0.0.0/8", "fd00::/8"])
PATIENCE_S = 20


def client(peer: str, *forwarded: str, proxies: Proxies = OURS) -> str:
    return proxies.client(peer, [(b"host", b"t"), *((b"x-forwarded-for", value.encode()) for value in forwarded)])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        (NEAR, [CLIENT], CLIENT),
        (NEAR, [f"{CLIENT}, {FAR}"], CLIENT),
        (NEAR, [CLIENT, FAR], CLIENT),
        (NEAR, [f"{CLIENT}:4711"], CLIENT),
        (NEAR, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (NEAR, ["2001:DB8::7"], "2001:db8::7"),
        ("fd00::1", [CLIENT], CLIENT),
        (f"::ffff:{NEAR}", [f"::ffff:{CLIENT}"], CLIENT),
        (NEAR, [], NEAR),
        (NEAR, [""], NEAR),
        (NEAR, [FAR], FAR),
        (NEAR, [f"{CLIENT},,{FAR}"], FAR),
    ],
)
def test_the_client_is_the_right_most_address_that_is_no_proxy_of_ours(peer, forwarded, expected):
    assert client(peer, *forwarded) == expected


@pytest.mark.parametrize("claim", [LIAR, NEAR, "127.0.0.1", "unknown", f"{LIAR}, {NEAR}"])
def test_what_a_client_claims_itself_is_not_believed(claim):
    assert client(CLIENT, claim) == CLIENT
    assert client(NEAR, f"{claim}, {CLIENT}") == CLIENT
    assert client(NEAR, claim, CLIENT) == CLIENT


def test_without_trusted_proxies_nobody_is_believed():
    for peer in (NEAR, "127.0.0.1", CLIENT, ""):
        assert client(peer, LIAR, proxies=Proxies()) == peer


@pytest.mark.parametrize("rubbish", ["unknown", "_hidden", "1.2.3", "\u0661.1.1.1", "x" * 10_000, "'; --"])
def test_what_is_no_address_ends_the_list(rubbish):
    assert client(NEAR, f"{LIAR}, {rubbish}") == NEAR
    assert client(NEAR, f"{LIAR}, {rubbish}, {FAR}") == FAR


def test_of_an_endless_list_only_its_end_is_read():
    assert client(NEAR, ",".join([LIAR, *[FAR] * 5_000])) == FAR
    assert client(NEAR, ",".join([CLIENT, *[FAR] * (HOPS_AT_MOST - 1)])) == CLIENT


@pytest.mark.parametrize("network", ["10.0.0.1/8", "example.org", "10.0.0.0/33", ""])
def test_what_is_no_network_is_refused_when_the_settings_are_read(network):
    with pytest.raises(msgspec.ValidationError, match="server"):
        load(environment={}, trusted_proxies=[network])


def test_nobody_is_trusted_unless_somebody_says_so():
    assert [load(name, environment={}).server.trusted_proxies for name in (None, "production")] == [(), ()]


# -- at the listener, whose peer is 127.0.0.1


class Door:
    """Notes whom it was shown."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def admit(self, request: object, remote: str) -> Admission | Refusal:
        self.seen.append(remote)
        return Refusal(status=403, body=b"{}")

    async def serve(self, connection: Connection) -> None:
        async with trio.open_nursery() as writing:
            await serve_session(connection, self, SessionLimits(), writing, remote=connection.client)  # type: ignore[arg-type]


@asynccontextmanager
async def serving(*trusted: str) -> AsyncIterator[tuple[int, Door]]:
    app, door, stop = QuartTrio("whose"), Door(), trio.Event()

    @app.get("/whose")
    async def whose() -> str:
        return request.remote_addr or ""

    run = partial(serve, host="127.0.0.1", port=0, limits=ListenerLimits(), stop=stop, proxies=Proxies(trusted))
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(partial(run, app, door.serve))
            yield port, door
            stop.set()


async def asked(stream: trio.SocketStream, forwarded: str) -> str:
    """Whose the server says that a request is, on a connection that stays open."""
    await stream.send_all(b"GET /whose HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: %b\r\n\r\n" % forwarded.encode())
    received = b""
    while b"\r\n\r\n" not in received or received.endswith(b"\r\n\r\n"):
        received += await stream.receive_some()
    return received.rpartition(b"\r\n\r\n")[2].decode()


async def knocked(port: int, forwarded: str) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            b"GET /ws/orders HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"x-FORWARDED-for: %b\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % forwarded.encode()
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 403")


async def test_a_proxy_sends_requests_of_many_over_one_connection_and_each_has_its_own_address():
    async with serving("127.0.0.0/8") as (port, _), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        assert [await asked(stream, address) for address in (CLIENT, f"{LIAR}, {CLIENT}", LIAR)] == [
            CLIENT,
            CLIENT,
            LIAR,
        ]


async def test_the_doors_of_sockets_take_a_proxys_word_just_the_same():
    async with serving("127.0.0.0/8") as (port, door):
        await knocked(port, CLIENT)
        await knocked(port, f"{LIAR}, {CLIENT}")
    assert door.seen == [CLIENT, CLIENT]


@pytest.mark.parametrize("trusted", [(), ("10.0.0.0/8",)])
async def test_who_is_no_trusted_proxy_is_known_by_the_address_they_have(trusted):
    async with serving(*trusted) as (port, door):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            assert await asked(stream, LIAR) == "127.0.0.1"
        await knocked(port, LIAR)
    assert door.seen == ["127.0.0.1"]
