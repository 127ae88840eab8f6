"""The closing of a day (spec S5): the Z that ends it gets the next number, and ends its stretch of the log.

A Z counts what stands in the log between the closing before it and itself. The cafe alone writes closings, one after
the other, so their numbers have no gaps, every movement is in exactly one of them, and two who close at once make two.
"""

from datetime import date, datetime

import msgspec

from tabletap.domain import events as e
from tabletap.domain.access import MANAGEMENT
from tabletap.domain.base import Context, Decision, business_day
from tabletap.domain.errors import Code, FieldError, Refusal, invalid

from .commands import CloseDay
from .state import Cafe


class DayView(msgspec.Struct, frozen=True, rename="camel"):
    """A closing on the wire. ``forced_over``: names of drawers that nobody had counted."""

    number: int
    business_day: date
    closed_at: datetime
    forced_over: tuple[str, ...]


def day_view(event: e.DayClosed) -> DayView:
    """The closing as the wire tells it."""
    return DayView(event.number, event.business_day, event.closed_at, event.open_drawers)


def close_day(state: Cafe, command: CloseDay, ctx: Context) -> Decision | Refusal:
    """Drawers must have been counted, unless management forces it. A day is not closed after a later one has been."""
    if command.newest_drawer != state.newest_drawer:
        return Refusal(Code.DUPLICATE_IN_PROGRESS, "a drawer has just been opened: ask again", retry_after_s=1)
    if command.force and ctx.by.role not in MANAGEMENT:
        return _blamed(Code.FORBIDDEN, "force", "only management closes a day over open drawers")
    if command.open_drawers and not command.force:
        names = ", ".join(command.open_drawers)
        return _blamed(Code.DRAWERS_OPEN, "force", f"count the drawers first: {names}")
    today = business_day(ctx.now, state.settings.timezone)
    day = command.business_day or today
    if day > today:
        return invalid("businessDay", f"it is {today} still")
    if state.closed is not None and day < state.closed.business_day:
        return invalid("businessDay", f"{state.closed.business_day} has been closed already")
    closed = e.DayClosed(
        number=1 + (state.closed.number if state.closed else 0),
        business_day=day,
        closed_at=ctx.now,
        open_drawers=command.open_drawers,
    )
    return Decision((closed,))


def _blamed(code: Code, field: str, message: str) -> Refusal:
    return Refusal(code, message, (FieldError(field, message),))
