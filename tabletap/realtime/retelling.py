"""What is told again, made once for all who come back: stretches of the log, and the frames of a room within them.

Thousands of clients that lose their server resume within seconds, in the same few rooms and from nearly the same
offset. So:

- The log is read in stretches that begin at multiples of a page's size, wherever a client stands in them: who is near
  another reads the same. A stretch that somebody is reading is read by nobody else.
- A room's frames from one offset to another are joined once (``Cut``), and end where a stretch does: whoever began
  elsewhere shares the next.

The log is only ever added to, so nothing that is kept becomes wrong. A stretch that was not full when it was read is
read again by who wants more; frames up to a head that has moved are asked for by nobody and are dropped.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec
import trio

from tabletap.actors.ports import Reader, Recorded
from tabletap.domain import events as e
from tabletap.domain.access import pos_room
from tabletap.domain.base import CafeId, OrderId
from tabletap.domain.order import Order

from .frames import encode
from .hub import Hub
from .ring import Entry
from .snapshots import Snapshot


class Cut(NamedTuple):
    """Frames of a room, joined: all that it was told up to ``reached``. ``offsets``: theirs."""

    data: bytes
    offsets: tuple[int, ...]
    reached: int


class Whole(NamedTuple):
    """A room as a whole, encoded, as it stood at an offset. ``asked_at``: when it was asked for (trio's clock)."""

    offset: int
    snapshot: msgspec.Raw
    asked_at: float


class Needs(Enum):
    """What else than the event itself decides what a room is told, and has to be looked up."""

    NOTHING = 1
    KITCHEN = 2  # the tickets of orders; a queue that moved is told as it is
    TICKETS = 3
    ORDERS = 4  # the whole order, as it stood then: a till

    @classmethod
    def of(cls, room: str, cafe_id: CafeId) -> "Needs":
        """Those of a room."""
        if room == pos_room(cafe_id):
            return cls.ORDERS
        if room.startswith("user:"):
            return cls.TICKETS
        return cls.KITCHEN if ":kitchen" in room or ":station:" in room else cls.NOTHING


class Stretch:
    """All of the log after one offset and up to another (both as far as it was told when this was read)."""

    __slots__ = ("_by_room", "after", "entries", "to")

    def __init__(self, after: int, to: int, entries: Sequence[Entry]) -> None:
        self.after = after
        self.to = to
        self.entries = entries
        self._by_room: dict[str, list[Entry]] | None = None

    def covers(self, cursor: int) -> bool:
        """Whether who stands there is told more by it, and misses nothing."""
        return self.after <= cursor < self.to

    def of(self, room: str) -> Iterable[Entry]:
        """What the room was told."""
        if self._by_room is None:
            self._by_room = {}
            for entry in self.entries:
                for name in entry.casts:
                    self._by_room.setdefault(name, []).append(entry)
        return self._by_room.get(room, ())


class Retelling:
    """To one session, into one room. ``about``: the one order that the room is about."""

    def __init__(self, hub: Hub, reader: Reader, cafe_id: CafeId, room: str, about: OrderId | None) -> None:
        self._hub = hub
        self._reader = reader
        self._cafe_id = cafe_id
        self._room = room
        self._about = about
        self._needs = Needs.of(room, cafe_id)
        self._stretch: Stretch | None = None
        self._whole_log = False  # it is known that nothing was taken off the log's beginning after the cursor

    def from_ring(self, cursor: int, recent: Iterable[Entry]) -> Cut:
        """The next that memory has."""
        return self._cut(cursor, self._hub.head(self._cafe_id), recent)

    async def from_log(self, cursor: int) -> tuple[Cut | None, int]:
        """The next of the log, and how many events were read for it. None: the log has it no more."""
        stretch, read = self._stretch, 0
        if stretch is None or not stretch.covers(cursor):
            stretch = self._stretch = await self._after(cursor)
            read = len(stretch.entries) if self._about is not None else stretch.to - cursor
        if stretch.after > cursor:
            return None, read
        told = min(stretch.to, self._hub.head(self._cafe_id))
        entries = (entry for entry in stretch.of(self._room) if entry.offset > cursor)
        return self._cut(cursor, told, entries), read

    async def whole(self, snapshot: Snapshot, not_before: int) -> Whole:
        """The room as a whole, as it stood at an offset or after it; lately, where many want it."""
        key, too_old = (self._cafe_id, self._room), trio.current_time() - self._hub.limits.storms.wholes_s
        kept = self._hub.shelves.wholes.get(key)
        if kept is None or kept.offset < not_before or kept.asked_at < too_old:
            kept = await self._hub.shelves.flights.join(("whole", *key), lambda: self._take(snapshot))
        return kept if kept.offset >= not_before else await self._take(snapshot)

    async def _take(self, snapshot: Snapshot) -> Whole:
        async with self._hub.readers:
            asked_at = trio.current_time()
            offset, found = await snapshot()
        whole = Whole(offset, msgspec.Raw(encode(found)), asked_at)
        self._hub.shelves.wholes.put((self._cafe_id, self._room), whole, len(whole.snapshot))
        return whole

    def _cut(self, cursor: int, told: int, entries: Iterable[Entry]) -> Cut:
        if not self._room.startswith("cafe:"):  # one person's: nobody else comes for it
            return self._join(told, entries)
        page = self._hub.limits.replay_page_events
        upto = min(told, (cursor // page + 1) * page)
        cuts, key = self._hub.shelves.cuts, (self._cafe_id, self._room, cursor, upto)
        cut = cuts.get(key)
        if cut is None:
            cut = self._join(upto, entries)
            cuts.put(key, cut, len(cut.data) + _CUT_BYTES)
        return cut

    def _join(self, upto: int, entries: Iterable[Entry]) -> Cut:
        most, size = self._hub.limits.replay_chunk_bytes, 0
        frames, offsets, reached = list[bytes](), list[int](), upto
        for entry in entries:
            if entry.offset > upto:
                break
            frame = entry.frame(self._room)
            if frame is None:
                continue
            frames.append(frame)
            offsets.append(entry.offset)
            size += len(frame)
            if size >= most:
                reached = entry.offset
                break
        return Cut(b"".join(frames), tuple(offsets), reached)

    # -- the log

    async def _after(self, cursor: int) -> Stretch:
        if self._about is not None:
            return await self._about_one(cursor)
        page = self._hub.limits.replay_page_events
        begin = cursor - cursor % page
        key, stretches = (self._cafe_id, self._needs, begin), self._hub.shelves.stretches

        async def read() -> Stretch:
            stretch = await self._read(begin)
            stretches.put(key, stretch, len(stretch.entries))
            return stretch

        kept = stretches.get(key)
        if kept is None or not kept.covers(cursor):
            kept = await self._hub.shelves.flights.join(key, read)
        # Who has joined a reading that began earlier may stand where that ended.
        return kept if kept.after > cursor or kept.covers(cursor) else await read()

    async def _read(self, begin: int) -> Stretch:
        """A page of the cafe's log."""
        hub, cafe_id, most = self._hub, self._cafe_id, self._hub.limits.replay_page_events
        # Every event up to this offset is committed, so a page that is not full has all of them.
        told = hub.head(cafe_id)
        page = await hub.shelves.flights.join((cafe_id, begin), lambda: self._log(begin, most))
        orders = await self._complete(page)
        to = page[-1].offset if len(page) == most else max(told, page[-1].offset if page else 0)
        # Where it does not begin with the next event, those before it are in the log no more.
        return Stretch(page[0].offset - 1 if page else to, to, self._entries(page, orders))

    async def _about_one(self, cursor: int) -> Stretch:
        hub, most = self._hub, self._hub.limits.replay_page_events
        told = hub.head(self._cafe_id)
        if not self._whole_log and told > cursor:
            async with hub.readers:
                first = await self._reader.log(self._cafe_id, cursor, 1)
            if not first or first[0].offset != cursor + 1:
                return Stretch(told, told, ())
            self._whole_log = True
        page = await self._log(cursor, most)
        orders = await self._complete(page)
        return Stretch(cursor, page[-1].offset if len(page) == most else max(told, cursor), self._entries(page, orders))

    async def _log(self, after: int, most: int) -> Sequence[Recorded]:
        async with self._hub.readers:
            return await self._reader.log(self._cafe_id, after, most, self._about)

    def _entries(self, page: Sequence[Recorded], orders: Mapping[int, Order]) -> Sequence[Entry]:
        tickets = self._hub.tickets
        return [Entry(recorded, tickets.of(recorded.event), orders.get(recorded.offset)) for recorded in page]

    async def _complete(self, page: Sequence[Recorded]) -> Mapping[int, Order]:
        hub = self._hub
        if self._needs is Needs.ORDERS:
            return await hub.stories.of_page(self._cafe_id, page) if page else {}
        for recorded in page:
            hub.tickets.note(recorded, live=False)
        if self._needs is Needs.TICKETS:
            await hub.look_up(self._cafe_id, page)
        elif self._needs is Needs.KITCHEN:
            await hub.look_up(self._cafe_id, [one for one in page if not isinstance(one.event, e.QueueMoved)])
        return {}


_CUT_BYTES = 500
"""What a cut takes besides its frames, about."""
