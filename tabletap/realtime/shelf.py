"""What was made for one and will do for the next: kept within bounds, and made once where many ask at the same time."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import trio

T = TypeVar("T")


class _Kept(Generic[T]):
    __slots__ = ("asked_at", "weight", "what")

    def __init__(self, what: T, weight: int) -> None:
        self.what = what
        self.weight = weight
        self.asked_at = trio.current_time()


class Shelf(Generic[T]):
    """``most``: of the weights of all that is kept (bytes, or whatever they are given in). What was not asked for for
    longest goes first. ``asked_for``, ``made``: how often since the start something was asked for, and put here."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _Kept[T]] = OrderedDict()
        self.weight = 0
        self.asked_for = 0
        self.made = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> T | None:
        """What is kept there."""
        self.asked_for += 1
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        kept.asked_at = trio.current_time()
        return kept.what

    def put(self, key: Hashable, what: T, weight: int) -> None:
        """Keep it, if it is not too heavy by itself, in place of what was kept there."""
        self.made += 1
        self._drop(key)
        if weight > self._most:
            return
        self._kept[key] = _Kept(what, weight)
        self.weight += weight
        while self.weight > self._most:
            self._drop(next(iter(self._kept)))

    def forget(self, unasked_s: float) -> None:
        """Drop what nobody has asked for in so many seconds."""
        until = trio.current_time() - unasked_s
        while self._kept and self._kept[oldest := next(iter(self._kept))].asked_at < until:
            self._drop(oldest)

    def _drop(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.weight -= kept.weight


class _Flight:
    __slots__ = ("failure", "found", "landed")

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.found: tuple[Any] | None = None
        self.failure: Exception | None = None


class Flights:
    """Work under way, by key: who asks for it meanwhile waits for it."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, _Flight] = {}

    async def join(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work, or wait for who is at it. It fails for all; if who was at it is cancelled, the next goes on."""
        while (flight := self._under_way.get(key)) is not None:
            await flight.landed.wait()
            if flight.failure is not None:
                raise flight.failure
            if flight.found is not None:
                found: T = flight.found[0]
                return found
        flight = self._under_way[key] = _Flight()
        try:
            done = await work()
            flight.found = (done,)
        except Exception as failure:
            flight.failure = failure
            raise
        finally:
            del self._under_way[key]
            flight.landed.set()
        return done
