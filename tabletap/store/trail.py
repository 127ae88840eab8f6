"""What has happened to an order and its payments, from the log. Implements ``audit_ports.Trail``."""

from collections.abc import Sequence

from tabletap.actors.ports import Recorded
from tabletap.domain.base import CafeId, OrderId
from tabletap.store import codec
from tabletap.store.pool import Database


class Trail:
    """Whoever asks bounds what is read by ``limit``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def events(self, cafe_id: CafeId, order_id: OrderId, after: int, limit: int) -> Sequence[Recorded]:
        """An event about a payment is about its order too: the log says so."""
        rows = await self._database.read(
            lambda connection: connection.fetch(
                f"""SELECT {codec.RECORDED} FROM events WHERE cafe_id = $1 AND order_id = $2 AND "offset" > $3
                    ORDER BY "offset" LIMIT $4""",
                *(cafe_id, order_id, after, limit),
            )
        )
        return [codec.recorded(row) for row in rows]
