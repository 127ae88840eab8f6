"""Tills at work: how far each has got in its cafe's log, and the log of what passes between them and us (spec S3, S4).

A till is a name under a key. What it acknowledges moves its cursor in memory at once, and in the database a moment
later for all tills of the node in one statement: if the node dies in between, a till is told things twice, never less.
A till that has acknowledged all it was told has got as far as its cafe, whatever else was written into the log.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
import trio

from tabletap.actors.runtime import Outage
from tabletap.actors.till_ports import Line, LineKind, TillBook, TillId, TillRow
from tabletap.domain.access import Principal, pos_room
from tabletap.domain.base import CafeId
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.realtime.rooms import Member

log = structlog.get_logger(__name__)


class TillSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``write_every_s``: how long what tills acknowledge gathers before it is written down. ``lines_waiting``: lines of
    the log in memory, beyond which the oldest are dropped (and counted). ``lines_days``: how long they are kept."""

    per_key: int
    write_every_s: float
    lines_waiting: int
    lines_days: float
    polls_waiting: int


class _Pushed:
    """What went to a session: ``last`` of all, the rest since it was last written down."""

    __slots__ = ("events", "first", "last")

    def __init__(self) -> None:
        self.first: int | None = None
        self.last = 0
        self.events = 0


class Till:
    """A till that is connected, or of which something is still to be written down. ``cursor``: see ``TillRow``."""

    __slots__ = ("acked", "dirty", "error", "error_at", "row", "sessions")

    def __init__(self, row: TillRow) -> None:
        self.row = row
        self.sessions: dict[Member, _Pushed] = {}
        self.acked = False
        self.dirty = False
        self.error: str | None = None
        self.error_at: datetime | None = None

    @property
    def cursor(self) -> int:
        return self.row.cursor


