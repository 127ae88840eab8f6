"""Jobs in their queues, on a real database. Pauses and looks are short; how long anything took is not asserted."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import trio
import uuid_utils.compat

from tabletap.actors.ports import Commit, GiveUp, Later, Sent, Workers
from tabletap.actors.runtime import Outage
from tabletap.domain.base import CafeId, Job, Kind, Message, Ref, Task
from tabletap.domain.jobs import FlowNews, QueuePolicy
from tabletap.domain.messages import ReturnUnapplied
from tabletap.domain.tasks import ProcessWebhook, WithdrawPayments
from tabletap.domain.vocabulary import Queue
from tabletap.store.jobs import Jobs, insert
from tabletap.store.jobs_table import Finished
from tabletap.store.node import Node
from tabletap.store.outbox import Relay, RelayLimits
from tabletap.store.pool import Database
from tabletap.store.sweep import forget_done_jobs
from tests.domain.world import STAFF
from tests.store.journal_contract import Store
from tests.store.opened import opened, rows, run

CAFE = CafeId(UUID(int=1))
AUTHOR = Ref(Kind.CAFE, CAFE, CAFE)
QUICK = RelayLimits(first_pause_seconds=0.01, net_seconds=0.05)
POLICY = QueuePolicy(at_once=4, attempts=3, first_pause_s=0.01, longest_pause_s=0.02)
POLICIES = dict.fromkeys(Queue, POLICY)

Do = Callable[[int, Sent], Awaitable[None]]


def job(number: int = 1, key: str | None = None, queue: Queue = Queue.WEBHOOKS, **more: Any) -> Job:
    """A job that is known by its number."""
    return Job(queue, key or f"key {number}", more.pop("cafe_id", CAFE), ProcessWebhook(UUID(int=number)), **more)


def sent(one: Job) -> Sent:
    return Sent(one.id or uuid_utils.compat.uuid7(), one, STAFF)


def new_id() -> UUID:
    return uuid_utils.compat.uuid7()


class Crew:
    """Does numbered jobs, and notes which; ``first``: what a number does before it is done."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.done: list[int] = []
        self.first: dict[int, Do] = {}
        self.under_way = 0
        self.most_under_way = 0

    @property
    def workers(self) -> Workers:
        return {ProcessWebhook: self.work}

    async def work(self, task: ProcessWebhook, row: Sent) -> None:
        number = task.inbox_id.int
        self.began.append(number)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if number in self.first:
                await self.first[number](number, row)
            self.done.append(number)
        finally:
            self.under_way -= 1

    async def until(self, count: int) -> None:
        """So many jobs have been done."""
        await until(lambda: len(self.done) >= count)


async def until(so: Callable[[], bool]) -> None:
    while not so():  # noqa: ASYNC110  what is waited for comes out of the database
        await trio.sleep(0.001)


class Gate:
    """Keeps jobs in it until it is opened."""

    def __init__(self) -> None:
        self.opened = trio.Event()
        self.inside = 0

    async def __call__(self, _number: int, _row: Sent) -> None:
        self.inside += 1
        await self.opened.wait()


def raising(error: Exception, times: float = float("inf")) -> Do:
    tries = 0

    async def fail(_number: int, _row: Sent) -> None:
        nonlocal tries
        tries += 1
        await trio.lowlevel.checkpoint()
        if tries <= times:
            raise error

    return fail


class Life(NamedTuple):
    """A running relay with a writer in front of it."""

    relay: Relay
    store: Store
    jobs: Jobs
    news: list[FlowNews]
    messages: list[Sent]

    async def send(self, *jobs: Job | Message) -> list[Sent]:
        """Commit these together."""
        out = [sent(one) if isinstance(one, Job) else Sent(new_id(), one, STAFF) for one in jobs]
        await self.store.journal.commit(Commit(author=AUTHOR, version=0, sent=out))
        return out

    async def written(self, count: int) -> None:
        """Of so many jobs it is written down that they are done."""
        await until(lambda: sum(stats.done for stats in self.relay.stats().queues.values()) == count)


