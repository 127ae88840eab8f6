"""What a room is told: finished frames, shared by everybody who is told the same.

``Told`` is one event's frame in one room. A ``Batch`` is what was told at once, with its frames joined into one piece
of bytes: a session that keeps up is sent that piece in one go, whatever the number of events. Both exist once per room
and event, not once per session, and so does what ``absorb`` makes of two: sessions that are behind alike share it.
"""

from collections.abc import Sequence

import msgspec

from tabletap.actors.ports import Recorded

from .audience import Cast
from .catalogue import STATE
from .frames import event_frame
from .payloads import newest


class Told:
    """``state``: what it is the state of, where a later one of the same says all of it (latest wins); else None."""

    __slots__ = ("_absorbed", "_recorded", "cast", "frame", "offset", "state")

    def __init__(self, recorded: Recorded, cast: Cast, data_json: bytes) -> None:
        self.offset = recorded.offset
        self.state = (cast.room, cast.type) if cast.type in STATE else None
        self.frame = event_frame(
            cast.type, cast.room, recorded.offset, recorded.event_id, int(recorded.at.timestamp() * 1000), data_json
        )
        self._recorded = recorded
        self.cast = cast
        self._absorbed: tuple[Told, Told] | None = None

    def absorb(self, older: "Told") -> "Told":
        """This and what an older one of the same state said that this leaves unsaid, as one."""
        if self._absorbed is None or self._absorbed[0] is not older:
            data = newest(older.cast.data, self.cast.data)
            cast = msgspec.structs.replace(self.cast, data=data)
            self._absorbed = older, Told(self._recorded, cast, msgspec.json.encode(data))
        return self._absorbed[1]


class Batch:
    """What somebody is told at once, in the order of the log."""

    __slots__ = ("joined", "told")

    def __init__(self, told: Sequence[Told]) -> None:
        self.told = told
        self.joined = told[0].frame if len(told) == 1 else b"".join([one.frame for one in told])
