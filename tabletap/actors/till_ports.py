"""Where tills, their keys and what passed between them and us are kept, as protocols. The store implements them.

Every method raises ``actors.runtime.Outage`` when the database cannot be reached.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from tabletap.domain.base import CafeId
from tabletap.domain.till import TillKey


class KeyNameTaken(Exception):  # noqa: N818  the other key was first
    """A key of this name is good at the cafe: nothing was written."""


class Keys(Protocol):
    async def add(self, key: TillKey, most: int) -> bool:
        """Keep it. False: the cafe has ``most`` keys that are good. Raises KeyNameTaken."""
        ...

    async def rotate(
        self, cafe_id: CafeId, key_id: UUID, digest: bytes, hint: str, now: datetime, until: datetime
    ) -> TillKey | None:
        """From now on it is another one; what it was is good ``until`` then. None: the cafe has no such key."""
        ...

    async def revoke(self, cafe_id: CafeId, key_id: UUID, now: datetime) -> TillKey | None:
        """It is good no longer. None: the cafe has no such key."""
        ...

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillKey]:
        """The newest first, the revoked ones too."""
        ...

    async def newer(self, mark: int) -> tuple[Sequence[TillKey], int]:
        """Those written since ``mark`` (0: all that are good), perhaps some for a second time; and the next mark."""
        ...

    async def used(self, when: Mapping[UUID, datetime]) -> None:
        """When keys were last used."""
        ...


class TillId(NamedTuple):
    """A till is a name under a key."""

    key_id: UUID
    till: str


class TillRow(msgspec.Struct, frozen=True, kw_only=True):
    """How far a till has got: ``cursor`` is the offset up to which it has acknowledged everything."""

    key_id: UUID
    till: str
    cafe_id: CafeId
    cursor: int
    seen_at: datetime
    last_error: str | None = None
    last_error_at: datetime | None = None

    @property
    def ident(self) -> TillId:
        return TillId(self.key_id, self.till)


class LineKind(StrEnum):
    """What a line of the log is about."""

    PUSH = "push"
    ACK = "ack"
    CALL = "call"
    CONNECT = "connect"
    DISCONNECT = "disconnect"
    REFUSED = "refused"
    TEST = "test"


class Line(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Something that passed between a till and us. ``first_offset`` to ``last_offset``: of so many ``events`` that were
    pushed, or what was acknowledged; ``status``: HTTP's; ``what``: the operation, or the door."""

    cafe_id: CafeId
    at: datetime
    kind: LineKind
    what: str
    key_id: UUID | None = None
    till: str | None = None
    first_offset: int | None = None
    last_offset: int | None = None
    events: int | None = None
    status: int | None = None
    error: str | None = None
    duration_ms: int | None = None


class TillBook(Protocol):
    async def enter(self, ident: TillId, cafe_id: CafeId, head: int, now: datetime, most: int) -> TillRow | None:
        """The till, which begins at ``head`` if it is new. None: the key has ``most`` tills already."""
        ...

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillRow]:
        """The tills of the cafe's keys that are good, by name."""
        ...

    async def write(self, tills: Sequence[TillRow], lines: Sequence[Line]) -> None:
        """Keep how far tills have got (never less far than they were), and lines of the log."""
        ...

    async def lines(self, cafe_id: CafeId, before: int | None, limit: int) -> Sequence[tuple[int, Line]]:
        """The log with its ids, the newest line first. ``before``: paging."""
        ...
