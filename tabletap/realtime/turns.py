"""Turns: so many at work at once, others in the order in which they came, so many and for so long; nobody else.

Where thousands come back in one moment, all of them at once would be a queue as well, only without an order or an end,
and everything else that the server does would stand in it.
"""

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
import trio

RETRY_AT_MOST_S = 60
_WEIGHT_OF_THE_LAST = 0.1


class TurnLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``waiting``: so many besides those ``at_once``; ``wait_s``: each of them so long."""

    at_once: int
    waiting: int
    wait_s: float


class TurnedAway(Exception):  # noqa: N818  no error: they are told to come again
    """There are too many, or they take too long."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Turns:
    """``admitted``, ``refused``: how many since the start."""

    def __init__(self, limits: TurnLimits) -> None:
        self._limits = limits
        self._limiter = trio.CapacityLimiter(limits.at_once)
        self._takes_s = 0.0  # a turn, of late
        self.waiting = 0
        self.admitted = 0
        self.refused = 0

    @asynccontextmanager
    async def turn(self, *, again: bool = False) -> AsyncIterator[None]:
        """Wait for a turn and have it for as long as the block lasts. Raises TurnedAway. ``again``: for who has had one
        and is not done, and is not turned away for how many there are."""
        try:
            self._limiter.acquire_nowait()
        except trio.WouldBlock:
            if self.waiting >= self._limits.waiting and not again:
                raise self._turned_away() from None
            await self._wait()
        began = trio.current_time()
        try:
            self.admitted += not again
            await trio.lowlevel.checkpoint()
            yield
        finally:
            self._takes_s += _WEIGHT_OF_THE_LAST * (trio.current_time() - began - self._takes_s)
            self._limiter.release()

    async def _wait(self) -> None:
        self.waiting += 1
        try:
            with trio.move_on_after(self._limits.wait_s) as patience:
                await self._limiter.acquire()
        finally:
            self.waiting -= 1
        if patience.cancelled_caught:
            raise self._turned_away()

    def figures(self, what: str) -> Mapping[str, float]:
        """For the metrics."""
        return {
            f"{what}_at_work": self._limiter.borrowed_tokens,
            f"{what}_waiting": self.waiting,
            f"{what}_admitted": self.admitted,
            f"{what}_turned_away": self.refused,
        }

    def _turned_away(self) -> TurnedAway:
        """To come again when those who wait now have had their turn."""
        self.refused += 1
        until_then_s = self.waiting * self._takes_s / self._limits.at_once
        return TurnedAway(min(max(1, math.ceil(until_then_s)), RETRY_AT_MOST_S))
