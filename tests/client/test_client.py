"""What only the Python client has: a bounded queue that is read with ``async for``, types, and trio's manners."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import get_args

import msgspec
import pytest
import trio

from tabletap.client import Client, Denied, Event, EventType, Pauses, Resync
from tabletap.client.room import REMEMBERED_MAX, Room, Verdict
from tabletap.client.tokens import expires_at, refresh_in
from tabletap.realtime.catalogue import CATALOGUE, FLOWS

from .peer import PATIENCE_S, ROOM, Line, Peer
from .scenes_lines import EPOCH_S, jwt


@asynccontextmanager
async def peer_and_client(**more: int) -> AsyncIterator[tuple[Peer, Client]]:
    peer = Peer()
    await peer.here()
    pauses = Pauses(first_s=0.001, longest_s=0.01)
    try:
        with trio.fail_after(PATIENCE_S):
            async with Client(peer.url, door="kitchen", cafe="demo", token="t", pauses=pauses, **more) as client:  # type: ignore[arg-type]
                yield peer, client
    finally:
        with trio.CancelScope(shield=True):
            await peer.aclose()


async def opened(peer: Peer, offset: int = 10) -> Line:
    line = await (await peer.knock()).accept()
    await line.welcome(offset)
    return line


class Numbered(msgspec.Struct):
    n: int


async def test_messages_are_read_one_by_one_as_any_type() -> None:
    async with peer_and_client() as (peer, client):
        line = await opened(peer)
        await line.events(11)
        await line.resync(15)
        event, resync = await anext(client), await anext(client)
        assert isinstance(event, Event)
        assert (event.room, event.offset, event.event_id, event.read()) == (ROOM, 11, "evt_11", {"n": 11})
        assert event.read(Numbered) == Numbered(11)
        assert isinstance(resync, Resync)
        assert resync.read() == {"at": 15}


async def test_who_reads_slowly_leaves_the_rooms_and_comes_back_without_a_loss() -> None:
    async with peer_and_client(queue_max=4) as (peer, client):
        line = await opened(peer)
        await line.events(11, 12, 13, 14, 15, 16)
        assert (await line.hears("unsubscribe"))["room"] == ROOM
        await line.events(17)
        for offset in (11, 12):
            assert (await anext(client)).offset == offset  # type: ignore[union-attr]
        asked = await line.hears("subscribe")
        assert (asked["room"], asked["after"]) == (ROOM, 14)
        await line.events(18)  # on its way before the server had read that
        await line.subscribed(14, ident=asked["id"])
        for offset in (13, 14, 15, 16, 17):
            if offset == 15:
                await line.events(15, 16, 17)
            assert (await anext(client)).offset == offset  # type: ignore[union-attr]
        assert client.figures.late == client.figures.resyncs == 0


async def test_who_does_not_read_at_all_is_answered_all_the_same() -> None:
    async with peer_and_client(queue_max=4) as (peer, client):
        line = await opened(peer)
        async with trio.open_nursery() as nursery:
            answers: list[object] = []

            async def ask() -> None:
                answers.append(await client.perform("ping"))

            nursery.start_soon(ask)
            asked = await line.hears("ping")
            await line.events(*range(11, 100))
            await line.hears("unsubscribe")
            await line.say(type="reply", id=asked["id"], data={"pong": True})
        assert answers == [{"pong": True}]


async def test_slow_reading_survives_a_lost_connection() -> None:
    async with peer_and_client(queue_max=2) as (peer, client):
        line = await opened(peer)
        await line.events(11, 12, 13)
        await line.hears("unsubscribe")
        await line.drop()
        knock = await peer.knock()
        assert knock.after == 12
        line = await knock.accept()
        await line.welcome(13)
        await line.hears("unsubscribe")
        await line.subscribed(12)
        await line.events(13)
        assert (await anext(client)).offset == 11  # type: ignore[union-attr]
        asked = await line.hears("subscribe")
        assert asked["after"] == 12
        await line.subscribed(12, ident=asked["id"])
        await line.events(13)
        assert [(await anext(client)).offset for _ in range(2)] == [12, 13]  # type: ignore[union-attr]


async def test_who_has_read_up_while_there_was_no_connection_misses_nothing_on_the_next() -> None:
    async with peer_and_client(queue_max=2) as (peer, client):
        line = await opened(peer)
        await line.events(11, 12, 13)
        await line.hears("unsubscribe")
        await line.drop()
        knock = await peer.knock()
        assert [(await anext(client)).offset for _ in range(2)] == [11, 12]  # type: ignore[union-attr]
        line = await knock.accept()
        await line.welcome(13)
        await line.subscribed(12)
        await line.events(13)
        assert (await anext(client)).offset == 13  # type: ignore[union-attr]


async def test_a_closed_door_is_told_to_who_reads_and_who_asks() -> None:
    async with peer_and_client() as (peer, client):
        line = await opened(peer)
        await line.events(11)
        await line.close(4003)
        assert (await anext(client)).offset == 11  # type: ignore[union-attr]
        with pytest.raises(Denied) as reading:
            await anext(client)
        with pytest.raises(Denied):
            await client.perform("ping")
        with pytest.raises(Denied):
            await client.subscribe("order:1")
        assert reading.value.code == 4003


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    raised = ZeroDivisionError()
    caught: BaseException | None = None
    try:
        async with peer_and_client() as (peer, _):
            await opened(peer)
            raise raised
    except ZeroDivisionError as error:
        caught = error
    assert caught is raised


def test_the_types_of_events_are_those_that_the_server_has() -> None:
    assert set(get_args(EventType)) == CATALOGUE.keys() | FLOWS.keys()


def test_a_room_remembers_so_much_and_no_more() -> None:
    room = Room(ROOM, default=True, last=0)
    offsets = range(2, 2 * (REMEMBERED_MAX + 100), 2)  # a jump each
    for offset in offsets:
        assert room.take(offset, str(offset)) is Verdict.NEW
    assert room.last == offsets[-1]
    assert room.last - 2 * REMEMBERED_MAX == room.whole
    for offset in offsets:
        assert room.take(offset, str(offset)) is Verdict.KNOWN
    assert room.take(room.last - 1, "lost") is Verdict.LATE


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_lost_repeated_or_swapped_a_room_tells_rising_offsets_and_finds_every_loss(seed: int) -> None:
    chance = Random(seed)
    room = Room(ROOM, default=True, last=0)
    story = sorted(chance.sample(range(1, 200), 60))
    told: list[int] = []
    sent = [offset for offset in story if chance.random() < 0.9]
    for offset in sent:
        verdicts = [room.take(offset, str(offset)) for _ in range(chance.choice((1, 1, 1, 2)))]
        told += [offset] * verdicts.count(Verdict.NEW)
    assert told == sent
    missing = set(story) - set(sent)
    room.checking = 200
    answer = [offset for offset in story if offset > room.whole]
    answers = {offset: room.take(offset, str(offset)) for offset in answer}
    assert {offset for offset, verdict in answers.items() if verdict is not Verdict.KNOWN} == missing
    room.prove()
    assert room.whole == room.last == 200


def test_a_token_says_when_it_runs_out_or_nothing() -> None:
    assert expires_at(jwt(300)) == EPOCH_S + 300
    for token in ("trk_abc", "a.b", "a.b.c", "a..c", "a.!!.c", "a.W10.c", ""):
        assert expires_at(token) is None
    assert refresh_in(jwt(3600), EPOCH_S) == 3540
    assert refresh_in(jwt(100), EPOCH_S) == 80
    assert refresh_in(jwt(100), EPOCH_S + 500) == 0
