"""Durable wakes: timers that are data. One task serves all of them and holds only a window.

The source (a table of next wake times) is the truth. In memory there is a heap of those due within the horizon,
refilled page by page; what lies beyond costs nothing. An address has at most one wake time. ``schedule`` is told
*after* the source has stored it, so the window may forget any entry: the next refill brings it again.

A wake is delivered at least once: one that became a dead letter is offered again, and one whose time is still in the
source a whole refill after it was delivered is taken for lost. The receiver finds out from its state what is due.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Protocol

import trio

from .address import Address
from .clock import Clock
from .errors import Outage, Quarantined, Stopping
from .system import System


@dataclass(frozen=True, slots=True)
class Wake:
    """It is time. ``due`` is when it should have come."""

    due: datetime


class WakeSource(Protocol):
    async def upcoming(self, until: datetime, limit: int) -> Sequence[tuple[Address, datetime]]:
        """Wake times up to and including ``until``, overdue ones too, earliest first, at most ``limit``."""
        ...


class Waker:
    def __init__(
        self,
        system: System,
        source: WakeSource,
        clock: Clock,
        horizon_seconds: float = 600.0,
        page: int = 10_000,
        *,
        retry_seconds: float = 5.0,
    ) -> None:
        self._system = system
        self._source = source
        self._clock = clock
        self._horizon = timedelta(seconds=horizon_seconds)
        self._page = page
        self._retry_seconds = retry_seconds
        self._order = count()  # breaks ties, so that addresses need no order
        self._heap: list[tuple[datetime, int, Address]] = []  # when to offer it; stale entries are skipped
        self._held: dict[Address, tuple[datetime, int]] = {}  # the due time, and which heap entry is valid
        self._edge: datetime | None = None  # nothing later than this is held; None before the first refill
        self._refill_at: datetime | None = None
        self._told: dict[Address, datetime] = {}  # delivered since the last refill
        self._losses: dict[Address, int] = {}  # of an address's wakes, since it last scheduled one
        self._touched: set[Address] | None = None  # scheduled while a refill is on its way: it knows less than we
        self._alarm = trio.CancelScope()

    @property
    def held(self) -> int:
        return len(self._held)

    def schedule(self, address: Address, at: datetime | None) -> None:
        """The address's next wake time, the only one it has; ``None`` means none. Call it once that is stored."""
        if self._touched is not None:
            self._touched.add(address)
        self._told.pop(address, None)
        self._held.pop(address, None)
        self._losses.pop(address, None)
        if at is not None and self._edge is not None and at <= self._edge:
            self._hold(address, at, at)
            self._ring()

    async def run(self, *, task_status: trio.TaskStatus["Waker"] = trio.TASK_STATUS_IGNORED) -> None:
        """Until the system stops or this task is cancelled."""
        letters = self._system.dead_letters
        letters.watch(self._lost)
        self._edge = self._clock.now() + self._horizon
        task_status.started(self)
        try:
            while True:
                with trio.CancelScope() as self._alarm:
                    await trio.sleep(self._seconds_to_next())
                if self._refill_at is None or self._clock.now() >= self._refill_at:
                    await self._refill()
                self._deliver_due()
        except Stopping:
            return
        finally:
            letters.unwatch(self._lost)

    # The window.

    def _hold(self, address: Address, due: datetime, offer: datetime) -> None:
        entry = (offer, next(self._order), address)
        self._held[address] = (due, entry[1])
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * self._page + 64:
            self._trim()

    def _trim(self) -> None:
        """Forget stale entries and, if there are still too many, the later ones: the source has them."""
        valid = sorted(entry for entry in self._heap if self._valid(entry))
        if len(valid) > self._page:
            for _, _, address in valid[self._page :]:
                del self._held[address]
            valid = valid[: self._page]
            self._edge = valid[-1][0]
            self._refill_at = min(self._refill_at or self._edge, self._edge)
        self._heap = valid  # sorted is a heap

    def _valid(self, entry: tuple[datetime, int, Address]) -> bool:
        held = self._held.get(entry[2])
        return held is not None and held[1] == entry[1]

    async def _refill(self) -> None:
        now = self._clock.now()
        until = now + self._horizon
        limit = self._page + len(self._held) + len(self._told)  # what we know already must not crowd out the rest
        former_edge, self._edge = self._edge, until
        self._touched = set()
        told, self._told = self._told, {}
        try:
            found = await self._source.upcoming(until, limit)
        except Outage:
            self._edge = former_edge
            self._told = told | self._told
            self._refill_at = self._clock.now() + timedelta(seconds=self._retry_seconds)
            return
        finally:
            touched, self._touched = self._touched, None
        now = self._clock.now()
        self._refill_at = now + self._horizon / 2
        if len(found) >= limit:  # a full page: the window ends where it does
            self._edge = found[-1][1]
            self._refill_at = min(self._refill_at, max(self._edge, now))
        for address, due in found:
            if address not in touched and address not in self._held and told.get(address) != due:
                self._hold(address, due, due)

    # Delivery.

    def _deliver_due(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if not self._valid(entry):
                continue
            address = entry[2]
            due, _ = self._held[address]
            try:
                self._system.insist(address, Wake(due))
            except Quarantined as refusal:
                self._hold(address, due, now + timedelta(seconds=max(refusal.retry_after_seconds, 0.01)))
            else:
                del self._held[address]
                self._told[address] = due

    def _lost(self, address: Address, message: Any) -> None:
        """A wake that nobody processed is offered again, ever less often: it may itself be what crashes the actor."""
        if isinstance(message, Wake) and address not in self._held:
            self._told.pop(address, None)
            losses = self._losses[address] = self._losses.get(address, 0) + 1
            wait = min(timedelta(seconds=self._retry_seconds * 2.0 ** min(losses - 1, 32)), self._horizon)
            self._hold(address, message.due, self._clock.now() + wait)
            self._ring()

    # The alarm clock.

    def _seconds_to_next(self) -> float:
        if self._refill_at is None:
            return 0.0
        while self._heap and not self._valid(self._heap[0]):
            heapq.heappop(self._heap)
        at = min(self._refill_at, self._heap[0][0]) if self._heap else self._refill_at
        return max((at - self._clock.now()).total_seconds(), 0.0)

    def _ring(self) -> None:
        self._alarm.deadline = (
            -math.inf
            if self._seconds_to_next() <= 0
            else min(self._alarm.deadline, trio.current_time() + self._seconds_to_next())
        )
