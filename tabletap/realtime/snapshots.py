"""What a client is given that cannot be told everything it missed: the whole, as it stands."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

Snapshot = Callable[[], Awaitable[tuple[int, Any]]]
"""What a room is about as it stands, and the offset of the log at which it stood so."""


class Resync(msgspec.Struct, frozen=True, tag="resync", omit_defaults=True, kw_only=True):
    """Too much was missed: ``snapshot`` replaces what the client has; everything after ``offset`` follows."""

    id: Any = None
    room: str
    offset: int
    snapshot: Any
