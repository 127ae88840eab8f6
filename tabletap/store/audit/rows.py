"""What doors show is what the log says: every projected row compared, column by column."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from tabletap.domain.audit import Finding, Rule
from tabletap.domain.base import CafeId
from tabletap.store import projections
from tabletap.store.batch import Change
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
            self._notes.checked.rows += len(rows)
            self._seen[change.table] += len(rows)
            found = await self._connection.fetch(
                f"SELECT {', '.join(change.columns)} FROM {change.table} WHERE {change.columns[0]} = ANY ($1::uuid[])",
                list(rows),
            )
            kept = {row[0]: _readable(change, tuple(row)) for row in found}
            for key, row in rows.items():
                words = _difference(change, _readable(change, row), kept.get(key))
                if words is not None:
                    self._notes.faults.add(Finding(Rule.ROW, f"{change.table} {key}", words, whose[key]))

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


def _readable(change: Change, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """JSON as what it says: the database keeps it in another spelling."""
    pairs = zip(change.types, row, strict=True)
    return tuple(msgspec.json.decode(value) if type_ == "jsonb" and value else value for type_, value in pairs)


def _difference(change: Change, expected: tuple[Any, ...], found: tuple[Any, ...] | None) -> str | None:
    if found is None:
        return "the row is missing"
    different = [
        f"{column} is {shown!r}, by the log {told!r}"
        for column, told, shown in zip(change.columns, expected, found, strict=True)
        if told != shown
    ]
    return "; ".join(different)[:2_000] or None
