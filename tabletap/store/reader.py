"""Questions answered from the projections and the log. Implements ``actors.ports.Reader``."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from tabletap.actors.ports import Answered, CafeEntry, Idempotency, Recorded
from tabletap.domain.access import Subject
from tabletap.domain.base import CafeId, OrderId, PaymentId
from tabletap.domain.drawer import DrawerView
from tabletap.domain.jobs import FlowState
from tabletap.domain.order import OrderView
from tabletap.domain.payment import PaymentView
from tabletap.store import codec, jobs_table
from tabletap.store.holdings import Holdings
from tabletap.store.pool import Connection, Database, Row
from tabletap.store.projections.order import WAITING

MOST: Final = 10_000
"""No list is longer, whatever was asked for; nor are the active orders of a cafe, none of which has so many."""

_ORDERS: Final = """
    SELECT orders.doc, place.queue_position, place.ready_at
    FROM orders LEFT JOIN order_places AS place ON place.order_id = orders.id
"""


class Reader:
    def __init__(self, database: Database) -> None:
        self._database = database
        self.holdings = Holdings(database)

    async def cafes(self) -> Sequence[CafeEntry]:
        """Every cafe of the installation, by name."""
        rows = await self._fetch("SELECT id, slug, name FROM cafes ORDER BY name, slug")
        return [CafeEntry(CafeId(id_), slug, name) for id_, slug, name in rows]

    async def order(self, order_id: OrderId) -> OrderView | None:
        rows = await self._fetch(f"{_ORDERS} WHERE orders.id = $1", order_id)
        return _order(rows[0]) if rows else None

    async def orders(
        self, cafe_id: CafeId, *, active: bool = False, before: OrderId | None = None, limit: int = 100
    ) -> Sequence[OrderView]:
        """Newest first; ``active``: only what is neither completed nor cancelled, oldest first. ``before``: paging."""
        conditions, arguments = ["orders.cafe_id = $1"], [cafe_id, min(max(limit, 0), MOST)]
        if active:
            conditions.append("orders.active")
        if before is not None:
            arguments.append(before)
            older = "SELECT business_day, number FROM orders WHERE id = $3 AND cafe_id = $1"
            conditions.append(f"(orders.business_day, orders.number) < ({older})")
        way = "ASC" if active else "DESC"
        rows = await self._fetch(
            f"{_ORDERS} WHERE {' AND '.join(conditions)} "
            f"ORDER BY orders.business_day {way}, orders.number {way} LIMIT $2",
            *arguments,
        )
        return [_order(row) for row in rows]

    async def orders_with_offset(self, cafe_id: CafeId) -> tuple[int, Sequence[OrderView]]:
        """The active orders (oldest first) and the offset of the log at which they were so."""
        rows = await self._fetch(  # one statement: both are of the same moment
            f"""WITH waiting AS ({_ORDERS} WHERE orders.cafe_id = $1 AND orders.active
                    ORDER BY orders.business_day, orders.number LIMIT {MOST})
                SELECT waiting.*, log.head
                FROM (SELECT coalesce(max("offset"), 0) AS head FROM events WHERE cafe_id = $1) AS log
                LEFT JOIN waiting ON true""",
            cafe_id,
        )
        return rows[0]["head"], [_order(row) for row in rows if row["doc"] is not None]

    async def unreleased(self, cafe_id: CafeId, sku: str) -> Sequence[OrderId]:
        """The living orders that contain ``sku`` and that the kitchen does not have, oldest first."""
        rows = await self._fetch(
            f"""SELECT id FROM orders
                WHERE cafe_id = $1 AND active AND doc ->> 'releasedAt' IS NULL
                  AND doc -> 'items' @> jsonb_build_array(jsonb_build_object('sku', $2::text))
                ORDER BY business_day, number LIMIT {MOST}""",
            cafe_id,
            sku,
        )
        return [row["id"] for row in rows]

    async def payment(self, payment_id: PaymentId) -> PaymentView | None:
        rows = await self._fetch("SELECT doc FROM payments WHERE id = $1", payment_id)
        return codec.payment_view(rows[0][0]) if rows else None

    async def payments(self, order_id: OrderId) -> Sequence[PaymentView]:
        """Every attempt to pay the order, oldest first."""
        query = f"SELECT doc FROM payments WHERE order_id = $1 ORDER BY initiated_at, id LIMIT {MOST}"
        return [codec.payment_view(doc) for (doc,) in await self._fetch(query, order_id)]

    async def drawers(self, cafe_id: CafeId) -> Sequence[DrawerView]:
        """The cafe's drawers that are open, oldest first."""
        query = f"SELECT doc FROM drawers WHERE cafe_id = $1 AND open ORDER BY opened_at, id LIMIT {MOST}"
        return [codec.drawer_view(doc) for (doc,) in await self._fetch(query, cafe_id)]

    async def subject(self, kind: str, ident: UUID) -> Subject | None:
        """Whose an ``order``, a ``payment`` or a ``flow`` is. A payment is its payer's, else that of the order's
        customer; a flow that has an order's name is that order's."""
        match kind:
            case "order":
                query = "SELECT cafe_id, id, customer_id FROM orders WHERE id = $1"
            case "payment":
                query = """SELECT payments.cafe_id, order_id, coalesce(payments.customer_id, orders.customer_id)
                           FROM payments LEFT JOIN orders ON orders.id = order_id WHERE payments.id = $1"""
            case "flow":
                flow = await self.flow(ident)
                return Subject(flow.cafe_id, OrderId(ident)) if flow else None
            case _:
                return None
        rows = await self._fetch(query, ident)
        return Subject(*rows[0]) if rows else None

    async def flow(self, flow: UUID) -> FlowState | None:
        """How far a flow of jobs is. None: there is none, or it is forgotten."""
        found = await self._database.read(lambda connection: jobs_table.flows(connection, [flow]))
        return found[0] if found else None

    async def log(self, cafe_id: CafeId, after: int, limit: int, order_id: OrderId | None = None) -> Sequence[Recorded]:
        """The cafe's events after an offset; ``order_id``: only those about it, or since it was placed about none."""
        limit = min(max(limit, 0), MOST)
        rest = 'ORDER BY "offset" LIMIT $3'
        select = f'SELECT {codec.RECORDED} FROM events WHERE cafe_id = $1 AND "offset" >'
        if order_id is None:
            rows = await self._fetch(f"{select} $2 {rest}", cafe_id, after, limit)
        else:
            # Nothing about no order (a queue that moved, a menu) concerns an order before it was placed.
            placed = 'SELECT min("offset") FROM events WHERE cafe_id = $1 AND order_id = $4'
            since = f"greatest($2, ({placed}))"
            about_it, about_none = (
                f"{select} $2 AND order_id = $4 {rest}",
                f"{select} {since} AND order_id IS NULL {rest}",
            )
            both = f"({about_it}) UNION ALL ({about_none}) {rest}"
            rows = await self._fetch(both, cafe_id, after, limit, order_id)
        return [codec.recorded(row) for row in rows]

    async def history(self, cafe_id: CafeId, order_ids: Collection[OrderId], before: int) -> Sequence[Recorded]:
        """All events about these orders below an offset, in their order."""
        rows = await self._fetch(
            f"""SELECT {codec.RECORDED} FROM events
                WHERE cafe_id = $1 AND order_id = ANY ($2) AND "offset" < $3 ORDER BY "offset" """,
            cafe_id,
            list(order_ids),
            before,
        )
        return [codec.recorded(row) for row in rows]

    async def head(self, cafe_id: CafeId) -> int:
        """The newest offset of the cafe's log (0: empty)."""
        rows = await self._fetch('SELECT coalesce(max("offset"), 0) FROM events WHERE cafe_id = $1', cafe_id)
        head: int = rows[0][0]
        return head

    async def answered(self, scope: str, key: UUID, now: datetime) -> Answered | None:
        """What was answered to a key that has not expired."""
        return next(iter(await self.answered_among(scope, [key], now)), None)

    async def answered_among(self, scope: str, keys: Sequence[UUID], now: datetime) -> Sequence[Answered]:
        """The same of some keys, in any order."""
        rows = await self._fetch(
            """SELECT key, request, ok, body, expires_at FROM idempotency
               WHERE scope = $1 AND key = ANY ($2::uuid[]) AND expires_at > $3""",
            scope,
            list(keys),
            now,
        )
        return [Answered(Idempotency(scope, key, request), ok, body, until) for key, request, ok, body, until in rows]

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[Row]:
        work: Callable[[Connection], Awaitable[Sequence[Row]]] = lambda connection: connection.fetch(query, *arguments)  # noqa: E731
        return await self._database.read(work)


def _order(row: Row) -> OrderView:
    """The view with the order's place in the queue laid over it, while it waits."""
    view = codec.order_view(row["doc"])
    if row["queue_position"] is None or view.status not in WAITING:
        return view
    return msgspec.structs.replace(view, queue_position=row["queue_position"], estimated_ready_at=row["ready_at"])
