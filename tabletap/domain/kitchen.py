"""The kitchen as a reader of the log (spec O5, O6): what waits, how long it will take, what a screen shows.

``Board`` follows the events of one cafe and answers from what its stations really do: each station's pace is learnt
from how long its finished lines took against the menu's preparation times. It owns no facts: it can be thrown away and
rebuilt from the active orders at any time.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

import msgspec

from . import events as e
from .base import Event, OrderId
from .order import DONE, LineView, OrderView
from .settings import Ageing
from .vocabulary import ItemStatus, OrderStatus

FULL_STATION_S = 900
"""A station with this much work before it (seconds) is loaded to 100."""

PACE_WEIGHT = 0.2
"""How much one finished line moves a station's pace (exponential average)."""

PACE_BOUNDS = (0.25, 4.0)
"""A forgotten bump or a double tap says nothing about the cook."""

TELL_AGAIN_AFTER = timedelta(seconds=60)
"""An estimate that moved by less is not told again."""

FRESH_FOR = timedelta(milliseconds=250)
"""A rush moves the queue with every request: working all places out again each time would cost more than the orders."""

DRIFT_SEEN_AFTER = timedelta(seconds=20)
"""While orders only come, nobody's place moves, but time does: every estimate drifts with it."""


class _Work:
    """What one line asks of its station; ``done``: nothing more, unless it is recalled."""

    __slots__ = ("done", "seconds", "since", "station")

    def __init__(self, facts: e.Numbered | LineView, since: datetime, *, done: bool = False) -> None:
        self.station = facts.station
        self.seconds = facts.prep_seconds * facts.quantity
        self.since = since
        self.done = done


class _Ticket:
    """An order's lines in the kitchen. ``waiting``: it is in the queue; a ready or merged one may come back to it."""

    __slots__ = ("lines", "waiting")

    def __init__(self, lines: dict[int, _Work], *, waiting: bool = True) -> None:
        self.lines = lines
        self.waiting = waiting

    @property
    def work(self) -> list[_Work]:
        return [work for work in self.lines.values() if self.waiting and not work.done]


