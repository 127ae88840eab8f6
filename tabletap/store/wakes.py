"""The table of next wake times, as the waker reads it. Actors are addressed by the ``Ref`` of their entity."""

from collections.abc import Sequence
from datetime import datetime

from tabletap.actors.runtime import Address
from tabletap.domain.base import CafeId, Kind, Ref
from tabletap.store.pool import Connection, Database


class WakeTable:
    """Implements ``actors.runtime.WakeSource``. Rows are written by the commits of their entities."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def upcoming(self, until: datetime, limit: int) -> Sequence[tuple[Address, datetime]]:
        """Wake times up to and including ``until``, overdue ones too, earliest first, at most ``limit``."""

        async def work(connection: Connection) -> list[tuple[Address, datetime]]:
            rows = await connection.fetch(
                "SELECT kind, entity_id, cafe_id, wake_at FROM wakes WHERE wake_at <= $1 ORDER BY wake_at LIMIT $2",
                until,
                limit,
            )
            return [(Address(kind, Ref(Kind(kind), id_, CafeId(cafe_id))), at) for kind, id_, cafe_id, at in rows]

        return await self._database.read(work)
