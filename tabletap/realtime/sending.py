"""Saying what is in no log (spec R2): in a room, or to the people of a cafe in whatever rooms they are.

Who is not there does not hear it, and nothing of it is replayed. Its frames carry an offset all the same, which stands
still: how far the socket has been told the log, since a client may go on from any offset that it has seen.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

import msgspec

from tabletap.domain.base import CafeId, Role

from .frames import encode, event_frame
from .hub import Hub
from .payloads import Data
from .seats import Listener


class Whom(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing included: everybody. Whoever is excluded, by role or by name, is so whatever includes them."""

    include_roles: frozenset[Role] = frozenset()
    include_users: frozenset[str] = frozenset()
    exclude_roles: frozenset[Role] = frozenset()
    exclude_users: frozenset[str] = frozenset()

    def takes(self, role: Role, user: str | None) -> bool:
        """Whether it is for somebody. A till is nobody: it hears what is said to tills."""
        if role is Role.TILL and role not in self.include_roles:
            return False
        if role in self.exclude_roles or user in self.exclude_users:
            return False
        if not self.include_roles and not self.include_users:
            return True
        return role in self.include_roles or user in self.include_users


class Somebody(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a session, as far as it matters to what is said to them."""

    role: Role
    user: str | None = None


class Sending:
    """Never waits."""

    def __init__(self, hub: Hub, new_id: Callable[[], UUID], now: Callable[[], datetime]) -> None:
        self._hub = hub
        self._new_id = new_id
        self._now = now

    def to_room(self, cafe_id: CafeId, room: str, type_: str, data: Data) -> None:
        """Tell it to everybody in the room."""
        if self._hub.rooms.member_count(room):
            frame = self._framing(room, type_, data)(self._hub.head(cafe_id))
            self._hub.rooms.broadcast(room, frame)

    def to_people(
        self, cafe_id: CafeId, people: Mapping[Listener, Somebody], room: str, type_: str, data: Data, whom: Whom
    ) -> int:
        """Tell it to those of ``people`` it is for; how many sockets took it. ``room``: what the frame names."""
        framed, head = self._framing(room, type_, data), self._hub.head(cafe_id)
        frames: dict[int, bytes] = {}
        taken = 0
        for session, who in tuple(people.items()):
            if whom.takes(who.role, who.user):
                offset = min(self._hub.seats.cursors(session), default=head)
                frame = frames.get(offset) or frames.setdefault(offset, framed(offset))
                taken += session.send(frame)
        return taken

    def _framing(self, room: str, type_: str, data: Data) -> Callable[[int], bytes]:
        event_id, at_ms, payload = f"evt_{self._new_id().hex}", int(self._now().timestamp() * 1000), encode(data)
        return lambda offset: event_frame(type_, room, offset, event_id, at_ms, payload)
