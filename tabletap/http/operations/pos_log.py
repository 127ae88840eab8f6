"""What passes between tills and us, as management sees it, and a word to see whether they hear (spec S4, S6)."""

from typing import Annotated, Any

import msgspec

from tabletap.actors.till_ports import Line
from tabletap.domain import access
from tabletap.domain.access import Access

from .base import Call, Operation


class LogQuery(msgspec.Struct, frozen=True):
    """``before``: the last line of the page before."""

    before: Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class TestBody(msgspec.Struct, frozen=True):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "Hello from TableTap"


class LogLine(Line, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    id: int


class LogLines(msgspec.Struct, frozen=True):
    """The newest first."""

    lines: tuple[LogLine, ...]


class Tested(msgspec.Struct, frozen=True):
    """``heard``: how many tills it went to."""

    heard: int


async def lines(call: Call) -> Any:
    """What has passed between the cafe's tills and us."""
    query: LogQuery = call.query
    found = await call.services.tills.lines(call.cafe_id, query.before, query.limit)
    return LogLines(tuple(LogLine(id=id_, **msgspec.structs.asdict(line)) for id_, line in found))


async def test(call: Call) -> Any:
    """Say something to the tills that listen."""
    body: TestBody = call.body or TestBody()
    heard = call.services.till_feed.test(call.cafe_id, body.text, call.principal.user)
    call.services.tills.tested(call.cafe_id, heard)
    return Tested(heard)


OPERATIONS = (
    Operation(
        name="pos.log",
        method="GET",
        path="/api/{cafe}/pos-logs",
        summary="What passed between tills and us",
        access=Access(access.MANAGEMENT),
        query=LogQuery,
        reply=LogLines,
        handler=lines,
    ),
    Operation(
        name="pos.test",
        method="POST",
        path="/api/{cafe}/pos-test",
        summary="Say something to the tills that listen",
        access=Access(access.MANAGEMENT),
        body=TestBody | None,
        reply=Tested,
        handler=test,
    ),
)
