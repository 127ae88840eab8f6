"""Who hears what: rooms and their members, nothing else.

Plain dictionaries without locks: trio runs one task at a time and nothing here awaits. A room exists while it has
members. Both directions are kept in step (`session.rooms` and the room's members), so leaving costs what was joined.

Most members are free: nothing waits for them, and their bare sockets take what is sent. A room tells those by one
`send` each and touches nothing else of them, since with thousands that is what telling costs.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from .telling import Batch

Send = Callable[[bytes], int]


class RoomLimits(msgspec.Struct, frozen=True, kw_only=True):
    rooms_per_session: int = 64
    members_per_room: int = 50_000


class RoomFull(Exception):  # noqa: N818 - named by what is the case
    """A bound of `RoomLimits` would be passed; nothing changed."""


class Member(Protocol):
    """What a room asks of a session. None of it waits.

    ``send``: one finished frame; ``tell``: what its rooms said. Both answer False once the session takes no more.
    ``bare_send``: while it is ``free``, what it may be told by as well; ``sent_short`` when that took less.
    """

    @property
    def rooms(self) -> set[str]: ...
    @property
    def send(self) -> Callable[[bytes], bool]: ...
    @property
    def tell(self) -> Callable[[Batch], bool]: ...
    @property
    def free(self) -> bool: ...
    @property
    def bare_send(self) -> Send | None: ...
    @property
    def sent_short(self) -> Callable[[bytes, int | None], None]: ...


class _Room:
    """``free``: by their bare ``send``. ``others``: a set that keeps its order."""

    __slots__ = ("free", "others")

    def __init__(self) -> None:
        self.free: dict[Send, Member] = {}
        self.others: dict[Member, None] = {}

    def __len__(self) -> int:
        return len(self.free) + len(self.others)

    def __iter__(self) -> Iterator[Member]:
        yield from self.free.values()
        yield from self.others

    def put(self, member: Member) -> None:
        """Where it belongs now, wherever it was."""
        self.drop(member)
        send = member.bare_send
        if send is not None and member.free:
            self.free[send] = member
        else:
            self.others[member] = None

    def drop(self, member: Member) -> None:
        send = member.bare_send
        if send is None or self.free.pop(send, None) is None:
            self.others.pop(member, None)

    def send(self, data: bytes) -> list[tuple[Member, int | None]]:
        """To all that are free; whose socket took less, and how much of it (None: it has failed)."""
        short: list[tuple[Member, int | None]] = []
        size, free = len(data), self.free
        sends = iter(free)
        while True:
            try:
                for send in sends:
                    if (sent := send(data)) != size:
                        short.append((free[send], sent))
            except BlockingIOError:
                short.append((free[send], 0))
            except OSError:
                short.append((free[send], None))
            else:
                return short


class Rooms:
    def __init__(self, limits: RoomLimits | None = None) -> None:
        self._limits = limits or RoomLimits()
        self._rooms: dict[str, _Room] = {}

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rooms)

    def join(self, session: Member, room: str) -> bool:
        """True when the session was not in the room before."""
        if room in session.rooms:
            return False
        if len(session.rooms) >= self._limits.rooms_per_session:
            raise RoomFull(f"a session joins at most {self._limits.rooms_per_session} rooms")
        found = self._rooms.get(room)
        if found is None:
            found = self._rooms[room] = _Room()
        elif len(found) >= self._limits.members_per_room:
            raise RoomFull(f"a room has at most {self._limits.members_per_room} members")
        found.put(session)
        session.rooms.add(room)
        return True

    def leave(self, session: Member, room: str) -> bool:
        """True when the session was in the room."""
        if room not in session.rooms:
            return False
        session.rooms.discard(room)
        found = self._rooms[room]
        found.drop(session)
        if not found:
            del self._rooms[room]
        return True

    def leave_all(self, session: Member) -> None:
        for room in tuple(session.rooms):
            self.leave(session, room)

    def turned(self, session: Member) -> None:
        """It is free now, or no longer; to be told at once."""
        for room in session.rooms:
            self._rooms[room].put(session)

    def members(self, room: str) -> tuple[Member, ...]:
        return tuple(self._rooms.get(room, ()))

    def member_count(self, room: str) -> int:
        return len(self._rooms.get(room, ()))

    def broadcast(self, room: str, frame: bytes) -> int:
        """Give one frame to every member; how many took it. Who overran or is closing does not, and is not counted."""
        return sum(member.send(frame) for member in self.members(room))

    def tell(self, room: str, batch: Batch) -> None:
        """Give every member what the room says."""
        found = self._rooms.get(room)
        if found is None:
            return
        # A copy, since a member may leave on what is told it; and now, since who takes less is among them from then on.
        others = tuple(found.others)
        for member, sent in found.send(batch.joined):
            member.sent_short(batch.joined, sent)
        for member in others:
            member.tell(batch)
