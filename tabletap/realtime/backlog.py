"""What waits for a client that does not read as fast as it is told: whole frames, in order, counted in bytes.

Two sorts wait here. What a client was told of a room may be made less: a newer state takes the place of an older one,
and all of it can go when the client gets a snapshot instead. Answers and control frames always stay.
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

    __slots__ = ("_states", "_waiting", "size")

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._states: dict[tuple[str, str], _Waiting] = {}
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, since: float, data: bytes, told: Told | None = None) -> None:
        """At the end."""
        waiting = _Waiting(since, data, told)
        self._waiting.append(waiting)
        self.size += len(data)
        if told is not None and told.state is not None:
            self._states[told.state] = waiting

    def coalesce(self, since: float, told: Told) -> bool:
        """The same, but an older state that waits becomes part of this one. Whether there was one."""
        older = None if told.state is None else self._states.get(told.state)
        if older is None or older.told is None:
            self.add(since, told.frame, told)
            return False
        merged = told.absorb(older.told)
        self.size -= len(older.data)
        older.data, older.told = b"", None
        self.add(since, merged.frame, merged)
        return True

    def take(self, most: int) -> tuple[float, bytes | None]:
        """What comes next, joined up to about ``most`` bytes, and since when the first of it has waited. It is gone."""
        since: float | None = None
        parts: list[bytes] = []
        size = 0
        while self._waiting and size < most:
            waiting = self._waiting.popleft()
            if not waiting.data:
                continue  # its place was taken by a newer state
            since = waiting.since if since is None else since
            parts.append(waiting.data)
            size += len(waiting.data)
            self._forget(waiting)
        self.size -= size
        return since or 0.0, (parts[0] if len(parts) == 1 else b"".join(parts)) if parts else None

    def drop_told(self) -> int | None:
        """Let go of all that rooms said; the lowest offset of it."""
        told = [waiting.told.offset for waiting in self._waiting if waiting.told is not None]
        kept = [waiting for waiting in self._waiting if waiting.told is None and waiting.data]
        self._waiting = deque(kept)
        self._states.clear()
        self.size = sum(len(waiting.data) for waiting in kept)
        return min(told, default=None)

    def clear(self) -> int | None:
        """Let go of everything; the lowest offset of what rooms said."""
        lowest = self.drop_told()
        self._waiting.clear()
        self.size = 0
        return lowest

    def _forget(self, waiting: _Waiting) -> None:
        told = waiting.told
        if told is not None and told.state is not None and self._states.get(told.state) is waiting:
            del self._states[told.state]
