"""Distributions of tips: what was shared out, and of which part of the log."""

from tabletap.domain.events import TipsDistributed
from tabletap.domain.tips import view
from tabletap.store import codec
from tabletap.store.batch import insert

DISTRIBUTIONS = insert(
    "tip_distributions",
    {
        "id": "uuid",
        "cafe_id": "uuid",
        '"offset"': "int8",
        "since": "timestamptz",
        "until": "timestamptz",
        "read_offset": "int8",
        "charged": "int8",
        "doc": "jsonb",
    },
)


def row(event: TipsDistributed, offset: int) -> tuple[object, ...]:
    return (
        event.distribution_id,
        event.cafe_id,
        offset,
        event.since,
        event.until,
        event.read_offset,
        event.charged,
        codec.encode(view(event)),
    )
