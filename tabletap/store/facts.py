"""The facts that reports are counted from, as SQL adds them up: ``domain.daycount.Facts`` of a stretch of a log.

To be read in one snapshot. A stretch is given by offsets, so the same one is the same facts for ever: all that is
joined to the entries (an order's channel, a payment's way) never changes, and balances of then are those of now less
what came after.
"""

from typing import Final

from tabletap.domain.base import CafeId
from tabletap.domain.daycount import CARRIED, DrawerCount, Fact, Facts, Hour, Sold
from tabletap.domain.settings import CafeSettings
from tabletap.domain.vocabulary import Channel, Method
from tabletap.store.pool import Connection, Row

ITEMS_AT_MOST: Final = 50

_STRETCH: Final = 'cafe_id = $1 AND "offset" > $2 AND "offset" <= $3'

_ACCOUNT: Final = """CASE WHEN account LIKE 'credit:%' THEN 'credit' WHEN account LIKE 'gift:%' THEN 'gift'
                          WHEN account LIKE 'tips:%' THEN 'tips_owed' ELSE account END"""

_ENTRIES: Final = f"""
    SELECT event.type, {_ACCOUNT} AS account, sum(entry.amount)::bigint, count(*)::integer,
           CASE WHEN refunds."to" = 'credit' THEN 'customer_credit' ELSE payments.method END AS way, orders.channel,
           event.type = 'order.merge_undone' OR event.data ? 'absorbed' OR event.data ? 'merged_into' AS moved
    FROM ledger_entries AS entry
    JOIN events AS event ON event.cafe_id = entry.cafe_id AND event."offset" = entry."offset"
    LEFT JOIN payments ON payments.id = entry.payment_id
    LEFT JOIN orders ON orders.id = entry.order_id
    LEFT JOIN refunds ON event.type LIKE 'payment.refund\\_%' AND refunds.id = (event.data ->> 'refund_id')::uuid
    WHERE entry.cafe_id = $1 AND entry."offset" > $2 AND entry."offset" <= $3 AND entry.currency = $4
    GROUP BY 1, 2, 5, 6, 7 ORDER BY 1, 2, 5, 6, 7
"""

_BALANCES: Final = f"""
    SELECT name, sum(now)::bigint - sum(since)::bigint, sum(now)::bigint - sum(later)::bigint FROM (
        SELECT {_ACCOUNT} AS name, balance AS now, 0 AS since, 0 AS later
        FROM ledger_balances WHERE cafe_id = $1 AND currency = $4
        UNION ALL
        SELECT {_ACCOUNT}, 0, amount, CASE WHEN "offset" > $3 THEN amount ELSE 0 END
        FROM ledger_entries WHERE cafe_id = $1 AND "offset" > $2 AND currency = $4
    ) AS moved WHERE name = ANY ($5) GROUP BY name
"""

_ORDERS: Final = f"""
    SELECT count(*) FILTER (WHERE type = 'order.placed')::integer,
           (count(*) FILTER (WHERE type = 'order.cancelled')
            - count(*) FILTER (WHERE type = 'order.merge_undone'))::integer
    FROM events WHERE {_STRETCH} AND type IN ('order.placed', 'order.cancelled', 'order.merge_undone')
"""

_HOURS: Final = f"""
    WITH spoken AS (SELECT type, order_id, "offset", at FROM events
                    WHERE {_STRETCH} AND type IN ('order.placed', 'order.cancelled', 'order.merge_undone')),
         gone AS (SELECT order_id FROM spoken WHERE type <> 'order.placed' GROUP BY order_id
                  HAVING count(*) FILTER (WHERE type = 'order.cancelled')
                       > count(*) FILTER (WHERE type = 'order.merge_undone'))
    SELECT extract(hour FROM placed.at AT TIME ZONE $4)::integer, count(*)::integer,
           coalesce(sum(entry.amount), 0)::bigint
    FROM spoken AS placed LEFT JOIN ledger_entries AS entry
        ON entry.cafe_id = $1 AND entry."offset" = placed."offset" AND entry.account = 'receivable'
    WHERE placed.type = 'order.placed' AND NOT EXISTS (SELECT FROM gone WHERE gone.order_id = placed.order_id)
    GROUP BY 1 ORDER BY 1
"""

