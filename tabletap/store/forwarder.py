"""Turns the logs of cafes that have endpoints into messages for these, each event once (spec H5).

A task per such cafe reads on from its cursor whenever something was committed; now and then it looks without being
told, for what other nodes have written. Of two nodes that read the same page one moves the cursor, and the other's
transaction finds it moved and does nothing.
"""

import logging
from collections.abc import Sequence
from typing import Final

import trio

from tabletap.actors.ports import Publisher, Reader, Recorded
from tabletap.actors.runtime import Outage
from tabletap.domain.base import CafeId
from tabletap.realtime.outgoing import news_of
from tabletap.store.endpoints import Endpoints
from tabletap.store.pool import Retry

_log = logging.getLogger(__name__)

PAGE: Final = 200
LOOK_S: Final = 5.0
AGAIN_S: Final = 1.0


class Forwarder:
    """``run()`` in a task; ``look`` when a cafe may have its first endpoint."""

    def __init__(self, endpoints: Endpoints, reader: Reader, publisher: Publisher) -> None:
        self._endpoints = endpoints
        self._reader = reader
        self._publisher = publisher
        self._bell = trio.Event()
        self._followed: set[CafeId] = set()
        endpoints.changed = self.look

    def look(self) -> None:
        """Look at once which cafes have endpoints."""
        self._bell.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._bell = trio.Event()
                try:
                    cursors = await self._endpoints.cursors()
                except (Outage, Retry) as trouble:
                    _log.info("the forwarder waits: %s", trouble)
                    cursors = {}
                for cafe_id, offset in cursors.items():
                    if cafe_id not in self._followed:
                        self._followed.add(cafe_id)
                        nursery.start_soon(self._follow, cafe_id, offset)
                with trio.move_on_after(LOOK_S):
                    await self._bell.wait()

    async def _follow(self, cafe_id: CafeId, offset: int) -> None:
        """Until the cafe has no endpoints any more."""
        news = trio.Event()

        def heard(_: Sequence[Recorded]) -> None:
            news.set()

        unfollow = self._publisher.follow(cafe_id, heard)
        cursor: int | None = offset
        try:
            while cursor is not None:
                news = trio.Event()
                try:
                    moved = await self._forward(cafe_id, cursor)
                except (Outage, Retry) as trouble:
                    _log.info("the forwarder of %s waits: %s", cafe_id, trouble)
                    await trio.sleep(AGAIN_S)
                    continue
                if moved == cursor:
                    with trio.move_on_after(LOOK_S):
                        await news.wait()
                cursor = moved
        finally:
            unfollow()
            self._followed.discard(cafe_id)

    async def _forward(self, cafe_id: CafeId, cursor: int) -> int | None:
        """A page; where the cursor is then. None: there is none."""
        page = await self._reader.log(cafe_id, cursor, PAGE)
        if page:
            told = [news for news in map(news_of, page) if news is not None]
            if await self._endpoints.move(cafe_id, cursor, page[-1].offset, told):
                return page[-1].offset
        return (await self._endpoints.cursors()).get(cafe_id)
