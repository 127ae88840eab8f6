"""A bank's statement as CSV: what came in, and with which of our references (spec P4).

Banks agree on nothing but commas, so ``Format`` says where a column is and how it is written. Amounts are read digit
by digit, never through a float. A reference is read as people and banks spell it: in any case, broken by spaces or
hyphens, O for 0, I or L for 1 (Crockford's base 32).

A line is known by the bank's own id, else by what it says and by its place among equal lines of the same day, so that
an overlapping statement names it alike.
"""

import csv
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Annotated, Literal

import msgspec

from . import cardlike
from .errors import Refusal, invalid

MOST_LINES = 5_000
MOST_CHARS = 1_000_000
DESCRIPTION_CHARS = 280
LINE_ID_CHARS = 100
MOST_REFERENCES = 20
DATE_CHARS = 20

Column = Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | Annotated[int, msgspec.Meta(ge=1, le=100)]
"""By its header, whatever its case, or by its number from 1."""


class DateStyle(StrEnum):
    """How a date is written."""

    ISO = "YYYY-MM-DD"
    DAY_FIRST = "DD/MM/YYYY"
    DAY_FIRST_SHORT = "DD/MM/YY"
    MONTH_FIRST = "MM/DD/YYYY"
    DOTS = "DD.MM.YYYY"
    NAMED = "DD MMM YYYY"
    NAMED_SHORT = "DD MMM YY"
    DIGITS = "YYYYMMDD"


_STRPTIME = {
    DateStyle.ISO: "%Y-%m-%d",
    DateStyle.DAY_FIRST: "%d/%m/%Y",
    DateStyle.DAY_FIRST_SHORT: "%d/%m/%y",
    DateStyle.MONTH_FIRST: "%m/%d/%Y",
    DateStyle.DOTS: "%d.%m.%Y",
    DateStyle.NAMED: "%d %b %Y",
    DateStyle.NAMED_SHORT: "%d %b %y",
    DateStyle.DIGITS: "%Y%m%d",
}


