"""Jobs as everybody but their workers sees them: put into a queue, listed, replayed, forgotten when they are old.

An actor's jobs are rows of its commit. Whoever has no commit of an actor puts them in by ``insert``, within a
transaction of their own: a message to an endpoint and its job are both there or neither is. Then the relay is told, or
its next look at the table finds them.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from tabletap.actors.ports import Sent
from tabletap.domain.base import SYSTEM, By, CafeId, Job
from tabletap.domain.jobs import DeadLetter, QueueDepth
from tabletap.store import jobs_table
from tabletap.store.batch import Batch
from tabletap.store.outbox import Relay
from tabletap.store.outbox_table import OutboxTable
from tabletap.store.pending import outbox_rows
from tabletap.store.pool import Connection, Database
from tabletap.store.tables import LEASE_SECONDS

MOST: Final = 500
"""No list of dead letters is longer."""

_DEAD: Final = """
    SELECT id, destination, key, cafe_id, message->>'type', attempts, coalesce(last_error, ''), created_at, died_at,
        parent, flow
    FROM outbox_dead WHERE ($1::uuid[] IS NULL OR cafe_id = ANY ($1))
        AND ($2::uuid IS NULL OR (died_at, id) < (SELECT died_at, id FROM outbox_dead WHERE id = $2))
    ORDER BY died_at DESC, id DESC LIMIT $3
"""


async def insert(connection: Connection, jobs: Sequence[Job], by: By = SYSTEM) -> Sequence[Sent]:
    """Put jobs into their queues with the transaction of ``connection``: one statement.

    Hand the answer over to the relay (``hand_over``) when the transaction has been committed, and only then. A job
    whose ``id`` is in a queue already is left as it is.
    """
    sent = [Sent(job.id or uuid7(), job, by) for job in jobs]
    batch = Batch()
    for change, id_, row in outbox_rows(sent, node=0):  # a job is nobody's until it is taken
        batch.put(change, id_, row)
    statement, arguments = batch.statement()
    if statement:
        await connection.execute(statement, *arguments)
    return sent


async def forget_done(connection: Connection, now: datetime, limit: int) -> int:
    """Delete up to so many jobs that were kept long enough; how many."""
    status = await connection.execute(
        """DELETE FROM jobs_done WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM jobs_done WHERE keep_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))""",
        now,
        limit,
    )
    return int(status.removeprefix("DELETE "))


class Jobs:
    """Implements ``actors.ports.JobBoard``. Every method raises ``DatabaseDown`` or ``Retry``.

    ``relay`` None: of another process, whose next look at the table finds what was done here.
    """

    def __init__(self, database: Database, relay: Relay | None = None) -> None:
        self._database = database
        self._table = OutboxTable(database, LEASE_SECONDS)
        self._relay = relay

    async def queues(self, cafes: Collection[CafeId] | None = None) -> Sequence[QueueDepth]:
        """What is in each queue; ``cafes`` None: of all cafes."""
        return await self._database.read(lambda connection: jobs_table.depths(connection, cafes))

    async def dead_letters(
        self, cafes: Collection[CafeId] | None = None, *, before: UUID | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """What was given up, the latest first. ``before``: paging."""
        rows = await self._database.read(
            lambda connection: connection.fetch(_DEAD, cafes, before, min(max(limit, 0), MOST))
        )
        return [_dead_letter(*row) for row in rows]

    async def replay(self, id_: UUID, cafes: Collection[CafeId] | None = None) -> bool:
        """Try it again from the beginning, behind what waits for the same receiver. False: there is none such."""
        risen = await self._table.replay(id_, cafes)
        if risen and self._relay is not None:
            self._relay.wake()
        return risen


def _dead_letter(
    id_: UUID,
    queue: str,
    key: str,
    cafe_id: UUID,
    what: str | None,
    attempts: int,
    reason: str,
    created_at: datetime,
    died_at: datetime,
    parent: UUID | None,
    flow: UUID | None,
) -> DeadLetter:
    return DeadLetter(
        id=id_,
        queue=queue,
        key=key,
        cafe_id=CafeId(cafe_id),
        what=what or "",
        attempts=attempts,
        reason=reason,
        created_at=created_at,
        died_at=died_at,
        parent=parent,
        flow=flow,
    )
