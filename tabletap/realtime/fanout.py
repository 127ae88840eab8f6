"""From a room to its members: what is told in one go is joined, once for all who hear the same.

The hub says event after event of a commit, or of many commits that waited, and flushes at the end. Most members hear
one room of those that were told and share its batch; who hears several gets them in the order of the log, and shares
that with whoever hears the same ones.
"""

from collections.abc import Callable

from .rooms import Member, Rooms
from .telling import Batch, Told

BATCH_BYTES = 64 * 1024
"""More is told in several goes: a session that keeps up must not fall behind by what is told at once."""

Hears = Callable[[Member, str], bool]


class Fanout:
    """``hears``: whether a member of a room hears what is said there now."""

    def __init__(self, rooms: Rooms, hears: Hears) -> None:
        self._rooms = rooms
        self._hears = hears
        self._said: dict[str, list[tuple[int, Told]]] = {}
        self._count = 0
        self._bytes = 0

    def say(self, room: str, told: Told) -> None:
        """Soon; not later than ``flush``."""
        self._said.setdefault(room, []).append((self._count, told))
        self._count += 1
        self._bytes += len(told.frame)
        if self._bytes >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was said. Never waits."""
        said, self._said = self._said, {}
        self._count = self._bytes = 0
        if len(said) == 1:
            room, told = next(iter(said.items()))
            if not room.startswith("user:"):
                self._rooms.tell(room, Batch([one for _, one in told]))
                return
        self._tell_each(said)

    def _tell_each(self, said: dict[str, list[tuple[int, Told]]]) -> None:
        heard: dict[Member, int] = {}  # the rooms a member hears of those that were told, as bits
        for number, room in enumerate(said):
            for member in self._rooms.members(room):
                if self._hears(member, room):
                    heard[member] = heard.get(member, 0) | 1 << number
        batches: dict[int, Batch] = {}
        for member, bits in heard.items():
            batch = batches.get(bits)
            if batch is None:
                parts = [part for number, told in enumerate(said.values()) if bits >> number & 1 for part in told]
                batch = batches[bits] = Batch([told for _, told in sorted(parts, key=lambda part: part[0])])
            member.tell(batch)
