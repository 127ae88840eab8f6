"""Rows of many commits as one statement: every table's rows as arrays, all tables in one round trip.

A statement outside a transaction block commits by itself, so the three trips of BEGIN, statement and COMMIT are one.
Its parts run side by side on the same picture of the database: no two may touch the same row, and none sees another's.
"""

from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from itertools import count
from typing import Any, Final

ROWS: Final = "{rows}"


class Change:
    """A change of one table by rows. ``sql`` has ``{rows}`` where they stand, one column for each of ``types``.

    ``table`` and ``columns``: where whole rows are written, what they are made of.
    """

    __slots__ = ("columns", "name", "sql", "table", "types")

    def __init__(self, name: str, sql: str, *types: str, table: str = "", columns: Iterable[str] = ()) -> None:
        self.name = name
        self.sql = sql
        self.types = types
        self.table = table
        self.columns = tuple(columns)


def insert(table: str, columns: Mapping[str, str], conflict: str = "") -> Change:
    """Insert rows of ``columns`` (name: type); ``conflict``: what to do about those that are there."""
    sql = f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM {ROWS} {conflict}"
    return Change(f"put_{table}", sql, *columns.values(), table=table, columns=columns)


def upsert(table: str, columns: Mapping[str, str], *fixed: str) -> Change:
    """Insert rows by the key in the first column, or overwrite all columns but the key and the ``fixed`` ones."""
    key, *rest = columns
    sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in rest if column not in fixed)
    return insert(table, columns, f"ON CONFLICT ({key}) DO UPDATE SET {sets}")


def remove(table: str, key: str, type_: str = "uuid") -> Change:
    """Delete rows by their key."""
    sql = f"DELETE FROM {table} USING {ROWS} AS gone (key) WHERE {table}.{key} = gone.key"
    return Change(f"drop_{table}", sql, type_)


class Batch:
    """Rows by change and key; of two rows with one key the later wins, as if written one after the other."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[Change, dict[Hashable, tuple[Any, ...]]] = {}

    def put(self, change: Change, key: Hashable, row: tuple[Any, ...]) -> None:
        rows = self._rows.get(change)
        if rows is None:
            rows = self._rows[change] = {}
        rows[key] = row

    def swap(self, change: Change, against: Change, key: Hashable, row: tuple[Any, ...]) -> None:
        """Like ``put``, where ``against`` is the other change of the same table."""
        other = self._rows.get(against)
        if other is not None and other.pop(key, None) is not None and not other:
            del self._rows[against]
        self.put(change, key, row)

    def add(self, change: Change, key: Hashable, row: tuple[Any, ...]) -> None:
        """Like ``put``; the last column is summed up over the rows of one key."""
        rows = self._rows.setdefault(change, {})
        before = rows.get(key)
        rows[key] = row if before is None else (*row[:-1], before[-1] + row[-1])

    def statement(self) -> tuple[str, list[list[Any]]]:
        """The statement that writes all of it, and its arguments. Empty if there is nothing to write."""
        changes = sorted(self._rows, key=lambda change: change.name)  # the same tables, the same prepared statement
        arguments = [list(column) for change in changes for column in zip(*self._rows[change].values(), strict=True)]
        return _compose(tuple(changes)), arguments


@lru_cache(maxsize=1024)
def _compose(changes: tuple[Change, ...]) -> str:
    if not changes:
        return ""
    number = count(1)
    parts = []
    for change in changes:
        arrays = ", ".join(f"${next(number)}::{type_}[]" for type_ in change.types)
        parts.append(f"{change.name} AS ({change.sql.replace(ROWS, f'unnest({arrays})')})")
    return f"WITH {', '.join(parts)} SELECT"