@asynccontextmanager
async def living(
    database: Database,
    workers: Workers,
    policies: Mapping[Queue, QueuePolicy] = POLICIES,
    limits: RelayLimits = QUICK,
) -> AsyncIterator[Life]:
    news: list[FlowNews] = []
    messages: list[Sent] = []

    async def deliver(one: Sent) -> None:
        assert isinstance(one.message, Message)
        await store.journal.commit(Commit(author=one.message.to, version=0, consumed=[one.id]))
        messages.append(one)

    relay = Relay(database, deliver, limits, workers=workers, policies=policies, heard=news.append)
    async with opened(database, relay) as store, trio.open_nursery() as nursery:
        await nursery.start(relay.run)
        yield Life(relay, store, Jobs(database, relay), news, messages)
        nursery.cancel_scope.cancel()


async def resting(database: Database) -> list[int]:
    """The numbers of the jobs in the outbox, in their order."""
    found = await rows(database, "SELECT message->>'inbox_id' FROM outbox ORDER BY seq")
    return [UUID(row[0]).int for row in found]


async def dead(database: Database) -> list[tuple[Any, ...]]:
    return await rows(database, "SELECT id, attempts, last_error FROM outbox_dead ORDER BY died_at")


async def finished(database: Database) -> set[UUID]:
    return {row[0] for row in await rows(database, "SELECT id FROM jobs_done")}


@pytest.fixture
def crew() -> Crew:
    return Crew()


# -- a job's life


async def test_a_job_of_a_commit_is_done_and_remembered_with_its_times(migrated: Database, crew: Crew) -> None:
    async with living(migrated, crew.workers) as life:
        (one,) = await life.send(job(7, priority=4))
        assert await life.relay.delivered([one.id], 10), "who asked may wait for the first attempt"
        assert crew.done == [7]
        await life.written(1)
        assert await resting(migrated) == []
    ((id_, queue, task, attempts, in_order),) = await rows(
        migrated,
        """SELECT id, queue, task, attempts, created_at <= started_at AND started_at <= finished_at
               AND keep_until = finished_at + interval '1 day' FROM jobs_done""",
    )
    assert (id_, queue, task, attempts, in_order) == (one.id, "webhook-processing", "ProcessWebhook", 0, True)


async def test_who_waits_for_an_attempt_hears_of_it_before_it_is_written_down(migrated: Database, crew: Crew) -> None:
    async with living(migrated, crew.workers) as life:
        table, written_down = life.relay._queues._table, trio.Event()
        finish = table.finish

        async def late(finished: Sequence[Finished]) -> None:
            await written_down.wait()
            await finish(finished)

        table.finish = late  # type: ignore[method-assign]
        (one,) = await life.send(job(7))
        assert await life.relay.delivered([one.id], 10)
        written_down.set()


async def test_a_worker_is_given_the_job_as_it_was_decided(migrated: Database) -> None:
    given: list[tuple[Task, Sent]] = []

    async def work(task: Task, row: Sent) -> None:
        given.append((task, row))

    whole = job(3, "a key", Queue.ORDERS, priority=9, id=new_id(), flow=new_id())
    async with living(migrated, {ProcessWebhook: work}) as life:
        (row,) = await life.send(whole)
        await until(lambda: bool(given))
    assert given == [(whole.task, row)]


async def test_a_job_that_the_commit_of_its_effect_has_consumed_is_done_as_well(migrated: Database, crew: Crew) -> None:
    async with living(migrated, crew.workers) as life:

        async def consume(_number: int, row: Sent) -> None:
            await life.store.journal.commit(Commit(author=AUTHOR, version=0, consumed=[row.id]))

        crew.first[1] = consume
        one, two = await life.send(job(1, "same"), job(2, "same"))
        await life.relay.delivered([one.id, two.id], 10)
        assert crew.done == [1, 2]
        await life.written(2)
        assert await finished(migrated) == {one.id, two.id}


async def test_jobs_of_a_key_are_done_in_order_and_no_other_key_waits_for_them(migrated: Database, crew: Crew) -> None:
    gate = crew.first[1] = Gate()
    async with living(migrated, crew.workers) as life:
        await life.send(job(1, "slow"), job(2, "slow"), job(3, "slow"), job(4), job(5))
        await crew.until(2)
        await trio.sleep(0.1)
        assert sorted(crew.began) == [1, 4, 5]
        gate.opened.set()
        await crew.until(5)
        assert [number for number in crew.done if number < 4] == [1, 2, 3]


