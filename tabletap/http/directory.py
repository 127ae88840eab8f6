"""The cafes of this installation by slug and id, in memory: every request asks, and they hardly ever change."""

import structlog
import trio

from tabletap.actors.ports import CafeEntry, Reader
from tabletap.actors.runtime import Outage
from tabletap.domain.base import CafeId

log = structlog.get_logger(__name__)

REFRESH_S = 5.0
"""A cafe opened at another node is known here after this long (seconds)."""


class CafeDirectory:
    """Read at start, told of cafes opened here, refreshed for those opened elsewhere."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._by_slug: dict[str, CafeEntry] = {}
        self._by_id: dict[CafeId, CafeEntry] = {}

    def by_slug(self, slug: str) -> CafeEntry | None:
        return self._by_slug.get(slug)

    def by_id(self, cafe_id: CafeId) -> CafeEntry | None:
        return self._by_id.get(cafe_id)

    def add(self, entry: CafeEntry) -> None:
        """A cafe has opened here."""
        self._by_slug[entry.slug] = self._by_id[entry.id] = entry

    async def refresh(self) -> None:
        """Read them all."""
        for entry in await self._reader.cafes():
            self.add(entry)

    async def run(self) -> None:
        """Keep up with the other nodes."""
        while True:
            await trio.sleep(REFRESH_S)
            try:
                await self.refresh()
            except Outage:
                log.warning("directory_refresh_failed")
