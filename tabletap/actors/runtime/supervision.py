"""What a crash costs: a wait that grows, a share of the budget, and in the end quarantine.

Three kinds of trouble, never mixed: an ``Outage`` spends nothing and is retried for as long as it lasts; a crash
spends one restart; a message that was there at a crash and then crashes the actor alone is poison and set aside.
"""

import random
from collections import deque
from enum import Enum
from typing import Any

from .limits import Limits


class Verdict(Enum):
    RESTART = "restart"
    QUARANTINE = "quarantine"


class Trouble:
    """An address's record, made at its first failure: the healthy carry none."""

    __slots__ = ("crashes", "outages", "released", "restarts", "since", "suspects")

    def __init__(self) -> None:
        self.crashes: deque[float] = deque()  # within the window, on trio's clock
        self.outages = 0  # in a row
        self.restarts = 0  # ever
        self.suspects: deque[Any] = deque()  # there at a crash: delivered one at a time, before anything newer
        self.since = 0.0  # when the oldest of them arrived
        self.released = 0.0  # the end of quarantine

    def crashed(self, now: float, limits: Limits) -> Verdict:
        while self.crashes and self.crashes[0] <= now - limits.restart_window_seconds:
            self.crashes.popleft()
        self.crashes.append(now)
        if len(self.crashes) > limits.restarts:
            return Verdict.QUARANTINE
        self.restarts += 1
        return Verdict.RESTART

    def backoff_seconds(self, limits: Limits, rng: random.Random) -> float:
        tries = self.outages or len(self.crashes)
        doublings = min(tries - 1, 32)  # beyond this any cap is reached, and floats stay small
        wait = min(limits.backoff_seconds * 2.0**doublings, limits.backoff_most_seconds)
        return wait * (1 - limits.backoff_jitter * rng.random())
