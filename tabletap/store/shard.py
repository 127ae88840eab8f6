"""A storage actor: takes the commits of its cafes, writes all that wait in one transaction, and answers each.

While one transaction is under way the next group gathers. A group fails or is written as a whole; where it fails, each
of its commits is tried alone, so that only the one at fault is refused.

An outage is waited out. The connection may have been lost after the commit was sent, so a group whose outcome is
unknown is looked up before it is written again: ids of events are unique, and the version of an entity is written once.
Even a transaction that the server still carries out behind our back cannot be doubled by its repeat: they want the same
versions, so one of the two fails. A commit without events may be repeated: its rows are the same again.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import msgspec
import trio

from tabletap.actors.ports import Conflict, DuplicateKey, Overloaded, SlugTaken
from tabletap.actors.runtime import Clock
from tabletap.domain.base import CafeId
from tabletap.store import tables
from tabletap.store.batch import Batch
from tabletap.store.fence import Fence
from tabletap.store.pending import Pending
from tabletap.store.pool import Connection, Database, DatabaseDown, Retry, UniqueViolation

_log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.02
LONGEST_PAUSE_SECONDS: Final = 1.0


class Unwritable(Exception):  # noqa: N818  read as a sentence at the raise
    """A commit that the database will never take: a bug of whoever decided it. Nothing was written."""

    def __init__(self, constraint: str, reason: str) -> None:
        super().__init__(f"{constraint or 'the database'} says: {reason}")
        self.constraint = constraint


class ShardLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one shard holds, and what it writes at once."""

    waiting_commits: int = 4_000
    waiting_bytes: int = 32 * 1024 * 1024
    group_commits: int = 400
    group_bytes: int = 4 * 1024 * 1024
    retry_after_s: int = 1


class Counters(msgspec.Struct, kw_only=True):
    """What the metrics show; all of them only ever grow."""

    commits: int = 0
    events: int = 0
    groups: int = 0
    largest_group: int = 0
    transaction_seconds: float = 0.0
    alone: int = 0  # commits tried alone after their group had failed
    conflicts: int = 0
    duplicates: int = 0
    unwritable: int = 0
    outages: int = 0  # attempts that ended without an answer of the database
    found: int = 0  # groups that turned out to be written after such an attempt
    refused: int = 0  # commits refused because too much was waiting


