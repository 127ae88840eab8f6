"""The doors under strain: what is one too many is answered as the protocol says, and nobody else notices."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

import msgspec
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream
from uuid_utils.compat import uuid7

from tabletap import settings
from tabletap.actors.ports import CafeEntry
from tabletap.domain.base import CafeId, Role
from tabletap.entrance import Entrance
from tabletap.http.auth import Authenticator, AuthSettings
from tabletap.realtime.hub import Hub
from tabletap.realtime.session import serve_session
from tests.domain.world import NOON
from tests.realtime.cafe_log import FakeReader

CAFE = CafeEntry(CafeId(UUID(int=1)), "corner", "Corner")


class Directory:
    """One cafe."""

    def by_slug(self, slug: str) -> CafeEntry | None:
        return CAFE if slug == CAFE.slug else None

    def by_id(self, cafe_id: CafeId) -> CafeEntry | None:
        return CAFE if cafe_id == CAFE.id else None


class NoTills:
    """A database without a till's key."""

    async def read(self, _: Any) -> Any:
        return [{"id": None, "mark": 0}]


class House:
    """What ``app`` wires, without actors and a database; every connection comes from the same address."""

    def __init__(self, nursery: trio.Nursery, **changed: Any) -> None:
        merged = msgspec.to_builtins(settings.load("demo", {}))
        for section, values in changed.items():
            merged[section] |= values
        self.settings = msgspec.convert(merged, settings.Settings)
        self.auth = Authenticator(AuthSettings(secret=b"s" * 32, token_lifetime_s=3600, leeway_s=0))
        self.hub = Hub()
        reader, directory, nothing = cast("Any", FakeReader()), cast("Any", Directory()), cast("Any", None)
        self.entrance = Entrance(
            self.settings, cast("Any", NoTills()), self.hub, reader, self.auth, directory, lambda: NOON
        )
        self.entrance.open(nothing)
        self.nursery = nursery

    def token(self, role: Role = Role.STAFF, user: str = "sam") -> str:
        return self.auth.issue(user=user, role=role, cafes=frozenset({CAFE.id}), token_id=uuid7())

    def _knock(self) -> trio.SocketStream:
        ours, theirs = (trio.SocketStream(end) for end in trio.socket.socketpair())
        serve = partial(serve_session, turns=self.entrance.turns)
        self.nursery.start_soon(serve, ours, self.entrance.doors, self.settings.sessions, self.nursery)
        return theirs

    async def connect(self, token: str, door: str = "orders", **query: str) -> WebSocketConnection:
        stream = self._knock()
        self.nursery.start_soon(_close_at_the_end, stream)
        headers = [(b"authorization", b"Bearer " + token.encode())]
        with trio.fail_after(10):
            return await wrap_client_stream(self.nursery, stream, "tabletap", _path(door, query), extra_headers=headers)

    async def refused(self, token: str, status: int, **query: str) -> Any:
        """The answer instead of a socket: its headers and its body."""
        stream = self._knock()
        head = (
            f"GET {_path('orders', query)} HTTP/1.1\r\nhost: tabletap\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            f"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"authorization: Bearer {token}\r\n\r\n"
        )
        answer = b""
        async with stream:
            await stream.send_all(head.encode())
            with trio.fail_after(10):
                async for data in stream:
                    answer += data
        head, body = answer.decode().split("\r\n\r\n")
        first, *lines = head.lower().splitlines()
        assert first.split()[1] == str(status), answer
        return dict(line.split(": ", 1) for line in lines), json.loads(body)


def _path(door: str, query: Mapping[str, str]) -> str:
    return f"/ws/{door}?{urlencode({'cafe': CAFE.slug, **query})}"


