"""The relay: every message is delivered, in order per receiver, at once from memory or later from the table.

The writer hands over what has become durable; each receiver (destination and key) is served by a task of its own, one
message after the other. A message rests in the table until the commit of its receiver consumes it. The net runs at the
start and every few seconds, and brings back what a crash, a full memory or a lost node has left.

A message that fails again and again is set aside (``outbox_dead``) after a few attempts and the next one of its
receiver goes on; until then it holds up nobody but its own receiver. An outage, a full mailbox and a
slow receiver are nobody's failure.

Jobs rest in the same table and come the same way, and are given to workers by the ``queues``: they never wait behind
messages between entities, nor these behind them.
"""

import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec
import trio

from tabletap.actors.ports import Sent, Workers
from tabletap.actors.runtime import AskTimeout, Outage, RefusedForNow, Stopping
from tabletap.domain.base import Job, Message
from tabletap.domain.jobs import POLICIES, FlowNews, QueuePolicy
from tabletap.domain.vocabulary import Queue
from tabletap.store import tables
from tabletap.store.jobs_table import JobsTable
from tabletap.store.node import Node
from tabletap.store.outbox_table import Key, OutboxTable, in_words
from tabletap.store.pending import TO_ACTORS
from tabletap.store.pool import Database, Retry
from tabletap.store.queues import Heard, Queues, QueueStats

_log = logging.getLogger(__name__)

PAGE: Final = 500
"""Messages the net claims at once."""

Deliver = Callable[[Sent], Awaitable[None]]
"""Hand a message to its receiver; return once the commit that consumes it is durable."""


def _to_nobody(_: FlowNews) -> None:
    """Nobody listens to flows."""


class RelayLimits(msgspec.Struct, frozen=True, kw_only=True):
    at_once: int = 64  # deliveries under way
    held: int = 10_000  # messages in memory; what is beyond stays in the table until the net fetches it
    failures: int = 5  # then it is set aside
    first_pause_seconds: float = 0.2
    longest_pause_seconds: float = 30.0
    net_seconds: float = 3.0
    lease_seconds: float = float(tables.LEASE_SECONDS)


class RelayStats(msgspec.Struct, kw_only=True):
    delivered: int = 0
    failed: int = 0  # attempts
    dead: int = 0
    netted: int = 0  # messages that came from the table
    left_to_net: int = 0
    held: int = 0
    queues: Mapping[Queue, QueueStats] = {}


class _Held:
    """A message in memory."""

    __slots__ = ("attempts", "first_try", "key", "sent", "went_well")

    def __init__(self, key: Key, sent: Sent, attempts: int = 0) -> None:
        self.key = key
        self.sent = sent
        self.attempts = attempts
        self.first_try = trio.Event()
        self.went_well = False