_ITEMS: Final = f"""
    WITH spoken AS (SELECT type, order_id, data FROM events WHERE {_STRETCH}
                        AND type IN ('order.placed', 'order.changed', 'order.item_voided', 'order.cancelled')),
         lines AS (SELECT order_id, line FROM spoken, jsonb_array_elements(
                       coalesce(CASE type WHEN 'order.placed' THEN data -> 'lines' ELSE data -> 'added' END, '[]')
                   ) AS line
                   WHERE type IN ('order.placed', 'order.changed') AND NOT data ? 'absorbed' AND NOT line ? 'gift')
    SELECT line ->> 'sku', max(line ->> 'name'), sum((line ->> 'quantity')::integer)::integer,
           sum((line ->> 'total')::bigint)::bigint
    FROM lines WHERE NOT EXISTS (
        SELECT FROM spoken WHERE spoken.order_id = lines.order_id
            AND (spoken.type = 'order.cancelled' AND NOT spoken.data ? 'merged_into'
                 OR spoken.type = 'order.item_voided' AND spoken.data -> 'line' = line -> 'line'))
    GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT {ITEMS_AT_MOST}
"""

# Those that something happened to, and those that are open: of what was in them before, their own events tell.
_DRAWERS: Final = f"""
    WITH concerned AS (SELECT entity_id AS id FROM events WHERE {_STRETCH} AND kind = 'drawer'
                       UNION SELECT id FROM drawers WHERE cafe_id = $1 AND open),
         moves AS (SELECT event.entity_id AS id, event.type, event."offset" <= $2 AS earlier, event.data,
                          coalesce(event.data ->> 'float_amount', event.data ->> 'amount',
                                   event.data ->> 'difference')::bigint AS amount
                   FROM events AS event JOIN concerned ON concerned.id = event.entity_id
                   WHERE event.cafe_id = $1 AND event."offset" <= $3)
    SELECT drawers.id, drawers.name,
           coalesce(sum(amount) FILTER (WHERE earlier), 0)::bigint AS carried,
           coalesce(sum(amount) FILTER (WHERE NOT earlier AND type = 'drawer.opened'), 0)::bigint,
           coalesce(sum(amount) FILTER (WHERE NOT earlier AND type = 'drawer.cash_taken' AND amount > 0), 0)::bigint,
           coalesce(-sum(amount) FILTER (WHERE NOT earlier AND type = 'drawer.cash_taken' AND amount < 0), 0)::bigint,
           coalesce(sum(amount) FILTER (WHERE NOT earlier AND type = 'drawer.moved' AND amount > 0), 0)::bigint,
           coalesce(-sum(amount) FILTER (WHERE NOT earlier AND type = 'drawer.moved' AND amount < 0), 0)::bigint,
           max((data ->> 'counted')::bigint) FILTER (WHERE NOT earlier),
           sum(amount) FILTER (WHERE NOT earlier AND type = 'drawer.closed')::bigint
    FROM moves JOIN drawers USING (id) GROUP BY drawers.id ORDER BY drawers.opened_at, drawers.id
"""


async def read(connection: Connection, cafe_id: CafeId, after: int, upto: int, settings: CafeSettings) -> Facts:
    """The facts of the log after one offset, up to and with another; hours are those of the cafe."""
    stretch = (cafe_id, after, upto)
    entries = await connection.fetch(_ENTRIES, *stretch, settings.currency)
    balances = await connection.fetch(_BALANCES, *stretch, settings.currency, list(CARRIED))
    orders = await connection.fetchrow(_ORDERS, *stretch)
    hours = await connection.fetch(_HOURS, *stretch, settings.timezone)
    items = await connection.fetch(_ITEMS, *stretch)
    drawers = await connection.fetch(_DRAWERS, *stretch)
    assert orders is not None
    return Facts(
        currency=settings.currency,
        entries=tuple(_fact(row) for row in entries),
        before={name: before for name, before, _ in balances},
        after={name: after for name, _, after in balances},
        placed=orders[0],
        cancelled=orders[1],
        hours=tuple(Hour(*row) for row in hours),
        items=tuple(Sold(*row) for row in items),
        drawers=tuple(_drawer(row) for row in drawers),
    )


def _fact(row: Row) -> Fact:
    event, account, amount, entries, way, channel, moved = row
    return Fact(
        event=event,
        account=account,
        amount=amount,
        entries=entries,
        way=None if way is None else Method(way),
        channel=None if channel is None else Channel(channel),
        moved=moved,
    )


def _drawer(row: Row) -> DrawerCount:
    id_, name, carried, float_amount, payments, refunds, paid_in, paid_out, counted, difference = row
    return DrawerCount(
        drawer_id=id_,
        name=name,
        carried=carried,
        float_amount=float_amount,
        payments=payments,
        refunds=refunds,
        paid_in=paid_in,
        paid_out=paid_out,
        expected=carried + float_amount + payments - refunds + paid_in - paid_out,
        counted=counted,
        difference=difference,
    )
