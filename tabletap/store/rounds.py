"""What reconciliation looks for, as queries over live rows, and its runs. Implements ``audit_ports.Rounds``."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from tabletap.actors.audit_ports import Turn
from tabletap.domain.base import CafeId, Kind, PaymentId, Ref
from tabletap.domain.charge import Charge, charge_of
from tabletap.domain.events import PaymentInitiated
from tabletap.domain.reconciliation import Known, Run, Stuck
from tabletap.domain.vocabulary import MANUAL, PaymentStatus
from tabletap.store import codec
from tabletap.store.pending import TO_ACTORS
from tabletap.store.pool import Connection, Database, DatabaseDown, Retry, Row, T, Work

BEGIN_LOCK: Final = 0x7AB1E0C5
"""One node begins at a time; after that the row of its run keeps the others away."""

RUN_AT_MOST: Final = timedelta(minutes=10)
"""A run that has not finished by then has died with its node."""

KEPT: Final = timedelta(days=30)

_MANUAL: Final = sorted(method.value for method in MANUAL)
_run: Final = msgspec.json.Decoder(Run)


class Rounds:
    """Each list is bounded by its caller."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- runs

    async def begin(self, run_id: UUID, now: datetime, *, not_after: datetime | None) -> Turn | None:
        """Take the turn, unless it is somebody else's."""

        async def work(connection: Connection) -> Turn | None:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", BEGIN_LOCK):
                return None
            taken = await connection.fetchval(
                """SELECT EXISTS (SELECT FROM reconciliation_runs
                   WHERE (finished_at IS NULL AND started_at > $1) OR started_at > $2)""",
                now - RUN_AT_MOST,
                not_after,
            )
            if taken:
                return None
            since = await connection.fetchval(
                "SELECT max(started_at) FROM reconciliation_runs WHERE finished_at IS NOT NULL"
            )
            await connection.execute("INSERT INTO reconciliation_runs (id, started_at) VALUES ($1, $2)", run_id, now)
            return Turn(since)

        return await self._transact(work)

    async def finish(self, run: Run) -> None:
        """Keep it, and forget those of last month."""

        async def work(connection: Connection) -> None:
            await connection.execute(
                "UPDATE reconciliation_runs SET finished_at = $2, report = $3 WHERE id = $1",
                run.run_id,
                run.finished_at,
                codec.encode(run),
            )
            await connection.execute("DELETE FROM reconciliation_runs WHERE started_at < $1", run.started_at - KEPT)

        await self._transact(work)

    async def newest(self) -> Run | None:
        """By its beginning."""
        rows = await self._fetch(
            "SELECT report FROM reconciliation_runs WHERE finished_at IS NOT NULL ORDER BY started_at DESC LIMIT 1"
        )
        return _run.decode(rows[0][0]) if rows else None

    # -- what may be wrong

    async def under_way(self, begun_before: datetime, limit: int) -> Sequence[Charge]:
        """Those that expire first come first."""
        rows = await self._fetch(
            """SELECT begun.data, payments.external_id FROM payments
               JOIN events AS begun ON begun.entity_id = payments.id AND begun.version = 1
               WHERE status IN ('pending', 'processing') AND method <> ALL ($1::text[]) AND initiated_at < $2
               ORDER BY expires_at LIMIT $3""",
            _MANUAL,
            begun_before,
            limit,
        )
        return [_charge(*row) for row in rows]

    async def known(self, payment_ids: Collection[PaymentId]) -> Mapping[PaymentId, Known]:
        """From their rows."""
        rows = await self._fetch(
            """SELECT id, cafe_id, status, coalesce((doc->>'received')::bigint, 0) FROM payments
               WHERE id = ANY ($1::uuid[])""",
            list(payment_ids),
        )
        return {
            PaymentId(id_): Known(cafe_id=CafeId(cafe_id), status=PaymentStatus(status), received=received)
            for id_, cafe_id, status, received in rows
        }

    async def overdue_payments(self, expired_before: datetime, limit: int) -> Sequence[Ref]:
        """By the index ``payments_open``."""
        rows = await self._fetch(
            """SELECT id, cafe_id FROM payments
               WHERE status IN ('pending', 'processing') AND expires_at < $1 ORDER BY expires_at LIMIT $2""",
            expired_before,
            limit,
        )
        return [Ref(Kind.PAYMENT, id_, CafeId(cafe_id)) for id_, cafe_id in rows]

    async def stuck_messages(self, since: datetime, limit: int) -> Sequence[Stuck]:
        """A job rests until it is due, and is only then late; a message between entities never rests."""
        rows = await self._fetch(
            """SELECT cafe_id, destination, kind, key, count(*), min(created_at), max(last_error) FROM outbox
               WHERE created_at < $1 AND (destination = $2 OR next_at < $1)
               GROUP BY cafe_id, destination, kind, key ORDER BY min(created_at) LIMIT $3""",
            since,
            TO_ACTORS,
            limit,
        )
        return [
            Stuck(
                cafe_id=CafeId(cafe_id),
                receiver=f"{kind if destination == TO_ACTORS else destination} {key}",
                waiting=count,
                oldest=oldest,
                last_error=error,
            )
            for cafe_id, destination, kind, key, count, oldest, error in rows
        ]

    async def stale_orders(self, placed_before: datetime, limit: int) -> Sequence[tuple[Ref, int]]:
        """What is scheduled for later is not stale; what the kitchen makes will be paid at the table."""
        rows = await self._fetch(
            f"""SELECT id, cafe_id, number FROM orders WHERE {_OUTSIDE}
                AND status IN ('pending', 'payment_pending')
                AND coalesce((doc->>'scheduledFor')::timestamptz, placed_at) < $1
                AND NOT EXISTS (SELECT FROM payments WHERE payments.order_id = orders.id
                                AND payments.status IN ('pending', 'processing'))
                ORDER BY placed_at LIMIT $2""",
            placed_before,
            limit,
        )
        return [_numbered(row) for row in rows]

    async def unreleased_orders(self, paid_before: datetime, limit: int) -> Sequence[tuple[Ref, int]]:
        """An order that is not due yet has its wake time; without one nothing will give it to the kitchen."""
        rows = await self._fetch(
            f"""SELECT id, cafe_id, number FROM orders WHERE {_OUTSIDE} AND status = 'paid' AND placed_at < $1
                ORDER BY placed_at LIMIT $2""",
            paid_before,
            limit,
        )
        return [_numbered(row) for row in rows]

    async def _transact(self, work: Work[T]) -> T:
        try:
            return await self._database.transact(work)
        except Retry as busy:  # the next round is soon enough
            raise DatabaseDown(str(busy)) from busy

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[Row]:
        return await self._database.read(lambda connection: connection.fetch(query, *arguments))


def _charge(data: bytes, external_id: str | None) -> Charge:
    initiated = codec.event(data)
    assert isinstance(initiated, PaymentInitiated)
    return msgspec.structs.replace(charge_of(initiated), external_id=external_id)


def _numbered(row: Row) -> tuple[Ref, int]:
    id_, cafe_id, number = row
    return Ref(Kind.ORDER, id_, CafeId(cafe_id)), number


_OUTSIDE: Final = """active AND NOT (doc->>'inKitchen')::bool AND NOT EXISTS (
    SELECT FROM wakes WHERE wakes.entity_id = orders.id AND wakes.wake_at > $1)"""
"""Active orders that the kitchen does not have and that wait for no hour of their own. ``$1`` is a moment ago."""