async def test_the_next_job_of_a_key_waits_until_the_former_is_done_durably(migrated: Database, crew: Crew) -> None:
    seen: list[list[int]] = []

    async def look(_number: int, _row: Sent) -> None:
        seen.append(await resting(migrated))

    crew.first[2] = look
    async with living(migrated, crew.workers) as life:
        await life.send(job(1, "same"), job(2, "same"))
        await crew.until(2)
    assert seen == [[2]]


async def test_a_slow_queue_holds_up_neither_another_queue_nor_messages(migrated: Database, crew: Crew) -> None:
    gate = Gate()
    for number in range(1, 20):
        crew.first[number] = gate
    async with living(migrated, crew.workers) as life:
        await life.send(*(job(number, queue=Queue.PAYMENTS) for number in range(1, 20)))
        await until(lambda: gate.inside == POLICY.at_once)
        to = Ref(Kind.ORDER, UUID(int=100), CAFE)
        await life.send(job(20, queue=Queue.ORDERS), Message(to, ReturnUnapplied(1)))
        await crew.until(1)
        await until(lambda: len(life.messages) == 1)
        assert crew.done == [20]
        assert gate.inside == POLICY.at_once, "more than that are never under way"
        assert life.relay.stats().queues[Queue.PAYMENTS].running == POLICY.at_once
        gate.opened.set()
        await crew.until(20)
    assert crew.most_under_way <= POLICY.at_once + 1


async def test_of_what_is_due_the_most_urgent_comes_first_but_never_before_its_own_key(
    migrated: Database, crew: Crew
) -> None:
    gate = crew.first[1] = Gate()
    one_at_once = dict.fromkeys(Queue, QueuePolicy(at_once=1))
    async with living(migrated, crew.workers, one_at_once) as life:
        await life.send(job(1))
        await until(lambda: gate.inside == 1)
        await life.send(job(2), job(3, priority=2), job(4, priority=5), job(5, "a"), job(6, "a", priority=10))
        gate.opened.set()
        await crew.until(6)
    assert crew.done == [1, 4, 3, 2, 5, 6]


async def test_a_delayed_job_comes_when_its_time_has_come_without_anybody_looking(
    migrated: Database, crew: Crew
) -> None:
    async with living(migrated, crew.workers, limits=RelayLimits(net_seconds=3600.0)) as life:
        await life.send(job(1, delay_s=0.3), job(2, delay_s=3600.0), job(3))
        await life.written(2)
        assert sorted(crew.done) == [1, 3]
        assert await resting(migrated) == [2]
        waited = "SELECT count(*) FROM jobs_done WHERE started_at >= created_at + interval '0.3 seconds'"
        assert await rows(migrated, f"{waited} AND key = 'key 1'") == [(1,)]


# -- failures


async def test_a_job_that_failed_rests_in_the_table_and_its_key_with_it(migrated: Database, crew: Crew) -> None:
    crew.first[1] = raising(ZeroDivisionError("no luck"), times=1)
    patient = dict.fromkeys(Queue, QueuePolicy(first_pause_s=3600.0, longest_pause_s=3600.0))
    async with living(migrated, crew.workers, patient) as life:
        await life.send(job(1, "same"), job(2, "same"), job(3))
        await crew.until(1)
        await until(lambda: life.relay.stats().queues[Queue.WEBHOOKS].running == 0)
        assert crew.began in ([1, 3], [3, 1])
        noted = "SELECT attempts, last_error, owner, next_at > now() + interval '59 minutes' FROM outbox ORDER BY seq"
        assert (await rows(migrated, noted))[0] == (1, "ZeroDivisionError: no luck", None, True)
        assert life.relay.stats().queues[Queue.WEBHOOKS].failed == 1
        await run(migrated, "UPDATE outbox SET next_at = now()")
        await crew.until(3)
        assert crew.done == [3, 1, 2]


