"""What a till says of a day (spec S5): whether it agrees with itself, and where it differs from our own count.

Tills differ in what their tenders sum to: sales before or after discounts and refunds. Any of the three is taken; what
is none of them is an error of the till's, and so is a net that is not what its parts say.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any

import msgspec

from .daycount import DayCount, Takings
from .errors import Code, FieldError, Refusal, invalid

LINES_AT_MOST = 200
HOURS = 24
EARLIEST = date(2000, 1, 1)
"""No till has sold anything before."""

Sum = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000_00)]
Rows = Annotated[tuple[Any, ...], msgspec.Meta(max_length=LINES_AT_MOST)]


class DailyReport(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A till's report of a business day, in cents. ``top_items``, ``busy_hours`` and ``staff_shifts`` are kept as they
    come. What of them we know is compared: of an item ``sku`` (or ``name``), ``quantity``, ``sales``; of an hour
    ``hour`` (0-23), ``orders``, ``sales``."""

    report_date: date
    total_sales: Sum
    total_orders: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
    cash_sales: Sum
    card_sales: Sum
    gift_card_sales: Sum = 0
    online_sales: Sum = 0
    discounts: Sum = 0
    refunds: Sum = 0
    net_sales: Annotated[int, msgspec.Meta(ge=-1_000_000_000_00, le=1_000_000_000_00)]
    top_items: Rows = ()
    busy_hours: Rows = ()
    staff_shifts: Rows = ()
    notes: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None


class Difference(msgspec.Struct, frozen=True):
    """A line in which the till's report is not what the server counted."""

    field: str
    reported: int
    counted: int


TENDERS = ("cashSales", "cardSales", "giftCardSales", "onlineSales")

SUMS = {
    name: DailyReport.__struct_encode_fields__[DailyReport.__struct_fields__.index(name)]
    for name in Takings.__struct_fields__
    if name in DailyReport.__struct_fields__
}
"""What both sides count: its name here and on the wire."""

NUMBERS = {"busyHours": ("orders", "sales"), "topItems": ("quantity", "sales")}
"""What is compared of the rows of a list."""


def check(report: DailyReport, newest: date) -> Refusal | None:
    """Refuses a report that disagrees with itself, naming every field that has a part in it; ``newest``: the last day
    that there can be a report of."""
    if not EARLIEST <= report.report_date <= newest:
        return invalid("reportDate", f"a day from {EARLIEST} to {newest}")
    errors = [*_of_tenders(report), *_of_net(report), *_of_hours(report)]
    if not errors:
        return None
    return Refusal(Code.VALIDATION_ERROR, f"the report disagrees with itself: {errors[0].message}", tuple(errors))


def _blame(fields: Iterable[str], message: str) -> list[FieldError]:
    return [FieldError(field, message) for field in fields]


def _of_tenders(report: DailyReport) -> list[FieldError]:
    tenders = report.cash_sales + report.card_sales + report.gift_card_sales + report.online_sales
    if tenders in {report.total_sales, report.total_sales - report.discounts, report.net_sales}:
        return []
    words = f"cash, card, gift card and online sales are {tenders} together, and the total is {report.total_sales}"
    return _blame(("totalSales", *TENDERS), words)


def _of_net(report: DailyReport) -> list[FieldError]:
    net = report.total_sales - report.discounts - report.refunds
    if net == report.net_sales:
        return []
    words = f"the total less discounts and refunds is {net}, not {report.net_sales}"
    return _blame(("netSales", "totalSales", "discounts", "refunds"), words)


def _of_hours(report: DailyReport) -> list[FieldError]:
    hours = [(index, _number(row, "hour")) for index, row in enumerate(report.busy_hours)]
    errors = [
        FieldError(f"busyHours.{index}.hour", "an hour is 0 to 23")
        for index, hour in hours
        if hour is not None and not 0 <= hour < HOURS
    ]
    known = [hour for _, hour in hours if hour is not None]
    if len(set(known)) < len(known):
        errors += _blame(("busyHours",), "an hour stands there twice")
    orders = sum(_number(row, "orders") or 0 for row in report.busy_hours)
    if orders > report.total_orders:
        words = f"{orders} orders in the hours of a day are more than its {report.total_orders}"
        errors += _blame(("busyHours", "totalOrders"), words)
    return errors


def _number(row: Any, name: str) -> int | None:
    found = row.get(name) if isinstance(row, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def differences(report: DailyReport, day: DayCount) -> tuple[Difference, ...]:
    """Line by line; of lists only rows and numbers that the till has named."""
    lines = [
        Difference(field, reported, counted)
        for name, field in SUMS.items()
        if (reported := getattr(report, name)) != (counted := getattr(day.takings, name))
    ]
    by_name = {item.name: item for item in day.top_items}
    by_sku = {item.sku: item for item in day.top_items}
    for row in report.top_items:
        known = _text(row, "sku") or _text(row, "name")
        lines += _of_row("topItems", known, row, by_sku.get(known) or by_name.get(known))
    by_hour = {str(hour.hour): hour for hour in day.busy_hours}
    for row in report.busy_hours:
        hour = _number(row, "hour")
        lines += _of_row("busyHours", "" if hour is None else str(hour), row, by_hour.get(str(hour)))
    return tuple(lines)


def _text(row: Any, name: str) -> str:
    found = row.get(name) if isinstance(row, Mapping) else None
    return found if isinstance(found, str) else ""


def _of_row(field: str, known: str, row: Any, ours: object) -> list[Difference]:
    """One row against ours (None: we counted nothing of the kind)."""
    named = ((name, _number(row, name)) for name in NUMBERS[field]) if known else ()
    return [
        Difference(f"{field}.{known}.{name}", reported, counted)
        for name, reported in named
        if reported is not None and reported != (counted := 0 if ours is None else getattr(ours, name))
    ]
