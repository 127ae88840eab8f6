"""What doors show is what the log says: every projected row compared, column by column."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from typing import Any
from uuid import UUID

import msgspec

from tabletap.domain.audit import Finding, Rule
from tabletap.domain.base import CafeId
from tabletap.store import projections
from tabletap.store.batch import Batch, Change
from tabletap.store.pool import Connection

from .dossier import Dossier
from .report import Notes


class Rows:
    """Counts what it has seen, to know in the end of rows that belong to nothing."""

    def __init__(self, connection: Connection, notes: Notes) -> None:
        self._connection = connection
        self._notes = notes
        self._seen: Counter[str] = Counter()

    async def check(self, page: Sequence[Dossier]) -> None:
        """The rows of these entities are there and as they should be."""
        expected: dict[Change, dict[UUID, tuple[Any, ...]]] = defaultdict(dict)
        whose: dict[UUID, CafeId] = {}
        for one in page:
            for change, key, row in projections.of_states(one.states.values(), (each.event for each in one.events)):
                expected[change][key] = row
                whose[key] = one.ref.cafe_id
        for change, rows in expected.items():
            where = f"{change.columns[0]} = ANY ($1::uuid[])"
            found = await self._found(change, where, list(rows))
            kept = {row[0]: row for row in found}
            for key, row in rows.items():
                self._compare(change, str(key), row, kept.get(key), whose[key])
        await self._movements(page)

    async def _movements(self, page: Sequence[Dossier]) -> None:
        """Rows that tell of one event each are known by its offset."""
        batch = _Collected()
        for one in page:
            for event in one.events:
                projections.put_movements(batch, event.cafe_id, event.offset, event.at, event.event)
        for change, rows in batch.rows.items():
            place = [column.strip('"') for column in change.columns].index("offset")
            cafe = change.columns.index("cafe_id")
            where = '(cafe_id, "offset") IN (SELECT * FROM unnest($1::uuid[], $2::bigint[]))'
            found = await self._found(change, where, *(list(column) for column in zip(*rows, strict=True)))
            kept = {(row[cafe], row[place]): row for row in found}
            for (cafe_id, offset), row in rows.items():
                self._compare(change, f"of offset {offset}", row, kept.get((cafe_id, offset)), cafe_id)

    async def _found(self, change: Change, where: str, *arguments: Any) -> list[tuple[Any, ...]]:
        columns = ", ".join(change.columns)
        rows = await self._connection.fetch(f"SELECT {columns} FROM {change.table} WHERE {where}", *arguments)
        return [tuple(row) for row in rows]

    def _compare(
        self, change: Change, name: str, row: tuple[Any, ...], kept: tuple[Any, ...] | None, cafe_id: CafeId
    ) -> None:
        self._notes.checked.rows += 1
        self._seen[change.table] += 1
        words = _difference(change, row, kept)
        if words is not None:
            self._notes.faults.add(Finding(Rule.ROW, f"{change.table} {name}", words, cafe_id))

    async def check_counts(self, cafe_id: CafeId | None) -> None:
        """No table has rows that nothing in the log has led to."""
        for table, expected in self._seen.items():
            owner = "id" if table == "cafes" else "cafe_id"
            found = await self._connection.fetchval(
                f"SELECT count(*) FROM {table} WHERE $1::uuid IS NULL OR {owner} = $1", cafe_id
            )
            if found > expected:
                words = f"{found - expected} rows are of nothing that is in the log"
                self._notes.faults.add(Finding(Rule.ROW, table, words, cafe_id))


class _Collected(Batch):
    """Rows that are to be looked up, not written."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[Change, dict[Any, tuple[Any, ...]]] = defaultdict(dict)

    def put(self, change: Change, key: Hashable, row: tuple[Any, ...]) -> None:
        """Keep it."""
        self.rows[change][key] = row


def _readable(change: Change, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """JSON as what it says: the database keeps it in another spelling."""
    pairs = zip(change.types, row, strict=True)
    return tuple(msgspec.json.decode(value) if type_ == "jsonb" and value else value for type_, value in pairs)


def _difference(change: Change, expected: tuple[Any, ...], found: tuple[Any, ...] | None) -> str | None:
    if found is None:
        return "the row is missing"
    expected, found = _readable(change, expected), _readable(change, found)
    different = [
        f"{column} is {shown!r}, by the log {told!r}"
        for column, told, shown in zip(change.columns, expected, found, strict=True)
        if told != shown
    ]
    return "; ".join(different)[:2_000] or None
