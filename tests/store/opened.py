"""A writer on a real database, as the tests of the store use it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import trio

from tabletap.store.pool import Connection, Database
from tabletap.store.reader import Reader
from tabletap.store.shard import ShardLimits
from tabletap.store.wakes import WakeTable
from tabletap.store.writer import HandOver, Writer, WriterLimits
from tests.domain.world import NOON
from tests.store.journal_contract import Store
from tests.store.shop import Tape


class StandingClock:
    def now(self) -> datetime:
        return NOON


@asynccontextmanager
async def opened(
    database: Database, relay: HandOver | None = None, *, each: ShardLimits | None = None, shards: int = 2
) -> AsyncIterator[Store]:
    """A running writer with all that reads beside it; closed at the end."""
    tape = Tape()
    limits = WriterLimits(shards=shards, each=each or ShardLimits(), close_seconds=10)
    writer = Writer(database, tape, relay, clock=StandingClock(), limits=limits)

    async def waiting() -> set[UUID]:
        return {row[0] for row in await rows(database, "SELECT id FROM outbox")}

    async with trio.open_nursery() as nursery:
        await nursery.start(writer.run)
        yield Store(writer, Reader(database), WakeTable(database), tape, waiting)
        await writer.aclose()


async def rows(database: Database, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    async def work(connection: Connection) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]

    return await database.read(work)


async def run(database: Database, statement: str, *arguments: Any) -> None:
    await database.transact(lambda connection: connection.execute(statement, *arguments))
