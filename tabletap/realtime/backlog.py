"""What waits for a client that does not read as fast as it is told: whole frames, in order, counted in bytes.

Two sorts wait here. What a client was told of a room may be made less: states coalesce, and all of it can go when the
client gets a snapshot instead. Answers and control frames always stay.

Of a state two frames wait at most, whatever comes. A client that is cut off resumes after the last offset it has read,
so nothing may be said later than in its turn without having been said before: the *first* frame keeps its turn and is
told everything but the newest, the *last* comes in the turn of the newest and says it all.
"""

from collections import deque

from .telling import Told


class _Waiting:
    __slots__ = ("data", "since", "told")

    def __init__(self, since: float, data: bytes, told: Told | None) -> None:
        self.since = since
        self.data = data
        self.told = told


class Backlog:
    """``size``: bytes of all that waits."""

    __slots__ = ("_firsts", "_lasts", "_waiting", "size")

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._firsts: dict[tuple[str, str], _Waiting] = {}
        self._lasts: dict[tuple[str, str], _Waiting] = {}
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, since: float, data: bytes, told: Told | None = None) -> None:
        """At the end."""
        waiting = _Waiting(since, data, told)
        self._waiting.append(waiting)
        self.size += len(data)
        if told is not None and told.state is not None:
            which = self._lasts if told.state in self._firsts else self._firsts
            which[told.state] = waiting

    def coalesce(self, since: float, told: Told) -> bool:
        """The same, but of a state only two wait. Whether one has gone."""
        last = None if told.state is None else self._lasts.pop(told.state, None)
        if last is None or last.told is None or told.state is None:
            self.add(since, told.frame, told)
            return False
        first = self._firsts[told.state]
        assert first.told is not None
        newest = told.merged(last.told)
        self._become(first, first.told.merged(last.told))
        self._become(last, None)
        self.add(since, newest.frame, newest)
        return True

    def _become(self, waiting: _Waiting, told: Told | None) -> None:
        data = b"" if told is None else told.frame
        self.size += len(data) - len(waiting.data)
        waiting.data, waiting.told = data, told

    def take(self, most: int) -> tuple[float, bytes | None]:
        """What comes next, joined up to about ``most`` bytes, and since when the first of it has waited. It is gone."""
        since: float | None = None
        parts: list[bytes] = []
        size = 0
        while self._waiting and size < most:
            waiting = self._waiting.popleft()
            if not waiting.data:
                continue  # it has coalesced
            since = waiting.since if since is None else since
            parts.append(waiting.data)
            size += len(waiting.data)
            self._forget(waiting)
        self.size -= size
        return since or 0.0, (parts[0] if len(parts) == 1 else b"".join(parts)) if parts else None

    def lowest(self) -> int | None:
        """The lowest offset of what rooms said."""
        return min((waiting.told.offset for waiting in self._waiting if waiting.told is not None), default=None)

    def drop_told(self) -> None:
        """Let go of all that rooms said."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.told is None and waiting.data)
        self._firsts.clear()
        self._lasts.clear()
        self.size = sum(len(waiting.data) for waiting in self._waiting)

    def clear(self) -> None:
        """Let go of everything."""
        self._waiting.clear()
        self._firsts.clear()
        self._lasts.clear()
        self.size = 0

    def _forget(self, waiting: _Waiting) -> None:
        """It has left: the last, if there is one, is the first now."""
        state = None if waiting.told is None else waiting.told.state
        if state is None:
            return
        if self._firsts.get(state) is waiting:
            del self._firsts[state]
            if (last := self._lasts.pop(state, None)) is not None:
                self._firsts[state] = last
        elif self._lasts.get(state) is waiting:
            del self._lasts[state]
