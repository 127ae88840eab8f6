"""Clients at any pace: whoever is slow is told less, then as a whole, then goodbye; and nobody is told nonsense."""

import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from tabletap.client.frames import CLOSE, TEXT, FrameReader
from tabletap.realtime.frames import close_frame, text_frame
from tabletap.realtime.hub import Hub, HubLimits
from tabletap.realtime.limits import SessionLimits
from tabletap.realtime.session import Session
from tabletap.realtime.slow import SlowClient
from tabletap.realtime.stream import SessionStream
from tabletap.realtime.telling import Batch

from .cafe_log import CAFE, FakeReader, Writer, story
from .test_backlog import moved
from .test_hub import running

KITCHEN = f"cafe:{CAFE}:kitchen"
STATE = "kitchen_display_updated"
LIMITS = SessionLimits(
    socket_buffer_bytes=1,  # the least the kernel gives
    coalesce_bytes=2_000,
    snapshot_bytes=20_000,
    queued_bytes=60_000,
    close_grace_seconds=3,
)


class Slow:
    """A client of a kitchen that reads as it likes, and what it has been told."""

    def __init__(self, hub: Hub, reader: FakeReader, stream: SessionStream, theirs: trio.SocketStream) -> None:
        self.session = Session(stream, LIMITS, None)
        self.messages: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.theirs = theirs
        self.may_read = trio.Event()

        async def snapshot() -> tuple[int, Any]:
            await reader.pause()
            return len(reader.records), "whole"

        stream.keeper = SlowClient(hub, reader, self.session, CAFE, lambda room: snapshot, 5)  # type: ignore[arg-type]
        hub.attach(self.session, CAFE)
        hub.rooms.join(self.session, KITCHEN)

    async def read(self, pace: random.Random | None = None) -> None:
        frames = FrameReader()
        await self.may_read.wait()
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in self.theirs:
                for kind, payload in frames.feed(bytes(data)):
                    assert self.closed is None
                    if kind == TEXT:
                        self.messages.append(msgspec.json.decode(payload))
                    elif kind == CLOSE:
                        self.closed = int.from_bytes(payload[:2]), payload[2:].decode()
                if pace is not None:
                    await trio.sleep(pace.choice([0, 0.01, 0.2, 1]))

    def check(self, told: list[tuple[int, str, Any]], *, to_the_end: bool) -> None:
        """Between two wholes the story has no hole; of a state, what is left unsaid was said or is said."""
        after, heard = 0, list[dict[str, Any]]()
        for message in [*self.messages, None]:
            if message is not None and message["type"] != "resync":
                heard.append(message)
                continue
            last = heard[-1]["offset"] if heard else after
            if message is None and to_the_end:
                last = told[-1][0]
            self._check_stretch([event for event in told if after < event[0] <= last], heard)
            if message is not None:
                assert message["offset"] >= last
                after, heard = message["offset"], []

    @staticmethod
    def _check_stretch(told: list[tuple[int, str, Any]], heard: list[dict[str, Any]]) -> None:
        offsets = [message["offset"] for message in heard]
        assert offsets == sorted(set(offsets))
        events = [(m["offset"], m["type"], m["data"]) for m in heard if m["type"] != STATE]
        assert events == [event for event in told if event[1] != STATE]
        states = [(message["offset"], message["data"]) for message in heard if message["type"] == STATE]
        expected = [(offset, data) for offset, type_, data in told if type_ == STATE]
        assert {offset for offset, _ in states} <= {offset for offset, _ in expected}
        known, wanted = dict[str, Any](), dict[str, Any]()
        for found, into in ((states, known), (expected, wanted)):
            for _, data in found:
                into.update({place["orderId"]: place for place in data["places"]})
        # A first state may know more than its turn: never less, and at the end no other.
        assert wanted.keys() <= known.keys()
        if expected and states and states[-1][0] == expected[-1][0]:
            assert (known, states[-1][1]["load"]) == (wanted, expected[-1][1]["load"])


@asynccontextmanager
async def kitchens(count: int, reader: FakeReader) -> AsyncIterator[tuple[Hub, list[Slow]]]:
    hub = Hub(HubLimits(heartbeat_ms=3_600_000), None, reader.tickets)
    hub.ensure_head(CAFE, 0)
    async with running(hub), trio.open_nursery() as writing:
        clients, ours = [], []
        for _ in range(count):
            left, right = trio.socket.socketpair()
            ours.append(SessionStream(trio.SocketStream(left), LIMITS, writing))
            clients.append(Slow(hub, reader, ours[-1], trio.SocketStream(right)))
        try:
            yield hub, clients
        finally:
            for stream, client in zip(ours, clients, strict=True):
                stream.abort()
                stream._transport.socket.close()  # type: ignore[attr-defined]
                client.theirs.socket.close()


async def publish(hub: Hub, reader: FakeReader, records: list[Any], pace: random.Random) -> None:
    at = 0
    while at < len(records):
        batch = records[at : at + pace.randint(1, 12)]
        at += len(batch)
        reader.records.extend(batch)
        hub.publish(CAFE, batch)
        await trio.sleep(pace.choice([0, 0.01, 0.05]))


