"""Where it is kept who has been shut out, as a protocol. The store implements it.

Every method raises ``actors.runtime.Outage`` when the database cannot be reached.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from tabletap.domain.revocation import Revocation


class Revocations(Protocol):
    async def add(self, revocation: Revocation) -> None:
        """Keep it. One about the same, by somebody of the same rank, takes its place."""
        ...

    async def newer(self, mark: int, now: datetime) -> tuple[Sequence[Revocation], int]:
        """Those kept since ``mark`` (0: all) that have not run out, perhaps some for a second time; and the next mark.

        None is ever passed over, in whatever order they were committed.
        """
        ...
