"""Where days are counted and reports of them kept, as a protocol. The store implements it.

Every method raises ``actors.runtime.Outage`` when the database cannot be reached.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

import msgspec

from tabletap.domain.base import By, CafeId
from tabletap.domain.cafe import DayView
from tabletap.domain.dailyreport import DailyReport
from tabletap.domain.daycount import Facts
from tabletap.domain.settings import CafeSettings


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """A till's report as it is kept. ``uploads``: how many there have been of that day, with this."""

    report_id: UUID
    report: DailyReport
    uploads: int
    uploaded_at: datetime
    by: By


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of a stretch of a cafe's log: what is after the offset ``after``, up to and with ``upto``."""

    after: int
    upto: int
    facts: Facts


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """A closing as the log has it, at ``offset``. ``after``, ``since``: of the one before it (0, None: the first)."""

    day: DayView
    by: By
    offset: int
    after: int
    since: datetime | None


class Reports(Protocol):
    async def upload(self, cafe_id: CafeId, report_id: UUID, report: DailyReport, by: By, now: datetime) -> Uploaded:
        """Keep a till's report, in place of the one of that day if there is one (whose id stays)."""
        ...

    async def uploaded(self, cafe_id: CafeId, first: date, last: date) -> Sequence[Uploaded]:
        """Tills' reports of these days, the newest day first."""
        ...

    async def day(self, cafe_id: CafeId, begins: datetime, ends: datetime, settings: CafeSettings) -> Counted:
        """What is in the log of the time from ``begins`` to before ``ends``."""
        ...

    async def since_closing(self, cafe_id: CafeId, settings: CafeSettings) -> tuple[Counted, Closing | None]:
        """What is in the log since the last closing (None: since it began)."""
        ...

    async def closings(self, cafe_id: CafeId, before: int | None, limit: int) -> Sequence[Closing]:
        """The newest first; ``before``: a number, for paging."""
        ...

    async def of_closing(self, closing: Closing, cafe_id: CafeId, settings: CafeSettings) -> Counted:
        """What a closing has closed."""
        ...

    async def stored(self, cafe_id: CafeId, number: int) -> bytes | None:
        """The document of a Z, as it was first stored."""
        ...

    async def store(self, cafe_id: CafeId, number: int, document: bytes, now: datetime) -> bytes:
        """Keep the document of a Z, unless there is one; the one that is kept."""
        ...
