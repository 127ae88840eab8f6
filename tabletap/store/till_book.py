"""How far tills have got, and the log of what passed between them and us. Implements ``till_ports.TillBook``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from tabletap.actors.till_ports import Line, LineKind, TillId, TillRow
from tabletap.domain.base import CafeId
from tabletap.store.pool import Connection, Database, Row

_TILL: Final = "key_id, till, cafe_id, cursor, seen_at, last_error, last_error_at"
_LINE: Final = "cafe_id, at, kind, what, key_id, till, first_offset, last_offset, events, status, error, duration_ms"

# A new one only where there is room for it; one that is there is always let in.
_ENTER: Final = f"""
    INSERT INTO pos_tills (key_id, till, cafe_id, cursor, created_at, seen_at)
    SELECT $1, $2, $3, $4, $5, $5
    WHERE (SELECT count(*) FROM pos_tills WHERE key_id = $1 AND till <> $2) < $6
       OR EXISTS (SELECT FROM pos_tills WHERE key_id = $1 AND till = $2)
    ON CONFLICT (key_id, till) DO UPDATE SET seen_at = greatest(pos_tills.seen_at, EXCLUDED.seen_at)
    RETURNING {_TILL}
"""
_WRITE: Final = """
    UPDATE pos_tills SET cursor = greatest(pos_tills.cursor, told.cursor),
        seen_at = greatest(pos_tills.seen_at, told.seen_at),
        last_error = coalesce(told.last_error, pos_tills.last_error),
        last_error_at = coalesce(told.last_error_at, pos_tills.last_error_at)
    FROM unnest($1::uuid[], $2::text[], $3::int8[], $4::timestamptz[], $5::text[], $6::timestamptz[])
        AS told (key_id, till, cursor, seen_at, last_error, last_error_at)
    WHERE pos_tills.key_id = told.key_id AND pos_tills.till = told.till
"""
_LOG: Final = f"""
    INSERT INTO pos_sync_logs ({_LINE})
    SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::int8[],
        $8::int8[], $9::int4[], $10::int4[], $11::text[], $12::int4[])
"""


class TillTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, ident: TillId, cafe_id: CafeId, head: int, now: datetime, most: int) -> TillRow | None:
        row = await self._database.transact(
            lambda connection: connection.fetchrow(_ENTER, *ident, cafe_id, head, now, most)
        )
        return None if row is None else TillRow(**dict(row.items()))

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillRow]:
        query = f"""SELECT {_TILL} FROM pos_tills AS till
                    WHERE cafe_id = $1 AND EXISTS (SELECT FROM pos_keys WHERE id = key_id AND revoked_at IS NULL)
                    ORDER BY till, key_id"""
        rows = await self._database.read(lambda connection: connection.fetch(query, cafe_id))
        return [TillRow(**dict(row.items())) for row in rows]

    async def write(self, tills: Sequence[TillRow], lines: Sequence[Line]) -> None:
        in_order = sorted(tills, key=lambda one: one.ident)  # two nodes never wait for each other in a circle
        columns = [
            [getattr(one, name) for one in in_order]
            for name in ("key_id", "till", "cursor", "seen_at", "last_error", "last_error_at")
        ]
        logged = [[getattr(one, name) for one in lines] for name in _LINE.split(", ")]

        async def work(connection: Connection) -> None:
            if tills:
                await connection.execute(_WRITE, *columns)
            if lines:
                await connection.execute(_LOG, *logged)

        await self._database.transact(work)

    async def lines(self, cafe_id: CafeId, before: int | None, limit: int) -> Sequence[tuple[int, Line]]:
        query = f"""SELECT id, {_LINE} FROM pos_sync_logs WHERE cafe_id = $1 AND ($2::int8 IS NULL OR id < $2)
                    ORDER BY id DESC LIMIT $3"""
        rows = await self._database.read(lambda connection: connection.fetch(query, cafe_id, before, limit))
        return [(row["id"], _line(row)) for row in rows]


async def forget_lines(connection: Connection, before: datetime, most: int) -> int:
    """Delete lines of the log that are older; how many."""
    status = await connection.execute(
        "DELETE FROM pos_sync_logs WHERE id = ANY (ARRAY(SELECT id FROM pos_sync_logs WHERE at < $1 LIMIT $2))",
        before,
        most,
    )
    return int(status.removeprefix("DELETE "))


def _line(row: Row) -> Line:
    told = {name: row[name] for name in _LINE.split(", ")}
    return Line(**{**told, "cafe_id": CafeId(told["cafe_id"]), "kind": LineKind(told["kind"])})
