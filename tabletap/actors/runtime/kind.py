"""One kind of actor: its factory, its limits resolved, and those of it that are at rest.

The resting ones form a list threaded through the cells themselves, least recently used first: joining and leaving
are a few assignments, and an idle actor pays two pointers for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .actor import Actor
from .address import Address
from .limits import KindLimits, Limits
from .timers import Timer

if TYPE_CHECKING:
    from .cell import Cell


class Kind:
    __slots__ = (
        "coalesces",
        "dismissed",
        "factory",
        "first",
        "idle_seconds",
        "last",
        "mailbox_bytes",
        "mailbox_messages",
        "name",
        "room",
        "sweep",
    )

    def __init__(self, name: str, factory: Callable[[Address], Actor], limits: Limits) -> None:
        own = limits.kinds.get(name, KindLimits())
        self.name = name
        self.factory = factory
        self.mailbox_messages = limits.mailbox_messages if own.mailbox_messages is None else own.mailbox_messages
        self.mailbox_bytes = limits.mailbox_bytes if own.mailbox_bytes is None else own.mailbox_bytes
        self.idle_seconds = limits.idle_seconds if own.idle_seconds is None else own.idle_seconds
        self.coalesces = own.coalesces
        self.room = 0 if self.coalesces else self.mailbox_messages  # 0 sends every message down the careful path
        self.dismissed = False  # the system stops: whoever comes to rest leaves
        self.sweep: Timer | None = None
        self.first: Cell | None = None
        self.last: Cell | None = None

    def rest(self, cell: Cell) -> None:
        last = self.last
        cell.before = last
        if last is None:
            self.first = cell
        else:
            last.after = cell
        self.last = cell

    def rouse(self, cell: Cell) -> None:
        before, after = cell.before, cell.after
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        cell.before = cell.after = None
