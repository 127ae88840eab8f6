"""An entity's stream: its snapshot, and every event about it or decided by it."""

from collections.abc import Sequence
from typing import Final

from tabletap.actors.ports import Stored
from tabletap.domain.base import Ref
from tabletap.store import codec
from tabletap.store.pool import Connection

PINNED_TYPES: Final = ("cafe.opened", "cafe.configured", "cafe.menu_published")
"""The types of the index ``events_pinned``: only these may be asked for."""

_COLUMNS: Final = ", ".join(f"events.{column.strip()}" for column in codec.RECORDED.split(","))

# Version and offset both grow along a stream, so that each half is read by the index that has it.
_LATER: Final = f"""
    SELECT {_COLUMNS}, NULL::bytea AS state, 2 AS part FROM events
    WHERE entity_id = $1 AND version > coalesce((SELECT version FROM kept), 0)
    UNION ALL
    SELECT {_COLUMNS}, NULL, 2 FROM events
    WHERE author_id = $1 AND author_id <> entity_id AND "offset" > coalesce((SELECT "offset" FROM kept), 0)
"""
_SNAPSHOT: Final = """
    SELECT NULL::uuid, "offset", NULL::uuid, kind, entity_id, version, NULL, NULL::uuid, NULL::uuid, at, NULL::jsonb,
           NULL::jsonb, state, 0 FROM kept
"""
_PINNED: Final = f"""
    (SELECT DISTINCT ON (type) {_COLUMNS}, NULL::bytea, 1 FROM events
    WHERE entity_id = $1 AND type = ANY ($2::text[]) AND type IN ({", ".join(f"'{name}'" for name in PINNED_TYPES)})
      AND "offset" <= (SELECT "offset" FROM kept)
    ORDER BY type, "offset" DESC)
"""
_KEPT: Final = "WITH kept AS MATERIALIZED (SELECT * FROM snapshots WHERE entity_id = $1)"
_PLAIN: Final = f'{_KEPT} {_LATER} UNION ALL {_SNAPSHOT} ORDER BY part, "offset"'
_WITH_PINNED: Final = f'{_KEPT} {_LATER} UNION ALL {_SNAPSHOT} UNION ALL {_PINNED} ORDER BY part, "offset"'


async def load(connection: Connection, ref: Ref, pinned: Sequence[str]) -> Stored:
    """The entity ``ref``, in one statement and therefore as of one moment."""
    if not set(pinned) <= set(PINNED_TYPES):
        raise ValueError(f"only {PINNED_TYPES} can be pinned, not {pinned}")
    if pinned:
        rows = await connection.fetch(_WITH_PINNED, ref.id, list(pinned))
    else:
        rows = await connection.fetch(_PLAIN, ref.id)
    kept = rows[0] if rows and rows[0]["part"] == 0 else None
    later = [codec.recorded(row) for row in rows if row["part"] == 2]
    refs = {one.ref for one in later if one.ref.id == ref.id}
    if refs - {ref} or (kept and kept["kind"] != ref.kind):  # another cafe's, or another noun: nothing of that name
        return Stored(version=0, snapshot=None, pinned=[], later=[])
    own = [one.version for one in later if one.ref.id == ref.id]
    return Stored(
        version=own[-1] if own else kept["version"] if kept else 0,
        snapshot=kept["state"] if kept else None,
        pinned=[codec.recorded(row) for row in rows if row["part"] == 1],
        later=later,
    )
