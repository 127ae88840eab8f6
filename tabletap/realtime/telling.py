"""What a room is told: finished frames, shared by everybody who is told the same.

``Told`` is one event's frame in one room. A ``Batch`` is what was told at once, with its frames joined into one piece
of bytes: a session that keeps up is sent that piece in one go, whatever the number of events. Both exist once per room
and event, not once per session, and so does what ``merged`` makes of two: sessions that are behind alike share it.
"""

from collections.abc import Sequence

import msgspec

from tabletap.actors.ports import Recorded

from .audience import Cast
from .catalogue import STATE
from .frames import event_frame
from .payloads import newest


class Told:
    """``state``: what it is the state of, where the latest of several is what counts; None: an event like any other."""

    __slots__ = ("_merged", "_recorded", "cast", "frame", "offset", "state")

    def __init__(self, recorded: Recorded, cast: Cast, data_json: bytes) -> None:
        self.offset = recorded.offset
        self.state = (cast.room, cast.type) if cast.type in STATE else None
        self.frame = event_frame(
            cast.type, cast.room, recorded.offset, recorded.event_id, int(recorded.at.timestamp() * 1000), data_json
        )
        self._recorded = recorded
        self.cast = cast
        self._merged: tuple[Told, Told] | None = None

    def merged(self, other: "Told") -> "Told":
        """This event at its own offset, with all that the other one, older or newer, says of the same state."""
        if self._merged is None or self._merged[0] is not other:
            older, newer = sorted((self, other), key=lambda told: told.offset)
            cast = msgspec.structs.replace(self.cast, data=newest(older.cast.data, newer.cast.data))
            self._merged = other, Told(self._recorded, cast, msgspec.json.encode(cast.data))
        return self._merged[1]


class Batch:
    """What somebody is told at once, in the order of the log."""

    __slots__ = ("joined", "told")

    def __init__(self, told: Sequence[Told]) -> None:
        self.told = told
        self.joined = told[0].frame if len(told) == 1 else b"".join([one.frame for one in told])
