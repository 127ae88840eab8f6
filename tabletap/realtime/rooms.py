"""Who hears what: rooms and their members, nothing else.

Plain dictionaries without locks: trio runs one task at a time and nothing here awaits. A room exists while it has
members. Both directions are kept in step (`session.rooms` and the room's members), so leaving costs what was joined.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from .telling import Batch


class RoomLimits(msgspec.Struct, frozen=True, kw_only=True):
    rooms_per_session: int = 64
    members_per_room: int = 50_000


class RoomFull(Exception):  # noqa: N818 - named by what is the case
    """A bound of `RoomLimits` would be passed; nothing changed."""


class Member(Protocol):
    """What a room asks of a session. Neither waits; both answer False once the session takes no more.

    ``send``: one finished frame; ``tell``: what its rooms said.
    """

    @property
    def rooms(self) -> set[str]: ...
    @property
    def send(self) -> Callable[[bytes], bool]: ...
    @property
    def tell(self) -> Callable[[Batch], bool]: ...


class Rooms:
    def __init__(self, limits: RoomLimits | None = None) -> None:
        self._limits = limits or RoomLimits()
        # The bound `tell` is kept beside its member: telling a room then costs one call per socket.
        self._members: dict[str, dict[Member, Callable[[Batch], bool]]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def join(self, session: Member, room: str) -> bool:
        """True when the session was not in the room before."""
        if room in session.rooms:
            return False
        if len(session.rooms) >= self._limits.rooms_per_session:
            raise RoomFull(f"a session joins at most {self._limits.rooms_per_session} rooms")
        members = self._members.get(room)
        if members is None:
            members = self._members[room] = {}
        elif len(members) >= self._limits.members_per_room:
            raise RoomFull(f"a room has at most {self._limits.members_per_room} members")
        members[session] = session.tell
        session.rooms.add(room)
        return True

    def leave(self, session: Member, room: str) -> bool:
        """True when the session was in the room."""
        if room not in session.rooms:
            return False
        session.rooms.discard(room)
        members = self._members[room]
        del members[session]
        if not members:
            del self._members[room]
        return True

    def leave_all(self, session: Member) -> None:
        for room in tuple(session.rooms):
            self.leave(session, room)

    def members(self, room: str) -> tuple[Member, ...]:
        return tuple(self._members.get(room, ()))

    def member_count(self, room: str) -> int:
        return len(self._members.get(room, ()))

    def broadcast(self, room: str, frame: bytes) -> int:
        """Give one frame to every member; how many took it. Who overran or is closing does not, and is not counted."""
        return sum(member.send(frame) for member in self.members(room))

    def tell(self, room: str, batch: Batch) -> None:
        """Give every member what the room says."""
        # A copy, since a member may leave on what is told it.
        for tell in tuple(self._members.get(room, {}).values()):
            tell(batch)
