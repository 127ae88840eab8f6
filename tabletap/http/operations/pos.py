"""What tills ask by REST (spec S2, S3); management may ask the same.

A till that has no socket asks for what comes after its cursor, and is told the same events as one that has: ``events``
gives them as frames hold them, ``orders/pending`` the order in each. An order that has changed twice comes twice, as it
stood each time; the last one counts.
"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import Role
from tabletap.domain.errors import Refusal
from tabletap.domain.order import OrderView
from tabletap.domain.till import NAME_CHARS, Scope
from tabletap.domain.vocabulary import Channel
from tabletap.http.tills import BUSY
from tabletap.realtime.feed import Told

from .base import Call, Operation

WAIT_AT_MOST_S = 25

Offset = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
TillName = Annotated[str, msgspec.Meta(max_length=NAME_CHARS)]


class AfterQuery(msgspec.Struct, frozen=True):
    """``after``: the cursor of the last answer; ``wait``: seconds to wait where there is nothing yet. ``till``: which
    of the key's tills asks; it acknowledges by that what it asks after, as a socket does by ``ack``."""

    after: Offset | None = None
    wait: Annotated[float, msgspec.Meta(ge=0, le=WAIT_AT_MOST_S)] = 0.0
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 200
    till: TillName | None = None


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """``offset``: how far the cafe's log has been told."""

    status: str
    tenant: str
    offset: int
    timestamp: datetime


class PendingOrder(OrderView, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """An order as it stood after the event at ``offset``; without one: as it stands now."""

    offset: int | None = None
    event: str | None = None


class Pending(msgspec.Struct, frozen=True):
    """``cursor``: ask after this one next."""

    orders: tuple[PendingOrder, ...]
    cursor: int


class Events(msgspec.Struct, frozen=True):
    """Frames as a socket has them; ``cursor``: ask after this one next."""

    events: tuple[dict[str, Any], ...]
    cursor: int


class ConnectedTill(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A till's open socket. ``lag``: how far its cursor is behind ``offset``."""

    till: str
    key_id: str | None
    since: datetime
    cursor: int
    lag: int
    last_error: str | None


class KnownTill(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A till that has been here, connected or not."""

    till: str
    key_id: UUID
    connected: bool
    seen_at: datetime
    cursor: int
    lag: int
    last_error: str | None
    last_error_at: datetime | None


class Status(msgspec.Struct, frozen=True):
    """``offset``: of the cafe's log."""

    connections: tuple[ConnectedTill, ...]
    tills: tuple[KnownTill, ...]
    offset: int


async def health(call: Call) -> Any:
    """Whether key, tenant and server are well."""
    assert call.cafe is not None
    offset = await call.services.till_feed.head(call.cafe_id)
    return Health("healthy", call.cafe.slug, offset, call.services.now())


async def _told(call: Call) -> Told | Refusal:
    """What comes after the cursor, waited for if need be."""
    query: AfterQuery = call.query
    services, principal = call.services, call.principal
    after = query.after or 0
    if principal.role is Role.TILL and query.till is not None:
        till = await services.tills.enter(principal, await services.till_feed.head(call.cafe_id))
        acknowledged = till if isinstance(till, Refusal) else services.tills.acknowledge(till, after)
        if isinstance(acknowledged, Refusal):
            return acknowledged
    if not query.wait:
        return await services.till_feed.after(call.cafe_id, after, query.limit)
    if not services.tills.may_wait(principal):
        return BUSY
    services.tills.waits(principal, 1)
    try:
        return await services.till_feed.wait(call.cafe_id, after, query.limit, query.wait)
    finally:
        services.tills.waits(principal, -1)


class _Carried(msgspec.Struct, frozen=True):
    order: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Said(msgspec.Struct, frozen=True):
    type: str
    offset: int
    data: _Carried


class _Orders(msgspec.Struct, frozen=True):
    """``Pending``, of orders that are encoded already."""

    orders: tuple[msgspec.Raw, ...]
    cursor: int


_said = msgspec.json.Decoder(_Said).decode


def _order_in(event: bytes) -> msgspec.Raw | None:
    """The order of an event, with where and what it was; None: it is about something else."""
    said = _said(event)
    if isinstance(said.data.order, msgspec.UnsetType):
        return None
    return msgspec.Raw(b'{"offset":%d,"event":"%b",' % (said.offset, said.type.encode()) + bytes(said.data.order)[1:])


async def pending(call: Call) -> Any:
    """Without a cursor, the orders that are open now; with one, those that something has happened to since."""
    if call.query.after is None:
        offset, orders = await call.services.reader.orders_with_offset(call.cafe_id)
        return {"orders": [order for order in orders if order.channel is not Channel.COUNTER], "cursor": offset}
    told = await _told(call)
    if isinstance(told, Refusal):
        return told
    return _Orders(tuple(order for order in map(_order_in, told.events) if order is not None), told.cursor)


async def events(call: Call) -> Any:
    """All that tills are told after a cursor."""
    told = await _told(call)
    if isinstance(told, Refusal):
        return told
    return {"events": [msgspec.Raw(event) for event in told.events], "cursor": told.cursor}


async def status(call: Call) -> Any:
    """Who is connected and how far each till has got."""
    services = call.services
    offset = await services.till_feed.head(call.cafe_id)
    rows = {(f"till:{row.key_id}", row.till): row for row in await services.tills.of_cafe(call.cafe_id)}
    there = [one for one in await services.presence.connections(call.cafe_id) if one.door == "pos"]
    connections = []
    for one in there:
        row = rows.get((one.user or "", one.device or ""))
        cursor, error = (row.cursor, row.last_error) if row else (offset, None)
        connections.append(
            ConnectedTill(
                till=one.device or "",
                key_id=one.token_id,
                since=one.since,
                cursor=cursor,
                lag=max(0, offset - cursor),
                last_error=error,
            )
        )
    here = {(one.user, one.device) for one in there}
    known = tuple(
        KnownTill(
            till=row.till,
            key_id=row.key_id,
            connected=ident in here,
            seen_at=row.seen_at,
            cursor=row.cursor,
            lag=max(0, offset - row.cursor),
            last_error=row.last_error,
            last_error_at=row.last_error_at,
        )
        for ident, row in rows.items()
    )
    return Status(tuple(connections), known, offset)


def _operation(name: str, path: str, summary: str, handler: Any, reply: Any, *, query: Any = None) -> Operation:
    return Operation(
        name=f"pos.{name}",
        method="GET",
        path=f"/api/{{cafe}}/{path}",
        summary=summary,
        access=Access(access.MANAGEMENT, till=Scope.READ),
        query=query,
        reply=reply,
        handler=handler,
    )


OPERATIONS = (
    _operation("health", "health", "Whether key, tenant and server are well", health, Health),
    _operation(
        "pending",
        "orders/pending",
        "Open online and table orders; after a cursor, those that something has happened to",
        pending,
        Pending,
        query=AfterQuery,
    ),
    _operation("events", "events", "What tills are told, after a cursor", events, Events, query=AfterQuery),
    _operation("status", "pos-status", "Tills and how far they have got", status, Status),
)
