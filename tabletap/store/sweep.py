"""Removes what has outlived its purpose. Nothing here may change an answer: expired is expired, removed or not."""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import structlog
import trio

from tabletap.store.jobs import forget_done
from tabletap.store.pool import Database, DatabaseDown, Retry
from tabletap.store.revocations import forget_revocations
from tabletap.store.till_book import forget_lines
from tabletap.store.till_keys import forget_keys

log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0

PAGE: Final = 5_000
"""Rows removed at once: a long delete would hold back vacuum and stand in the way of a shutdown."""


class Kept(NamedTuple):
    """For how long: keys of tills that were revoked, and the log of what passes between tills and us."""

    revoked_keys: timedelta
    till_lines: timedelta


async def forget_expired_answers(database: Database, now: datetime) -> int:
    """Delete idempotency records that have expired at ``now``; how many. To be called every few minutes."""
    removed = 0
    while True:
        status = await database.transact(
            lambda connection: connection.execute(
                """DELETE FROM idempotency WHERE ctid = ANY (ARRAY(
                       SELECT ctid FROM idempotency WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))""",
                now,
                PAGE,
            )
        )
        count = int(status.removeprefix("DELETE "))
        removed += count
        if count < PAGE:
            return removed


async def forget_done_jobs(database: Database, now: datetime) -> int:
    """Delete finished jobs that were kept for as long as their queue says; how many."""
    removed = 0
    while True:
        count = await database.transact(lambda connection: forget_done(connection, now, PAGE))
        removed += count
        if count < PAGE:
            return removed


async def sweep(database: Database, now: datetime, kept: Kept) -> None:
    """Remove it all, once."""
    await forget_expired_answers(database, now)
    await forget_done_jobs(database, now)
    await database.transact(lambda connection: forget_revocations(connection, now))
    await database.transact(lambda connection: forget_keys(connection, now - kept.revoked_keys))
    while await database.transact(lambda connection: forget_lines(connection, now - kept.till_lines, PAGE)) == PAGE:
        pass


async def keep_sweeping(database: Database, kept: Kept) -> None:
    """Until cancelled. Several nodes may sweep at once."""
    while True:
        await trio.sleep(EVERY_S)
        try:
            await sweep(database, datetime.now(UTC), kept)
        except (DatabaseDown, Retry) as trouble:
            log.info("sweep_waits", trouble=str(trouble))
