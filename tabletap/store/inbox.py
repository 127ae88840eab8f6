"""The inbox: what providers tell us is stored, with its job, before they are answered (spec H1).

All that waits is written by one statement; while that is under way the next group gathers. A provider whose webhook
could not be stored is told so and sends it again, which is why nothing here is ever tried twice. What was turned away
is written along with the rest, within bounds: whoever forges webhooks must not be able to fill a disk, or keep a right
one waiting.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import trio
from uuid_utils.compat import uuid7

from tabletap.actors.ports import Heard, Overloaded
from tabletap.store import codec
from tabletap.store.inbox_table import LINE, TRIES, InboxTable, give_jobs
from tabletap.store.pool import Database, DatabaseDown, Retry

_log = logging.getLogger(__name__)

SWEEP_S: Final = 3600.0
REASON_CHARS: Final = 200

# Rows in one order, so that two nodes that write the same wait for each other instead of both for ever.
# A provider has no say about payments of others: its own are those whose method begins with its name.
_TAKE: Final = f"""
    WITH fresh AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::int8[], $7::jsonb[],
            $8::timestamptz[])
            AS fresh (id, provider, event_id, type, payment_id, sequence, heard, received_at)
    ), stored AS (
        INSERT INTO webhook_inbox (id, provider, event_id, type, payment_id, cafe_id, sequence, heard, received_at,
            status)
        SELECT fresh.id, provider, event_id, type, fresh.payment_id, payments.cafe_id, sequence, heard, received_at,
            CASE WHEN payments.id IS NULL AND (fresh.payment_id IS NOT NULL OR heard ->> 'charge_id' IS NULL)
                THEN 'ignored' ELSE 'pending' END
        FROM fresh LEFT JOIN payments
            ON payments.id = fresh.payment_id AND starts_with(payments.method, fresh.provider || '_')
        ORDER BY provider, event_id
        ON CONFLICT (provider, event_id) DO NOTHING
        RETURNING id, cafe_id, payment_id, received_at, status
    )
    {give_jobs("stored WHERE status = 'pending' ORDER BY received_at, id", key=LINE)}
"""
_REJECT: Final = """
    WITH old AS (DELETE FROM webhook_rejections WHERE id <= (SELECT max(id) FROM webhook_rejections) - $6)
    INSERT INTO webhook_rejections (provider, at, reason, body_bytes, body_sha256)
    SELECT * FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::int4[], $5::bytea[])
"""


class InboxSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``gap_s``: how long a webhook waits for its predecessor. ``waiting_webhooks``: more wait for the database than
    this, and further ones are refused for now. Rows are kept for so many days after they came."""

    gap_s: float = 20.0
    waiting_webhooks: int = 2_000
    group_webhooks: int = 400
    waiting_rejections: int = 500
    kept_rejections: int = 10_000
    processed_days: float = 30.0
    dead_days: float = 180.0
    rejections_days: float = 7.0


class InboxStats(msgspec.Struct, kw_only=True):
    """Since the start; ``unnoted``: rejections there was no room for. ``waiting``: now."""

    taken: int = 0
    groups: int = 0
    refused: int = 0
    rejected: int = 0
    unnoted: int = 0
    waiting: int = 0


class _Waiting:
    """A webhook whose provider waits for its answer."""

    __slots__ = ("done", "error", "row")

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.row = row
        self.done = trio.Event()
        self.error: BaseException | None = None


class _Turned(NamedTuple):
    provider: str
    at: datetime
    reason: str
    size: int
    digest: bytes


