"""What tills are told, for those that ask instead of listening: the same events by the same offsets (spec S3)."""

import msgspec
import trio

from tabletap.actors.ports import Reader
from tabletap.domain.access import pos_room
from tabletap.domain.base import CafeId

from .hub import Hub
from .payloads import TillTest
from .replay import know_head
from .ring import Entry
from .sending import Sending

PAGES_AT_MOST = 20
"""Read for one answer: in a long stretch that says nothing to tills, the next question goes on from where it ended."""


class Told(msgspec.Struct, frozen=True):
    """Events as a socket's frames hold them, each with its offset, and the offset up to which there are no others."""

    events: tuple[bytes, ...]
    cursor: int


class TillFeed:
    """One node's."""

    def __init__(self, hub: Hub, reader: Reader, sending: Sending) -> None:
        self._hub = hub
        self._reader = reader
        self._sending = sending

    async def head(self, cafe_id: CafeId) -> int:
        """How far the cafe's rooms have been told. Raises Outage."""
        return await know_head(self._hub, self._reader, cafe_id)

    async def after(self, cafe_id: CafeId, cursor: int, limit: int) -> Told:
        """What tills were told after an offset, as far as it has been told to their room. Raises Outage."""
        room, head = pos_room(cafe_id), await self.head(cafe_id)
        page_size = self._hub.limits.replay_page_events
        events: list[bytes] = []
        for _ in range(PAGES_AT_MOST):
            if cursor >= head or len(events) >= limit:
                break
            async with self._hub.readers:
                page = [one for one in await self._reader.log(cafe_id, cursor, page_size) if one.offset <= head]
                orders = await self._hub.stories.of_page(cafe_id, page) if page else {}
            for recorded in page:
                entry = Entry(recorded, self._hub.tickets.of(recorded.event), orders.get(recorded.offset))
                said = entry.json(room)
                if said is not None:
                    events.append(said)
                cursor = recorded.offset
                if len(events) >= limit:
                    break
            else:
                cursor = head if len(page) < page_size else cursor
        return Told(tuple(events), cursor)

    async def wait(self, cafe_id: CafeId, cursor: int, limit: int, seconds: float) -> Told:
        """The same; where there is nothing yet, what comes within so many seconds. Raises Outage."""
        told = await self.after(cafe_id, cursor, limit)
        with trio.move_on_after(seconds):
            while not told.events:
                while self._hub.head(cafe_id) <= told.cursor:
                    await self._hub.moved(cafe_id)
                told = await self.after(cafe_id, told.cursor, limit)
        return told

    def test(self, cafe_id: CafeId, text: str, by: str | None) -> int:
        """Say something to the tills that listen now; how many of them do, at this node."""
        room = pos_room(cafe_id)
        heard = self._hub.rooms.member_count(room)
        self._sending.to_room(cafe_id, room, "till_tested", TillTest(text=text, by=by))
        return heard
