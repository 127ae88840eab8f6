"""The keys of tills, on Postgres. Implements ``till_ports.Keys``."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from tabletap.actors.till_ports import KeyNameTaken
from tabletap.domain.base import CafeId
from tabletap.domain.till import Scope, TillKey
from tabletap.store.pool import Connection, Database, Row, UniqueViolation

LISTED_AT_MOST: Final = 500

_COLUMNS: Final = (
    "id, cafe_id, name, scopes, digest, hint, since, previous, until, created_at, created_by, revoked_at, last_used_at"
)
_WRITTEN: Final = "written_by = pg_current_xact_id()::text::bigint"
_GOOD: Final = "WHERE id = $1 AND cafe_id = $2 AND revoked_at IS NULL"
# One statement, so that the mark and the rows are of the same moment; without rows, the mark comes alone.
_NEWER: Final = f"""
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS mark, {_COLUMNS}
    FROM (SELECT 1) AS always LEFT JOIN pos_keys ON written_by >= $1 AND ($1 > 0 OR revoked_at IS NULL)
"""


class KeyTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: TillKey, most: int) -> bool:
        async def work(connection: Connection) -> bool:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"pos_keys {key.cafe_id}")
            there = await connection.fetchval(
                "SELECT count(*) FROM pos_keys WHERE cafe_id = $1 AND revoked_at IS NULL", key.cafe_id
            )
            if there >= most:
                return False
            await connection.execute(
                """INSERT INTO pos_keys (id, cafe_id, name, scopes, digest, hint, since, created_at, created_by)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)""",
                *(key.id, key.cafe_id, key.name, sorted(key.scopes), key.digest, key.hint, key.since),
                *(key.created_at, key.created_by),
            )
            return True

        try:
            return await self._database.transact(work)
        except UniqueViolation as taken:
            raise KeyNameTaken(key.name) from taken

    async def rotate(
        self, cafe_id: CafeId, key_id: UUID, digest: bytes, hint: str, now: datetime, until: datetime
    ) -> TillKey | None:
        return await self._change(
            f"""UPDATE pos_keys SET previous = digest, until = $3, digest = $4, hint = $5, since = $6, {_WRITTEN}
                {_GOOD} RETURNING {_COLUMNS}""",
            *(key_id, cafe_id, until, digest, hint, now),
        )

    async def revoke(self, cafe_id: CafeId, key_id: UUID, now: datetime) -> TillKey | None:
        return await self._change(
            f"UPDATE pos_keys SET revoked_at = $3, {_WRITTEN} {_GOOD} RETURNING {_COLUMNS}", key_id, cafe_id, now
        )

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillKey]:
        query = (
            f"SELECT {_COLUMNS} FROM pos_keys WHERE cafe_id = $1 ORDER BY created_at DESC, id LIMIT {LISTED_AT_MOST}"
        )
        return [_key(row) for row in await self._database.read(lambda connection: connection.fetch(query, cafe_id))]

    async def newer(self, mark: int) -> tuple[Sequence[TillKey], int]:
        rows = await self._database.read(lambda connection: connection.fetch(_NEWER, mark))
        return [_key(row) for row in rows if row["id"] is not None], rows[0]["mark"]

    async def used(self, when: Mapping[UUID, datetime]) -> None:
        ids, times = list(when), list(when.values())
        await self._database.transact(
            lambda connection: connection.execute(
                """UPDATE pos_keys SET last_used_at = greatest(last_used_at, used.at)
                   FROM unnest($1::uuid[], $2::timestamptz[]) AS used (id, at) WHERE pos_keys.id = used.id""",
                ids,
                times,
            )
        )

    async def _change(self, query: str, *arguments: Any) -> TillKey | None:
        row = await self._database.transact(lambda connection: connection.fetchrow(query, *arguments))
        return None if row is None else _key(row)


async def forget_keys(connection: Connection, before: datetime) -> None:
    """Delete those that were revoked before then, with their tills."""
    await connection.execute("DELETE FROM pos_keys WHERE revoked_at < $1", before)


def _key(row: Row) -> TillKey:
    return TillKey(
        id=row["id"],
        cafe_id=CafeId(row["cafe_id"]),
        name=row["name"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        digest=row["digest"],
        hint=row["hint"],
        since=row["since"],
        previous=row["previous"],
        until=row["until"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
