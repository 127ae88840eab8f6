import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from tabletap.actors.ports import Commit, Overloaded, Recorded
from tabletap.actors.runtime import Outage
from tabletap.store.embedded import EmbeddedPostgres
from tabletap.store.migrate import migrate
from tabletap.store.pool import Connection, Database, DatabaseDown
from tabletap.store.shard import ShardLimits
from tabletap.store.writer import Writer
from tests.domain.world import NOON
from tests.store.journal_contract import Store, availability, told
from tests.store.opened import opened, rows
from tests.store.shop import Shop


def counters(store: Store) -> Any:
    assert isinstance(store.journal, Writer)
    return store.journal.stats().counters


class Faulty:
    """A database whose next answers are lost: ``faults`` are taken one per statement that writes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.node = database.node
        self.faults: list[str] = []
        self.away = False
        self.zombie: Callable[[Connection], Awaitable[Any]] | None = None
        self.asked = 0

    async def read(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        if self.away:
            await trio.lowlevel.checkpoint()
            raise DatabaseDown("away")
        spy = _Spy()
        await self._database.read(lambda connection: _look(work, spy, connection))
        if not spy.writes:
            self.asked += 1
            return await self._database.read(work)
        match self.faults.pop(0) if self.faults else "":
            case "not sent":
                raise DatabaseDown("before the commit")
            case "answer lost":
                await self._database.read(work)
                raise DatabaseDown("after the commit", maybe_committed=True)
            case "still under way":
                self.zombie = work
                raise DatabaseDown("no answer in time", maybe_committed=True)
            case "overtaken":
                assert self.zombie is not None
                await self._database.read(self.zombie)
        return await self._database.read(work)


class _Spy:
    """A connection that only finds out whether it is asked to write."""

    writes = False

    async def execute(self, *_: Any) -> str:
        self.writes = True
        return ""

    async def fetch(self, *_: Any) -> list[Any]:
        return []


async def _look(work: Any, spy: _Spy, _connection: Connection) -> None:
    await work(spy)


# -- outages


@pytest.fixture
async def faulty(migrated: Database) -> Faulty:
    return Faulty(migrated)


@pytest.mark.parametrize(
    "faults",
    [
        ["not sent"],
        ["answer lost"],
        ["not sent", "not sent", "answer lost"],
        ["still under way", "overtaken"],
    ],
)
async def test_a_group_without_an_answer_is_written_exactly_once(
    migrated: Database, faulty: Faulty, faults: list[str]
) -> None:
    shops = [Shop(), Shop("other")]
    async with opened(faulty, shards=1) as store:  # type: ignore[arg-type]
        for shop in shops:
            await store.write(shop)
            shop.place()
        faulty.faults = list(faults)
        answered: list[Any] = []

        async def commit(one: Commit) -> None:
            answered.append(await store.journal.commit(one))

        async with trio.open_nursery() as nursery:
            for shop in shops:
                nursery.start_soon(commit, shop.taken()[0])
            nursery.start_soon(commit, Commit(author=shops[0].cafe_ref, version=1, wakes=[(shops[0].cafe_ref, NOON)]))
        assert faulty.faults == []
        assert counters(store).outages >= 1
        for shop in shops:
            shop.place()
            await store.write(shop)
            log = await store.reader.log(shop.cafe_ref.cafe_id, 0, 100)
            assert [one.offset for one in log] == [1, 2, 3]
            assert told(log) == told(store.tape.events[shop.cafe_ref.cafe_id])
    assert sorted(len(one) for one in answered) == [0, 1, 1]
    assert await rows(migrated, "SELECT count(*) FROM wakes") == [(1,)]


async def test_during_an_outage_work_is_taken_up_to_a_bound_and_written_afterwards(
    migrated: Database, faulty: Faulty
) -> None:
    shop = Shop()
    for _ in range(6):
        shop.place()
    opening, *placed = shop.taken()
    async with opened(faulty, each=ShardLimits(waiting_commits=5)) as store:  # type: ignore[arg-type]
        await store.journal.commit(opening)
        faulty.away = True
        async with trio.open_nursery() as nursery:
            for one in placed[:5]:
                nursery.start_soon(store.journal.commit, one)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Overloaded):
                await store.journal.commit(placed[5])
            with pytest.raises(Outage):
                await store.journal.load(shop.cafe_ref)
            assert store.tape.head(shop.cafe_ref.cafe_id) == 1
            faulty.away = False
        await store.journal.commit(placed[5])
        assert await store.reader.head(shop.cafe_ref.cafe_id) == 7


async def test_too_many_waiting_bytes_are_refused_too(migrated: Database, faulty: Faulty) -> None:
    shop = Shop()
    async with opened(faulty, each=ShardLimits(waiting_bytes=100)) as store:  # type: ignore[arg-type]
        with pytest.raises(Overloaded):
            await store.write(shop)


async def test_closing_writes_what_waits_and_takes_nothing_more(migrated: Database) -> None:
    shop = Shop()
    async with opened(migrated) as store:
        assert isinstance(store.journal, Writer)
        await store.write(shop)
        shop.place()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.journal.commit, shop.taken()[0])
            while not store.journal.stats().waiting:
                await trio.lowlevel.checkpoint()
            await store.journal.aclose()
        assert await store.reader.head(shop.cafe_ref.cafe_id) == 2
        with pytest.raises(Overloaded):
            await store.journal.commit(availability(shop, 2))


async def test_a_writer_that_ends_during_an_outage_tells_that_nothing_is_known(faulty: Faulty) -> None:
    shop = Shop()
    caught: list[Exception] = []

    async def commit() -> None:
        try:
            await store.write(shop)
        except Outage as outage:
            caught.append(outage)

    async with opened(faulty) as store:  # type: ignore[arg-type]
        assert isinstance(store.journal, Writer)
        store.journal._limits = msgspec.structs.replace(store.journal._limits, close_seconds=0)
        faulty.away = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit)
            await trio.testing.wait_all_tasks_blocked()
            await store.journal.aclose()
    assert len(caught) == 1


async def test_a_server_that_is_killed_under_load_loses_and_doubles_nothing(state: Path) -> None:
    server = EmbeddedPostgres(state)
    dsn = await server.start()
    try:
        async with trio.open_nursery() as nursery, Database.open(dsn) as database:
            nursery.start_soon(server.watch)
            await migrate(database)
            async with opened(database) as store:
                await _kill_under_load(server, store)
            nursery.cancel_scope.cancel()
    finally:
        await server.stop()


async def _kill_under_load(server: EmbeddedPostgres, store: Store) -> None:
    shops = [Shop(f"cafe-{number}") for number in range(4)]
    answered: dict[Any, list[Recorded]] = {}
    enough = trio.Event()

    async def keep_writing(shop: Shop) -> None:
        answered[shop] = await store.write(shop)
        for _ in range(60):
            shop.place()
            answered[shop] += await store.write(shop)
            if len(answered[shop]) == 20:
                enough.set()

    async with trio.open_nursery() as nursery:
        for shop in shops:
            nursery.start_soon(keep_writing, shop)
        await enough.wait()
        os.kill(server.pid, signal.SIGKILL)
    assert counters(store).outages > 0
    for shop in shops:
        log = await store.reader.log(shop.cafe_ref.cafe_id, 0, 1000)
        assert [one.offset for one in log] == list(range(1, 62))
        assert told(log) == told(answered[shop]) == told(store.tape.events[shop.cafe_ref.cafe_id])
        assert len(await store.reader.orders(shop.cafe_ref.cafe_id)) == 60
