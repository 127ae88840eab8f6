"""The server is killed under load and started again: each client of both kinds has every event exactly once."""

import json
import shutil
import socket
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID

import msgspec
import pytest
import trio

from tabletap.client import Client, Event, Message, Pauses
from tabletap.simulate.baskets import Baskets, Cafe
from tabletap.simulate.rest import Rest
from tests.load.crash_server import CrashServer

NODE = shutil.which("node")
DOORS = ("kitchen", "counter")
CLIENTS_PER_DOOR = 3
KILLS = 2
ORDERS_BETWEEN_KILLS = 25
GUESTS = 4
PATIENCE_S = 60

Told = tuple[int, str, str, str | None]
"""One event: offset, event id, type, the order it is about."""

Who = tuple[str, str, int]
"""A client: kind, door, which."""


class Audience:
    """All clients, and what each of them has heard, in order."""

    def __init__(self, server: CrashServer) -> None:
        self._server = server
        self.heard: dict[Who, list[Told]] = {}

    async def python(self, door: str, which: int, after: int) -> None:
        """A client of ours, until cancelled."""
        heard = self.heard["python", door, which] = []

        def on_message(message: Message) -> None:
            if isinstance(message, Event):
                heard.append((message.offset, message.event_id, message.type, message.read(About).order_id))
            else:
                heard.append((0, "resync", "resync", None))

        demo = self._server.demo
        client = Client(
            self._server.server,
            door=door,
            cafe=demo["cafe"]["slug"],
            token=demo["tokens"]["admin"],
            after=after,
            on_message=on_message,
            pauses=Pauses(longest_s=1.0),
        )
        await client.run()

    async def javascript(self, door: str, count: int, after: int) -> None:
        """Clients in a process of Node, until cancelled."""
        assert NODE is not None
        demo = self._server.demo
        for which in range(count):
            self.heard["javascript", door, which] = []
        script = str(Path(__file__).with_name("listeners.cjs"))
        arguments = [
            self._server.server.url,
            door,
            demo["cafe"]["slug"],
            demo["tokens"]["admin"],
            str(after),
            str(count),
        ]
        command = [NODE, "--experimental-websocket", "--no-warnings", script, *arguments]
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            process = await nursery.start(run)
            rest = b""
            async for data in process.stdout:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    which, *told = json.loads(line)
                    self.heard["javascript", door, which].append(tuple(told))


class About(msgspec.Struct, rename="camel"):
    """Which order an event is about."""

    order_id: str | None = None


class Guests:
    """Who orders: ``placed`` are the orders that were acknowledged."""

    def __init__(self, rest: Rest, crash: CrashServer, baskets: Baskets, chance: Random) -> None:
        self._rest = rest
        self._crash = crash
        self._baskets = baskets
        self._chance = chance
        self.placed: set[str] = set()

    async def come(self) -> None:
        """One order after another."""
        while True:
            await self.order()

    async def order(self) -> str:
        """An order, sent until it is answered."""
        body = {"channel": "counter", "items": self._baskets.fill()}
        key = str(UUID(int=self._chance.getrandbits(128), version=4))
        token = self._crash.demo["tokens"]["counter"]
        answer = await self._rest.ask("POST", "/api/demo/orders", token=token, key=key, body=body)
        assert answer.status == 201, answer.problem
        ident: str = msgspec.json.decode(answer.body)["id"]
        self.placed.add(ident)
        return ident

    async def have_placed(self, more: int) -> None:
        """Wait for so many more."""
        count = len(self.placed) + more
        with trio.fail_after(PATIENCE_S):
            while len(self.placed) < count:  # noqa: ASYNC110 - four guests, no one place to wait at
                await trio.sleep(0.02)


async def everybody_heard_of(last: str, audience: Audience, clients: int) -> None:
    """Wait until every client was told that this order was placed."""
    with trio.move_on_after(PATIENCE_S):
        while sum(any(told[3] == last for told in heard) for heard in audience.heard.values()) < clients:  # noqa: ASYNC110
            await trio.sleep(0.05)


def until(last: str, heard: list[Told]) -> list[Told]:
    """What was heard up to the news that this order was placed."""
    ends = [at for at, told in enumerate(heard) if told[2:] == ("order_created", last)]
    assert len(ends) == 1, f"the last order was heard of {len(ends)} times"
    return heard[: ends[0] + 1]


async def test_each_client_of_both_kinds_has_every_event_exactly_once_across_kill_9() -> None:
    if NODE is None:
        pytest.skip("no node: the JavaScript client cannot be run here (apt install nodejs)")
    chance = Random(11)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with CrashServer(port=port) as crash:
        await crash.start()
        rest = Rest(crash.server)
        menu = await rest.ask("GET", "/api/demo/menu")
        guests = Guests(rest, crash, Baskets(msgspec.json.decode(menu.body, type=Cafe).menu, chance), chance)
        audience, anew = Audience(crash), Audience(crash)
        async with trio.open_nursery() as listening:
            for door in DOORS:
                for which in range(CLIENTS_PER_DOOR):
                    listening.start_soon(audience.python, door, which, 0)
                listening.start_soon(audience.javascript, door, CLIENTS_PER_DOOR, 0)
            async with trio.open_nursery() as ordering:
                for _ in range(GUESTS):
                    ordering.start_soon(guests.come)
                for _ in range(KILLS):
                    await guests.have_placed(ORDERS_BETWEEN_KILLS)
                    crash.kill()
                    crash.launch()
                    await crash.ready()
                await guests.have_placed(ORDERS_BETWEEN_KILLS)
                ordering.cancel_scope.cancel()
            last = await guests.order()
            for door in DOORS:  # the log is the judge: it is told anew, to who was never interrupted
                listening.start_soon(anew.python, door, 0, 0)
            await everybody_heard_of(last, audience, 2 * len(DOORS) * CLIENTS_PER_DOOR)
            await everybody_heard_of(last, anew, len(DOORS))
            listening.cancel_scope.cancel()
        await rest.aclose()
    assert len(audience.heard) == 2 * len(DOORS) * CLIENTS_PER_DOOR
    for (kind, door, which), heard in audience.heard.items():
        log = until(last, anew.heard["python", door, 0])
        assert until(last, heard) == log, f"{kind} client {which} of {door}"
        offsets = [offset for offset, *_ in log]
        assert offsets == sorted(set(offsets)), f"what {door} is told is out of order"
        created = Counter(order for _, _, type_, order in log if type_ == "order_created")
        assert {order: created[order] for order in guests.placed} == dict.fromkeys(guests.placed, 1)
