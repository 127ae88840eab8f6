"""What of a cafe's log integrators are told: what its crew sees, in the same words, one message per event (spec H5)."""

from datetime import datetime
from typing import Final

import msgspec

from tabletap.actors.ports import Recorded

from .audience import audience
from .catalogue import CATALOGUE, Hears

OFFERED: Final = frozenset(type_ for type_, wire in CATALOGUE.items() if Hears.CAFE in wire.rooms) - {
    "kitchen_display_updated"  # the queue moves every other moment: a screen's business
}
"""The types of messages there are."""

TEST: Final = "test"


class News(msgspec.Struct, frozen=True):
    """A message before it has a receiver. ``about``: the order, or nothing; ``body``: the bytes to be sent."""

    offset: int | None
    type: str
    about: str
    body: bytes


class _Body(msgspec.Struct, frozen=True):
    """The payload of Standard Webhooks."""

    type: str
    timestamp: datetime
    data: object


def news_of(recorded: Recorded) -> News | None:
    """What an event is to an integrator, if it is anything."""
    room = f"cafe:{recorded.cafe_id}"
    for cast in audience(recorded, {}):
        if cast.room == room and cast.type in OFFERED:
            return News(
                recorded.offset,
                cast.type,
                "" if recorded.order_id is None else str(recorded.order_id),
                msgspec.json.encode(_Body(cast.type, recorded.at, cast.data)),
            )
    return None


def test_news(at: datetime, endpoint_id: str) -> News:
    """A message for an integrator who wants to see one."""
    return News(None, TEST, TEST, msgspec.json.encode(_Body(TEST, at, {"endpointId": endpoint_id})))
