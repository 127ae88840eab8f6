"""What becomes of a client that does not keep up (spec R6), step by step; the writer says when.

1. A newer state takes the place of an older one that waits: the client has less to read and knows as much.
2. All that its rooms said and has not left is dropped, and it leaves them. Once it has read what was on its way, it is
   given each room as a whole (``resync``) and goes on from there.
3. It is closed with 4008, and told after which offset it must resume: all before that was sent, whatever the room.

Nobody else waits for any of this, and each step is counted (``Hub.slow``).
"""

import math
from collections.abc import Callable
from functools import partial

import trio

from tabletap.actors.ports import Reader
from tabletap.domain.access import pos_room
from tabletap.domain.base import CafeId

from .hub import Hub
from .replay import Recovery
from .seats import Listener, Seat
from .snapshots import Snapshot


class SlowClient:
    """The ``writer.Keeper`` of one session. ``snapshot_of``: a room as a whole; ``pause_s``: from one to the next."""

    __slots__ = ("_cafe_id", "_hub", "_last", "_pause_s", "_reader", "_session", "_snapshot_of")

    def __init__(
        self,
        hub: Hub,
        reader: Reader,
        session: Listener,
        cafe_id: CafeId,
        snapshot_of: Callable[[str], Snapshot],
        pause_s: float,
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._session = session
        self._cafe_id = cafe_id
        self._snapshot_of = snapshot_of
        self._pause_s = pause_s
        self._last = -math.inf

    def turned(self) -> None:
        """Rooms send past it while it is free."""
        self._hub.rooms.turned(self._session)

    def coalesced(self) -> None:
        """A state took the place of an older one."""
        self._hub.slow.coalesced += 1

    def fell_behind(self, lowest: int) -> bool:
        """Take the session out of the rooms of the log until it has caught up. False: it was only just given that."""
        now = trio.current_time()
        if now - self._last < self._pause_s:
            return False
        self._last = now
        self._hub.slow.snapshots += 1
        for room in [room for room in self._session.rooms if not room.startswith("flow:")]:
            seat = self._hub.seats.take(self._session, room, self._cafe_id, lowest - 1)
            self._hub.spawn(partial(self._catch_up, seat), self._session)
        return True

    def gave_up(self, lowest: int | None) -> str:
        """Count it; what the close frame says."""
        self._hub.slow.closed += 1
        sent = [self._hub.head(self._cafe_id), *self._hub.seats.cursors(self._session)]
        if lowest is not None:
            sent.append(lowest - 1)
        return f"too slow: resume after {min(sent)}"

    async def _catch_up(self, seat: Seat) -> None:
        await self._session.stream.wait_send_all_might_not_block()
        recovery = Recovery(self._hub, self._reader, seat, self._snapshot_of(seat.room))
        try:
            if self._hub.seats.holds(seat):
                if seat.room != pos_room(self._cafe_id):  # a till is told everything, however late
                    await recovery.resync()
                await recovery.run()
        finally:
            self._hub.seats.give_up(seat)
