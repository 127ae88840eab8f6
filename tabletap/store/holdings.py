"""What is held for people: credit, gift cards, points, tips. Implements ``actors.holding_ports.Holdings``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from tabletap.domain.account import AccountView, EntryView
from tabletap.domain.base import CafeId, PaymentId
from tabletap.domain.tips import DistributionView, Owed, Pool
from tabletap.domain.vocabulary import Cause
from tabletap.store.pool import Database, Row

MOST: Final = 500
"""No list is longer, whatever was asked for (of staff: no cafe ever owed so many)."""

_ENTRY: Final = 'entry_id, amount, balance, at, "offset", granted, payment_id, reason, cause, reference'

_ACCOUNT: Final = "SELECT id, balance, currency, owner, label, expires_at FROM accounts WHERE id = $1"

# Tips come in with payments: entries that name none are distributions. A region of the log that was distributed is the
# tips of a time, as far as they were in the log when it was read; none belongs to two.
_POOL: Final = """
    SELECT log.head, earlier.times, earlier.charged, refunded.amount AS refunded, given.amount AS given
    FROM (SELECT coalesce(max("offset"), 0) AS head FROM events WHERE cafe_id = $1) AS log,
         (SELECT count(*) AS times, coalesce(sum(charged), 0)::bigint AS charged
          FROM tip_distributions WHERE cafe_id = $1) AS earlier,
         (SELECT coalesce(sum(amount), 0)::bigint AS amount FROM ledger_entries
          WHERE cafe_id = $1 AND account = 'tips' AND amount > 0 AND payment_id IS NOT NULL) AS refunded,
         (SELECT coalesce(-sum(amount), 0)::bigint AS amount FROM ledger_entries AS tip
          WHERE cafe_id = $1 AND account = 'tips' AND NOT amount > 0 AND at >= $2 AND at < $3
            AND NOT EXISTS (SELECT FROM tip_distributions AS earlier WHERE earlier.cafe_id = $1
                AND tip.at >= since AND tip.at < until AND tip."offset" <= read_offset)) AS given
"""

_distribution = msgspec.json.Decoder(DistributionView).decode


class Holdings:
    """One part of the reader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def account(self, account_id: UUID) -> AccountView | None:
        """The account, if anything has ever moved on it."""
        rows = await self._fetch(_ACCOUNT, account_id)
        if not rows:
            return None
        id_, balance, currency, owner, label, expires_at = rows[0]
        return AccountView(
            account_id=id_,
            balance=balance,
            currency=currency,
            customer_id=owner,
            label=label,
            expires_at=expires_at,
        )

    async def history(self, account_id: UUID, before: int | None = None, limit: int = 50) -> Sequence[EntryView]:
        """Its movements, newest first. ``before``: the cursor of the last one of the page before."""
        rows = await self._fetch(
            f"""SELECT {_ENTRY} FROM account_entries
                WHERE account_id = $1 AND ($2::int8 IS NULL OR "offset" < $2) ORDER BY "offset" DESC LIMIT $3""",
            account_id,
            before,
            min(max(limit, 0), MOST),
        )
        return [_entry(row) for row in rows]

    async def entry(self, account_id: UUID, entry_id: UUID) -> EntryView | None:
        """One movement, however long ago."""
        rows = await self._fetch(
            f"SELECT {_ENTRY} FROM account_entries WHERE account_id = $1 AND entry_id = $2", account_id, entry_id
        )
        return _entry(rows[0]) if rows else None

    async def tip_pool(self, cafe_id: CafeId, since: datetime, until: datetime) -> Pool:
        """What came in as tips from ``since`` to before ``until`` and can be distributed, as of now."""
        head, times, charged, refunded, given = (await self._fetch(_POOL, cafe_id, since, until))[0]
        kept_back = min(max(refunded - charged, 0), given)
        return Pool(amount=given - kept_back, charged=kept_back, offset=head, distributions=times)

    async def tips_owed(self, cafe_id: CafeId) -> Sequence[Owed]:
        """What each of the staff has not been paid out yet, by name."""
        rows = await self._fetch(
            """SELECT substr(account, 6), -balance FROM ledger_balances
               WHERE cafe_id = $1 AND account LIKE 'tips:%' AND balance <> 0 ORDER BY account LIMIT $2""",
            cafe_id,
            MOST,
        )
        return [Owed(user, amount) for user, amount in rows]

    async def tip_distributions(self, cafe_id: CafeId, limit: int = 50) -> Sequence[DistributionView]:
        """The last distributions, newest first."""
        rows = await self._fetch(
            'SELECT doc FROM tip_distributions WHERE cafe_id = $1 ORDER BY "offset" DESC LIMIT $2',
            cafe_id,
            min(max(limit, 0), MOST),
        )
        return [_distribution(row[0]) for row in rows]

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[Row]:
        return await self._database.read(lambda connection: connection.fetch(query, *arguments))


def _entry(row: Row) -> EntryView:
    entry_id, amount, balance, at, offset, granted, payment_id, reason, cause, reference = row
    return EntryView(
        entry_id=entry_id,
        amount=amount,
        balance=balance,
        at=at,
        cursor=offset,
        granted=granted,
        payment_id=None if payment_id is None else PaymentId(payment_id),
        reason=reason,
        cause=None if cause is None else Cause(cause),
        order_id=reference,
    )
