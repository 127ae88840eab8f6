"""Into a room without a gap and without a repeat (spec R4).

A seat's cursor moves through the log, page by page from the database, then through the ring; in the step in which it
reaches the head, the session becomes a member of the room. Nothing is read past what the hub has told its rooms: what
is committed but not yet published comes live. A client that is too far behind gets a snapshot and goes on from there.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from tabletap.actors.ports import Reader
from tabletap.domain.access import parse_room, pos_room
from tabletap.domain.base import CafeId, OrderId

from .frames import message_frame
from .hub import Hub
from .limits import TRY_AGAIN_LATER
from .retelling import Cut, Retelling
from .ring import Entry
from .seats import Listener, Seat
from .snapshots import Resync, Snapshot
from .turns import TurnedAway


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
        hub.ensure_head(cafe_id, await hub.shelves.flights.join(("head", cafe_id), lambda: reader.head(cafe_id)))
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
        self._seat = seat
        self._snapshot = snapshot
        self._request_id = request_id
        self._about = about
        self._for_till = seat.room == pos_room(seat.cafe_id)
        self._retelling = Retelling(hub, reader, seat.cafe_id, seat.room, about)

    async def run(self) -> None:
        """Until the session is in the room, or the seat is no longer its way there. Turns are taken step by step:
        nobody has one while they wait for their client."""
        hub, seat, begun = self._hub, self._seat, False
        try:
            while hub.seats.holds(seat):
                if seat.cursor > hub.head(seat.cafe_id):
                    await hub.moved(seat.cafe_id)  # the snapshot is newer than what has been published
                    continue
                async with hub.shelves.turns.turn(again=begun):
                    if await self._step():
                        return
                begun = True
                await seat.session.stream.wait_send_all_might_not_block()
        except TurnedAway as turned_away:
            seat.session.close(TRY_AGAIN_LATER, f"retry_after={turned_away.retry_after_s}")

    async def _step(self) -> bool:
        """True: the session is in the room or gone."""
        if self._recent() is not None:
            return self.from_ring()
        if self.too_far():
            await self.resync()
        else:
            await self._from_log()
        return False

    def from_ring(self) -> bool:
        """Send what memory has, a chunk at most; True: that was all, and the session is in the room or gone."""
        hub, seat = self._hub, self._seat
        recent = self._recent()
        if recent is None or not hub.seats.holds(seat):
            return False
        if seat.cursor < hub.head(seat.cafe_id):
            self._tell(self._retelling.from_ring(seat.cursor, recent))
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
        whole = await self._retelling.whole(self._snapshot, seat.cursor)
        if self._hub.seats.holds(seat):
            message = Resync(id=self._request_id, room=seat.room, offset=whole.offset, snapshot=whole.snapshot)
            seat.session.send(message_frame(message))
            seat.cursor, seat.scanned = whole.offset, 0

    async def _from_log(self) -> None:
        seat = self._seat
        cut, read = await self._retelling.from_log(seat.cursor)
        seat.scanned += read
        if cut is None:
            await self.resync()
        elif self._hub.seats.holds(seat):
            self._tell(cut)

    def _tell(self, cut: Cut) -> None:
        seat = self._seat
        if cut.data and not seat.session.send(cut.data):
            self._hub.seats.give_up(seat)  # it has ended, and is told why by whoever ended it
            return
        seat.cursor = cut.reached
        if self._for_till:
            for offset in cut.offsets:
                self._hub.pushed(seat.session, offset)
