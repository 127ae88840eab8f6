"""One timing wheel for a whole system: ask deadlines, an actor's notes to itself, sweeps, ends of quarantine.

A ``CancelScope`` per ask would cost more than the ask. Here setting and dropping a timer are a dict insert and a
pop. Time is cut into ticks; whatever falls into the same tick shares a bucket, and the one task sleeps until the
earliest. A timer is never early and at most a tick late. Within a tick they fire in the order they were set, so
that runs on a virtual clock repeat exactly.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from typing import Protocol

import trio

TICK_SECONDS = 0.01


class Expiring(Protocol):
    def expire(self) -> None: ...


class Timer:
    """A call to come; ``cancel()`` prevents it, and does nothing once it happened."""

    __slots__ = ("_bucket", "_call")

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call
        self._bucket: Bucket | None = None

    def start(self, timers: "Timers", when: float) -> "Timer":
        self._bucket = timers.add(self, when)
        return self

    def expire(self) -> None:
        call, self._call, self._bucket = self._call, None, None
        if call is not None:
            call()

    def cancel(self) -> None:
        bucket, self._call, self._bucket = self._bucket, None, None
        if bucket is not None:
            bucket.drop(self)


class Bucket(dict[Expiring, None]):
    """Everything of one tick; a dict because it keeps the order in which timers were set."""

    __slots__ = ()

    def drop(self, entry: Expiring) -> None:
        self.pop(entry, None)
        if not self:
            self.clear()  # gives back the table: answered asks must not cost memory until their deadline


class Timers:
    __slots__ = ("_buckets", "_fired", "_scope", "_ticks", "_unlimited")

    def __init__(self) -> None:
        self._buckets: dict[int, Bucket] = {}
        self._ticks: list[int] = []  # a heap of the keys of _buckets
        self._unlimited = Bucket()  # without a deadline, listed so that the end of the system can find them
        self._fired = -1
        self._scope = trio.CancelScope()

    def add(self, entry: Expiring, when: float) -> Bucket:
        if when == math.inf:
            bucket = self._unlimited
        else:
            tick = max(math.ceil(when / TICK_SECONDS), self._fired + 1)  # what a call sets waits for the next tick
            found = self._buckets.get(tick)
            bucket = found if found is not None else self._open(tick)
        bucket[entry] = None
        return bucket

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        return Timer(call).start(self, trio.current_time() + seconds)

    def pending(self) -> Iterator[Expiring]:
        for bucket in (self._unlimited, *self._buckets.values()):
            yield from tuple(bucket)

    async def run(self) -> None:
        while True:
            self._skip()
            with trio.CancelScope() as self._scope:
                self._scope.deadline = self._ticks[0] * TICK_SECONDS if self._ticks else math.inf
                await trio.sleep_forever()
            self._fire(trio.current_time())

    def _open(self, tick: int) -> Bucket:
        bucket = self._buckets[tick] = Bucket()
        heapq.heappush(self._ticks, tick)
        if self._ticks[0] == tick:
            self._scope.deadline = tick * TICK_SECONDS  # now the earliest: move the alarm clock forward
        return bucket

    def _skip(self) -> None:
        """Nobody is woken for asks that were answered: most ticks are empty by the time they come."""
        while self._ticks and not self._buckets[self._ticks[0]]:
            del self._buckets[heapq.heappop(self._ticks)]

    def _fire(self, now: float) -> None:
        while self._ticks and self._ticks[0] * TICK_SECONDS <= now:
            self._fired = heapq.heappop(self._ticks)
            bucket = self._buckets.pop(self._fired)
            while bucket:  # a call may drop others of its own tick
                entry = next(iter(bucket))
                del bucket[entry]
                entry.expire()
