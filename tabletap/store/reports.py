"""Reports: what tills say of a day, closings, and what is counted for them. Implements ``report_ports.Reports``."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from tabletap.actors.report_ports import Closing, Counted, Uploaded
from tabletap.domain.base import By, CafeId
from tabletap.domain.cafe import day_view
from tabletap.domain.dailyreport import DailyReport
from tabletap.domain.events import DayClosed
from tabletap.domain.settings import CafeSettings
from tabletap.store import codec, facts
from tabletap.store.pool import Connection, Database, Row

MOST: Final = 500

_SUMS: Final = (
    "total_sales",
    "total_orders",
    "cash_sales",
    "card_sales",
    "gift_card_sales",
    "online_sales",
    "discounts",
    "refunds",
    "net_sales",
)
_LISTS: Final = ("top_items", "busy_hours", "staff_shifts")
_REPORT: Final = ("report_date", *_SUMS, *_LISTS, "notes")
_SET: Final = ", ".join(f"{name} = EXCLUDED.{name}" for name in (*_REPORT[1:], "uploaded_at", "uploaded_by"))
_KEPT: Final = f"id, uploads, uploaded_at, uploaded_by, {', '.join(_REPORT)}"

_UPLOAD: Final = f"""
    INSERT INTO pos_daily_reports (id, cafe_id, created_at, uploaded_at, uploaded_by, {", ".join(_REPORT)})
    VALUES ($1, $2, $3, $3, $4, {", ".join(f"${number}" for number in range(5, 5 + len(_REPORT)))})
    ON CONFLICT (cafe_id, report_date) DO UPDATE SET uploads = pos_daily_reports.uploads + 1, {_SET}
    RETURNING {_KEPT}
"""

_CLOSINGS: Final = """
    SELECT closing."offset", closing.data, closing.by, coalesce(before."offset", 0), before.at
    FROM events AS closing LEFT JOIN events AS before ON before.cafe_id = closing.cafe_id
        AND before.type = 'cafe.day_closed'
        AND (before.data ->> 'number')::integer = (closing.data ->> 'number')::integer - 1
    WHERE closing.cafe_id = $1 AND closing.type = 'cafe.day_closed'
      AND ($2::integer IS NULL OR (closing.data ->> 'number')::integer < $2)
    ORDER BY (closing.data ->> 'number')::integer DESC LIMIT $3
"""

_by: Final = msgspec.json.Decoder(By).decode
_rows: Final = msgspec.json.Decoder(tuple[Any, ...]).decode


class ReportTable:
    def __init__(self, database: Database) -> None:
        self._database = database

    # -- tills'

    async def upload(self, cafe_id: CafeId, report_id: UUID, report: DailyReport, by: By, now: datetime) -> Uploaded:
        told = [getattr(report, name) for name in _REPORT]
        values = [codec.encode(value) if name in _LISTS else value for name, value in zip(_REPORT, told, strict=True)]
        row = await self._database.transact(
            lambda connection: connection.fetchrow(_UPLOAD, report_id, cafe_id, now, codec.encode(by), *values)
        )
        assert row is not None
        return _uploaded(row)

    async def uploaded(self, cafe_id: CafeId, first: date, last: date) -> Sequence[Uploaded]:
        query = f"""SELECT {_KEPT} FROM pos_daily_reports WHERE cafe_id = $1 AND report_date BETWEEN $2 AND $3
                    ORDER BY report_date DESC LIMIT {MOST}"""
        rows = await self._database.read(lambda connection: connection.fetch(query, cafe_id, first, last))
        return [_uploaded(row) for row in rows]

    # -- counting

    async def day(self, cafe_id: CafeId, begins: datetime, ends: datetime, settings: CafeSettings) -> Counted:
        async def work(connection: Connection) -> Counted:
            query = "SELECT log_before($1, $2), log_before($1, $3)"
            row = await connection.fetchrow(query, cafe_id, begins, ends)
            assert row is not None
            after, upto = row
            found = await facts.read(connection, cafe_id, after, upto, settings)
            return Counted(after=after, upto=upto, facts=found)

        return await self._database.snapshot(work)

    async def since_closing(self, cafe_id: CafeId, settings: CafeSettings) -> tuple[Counted, Closing | None]:
        async def work(connection: Connection) -> tuple[Counted, Closing | None]:
            last = [_closing(row) for row in await connection.fetch(_CLOSINGS, cafe_id, None, 1)]
            after = last[0].offset if last else 0
            head = 'SELECT coalesce(max("offset"), 0) FROM events WHERE cafe_id = $1'
            upto = await connection.fetchval(head, cafe_id)
            found = await facts.read(connection, cafe_id, after, upto, settings)
            return Counted(after=after, upto=upto, facts=found), last[0] if last else None

        return await self._database.snapshot(work)

    async def of_closing(self, closing: Closing, cafe_id: CafeId, settings: CafeSettings) -> Counted:
        after, upto = closing.after, closing.offset
        found = await self._database.snapshot(lambda connection: facts.read(connection, cafe_id, after, upto, settings))
        return Counted(after=after, upto=upto, facts=found)

    # -- closings

    async def closings(self, cafe_id: CafeId, before: int | None, limit: int) -> Sequence[Closing]:
        most = min(max(limit, 0), MOST)
        rows = await self._database.read(lambda connection: connection.fetch(_CLOSINGS, cafe_id, before, most))
        return [_closing(row) for row in rows]

    async def stored(self, cafe_id: CafeId, number: int) -> bytes | None:
        query = "SELECT doc FROM z_reports WHERE cafe_id = $1 AND number = $2"
        found: bytes | None = await self._database.read(lambda connection: connection.fetchval(query, cafe_id, number))
        return found

    async def store(self, cafe_id: CafeId, number: int, document: bytes, now: datetime) -> bytes:
        """Whoever comes second reads what the first has stored: a statement of its own sees it."""
        query = "INSERT INTO z_reports (cafe_id, number, doc, stored_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
        await self._database.transact(lambda connection: connection.execute(query, cafe_id, number, document, now))
        kept = await self.stored(cafe_id, number)
        assert kept is not None
        return kept


def _uploaded(row: Row) -> Uploaded:
    told: dict[str, Any] = {name: _rows(row[name]) if name in _LISTS else row[name] for name in _REPORT}
    return Uploaded(
        report_id=row["id"],
        report=DailyReport(**told),
        uploads=row["uploads"],
        uploaded_at=row["uploaded_at"],
        by=_by(row["uploaded_by"]),
    )


def _closing(row: Row) -> Closing:
    offset, data, by, after, since = row
    event: DayClosed = codec.event(data)
    return Closing(day=day_view(event), by=_by(by), offset=offset, after=after, since=since)