async def test_after_its_attempts_a_job_is_a_dead_letter_and_the_next_of_its_key_goes_on(
    migrated: Database, crew: Crew
) -> None:
    crew.first[1] = raising(ZeroDivisionError("poison\0"), times=3)
    async with living(migrated, crew.workers) as life:
        poisoned, _ = await life.send(job(1, "same"), job(2, "same"))
        await crew.until(1)
        assert crew.began == [1, 1, 1, 2]
        assert await dead(migrated) == [(poisoned.id, 3, "ZeroDivisionError: poison ")]
        assert life.relay.stats().queues[Queue.WEBHOOKS].died == 1
        assert await life.jobs.replay(poisoned.id)
        await crew.until(2)
        assert crew.done == [2, 1]
        assert not await life.jobs.replay(poisoned.id), "it is not dead any more"
        await life.written(2)
    assert await rows(migrated, "SELECT attempts FROM jobs_done WHERE id = $1", poisoned.id) == [(0,)]


async def test_a_worker_may_say_later_which_is_no_failure(migrated: Database, crew: Crew) -> None:
    crew.first[1] = raising(Later(0.01, "the provider is resting"), times=10)
    async with living(migrated, crew.workers) as life:
        await life.send(job(1))
        await crew.until(1)
        assert len(crew.began) == 11
        assert life.relay.stats().queues[Queue.WEBHOOKS].failed == 0


async def test_what_a_worker_gives_up_is_a_dead_letter_at_once(migrated: Database, crew: Crew) -> None:
    crew.first[1] = raising(GiveUp("nobody of that name"))
    async with living(migrated, crew.workers) as life:
        one, two = await life.send(job(1, "same"), job(2, "same"))
        assert not await life.relay.delivered([one.id, two.id], 10)
        assert (crew.began, crew.done) == ([1, 2], [2])
        assert await dead(migrated) == [(one.id, 1, "GiveUp: nobody of that name")]


async def test_an_outage_is_no_failure_of_a_job(migrated: Database, crew: Crew) -> None:
    crew.first[1] = raising(Outage("away"), times=8)
    async with living(migrated, crew.workers) as life:
        await life.send(job(1))
        await crew.until(1)
        assert life.relay.stats().queues[Queue.WEBHOOKS].failed == 0


async def test_a_job_that_takes_too_long_has_failed(migrated: Database, crew: Crew) -> None:
    crew.first[1] = Gate()
    async with living(migrated, crew.workers, dict.fromkeys(Queue, QueuePolicy(deadline_s=0.01, attempts=1))) as life:
        (one,) = await life.send(job(1))
        assert not await life.relay.delivered([one.id], 10)
        assert [(id_, attempts) for id_, attempts, _ in await dead(migrated)] == [(one.id, 1)]


async def test_a_task_that_nobody_does_and_one_that_nobody_can_read_are_dead_letters_and_no_more(
    migrated: Database, crew: Crew
) -> None:
    strange = Job(Queue.WEBHOOKS, "strange", CAFE, WithdrawPayments(AUTHOR, "toast", datetime.now(UTC)))
    async with living(migrated, crew.workers) as life:
        await run(
            migrated,
            """INSERT INTO outbox (id, cafe_id, destination, key, message, by, next_at)
               VALUES ($1, $1, 'webhook-processing', 'newer', '{"type":"OfTomorrow"}', '{"role":"system"}', now())""",
            CAFE,
        )
        (unknown, _) = await life.send(strange, job(2))
        await crew.until(1)
        await until(lambda: life.relay.stats().queues[Queue.WEBHOOKS].died == 2)
        reasons = {id_: (attempts, why) for id_, attempts, why in await dead(migrated)}
        assert reasons[unknown.id] == (1, "GiveUp: nobody here does WithdrawPayments")
        assert reasons[CAFE][0] == POLICY.attempts
        assert "OfTomorrow" in reasons[CAFE][1]


# -- parents and flows


async def test_a_parent_waits_for_all_its_children(migrated: Database, crew: Crew) -> None:
    gate, parent = Gate(), new_id()
    crew.first[2] = gate
    async with living(migrated, crew.workers) as life:
        await life.send(job(9, id=parent), job(1, parent=parent), job(2, parent=parent))
        await crew.until(1)
        await trio.sleep(0.1)
        assert crew.done == [1]
        (depth,) = await life.jobs.queues([CAFE])
        assert (depth.held, depth.running, depth.done) == (1, 1, 1)
        gate.opened.set()
        await crew.until(3)
        assert crew.done == [1, 2, 9]


