"""Wall time, passed in so that a test can own it. Durations and deadlines are on trio's clock instead."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...


class WallClock:
    __slots__ = ()

    def now(self) -> datetime:
        return datetime.now(UTC)
