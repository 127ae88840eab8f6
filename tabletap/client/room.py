"""Where a client stands in a room's story: which event is new, which was heard before, and which comes too late.

Offsets only grow within a room, and jump where other rooms had something to hear: a jump alone is no loss. So the
client remembers two offsets. ``last``: the newest it was told, from which it resumes. ``whole``: up to here nothing is
missing, because a recovery or an unbroken row of offsets says so. Now and then, when a heartbeat shows the cafe to be
past ``whole``, the client asks for everything after it once more: what it knows it drops, what was lost at the end is
told, and what was lost in the middle cannot be told in order any more: then it wants a snapshot.
"""

from collections import OrderedDict
from enum import Enum, auto

REMEMBERED_MAX = 1024
"""Events between ``whole`` and ``last``; older ones are taken as whole. A server keeps about as many in memory."""

BEYOND = (1 << 53) - 1
"""An offset that no log reaches: whoever asks for what follows it is given a snapshot."""


class Verdict(Enum):
    NEW = auto()
    KNOWN = auto()
    LATE = auto()


class Room:
    """``default``: the door gives it to everybody. ``lost``: only a snapshot helps. ``asked``: the id of a subscription
    under way; until it is answered, what comes is not taken: it will be told again.
    """

    __slots__ = (
        "_at_last",
        "_jumps",
        "asked",
        "asked_at",
        "check_due",
        "checking",
        "default",
        "last",
        "lost",
        "name",
        "proving",
        "whole",
    )

    def __init__(self, name: str, *, default: bool, last: int | None = None) -> None:
        self.name = name
        self.default = default
        self.lost = False
        self.asked: str | None = None
        self.asked_at = 0.0
        self.check_due = 0.0
        self.checking: int | None = None
        self.proving = False
        self.last: int | None = None
        self.whole = -1
        self._at_last: set[str] = set()
        self._jumps: OrderedDict[tuple[int, str], None] = OrderedDict()
        if last is not None:
            self.begin(last)

    @property
    def logged(self) -> bool:
        """Whether the room's events are in the log. Those of a flow, say, are not, and several may share an offset."""
        return not self.name.startswith("flow:") and not self.name.endswith((":presence", ":alerts", ":announcements"))

    @property
    def resume_after(self) -> int | None:
        """What to subscribe with; None: from now on."""
        if not self.logged:
            return None
        return BEYOND if self.lost else self.last

    def begin(self, offset: int) -> None:
        """Everything up to here is known, by a snapshot or because nobody asked for it."""
        self.last = self.whole = offset
        self.lost = False
        self.checking = None
        self.proving = False
        self._at_last.clear()
        self._jumps.clear()

    def take(self, offset: int, event_id: str) -> Verdict:
        """Judge an event, and remember it if it is new."""
        if self.last is None:
            self.begin(offset - 1)
        assert self.last is not None
        if offset == self.last and event_id not in self._at_last and (self._at_last or not self.logged):
            self._at_last.add(event_id)
            return Verdict.NEW
        if offset <= self.whole or offset == self.last:
            return Verdict.KNOWN
        if offset < self.last:
            return Verdict.KNOWN if (offset, event_id) in self._jumps else Verdict.LATE
        if offset == self.whole + 1:
            self.whole = offset
        else:
            self._jumps[offset, event_id] = None
            if len(self._jumps) > REMEMBERED_MAX:
                self.whole = self._jumps.popitem(last=False)[0][0]
        self.last = offset
        self._at_last = {event_id}
        return Verdict.NEW

    def prove(self) -> None:
        """The check is through: nothing is missing up to where it was made."""
        assert self.checking is not None
        self.whole = max(self.whole, self.checking)
        if self.last is None or self.last < self.whole:
            self.last = self.whole
            self._at_last.clear()
        while self._jumps and next(iter(self._jumps))[0] <= self.whole:
            self._jumps.popitem(last=False)
        self.checking = None
        self.proving = False
