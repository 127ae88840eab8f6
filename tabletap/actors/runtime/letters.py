"""Messages that nobody will process, each with its reason. Bounded: the newest few are kept, all are counted."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .address import Address
from .clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Names the message's type only: its content may be personal, and would be pinned in memory."""

    address: Address
    message: str
    reason: str
    when: datetime


class DeadLetters:
    __slots__ = ("_callback", "_clock", "_ring", "_watchers", "total")

    def __init__(self, clock: Clock, keep: int, callback: Callable[[DeadLetter], None] | None) -> None:
        self.total = 0
        self._clock = clock
        self._ring: deque[DeadLetter] = deque(maxlen=keep)
        self._callback = callback
        self._watchers: list[Callable[[Address, Any], None]] = []

    def add(self, address: Address, message: object, reason: str) -> None:
        letter = DeadLetter(address, type(message).__name__, reason, self._clock.now())
        self.total += 1
        self._ring.append(letter)
        try:
            if self._callback is not None:
                self._callback(letter)
            for watcher in self._watchers:
                watcher(address, message)
        except Exception:
            log.exception("a callback for dead letters failed")

    def watch(self, watcher: Callable[[Address, Any], None]) -> None:
        """For those who must not lose a message: called with the address and the message itself."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[Address, Any], None]) -> None:
        self._watchers.remove(watcher)

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[DeadLetter]:
        """Those still kept, oldest first."""
        return iter(tuple(self._ring))
