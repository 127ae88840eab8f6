"""What an author of actors writes: a class with three moments, and what it may ask of its surroundings."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .address import Address
from .batch import Batch
from .timers import Timer

if TYPE_CHECKING:
    from .house import House


class Context:
    """One incarnation's view of its surroundings. A new life gets a new one, so that old notes do not reach it."""

    __slots__ = ("_house", "address")

    def __init__(self, address: Address, house: House) -> None:
        self.address = address
        self._house = house

    def now(self) -> datetime:
        """Wall time, from the system's clock."""
        return self._house.clock.now()

    def tell_self_later(self, seconds: float, message: Any) -> Timer:
        """A volatile note: it dies with this incarnation, be it by crash or passivation. Durable: see ``Waker``."""
        return self._house.timers.after(seconds, lambda: self._remind(message))

    def _remind(self, message: Any) -> None:
        cell = self._house.cells.get(self.address)
        if cell is not None:
            cell.remind(self, message)


class Actor:
    """One instance per incarnation, made by its kind's factory. Never runs in two tasks at once."""

    __slots__ = ("context",)
    context: Context  # set by the runtime before started()

    async def started(self) -> None:
        """Load state. Messages wait meanwhile."""

    async def receive(self, batch: Batch) -> None:
        """Process every message of the batch. Returning settles it; raising restarts the actor."""
        raise NotImplementedError

    async def stopped(self) -> None:
        """Passivated or shut down; not called after a crash. What arrives meanwhile finds a new incarnation."""

    def idle(self) -> bool:
        """May it be passivated now?"""
        return True
