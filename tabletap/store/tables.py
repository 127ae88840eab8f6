"""How the tables that are not projections are written: the log and what actors keep beside it."""

from typing import Final

from tabletap.store.batch import ROWS, Change, insert, remove, upsert

LEASE_SECONDS: Final = 10
"""A message is its writer's to deliver for so long; then the net of any node may take it."""

EVENTS: Final = insert(
    "events",
    {
        "cafe_id": "uuid",
        '"offset"': "int8",
        "version": "int8",
        "at": "timestamptz",
        "id": "uuid",
        "entity_id": "uuid",
        "author_id": "uuid",
        "order_id": "uuid",
        "kind": "text",
        "author_kind": "text",
        "type": "text",
        "data": "jsonb",
        "by": "jsonb",
    },
)

SNAPSHOTS: Final = upsert(
    "snapshots",
    {
        "entity_id": "uuid",
        "kind": "text",
        "version": "int8",
        '"offset"': "int8",
        "state": "bytea",
        "at": "timestamptz",
    },
)

WAKES: Final = upsert("wakes", {"entity_id": "uuid", "kind": "text", "cafe_id": "uuid", "wake_at": "timestamptz"})
SLEEP_ON: Final = remove("wakes", "entity_id")

# A commit whose outcome was unknown may be written again when it has no events: its messages are there already then.
MESSAGES: Final = Change(
    "put_messages",
    f"""INSERT INTO outbox (id, cafe_id, destination, key, kind, entity_id, message, by, owner, next_at)
        SELECT fresh.*, now() + interval '{LEASE_SECONDS} seconds' FROM {ROWS} AS fresh
        ON CONFLICT (id) DO NOTHING""",
    *("uuid", "uuid", "text", "text", "text", "uuid", "jsonb", "jsonb", "int4"),
)
"""Messages between entities: their writer's to deliver at once."""

JOBS: Final = Change(
    "put_jobs",
    f"""INSERT INTO outbox (id, cafe_id, destination, key, message, by, priority, parent, flow, next_at)
        SELECT id, cafe_id, destination, key, message, by, priority, parent, flow, now() + make_interval(secs => delay)
        FROM {ROWS} AS fresh (id, cafe_id, destination, key, message, by, priority, parent, flow, delay)
        ON CONFLICT (id) DO NOTHING""",
    *("uuid", "uuid", "text", "text", "jsonb", "jsonb", "int2", "uuid", "uuid", "float8"),
)
"""Jobs: anybody's, as soon as they are due."""

CONSUME: Final = remove("outbox", "id")

ANSWERS: Final = insert(
    "idempotency",
    {
        "scope": "text",
        "key": "uuid",
        "request": "bytea",
        "ok": "bool",
        "body": "bytea",
        "expires_at": "timestamptz",
        "created_at": "timestamptz",
    },
    """ON CONFLICT (scope, key) DO UPDATE SET request = EXCLUDED.request, ok = EXCLUDED.ok, body = EXCLUDED.body,
           expires_at = EXCLUDED.expires_at, created_at = EXCLUDED.created_at,
           answers = CASE WHEN idempotency.expires_at <= EXCLUDED.created_at THEN 1 ELSE 2 END""",
)

STALE: Final = frozenset(
    {
        "events_fence",
        "events_version",
        "events_day_number",
        "orders_number",
        "ledger_entries_pkey",
        "ledger_balances_pkey",
    }
)
"""Constraints that say: somebody else was first, and what this commit was decided on is old. The parts of a statement
run in no certain order, so a fence that was lost may be told by the entries that belong to the event behind it."""

ANSWERED: Final = "idempotency_answered_once"
"""The constraint that says: this key has been answered."""

SLUG: Final = "cafes_slug"
"""The constraint that says: another cafe has this slug."""
