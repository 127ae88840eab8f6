"""What has been done and found: the audit trail of an order or payment (spec P10), reconciliation's report (P9)."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.actors.ports import Recorded
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import By, Kind
from tabletap.domain.events import tag_of
from tabletap.domain.reconciliation import Run, run_of_cafe
from tabletap.domain.trail import Change, Follower, why

from .base import About, Call, Operation

PAGE = 1_000
"""Events read at once."""


class TrailQuery(msgspec.Struct, frozen=True):
    """``after``: the ``next`` of the page before."""

    after: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class TrailLine(msgspec.Struct, frozen=True):
    """Who, when, from, to, why. ``event`` about the order or payment ``id`` has changed what ``changes`` say (several
    things at once, or nothing that has a state)."""

    offset: int
    at: datetime
    by: By
    about: Kind
    id: UUID
    event: str
    changes: tuple[Change, ...]
    reason: str | None


class TrailReply(msgspec.Struct, frozen=True):
    """Oldest first. ``next``: where there are more."""

    lines: Sequence[TrailLine]
    next: int | None


class ReconciliationReply(msgspec.Struct, frozen=True):
    """The newest run; None: there was none yet."""

    run: Run | None


async def order(call: Call) -> Any:
    """All about the order and its payments."""
    return await _trail(call, None)


async def payment(call: Call) -> Any:
    """All about the payment, and what its order has done with it."""
    return await _trail(call, UUID(call.params["paymentId"]))


async def _trail(call: Call, payment_id: UUID | None) -> Any:
    """States are followed from the beginning, however late the page is; memory holds one page."""
    query: TrailQuery = call.query
    follower, lines = Follower(), list[TrailLine]()
    seen = 0
    while True:
        events = await call.services.trail.events(call.cafe_id, call.order_ref().id, seen, PAGE)  # type: ignore[arg-type]
        for line in _lines(follower, events, payment_id):
            if line.offset <= query.after:
                continue
            if len(lines) == query.limit:
                return TrailReply(lines, lines[-1].offset)
            lines.append(line)
        if len(events) < PAGE:
            return TrailReply(lines, None)
        seen = events[-1].offset


def _lines(follower: Follower, events: Sequence[Recorded], payment_id: UUID | None) -> Iterator[TrailLine]:
    for one in events:
        changes = follower.follow(one.ref, one.author, one.event)
        if payment_id is None or payment_id in (one.ref.id, getattr(one.event, "payment_id", None)):
            reason = why(one.event, changes)
            yield TrailLine(one.offset, one.at, one.by, one.ref.kind, one.ref.id, tag_of(one.event), changes, reason)


async def reconciliation(call: Call) -> Any:
    """What the newest run has found in all cafes."""
    return ReconciliationReply(await call.services.reconciliation.newest())


async def reconciliation_of_cafe(call: Call) -> Any:
    """What of it is the cafe's."""
    run = await call.services.reconciliation.newest()
    return ReconciliationReply(run and run_of_cafe(run, call.cafe_id))


async def run_now(call: Call) -> Any:
    """Begin a run; what it finds is shown when it is finished."""
    call.services.reconciliation.hurry()
    return await reconciliation(call)


def _on_trail(name: str, path: str, summary: str, about: About, handler: Any) -> Operation:
    return Operation(
        name=name,
        method="GET",
        path=path,
        summary=summary,
        access=Access(access.MANAGEMENT),
        query=TrailQuery,
        reply=TrailReply,
        about=about,
        handler=handler,
    )


OPERATIONS = (
    _on_trail("orders.audit", "/api/orders/{orderId}/audit", "Who did what to an order, and why", About.ORDER, order),
    _on_trail(
        "payments.audit",
        "/api/payments/{paymentId}/audit",
        "Who did what to a payment, and why",
        About.PAYMENT,
        payment,
    ),
    Operation(
        name="reconciliation.newest",
        method="GET",
        path="/api/admin/reconciliation",
        summary="What the newest reconciliation has found in all cafes",
        access=Access(access.INSTALLATION),
        reply=ReconciliationReply,
        handler=reconciliation,
    ),
    Operation(
        name="reconciliation.run",
        method="POST",
        path="/api/admin/reconciliation/run",
        summary="Reconcile now",
        access=Access(access.INSTALLATION),
        reply=ReconciliationReply,
        status=202,
        handler=run_now,
    ),
    Operation(
        name="reconciliation.get",
        method="GET",
        path="/api/{cafe}/reconciliation",
        summary="What the newest reconciliation has found in a cafe",
        access=Access(access.MANAGEMENT),
        reply=ReconciliationReply,
        handler=reconciliation_of_cafe,
    ),
)
