"""Many clients that come back at once: how they take turns, and what is kept of what the first of them was told."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from .shelf import Flights, Shelf
from .turns import TurnLimits, Turns

if TYPE_CHECKING:
    from .retelling import Cut, Stretch, Whole


class StormLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``handshakes``, ``recoveries``: how many at work at once. ``frames_bytes``: of what rooms were told, joined for
    whoever missed the same; ``log_events``: of the log, read for that; ``wholes_bytes``: of rooms as a whole, which are
    given to others for ``wholes_s``; ``keep_s``: what nobody has asked for so long is dropped."""

    handshakes: TurnLimits = TurnLimits(at_once=16, waiting=4_000, wait_s=5)
    recoveries: TurnLimits = TurnLimits(at_once=16, waiting=20_000, wait_s=10)
    frames_bytes: int = 32 * 1024 * 1024
    log_events: int = 6_000
    wholes_bytes: int = 8 * 1024 * 1024
    wholes_s: float = 1
    keep_s: float = 10


class Shelves:
    """What is kept to be told again (``retelling``)."""

    def __init__(self, limits: StormLimits) -> None:
        self._limits = limits
        self.cuts: Shelf[Cut] = Shelf(limits.frames_bytes)
        self.stretches: Shelf[Stretch] = Shelf(limits.log_events)
        self.wholes: Shelf[Whole] = Shelf(limits.wholes_bytes)
        self.flights = Flights()
        self.turns = Turns(limits.recoveries)

    def tidy(self) -> None:
        """Drop what was for a storm that is over."""
        for shelf in (self.cuts, self.stretches, self.wholes):
            shelf.forget(self._limits.keep_s)

    def figures(self) -> Mapping[str, float]:
        """For the metrics."""
        return {
            **self.turns.figures("recoveries"),
            "recovery_frames_bytes": self.cuts.weight,
            "recovery_frames_asked_for": self.cuts.asked_for,
            "recovery_frames_made": self.cuts.made,
            "recovery_log_events": self.stretches.weight,
            "recovery_log_asked_for": self.stretches.asked_for,
            "recovery_log_reads": self.stretches.made,
        }