async def test_a_whole_tree_may_have_one_key(migrated: Database, crew: Crew) -> None:
    top, middle = new_id(), new_id()
    async with living(migrated, crew.workers) as life:
        await life.send(
            job(9, "same", id=top), job(8, "same", id=middle, parent=top), job(1, "same", parent=middle), job(2, "same")
        )
        await crew.until(4)
        assert crew.done == [1, 8, 9, 2]


async def test_a_child_that_comes_after_its_parent_is_not_held_up_by_it(migrated: Database, crew: Crew) -> None:
    top, gate = new_id(), Gate()
    crew.first[1] = gate
    async with living(migrated, crew.workers) as life:
        await life.send(job(9, "same", id=top), job(1, parent=top))
        await until(lambda: gate.inside == 1)
        await life.send(job(2, "same", parent=top))
        await crew.until(1)
        gate.opened.set()
        await crew.until(3)
        assert crew.done == [2, 1, 9]


async def test_a_dead_child_holds_its_parent_visibly_until_it_is_replayed(migrated: Database, crew: Crew) -> None:
    parent = new_id()
    crew.first[1] = raising(GiveUp("broken"), times=1)
    async with living(migrated, crew.workers) as life:
        child, _ = await life.send(job(1, parent=parent), job(9, id=parent))
        await until(lambda: life.relay.stats().queues[Queue.WEBHOOKS].dead == 1)
        stats = life.relay.stats().queues[Queue.WEBHOOKS]
        assert (stats.held, stats.waiting, stats.running) == (1, 0, 0)
        (letter,) = await life.jobs.dead_letters([CAFE])
        assert (letter.id, letter.parent, letter.what) == (child.id, parent, "ProcessWebhook")
        assert await life.jobs.replay(child.id, [CAFE])
        await crew.until(2)
        assert crew.done == [1, 9]


async def test_a_flow_tells_each_step_and_how_far_it_is(migrated: Database, crew: Crew) -> None:
    parent, flow = new_id(), new_id()
    crew.first[1] = raising(ZeroDivisionError(), times=1)
    async with living(migrated, crew.workers) as life:
        await life.send(job(1, parent=parent, flow=flow), job(9, id=parent, flow=flow), job(5))
        await until(lambda: bool(life.news) and life.news[-1].type == "flow_completed")
        assert [one.type for one in life.news] == [
            "orchestration_started",
            "job_started",
            "job_failed",
            "job_started",
            "job_completed",
            "job_progress",
            "step_completed",
            "job_started",
            "job_completed",
            "job_progress",
            "flow_completed",
        ]
        assert {one.flow for one in life.news} == {flow}
        assert [(one.attempt, one.final) for one in life.news if one.type == "job_failed"] == [(1, False)]
        assert life.news[0].total == 2
        far = [(one.state.done, one.state.total) for one in life.news if one.state and one.type == "job_progress"]
        assert far == [(1, 2), (2, 2)]
        state = await life.store.reader.flow(flow)
        assert state is not None
        assert (state.total, state.done, state.dead, state.complete) == (2, 2, 0, True)
        assert await life.store.reader.flow(new_id()) is None


async def test_a_flow_with_a_dead_job_is_not_complete(migrated: Database, crew: Crew) -> None:
    flow = new_id()
    crew.first[1] = raising(GiveUp("broken"))
    async with living(migrated, crew.workers) as life:
        await life.send(job(1, flow=flow), job(2, flow=flow))
        await until(lambda: {"job_failed", "job_progress"} <= {one.type for one in life.news})
        assert [one.final for one in life.news if one.type == "job_failed"] == [True]
        state = await life.store.reader.flow(flow)
        assert state is not None
        assert (state.total, state.done, state.dead, state.complete) == (2, 1, 1, False)
        assert "flow_completed" not in {one.type for one in life.news}


# -- several nodes, and those that die


async def test_nodes_share_a_queue_and_nothing_is_done_twice(migrated_dsn: str, crew: Crew) -> None:
    async with Database.open(migrated_dsn) as one, Database.open(migrated_dsn) as two:
        async with living(one, crew.workers) as here, living(two, crew.workers) as there:
            for number in range(1, 101, 2):
                await here.send(job(number, f"key {number % 7}"))
                await there.send(job(number + 1, f"key {number % 7}"))
            await crew.until(100)
            await trio.sleep(0.1)
            for left in range(1, 8):
                of_key = [number for number in crew.done if (number - 1 + number % 2) % 7 == left % 7]
                assert of_key == sorted(of_key)
        assert sorted(crew.done) == list(range(1, 101))


