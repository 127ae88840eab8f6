"""The one place from which committed events go out (``ports.Publisher``).

``publish`` is called by the storage writer after each commit, in offset order; it never waits and never raises. An
event first teaches the tickets, then goes to the followers, then, in the order of the log, into the ring and to every
room that has members. Two things may wait, and what comes behind them in their cafe waits with them, so that no room
sees offsets out of order: an event about an order that nobody here has heard of, whose ticket is looked up; and what
comes right after something that took long to tell.

Who is on the way into a room has a seat there (``seats``) and gets nothing of what is live until ``sit`` makes it a
member, in the same step in which it was told the last that the rooms were told.
"""

import math
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial

import msgspec
import structlog
import trio

from tabletap.actors.ports import Follower, Recorded
from tabletap.domain.access import pos_room
from tabletap.domain.base import CafeId, OrderId

from .fanout import Fanout
from .flows import Flows
from .frames import message_frame
from .limits import INTERNAL_ERROR, TOO_SLOW
from .ring import Entry, Ring
from .rooms import Member, RoomLimits, Rooms
from .seats import Listener, Seat, Seats
from .stories import History, Storyteller
from .storms import Shelves, StormLimits
from .tickets import BEFORE, Ticket, Tickets, TicketSource

log = structlog.get_logger(__name__)

_LOOK_UP_AGAIN_AFTER_S = (0.05, 0.2, 1.0)


class HubLimits(msgspec.Struct, frozen=True, kw_only=True):
    ring_events_per_cafe: int = 1024
    ring_events_total: int = 65_536
    tickets_max: int = 10_000
    # Living orders of cafes whose tills are connected, kept as a whole.
    stories_max: int = 5_000
    heartbeat_ms: int = 15_000
    # How long a session's default rooms wait for its first message, which may say from where to resume.
    hold_ms: int = 100
    replay_events_max: int = 10_000
    replay_page_events: int = 250
    # Sent in one go; the session's own bound on what may wait must be well above.
    replay_chunk_bytes: int = 64 * 1024
    # The log is read a few pages at a time, however many recover.
    replay_readers: int = 8
    storms: StormLimits = StormLimits()
    # Telling that takes longer than this is followed by a rest as long, but not longer than that.
    rest_from_seconds: float = 0.002
    rest_most_seconds: float = 0.008


class SlowCounts(msgspec.Struct):
    """How often which step was taken with clients that do not keep up (``slow``); they only grow."""

    coalesced: int = 0
    snapshots: int = 0
    closed: int = 0


class _Feed:
    """One cafe's part. ``head``: the newest offset told to its rooms (None: not known yet)."""

    __slots__ = (
        "cafe_id",
        "fanout",
        "followers",
        "head",
        "looked_up_to",
        "looking",
        "moved",
        "pos",
        "resting",
        "rests_until",
        "ring",
        "waiting",
    )

    def __init__(self, cafe_id: CafeId, fanout: Fanout) -> None:
        self.cafe_id = cafe_id
        self.fanout = fanout
        self.pos = pos_room(cafe_id)
        self.head: int | None = None
        self.ring = Ring()
        self.waiting: deque[Recorded] = deque()
        self.looking = False
        self.looked_up_to = 0
        self.followers: list[Follower] = []
        self.moved = trio.lowlevel.ParkingLot()
        self.resting = False
        self.rests_until = -math.inf


