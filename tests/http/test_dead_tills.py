"""A till that stops answering is found within 30 s, and what is known of it says so (spec S7)."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tabletap.actors.ports import CafeEntry
from tabletap.actors.till_ports import Line, TillId, TillRow
from tabletap.domain.access import Principal
from tabletap.domain.base import CafeId, Role
from tabletap.domain.till import Scope
from tabletap.http.operations.base import Call
from tabletap.http.operations.pos import Status, status
from tabletap.http.sockets.admission import Guest
from tabletap.http.sockets.doors import Doors
from tabletap.http.tills import Tills
from tabletap.realtime.feed import TillFeed
from tabletap.realtime.hub import Hub
from tabletap.realtime.presence import MemoryRoster, Presence
from tabletap.realtime.sending import Sending
from tabletap.realtime.session import serve_session
from tabletap.settings import load
from tests.domain.world import Ids
from tests.realtime.cafe_log import CAFE, FakeReader, logged, placed

FOUND_WITHIN_S = 30
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
KEY = UUID(int=7)
SETTINGS = load(environment={})


class Book:
    """What is written down of tills."""

    def __init__(self) -> None:
        self.rows: dict[TillId, TillRow] = {}
        self.log: list[Line] = []

    async def enter(self, ident: TillId, cafe_id: CafeId, head: int, now: datetime, most: int) -> TillRow:
        row = TillRow(key_id=ident.key_id, till=ident.till, cafe_id=cafe_id, cursor=head, seen_at=now)
        return self.rows.setdefault(ident, row)

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillRow]:
        return list(self.rows.values())

    async def write(self, tills: Sequence[TillRow], lines: Sequence[Line]) -> None:
        self.rows.update((till.ident, till) for till in tills)
        self.log += lines


class Node:
    """The door of tills with all that knows of them, on the clock of the test and with the settings as they are."""

    def __init__(self) -> None:
        nothing = cast("Any", None)
        begun = trio.current_time()
        now = lambda: NOON + timedelta(seconds=trio.current_time() - begun)  # noqa: E731  read where it is used
        self.book, self.hub, self.reader = Book(), Hub(), FakeReader(logged(placed(1)))
        sending = Sending(self.hub, Ids(), now)
        self.presence = Presence(sending, MemoryRoster(), SETTINGS.presence, UUID(int=1))
        self.tills = Tills(cast("Any", self.book), SETTINGS.tills, now, head=self.hub.head)
        self.hub.pushed = self.tills.pushed
        self.feed = TillFeed(self.hub, cast("Any", self.reader), sending)
        self.doors = Doors(
            hub=self.hub,
            reader=cast("Any", self.reader),
            auth=nothing,
            admissions=cast("Any", SimpleNamespace(look=self._look)),
            gate=cast("Any", SimpleNamespace(message=lambda *_: None)),
            watch=cast("Any", SimpleNamespace(entered=lambda *_: None)),
            presence=self.presence,
            keyring=cast("Any", SimpleNamespace(judge=lambda principal: principal)),
            tills=self.tills,
            limits=SETTINGS.sessions_at,
            now=now,
        )
        self.doors.answer = self._answer
        self._theirs: list[trio.socket.SocketType] = []

    async def _look(self, request: Any, remote: str) -> Guest:
        principal = Principal(
            role=Role.TILL,
            user=f"till:{KEY}",
            cafes=frozenset({CAFE}),
            token_id=str(KEY),
            device=request.path.rpartition("=")[2],
            scopes=frozenset(Scope),
        )
        till = await self.tills.enter(principal, await self.reader.head(CAFE))
        return Guest(
            principal=principal,
            cafe=CafeEntry(CAFE, "corner", "Corner"),
            door="pos",
            after=None,
            address=remote,
            till=cast("Any", till),
        )

    async def _answer(self, session: Any, guest: Guest, message: str | bytes) -> None:
        return None

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[trio.Nursery]:
        async with trio.open_nursery() as nursery:
            for work in (self.hub.run, self.doors.run, self.presence.run, self.tills.run):
                nursery.start_soon(work)
            try:
                yield nursery
            finally:
                nursery.cancel_scope.cancel()
                for one in self._theirs:
                    one.close()

    async def connect(self, nursery: trio.Nursery) -> trio.SocketStream:
        ours, theirs = trio.socket.socketpair()
        self._theirs.append(theirs)
        nursery.start_soon(serve_session, trio.SocketStream(ours), self.doors, SETTINGS.sessions, nursery)
        return trio.SocketStream(theirs)

    async def status(self) -> Status:
        services = SimpleNamespace(till_feed=self.feed, tills=self.tills, presence=self.presence)
        cafe = CafeEntry(CAFE, "corner", "Corner")
        call = Call(services=cast("Any", services), principal=cast("Any", None), params={}, cafe=cafe)
        told = await status(call)
        assert isinstance(told, Status)
        return told


async def listen(nursery: trio.Nursery, stream: trio.SocketStream, name: str) -> WebSocketConnection:
    """A till by its WebSocket library, which answers pings."""
    socket = await wrap_client_stream(nursery, stream, "here", f"/ws/pos/corner?till={name}", message_queue_size=100)

    async def read_on() -> None:
        with suppress(ConnectionClosed):
            while True:
                await socket.get_message()

    nursery.start_soon(read_on)
    return socket


async def test_a_till_that_answers_no_ping_is_gone_within_30_s_with_its_lag_and_the_reason(
    autojump_clock: MockClock,
) -> None:
    node = Node()
    async with node.at_work() as nursery:
        unplugged = await node.connect(nursery)
        async with trio.open_nursery() as clients:
            lives = await listen(clients, await node.connect(nursery), "lives")
            async with trio.open_nursery() as machine:
                await listen(machine, unplugged, "dies")
                await trio.sleep(1)
                assert {one.till for one in (await node.status()).connections} == {"lives", "dies"}
                machine.cancel_scope.cancel()  # nobody answers any more, and nobody hangs up
            node.hub.publish(CAFE, logged(placed(1), placed(2))[1:])
            await trio.sleep(FOUND_WITHIN_S)
            now = await node.status()
            assert [one.till for one in now.connections] == ["lives"]
            gone = {one.till: one for one in now.tills}["dies"]
            assert (gone.connected, gone.cursor, gone.lag) == (False, 1, 1)
            assert gone.last_error == "it did not answer in time"
            assert [line.error for line in node.book.log if line.kind == "disconnect"] == [gone.last_error]
            await trio.sleep(2 * FOUND_WITHIN_S)
            assert [one.till for one in (await node.status()).connections] == ["lives"], "it answers, and stays"
            await lives.aclose()