class Tills:
    """One node's. ``head``: how far the rooms of a cafe have been told; ``run`` writes down, ``flush`` at once."""

    def __init__(
        self, book: TillBook, settings: TillSettings, now: Callable[[], datetime], *, head: Callable[[CafeId], int]
    ) -> None:
        self._book = book
        self._settings = settings
        self._now = now
        self._head = head
        self._tills: dict[TillId, Till] = {}
        self._of_session: dict[Member, Till] = {}
        self._lines: deque[Line] = deque()
        self._dropped = 0
        self._polling: dict[str, int] = {}
        self._writing = trio.Lock()

    def figures(self) -> Mapping[str, float]:
        """For the metrics."""
        waiting = len(self._lines)
        return {
            "tills_connected": len(self._of_session),
            "till_lines_waiting": waiting,
            "till_lines_dropped": self._dropped,
        }

    # -- being there

    async def enter(self, principal: Principal, head: int) -> Till | Refusal:
        """The till that the principal is; a new one begins at ``head``. Raises Outage."""
        ident, cafe_id = ident_of(principal), cafe_of(principal)
        known = self._tills.get(ident)
        if known is None:
            row = await self._book.enter(ident, cafe_id, head, self._now(), self._settings.per_key)
            if row is None:
                return invalid("till", f"the key has {self._settings.per_key} tills already")
            known = self._tills.setdefault(ident, Till(row))
        self._seen(known)
        return known

    def connected(self, till: Till, session: Member) -> Till:
        """A session of the till is there; the till as all its sessions share it."""
        till = self._tills.setdefault(till.row.ident, till)
        till.sessions[session] = _Pushed()
        self._of_session[session] = till
        self._seen(till)
        self._line(till.row, LineKind.CONNECT, "socket", last_offset=till.cursor)
        return till

    def disconnected(self, session: Member, error: str | None) -> None:
        """It has ended; ``error``: not as it should."""
        till = self._of_session.pop(session, None)
        if till is None:
            return
        self._settle(till)
        self._push_line(till, till.sessions.pop(session))
        self._seen(till)
        self._line(till.row, LineKind.DISCONNECT, "socket", last_offset=till.cursor, error=error)
        if error is not None:
            self._failed(till, error)

    def of(self, session: Member) -> Till | None:
        """The till that a session is of."""
        return self._of_session.get(session)

    def pushed(self, session: Member, offset: int) -> None:
        """An event has gone to a session in its cafe's room of tills."""
        till = self._of_session.get(session)
        if till is not None:
            pushed = till.sessions[session]
            pushed.first = offset if pushed.first is None else pushed.first
            pushed.last = offset
            pushed.events += 1

    def acknowledge(self, till: Till, offset: int) -> int | Refusal:
        """Everything up to the offset is safe with the till; where its cursor is now."""
        if offset > self._head(till.row.cafe_id):
            return invalid("offset", "the log has not got so far")
        if offset > till.cursor:
            till.row = msgspec.structs.replace(till.row, cursor=offset)
            till.acked = till.dirty = True
        return till.cursor

    # -- what passes

    def called(self, principal: Principal, what: str, status: int, error: str | None, duration_s: float) -> None:
        """A till has asked for an operation."""
        row = TillRow(
            key_id=ident_of(principal).key_id,
            till=ident_of(principal).till,
            cafe_id=cafe_of(principal),
            cursor=0,
            seen_at=self._now(),
        )
        self._line(row, LineKind.CALL, what, status=status, error=error, duration_ms=round(duration_s * 1000))
        till = self._tills.get(row.ident)
        if till is not None and error is not None:
            self._failed(till, f"{what}: {error}")

    def refused(self, cafe_id: CafeId, what: str, error: str, status: int) -> None:
        """Somebody was turned away who showed no good key."""
        self._write_line(
            Line(cafe_id=cafe_id, at=self._now(), kind=LineKind.REFUSED, what=what, status=status, error=error)
        )

    def tested(self, cafe_id: CafeId, heard: int) -> None:
        """A test was pushed to so many."""
        self._write_line(Line(cafe_id=cafe_id, at=self._now(), kind=LineKind.TEST, what="till_tested", events=heard))

    def may_wait(self, principal: Principal) -> bool:
        """Whether one more call of this key may be kept waiting for news."""
        return self._polling.get(principal.user or "", 0) < self._settings.polls_waiting

    def waits(self, principal: Principal, by: int) -> None:
        """One call more (1) or less (-1) is kept waiting."""
        user = principal.user or ""
        count = self._polling.pop(user, 0) + by
        if count > 0:
            self._polling[user] = count

    # -- as it stands

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillRow]:
        """The cafe's tills at every node, as they are now at this one. Raises Outage."""
        await self.flush()
        return await self._book.of_cafe(cafe_id)

    async def lines(self, cafe_id: CafeId, before: int | None, limit: int) -> Sequence[tuple[int, Line]]:
        """The log, the newest line first. Raises Outage."""
        await self.flush()
        return await self._book.lines(cafe_id, before, limit)

    # -- writing it down

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._settings.write_every_s)
            try:
                await self.flush()
            except Outage:
                log.debug("tills_not_written")

    async def flush(self) -> None:
        """Write down what has gathered. Raises Outage, and keeps it then."""
        async with self._writing:
            for till in self._tills.values():
                self._settle(till)
                for pushed in till.sessions.values():
                    self._push_line(till, pushed)
                if till.acked:
                    till.acked = False
                    self._line(till.row, LineKind.ACK, "ack", last_offset=till.cursor)
            dirty = [till for till in self._tills.values() if till.dirty]
            lines = tuple(self._lines)
            if not dirty and not lines:
                return
            rows = [self._row(till) for till in dirty]
            for till in dirty:
                till.dirty = False
            try:
                await self._book.write(rows, lines)
            except BaseException:
                for till in dirty:
                    till.dirty = True
                raise
            for line in lines:
                if self._lines and self._lines[0] is line:  # else it was dropped meanwhile
                    self._lines.popleft()
            for ident in [ident for ident, till in self._tills.items() if not till.sessions and not till.dirty]:
                del self._tills[ident]

    def _row(self, till: Till) -> TillRow:
        row = msgspec.structs.replace(till.row, last_error=till.error, last_error_at=till.error_at)
        till.error = till.error_at = None
        return row

    def _settle(self, till: Till) -> None:
        """Where a session has been told everything and the till has acknowledged it, it has got as far as the cafe."""
        room, head = pos_room(till.row.cafe_id), self._head(till.row.cafe_id)
        told = [pushed.last for session, pushed in till.sessions.items() if room in session.rooms]
        if told and len(told) == len(till.sessions) and max(told) <= till.cursor < head:
            till.row = msgspec.structs.replace(till.row, cursor=head)
            till.dirty = True

    def _seen(self, till: Till) -> None:
        till.row = msgspec.structs.replace(till.row, seen_at=self._now())
        till.dirty = True

    def _failed(self, till: Till, error: str) -> None:
        till.error, till.error_at, till.dirty = error, self._now(), True

    def _push_line(self, till: Till, pushed: _Pushed) -> None:
        if pushed.first is not None:
            self._line(
                till.row,
                LineKind.PUSH,
                "events",
                first_offset=pushed.first,
                last_offset=pushed.last,
                events=pushed.events,
            )
            pushed.first, pushed.events = None, 0

    def _line(
        self,
        row: TillRow,
        kind: LineKind,
        what: str,
        *,
        first_offset: int | None = None,
        last_offset: int | None = None,
        events: int | None = None,
        status: int | None = None,
        error: str | None = None,
        duration_ms: int | None = None,
    ) -> None:
        self._write_line(
            Line(
                cafe_id=row.cafe_id,
                at=self._now(),
                kind=kind,
                what=what,
                key_id=row.key_id,
                till=row.till,
                first_offset=first_offset,
                last_offset=last_offset,
                events=events,
                status=status,
                error=error,
                duration_ms=duration_ms,
            )
        )

    def _write_line(self, line: Line) -> None:
        self._lines.append(line)
        if len(self._lines) > self._settings.lines_waiting:
            self._lines.popleft()
            self._dropped += 1


def ident_of(principal: Principal) -> TillId:
    """Which till a principal of that role is."""
    assert principal.token_id is not None
    return TillId(UUID(principal.token_id), principal.device or "")


def cafe_of(principal: Principal) -> CafeId:
    """Whose till it is."""
    assert principal.cafes is not None
    (cafe_id,) = principal.cafes
    return cafe_id


BUSY = Refusal(Code.OVERLOADED, "too many calls of this key are waiting", retry_after_s=1)