async def test_what_a_killed_node_had_is_taken_over_by_the_next_one_at_once(migrated_dsn: str, crew: Crew) -> None:
    gate = crew.first[1] = Gate()
    long_lease = RelayLimits(net_seconds=3600.0, lease_seconds=3600.0)
    to = Ref(Kind.ORDER, UUID(int=100), CAFE)
    async with Database.open(migrated_dsn) as database:
        async with living(database, crew.workers, limits=long_lease) as life:
            await life.send(job(1))
            await until(lambda: gate.inside == 1)
        async with opened(database) as store:  # its messages never reach a relay
            await store.journal.commit(
                Commit(author=AUTHOR, version=0, sent=[Sent(new_id(), Message(to, ReturnUnapplied(1)), STAFF)])
            )
        await run(database, "UPDATE outbox SET next_at = now() + interval '1 hour'")
        assert await rows(database, "SELECT DISTINCT owner FROM outbox") == [(database.node,)]
    gate.opened.set()
    async with Database.open(migrated_dsn) as database, living(database, crew.workers, limits=long_lease) as life:
        await crew.until(1)
        await until(lambda: len(life.messages) == 1)


async def test_what_a_living_node_does_is_left_to_it(migrated_dsn: str, crew: Crew) -> None:
    gate = crew.first[1] = Gate()
    async with (
        Database.open(migrated_dsn) as one,
        Database.open(migrated_dsn) as two,
        living(one, crew.workers) as here,
    ):
        await here.send(job(1))
        await until(lambda: gate.inside == 1)
        async with living(two, crew.workers) as there:
            await there.send(job(2))
            await crew.until(1)
            await trio.sleep(0.3)
            assert crew.began == [1, 2]
            gate.opened.set()
            await crew.until(2)


async def test_a_node_that_dies_beside_others_is_missed_at_the_second_look(migrated_dsn: str) -> None:
    async with Database.open(migrated_dsn) as here:
        async with Database.open(migrated_dsn) as there, trio.open_nursery() as nursery:
            await nursery.start(Node(there).run)
            async with opened(there) as store:
                to = Ref(Kind.ORDER, UUID(int=100), CAFE)
                row = Sent(new_id(), Message(to, ReturnUnapplied(1)), STAFF)
                await store.journal.commit(Commit(author=AUTHOR, version=0, sent=[row]))
            witness = Node(here)
            assert [await witness.take_over(), await witness.take_over()] == [0, 0], "it lives"
            nursery.cancel_scope.cancel()
        assert [await witness.take_over(), await witness.take_over(), await witness.take_over()] == [0, 1, 0]
        assert await rows(here, "SELECT owner, next_at <= now() FROM outbox") == [(None, True)]


async def test_a_node_without_workers_leaves_jobs_to_others(migrated: Database, crew: Crew) -> None:
    async with living(migrated, {}) as life:
        (one,) = await life.send(job(1))
        assert await life.relay.delivered([one.id], 10), "there is nothing here to wait for"
        await trio.sleep(0.1)
        assert await resting(migrated) == [1]
    async with living(migrated, crew.workers):
        await crew.until(1)


# -- from elsewhere than a commit


async def test_a_job_may_come_with_somebody_elses_transaction(migrated: Database, crew: Crew) -> None:
    async with living(migrated, crew.workers) as life:

        async def fails(connection: Any) -> Sequence[Sent]:
            put = await insert(connection, [job(1)])
            raise ZeroDivisionError(put)

        with pytest.raises(ZeroDivisionError):
            await migrated.transact(fails)
        handed = await migrated.transact(lambda connection: insert(connection, [job(2), job(3)]))
        life.relay.hand_over(handed)
        assert await life.relay.delivered([one.id for one in handed], 10)
        assert sorted(crew.done) == [2, 3]
        await life.written(2)
        assert await finished(migrated) == {one.id for one in handed}