class Format(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """``amount``: one column with a sign; or ``credit``: one for what came in alone. ``id``: the bank's own.

    ``header`` false: there is none, and columns go by number.
    """

    date: Column = "Date"
    description: Annotated[tuple[Column, ...], msgspec.Meta(min_length=1, max_length=10)] = ("Description",)
    amount: Column | None = None
    credit: Column | None = None
    id: Column | None = None
    header: bool = True
    date_style: DateStyle = DateStyle.DAY_FIRST
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came in. ``number``: of the line in the file, from 1; ``amount`` in cents; ``references``: whatever
    may be one, of which at most one should be real."""

    number: int
    id: str
    booked_on: date
    amount: int
    description: str
    references: tuple[str, ...] = ()


class LineError(msgspec.Struct, frozen=True):
    """A line that cannot be read. The message never quotes it."""

    line: int
    message: str


class Statement(msgspec.Struct, frozen=True):
    """``outgoing``: how many lines took money out, or moved none."""

    lines: tuple[Line, ...]
    errors: tuple[LineError, ...]
    outgoing: int

    @property
    def references(self) -> frozenset[str]:
        """Everything that was read as a reference."""
        return frozenset(reference for line in self.lines for reference in line.references)


class _Unreadable(Exception):  # noqa: N818  what it is
    """A line makes no sense; the message says why."""


# -- reading


def read(text: str, form: Format) -> Statement | Refusal:
    """What a statement says. Refuses a file that is none of this format; single odd lines are its ``errors``."""
    if (form.amount is None) == (form.credit is None):
        return invalid("format.amount", "say where the amount is: in amount, or in credit")
    rows = _rows(text, form)
    if isinstance(rows, Refusal):
        return rows
    columns = _columns(rows, form)
    if isinstance(columns, Refusal):
        return columns
    lines, errors, outgoing = [], [], 0
    alike: Counter[str] = Counter()
    for number, row in rows[1 if form.header else 0 :]:
        try:
            line = _line(number, row, columns, form, alike)
        except _Unreadable as error:
            errors.append(LineError(number, str(error)))
            continue
        if line is None:
            outgoing += 1
        else:
            lines.append(line)
    return _without_twins(Statement(tuple(lines), tuple(errors), outgoing))


def _rows(text: str, form: Format) -> Sequence[tuple[int, list[str]]] | Refusal:
    """The lines that are not empty, with their numbers."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=form.delimiter)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((reader.line_num, row))
            if len(rows) > MOST_LINES + 1:
                return invalid("csv", f"has more than {MOST_LINES} lines: import it in parts")
    except csv.Error as error:
        return invalid("csv", f"line {reader.line_num}: {error}")
    return rows or invalid("csv", "is empty")


_Columns = Mapping[Column, int]


def _columns(rows: Sequence[tuple[int, list[str]]], form: Format) -> _Columns | Refusal:
    """Where each column of the format is, from 0."""
    headers = [cell.strip().casefold() for cell in rows[0][1]] if form.header else []
    found: dict[Column, int] = {}
    wanted = {"date": (form.date,), "description": form.description}
    wanted |= {name: (column,) for name in ("amount", "credit", "id") if (column := getattr(form, name)) is not None}
    for field, columns in wanted.items():
        for column in columns:
            if isinstance(column, int):
                found[column] = column - 1
            elif column.strip().casefold() in headers:
                found[column] = headers.index(column.strip().casefold())
            else:
                return invalid(f"format.{field}", "there is no such column in the first line")
    return found


def _line(number: int, row: list[str], columns: _Columns, form: Format, alike: Counter[str]) -> Line | None:
    """What one line says; None: no money came in."""

    def cell(column: Column | None) -> str:
        place = columns[column] if column is not None else len(row)
        return " ".join(row[place].split()) if place < len(row) else ""

    amount = cents(cell(form.amount if form.amount is not None else form.credit), form.decimal)
    if amount <= 0:
        return None
    booked_on = _date(cell(form.date)[:DATE_CHARS], form.date_style)
    if booked_on is None:
        raise _Unreadable(f"the date is not written {form.date_style}")
    description = " ".join(filter(None, map(cell, form.description)))
    own_id = cell(form.id)
    if cardlike.find(description) or cardlike.find(own_id):
        raise _Unreadable("there is a card number in it: it is not taken")
    if len(own_id) > LINE_ID_CHARS:
        raise _Unreadable(f"the id has more than {LINE_ID_CHARS} characters")
    content = f"{booked_on}|{amount}|{description.casefold()}"
    alike[content] += 1
    return Line(
        number=number,
        id=own_id or hashlib.sha256(f"{content}|{alike[content]}".encode()).hexdigest(),
        booked_on=booked_on,
        amount=amount,
        description=description[:DESCRIPTION_CHARS],
        references=tuple(islice(references(description), MOST_REFERENCES)),
    )


def _without_twins(statement: Statement) -> Statement:
    """Two lines with one id: the column is none of ids, and what would be taken for a repeat might be money."""
    count = Counter(line.id for line in statement.lines)
    twins = tuple(
        LineError(line.number, "another line has the same id") for line in statement.lines if count[line.id] > 1
    )
    if not twins:
        return statement
    errors = sorted((*statement.errors, *twins), key=lambda error: error.line)
    kept = tuple(line for line in statement.lines if count[line.id] == 1)
    return Statement(kept, tuple(errors), statement.outgoing)


@lru_cache(maxsize=512)
def _date(text: str, style: DateStyle) -> date | None:
    try:
        return datetime.strptime(text, _STRPTIME[style]).date()  # noqa: DTZ007  a statement's day is the bank's
    except ValueError:
        return None


# -- amounts

_SIGN = r"[+\-\u2212]"
_CURRENCY = r"(?:[A-Z]{3}|A?\$|\u20ac|\u00a3)"


def _amount_of(point: str, thousands: str) -> re.Pattern[str]:
    whole = rf"[0-9]{{1,3}}(?:[{thousands}' ][0-9]{{3}}){{1,3}}|[0-9]{{1,12}}|"
    plain = rf"(?P<whole>{whole})(?:\{point}(?P<rest>[0-9]{{1,2}})0*)?"
    signed = rf"(?P<sign>{_SIGN})?\s*{_CURRENCY}?\s*(?P<inner>{_SIGN})?{plain}\s*{_CURRENCY}??\s*(?P<after>CR|DR|-)?"
    return re.compile(rf"{signed}|\({_CURRENCY}?\s*(?P<owed>[0-9.,' ]+)\)")


_AMOUNTS = {".": _amount_of(".", ","), ",": _amount_of(",", ".")}


def cents(text: str, decimal: str = ".") -> int:
    """An amount as a bank writes it, negative for what went out; empty: 0. Raises for what is no amount.

    >>> [cents(text) for text in ("1,234.50", "+$5", "(0.99)", "7.5 DR", "-.05", "")]
    [123450, 500, -99, -750, -5, 0]
    """
    if not text:
        return 0
    match = _AMOUNTS[decimal].fullmatch(text.upper())
    if match is not None and match["owed"]:
        return -cents(match["owed"], decimal)
    if match is None or not (match["whole"] or match["rest"]):
        raise _Unreadable("the amount is none")
    whole = re.sub(r"[^0-9]", "", match["whole"])
    value = int(whole or "0") * 100 + int((match["rest"] or "0").ljust(2, "0"))
    out = {"-", "\u2212", "DR"} & {match["sign"], match["inner"], match["after"]}
    return -value if out else value


# -- references

_SPELLED = str.maketrans("OIL", "011")
_REFERENCE = re.compile(r"(?=T[ -]?T((?:[ -]?[0-9A-HJKMNP-TV-Z]){12}))")


def references(text: str) -> Iterator[str]:
    """Whatever in the text may be one of our references, as we spell it. Of several, one begins inside the other.

    >>> list(references("osko ttO123 4567-89aI from Jo"))
    ['TT0123456789A1']
    """
    for match in _REFERENCE.finditer(text.upper().translate(_SPELLED)):
        yield "TT" + match[1].replace(" ", "").replace("-", "")