@pytest.mark.parametrize("seed", range(12))
async def test_at_any_pace_a_client_knows_what_it_must(seed: int, autojump_clock: MockClock) -> None:
    records, reader = Writer(seed).write(600), FakeReader()
    told = story(records)[KITCHEN]
    async with kitchens(4, reader) as (hub, clients), trio.open_nursery() as nursery:
        for number, client in enumerate(clients):
            client.may_read.set()
            nursery.start_soon(client.read, random.Random(seed + number) if number else None)
        await publish(hub, reader, records, random.Random(seed))
        await trio.sleep(600)
        for client in clients:
            client.check(told, to_the_end=client.closed is None)
        assert clients[0].closed is None, "it reads whatever comes"
        nursery.cancel_scope.cancel()


async def test_who_pauses_for_a_while_is_given_the_whole_and_goes_on(autojump_clock: MockClock) -> None:
    records, reader = Writer(3).write(400), FakeReader()
    told = story(records)[KITCHEN]
    async with kitchens(1, reader) as (hub, [client]), trio.open_nursery() as nursery:
        nursery.start_soon(client.read)
        for record in records[:300]:
            reader.records.append(record)
            hub.publish(CAFE, [record])
        assert (hub.slow.snapshots, hub.slow.closed) == (1, 0)
        assert hub.slow.coalesced > 0
        assert KITCHEN not in client.session.rooms
        client.may_read.set()
        await trio.sleep(1)
        for record in records[300:]:
            reader.records.append(record)
            hub.publish(CAFE, [record])
            await trio.sleep(0.01)
        assert KITCHEN in client.session.rooms
        client.check(told, to_the_end=True)
        assert [m["snapshot"] for m in client.messages if m["type"] == "resync"] == ["whole"]
        nursery.cancel_scope.cancel()


async def test_who_never_reads_is_closed_and_finds_from_where_to_resume(autojump_clock: MockClock) -> None:
    records, reader = Writer(4).write(400), FakeReader()
    told = story(records)[KITCHEN]
    async with kitchens(2, reader) as (hub, [client, other]), trio.open_nursery() as nursery:
        nursery.start_soon(client.read)
        nursery.start_soon(other.read)
        other.may_read.set()
        for record in records:
            reader.records.append(record)
            hub.publish(CAFE, [record])
            await trio.sleep(0.05)
        assert client.session.overran
        assert (hub.slow.snapshots, hub.slow.closed) == (1, 1)
        await trio.sleep(60)
        assert client.session.stream.waiting_bytes == 0, "the kernel has it, and we keep nothing"
        client.may_read.set()
        await trio.sleep(1)
        assert client.closed is not None
        code, reason = client.closed
        last = client.messages[-1]["offset"]
        resume_after = int(reason.removeprefix("too slow: resume after "))
        assert code == 4008
        assert [event[0] for event in told if event[0] <= resume_after] == [
            m["offset"] for m in client.messages if m["offset"] <= resume_after
        ]
        assert last <= max(resume_after, last)
        assert len(other.messages) == len(told)
        nursery.cancel_scope.cancel()


async def test_what_waits_for_a_client_that_does_not_read_stays_within_its_bound(autojump_clock: MockClock) -> None:
    records, reader = Writer(5).write(2000), FakeReader(())
    async with kitchens(1, reader) as (hub, [client]):
        most = 0
        for record in records:
            hub.publish(CAFE, [record])
            most = max(most, client.session.stream.waiting_bytes)
        largest = max(len(event[2].__repr__()) for event in story(records)[KITCHEN])
        assert 0 < most <= LIMITS.queued_bytes + largest


async def test_over_tcp_the_goodbye_waits_for_a_client_that_reads_much_later(autojump_clock: MockClock) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    theirs = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
    ours = await listener.accept()
    async with trio.open_nursery() as writing:
        stream = SessionStream(ours, SessionLimits(), writing)
        frame = text_frame(b"x" * 1300)
        while stream.push(frame):  # noqa: ASYNC110 - for as long as it is taken
            await trio.sleep(0.001)
        await stream.hang_up()
    received = b""
    async for data in theirs:
        received += bytes(data)
    goodbye = close_frame(4008, "too slow")
    assert received == frame * (len(received) // len(frame)) + goodbye
    await theirs.aclose()
    await listener.aclose()


class Notes:
    """A keeper that has no snapshot to give."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.lowest: int | None = None

    def turned(self) -> None:
        pass

    def coalesced(self) -> None:
        pass

    def fell_behind(self, lowest: int) -> bool:
        self.asked.append(lowest)
        return False

    def gave_up(self, lowest: int | None) -> str:
        self.lowest = lowest
        return "too slow"


@pytest.mark.parametrize("waiting", [[], [3, 4]])
async def test_what_closes_a_session_counts_as_unsent(waiting: list[int], autojump_clock: MockClock) -> None:
    left, right = trio.socket.socketpair()
    async with trio.open_nursery() as writing:
        stream = SessionStream(trio.SocketStream(left), LIMITS, writing)
        stream.keeper = notes = Notes()
        frame = text_frame(b"an answer" * 100)
        while not stream.behind:
            stream.push(frame)
        for offset in waiting:
            assert stream.tell(Batch([moved(offset)]))
        while stream.waiting_bytes + len(frame) <= LIMITS.queued_bytes:
            stream.push(frame)
        while stream.tell(Batch([moved(9)])):
            waiting = waiting or [9]
        assert stream.overran
        assert notes.lowest == min([9, *waiting]) == notes.asked[0]
        stream.abort()
    right.close()
