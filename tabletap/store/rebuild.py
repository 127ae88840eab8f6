"""Drops everything derived from the log and builds it again, by the same rules as the writer, in one transaction.

Writers wait at the lock (for them it is an outage); readers go on seeing the old rows until the new ones are there.
Entities are evolved page by page, so memory holds the streams of one page. Places in the queue come from the log in its
own order, since a cafe's event speaks of many orders.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from tabletap.actors.ports import Recorded, State
from tabletap.domain import account, cafe, drawer, order, payment, tips
from tabletap.domain.base import Kind
from tabletap.store import codec, projections
from tabletap.store.batch import Batch
from tabletap.store.pool import Connection, Database
from tabletap.store.projections import ledger

PAGE_ENTITIES: Final = 200
PAGE_EVENTS: Final = 2_000


class Life(NamedTuple):
    """How a noun is born of its first event and goes on."""

    born: Callable[[Recorded], State]
    evolve: Callable[[Any, Any], State]


LIVES: Final[Mapping[Kind, Life]] = {
    Kind.CAFE: Life(lambda first: cafe.born(first.cafe_id, _event(first)), cafe.evolve),
    Kind.ORDER: Life(lambda first: order.born(_event(first)), order.evolve),
    Kind.PAYMENT: Life(lambda first: payment.born(_event(first)), payment.evolve),
    Kind.DRAWER: Life(lambda first: drawer.born(_event(first)), drawer.evolve),
    Kind.ACCOUNT: Life(lambda first: account.born(_event(first)), account.evolve),
    Kind.TIPS: Life(lambda first: tips.born(_event(first)), tips.evolve),
}


async def rebuild(database: Database) -> Mapping[str, int]:
    """Build all projections and the ledger again; the number of rows of each table."""

    async def work(connection: Connection) -> Mapping[str, int]:
        await connection.execute("BEGIN")  # an error ends the session and with it the transaction
        await connection.execute("LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE")  # against writers and our own twin
        for table in projections.TABLES:
            await connection.execute(f"DELETE FROM {table}")
        await _build_entities(connection)
        await _build_places(connection)
        await connection.execute(
            """INSERT INTO ledger_balances (cafe_id, account, currency, balance)
               SELECT cafe_id, account, currency, sum(amount) FROM ledger_entries GROUP BY 1, 2, 3"""
        )
        counts = {
            table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in sorted(projections.TABLES)
        }
        await connection.execute("COMMIT")
        return counts

    return await database.session(work)


async def _build_entities(connection: Connection) -> None:
    async for ids in _pages_of_entities(connection):
        streams: dict[UUID, list[Recorded]] = {id_: [] for id_ in ids}
        rows = await connection.fetch(_STREAMS, ids)
        for row in rows:
            streams[row["stream"]].append(codec.recorded(row))
        batch = Batch()
        for stream in streams.values():
            _build_one(batch, stream)
        await _write(connection, batch)


def _build_one(batch: Batch, stream: Sequence[Recorded]) -> None:
    first = stream[0]
    life = LIVES[first.ref.kind]
    state = life.born(first)
    for one in stream[1:]:
        state = life.evolve(state, one.event)
    for one in stream:
        if one.ref.id == first.ref.id:  # what it caused elsewhere is posted there
            lines = ledger.lines(one.event, state)
            projections.put_entries(batch, one.cafe_id, one.offset, one.at, lines, balances=False)
            projections.put_movements(batch, one.cafe_id, one.offset, one.at, one.event)
    for change, key, row in projections.of_states((state,), (one.event for one in stream)):
        batch.put(change, key, row)


async def _build_places(connection: Connection) -> None:
    async for page in _pages_of_moves(connection):
        batch = Batch()
        for event in page:
            projections.put_places(batch, event)
        await _write(connection, batch)


async def _pages_of_entities(connection: Connection) -> AsyncIterator[list[UUID]]:
    last = None
    while True:
        rows = await connection.fetch(
            "SELECT entity_id FROM events WHERE version = 1 AND ($1::uuid IS NULL OR entity_id > $1)"
            " ORDER BY entity_id LIMIT $2",
            last,
            PAGE_ENTITIES,
        )
        if not rows:
            return
        last = rows[-1][0]
        yield [row[0] for row in rows]


async def _pages_of_moves(connection: Connection) -> AsyncIterator[Iterable[Any]]:
    """All that speaks of places, cafe by cafe, in the order of the log."""
    cafe_id, offset = UUID(int=0), 0
    while True:
        rows = await connection.fetch(
            """SELECT cafe_id, "offset", data FROM events WHERE (cafe_id, "offset") > ($1, $2)
               AND type IN ('cafe.queue_moved', 'order.status_changed', 'order.cancelled')
               ORDER BY cafe_id, "offset" LIMIT $3""",
            cafe_id,
            offset,
            PAGE_EVENTS,
        )
        if not rows:
            return
        cafe_id, offset = rows[-1][0], rows[-1][1]
        yield (codec.event(row[2]) for row in rows)


async def _write(connection: Connection, batch: Batch) -> None:
    statement, arguments = batch.statement()
    if statement:
        await connection.execute(statement, *arguments)


def _event(recorded: Recorded) -> Any:
    return recorded.event


# Of a cafe only what its row is made of: everything it admits would be its whole log.
_COLUMNS: Final = codec.RECORDED
_STREAMS: Final = f"""
    SELECT {_COLUMNS}, entity_id AS stream FROM events WHERE entity_id = ANY ($1::uuid[])
        AND (kind <> 'cafe' OR type IN ('cafe.opened', 'cafe.configured'))
    UNION ALL
    SELECT {_COLUMNS}, author_id FROM events WHERE author_id = ANY ($1::uuid[]) AND author_id <> entity_id
        AND author_kind <> 'cafe'
    ORDER BY "offset"
"""
