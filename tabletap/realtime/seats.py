"""The way into a room: a seat is where a session stands in the room's story until it is a member.

It has been told everything up to the seat's cursor, and nothing of what is live. A session has at most one seat per
room; taking another ends the first, so whoever recovers asks after each wait whether the seat still holds.
"""

from typing import Protocol

from tabletap.domain.base import CafeId

from .rooms import Member, RoomFull, RoomLimits, Rooms
from .writer import Keeper


class Outlet(Protocol):
    keeper: Keeper | None

    async def wait_send_all_might_not_block(self) -> None: ...


class Listener(Member, Protocol):
    """What the hub asks of a session (``session.Session``)."""

    @property
    def stream(self) -> Outlet: ...

    def close(self, code: int, reason: str = "") -> None: ...


class Seat:
    """``cursor``: everything up to this offset has been told. ``scanned``: events read from the log for it."""

    __slots__ = ("cafe_id", "cursor", "room", "scanned", "session")

    def __init__(self, session: Listener, room: str, cafe_id: CafeId, cursor: int) -> None:
        self.session = session
        self.room = room
        self.cafe_id = cafe_id
        self.cursor = cursor
        self.scanned = 0


class Seats:
    def __init__(self, rooms: Rooms, limits: RoomLimits) -> None:
        self._rooms = rooms
        self._limits = limits
        self._seats: dict[Listener, dict[str, Seat]] = {}

    def __contains__(self, session: Listener) -> bool:
        return session in self._seats

    def of(self, session: Listener, room: str) -> Seat | None:
        return self._seats.get(session, {}).get(room)

    def take(self, session: Listener, room: str, cafe_id: CafeId, cursor: int) -> Seat:
        """Leave the room, if the session is in it, to come in again after ``cursor``.

        A member or a seat counts against the bounds alike. Raises RoomFull before anything has changed.
        """
        taken = session.rooms | self._seats.get(session, {}).keys()
        if room not in taken and len(taken) >= self._limits.rooms_per_session:
            raise RoomFull(f"a session joins at most {self._limits.rooms_per_session} rooms")
        if room not in session.rooms and self._rooms.member_count(room) >= self._limits.members_per_room:
            raise RoomFull(f"a room has at most {self._limits.members_per_room} members")
        self._rooms.leave(session, room)
        seat = Seat(session, room, cafe_id, cursor)
        self._seats.setdefault(session, {})[room] = seat
        return seat

    def holds(self, seat: Seat) -> bool:
        """Whether the seat is still its session's way into the room."""
        return self.of(seat.session, seat.room) is seat

    def give_up(self, seat: Seat) -> None:
        if self.holds(seat):
            seats = self._seats[seat.session]
            del seats[seat.room]
            if not seats:
                del self._seats[seat.session]

    def cursors(self, session: Listener) -> list[int]:
        """How far it has been told of each room it is on its way into."""
        return [seat.cursor for seat in self._seats.get(session, {}).values()]

    def clear(self, session: Listener) -> None:
        self._seats.pop(session, None)
