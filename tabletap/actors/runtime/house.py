"""What all cells of one system share: the registry, the clock and timers, the counts, who is to be told of trouble."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from .address import Address
from .clock import Clock
from .errors import Stopping
from .kind import Kind
from .letters import DeadLetters
from .limits import Limits
from .state import State
from .timers import TICK_SECONDS, Timers

if TYPE_CHECKING:
    from .cell import Cell

log = logging.getLogger(__name__)

inside: ContextVar[House | None] = ContextVar("inside", default=None)  # set in every actor's task and its children


@dataclass(slots=True)
class Counters:
    told: int = 0  # counted as they leave the mailbox, where it costs nothing
    asked: int = 0
    refused: int = 0
    coalesced: int = 0
    expired: int = 0  # asks whose deadline passed in the mailbox
    activations: int = 0
    passivations: int = 0
    restarts: int = 0
    outages: int = 0
    quarantines: int = 0
    dead_letters: int = 0


class House:
    __slots__ = (
        "_quiet",
        "busy",
        "cells",
        "clock",
        "closed",
        "counters",
        "departing",
        "kinds",
        "letters",
        "limits",
        "live",
        "on_crash",
        "on_escalate",
        "rng",
        "stopping",
        "timers",
    )

    def __init__(
        self,
        *,
        kinds: dict[str, Kind],
        limits: Limits,
        clock: Clock,
        letters: DeadLetters,
        rng: random.Random,
        on_crash: Callable[[Address, Exception], None] | None,
        on_escalate: Callable[[Address, Exception], None] | None,
    ) -> None:
        self.cells: dict[Address, Cell] = {}
        self.kinds = kinds
        self.limits = limits
        self.clock = clock
        self.letters = letters
        self.rng = rng
        self.on_crash = on_crash
        self.on_escalate = on_escalate
        self.timers = Timers()
        self.counters = Counters()
        self.live = 0  # cells with a task: all but the quarantined
        self.busy = 0  # of these, the ones not at rest
        self.departing = 0  # of these, the ones told to leave
        self.stopping = False
        self.closed = False
        self._quiet: trio.Event | None = None

    def admit(self, address: Address) -> None:
        """While draining only actors may still send: it is part of doing the last messages."""
        if self.closed or (self.stopping and inside.get() is not self):
            self.counters.refused += 1
            raise Stopping(address, "is not taking messages: the system stops")

    def bury(self, address: Address, message: object, reason: str) -> None:
        self.counters.dead_letters += 1
        self.letters.add(address, message, reason)

    # Rest and work. Whoever wakes a cell counts it busy at once, so that quiet never lies in between.

    def rested(self) -> None:
        self.busy -= 1
        if not self.busy and self._quiet is not None:
            self._quiet.set()
            self._quiet = None

    def ended(self, cell: Cell) -> None:
        self.live -= 1
        if cell.state is State.GONE:
            del self.cells[cell.address]
        else:
            self.counters.quarantines += 1  # the cell stays in the registry, to say so
        self.rested()

    async def wait_quiet(self) -> None:
        """Until no actor has anything waiting or in hand. Always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while self.busy:
            if self._quiet is None:
                self._quiet = trio.Event()
            await self._quiet.wait()

    # Passivation.

    def crowded(self) -> bool:
        return self.live - self.departing > self.limits.active_limit

    def evict(self) -> bool:
        """Send the least recently used of all that may go; look at few, since this runs on the senders' time."""
        for _ in range(8):
            heads = [kind.first for kind in self.kinds.values() if kind.first is not None]
            if not heads:
                return False
            cell = min(heads, key=lambda head: head.used)
            if self._send_off(cell):
                return True
        return False

    def dismiss(self, kind: Kind) -> None:
        """The system stops: the first few that rest leave, willing or not."""
        for _ in range(self.limits.leave_at_once):
            if (cell := kind.first) is None:
                return
            cell.depart()

    def watch(self, kind: Kind, seconds: float) -> None:
        kind.sweep = self.timers.after(seconds, lambda: self._sweep(kind))

    def _sweep(self, kind: Kind) -> None:
        now = trio.current_time() + TICK_SECONDS  # timers are that coarse
        sent = 0
        while (cell := kind.first) is not None and cell.used + kind.idle_seconds <= now:
            if sent == self.limits.leave_at_once:
                self.watch(kind, 0.0)
                return
            sent += 1
            self._send_off(cell)
        if cell is None:
            kind.sweep = None  # the next to come to rest sets it again
        else:
            # Not once per actor: a sixteenth of the idle time late is no harm, and gathers them.
            self.watch(kind, max(cell.used + kind.idle_seconds - now, kind.idle_seconds / 16))

    def _send_off(self, cell: Cell) -> bool:
        actor = cell.actor
        assert actor is not None
        if self.willing(cell):
            cell.depart()
            return True
        cell.kind.rouse(cell)  # asked again when it has become the oldest once more
        cell.used = trio.current_time()
        cell.kind.rest(cell)
        return False

    def willing(self, cell: Cell) -> bool:
        try:
            return cell.actor is None or cell.actor.idle()
        except Exception:
            log.exception("idle() of %s failed", cell.address)
            return True

    # Trouble.

    def report_crash(self, address: Address, crash: Exception) -> None:
        self._report(self.on_crash, address, crash, "crashed")

    def report_escalation(self, address: Address, crash: Exception) -> None:
        self._report(self.on_escalate, address, crash, "crashed too often and is quarantined")

    def _report(
        self, hook: Callable[[Address, Exception], None] | None, address: Address, crash: Exception, what: str
    ) -> None:
        """A bug is loud: whoever sets no hook gets it in the log."""
        if hook is None:
            log.error("actor %s %s", address, what, exc_info=crash)
            return
        try:
            hook(address, crash)
        except Exception:
            log.exception("a callback for trouble failed")

    def lose_asks(self, end: Callable[[Any], BaseException]) -> None:
        """The system is over: whoever still waits for an answer learns it."""
        for entry in self.timers.pending():
            lose = getattr(entry, "lose", None)
            if lose is not None:
                lose(end(entry))
