"""What happened: every order of a run, who saw it when, and what went wrong. Everybody writes; ``report`` reads.

An order's note carries the run and the way its customer will pay (``sim-3f2a9c cash``), as a customer would say it at
the counter. Whoever hears of an order by its room knows by that whether it is one of ours.
"""

from collections import Counter
from enum import StrEnum
from uuid import uuid4

import msgspec
import trio

NOTES_KEPT = 10
LOOK_SECONDS = 0.1


class Plan(StrEnum):
    """How a customer will pay."""

    CASH = "cash"
    CASH_LATER = "cash-later"
    TRANSFER = "transfer"


class Placed(msgspec.Struct):
    """An acknowledged order. Moments are ``trio.current_time``; ``due``: when it should have been sent."""

    due: float
    sent: float
    acked: float
    total: int


class Screen(msgspec.Struct):
    """What one kitchen screen saw: order -> when it appeared first."""

    arrivals: dict[str, float] = {}
    duplicated: int = 0
    out_of_order: int = 0
    resynced: int = 0
    dropped: int = 0

    def arrived(self, order_id: str, at: float) -> bool:
        """Note that an order appeared; whether it was the first time."""
        if order_id in self.arrivals:
            self.duplicated += 1
            return False
        self.arrivals[order_id] = at
        return True


class Book:
    """The record of one run."""

    def __init__(self, orders: int, screens: int) -> None:
        self.run = f"sim-{uuid4().hex[-6:]}"
        self.orders = orders
        self.screens = [Screen() for _ in range(screens)]
        self.placed: dict[str, Placed] = {}
        self.served: set[str] = set()
        self.refused = 0
        self.failures: Counter[str] = Counter()
        self.notes: list[str] = []
        self.rest_seconds: list[float] = []
        self.methods: Counter[str] = Counter()
        self.channels: Counter[str] = Counter()
        self.commands = 0
        self.repeated = 0
        self.followed = 0
        self.followed_whole = 0
        self.follow_repeated = 0
        self.out_of_order = 0

    def note(self, plan: Plan) -> str:
        """What the order's note says."""
        return f"{self.run} {plan}"

    def plan(self, note: str | None) -> Plan | None:
        """How an order of ours will be paid; None: it is somebody else's."""
        run, _, plan = (note or "").partition(" ")
        return Plan(plan) if run == self.run else None

    def fail(self, what: str, detail: str = "") -> None:
        """Something went wrong that should not have."""
        self.failures[what] += 1
        if len(self.notes) < NOTES_KEPT:
            self.notes.append(f"{what}: {detail}" if detail else what)

    async def settled(self) -> None:
        """Wait until nothing more is to come: all answered, seen on every screen, and handed over."""
        while not self._is_settled():  # noqa: ASYNC110 - cheaper than an event at each of a million notes
            await trio.sleep(LOOK_SECONDS)

    def _is_settled(self) -> bool:
        answered = len(self.placed) + self.refused >= self.orders
        return answered and self.served >= self.placed.keys() and self.unseen == 0

    @property
    def unseen(self) -> int:
        """How many acknowledged orders have not appeared, summed over the screens."""
        return sum(len(self.placed.keys() - screen.arrivals.keys()) for screen in self.screens)

    @property
    def seen_everywhere(self) -> int:
        """How many orders the slowest screen has."""
        return min((len(screen.arrivals) for screen in self.screens), default=0)
