"""The jobs of the outbox, as the queues use them: the table decides what comes next, nobody's memory.

A job is due when its time has come (``next_at``), nothing of its key is before it, and all its children are done. A
child that was given up holds its parent until it is replayed. A job that is being done is leased like any other row.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from tabletap.actors.ports import Sent
from tabletap.domain.base import CafeId, Job
from tabletap.domain.jobs import FlowState, QueueDepth
from tabletap.domain.vocabulary import Queue
from tabletap.store import codec
from tabletap.store.outbox_table import OutboxTable
from tabletap.store.pending import TO_ACTORS
from tabletap.store.pool import Connection, Database, Row

_IS_JOB: Final = f"destination <> '{TO_ACTORS}'"

HAS_CHILDREN: Final = """(EXISTS (SELECT FROM outbox AS child WHERE child.parent = one.id)
        OR EXISTS (SELECT FROM outbox_dead AS child WHERE child.parent = one.id))"""
"""Whether ``one`` is a parent that has to wait."""

# Only the first of a key is ever taken, so that two nodes may take at once without a lock between them. A parent that
# is before its own child in the order of a key does not hold it up.
_TAKE: Final = f"""
    WITH due AS (
        SELECT picked.id
        FROM unnest($1::text[], $2::int4[]) AS queue (name, room) CROSS JOIN LATERAL (
            SELECT id FROM outbox AS one
            WHERE destination = queue.name AND {_IS_JOB} AND next_at <= now() AND NOT {HAS_CHILDREN}
                AND NOT EXISTS (
                    SELECT FROM outbox AS earlier
                    WHERE earlier.destination = one.destination AND earlier.{_IS_JOB} AND earlier.key = one.key
                        AND earlier.seq < one.seq AND earlier.id IS DISTINCT FROM one.parent)
            ORDER BY priority DESC, seq LIMIT queue.room FOR UPDATE SKIP LOCKED
        ) AS picked
    ), taken AS (
        UPDATE outbox SET next_at = now() + make_interval(secs => $3), owner = $4 FROM due WHERE outbox.id = due.id
        RETURNING {", ".join(f"outbox.{column.strip()}" for column in codec.JOB.split(","))},
            outbox.attempts, now() AS started_at, outbox.seq
    )
    SELECT taken.*, rest.seconds
    FROM (SELECT extract(epoch FROM min(next_at) - now())::float8 AS seconds
          FROM outbox WHERE {_IS_JOB} AND next_at > now()) AS rest
    LEFT JOIN taken ON true ORDER BY taken.priority DESC, taken.seq
"""

_FINISH: Final = f"""
    WITH done AS (
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::uuid[],
            $8::int4[], $9::timestamptz[], $10::float8[])
            AS done (id, cafe_id, queue, key, task, parent, flow, attempts, started_at, keep_s)
    ), gone AS (
        DELETE FROM outbox USING done WHERE outbox.id = done.id AND {_IS_JOB} RETURNING outbox.id, outbox.created_at
    )
    INSERT INTO jobs_done (id, cafe_id, queue, key, task, parent, flow, attempts, created_at, started_at, finished_at,
        keep_until)
    SELECT done.id, cafe_id, queue, key, task, parent, flow, attempts, coalesce(created_at, started_at), started_at,
        now(), now() + make_interval(secs => keep_s)
    FROM done LEFT JOIN gone ON gone.id = done.id
    ON CONFLICT (id) DO NOTHING
"""

_FLOWS: Final = """
    SELECT flow, (array_agg(cafe_id))[1], count(*), count(*) FILTER (WHERE state = 'done'),
        count(*) FILTER (WHERE state = 'dead')
    FROM (SELECT flow, cafe_id, 'waiting' AS state FROM outbox WHERE flow = ANY ($1::uuid[])
          UNION ALL SELECT flow, cafe_id, 'dead' FROM outbox_dead WHERE flow = ANY ($1::uuid[])
          UNION ALL SELECT flow, cafe_id, 'done' FROM jobs_done WHERE flow = ANY ($1::uuid[])) AS jobs
    GROUP BY flow
"""

_DEPTHS: Final = f"""
    SELECT queue, count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'held'),
        count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'done'),
        count(*) FILTER (WHERE state = 'dead'),
        coalesce(extract(epoch FROM max(now() - next_at) FILTER (WHERE state = 'waiting' AND next_at <= now())), 0)
            ::float8
    FROM (SELECT destination AS queue, next_at, CASE WHEN owner IS NOT NULL AND next_at > now() THEN 'running'
                  WHEN {HAS_CHILDREN} THEN 'held' ELSE 'waiting' END AS state
          FROM outbox AS one WHERE {{of}}
          UNION ALL SELECT destination, NULL, 'dead' FROM outbox_dead WHERE {{of}} {{kept}}) AS jobs
    GROUP BY queue ORDER BY queue