async def test_a_job_that_is_in_its_queue_is_not_put_there_again(migrated: Database, crew: Crew) -> None:
    known = new_id()
    async with living(migrated, {}) as life:
        for number in (1, 2):
            await life.send(job(number, id=known))
        put = await migrated.transact(lambda connection: insert(connection, [job(3, id=known)]))
        assert [one.id for one in put] == [known]
        assert await resting(migrated) == [1]
        assert await migrated.transact(lambda connection: insert(connection, [])) == []


# -- what operators see


async def test_dead_letters_are_listed_latest_first_by_cafe_and_replayed_by_their_own_cafe_only(
    migrated: Database, crew: Crew
) -> None:
    other = CafeId(UUID(int=2))
    for number in range(1, 5):
        crew.first[number] = raising(GiveUp(f"number {number}"))
    async with living(migrated, crew.workers) as life:
        for number in range(1, 5):
            (one,) = await life.send(job(number, cafe_id=other if number == 2 else CAFE))
            await life.relay.delivered([one.id], 10)
        everybody = await life.jobs.dead_letters()
        assert [letter.reason for letter in everybody] == [f"GiveUp: number {number}" for number in (4, 3, 2, 1)]
        ours = await life.jobs.dead_letters([CAFE], limit=2)
        assert [letter.id for letter in ours] == [everybody[0].id, everybody[1].id]
        assert [letter.id for letter in await life.jobs.dead_letters([CAFE], before=ours[-1].id)] == [everybody[3].id]
        assert not await life.jobs.replay(everybody[0].id, [other])
        assert [depth.dead for depth in await life.jobs.queues([other])] == [1]
        assert [(depth.queue, depth.dead) for depth in await life.jobs.queues()] == [("webhook-processing", 4)]


async def test_done_jobs_are_kept_for_as_long_as_their_queue_says(migrated: Database, crew: Crew) -> None:
    keeping = {**POLICIES, Queue.ORDERS: QueuePolicy(keep_done_s=60.0), Queue.PAYMENTS: QueuePolicy(keep_done_s=3600.0)}
    async with living(migrated, crew.workers, keeping) as life:
        first, second = await life.send(job(1, queue=Queue.ORDERS), job(2, queue=Queue.PAYMENTS))
        await life.relay.delivered([first.id, second.id], 10)
        await life.written(2)
    now = datetime.now(UTC)
    assert await forget_done_jobs(migrated, now) == 0
    assert await forget_done_jobs(migrated, now + timedelta(minutes=10)) == 1
    assert await finished(migrated) == {second.id}


async def test_what_is_over_is_written_down_together(migrated: Database, crew: Crew) -> None:
    gate = Gate()
    for number in range(1, 31):
        crew.first[number] = gate
    roomy, quiet = dict.fromkeys(Queue, QueuePolicy(at_once=30)), RelayLimits(net_seconds=3600.0)
    async with living(migrated, crew.workers, roomy, quiet) as life:
        await life.send(*(job(number) for number in range(1, 31)))
        await until(lambda: gate.inside == 30)
        before = migrated.stats().reads
        gate.opened.set()
        await until(lambda: life.relay.stats().queues[Queue.WEBHOOKS].done == 30)
        assert migrated.stats().reads - before < 15, "one after the other it would be thirty"


async def test_who_says_that_there_are_jobs_has_the_workers_look_and_nobody_else(
    migrated: Database, crew: Crew
) -> None:
    async with living(migrated, crew.workers, limits=RelayLimits(net_seconds=1000)) as life:
        await migrated.transact(lambda connection: insert(connection, [job(1)]))
        before = migrated.stats().transactions
        life.relay.wake_queues()
        await crew.until(1)
        await life.written(1)
        assert migrated.stats().transactions == before  # the net's claim is one


async def test_what_waits_is_told_with_how_long_the_oldest_of_it_could_have_been_done(
    migrated: Database, crew: Crew
) -> None:
    async with living(migrated, crew.workers, {}) as life:
        await migrated.transact(lambda connection: insert(connection, [job(1), job(2), job(3, delay_s=900.0)]))
        await run(migrated, "UPDATE outbox SET next_at = now() - interval '90 seconds' WHERE key = 'key 1'")
        (depth,) = await life.jobs.queues()
        assert (depth.queue, depth.waiting) == (Queue.WEBHOOKS, 3)
        assert 90 <= depth.oldest_due_s < 900
