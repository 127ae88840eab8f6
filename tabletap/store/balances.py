"""The ledger of a cafe as people read it: balances at any time, and entries. Implements ``audit_ports.Balances``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tabletap.actors.audit_ports import Balance, Posted
from tabletap.domain.base import CafeId
from tabletap.store.pool import Database, Row


class Balances:
    """Whoever asks bounds what is read by ``limit``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balances(
        self, cafe_id: CafeId, at: datetime | None, after: tuple[str, str], limit: int
    ) -> Sequence[Balance]:
        """A past balance is what the entries up to then add up to: the ledger keeps nothing else of the past."""
        if at is None:
            query = """SELECT account, currency, balance FROM ledger_balances
                       WHERE cafe_id = $1 AND (account, currency) > ($2, $3) ORDER BY account, currency LIMIT $4"""
            rows = await self._fetch(query, cafe_id, *after, limit)
        else:
            query = """SELECT account, currency, sum(amount)::bigint FROM ledger_entries
                       WHERE cafe_id = $1 AND (account, currency) > ($2, $3) AND at <= $5
                       GROUP BY account, currency ORDER BY account, currency LIMIT $4"""
            rows = await self._fetch(query, cafe_id, *after, limit, at)
        return [Balance(*row) for row in rows]

    async def entries(
        self, cafe_id: CafeId, account: str | None, before: tuple[int, int] | None, limit: int
    ) -> Sequence[Posted]:
        """Backwards along the primary key."""
        rows = await self._fetch(
            """SELECT "offset", line, account, currency, amount, order_id, payment_id, at FROM ledger_entries
               WHERE cafe_id = $1 AND ($2::bigint IS NULL OR ("offset", line) < ($2, $3::smallint))
                 AND ($4::text IS NULL OR account = $4)
               ORDER BY "offset" DESC, line DESC LIMIT $5""",
            cafe_id,
            *(before or (None, None)),
            account,
            limit,
        )
        return [Posted(*row) for row in rows]

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[Row]:
        return await self._database.read(lambda connection: connection.fetch(query, *arguments))
