"""Who is in a storm: screens that lose their server, by lines that can be cut, and those who order meanwhile."""

import contextlib
import socket
import sys
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from uuid import UUID

import msgspec
import trio

from tabletap.client import Client, Event, Message, Server, State, Status
from tabletap.simulate.baskets import Baskets, Cafe
from tabletap.simulate.rest import Rest

STATES = frozenset({"kitchen_display_updated", "queue_position_updated"})


class CutServer(Server):
    """The server, by lines that can be cut; nobody gets through while it is ``shut``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._lines: set[trio.SocketStream] = set()
        self.shut = False

    async def dial(self) -> trio.abc.Stream:
        if self.shut:
            await trio.lowlevel.checkpoint()
            raise ConnectionRefusedError
        stream = await super().dial()
        assert isinstance(stream, trio.SocketStream)
        self._lines.add(stream)
        return stream

    def cut(self, *, and_stay_away: bool = False) -> None:
        """All of them, now, without a word."""
        self.shut = and_stay_away
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)
        self._lines.clear()


class Screen:
    """One client: the offsets it was told of, and how long it was gone."""

    def __init__(self, server: Server, slug: str, token: str, after: int | None = None) -> None:
        self.told = array("q")  # offsets; of events that later ones replace, negative
        self.types: list[str] = []
        self.resyncs = 0
        self.newest = 0
        self.came_back = trio.Event()
        self.client = Client(
            server,
            door="kitchen",
            cafe=slug,
            token=token,
            after=after,
            on_message=self._hear,
            on_status=self._status,
        )

    def _hear(self, message: Message) -> None:
        if isinstance(message, Event):
            self.told.append(message.offset)
            self.types.append(sys.intern(message.type))
            self.newest = message.offset
        else:
            self.resyncs += 1

    def _status(self, status: Status) -> None:
        if status.state is State.LIVE:
            self.came_back.set()

    async def has(self, offset: int) -> None:
        """Wait until it is there and was told of this offset."""
        await self.came_back.wait()
        while self.newest < offset:  # noqa: ASYNC110 - thousands of them, looked at now and then
            await trio.sleep(0.01)

    @property
    def kept(self) -> list[tuple[int, str]]:
        """What nobody may miss."""
        return [told for told in zip(self.told, self.types, strict=True) if told[1] not in STATES]


class Orders:
    """What comes in meanwhile. ``placed``: how many so far."""

    def __init__(self, rest: Rest, slug: str, token: str, chance: Random) -> None:
        self._rest = rest
        self._slug = slug
        self._token = token
        self._chance = chance
        self._baskets: Baskets | None = None
        self.placed = 0

    @asynccontextmanager
    async def coming(self, rate: float) -> AsyncIterator[None]:
        """At a fixed rate, whoever waits; an order under way is answered before the end."""
        stop = trio.CancelScope()

        async def come() -> None:
            with stop:
                due = trio.current_time()
                while True:
                    guests.start_soon(self.place_one)
                    due += 1 / rate
                    await trio.sleep_until(due)

        async with trio.open_nursery() as guests:
            guests.start_soon(come)
            yield
            stop.cancel()

    async def place_one(self) -> None:
        if self._baskets is None:
            menu = await self._rest.ask("GET", f"/api/{self._slug}/menu")
            self._baskets = Baskets(msgspec.json.decode(menu.body, type=Cafe).menu, self._chance)
        key = str(UUID(int=self._chance.getrandbits(128), version=4))
        body = {"channel": "counter", "items": self._baskets.fill()}
        answer = await self._rest.ask("POST", f"/api/{self._slug}/orders", token=self._token, key=key, body=body)
        assert answer.status == 201, answer.problem
        self.placed += 1