async def _close_at_the_end(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stream.socket.close()


@contextlib.asynccontextmanager
async def house(**changed: Any) -> AsyncIterator[House]:
    async with trio.open_nursery() as nursery:
        opened = House(nursery, **changed)
        await nursery.start(opened.hub.run)
        nursery.start_soon(opened.entrance.run)
        yield opened
        nursery.cancel_scope.cancel()


async def heard(client: WebSocketConnection, *types: str) -> Any:
    """The next message of one of these types."""
    with trio.fail_after(10):
        while True:
            message = json.loads(await client.get_message())
            if message["type"] in types:
                return message


async def say(client: WebSocketConnection, op: str = "ping", **fields: Any) -> Any:
    await client.send_message(json.dumps({"op": op, "id": 1, **fields}))
    return await heard(client, "reply", "error")


async def close_code(client: WebSocketConnection) -> int:
    with trio.fail_after(10), contextlib.suppress(ConnectionClosed):
        while True:
            await client.get_message()
    assert client.closed is not None
    return int(client.closed.code)


async def test_more_at_once_than_may_wait_are_told_when_to_come_again_and_who_is_there_is_served() -> None:
    at_once = {"at_once": 1, "waiting": 2, "wait_s": 5}
    async with house(storms={"handshakes": at_once}) as opened:
        there = await opened.connect(opened.token())
        await heard(there, "welcome")
        answers, both = list[Any](), trio.Event()
        async with trio.open_nursery() as coming:

            async def come() -> None:
                with contextlib.suppress(AssertionError):
                    answers.append(await opened.refused(opened.token(), 503))
                    if len(answers) == 2:
                        both.set()

            for _ in range(5):
                coming.start_soon(come)
            assert (await say(there))["type"] in ("reply", "error")
            with trio.fail_after(10):
                await both.wait()
            coming.cancel_scope.cancel()
        figures = opened.entrance.figures()
    assert [(headers["retry-after"], body["code"]) for headers, body in answers] == [("1", "OVERLOADED")] * 2
    assert figures["handshakes_turned_away"] == 2


@pytest.mark.parametrize("sort", ["address", "user", "cafe"])
async def test_one_handshake_too_many_is_answered_429_and_when_to_come_again(sort: str) -> None:
    async with house(handshakes={f"{sort}_burst": 2, f"{sort}_per_min": 1}) as opened:
        token = opened.token()
        for _ in range(2):
            await heard(await opened.connect(token), "welcome")
        headers, problem = await opened.refused(token, 429)
        assert problem["code"] == "RATE_LIMIT_EXCEEDED"
        assert 1 <= int(headers["retry-after"]) <= 60


async def test_who_guesses_tokens_is_not_looked_at_any_longer_and_management_is_told() -> None:
    limits = {"handshakes": {"failed_burst": 3, "failed_per_min": 1}, "watch": {"failed_handshakes": 3}}
    async with house(**limits) as opened:
        admin = await opened.connect(opened.token(Role.OWNER, "ola"), "admin")
        welcome = await heard(admin, "welcome")
        assert welcome["rooms"] == [f"cafe:{CAFE.id}", f"cafe:{CAFE.id}:presence", f"cafe:{CAFE.id}:alerts"]
        await say(admin)  # its rooms begin with that
        for _ in range(3):
            await opened.refused("guess", 401)
        alert = await heard(admin, "alert_raised")
        assert (alert["room"], alert["data"]["kind"]) == (f"cafe:{CAFE.id}:alerts", "failed_handshakes")
        await opened.refused(opened.token(), 429)
        assert (await say(admin))["type"] == "reply", "who is there stays"


async def test_a_door_may_have_limits_of_its_own_and_a_flood_is_closed_4029() -> None:
    tight = {"messages_per_second": 0.001, "message_burst": 5, "commands_in_flight": 4}
    async with house(doors={"kitchen": tight}, watch={"floods": 1}) as opened:
        admin = await opened.connect(opened.token(Role.OWNER, "ola"), "admin")
        await heard(admin, "welcome")
        await say(admin)
        cook = await opened.connect(opened.token(Role.KITCHEN, "kim"), "kitchen")
        waiter = await opened.connect(opened.token())
        for _ in range(6):
            await waiter.send_message('{"op":"ping"}')
            await cook.send_message('{"op":"ping"}')
        assert await close_code(cook) == 4029
        assert (await say(waiter))["type"] == "reply"
        alert = await heard(admin, "alert_raised")
        assert (alert["data"]["kind"], alert["data"]["user"]) == ("flood", "kim")


async def test_a_person_who_floods_on_many_sockets_is_closed_and_others_are_not() -> None:
    async with house(messages={"user_burst": 6, "user_per_min": 1}) as opened:
        mine = [await opened.connect(opened.token(user="sam")) for _ in range(3)]
        other = await opened.connect(opened.token(user="kim"))
        for client in mine[:2]:
            for _ in range(3):
                assert (await say(client))["type"] == "reply"
        await mine[2].send_message('{"op":"ping"}')
        assert await close_code(mine[2]) == 4029
        assert (await say(other))["type"] == "reply"


@pytest.mark.parametrize("sort", ["address", "cafe"])
async def test_what_many_share_closes_nobody(sort: str) -> None:
    async with house(messages={f"{sort}_burst": 2, f"{sort}_per_min": 1}) as opened:
        noisy, quiet = await opened.connect(opened.token(user="sam")), await opened.connect(opened.token(user="kim"))
        for _ in range(2):
            assert (await say(noisy))["type"] == "reply"
        refused = await say(quiet)
        assert (refused["code"], refused["id"]) == ("RATE_LIMIT_EXCEEDED", 1)
        assert 1 <= refused["retryAfter"] <= 60
        assert quiet.closed is None


async def test_a_message_that_is_nested_too_deep_is_refused_and_nothing_else() -> None:
    async with house(sockets={"message_depth": 8}) as opened:
        client = await opened.connect(opened.token())
        deep: Any = []
        for _ in range(8):
            deep = [deep]
        assert (await say(client, data=deep))["code"] == "MALFORMED"
        await client.send_message("[" * 60_000)
        assert (await heard(client, "error"))["code"] == "MALFORMED"
        assert (await say(client, data={"text": "[" * 100}))["type"] == "reply"


async def test_a_device_says_its_name_and_is_known_by_it() -> None:
    async with house() as opened:
        till = await opened.connect(opened.token(), device="Till 2")
        await heard(till, "welcome")
        (there,) = await opened.entrance.presence.connections(CAFE.id)
        assert (there.device, there.user, there.door, there.role) == ("Till 2", "sam", "orders", "staff")
        for name in ("x" * 65, "a\nb", "4111 1111 1111 1111"):
            _, problem = await opened.refused(opened.token(), 400, device=name)
            assert problem["errors"][0]["field"] == "device"
            assert "4111" not in str(problem)


async def test_people_come_and_go_before_the_eyes_of_the_admin() -> None:
    async with house() as opened:
        admin = await opened.connect(opened.token(Role.OWNER, "ola"), "admin")
        await heard(admin, "welcome")
        await say(admin)
        sam = await opened.connect(opened.token())
        joined = await heard(admin, "presence_updated")
        while "sam" not in [one.get("user") for one in joined["data"].get("joined", [])]:
            joined = await heard(admin, "presence_updated")
        await sam.aclose()
        left = await heard(admin, "presence_updated")
        assert [one["user"] for one in left["data"]["left"]] == ["sam"]
        assert left["data"]["connected"] == 1
        lost = {"op": "subscribe", "room": f"cafe:{CAFE.id}:presence", "after": 1 << 40}
        await admin.send_message(json.dumps(lost))
        whole = await heard(admin, "resync")
        assert [one["user"] for one in whole["snapshot"]["connections"]] == ["ola"]
