"""The journal on Postgres: commits of many entities gathered into few transactions, published in offset order.

Every cafe belongs to one shard (``shard.py``), so its offsets are given out and published by one task. After the
transaction, and only then, in one go without a checkpoint: followers get the events, the relay gets the messages,
senders get their answers. A sender that goes away loses its answer, never its commit.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec
import trio
from uuid_utils.compat import uuid7

from tabletap.actors.ports import Commit, Overloaded, Publisher, Recorded, Sent, Stored
from tabletap.actors.runtime import Clock, WallClock
from tabletap.domain.base import CafeId, Ref
from tabletap.store import stream
from tabletap.store.fence import Fence
from tabletap.store.pending import Pending
from tabletap.store.pool import Database
from tabletap.store.shard import Counters, Shard, ShardLimits, Unwritable

__all__ = ["HandOver", "Unwritable", "Writer", "WriterLimits", "WriterStats"]

_log = logging.getLogger(__name__)


class HandOver(Protocol):
    """Who delivers messages once they are durable. Must not block or raise."""

    def hand_over(self, sent: Sequence[Sent]) -> None: ...


class WriterLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``shards``: transactions under way at once, each on a connection of its own."""

    shards: int = 2
    each: ShardLimits = ShardLimits()
    close_seconds: float = 5.0  # for what still waits when the writer closes


class WriterStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics show: the counters, and what waits now."""

    counters: Counters
    waiting: int
    waiting_bytes: int


class Writer:
    """Implements ``actors.ports.Journal``. ``run()`` in a task, ``aclose()`` at the end."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        relay: HandOver | None = None,
        *,
        clock: Clock | None = None,
        limits: WriterLimits | None = None,
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._relay = relay
        self._clock = clock or WallClock()
        self._limits = limits or WriterLimits()
        self._new_id = new_id
        self._counters = Counters()
        self._fence = Fence(database)
        self._shards = [
            Shard(database, self._fence, self._clock, self._finish, self._limits.each, self._counters)
            for _ in range(self._limits.shards)
        ]
        self._closing = False
        self._ended = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus["Writer"] = trio.TASK_STATUS_IGNORED) -> None:
        """Until ``aclose``. Whoever waits when this ends early is told that the outcome is unknown."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for shard in self._shards:
                        nursery.start_soon(shard.run)
                    task_status.started(self)
        finally:
            self._closing = True
            for shard in self._shards:
                shard.abandon()
            self._ended.set()

    async def aclose(self) -> None:
        """Take nothing more, write what waits (for as long as the limits allow), and end ``run``."""
        self._closing = True
        for shard in self._shards:
            shard.close()
        with trio.move_on_after(self._limits.close_seconds):
            await self._ended.wait()
        self._scope.cancel()
        await self._ended.wait()

    async def load(self, ref: Ref, pinned: Sequence[str] = ()) -> Stored:
        """The entity with its latest snapshot. Raises ``DatabaseDown``."""
        await self._fence.loading(ref.cafe_id, ref.id)
        return await self._database.read(lambda connection: stream.load(connection, ref, pinned))

    async def commit(self, commit: Commit) -> Sequence[Recorded]:
        """Write it durably, publish, answer. Waits an outage out: the caller's own deadline ends its waiting.

        Raises Conflict, DuplicateKey, Overloaded; ``Unwritable`` or ValueError for what no database could take.
        """
        if self._closing:
            raise Overloaded(self._limits.each.retry_after_s)
        pending = Pending(commit, self._new_id, self._clock.now(), self._database.node)
        self._shards[hash(pending.cafe_id) % len(self._shards)].put(pending)
        await pending.done.wait()
        if pending.error is not None:
            raise pending.error
        return pending.recorded

    def stats(self) -> WriterStats:
        return WriterStats(
            counters=msgspec.structs.replace(self._counters),
            waiting=sum(shard.waiting for shard in self._shards),
            waiting_bytes=sum(shard.waiting_bytes for shard in self._shards),
        )

    def _finish(self, group: Sequence[Pending]) -> None:
        """The group is durable."""
        by_cafe: dict[CafeId, list[Recorded]] = {}
        sent: list[Sent] = []
        for pending in group:
            recorded = pending.record()
            self._fence.advance(pending.cafe_id, pending.last, {one.ref.id for one in recorded})
            self._counters.commits += 1
            self._counters.events += len(recorded)
            if recorded:
                by_cafe.setdefault(pending.cafe_id, []).extend(recorded)
            sent.extend(pending.commit.sent)
        for cafe_id, events in by_cafe.items():
            try:
                self._publisher.publish(cafe_id, events)
            except Exception:  # noqa: BLE001  it is durable: a follower's bug must not make a commit fail
                _log.exception("publishing events %d-%d of %s failed", events[0].offset, events[-1].offset, cafe_id)
        if sent and self._relay is not None:
            try:
                self._relay.hand_over(sent)
            except Exception:  # noqa: BLE001  the same; the net delivers them
                _log.exception("handing %d messages over failed", len(sent))
        for pending in group:
            pending.done.set()