"""
_DEPTHS_OF_JOBS: Final = _DEPTHS.format(of=_IS_JOB, kept="")
_DEPTHS_OF_ALL: Final = _DEPTHS.format(
    of="($1::uuid[] IS NULL OR cafe_id = ANY ($1))",
    kept="UNION ALL SELECT queue, NULL, 'done' FROM jobs_done WHERE ($1::uuid[] IS NULL OR cafe_id = ANY ($1))",
)


class Taken:
    """A job that is ours to do now. ``attempts``: so many failed. It is read by whoever does it: a job that this
    version cannot read is a failure of its own, and of no other."""

    __slots__ = ("attempts", "id", "queue", "row", "started_at")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.id: UUID = row["id"]
        self.queue = Queue(row["destination"])
        self.attempts: int = row["attempts"]
        self.started_at: datetime = row["started_at"]

    def read(self) -> Sent:
        """Raises ``msgspec.ValidationError``."""
        return codec.job(self.row)


class Finished(NamedTuple):
    """A job that has been done; ``keep_s``: how long to remember it."""

    sent: Sent
    what: str
    attempts: int
    started_at: datetime
    keep_s: float


class JobsTable:
    """Every method raises ``DatabaseDown`` or ``Retry``, and may be called again then."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._outbox = OutboxTable(database, lease_seconds)

    async def take(self, room: Mapping[Queue, int]) -> tuple[Sequence[Taken], float | None]:
        """Lease at most so many jobs of each queue that are due, and in how many seconds the next one may be."""
        queues, rooms = [queue.value for queue in room], list(room.values())
        rows = await self._database.read(
            lambda connection: connection.fetch(_TAKE, queues, rooms, self._lease_seconds, self._database.node)
        )
        return [Taken(row) for row in rows if row["id"] is not None], rows[0]["seconds"]

    async def keep(self, ids: Sequence[UUID]) -> None:
        """Lease what is ours for longer."""
        await self._outbox.keep(ids)

    async def postpone(self, id_: UUID, attempts: int, words: str, seconds: float) -> None:
        """Let it rest in the table; then it is anybody's."""
        await self._execute(
            """UPDATE outbox SET owner = NULL, attempts = $2, last_error = $3,
                   next_at = now() + make_interval(secs => $4)
               WHERE id = $1 AND owner = $5""",
            *(id_, attempts, words, seconds, self._database.node),
        )

    async def set_aside(self, id_: UUID, attempts: int, words: str) -> None:
        """Give it up, until it is replayed."""
        await self._outbox.set_aside(id_, attempts, words)

    async def finish(self, finished: Sequence[Finished]) -> None:
        """They are done, whether or not the commits of their effects have consumed them already."""
        rows = []
        for sent, what, attempts, started_at, keep_s in finished:
            job = sent.message
            assert isinstance(job, Job)
            about = (job.cafe_id, job.queue.value, job.key, what, job.parent, job.flow)
            rows.append((sent.id, *about, attempts, started_at, keep_s))
        await self._execute(_FINISH, *(list(column) for column in zip(*rows, strict=True)))

    async def depths(self) -> Sequence[QueueDepth]:
        """What is in the queues, without what is done."""
        return await self._database.read(lambda connection: _depths(connection, _DEPTHS_OF_JOBS))

    async def flows(self, ids: Collection[UUID]) -> Sequence[FlowState]:
        """How far these flows are."""
        return await self._database.read(lambda connection: flows(connection, ids))

    async def freed(self, parents: Collection[UUID]) -> set[UUID]:
        """Which of these parents have no child left that is not done."""
        rows = await self._database.read(
            lambda connection: connection.fetch(
                f"SELECT id FROM unnest($1::uuid[]) AS one (id) WHERE NOT {HAS_CHILDREN}", list(parents)
            )
        )
        return {row[0] for row in rows}

    async def _execute(self, statement: str, *arguments: object) -> None:
        """One statement, which is a transaction of its own."""
        await self._database.read(lambda connection: connection.execute(statement, *arguments))


async def flows(connection: Connection, ids: Collection[UUID]) -> Sequence[FlowState]:
    """How far these flows are; those that are unknown are left out."""
    return [
        FlowState(flow_id=flow, cafe_id=CafeId(cafe_id), total=total, done=done, dead=dead)
        for flow, cafe_id, total, done, dead in await connection.fetch(_FLOWS, list(ids))
    ]


async def depths(connection: Connection, cafes: Collection[CafeId] | None) -> Sequence[QueueDepth]:
    """What is in the queues (and in that of messages between entities); ``cafes`` None: of all cafes."""
    return await _depths(connection, _DEPTHS_OF_ALL, cafes)


async def _depths(connection: Connection, query: str, *arguments: Collection[CafeId] | None) -> Sequence[QueueDepth]:
    return [
        QueueDepth(
            queue=queue, waiting=waiting, held=held, running=running, done=done, dead=dead, oldest_due_s=oldest_due_s
        )
        for queue, waiting, held, running, done, dead, oldest_due_s in await connection.fetch(query, *arguments)
    ]