class Relay:
    """``run()`` in a task; ``hand_over`` is the writer's to call, and whoever else has put rows into the outbox.

    Without ``workers`` no jobs are taken: other nodes have them. ``heard`` is told what happens in flows.
    """

    def __init__(
        self,
        database: Database,
        deliver: Deliver,
        limits: RelayLimits | None = None,
        *,
        workers: Workers | None = None,
        policies: Mapping[Queue, QueuePolicy] = POLICIES,
        heard: Heard = _to_nobody,
    ) -> None:
        self._deliver = deliver
        self._limits = limits or RelayLimits()
        self._node = Node(database)
        self._table = OutboxTable(database, self._limits.lease_seconds)
        self._queues = Queues(
            JobsTable(database, self._limits.lease_seconds),
            workers or {},
            policies if workers else {},
            heard,
            look_seconds=self._limits.net_seconds,
        )
        self._held: dict[UUID, _Held] = {}
        self._lines: dict[Key, deque[_Held]] = {}
        self._spilled: dict[Key, tuple[UUID, float]] = {}  # left to the net: the last one, and until when
        self._nursery: trio.Nursery | None = None
        self._at_once = trio.CapacityLimiter(self._limits.at_once)
        self._net = trio.Event()
        self._random = random.Random()  # noqa: S311  spreads retries, keeps no secret
        self._stats = RelayStats()

    async def run(self, *, task_status: trio.TaskStatus["Relay"] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started, which takes a database, it knows what a former life has left: commit after that."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._node.run)
            await self._take_up_old_lines()
            self._nursery = nursery
            try:
                for key in self._lines:
                    nursery.start_soon(self._serve, key)
                nursery.start_soon(self._queues.run)
                task_status.started(self)
                await self._cast_nets()
            finally:
                self._nursery = None

    def hand_over(self, sent: Sequence[Sent]) -> None:
        """Deliver these now; their rows are durable, those of messages leased to us."""
        now = trio.current_time()
        jobs = [one for one in sent if isinstance(one.message, Job)]
        if jobs:
            self._queues.hand_over(jobs)
        for one in sent:
            if isinstance(one.message, Job):
                continue
            key = _key(one.message)
            if key in self._spilled or len(self._held) >= self._limits.held:
                # What came first must go first: while the net has messages of a receiver, it gets all of them.
                self._spilled[key] = (one.id, now + 3 * self._limits.lease_seconds)
                self._stats.left_to_net += 1
            else:
                self._hold(_Held(key, one))

    async def delivered(self, ids: Collection[UUID], timeout_seconds: float) -> bool:
        """Wait for the first attempt at each of the messages just handed over. False: some did not arrive yet."""
        waiting = [self._held[id_] for id_ in ids if id_ in self._held]
        jobs_done = False
        with trio.move_on_after(timeout_seconds):
            for one in waiting:
                await one.first_try.wait()
            jobs_done = await self._queues.attempted(ids)
        return jobs_done and all(one.went_well for one in waiting)

    def wake(self) -> None:
        """Let the net and the queues look at once."""
        self._net.set()
        self._queues.wake()

    def wake_queues(self) -> None:
        """There are jobs in the table that were not handed over."""
        self._queues.wake()

    def stats(self) -> RelayStats:
        return msgspec.structs.replace(self._stats, held=len(self._held), queues=self._queues.stats())

    # From memory.

    def _hold(self, held: _Held) -> None:
        key = held.key
        self._held[held.sent.id] = held
        line = self._lines.get(key)
        if line is not None:
            line.append(held)
            return
        self._lines[key] = deque((held,))
        if self._nursery is not None:
            self._nursery.start_soon(self._serve, key)

    async def _serve(self, key: Key) -> None:
        """Deliver one receiver's messages until none is left."""
        line = self._lines[key]
        while line:
            held = line[0]
            await self._see_through(held)
            line.popleft()
            del self._held[held.sent.id]
        del self._lines[key]

    async def _see_through(self, held: _Held) -> None:
        """Try until it is delivered or set aside."""
        pauses = 0
        while True:
            try:
                async with self._at_once:
                    await self._deliver(held.sent)
            except (Outage, RefusedForNow, Stopping, AskTimeout) as trouble:
                _log.info("message %s waits: %s", held.sent.id, trouble)
            except Exception as failure:  # noqa: BLE001  whatever it is, it is this message's and no other's
                held.attempts += 1
                self._stats.failed += 1
                _log.warning("message %s failed %d times", held.sent.id, held.attempts, exc_info=failure)
                if await self._note(held, failure):
                    held.first_try.set()
                    return
            else:
                self._stats.delivered += 1
                held.went_well = True
                held.first_try.set()
                return
            held.first_try.set()
            pause = min(self._limits.first_pause_seconds * 2**pauses, self._limits.longest_pause_seconds)
            pauses = min(pauses + 1, 20)
            await trio.sleep(pause * self._random.uniform(0.75, 1.25))

    async def _note(self, held: _Held, failure: Exception) -> bool:
        """Write the failure down; whether the message has been set aside."""
        words = in_words(failure)
        dies = held.attempts >= self._limits.failures
        try:
            if dies:
                await self._table.set_aside(held.sent.id, held.attempts, words)
            else:
                await self._table.note_failure(held.sent.id, held.attempts, words)
        except (Outage, Retry):
            return False  # noted with the next failure
        if dies:
            self._stats.dead += 1
            _log.error("message %s to %s is set aside: %s", held.sent.id, held.key, words)
        return dies

    # From the table.

    async def _cast_nets(self) -> None:
        while True:
            self._net = trio.Event()
            try:
                if mine := [*self._held, *self._queues.running]:
                    await self._table.keep(mine)  # from other nodes
                if await self._node.take_over():
                    self._queues.wake()
                while await self._fetch():
                    await trio.lowlevel.checkpoint()
                await self._queues.count()
            except (Outage, Retry) as trouble:
                _log.info("the net of the outbox waits: %s", trouble)
            self._forget_spilled()
            with trio.move_on_after(self._limits.net_seconds):
                await self._net.wait()

    async def _take_up_old_lines(self) -> None:
        """What dead nodes had is ours; receivers with messages of a former life of this node get those first."""
        while True:
            try:
                await self._node.take_over(at_once=True)
                lines = await self._table.last_of_each(self._limits.held)
                break
            except (Outage, Retry) as trouble:
                _log.info("the relay waits: %s", trouble)
                await trio.sleep(self._limits.first_pause_seconds)
        until = trio.current_time() + 3 * self._limits.lease_seconds
        self._spilled.update((key, (last, until)) for key, last in lines)

    async def _fetch(self) -> bool:
        """Claim messages that nobody delivers; whether there may be more of them."""
        room = self._limits.held - len(self._held)
        if room <= 0:
            return False
        claimed = await self._table.claim(min(room, PAGE))
        for key, sent, attempts in claimed:
            if key in self._spilled and self._spilled[key][0] == sent.id:
                del self._spilled[key]
            if sent.id not in self._held:
                self._stats.netted += 1
                self._hold(_Held(key, sent, attempts))
        return bool(claimed)

    def _forget_spilled(self) -> None:
        now = trio.current_time()
        for key in [key for key, (_, until) in self._spilled.items() if until < now]:
            del self._spilled[key]


def _key(message: Message) -> Key:
    return (TO_ACTORS, str(message.to.id))
