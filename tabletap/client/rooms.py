"""All rooms of a client: what is subscribed again on a new connection, and what a message of the server is to whom."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from .commands import NOT_DONE, PERHAPS_DONE
from .errors import Refusal
from .room import BEYOND, Room, Verdict
from .wire import Event, Heard, Left, Message, Resync

ANSWER_S = 15.0
"""How long a subscription may stay unanswered before the connection is given up."""

Send = Callable[[dict[str, Any]], None]


class Muddled(Exception):  # noqa: N818 - named by what is the case
    """The connection must be begun anew: what was said on it does not fit together."""


class Wish:
    """A subscription somebody waits for."""

    __slots__ = ("failure", "settled")

    def __init__(self) -> None:
        self.settled = trio.Event()
        self.failure: Exception | None = None

    def settle(self, failure: Exception | None = None) -> None:
        """It is granted, or not to be had."""
        if not self.settled.is_set():
            self.failure = failure
            self.settled.set()


class Figures(msgspec.Struct):
    """What a client has met. ``repeated``: events told twice though nobody had asked; ``late``: events told after newer
    ones; ``resyncs``: snapshots; ``checks``: how often a room was asked for whether something is missing."""

    repeated: int = 0
    late: int = 0
    resyncs: int = 0
    checks: int = 0


class Rooms:
    """``check_every_s``: at most so often a room is checked for losses; None: never. ``random``: in [0, 1)."""

    def __init__(
        self, after: int | None, check_every_s: float | None, now: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._floor = after  # of default rooms whose names are not known yet
        self._check_every_s = check_every_s
        self._now = now
        self._random = random
        self._rooms: dict[str, Room] = {}
        self._wishes: dict[str, Wish] = {}
        self._left: set[str] = set()
        self._ended: Exception | None = None
        self._ids = itertools.count(1)
        self._send: Send | None = None
        self.paused = False
        self.figures = Figures()

    @property
    def resume_after(self) -> int | None:
        """What the door is asked to begin its default rooms after."""
        known = [room.resume_after for room in self._rooms.values() if room.default and room.resume_after is not None]
        if BEYOND in known:
            return BEYOND
        return min(known, default=self._floor)

    # -- what the user wants

    def subscribe(self, name: str, after: int | None) -> Wish:
        """Hear a room, from now on or from after an offset."""
        self._left.discard(name)
        known = self._rooms.get(name)
        room = self._rooms[name] = Room(name, default=known is not None and known.default, last=after)
        wish = self._wishes.setdefault(name, Wish())
        if self._ended is not None:
            self._settle(name, self._ended)
        elif not self.paused:
            self._ask(room)
        return wish

    def unsubscribe(self, name: str) -> None:
        """Hear it no more; a default room stays silent until the next connection."""
        self._rooms.pop(name, None)
        self._left.add(name)
        self._settle(name, Refusal("subscribe", "CANCELLED", f"{name} was left again"))
        self._leave(name)

    def pause(self) -> None:
        """The user cannot take more: leave the rooms for now. What comes all the same is not taken."""
        self.paused = True
        for room in self._rooms.values():
            room.asked = None
            self._leave(room.name)

    def go_on(self) -> None:
        """Come back to where each room was left."""
        self.paused = False
        for room in self._rooms.values():
            self._ask(room)

    # -- what the connection does

    def connected(self, welcome: Heard, send: Send) -> None:
        """Begin, or go on, in every room."""
        self._send = send
        if self._floor is None:
            self._floor = welcome.offset
        for name in welcome.rooms:
            if name not in self._rooms and name not in self._left:
                self._rooms[name] = Room(name, default=True, last=self._floor)
        self._left.intersection_update(welcome.rooms)
        for name in self._left:
            self._leave(name)
        for room in self._rooms.values():
            self._due(room)
            if not room.default and not self.paused:
                self._ask(room)
        if self.paused:
            self.pause()

    def disconnected(self) -> None:
        """Nothing that was asked will be answered."""
        self._send = None
        for room in self._rooms.values():
            room.asked = room.checking = None
            room.proving = False

    def end(self, reason: Exception) -> None:
        """There will be no other connection."""
        self._ended = reason
        for name in tuple(self._wishes):
            self._settle(name, reason)

    def take(self, heard: Heard) -> Message | None:
        """What an event or a ``resync`` is to the user; None: nothing."""
        room = self._room_of(heard)
        if room is None or self.paused:
            return None
        if heard.type == "resync":
            room.begin(heard.offset)
            room.asked = None
            self._due(room)
            self._settle(room.name)
            self.figures.resyncs += 1
            return Resync(heard.room, heard.offset, heard.snapshot)
        if room.asked is not None or room.lost:
            return None
        verdict = room.take(heard.offset, heard.event_id)
        if verdict is Verdict.NEW:
            return Event(heard.type, heard.room, heard.offset, heard.event_id, heard.timestamp, heard.data)
        if verdict is Verdict.LATE:
            self.figures.late += 1
            self._ask_for_snapshot(room)
        elif not room.proving:
            self.figures.repeated += 1
        return None

    def subscribed(self, heard: Heard) -> None:
        """The room begins after the offset that is named."""
        room = self._room_of(heard)
        if room is None or (room.asked is not None and heard.id != room.asked):
            return
        room.asked = None
        self._settle(room.name)
        if room.last is None:
            room.begin(heard.offset)
        elif room.lost:
            raise Muddled("a snapshot was asked for")
        elif heard.offset > room.last:
            self._ask_for_snapshot(room)  # what lies between is not told
        room.proving = room.checking is not None

    def refused(self, heard: Heard) -> Left | None:
        """A subscription that is not to be had. Raises Muddled where it may be had another time."""
        for name, room in self._rooms.items():
            if room.asked is None or room.asked != heard.id:
                continue
            room.asked = None
            if heard.code in NOT_DONE | PERHAPS_DONE:
                raise Muddled(f"{name} is not to be had now: {heard.code}")
            if room.checking is not None:
                room.check_due = math.inf
                raise Muddled(f"{name} cannot be checked: {heard.code}")
            del self._rooms[name]
            self._left.add(name)
            if self._settle(name, Refusal("subscribe", heard.code, heard.error, heard.errors)):
                return None
            return Left(name, heard.code, heard.error)
        return None

    def heartbeat(self, newest: int) -> None:
        """Everything up to ``newest`` has been sent. Raises Muddled."""
        now = self._now()
        for room in self._rooms.values():
            if room.asked is not None:
                if now - room.asked_at > ANSWER_S:
                    raise Muddled(f"no answer about {room.name}")
            elif room.last is None or not room.logged or self.paused:
                continue
            elif room.lost or newest < room.last:  # else another history: a database that was set back
                self._ask_for_snapshot(room)
            elif room.proving:
                room.prove()
            elif newest > room.whole and self._check_every_s is not None and now >= room.check_due:
                self._check(room, newest)

    # -- asking

    def _check(self, room: Room, newest: int) -> None:
        self.figures.checks += 1
        self._due(room)
        self._ask(room, room.whole)
        room.checking = newest

    def _due(self, room: Room) -> None:
        if self._check_every_s is not None and room.check_due != math.inf:
            room.check_due = self._now() + self._check_every_s * (0.5 + self._random())

    def _ask_for_snapshot(self, room: Room) -> None:
        room.lost = True
        room.checking = None
        self._ask(room)

    def _ask(self, room: Room, after: int | None = None) -> None:
        if self._send is None:  # the next connection asks
            return
        after = room.resume_after if after is None else after
        room.asked, room.asked_at = f"s{next(self._ids)}", self._now()
        told = {} if after is None else {"after": after}
        self._send({"op": "subscribe", "id": room.asked, "room": room.name, **told})

    def _settle(self, name: str, failure: Exception | None = None) -> bool:
        """Tell whoever waits for the room; whether somebody does."""
        wish = self._wishes.pop(name, None)
        if wish is not None:
            wish.settle(failure)
        return wish is not None

    def _leave(self, name: str) -> None:
        self._say({"op": "unsubscribe", "id": f"s{next(self._ids)}", "room": name})

    def _say(self, message: dict[str, Any]) -> None:
        if self._send is not None:
            self._send(message)

    def _room_of(self, heard: Heard) -> Room | None:
        room = self._rooms.get(heard.room)
        if room is None and heard.room not in self._left and self._send is not None:
            room = self._rooms[heard.room] = Room(heard.room, default=True, last=self._floor)
        return room
