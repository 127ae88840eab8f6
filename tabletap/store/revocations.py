"""Tokens that are good no longer, on Postgres. Implements ``access_ports.Revocations``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from tabletap.domain.base import By, CafeId
from tabletap.domain.revocation import Revocation, rank
from tabletap.store.pool import Connection, Database, Row

_EVERYWHERE: Final = UUID(int=0)
_ADD: Final = """
    INSERT INTO revocations (cafe_id, kind, subject, rank, by, at, until) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (cafe_id, kind, subject, rank) DO UPDATE
    SET by = EXCLUDED.by, written_by = EXCLUDED.written_by,
        at = greatest(revocations.at, EXCLUDED.at), until = greatest(revocations.until, EXCLUDED.until)
"""
# One statement, so that the mark and the rows are of the same moment; without rows, the mark comes alone.
_NEWER: Final = """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS mark, cafe_id, kind, subject, by, at, until
    FROM (SELECT 1) AS always LEFT JOIN revocations ON written_by >= $1 AND until > $2
"""


class RevocationTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, revocation: Revocation) -> None:
        """Keep it."""
        named = ("user", revocation.user) if revocation.token_id is None else ("token", revocation.token_id)
        row = (
            revocation.cafe_id or _EVERYWHERE,
            *named,
            rank(revocation.by.role),
            msgspec.json.encode(revocation.by),
            revocation.at,
            revocation.until,
        )
        await self._database.transact(lambda connection: connection.execute(_ADD, *row))

    async def newer(self, mark: int, now: datetime) -> tuple[Sequence[Revocation], int]:
        """Those kept since ``mark``, and the next one."""
        rows = await self._database.read(lambda connection: connection.fetch(_NEWER, mark, now))
        return [_revocation(row) for row in rows if row["kind"] is not None], rows[0]["mark"]


async def forget_revocations(connection: Connection, now: datetime) -> None:
    """Delete those that have run out."""
    await connection.execute("DELETE FROM revocations WHERE until <= $1", now)


def _revocation(row: Row) -> Revocation:
    cafe_id, subject = row["cafe_id"], row["subject"]
    return Revocation(
        cafe_id=None if cafe_id == _EVERYWHERE else CafeId(cafe_id),
        token_id=subject if row["kind"] == "token" else None,
        user=subject if row["kind"] == "user" else None,
        at=row["at"],
        until=row["until"],
        by=msgspec.json.decode(row["by"], type=By),
    )
