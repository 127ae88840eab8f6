"""A report as a table for whoever keeps the books: one line for each figure, by the path that JSON has it at.

``line,value``: ``counted.tenders.cash.taken,1446``. Of a list, each row goes by what names it, not by its place.
Amounts are cents. A text that a spreadsheet would take for a formula is led by an apostrophe.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from .operations.base import Raw

_NAMES = ("method", "sku", "hour", "name")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table(report: msgspec.Struct) -> Raw:
    """The report as CSV (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("line", "value"))
    writer.writerows(_lines("", msgspec.to_builtins(report)))
    return Raw("text/csv; charset=utf-8", text.getvalue().encode())


def _lines(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _lines(f"{path}.{name}".lstrip("."), part)
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value, start=1):
            yield from _lines(f"{path}.{_name(part, place)}", part)
    else:
        yield _safe(path), _safe(value) if isinstance(value, str) else value


def _name(part: Any, place: int) -> Any:
    if not isinstance(part, Mapping):
        return place
    return next((part[name] for name in _NAMES if name in part), place)


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
