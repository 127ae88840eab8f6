"""Commits, publishing, memory, database and reconnects, each in its own random time: the story stays whole."""

import contextlib
import random
from typing import Any

import pytest
import trio

from tabletap.actors.ports import Recorded
from tabletap.realtime.defaults import DefaultRooms
from tabletap.realtime.hub import Hub, HubLimits
from tabletap.realtime.replay import Superseded, subscribe

from .cafe_log import CAFE, FakeReader, FakeSession, Writer, story
from .test_hub import running

EVENTS = 160


class Client:
    """Subscribes, seeks and leaves at random, and remembers what it last asked for."""

    def __init__(self, run: "Interleaving", seed: int, room: str) -> None:
        self.random = random.Random(seed)
        self.session = FakeSession(seed)
        self.room = room
        self.welcomed_at: int | None = None
        self._run = run

    async def live(self) -> None:
        run = self._run
        await trio.sleep(self.random.random() * 0.1)
        run.hub.attach(self.session, CAFE)
        if self.random.random() < 0.5:
            defaults = DefaultRooms(run.hub, run.reader, self.session, CAFE, {self.room: run.snapshot})  # type: ignore[arg-type]
            self.welcomed_at = await defaults.hold()
            defaults.open(self.random.choice([None, self.random.randint(0, len(run.reader.records))]))
            await trio.sleep(self.random.choice([0, 0.001, 0.11]))
            if self.random.random() < 0.5:
                return
            defaults.heard("subscribe")
        async with trio.open_nursery() as commands:
            for _ in range(self.random.randint(1, 3)):
                after = self.random.choice([None, self.random.randint(0, len(run.reader.records))])
                commands.start_soon(self._ask, after)
                await trio.sleep(self.random.choice([0, 0.001, 0.002, 0.05]))
                if self.random.random() < 0.1:
                    run.hub.leave(self.session, self.room)
                    commands.start_soon(self._ask, 0)

    async def _ask(self, after: int | None) -> None:
        run = self._run
        with contextlib.suppress(Superseded):
            await subscribe(run.hub, run.reader, self.session, self.room, CAFE, after, 1, run.snapshot)  # type: ignore[arg-type]

    def check(self, told: list[tuple[int, str, Any]]) -> None:
        """Each stretch after an answer is the room's story from there, without a gap; the last one is all of it."""
        stretches: list[tuple[int, list[tuple[int, str, Any]]]] = []
        if self.welcomed_at is not None:
            stretches.append((self.welcomed_at, []))
        for message in self.session.messages:
            if message.get("type") in ("subscribed", "resync"):
                stretches.append((message["offset"], []))
            elif "eventId" in message:
                event = (message["offset"], message["type"], message["data"])
                stretches[-1][1].append(event)
        assert stretches
        for after, heard in stretches:
            expected = [event for event in told if event[0] > after]
            assert heard == expected[: len(heard)], (self.room, after)
        if self.room in self.session.rooms:
            after, heard = stretches[-1]
            assert heard == [event for event in told if event[0] > after], (self.room, after)


class Interleaving:
    """A process that starts in the middle of a log: commits, publishing and clients all take their random time."""

    def __init__(self, seed: int, limits: HubLimits) -> None:
        self.random = random.Random(seed)
        self.records = Writer(seed).write(EVENTS)
        self.reader = FakeReader(self.records[: EVENTS // 3], seed)
        self.hub = Hub(limits, None, self.reader.tickets, self.reader.history)
        self.told = story(self.records)
        rooms = sorted(self.told, key=lambda room: (-len(self.told[room]), room))
        favourites = [room for room in rooms if room.startswith(("cafe:", "user:"))]
        self.clients = [
            Client(self, seed * 100 + n, self.random.choice(favourites if n % 2 else rooms)) for n in range(12)
        ]

    async def snapshot(self) -> tuple[int, Any]:
        await self.reader.pause()
        offset = await self.reader.head(CAFE)
        await self.reader.pause()
        return offset, {}

    async def run(self) -> None:
        async with running(self.hub):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._commit)
                for client in self.clients:
                    nursery.start_soon(client.live)
            await trio.sleep(60)
            assert self.hub.head(CAFE) == EVENTS
            assert not any(client.session in self.hub.seats for client in self.clients)
        for client in self.clients:
            assert client.session.closed is None
            client.check(self.told.get(client.room, []))

    async def _commit(self) -> None:
        unpublished: list[Recorded] = []
        at = len(self.reader.records)
        while at < EVENTS or unpublished:
            size = self.random.randint(0, 4)
            batch = self.records[at : at + size]
            at += len(batch)
            self.reader.records.extend(batch)
            unpublished.extend(batch)
            await trio.sleep(self.random.choice([0, 0, 0.001, 0.004]))
            count = self.random.randint(0, len(unpublished)) if at < EVENTS else len(unpublished)
            self.hub.publish(CAFE, unpublished[:count])
            del unpublished[:count]
            await trio.sleep(self.random.choice([0, 0.001, 0.002]))


@pytest.mark.parametrize("seed", range(60))
async def test_every_client_hears_exactly_its_rooms_story(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    limits = random.Random(seed)
    await Interleaving(
        seed,
        HubLimits(
            ring_events_per_cafe=limits.choice([1, 5, 20, 500]),
            replay_page_events=limits.choice([1, 4, 30]),
            replay_chunk_bytes=limits.choice([1, 700, 10**6]),
            replay_events_max=limits.choice([3, 40, 10**6]),
            replay_readers=limits.choice([1, 4]),
        ),
    ).run()
