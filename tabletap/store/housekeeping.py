"""What has served its time goes: idempotency records past their expiry, a bounded number at a time."""

from typing import Final

import structlog
import trio

from tabletap.store.pool import Connection, Database, DatabaseDown, Retry

log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0
AT_ONCE: Final = 5_000


class Housekeeper:
    """``run()`` in a task. Several nodes may keep house at once."""

    def __init__(self, database: Database, *, every_s: float = EVERY_S) -> None:
        self._database = database
        self._every_s = every_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await trio.sleep(self._every_s)
            try:
                while await self.sweep() == AT_ONCE:
                    await trio.lowlevel.checkpoint()
            except (DatabaseDown, Retry):
                log.info("housekeeping_waits")

    async def sweep(self) -> int:
        """Drop expired records; how many went."""

        async def work(connection: Connection) -> int:
            gone = await connection.execute(
                """DELETE FROM idempotency WHERE (scope, key) IN (
                       SELECT scope, key FROM idempotency WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)""",
                AT_ONCE,
            )
            return int(gone.rpartition(" ")[2])

        return await self._database.transact(work)