class Inbox(InboxTable):
    """``run()`` in a task. ``wake`` is called when there are new jobs."""

    def __init__(
        self,
        database: Database,
        settings: InboxSettings,
        wake: Callable[[], None],
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID] = uuid7,
        tries: int = TRIES,
    ) -> None:
        super().__init__(database, settings.gap_s, wake, tries)
        self._settings = settings
        self._now = now
        self._new_id = new_id
        self._waiting: deque[_Waiting] = deque()
        self._turned: deque[_Turned] = deque()
        self._bell = trio.Event()
        self._running = False
        self._stats = InboxStats()

    async def take(self, provider: str, heard: Heard) -> None:
        """Return when it is durable, or was before."""
        if not self._running:
            raise DatabaseDown("the inbox is closed")
        if len(self._waiting) >= self._settings.waiting_webhooks:
            self._stats.refused += 1
            raise Overloaded(1)
        id_ = self._new_id()
        about = (provider, heard.event_id, heard.type, heard.payment_id, heard.sequence)
        one = _Waiting((id_, *about, codec.encode(heard), self._now()))
        self._waiting.append(one)
        self._bell.set()
        await one.done.wait()
        if one.error is not None:
            raise one.error

    def reject(self, provider: str, reason: str, body: bytes) -> None:
        """Note it with the next group."""
        self._stats.rejected += 1
        if len(self._turned) >= self._settings.waiting_rejections:
            self._stats.unnoted += 1
            return
        words = reason[:REASON_CHARS].replace("\0", " ")
        self._turned.append(_Turned(provider, self._now(), words, len(body), hashlib.sha256(body).digest()))
        self._bell.set()

    def stats(self) -> InboxStats:
        return msgspec.structs.replace(self._stats, waiting=len(self._waiting))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what comes, until cancelled; sweep now and then."""
        self._running = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_sweeping)
                task_status.started()
                while True:
                    await self._bell.wait()
                    self._bell = trio.Event()
                    while self._waiting:
                        await self._write(self._next_group())
                    await self._write_rejections()
        finally:
            self._running = False
            for one in self._waiting:
                _answer(one, DatabaseDown("the inbox is closed"))

    # -- writing

    def _next_group(self) -> list[_Waiting]:
        size = min(len(self._waiting), self._settings.group_webhooks)
        return [self._waiting.popleft() for _ in range(size)]

    async def _write(self, group: Sequence[_Waiting]) -> None:
        """Write the group, or each of it that can be written; nobody is left without an answer."""
        try:
            columns = [list(column) for column in zip(*(one.row for one in group), strict=True)]
            await self._database.read(lambda connection: connection.execute(_TAKE, *columns))
        except (DatabaseDown, Retry) as trouble:
            for one in group:
                _answer(one, DatabaseDown(str(trouble), maybe_committed=True))
        except Exception as failure:  # noqa: BLE001  a row that no database takes: its own provider hears of it
            if len(group) == 1:
                _answer(group[0], failure)
            else:
                for one in group:
                    await self._write((one,))
        else:
            self._stats.taken += len(group)
            self._stats.groups += 1
            for one in group:
                _answer(one)
            self._wake()
        finally:
            for one in group:  # cancelled
                if not one.done.is_set():
                    _answer(one, DatabaseDown("the inbox was closed", maybe_committed=True))

    async def _write_rejections(self) -> None:
        turned = list(self._turned)
        if not turned:
            return
        columns = [list(column) for column in zip(*turned, strict=True)]
        try:
            await self._database.read(
                lambda connection: connection.execute(_REJECT, *columns, self._settings.kept_rejections)
            )
        except (DatabaseDown, Retry):
            return  # noted with the next group
        for _ in turned:
            self._turned.popleft()

    # -- sweeping

    async def _keep_sweeping(self) -> None:
        while True:
            try:
                await self.sweep()
            except (DatabaseDown, Retry) as trouble:
                _log.info("the sweep of the inbox waits: %s", trouble)
            await trio.sleep(SWEEP_S)

    async def sweep(self) -> None:
        """Remove what is older than it has to be."""
        settings, now = self._settings, self._now()
        await self.forget(
            settled_before=now - timedelta(days=settings.processed_days),
            dead_before=now - timedelta(days=settings.dead_days),
            rejected_before=now - timedelta(days=settings.rejections_days),
        )


def _answer(one: _Waiting, error: BaseException | None = None) -> None:
    one.error = error
    one.done.set()
