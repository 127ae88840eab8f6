"""The rooms a door gives to everybody who enters, and the moment in which a client may say where it left off.

A client that was here before connects and at once asks for its default room ``after`` its last offset. Were it a member
by then, it would hear the newest events before those it missed. So a default room is *held*: the session has a seat at
the head, nothing of the room is sent, and the client's ``subscribe`` takes the seat over. When its first message is
something else, or none comes in time, what came meanwhile is sent and the room is live.

    defaults = DefaultRooms(hub, reader, session, cafe_id, {room: snapshot})
    offset = await defaults.hold()      # then send the welcome with it
    defaults.open(after)                # ``?after=N`` of the URL resumes without waiting
    defaults.heard(op)                  # with each message of the client, before it is carried out
"""

import contextlib
from collections.abc import Mapping

import trio

from tabletap.actors.ports import Reader
from tabletap.domain.base import CafeId

from .hub import Hub
from .replay import Recovery, Superseded, know_head, subscribe
from .seats import Listener, Seat
from .snapshots import Snapshot


class DefaultRooms:
    def __init__(
        self, hub: Hub, reader: Reader, session: Listener, cafe_id: CafeId, rooms: Mapping[str, Snapshot]
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._session = session
        self._cafe_id = cafe_id
        self._rooms = rooms
        self._held: list[Seat] = []

    async def hold(self) -> int:
        """Take a seat in each room at the head, and answer with it. Nothing of the rooms is sent yet."""
        head = await know_head(self._hub, self._reader, self._cafe_id)
        self._held = [self._hub.seats.take(self._session, room, self._cafe_id, head) for room in self._rooms]
        return head

    def open(self, after: int | None = None) -> None:
        """Let the rooms begin: after an offset at once, else when the client has had its chance to name one."""
        if after is None:
            self._hub.spawn(self._wait, self._session)
            return
        for seat in self._held:
            self._resume(seat, after)
        self._held = []

    def heard(self, op: str) -> None:
        """A message has come. Whoever subscribes may go on to name the other rooms; whoever acts has not missed any."""
        if op != "subscribe":
            self.release()

    def release(self) -> None:
        """Send what came meanwhile; from here on the rooms are live. What the client has sought itself is its own."""
        held, self._held = self._held, []
        rooms, self._rooms = self._rooms, {}
        for seat in held:
            recovery = Recovery(self._hub, self._reader, seat, rooms[seat.room])
            if self._hub.seats.holds(seat) and not recovery.from_ring():
                self._hub.spawn(recovery.run, self._session)

    async def _wait(self) -> None:
        await trio.sleep(self._hub.limits.hold_ms / 1000)
        self.release()

    def _resume(self, seat: Seat, after: int) -> None:
        async def resume() -> None:
            if self._hub.seats.holds(seat):  # else it has left, or the client itself was quicker
                room, snapshot = seat.room, self._rooms[seat.room]
                with contextlib.suppress(Superseded):
                    await subscribe(self._hub, self._reader, self._session, room, self._cafe_id, after, None, snapshot)

        self._hub.spawn(resume, self._session)
