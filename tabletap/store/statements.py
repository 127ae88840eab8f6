"""What imported bank statements are compared with, and what became of their lines.

Implements ``actors.ports.Statements``.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from tabletap.actors.ports import Answered, CarriedOut
from tabletap.domain.base import CafeId, PaymentId
from tabletap.store.pool import Connection, Database

_RECORD: Final = """
    INSERT INTO statement_lines (cafe_id, line_id, payment_id, booked_on, amount, outcome, imported_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (cafe_id, line_id) DO NOTHING
"""
_ANSWER: Final = """
    INSERT INTO idempotency (scope, key, request, ok, body, expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (scope, key) DO UPDATE SET request = EXCLUDED.request, ok = EXCLUDED.ok, body = EXCLUDED.body,
        expires_at = EXCLUDED.expires_at, created_at = EXCLUDED.created_at
    WHERE idempotency.expires_at <= EXCLUDED.created_at
"""


class StatementTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def payments(self, cafe_id: CafeId, references: Collection[str]) -> Mapping[str, PaymentId]:
        """The payments of the cafe among these references."""
        rows = await self._database.read(
            lambda connection: connection.fetch(
                "SELECT reference, id FROM payments WHERE reference = ANY($2) AND cafe_id = $1", cafe_id, [*references]
            )
        )
        return {reference: PaymentId(ident) for reference, ident in rows}

    async def carried_out(self, cafe_id: CafeId, line_ids: Collection[str]) -> Mapping[str, CarriedOut]:
        """Those of these lines that have been carried out."""
        rows = await self._database.read(
            lambda connection: connection.fetch(
                """SELECT line_id, payment_id, booked_on, amount, outcome FROM statement_lines
                   WHERE cafe_id = $1 AND line_id = ANY($2)""",
                cafe_id,
                [*line_ids],
            )
        )
        return {row["line_id"]: CarriedOut(*row) for row in rows}

    async def record(self, cafe_id: CafeId, lines: Sequence[CarriedOut], answered: Answered, now: datetime) -> None:
        """Keep what was carried out, and the answer to its import, at once."""
        key = answered.idempotency

        async def work(connection: Connection) -> None:
            if lines:
                await connection.executemany(_RECORD, [_row(cafe_id, line, now) for line in lines])
            await connection.execute(
                _ANSWER, key.scope, key.key, key.request, answered.ok, answered.body, answered.expires_at, now
            )

        await self._database.transact(work)


def _row(cafe_id: UUID, line: CarriedOut, now: datetime) -> tuple[object, ...]:
    return (cafe_id, line.line_id, line.payment_id, line.booked_on, line.amount, line.outcome, now)
