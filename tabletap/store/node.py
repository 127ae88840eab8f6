"""Whether a node lives, as the others can see it: what a killed one had leased is taken over at once.

A node holds an advisory lock of its number, shared among its own relays, on a connection of its own that does nothing
else. When the process is killed its connection ends, and the lock with it. Where the network only falls silent, the
leases run out as they always did.
"""

import asyncio
import logging
from typing import Final

import trio

from tabletap.store.pool import Connection, Database, DatabaseDown, Retry

_log = logging.getLogger(__name__)

LOCKS: Final = 0x7AB1E0DE  # the first half of the lock's key; the number of the node is the second
LOOK_S: Final = 1.0
"""How often the connection of the lock is looked at."""

_LIVING: Final = f"""
    SELECT objid::int8 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND classid::int8 = {LOCKS} AND objsubid = 2 AND granted
        AND datname = current_database()
"""
_RELEASE: Final = "UPDATE outbox SET owner = NULL, next_at = now() WHERE owner = ANY ($1::int4[]) AND next_at > now()"


class Node:
    """``run()`` in a task: started, the node counts among the living."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._missing: frozenset[int] = frozenset()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the lock until cancelled, anew when its connection was lost."""
        held = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hold, held)
            await held.wait()
            task_status.started()

    async def _hold(self, held: trio.Event) -> None:
        async def work(connection: Connection) -> None:  # on the asyncio side
            await connection.execute("SELECT pg_advisory_lock_shared($1, $2)", LOCKS, self._database.node)
            held.set()
            while True:
                await asyncio.sleep(LOOK_S)
                await connection.execute("SELECT 1")

        while True:
            try:
                await self._database.session(work)
            except (DatabaseDown, Retry) as trouble:
                _log.info("this node cannot be seen by others: %s", trouble)
            await trio.sleep(LOOK_S)

    async def take_over(self, *, at_once: bool = False) -> int:
        """Release what dead nodes have leased; how many rows. Raises ``DatabaseDown`` or ``Retry``.

        A node counts as dead when it was missing at two looks in a row: after a restart of Postgres all of them are for
        a moment. ``at_once``: one look is enough (a node that has just come is no witness of such a restart).
        """
        owners, living = await self._database.read(_look)
        missing = frozenset(owners - living - {self._database.node})
        dead = missing if at_once else missing & self._missing
        self._missing = missing
        if not dead:
            return 0
        status = await self._database.transact(lambda connection: connection.execute(_RELEASE, list(dead)))
        released = int(status.removeprefix("UPDATE "))
        _log.info("took over %d rows of the outbox from %d nodes", released, len(dead))
        return released


async def _look(connection: Connection) -> tuple[set[int], set[int]]:
    """Who has leased something, and who lives: asked in this order, so that a newcomer's rows are not taken."""
    owners = await connection.fetch("SELECT DISTINCT owner FROM outbox WHERE owner IS NOT NULL AND next_at > now()")
    living = await connection.fetch(_LIVING) if owners else ()
    return {row[0] for row in owners}, {row[0] for row in living}