class Hub:
    def __init__(
        self,
        limits: HubLimits | None = None,
        room_limits: RoomLimits | None = None,
        source: TicketSource | None = None,
        history: History | None = None,
    ) -> None:
        self.limits = limits or HubLimits()
        self.rooms = Rooms(room_limits)
        self.seats = Seats(self.rooms, room_limits or RoomLimits())
        self.flows = Flows(self.rooms, self.head)
        self.slow = SlowCounts()
        self.tickets = Tickets(self.limits.tickets_max)
        self.stories = Storyteller(self.limits.stories_max, history, self.tickets, self.rooms)
        # Called when an event has gone to a member of a cafe's room of tills.
        self.pushed: Callable[[Member, int], None] = lambda till, offset: None  # noqa: ARG005  nobody keeps count
        self.readers = trio.CapacityLimiter(self.limits.replay_readers)
        self.shelves = Shelves(self.limits.storms)
        self._source = source
        self._feeds: OrderedDict[CafeId, _Feed] = OrderedDict()  # the cafe that was published to last comes last
        self._ring_events = 0
        self._sessions: dict[Listener, CafeId] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Heartbeats, lookups and the recovery of default rooms; until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                while True:
                    await trio.sleep(self.limits.heartbeat_ms / 1000)
                    self.heartbeat()
                    self.shelves.tidy()
            finally:
                self._nursery = None

    def spawn(self, task: Callable[[], Awaitable[None]], session: Listener) -> None:
        """Run something for a session beside its own tasks. It fails alone, and its session with it."""

        async def guarded() -> None:
            try:
                await task()
            except Exception:
                log.exception("recovery_failed")
                session.close(INTERNAL_ERROR, "internal error")

        assert self._nursery is not None, "the hub must run before sessions are opened"
        self._nursery.start_soon(guarded)

    # -- publishing

    def publish(self, cafe_id: CafeId, events: Sequence[Recorded]) -> None:
        feed = self._feed(cafe_id)
        self._feeds.move_to_end(cafe_id)
        for follower in tuple(feed.followers):
            try:
                follower(events)
            except Exception:
                log.exception("follower_failed", cafe_id=str(cafe_id))
        for recorded in events:
            self.tickets.note(recorded)
        feed.waiting.extend(events)
        if self._nursery is None or trio.current_time() >= feed.rests_until:
            self._advance(feed)
        elif not feed.resting:
            feed.resting = True
            self._nursery.start_soon(self._rest, feed)

    def follow(self, cafe_id: CafeId, follower: Follower) -> Callable[[], None]:
        followers = self._feed(cafe_id).followers
        followers.append(follower)

        def end() -> None:
            if follower in followers:
                followers.remove(follower)

        return end

    def head(self, cafe_id: CafeId) -> int:
        """The newest offset that the rooms of the cafe were told (0: none is known)."""
        feed = self._feeds.get(cafe_id)
        return 0 if feed is None else feed.head or 0

    def knows_head(self, cafe_id: CafeId) -> bool:
        feed = self._feeds.get(cafe_id)
        return feed is not None and feed.head is not None

    def ensure_head(self, cafe_id: CafeId, offset: int) -> None:
        """Where the log stands, for a cafe nothing was published of yet. Who subscribes starts from there, so what is
        published late of what the log had by then is told to nobody twice."""
        feed = self._feed(cafe_id)
        if feed.head is None:
            feed.head = offset
            self._advance(feed)

    def _feed(self, cafe_id: CafeId) -> _Feed:
        feed = self._feeds.get(cafe_id)
        if feed is None:
            feed = self._feeds[cafe_id] = _Feed(cafe_id, Fanout(self.rooms, partial(self._hears, cafe_id)))
        return feed

    def _advance(self, feed: _Feed) -> None:
        """Tell what waits, up to the first event whose tickets have to be looked up.

        Telling thousands takes a while, in which nothing else is done. What comes within as long a while after it is
        told together: in a rush that is one write per socket for many orders, and the orders have their turn.
        """
        began = self._now()
        while feed.waiting:
            recorded = feed.waiting[0]
            if feed.head is not None and recorded.offset <= feed.head:
                feed.waiting.popleft()
                continue
            if self._must_look_up(feed, recorded):
                break
            feed.waiting.popleft()
            self._tell(feed, recorded)
        self._flush(feed)
        ended = self._now()
        if ended - began > self.limits.rest_from_seconds:
            feed.rests_until = ended + min(ended - began, self.limits.rest_most_seconds)
        feed.moved.unpark_all()

    def _now(self) -> float:
        return 0.0 if self._nursery is None else trio.current_time()  # what does not run never rests

    async def _rest(self, feed: _Feed) -> None:
        await trio.sleep_until(feed.rests_until)
        feed.resting = False
        self._advance(feed)

    def _flush(self, feed: _Feed) -> None:
        try:
            feed.fanout.flush()
        except Exception:
            log.exception("broadcast_failed", cafe_id=str(feed.cafe_id), head=feed.head)

    def _tell(self, feed: _Feed, recorded: Recorded) -> None:
        if feed.head is not None and recorded.offset != feed.head + 1:
            self._cut(feed, recorded.offset)
        entry = Entry(recorded, self.tickets.of(recorded.event), self.stories.goes_on(feed.pos, recorded))
        feed.head = recorded.offset
        self._remember(feed, entry)
        if not len(self.rooms):
            return
        for room in entry.casts:
            if not self.rooms.member_count(room):
                continue
            try:
                told = entry.told(room)
                if told is not None:
                    feed.fanout.say(room, told)
                    if room == feed.pos:
                        for till in self.rooms.members(room):
                            self.pushed(till, entry.offset)
            except Exception:
                log.exception("broadcast_failed", room=room, event_id=recorded.event_id)

    def _hears(self, cafe_id: CafeId, member: Member, room: str) -> bool:
        """Only a user's room has members at several cafes: each hears there what is said at the cafe of their door."""
        return not room.startswith("user:") or self._sessions.get(member, cafe_id) == cafe_id  # type: ignore[call-overload]  # a member is a session

    def _cut(self, feed: _Feed, offset: int) -> None:
        """Events are missing here: nobody may go on as if nothing had happened. They resume from the log."""
        log.error("publish_gap", cafe_id=str(feed.cafe_id), head=feed.head, offset=offset)
        self._flush(feed)  # what comes before the gap is whole
        self._ring_events -= len(feed.ring)
        feed.ring.clear()
        self.stories.clear()
        for session in [session for session, cafe_id in self._sessions.items() if cafe_id == feed.cafe_id]:
            session.close(TOO_SLOW, "events were missed: resume")

    def _remember(self, feed: _Feed, entry: Entry) -> None:
        feed.ring.append(entry)
        self._ring_events += 1
        if len(feed.ring) > self.limits.ring_events_per_cafe:
            feed.ring.drop_oldest()
            self._ring_events -= 1
        while self._ring_events > self.limits.ring_events_total:
            quietest = next(feed for feed in self._feeds.values() if len(feed.ring))
            quietest.ring.drop_oldest()
            self._ring_events -= 1

    def _must_look_up(self, feed: _Feed, recorded: Recorded) -> bool:
        if self._nursery is None or recorded.offset <= feed.looked_up_to:
            return False
        lacks_ticket = self._source is not None and self.tickets.missing(recorded.event)
        if not lacks_ticket and not self.stories.lacks(feed.pos, recorded):
            return False
        if not feed.looking:
            feed.looking = True
            self._nursery.start_soon(self._look_up_for, feed)
        return True

    async def _look_up_for(self, feed: _Feed) -> None:
        waiting = tuple(feed.waiting)
        await self.look_up(feed.cafe_id, waiting)
        await self.stories.learn(feed.cafe_id, waiting)
        feed.looking = False
        if waiting:
            feed.looked_up_to = waiting[-1].offset  # what was not found will not be found by asking again
        self._advance(feed)

    async def look_up(self, cafe_id: CafeId, events: Iterable[Recorded]) -> None:
        """Complete the tickets of these orders. Without an answer the kitchen is told too much, never too little."""
        wanted = {order_id for recorded in events for order_id in self.tickets.missing(recorded.event)}
        if not wanted:
            return
        found = await self._ask(cafe_id, wanted)
        for order_id in wanted:
            self.tickets.add(order_id, found.get(order_id, _UNKNOWN))

    async def _ask(self, cafe_id: CafeId, wanted: set[OrderId]) -> dict[OrderId, Ticket]:
        if self._source is None:
            return {}
        for pause_s in (*_LOOK_UP_AGAIN_AFTER_S, None):
            try:
                return dict(await self._source(cafe_id, wanted))
            except Exception:
                log.exception("ticket_lookup_failed", cafe_id=str(cafe_id))
            if pause_s is not None:
                await trio.sleep(pause_s)
        return {}

    # -- sessions

    def attach(self, session: Listener, cafe_id: CafeId) -> None:
        """A session of the cafe has opened: it gets heartbeats."""
        self._sessions[session] = cafe_id

    def detach(self, session: Listener) -> None:
        """It has ended: it leaves its rooms and what recovers for it ends."""
        cafe_id = self._sessions.pop(session, None)
        self.seats.clear(session)
        self.rooms.leave_all(session)
        if cafe_id is not None and cafe_id in self._feeds:
            self._feeds[cafe_id].moved.unpark_all()

    def heartbeat(self) -> None:
        """Tell each session its cafe's newest offset: all up to there has been sent to it.

        One that is still on its way into a room is left out: it may have been told less, and a client resumes from the
        newest offset it knows of.
        """
        frames: dict[CafeId, bytes] = {}
        for session, cafe_id in tuple(self._sessions.items()):
            if session in self.seats or not self.knows_head(cafe_id):
                continue
            frame = frames.get(cafe_id)
            if frame is None:
                frame = frames[cafe_id] = message_frame({"type": "heartbeat", "offset": self.head(cafe_id)})
            session.send(frame)

    def sit(self, seat: Seat) -> None:
        """Make it a member of the room. The seat's cursor must be the head."""
        assert seat.cursor == self.head(seat.cafe_id)
        self.seats.give_up(seat)
        self.rooms.join(seat.session, seat.room)

    def leave(self, session: Listener, room: str) -> None:
        """Out of the room, or off the way into it."""
        seat = self.seats.of(session, room)
        if seat is not None:
            self.seats.give_up(seat)
            self._feed(seat.cafe_id).moved.unpark_all()
        self.rooms.leave(session, room)

    # -- what a recovery asks

    def recent(self, cafe_id: CafeId, after: int) -> Iterator[Entry] | None:
        """All that was told after an offset, if it is in memory. To be read at once."""
        feed = self._feed(cafe_id)
        if after == feed.head:
            return iter(())
        first = feed.ring.first
        return None if first is None or after < first - 1 else feed.ring.after(after)

    def oldest(self, cafe_id: CafeId) -> int:
        """The first offset that need not be read from the log."""
        first = self._feed(cafe_id).ring.first
        return self.head(cafe_id) + 1 if first is None else first

    async def moved(self, cafe_id: CafeId) -> None:
        """Until more has been told (or somebody left: look again)."""
        await self._feed(cafe_id).moved.park()


_UNKNOWN = Ticket(released_at=BEFORE, whole=True)