class Board:
    """The orders of one cafe that are in the kitchen, in the order in which they came; its queue: the unready ones."""

    def __init__(self) -> None:
        self._tickets: dict[OrderId, _Ticket] = {}
        self._pace: dict[str, float] = {}
        self._last_done: dict[str, datetime] = {}
        self._told: dict[OrderId, e.Place] = {}
        self._told_load = 0
        self._told_active = 0
        self._places: dict[OrderId, e.Place] = {}
        self._ahead: Counter[str] = Counter()
        self._stale_since: datetime | None = None
        self._worked_out_at: datetime | None = None
        self._appended: list[OrderId] = []  # since the last news, and nothing else has happened if ``_only_came``
        self._only_came = False
        self.moved = False
        """Something changed since the last ``news``."""

    def adopt(self, orders: Iterable[OrderView], now: datetime) -> None:
        """Take over the orders that were active before this board lived."""
        for order in sorted(orders, key=lambda order: order.released_at or order.placed_at):
            if order.in_kitchen:
                lines = {
                    line.line: _Work(line, now, done=line.status in DONE)
                    for line in order.items
                    if line.status is not ItemStatus.VOIDED
                }
                self._tickets[order.id] = _Ticket(lines, waiting=order.status is not OrderStatus.READY)
        self.places(now)
        self.moved = bool(self._tickets)

    def apply(self, event: Event, at: datetime) -> None:
        """Follow one event of the cafe's log, which happened ``at``."""
        match event:
            case e.OrderPlaced(released=True) | e.OrderReleased():
                ticket = _Ticket({facts.line: _Work(facts, at) for facts in event.lines if facts.gift is None})
                self._tickets[event.order_id] = ticket
                self._append(event.order_id, ticket.work, at)
                self._appended.append(event.order_id)
                self.moved = True
                return
            case e.OrderStatusChanged(to=OrderStatus.COMPLETED) | e.OrderCancelled(merged_into=None):
                if self._tickets.pop(event.order_id, None) is None:
                    return
            case e.OrderChanged() | e.ItemsMoved() | e.ItemVoided() | e.OrderStatusChanged() | e.OrderCancelled():
                if isinstance(event, e.OrderChanged) and event.absorbed is not None:
                    self._tickets.pop(event.absorbed, None)
                if event.order_id not in self._tickets:
                    return
                self._follow(self._tickets[event.order_id], event, at)
            case e.MergeUndone() if event.order_id in self._tickets:
                self._tickets[event.order_id].waiting = True
            case _:
                return
        self.moved = True
        self._only_came = False
        self._stale_since = self._stale_since or at

    def _follow(self, ticket: _Ticket, event: Event, at: datetime) -> None:
        """What happens to an order that is in the kitchen."""
        match event:
            case e.OrderChanged():
                for facts in event.added:
                    ticket.lines[facts.line] = _Work(facts, at, done=event.statuses.get(facts.line) in DONE)
            case e.ItemsMoved():
                self._move(ticket.lines, event, at)
            case e.ItemVoided():
                ticket.lines.pop(event.line, None)
            case e.OrderStatusChanged():
                ticket.waiting = event.to is not OrderStatus.READY
            case e.OrderCancelled():
                ticket.waiting = False
            case _:
                return
        if not ticket.waiting:
            self._told.pop(event.order_id, None)

    def _move(self, lines: dict[int, _Work], event: e.ItemsMoved, at: datetime) -> None:
        for line in event.lines:
            work = lines.get(line)
            if work is None:
                continue
            if event.to in DONE and not work.done:
                self._learn(work, at)
            elif event.to is ItemStatus.STARTED:
                work.since = at
            work.done = event.to in DONE

    def _learn(self, work: _Work, at: datetime) -> None:
        """One line is done: it took the station from when it could begin until now."""
        began = max(work.since, self._last_done.get(work.station, work.since))
        self._last_done[work.station] = at
        if work.seconds:
            low, high = PACE_BOUNDS
            took = min(high, max(low, (at - began).total_seconds() / work.seconds))
            pace = self._pace.get(work.station, 1.0)
            self._pace[work.station] = pace + PACE_WEIGHT * (took - pace)

    def places(self, now: datetime) -> dict[OrderId, e.Place]:
        """Every queued order's position (from 1) and when it should be ready."""
        self._places, self._ahead, self._stale_since, self._worked_out_at = {}, Counter(), None, now
        for order_id, ticket in self._tickets.items():
            if ticket.waiting:
                self._append(order_id, ticket.work, now)
        return dict(self._places)

    def _append(self, order_id: OrderId, works: Iterable[_Work], now: datetime) -> None:
        """Put an order at the end of the queue."""
        stations = []
        for work in works:
            self._ahead[work.station] += work.seconds
            stations.append(work.station)
        seconds = max((self._ahead[one] * self._pace.get(one, 1.0) for one in stations), default=0.0)
        ready_at = (now + timedelta(seconds=seconds)).replace(microsecond=0)
        self._places[order_id] = e.Place(order_id, len(self._places) + 1, ready_at)

    def place(self, order_id: OrderId, now: datetime) -> e.Place | None:
        """One order's place, at most a moment old, or None if it does not wait in the kitchen."""
        ticket = self._tickets.get(order_id)
        if ticket is None or not ticket.waiting:
            return None
        if order_id not in self._places or (self._stale_since is not None and now - self._stale_since >= FRESH_FOR):
            self.places(now)
        return self._places.get(order_id)

    @property
    def active(self) -> int:
        return sum(ticket.waiting for ticket in self._tickets.values())

    def load(self) -> int:
        """0-100: the fullest station's work against 15 minutes of it, at its own pace, when last worked out."""
        fullest = max((seconds * self._pace.get(station, 1.0) for station, seconds in self._ahead.items()), default=0.0)
        return min(100, round(100 * fullest / FULL_STATION_S))

    def news(self, now: datetime) -> e.QueueMoved | None:
        """What changed since it was last asked, or None. An estimate that hardly moved is no news."""
        self.moved = False
        changed = tuple(place for place in self._looked_at(now) if self._is_news(place))
        load, active = self.load(), len(self._places)
        if not changed and (load, active) == (self._told_load, self._told_active):
            return None
        self._told |= {place.order_id: place for place in changed}
        self._told_load, self._told_active = load, active
        return e.QueueMoved(load=load, active=active, places=changed)

    def _looked_at(self, now: datetime) -> Iterable[e.Place]:
        """The places that may be news: while orders only come, theirs."""
        appended, self._appended = self._appended, []
        only_came, self._only_came = self._only_came, True
        if only_came and self._worked_out_at is not None and now - self._worked_out_at < DRIFT_SEEN_AFTER:
            return [self._places[order_id] for order_id in appended]
        places = self.places(now)
        self._told = {order_id: place for order_id, place in self._told.items() if order_id in places}
        return places.values()

    def _is_news(self, place: e.Place) -> bool:
        told = self._told.get(place.order_id)
        if told is None or told.position != place.position:
            return True
        return abs(told.ready_at - place.ready_at) > TELL_AGAIN_AFTER


# -- the kitchen's screen


class Ticket(msgspec.Struct, frozen=True, rename="camel"):
    """An order as a station sees it. ``level``: 0 fresh, 1 past the first threshold, 2 past the second."""

    order: OrderView
    items: tuple[LineView, ...]
    also_at: tuple[str, ...]
    age_seconds: int
    level: int


class KitchenView(msgspec.Struct, frozen=True, rename="camel"):
    """A station's queue, or the expo's whole tickets; ``all_day``: how many of what are still to make."""

    station: str | None
    tickets: tuple[Ticket, ...]
    all_day: dict[str, int]


def display(orders: Iterable[OrderView], station: str | None, now: datetime, ageing: Ageing) -> KitchenView:
    """The screen of ``station`` (None: the expo) for the cafe's active orders."""
    limits: Mapping[str, tuple[int, int]] = MappingProxyType(msgspec.structs.asdict(ageing))
    tickets, all_day = [], Counter[str]()
    for order in orders:
        shown = tuple(line for line in order.items if _shown(line, station))
        if not order.in_kitchen or not shown:
            continue
        age = int((now - (order.released_at or order.placed_at)).total_seconds())
        level = sum(age >= limit for limit in limits[order.channel])
        stations = {line.station for line in order.items if line.status is not ItemStatus.VOIDED}
        elsewhere = tuple(sorted(stations - {station, ""})) if station else ()
        tickets.append(Ticket(order, shown, elsewhere, age, level))
        for line in shown:
            if line.status in (ItemStatus.QUEUED, ItemStatus.STARTED):
                all_day[line.name] += line.quantity
    return KitchenView(station, tuple(tickets), dict(all_day))


def _shown(line: LineView, station: str | None) -> bool:
    """A voided line stays until its station has seen it; a done one leaves the station but not the expo."""
    if line.status is ItemStatus.VOIDED:
        return not line.acknowledged and station in (None, line.station)
    return station is None or (line.station == station and line.status not in DONE)