class Shard:
    def __init__(
        self,
        database: Database,
        fence: Fence,
        clock: Clock,
        finish: Callable[[Sequence[Pending]], None],
        limits: ShardLimits,
        counters: Counters,
    ) -> None:
        self._database = database
        self._fence = fence
        self._clock = clock
        self._finish = finish
        self._limits = limits
        self._counters = counters
        self._inbox: deque[Pending] = deque()
        self._group: list[Pending] = []
        self._bytes = 0
        self._bell = trio.Event()
        self._closing = False

    @property
    def waiting(self) -> int:
        """Commits that have no answer yet."""
        return len(self._inbox) + len(self._group)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def put(self, pending: Pending) -> None:
        """Take a commit in. It will be answered whatever becomes of its sender."""
        limits = self._limits
        if self.waiting >= limits.waiting_commits or self._bytes + pending.size > limits.waiting_bytes:
            self._counters.refused += 1
            raise Overloaded(limits.retry_after_s)
        self._inbox.append(pending)
        self._bytes += pending.size
        self._bell.set()

    async def run(self) -> None:
        """Until ``close``, and then until all that waits is written."""
        while True:
            if self._inbox:
                self._group = self._take()
                await self._settle(self._group)
                self._bytes -= sum(pending.size for pending in self._group)
                self._group = []
            elif self._closing:
                return
            else:
                self._bell = trio.Event()
                await self._bell.wait()

    def close(self) -> None:
        self._closing = True
        self._bell.set()

    def abandon(self) -> None:
        """Tell everybody who still waits that nobody will know from here."""
        for pending in (*self._group, *self._inbox):
            if not pending.done.is_set():
                pending.refuse(DatabaseDown("the writer has stopped", maybe_committed=pending.unsure))
        self._group = []
        self._inbox.clear()
        self._bytes = 0

    def _take(self) -> list[Pending]:
        group = [self._inbox.popleft()]
        room = self._limits.group_bytes - group[0].size
        while self._inbox and len(group) < self._limits.group_commits and self._inbox[0].size <= room:
            group.append(self._inbox.popleft())
            room -= group[-1].size
        return group

    async def _settle(self, group: Sequence[Pending]) -> None:
        """Write the group, or each of it that can be written; nobody is left without an answer."""
        for pending in group:
            if not self._fence.admits(pending.cafe_id, pending.commit.author.id):
                self._refuse(pending, Conflict(f"{pending.commit.author} was loaded before another node wrote"))
        group = [pending for pending in group if not pending.done.is_set()]
        if not group:
            return
        try:
            await self._write(group)
        except Exception as error:  # noqa: BLE001  every answer of the database but an outage ends here
            if len(group) == 1:
                self._refuse(group[0], await self._name(error, group[0]))
                return
            self._counters.alone += len(group)
            for pending in group:
                await self._settle((pending,))
        else:
            self._counters.groups += 1
            self._counters.largest_group = max(self._counters.largest_group, len(group))
            self._finish(group)

    async def _write(self, group: Sequence[Pending]) -> None:
        """Return when the group is durable, raise when the database refuses it, wait while there is no database."""
        pause, looked_again = FIRST_PAUSE_SECONDS, False
        while True:
            try:
                if not (group[0].unsure and await self._was_written(group)):
                    await self._write_once(group)
            except UniqueViolation:
                if looked_again or not group[0].unsure:
                    raise
                looked_again = True  # the rows in the way may be our own, of the attempt we took for lost
                continue
            except DatabaseDown:
                self._counters.outages += 1
                for pending in group:
                    pending.unsure = True
            except Retry:
                _log.info("a group of %d commits was in another transaction's way", len(group))
            else:
                return
            await trio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _write_once(self, group: Sequence[Pending]) -> None:
        await self._fence.know(pending.cafe_id for pending in group)
        heads: dict[CafeId, int] = {}
        batch, now = Batch(), self._clock.now()
        for pending in group:
            head = heads.get(pending.cafe_id)
            if head is None:
                head = self._fence.head(pending.cafe_id)
            pending.first = head + 1 if pending.facts else head
            heads[pending.cafe_id] = pending.last
            pending.write_into(batch, now)
        statement, arguments = batch.statement()
        if not statement:
            return
        began = trio.current_time()
        try:
            await self._database.read(lambda connection: connection.execute(statement, *arguments))
        finally:
            self._counters.transaction_seconds += trio.current_time() - began

    async def _was_written(self, group: Sequence[Pending]) -> bool:
        """Whether an attempt without an answer has succeeded after all; gives the commits their offsets then."""
        asked = [pending for pending in group if pending.facts]
        if not asked:
            return False
        firsts = [pending.facts[0] for pending in asked]
        found = await self._database.read(
            lambda connection: _find(connection, [(f.new.ref.id, f.new.version, f.id) for f in firsts])
        )
        if len(found) < len(asked):
            return False
        await self._fence.know(pending.cafe_id for pending in group)
        for pending in group:
            known = self._fence.head(pending.cafe_id)
            pending.first = found[pending.facts[0].id] if pending.facts else known
        self._counters.found += 1
        return True

    async def _name(self, error: Exception, pending: Pending) -> Exception:
        """What the sender of a commit is told about its failure."""
        constraint: str = getattr(error, "constraint", None) or getattr(error, "constraint_name", None) or ""
        if constraint == tables.ANSWERED:
            named: Exception = DuplicateKey("the idempotency key has its record")
        elif constraint == tables.SLUG:
            named = SlugTaken("another cafe has this slug")
        elif constraint in tables.STALE or await self._is_stale(pending):
            named = Conflict(f"{pending.commit.author} was decided on an old state ({constraint})")
        else:
            named = Unwritable(constraint, str(error))
        named.__cause__ = error
        return named

    async def _is_stale(self, pending: Pending) -> bool:
        """What looks like a bug may follow from an old state: a guarded account refuses what was settled elsewhere."""
        try:
            return await self._fence.overtaken(pending.cafe_id)
        except (DatabaseDown, Retry):
            return True  # decided again, a bug will show itself again

    def _refuse(self, pending: Pending, error: Exception) -> None:
        match error:
            case Conflict():
                self._counters.conflicts += 1
                if self._fence.admits(pending.cafe_id, pending.commit.author.id):
                    self._fence.lost(pending.cafe_id)
            case DuplicateKey() | SlugTaken():
                self._counters.duplicates += 1
            case _:
                self._counters.unwritable += 1
                _log.error("a commit of %s cannot be written", pending.commit.author, exc_info=error)
        pending.refuse(error)


async def _find(connection: Connection, firsts: list[tuple[UUID, int, UUID]]) -> dict[UUID, int]:
    entities, versions, ids = zip(*firsts, strict=True)
    rows = await connection.fetch(
        """SELECT events.id, events."offset"
           FROM unnest($1::uuid[], $2::int8[], $3::uuid[]) AS ours (entity, version, id)
           JOIN events ON events.entity_id = ours.entity AND events.version = ours.version AND events.id = ours.id""",
        entities,
        versions,
        ids,
    )
    return {row[0]: row[1] for row in rows}
