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

    def before(self, tries: int, leave_alone_s: float = 0.0) -> float:
        """Seconds before attempt ``tries`` (0: the first repetition). ``leave_alone_s``: what the server has asked for,
        of so many perhaps that they must not all come when it is over: as long again, at random."""
        own_s = self.random() * min(self.longest_s, self.first_s * 2.0 ** min(tries, 30))
        return leave_alone_s * (1 + self.random()) + own_s if leave_alone_s else own_s
