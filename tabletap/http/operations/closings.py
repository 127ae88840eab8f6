"""X and Z (spec S5): what has been since the day was closed last, and its closing.

A Z is counted from the stretch of the log that its closing ends, and kept as it was first counted. If the server dies
between the two, whoever asks for it next has it counted: the stretch is the same, and so is every figure.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec

from tabletap.actors.cafe import GetCafe
from tabletap.actors.report_ports import Closing
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import BUSINESS_DAY_STARTS_AT_H, By, business_day
from tabletap.domain.cafe import CloseDay, DayView
from tabletap.domain.daycount import DayCount, count
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.settings import CafeSettings
from tabletap.domain.till import Scope
from tabletap.http.report_csv import table

from .base import Call, Key
from .reports import operation, settings_of

TRIES = 3
"""How often the drawers are looked at again because one has just been opened."""


class FormatQuery(msgspec.Struct, frozen=True):
    format: Literal["json", "csv"] = "json"


class PageQuery(msgspec.Struct, frozen=True):
    """``before``: the last number of the page before."""

    before: Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class CloseBody(msgspec.Struct, frozen=True, rename="camel"):
    """``businessDay``: left out, the one it is. ``force``: though drawers are open; for management."""

    business_day: date | None = None
    force: bool = False


class XReport(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What has been since the last closing (``from`` None: since the cafe opened); it changes nothing. ``afterOffset``,
    ``offset``: the stretch of the log that was counted."""

    business_day: date
    since: datetime | None = msgspec.field(name="from")
    at: datetime
    after_offset: int
    offset: int
    counted: DayCount


class ZReport(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A closed day, as it was first counted. ``forcedOver``: names of drawers that nobody had counted."""

    number: int
    business_day: date
    since: datetime | None = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    after_offset: int
    offset: int
    closed_by: By
    forced_over: tuple[str, ...]
    counted: DayCount


class ZLine(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    number: int
    business_day: date
    since: datetime | None = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    closed_by: By
    forced_over: tuple[str, ...]


class ZLines(msgspec.Struct, frozen=True):
    """The newest first."""

    reports: tuple[ZLine, ...]


_decode_z = msgspec.json.Decoder(ZReport).decode
_NO_SUCH_Z = Refusal(Code.NOT_FOUND, "there is no such Z report")


async def x(call: Call) -> Any:
    """What has been since the last closing."""
    settings = await settings_of(call)
    if isinstance(settings, Refusal):
        return settings
    now = call.services.now()
    found, last = await call.services.reports.since_closing(call.cafe_id, settings)
    report = XReport(
        business_day=business_day(now, settings.timezone),
        since=last.day.closed_at if last else None,
        at=now,
        after_offset=found.after,
        offset=found.upto,
        counted=count(found.facts),
    )
    return table(report) if call.query.format == "csv" else report


async def close(call: Call) -> Any:
    """Close the day. Which drawers are open is read after which was opened last: the cafe knows if one came between."""
    body = call.body or CloseBody()
    answer: Any = None
    for _ in range(TRIES):
        cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
        if isinstance(cafe, Refusal):
            return cafe
        drawers = await call.services.reader.drawers(call.cafe_id)
        names = tuple(drawer.name for drawer in drawers)
        command = CloseDay(names, cafe.newest_drawer, body.business_day, body.force)
        answer = await call.services.desk.ask(call.cafe_ref(), command, call.by, call.idempotency)
        if not (isinstance(answer, Refusal) and answer.code is Code.DUPLICATE_IN_PROGRESS):
            break
    return answer


async def closed(call: Call, answer: DayView) -> Any:
    """The report of the day that was closed."""
    return await _z(call, answer.number)


async def _z(call: Call, number: int) -> ZReport | Refusal:
    """As it was first counted; counted now, if nobody has asked for it yet."""
    services, cafe_id = call.services, call.cafe_id
    document = await services.reports.stored(cafe_id, number)
    if document is not None:
        return _decode_z(document)
    found = await services.reports.closings(cafe_id, number + 1, 1)
    settings = await settings_of(call)
    if isinstance(settings, Refusal):
        return settings
    if not found or found[0].day.number != number:
        return _NO_SUCH_Z
    report = await _count_z(call, found[0], settings)
    return _decode_z(await services.reports.store(cafe_id, number, msgspec.json.encode(report), services.now()))


async def _count_z(call: Call, closing: Closing, settings: CafeSettings) -> ZReport:
    counted = await call.services.reports.of_closing(closing, call.cafe_id, settings)
    return ZReport(
        number=closing.day.number,
        business_day=closing.day.business_day,
        since=closing.since,
        until=closing.day.closed_at,
        after_offset=closing.after,
        offset=closing.offset,
        closed_by=closing.by,
        forced_over=closing.day.forced_over,
        counted=count(counted.facts),
    )


async def z(call: Call) -> Any:
    """A Z as it was printed."""
    text = call.params["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        return _NO_SUCH_Z
    report = await _z(call, int(text))
    return report if isinstance(report, Refusal) or call.query.format != "csv" else table(report)


async def zs(call: Call) -> Any:
    """The closings there have been."""
    query: PageQuery = call.query
    found = await call.services.reports.closings(call.cafe_id, query.before, query.limit)
    lines = (
        ZLine(
            number=one.day.number,
            business_day=one.day.business_day,
            since=one.since,
            until=one.day.closed_at,
            closed_by=one.by,
            forced_over=one.day.forced_over,
        )
        for one in found
    )
    return ZLines(tuple(lines))


COUNTS = Access(access.STAFF, till=Scope.READ)

OPERATIONS = (
    operation("x", "GET", "x", "What has been since the last closing", x, XReport, COUNTS, query=FormatQuery, csv=True),
    operation(
        "close",
        "POST",
        "z",
        f"Close the day (which begins at {BUSINESS_DAY_STARTS_AT_H:02}:00): the next Z",
        close,
        ZReport,
        Access(access.STAFF),
        body=CloseBody | None,
        stored=DayView,
        finish=closed,
        status=201,
        key=Key.REQUIRED,
    ),
    operation("zs", "GET", "z", "The closings there have been", zs, ZLines, COUNTS, query=PageQuery),
    operation("z", "GET", "z/{number}", "A Z as it was printed", z, ZReport, COUNTS, query=FormatQuery, csv=True),
)
