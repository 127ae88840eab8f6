"""Into a room without a gap and without a repeat (spec R4).

A seat's cursor moves through the log, page by page from the database, then through the ring; in the step in which it
reaches the head, the session becomes a member of the room. Nothing is read past what the hub has told its rooms: what
is committed but not yet published comes live. A client that is too far behind gets a snapshot and goes on from there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tabletap.actors.ports import Reader, Recorded
from tabletap.domain import events as e
from tabletap.domain.access import parse_room, pos_room
from tabletap.domain.base import CafeId, OrderId
from tabletap.domain.order import Order

from .frames import message_frame
from .hub import Hub
from .ring import Entry
from .seats import Listener, Seat
from .snapshots import Resync, Snapshot


class Superseded(Exception):  # noqa: N818  no error: a newer wish has come first
    """The client has left the room, or asked for it from another offset, in the meantime."""


class Subscribed(msgspec.Struct, frozen=True, tag="subscribed", omit_defaults=True, kw_only=True):
    """Everything of the room after ``offset`` follows. ``recovered``: it was asked for by an offset and is whole."""

    id: Any = None
    room: str
    offset: int
    recovered: bool


async def subscribe(
    hub: Hub,
    reader: Reader,
    session: Listener,
    room: str,
    cafe_id: CafeId,
    after: int | None,
    request_id: Any,
    snapshot: Snapshot,
) -> None:
    """Join ``room`` from now on, or (a seek) from after an offset; returns when the session is in.

    Raises RoomFull, and Superseded where it could not even be answered before the client wanted something else.
    """
    await know_head(hub, reader, cafe_id)
    if after is None and room in session.rooms:
        session.send(_subscribed(request_id, room, hub.head(cafe_id), after))
        return
    about = await _about(reader, room)
    strange = after is not None and after > hub.head(cafe_id) and after > await reader.head(cafe_id)
    held = hub.seats.of(session, room)  # a default room that is held, or a recovery under way: it goes on from there
    if strange:
        cursor = hub.head(cafe_id)
    elif after is not None:
        cursor = after
    else:
        cursor = hub.head(cafe_id) if held is None else held.cursor
    seat = hub.seats.take(session, room, cafe_id, cursor)
    recovery = Recovery(hub, reader, seat, snapshot, about, request_id)
    try:
        if strange or recovery.too_far():
            # An offset the log has never reached is not ours, or of a database that was set back.
            await recovery.resync()
            if not hub.seats.holds(seat):
                raise Superseded("the room was left or sought anew before it could be joined")
        else:
            session.send(_subscribed(request_id, room, cursor, after))
        await recovery.run()
    finally:
        hub.seats.give_up(seat)


def _subscribed(request_id: Any, room: str, offset: int, after: int | None) -> bytes:
    return message_frame(Subscribed(id=request_id, room=room, offset=offset, recovered=after is not None))


async def _about(reader: Reader, room: str) -> OrderId | None:
    """The one order that a room is about: the log is read for that alone."""
    parsed = parse_room(room)
    ident = parsed.uuid if parsed else None
    if parsed is None or ident is None:
        return None
    if parsed.kind == "order":
        return OrderId(ident)
    subject = await reader.subject("payment", ident) if parsed.kind == "payment" else None
    return subject.order_id if subject else None


async def know_head(hub: Hub, reader: Reader, cafe_id: CafeId) -> int:
    """The offset that the rooms of the cafe stand at."""
    if not hub.knows_head(cafe_id):
        hub.ensure_head(cafe_id, await reader.head(cafe_id))
    return hub.head(cafe_id)


class Recovery:
    """One seat's way into its room."""

    def __init__(
        self,
        hub: Hub,
        reader: Reader,
        seat: Seat,
        snapshot: Snapshot,
        about: OrderId | None = None,
        request_id: Any = None,
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._seat = seat
        self._snapshot = snapshot
        self._request_id = request_id
        self._about = about
        self._for_till = seat.room == pos_room(seat.cafe_id)

    async def run(self) -> None:
        """Until the session is in the room, or the seat is no longer its way there."""
        hub, seat = self._hub, self._seat
        while hub.seats.holds(seat):
            if seat.cursor > hub.head(seat.cafe_id):
                await hub.moved(seat.cafe_id)  # the snapshot is newer than what has been published
            elif self._recent() is not None:
                if self.from_ring():
                    return
                await seat.session.stream.wait_send_all_might_not_block()
            elif self.too_far():
                await self.resync()
            else:
                await self._from_log()

    def from_ring(self) -> bool:
        """Send what memory has, a chunk at most; True: that was all, and the session is in the room or gone."""
        hub, seat = self._hub, self._seat
        recent = self._recent()
        if recent is None or not hub.seats.holds(seat):
            return False
        size = 0
        for entry in recent:
            if size >= hub.limits.replay_chunk_bytes:
                return False
            size += self._send(entry)
        if not hub.seats.holds(seat):
            return True
        if seat.cursor != hub.head(seat.cafe_id):
            return False
        hub.sit(seat)
        return True

    def _recent(self) -> Iterator[Entry] | None:
        """What memory has of what is still to be told, if that is all of it."""
        recent = self._hub.recent(self._seat.cafe_id, self._seat.cursor)
        if recent is None or not self._for_till:
            return recent
        entries = list(recent)
        return None if any(entry.lacks_order for entry in entries) else iter(entries)

    def too_far(self) -> bool:
        """Whether more would have to be read from the log than a recovery may read. A till gets all of it."""
        if self._for_till:
            return False
        unread = 0 if self._about is not None else self._hub.oldest(self._seat.cafe_id) - 1 - self._seat.cursor
        return self._seat.scanned + unread > self._hub.limits.replay_events_max

    async def resync(self) -> None:
        """Begin again from a snapshot."""
        seat = self._seat
        offset, snapshot = await self._snapshot()
        if self._hub.seats.holds(seat):
            message = Resync(id=self._request_id, room=seat.room, offset=offset, snapshot=snapshot)
            seat.session.send(message_frame(message))
            seat.cursor, seat.scanned = offset, 0

    async def _from_log(self) -> None:
        hub, seat = self._hub, self._seat
        # Every event up to this offset is committed, so a page that is not full has all of them.
        told, limit = hub.head(seat.cafe_id), hub.limits.replay_page_events
        async with hub.readers:
            page = await self._reader.log(seat.cafe_id, seat.cursor, limit, self._about)
            orders = await self._complete(page)
        seat.scanned += len(page)
        size = 0
        for recorded in page:
            if recorded.offset > hub.head(seat.cafe_id) or not hub.seats.holds(seat):
                return
            size += self._send(Entry(recorded, hub.tickets.of(recorded.event), orders.get(recorded.offset)))
            if size >= hub.limits.replay_chunk_bytes:
                await seat.session.stream.wait_send_all_might_not_block()
                size = 0
        if len(page) < limit:
            seat.cursor = max(seat.cursor, told)
        await seat.session.stream.wait_send_all_might_not_block()

    def _send(self, entry: Entry) -> int:
        seat = self._seat
        seat.cursor = entry.offset
        frame = entry.frame(seat.room)
        if frame is None:
            return 0
        if not seat.session.send(frame):
            self._hub.seats.give_up(seat)  # it has ended, and is told why by whoever ended it
        elif self._for_till:
            self._hub.pushed(seat.session, entry.offset)
        return len(frame)

    async def _complete(self, page: Sequence[Recorded]) -> Mapping[int, Order]:
        """Only some rooms depend on more than the event itself; those of tills, on the whole order."""
        if self._for_till:
            return await self._hub.stories.of_page(self._seat.cafe_id, page) if page else {}
        for recorded in page:
            self._hub.tickets.note(recorded, live=False)
        if self._seat.room.startswith("user:"):
            await self._hub.look_up(self._seat.cafe_id, page)
        elif ":kitchen" in self._seat.room or ":station:" in self._seat.room:
            orders = [recorded for recorded in page if not isinstance(recorded.event, e.QueueMoved)]
            await self._hub.look_up(self._seat.cafe_id, orders)
        return {}
