"""The other side of the ledger: what the database holds, read past the server, against what it had acknowledged."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from .crash_record import Record
from .provider_check import compare

QUIET_SECONDS = 40.0

GAPS = {
    "offsets of a cafe": """
        SELECT cafe_id, min("offset"), max("offset"), count(*) FROM events GROUP BY cafe_id
        HAVING min("offset") <> 1 OR max("offset") <> count(*)""",
    "versions of an entity": """
        SELECT entity_id, min(version), max(version), count(*) FROM events GROUP BY entity_id
        HAVING min(version) <> 1 OR max(version) <> count(*)""",
    "numbers of a day, in the log": """
        SELECT cafe_id, data->>'business_day', max((data->>'number')::int), count(*)
        FROM events WHERE type = 'order.placed' GROUP BY 1, 2
        HAVING min((data->>'number')::int) <> 1 OR max((data->>'number')::int) <> count(*)
            OR count(DISTINCT data->>'number') <> count(*)""",
    "numbers of a day, in the projection": """
        SELECT cafe_id, business_day, max(number), count(*) FROM orders GROUP BY 1, 2
        HAVING min(number) <> 1 OR max(number) <> count(*)""",
}

LEDGER = {
    "sum of all entries": "SELECT currency, sum(amount) FROM ledger_entries GROUP BY currency HAVING sum(amount) <> 0",
    "balances that are not their entries": """
        SELECT * FROM ledger_balances FULL JOIN (
            SELECT cafe_id, account, currency, sum(amount) AS total FROM ledger_entries GROUP BY 1, 2, 3
        ) AS entries USING (cafe_id, account, currency) WHERE coalesce(balance, 0) <> coalesce(total, 0)""",
    "clearing is not empty": "SELECT * FROM ledger_balances WHERE account = 'clearing' AND balance <> 0",
}

OVERPAID = """
    SELECT id FROM orders WHERE paid > total
    UNION SELECT orders.id FROM orders JOIN (
        SELECT (data->>'order_id')::uuid AS id, sum((data->>'amount')::bigint) AS settled
        FROM events WHERE type = 'order.payment_settled' GROUP BY 1
    ) AS money USING (id) WHERE settled > total"""


class Findings(msgspec.Struct, rename="camel"):
    """All zero is all well. ``notes``: in words."""

    lost: int = 0
    duplicated: int = 0
    gaps: int = 0
    ledger_sum: int = 0
    overpaid: int = 0
    outbox_left: int = 0
    notes: list[str] = []

    def note(self, what: str, rows: list[Any]) -> int:
        """Keep the first of ``rows``; how many they are."""
        if rows:
            self.notes.append(f"{what}: {len(rows)}, such as {rows[0]!r}")
        return len(rows)


def check(state: Path, record: Record, appeared: dict[str, list[int]], statement: dict[str, Any]) -> Findings:
    """Compare. ``appeared``: cafe -> offsets with which orders appeared on its screen, as its client heard them;
    ``statement``: what the provider has charged and given back, as it says."""
    return asyncio.run(_check(state, record, appeared, statement))


async def _check(state: Path, record: Record, appeared: dict[str, list[int]], statement: dict[str, Any]) -> Findings:
    connection = await asyncpg.connect(host=str(state / "run"), user="tabletap", database="postgres")
    try:
        found = Findings()
        await _outbox(connection, found)
        for name, query in GAPS.items():
            found.gaps += found.note(name, await connection.fetch(query))
        for name, query in LEDGER.items():
            found.ledger_sum += found.note(name, await connection.fetch(query))
        found.overpaid = found.note("overpaid", await connection.fetch(OVERPAID))
        await _orders(connection, record, found)
        await _payments(connection, record, found)
        await _screens(connection, appeared, found)
        provider = await compare(connection, statement)
        found.lost += provider.mismatches
        found.duplicated += provider.double_charges
        found.notes += provider.notes
        return found
    finally:
        await connection.close()


async def _outbox(connection: asyncpg.Connection, found: Findings) -> None:
    """Every row is delivered soon, or it is left over."""
    until = time.monotonic() + QUIET_SECONDS
    while await connection.fetchval("SELECT count(*) FROM outbox") and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    for table in ("outbox", "outbox_dead"):
        rows = await connection.fetch(f"SELECT destination, kind, message, attempts, last_error FROM {table}")
        found.outbox_left += found.note(table, rows)


async def _orders(connection: asyncpg.Connection, record: Record, found: Findings) -> None:
    placed = await connection.fetch(
        "SELECT order_id::text AS id, count(*) FROM events WHERE type = 'order.placed' GROUP BY 1"
    )
    in_log = {row["id"]: row["count"] for row in placed}
    rows = await connection.fetch(
        "SELECT id::text, cafe_id::text, number, total, status, payment_status, doc FROM orders"
    )
    shown = {row["id"]: row for row in rows}
    found.lost += found.note("acknowledged orders not in the log", sorted(record.orders.keys() - in_log.keys()))
    found.lost += found.note("acknowledged orders not in the projection", sorted(record.orders.keys() - shown.keys()))
    found.duplicated += found.note("orders placed twice", [ident for ident, count in in_log.items() if count != 1])
    found.duplicated += found.note("orders nobody was told of", sorted(in_log.keys() - record.orders.keys()))
    wrong = []
    for ident, order in record.orders.items():
        row = shown.get(ident)
        if row is None:
            continue
        doc = json.loads(row["doc"])
        expected: list[Any] = [order.cafe_id, order.number, order.end, order.paid - order.refunded]
        actual = [row["cafe_id"], row["number"], row["status"], doc["paid"]]
        if order.end != "cancelled":
            expected.append(order.total)
            actual.append(row["total"])
        if expected != actual:
            wrong.append((ident, expected, actual))
    found.lost += found.note("orders that are not as acknowledged (acknowledged, found)", wrong)
    twice = await connection.fetch(
        """SELECT order_id, data->>'to' FROM events WHERE type = 'order.status_changed'
           AND data->>'to' IN ('completed', 'ready', 'paid') GROUP BY 1, 2 HAVING count(*) > 1"""
    )
    found.duplicated += found.note("moves made twice", twice)
    bumped = await connection.fetch(
        """SELECT order_id::text, jsonb_array_elements_text(data->'lines')::int, count(*) FROM events
           WHERE type = 'order.items_moved' AND data->>'to' = 'ready' GROUP BY 1, 2"""
    )
    lines = {(row[0], row[1]): row[2] for row in bumped}
    found.lost += found.note("bumps", sorted(record.lines_bumped - lines.keys()))
    found.duplicated += found.note("bumps made twice", [line for line, count in lines.items() if count > 1])


async def _payments(connection: asyncpg.Connection, record: Record, found: Findings) -> None:
    for type_, acknowledged in (("payment.initiated", record.initiated), ("payment.completed", record.completed)):
        rows = await connection.fetch(
            """SELECT data->>'payment_id' AS id, count(*), sum((data->>'amount')::bigint)
               FROM events WHERE type = $1 GROUP BY 1""",
            type_,
        )
        counts = {row["id"]: row["count"] for row in rows}
        found.lost += found.note(f"{type_} not in the log", sorted(acknowledged.keys() - counts.keys()))
        found.duplicated += found.note(f"{type_} nobody was told of", sorted(counts.keys() - acknowledged.keys()))
        found.duplicated += found.note(f"{type_} twice", [ident for ident, count in counts.items() if count > 1])
        if type_ == "payment.completed":
            other = [row["id"] for row in rows if record.completed.get(row["id"], row["sum"]) != row["sum"]]
            found.lost += found.note("payments of another amount", other)
    settled = await connection.fetch(
        "SELECT data->>'payment_id' AS id, count(*) FROM events WHERE type = 'order.payment_settled' GROUP BY 1"
    )
    found.lost += found.note("payments not settled", sorted(record.completed.keys() - {row["id"] for row in settled}))
    found.duplicated += found.note("payments settled twice", [row["id"] for row in settled if row["count"] > 1])
    refunded = await connection.fetch(
        "SELECT data->>'payment_id' AS id, count(*) FROM events WHERE type = 'payment.refund_completed' GROUP BY 1"
    )
    counts = {row["id"]: row["count"] for row in refunded}
    off = [ident for ident in counts.keys() | record.refunds.keys() if counts.get(ident, 0) != record.refunds[ident]]
    fewer = [ident for ident in off if counts.get(ident, 0) < record.refunds[ident]]
    found.lost += found.note("refunds", fewer)
    found.duplicated += found.note("refunds made twice", sorted(set(off) - set(fewer)))


async def _screens(connection: asyncpg.Connection, appeared: dict[str, list[int]], found: Findings) -> None:
    """The log itself says which offsets a screen must have had: the server's own replay is not its own witness."""
    for cafe_id, offsets in appeared.items():
        rows = await connection.fetch(
            """SELECT "offset" FROM events WHERE cafe_id = $1::uuid AND type = 'order.placed' ORDER BY 1""", cafe_id
        )
        if [row["offset"] for row in rows] != offsets:
            missing = sorted({row["offset"] for row in rows} ^ set(offsets))
            found.lost += found.note(f"orders on the screen of {cafe_id}", missing or ["their order"])
