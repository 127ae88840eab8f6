"""How long to wait before trying again: exponential, capped, and all of it at random (full jitter).

A thousand screens that lose their server in one moment must not come back in one moment.
"""

from collections.abc import Callable
from random import SystemRandom

import msgspec

_chance = SystemRandom().random


class Pauses(msgspec.Struct, frozen=True, kw_only=True):
    """``random``: a number in [0, 1)."""

    first_s: float = 0.5
    longest_s: float = 20.0
    random: Callable[[], float] = _chance

    def before(self, tries: int) -> float:
        """Seconds before attempt ``tries`` (0: the first repetition)."""
        return self.random() * min(self.longest_s, self.first_s * 2.0 ** min(tries, 30))
