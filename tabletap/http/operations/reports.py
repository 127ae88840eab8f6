"""Reports of tills (spec S5): what each says of a business day, beside what we counted of it ourselves."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from tabletap.actors.cafe import GetCafe
from tabletap.actors.report_ports import Uploaded
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import By, business_day, day_bounds
from tabletap.domain.dailyreport import EARLIEST, DailyReport, Difference, check, differences
from tabletap.domain.daycount import DayCount, Hour, Sold, Takings, count
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.settings import CafeSettings
from tabletap.domain.till import Scope

from .base import Call, Operation

DAYS_AT_MOST = 92
DAYS_SHOWN = 14


class DaysQuery(msgspec.Struct, frozen=True):
    """``from`` and ``to``: business days, both included; left out: the last two weeks."""

    first: date | None = msgspec.field(default=None, name="from")
    last: date | None = msgspec.field(default=None, name="to")


class Upload(msgspec.Struct, frozen=True, rename="camel"):
    """``replaced``: there was one of that day."""

    report_id: UUID
    replaced: bool
    differences: tuple[Difference, ...]


class KeptReport(msgspec.Struct, frozen=True, rename="camel"):
    """A till's report as it was uploaded last. ``uploads``: how many there were of that day; ``by``: who sent it."""

    report_id: UUID
    report: DailyReport
    uploads: int
    uploaded_at: datetime
    by: By


class KeptReports(msgspec.Struct, frozen=True):
    """The newest day first."""

    reports: tuple[KeptReport, ...]


class Day(msgspec.Struct, frozen=True, rename="camel"):
    """A business day as its till tells it (None: it has not) beside what the server counted."""

    report_date: date
    reported: KeptReport | None
    counted: Takings
    top_items: tuple[Sold, ...]
    busy_hours: tuple[Hour, ...]
    differences: tuple[Difference, ...]


async def settings_of(call: Call) -> CafeSettings | Refusal:
    """Of the cafe that is asked about."""
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    return cafe if isinstance(cafe, Refusal) else cafe.settings


# -- tills' reports


async def upload(call: Call) -> Any:
    """Keep a till's report of a day, if it agrees with itself, and say where it differs from our count."""
    settings = await settings_of(call)
    if isinstance(settings, Refusal):
        return settings
    report: DailyReport = call.body
    services = call.services
    refused = check(report, _newest(call, settings))
    if refused is not None:
        return refused
    kept = await services.reports.upload(call.cafe_id, services.new_id(), report, call.by, services.now())
    counted = await _counted(call, report.report_date, settings)
    return Upload(kept.report_id, kept.uploads > 1, differences(report, counted))


def _newest(call: Call, settings: CafeSettings) -> date:
    """Tomorrow: the clock of a till may be of elsewhere."""
    return business_day(call.services.now(), settings.timezone) + timedelta(1)


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


async def _counted(call: Call, day: date, settings: CafeSettings) -> DayCount:
    begins, ends = day_bounds(day, settings.timezone)
    found = await call.services.reports.day(call.cafe_id, begins, ends, settings)
    return count(found.facts)


async def uploads(call: Call) -> Any:
    """What tills have said of these days."""
    settings = await settings_of(call)
    if isinstance(settings, Refusal):
        return settings
    query: DaysQuery = call.query
    last = query.last or business_day(call.services.now(), settings.timezone)
    first = query.first or date.fromordinal(max(last.toordinal() - DAYS_SHOWN + 1, 1))
    if not 0 <= (last - first).days < DAYS_AT_MOST:
        return invalid("from", f"1 to {DAYS_AT_MOST} days up to {last}")
    kept = await call.services.reports.uploaded(call.cafe_id, first, last)
    return KeptReports(tuple(_kept(one) for one in kept))


def _kept(one: Uploaded) -> KeptReport:
    return KeptReport(one.report_id, one.report, one.uploads, one.uploaded_at, one.by)


async def day(call: Call) -> Any:
    """A day as its till tells it, beside what we counted."""
    settings = await settings_of(call)
    if isinstance(settings, Refusal):
        return settings
    wanted = _day(call.params["day"])
    if wanted is None or not EARLIEST <= wanted <= _newest(call, settings):
        return Refusal(Code.NOT_FOUND, "there has been no such day")
    counted = await _counted(call, wanted, settings)
    kept = await call.services.reports.uploaded(call.cafe_id, wanted, wanted)
    return Day(
        report_date=wanted,
        reported=_kept(kept[0]) if kept else None,
        counted=counted.takings,
        top_items=counted.top_items,
        busy_hours=counted.busy_hours,
        differences=differences(kept[0].report, counted) if kept else (),
    )


def operation(
    name: str, method: str, path: str, summary: str, handler: Any, reply: Any, who: Access, **more: Any
) -> Operation:
    """A line of the table, of reports."""
    return Operation(
        name=f"reports.{name}",
        method=method,
        path=f"/api/{{cafe}}/reports/{path}",
        summary=summary,
        handler=handler,
        reply=reply,
        access=who,
        **more,
    )


READS = Access(access.MANAGEMENT, till=Scope.READ)

OPERATIONS = (
    operation(
        "upload",
        "POST",
        "daily",
        "A till's report of a business day; a repeat replaces it",
        upload,
        Upload,
        Access(access.STAFF, till=Scope.WRITE),
        body=DailyReport,
    ),
    operation("uploads", "GET", "daily", "Tills' reports of some days", uploads, KeptReports, READS, query=DaysQuery),
    operation("day", "GET", "daily/{day}", "A day as its till tells it, beside what we counted", day, Day, READS),
)
