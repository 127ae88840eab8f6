"""Sessions of cash drawers."""

from tabletap.domain.drawer import Drawer, view
from tabletap.store import codec
from tabletap.store.batch import upsert

DRAWERS = upsert(
    "drawers",
    {"id": "uuid", "cafe_id": "uuid", "name": "text", "open": "bool", "opened_at": "timestamptz", "doc": "jsonb"},
    "cafe_id",
    "opened_at",
)


def row(state: Drawer) -> tuple[object, ...]:
    opened = state.opened
    return (
        opened.drawer_id,
        opened.cafe_id,
        opened.name,
        state.closed is None,
        opened.opened_at,
        codec.encode(view(state)),
    )
