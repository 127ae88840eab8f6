"""The table of messages that wait for their receivers, as the relay uses it.

``next_at`` of a row says until when it is somebody's to deliver: its writer's at first, then whoever's net claimed it.
``owner`` is the node that it is then. Jobs rest in the same table (``jobs_table``).
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from tabletap.actors.ports import Sent
from tabletap.domain.base import CafeId
from tabletap.store import codec
from tabletap.store.pending import TO_ACTORS
from tabletap.store.pool import Connection, Database

CLAIM_LOCK: Final = 0x7AB1E0B0  # one node claims at a time, or two could share one receiver's messages

Key = tuple[str, str]
"""A receiver: destination and key. Its messages keep their order."""

_BOTH: Final = "id, cafe_id, destination, key, kind, entity_id, message, by, priority, parent, flow"
"""What a row keeps in either table."""

# A receiver's messages are taken from the first one on: not past one that somebody else delivers or that waits.
_CLAIM: Final = f"""
    WITH due AS (
        SELECT id FROM outbox AS one
        WHERE destination = '{TO_ACTORS}' AND next_at <= now() AND NOT EXISTS (
            SELECT FROM outbox AS earlier
            WHERE earlier.destination = one.destination AND earlier.key = one.key AND earlier.seq < one.seq
              AND earlier.next_at > now())
        ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE outbox SET next_at = now() + make_interval(secs => $2), owner = $3 FROM due WHERE outbox.id = due.id
        RETURNING {", ".join(f"outbox.{column.strip()}" for column in codec.SENT.split(","))},
            outbox.destination, outbox.key, outbox.attempts, outbox.seq
    )
    SELECT * FROM claimed ORDER BY seq
"""


class Claimed(NamedTuple):
    """A message that is ours to deliver now; ``attempts``: so many failed."""

    key: Key
    sent: Sent
    attempts: int


class OutboxTable:
    """Every method raises ``DatabaseDown`` or ``Retry``, and may be called again then."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    async def last_of_each(self, limit: int) -> Sequence[tuple[Key, UUID]]:
        """Every receiver that messages wait for, and the last one of them."""
        rows = await self._database.read(
            lambda connection: connection.fetch(
                f"""SELECT DISTINCT ON (destination, key) destination, key, id FROM outbox
                    WHERE destination = '{TO_ACTORS}' ORDER BY destination, key, seq DESC LIMIT $1""",
                limit,
            )
        )
        return [((destination, key), id_) for destination, key, id_ in rows]

    async def claim(self, limit: int) -> Sequence[Claimed]:
        """Take messages that nobody delivers, in their order."""

        async def work(connection: Connection) -> Sequence[Claimed]:
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", CLAIM_LOCK):
                return ()
            rows = await connection.fetch(_CLAIM, limit, self._lease_seconds, self._database.node)
            return [Claimed((row["destination"], row["key"]), codec.sent(row), row["attempts"]) for row in rows]

        return await self._database.transact(work)

    async def keep(self, ids: Sequence[UUID]) -> None:
        """Claim what is ours for longer."""
        await self._execute(
            """UPDATE outbox SET next_at = now() + make_interval(secs => $2)
               WHERE id = ANY ($1::uuid[]) AND next_at < now() + make_interval(secs => $2 / 2) AND owner = $3""",
            *(ids, self._lease_seconds, self._database.node),
        )

    async def note_failure(self, id_: UUID, attempts: int, words: str) -> None:
        await self._execute(
            """UPDATE outbox SET attempts = $2, last_error = $3, next_at = now() + make_interval(secs => $4), owner = $5
               WHERE id = $1""",
            *(id_, attempts, words, self._lease_seconds, self._database.node),
        )

    async def set_aside(self, id_: UUID, attempts: int, words: str) -> None:
        """No further attempt at it, until it is replayed."""
        await self._execute(
            f"""WITH gone AS (DELETE FROM outbox WHERE id = $1 RETURNING *)
                INSERT INTO outbox_dead ({_BOTH}, attempts, last_error, created_at)
                SELECT {_BOTH}, $2, $3, created_at FROM gone ON CONFLICT (id) DO NOTHING""",
            *(id_, attempts, words),
        )

    async def replay(self, id_: UUID, cafes: Collection[CafeId] | None = None) -> bool:
        """Put what was set aside at the end of its receiver's line; whether it was there (``cafes``: and is theirs)."""
        status = await self._execute(
            f"""WITH risen AS (
                    DELETE FROM outbox_dead WHERE id = $1 AND ($2::uuid[] IS NULL OR cafe_id = ANY ($2)) RETURNING *)
                INSERT INTO outbox ({_BOTH}, created_at, next_at) SELECT {_BOTH}, created_at, now() FROM risen""",
            *(id_, cafes),
        )
        return status.endswith(" 1")

    async def _execute(self, statement: str, *arguments: object) -> str:
        """One statement, which is a transaction of its own."""
        return await self._database.read(lambda connection: connection.execute(statement, *arguments))


def in_words(failure: Exception) -> str:
    """As a row keeps it."""
    return f"{type(failure).__name__}: {failure}"[:1000].replace("\0", " ")
