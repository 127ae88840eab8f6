"""The queues: jobs taken from the outbox table and given to their workers (spec H6).

Each queue has its own number of jobs at once, so a slow provider holds up its own queue and nothing else. A job is
taken when there is room for it, and not before: of what is due the table always gives the most urgent. A job that
failed rests in the table until its pause is over; after its last attempt it is a dead letter. When a worker has
returned, the job is finished, and only when that is durable does the next one of its key follow.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
import trio
from uuid_utils.compat import uuid7

from tabletap.actors.ports import GiveUp, Later, Sent, Workers
from tabletap.actors.runtime import AskTimeout, Outage, RefusedForNow, Stopping
from tabletap.domain.base import Job
from tabletap.domain.jobs import FlowNews, QueueDepth, QueuePolicy
from tabletap.domain.vocabulary import Queue
from tabletap.store.jobs_table import Finished, JobsTable, Taken
from tabletap.store.outbox_table import in_words
from tabletap.store.pool import DatabaseDown, Retry

_log = logging.getLogger(__name__)

Heard = Callable[[FlowNews], None]
"""Called with what happens in flows. Must not block."""

AWAITED_AT_MOST: Final = 10_000
"""Jobs whose first attempt somebody may be waiting for."""

AGAIN_S: Final = 0.2
"""After the database could not be reached."""


class QueueStats(msgspec.Struct, kw_only=True):
    """``running``, and since the start ``done``, ``failed`` (attempts) and ``died``, on this node; ``waiting``,
    ``held``, ``dead`` and ``oldest_due_s`` of all nodes, as the table was when it was last counted."""

    running: int = 0
    done: int = 0
    failed: int = 0
    died: int = 0
    waiting: int = 0
    held: int = 0
    dead: int = 0
    oldest_due_s: float = 0.0


class _Awaited:
    """The first attempt at a job."""

    __slots__ = ("over", "until", "went_well")

    def __init__(self, until: float) -> None:
        self.until = until
        self.over = trio.Event()
        self.went_well = False


class Queues:
    """``run()`` in a task; ``hand_over`` says that there is something new."""

    def __init__(
        self,
        table: JobsTable,
        workers: Workers,
        policies: Mapping[Queue, QueuePolicy],
        heard: Heard,
        *,
        look_seconds: float,
    ) -> None:
        self._table = table
        self._workers = workers
        self._policies = policies
        self._heard = heard
        self._look_seconds = look_seconds
        self._stats = {queue: QueueStats() for queue in policies}
        self._running: dict[UUID, Taken] = {}
        self._awaited: dict[UUID, _Awaited] = {}
        self._finished: list[tuple[Finished, trio.Event]] = []
        self._some_finished = trio.Event()
        self._bell = trio.Event()
        self._flows_told = trio.Lock()  # a parent is not taken before its children's end has been told
        self._random = random.Random()  # noqa: S311  spreads retries, keeps no secret

    async def run(self) -> None:
        """Until cancelled. What is under way then is done again by whoever comes next."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_down)
            while True:
                self._bell = trio.Event()
                pause = await self._start_due(nursery)
                self._forget_awaited()
                with trio.move_on_after(pause):
                    await self._bell.wait()

    def hand_over(self, sent: Iterable[Sent]) -> None:
        """These jobs are in the table now. Those of queues that are not served here are other nodes'."""
        flows: dict[UUID, list[Sent]] = {}
        until = trio.current_time() + self._look_seconds * 10
        for one in sent:
            job = _job(one)
            if job.queue not in self._policies:
                continue
            if job.flow is not None:
                flows.setdefault(job.flow, []).append(one)
            elif not job.delay_s and len(self._awaited) < AWAITED_AT_MOST:
                self._awaited[one.id] = _Awaited(until)
        for jobs in flows.values():
            self._tell("orchestration_started", jobs[0], about_job=False, total=len(jobs))
        self.wake()

    async def attempted(self, ids: Iterable[UUID]) -> bool:
        """Wait for the first attempt at each of the jobs just handed over (flows excepted, they take their time)."""
        waiting = [self._awaited[id_] for id_ in ids if id_ in self._awaited]
        for one in waiting:
            await one.over.wait()
        return all(one.went_well for one in waiting)

    def wake(self) -> None:
        """Look at the table at once."""
        self._bell.set()

    @property
    def running(self) -> Sequence[UUID]:
        """The jobs that are being done here: their leases must be kept."""
        return tuple(self._running)

    def stats(self) -> Mapping[Queue, QueueStats]:
        for stats in self._stats.values():
            stats.running = 0
        for taken in self._running.values():
            self._stats[taken.queue].running += 1
        return {queue: msgspec.structs.replace(stats) for queue, stats in self._stats.items()}

    async def count(self) -> None:
        """Count what waits. Raises ``DatabaseDown`` or ``Retry``."""
        if not self._policies:
            return
        depths = {depth.queue: depth for depth in await self._table.depths()}
        for queue, stats in self._stats.items():
            depth = depths.get(queue.value) or QueueDepth(queue=queue.value)
            stats.waiting, stats.held, stats.dead = depth.waiting, depth.held, depth.dead
            stats.oldest_due_s = depth.oldest_due_s

    # -- doing

    async def _start_due(self, nursery: trio.Nursery) -> float:
        """Take what there is room for; for how long there will be nothing else to take (seconds)."""
        room = {queue: policy.at_once for queue, policy in self._policies.items()}
        for taken in self._running.values():
            room[taken.queue] -= 1
        room = {queue: free for queue, free in room.items() if free > 0}
        if not room:
            return self._look_seconds  # or until one of them is done
        try:
            async with self._flows_told:
                due, rest = await self._table.take(room)
        except (DatabaseDown, Retry) as trouble:
            _log.info("the queues wait: %s", trouble)
            return AGAIN_S
        for taken in due:
            if taken.id not in self._running:  # else its lease ran out while the database was away: it is ours again
                self._running[taken.id] = taken
                nursery.start_soon(self._do, taken)
        return self._look_seconds if rest is None else min(rest, self._look_seconds)

    async def _do(self, taken: Taken) -> None:
        try:
            await self._see_to(taken)
        finally:
            del self._running[taken.id]
            self._attempted(taken.id, well=False)
            self.wake()

    def _attempted(self, id_: UUID, *, well: bool) -> None:
        """Tell who waits for it, once."""
        awaited = self._awaited.pop(id_, None)
        if awaited is not None:
            awaited.went_well = well
            awaited.over.set()

    async def _see_to(self, taken: Taken) -> None:
        """One attempt, and what follows from it."""
        policy, stats = self._policies[taken.queue], self._stats[taken.queue]
        sent: Sent | None = None
        try:
            sent = taken.read()
            self._tell("job_started", sent, attempt=taken.attempts + 1)
            await self._work(sent, policy)
        except Later as later:
            await self._postpone(taken, later, later.seconds)
        except GiveUp as reason:
            await self._bury(taken, sent, taken.attempts + 1, reason)
        except (Outage, RefusedForNow, Stopping, AskTimeout) as trouble:
            _log.info("job %s waits: %s", taken.id, trouble)
            await self._postpone(taken, trouble, policy.first_pause_s)
        except Exception as failure:  # noqa: BLE001  whatever it is, it is this job's and no other's
            stats.failed += 1
            attempts = taken.attempts + 1
            _log.warning("job %s of %s failed %d times", taken.id, taken.queue, attempts, exc_info=failure)
            if attempts >= policy.attempts:
                await self._bury(taken, sent, attempts, failure)
            else:
                pause = policy.pause_s(attempts) * self._random.uniform(1.0, 1.25)
                await self._postpone(taken, failure, pause, attempts)
                self._tell("job_failed", sent, attempt=attempts, final=False)
        else:
            # Its effect is durable; that nobody need do it again is of no interest to who waits for it.
            self._attempted(taken.id, well=True)
            await self._finish(Finished(sent, _what(sent), taken.attempts, taken.started_at, policy.keep_done_s))
            stats.done += 1

    async def _work(self, sent: Sent, policy: QueuePolicy) -> None:
        task = _job(sent).task
        worker = self._workers.get(type(task))
        if worker is None:
            raise GiveUp(f"nobody here does {_what(sent)}")
        with trio.fail_after(policy.deadline_s):
            await worker(task, sent)

    async def _postpone(self, taken: Taken, why: Exception, seconds: float, attempts: int | None = None) -> None:
        failed = taken.attempts if attempts is None else attempts
        await _until_written(lambda: self._table.postpone(taken.id, failed, in_words(why), seconds))

    async def _bury(self, taken: Taken, sent: Sent | None, attempts: int, why: Exception) -> None:
        words = in_words(why)
        await _until_written(lambda: self._table.set_aside(taken.id, attempts, words))
        self._stats[taken.queue].died += 1
        _log.error("job %s of %s is given up: %s", taken.id, taken.queue, words)
        self._tell("job_failed", sent, attempt=attempts, final=True)

    # -- done

    async def _finish(self, finished: Finished) -> None:
        """Return when it is durable."""
        durable = trio.Event()
        self._finished.append((finished, durable))
        self._some_finished.set()
        await durable.wait()

    async def _write_down(self) -> None:
        """Write what has been done meanwhile, all of it at once."""
        while True:
            await self._some_finished.wait()
            self._some_finished = trio.Event()
            batch, self._finished = self._finished, []
            finished = [one for one, _ in batch]
            of_flows = [one.sent for one in finished if _job(one.sent).flow is not None]
            if of_flows:
                async with self._flows_told:
                    await _until_written(partial(self._table.finish, finished))
                    await _until_written(partial(self._tell_of_flows, of_flows))
            else:
                await _until_written(partial(self._table.finish, finished))
            for _, durable in batch:
                durable.set()

    async def _tell_of_flows(self, sent: Sequence[Sent]) -> None:
        flows = {state.flow_id: state for state in await self._table.flows({_flow(one) for one in sent})}
        parents = {_job(one).parent for one in sent}
        freed = await self._table.freed({parent for parent in parents if parent is not None})
        last = {_flow(one): one for one in sent}
        steps = {_job(one).parent: one for one in sent if _job(one).parent in freed}
        for one in sent:
            self._tell("job_completed", one)
            self._tell("job_progress", one, state=flows.get(_flow(one)))
        for one in steps.values():
            self._tell("step_completed", one, state=flows.get(_flow(one)))
        for flow, one in last.items():
            if flow in flows and flows[flow].complete:
                self._tell("flow_completed", one, about_job=False, state=flows[flow])

    # -- telling

    def _tell(self, type_: str, sent: Sent | None, *, about_job: bool = True, **more: Any) -> None:
        job = _job(sent) if sent is not None else None
        if sent is None or job is None or job.flow is None:
            return
        if about_job:
            more |= {"job_id": sent.id, "queue": job.queue, "what": _what(sent)}
        news = FlowNews(id=uuid7(), type=type_, at=datetime.now(UTC), flow=job.flow, cafe_id=job.cafe_id, **more)
        try:
            self._heard(news)
        except Exception:  # noqa: BLE001  a listener's bug is not the job's
            _log.exception("telling of flow %s failed", job.flow)

    def _forget_awaited(self) -> None:
        """Other nodes may have done them."""
        now = trio.current_time()
        while self._awaited and self._awaited[oldest := next(iter(self._awaited))].until < now:
            self._awaited.pop(oldest).over.set()


async def _until_written(write: Callable[[], Awaitable[None]]) -> None:
    """Wait an outage out: what became of a job must not be forgotten while its process lives."""
    while True:
        try:
            return await write()
        except (DatabaseDown, Retry) as trouble:
            _log.info("what became of a job is written later: %s", trouble)
            await trio.sleep(AGAIN_S)


def _job(sent: Sent) -> Job:
    assert isinstance(sent.message, Job)
    return sent.message


def _flow(sent: Sent) -> UUID:
    flow = _job(sent).flow
    assert flow is not None
    return flow


def _what(sent: Sent) -> str:
    """The type of its task, as the table has it."""
    return type(_job(sent).task).__name__
