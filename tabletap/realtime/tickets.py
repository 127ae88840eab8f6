"""What an order's later events leave unsaid and a room's door has to know: whose it is, how it came, which station
makes which line, and since when the kitchen has it.

None of these facts ever changes once it holds (a line keeps its station, a release has one offset). So a ticket may be
applied to any event of its order, older or newer than the ticket itself, and who replays hears what was heard live.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping

import msgspec

from tabletap.actors.ports import Reader, Recorded
from tabletap.domain import events as e
from tabletap.domain.base import CafeId, Event, OrderId
from tabletap.domain.vocabulary import Channel, OrderStatus

BEFORE = 0
"""The offset of what was so already when it was looked up, and of lines that are older than the release."""


class Ticket(msgspec.Struct, frozen=True):
    """``lines``: line -> its station and the offset from which it is on the ticket. ``released_at``: the offset from
    which the kitchen has the order. ``whole``: nothing is missing but what is yet to come."""

    customer_id: str | None = None
    lines: dict[int, tuple[str, int]] = {}
    released_at: int | None = None
    whole: bool = False
    channel: Channel | None = None

    def stations_at(self, offset: int) -> dict[int, str]:
        return {line: station for line, (station, since) in self.lines.items() if since <= offset}

    def in_kitchen_at(self, offset: int) -> bool:
        return self.released_at is not None and self.released_at <= offset

    def joined(self, other: "Ticket") -> "Ticket":
        """Both together. A release whose offset is known says more than one that was only found to have been."""
        lines = dict(self.lines)
        for line, (station, since) in other.lines.items():
            lines[line] = (station, max(since, lines[line][1]) if line in lines else since)
        releases = [at for at in (self.released_at, other.released_at) if at is not None]
        return Ticket(
            customer_id=self.customer_id if self.customer_id is not None else other.customer_id,
            channel=self.channel or other.channel,
            lines=lines,
            released_at=max(releases, default=None),
            whole=self.whole or other.whole,
        )


TicketSource = Callable[[CafeId, Iterable[OrderId]], Awaitable[Mapping[OrderId, Ticket]]]
"""Looks up the tickets of orders that were placed before anybody here listened."""


def orders_in(event: Event) -> tuple[OrderId, ...]:
    """The orders whose tickets decide who hears ``event``."""
    if isinstance(event, e.QueueMoved):
        return tuple(place.order_id for place in event.places)
    order_id = e.order_of(event)
    return () if order_id is None else (order_id,)


def told_by(recorded: Recorded) -> Ticket | None:
    """What the event itself adds to its order's ticket."""
    match recorded.event:
        case e.OrderPlaced() as placed:
            return Ticket(
                customer_id=placed.customer.id if placed.customer else None,
                channel=placed.channel,
                lines=_lines(placed.lines, BEFORE),
                released_at=recorded.offset if placed.released else None,
                whole=True,
            )
        case e.OrderReleased() as released:
            customer = released.placed.customer
            return Ticket(
                customer_id=customer.id if customer else None,
                channel=released.placed.channel,
                lines=_lines((*released.placed.lines, *released.lines), BEFORE),
                released_at=recorded.offset,
            )
        case e.OrderChanged(added=added) if added:
            return Ticket(lines=_lines(added, recorded.offset))
        case _:
            return None


def _lines(lines: Iterable[e.Numbered], since: int) -> dict[int, tuple[str, int]]:
    return {line.line: (line.station, since) for line in lines}


class Tickets:
    """The tickets of the orders lately heard of. The bound is on orders; what is forgotten is looked up again."""

    def __init__(self, tickets_max: int) -> None:
        self._max = tickets_max
        self._known: OrderedDict[OrderId, Ticket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def note(self, recorded: Recorded, *, live: bool = True) -> None:
        """Learn from an event of the log, in any order, any number of times.

        A placing that is not live is no whole ticket: what came between it and now is not noted here.
        """
        told, order_id = told_by(recorded), e.order_of(recorded.event)
        if told is not None and order_id is not None:
            told = told if live else msgspec.structs.replace(told, whole=False)
            self.add(order_id, told)

    def add(self, order_id: OrderId, ticket: Ticket) -> None:
        known = self._known.get(order_id)
        self._known[order_id] = ticket if known is None else known.joined(ticket)
        self._known.move_to_end(order_id)
        if len(self._known) > self._max:
            self._known.popitem(last=False)

    def missing(self, event: Event) -> list[OrderId]:
        """The orders of the event whose tickets have to be looked up first."""
        return [order_id for order_id in orders_in(event) if not self._of(order_id).whole]

    def of(self, event: Event) -> dict[OrderId, Ticket]:
        return {order_id: self._known[order_id] for order_id in orders_in(event) if order_id in self._known}

    def is_of_counter(self, order_id: OrderId) -> bool:
        """Whether it is known that the order was rung up at the counter."""
        return self._of(order_id).channel is Channel.COUNTER

    def _of(self, order_id: OrderId) -> Ticket:
        known = self._known.get(order_id)
        if known is None:
            return _BLANK
        self._known.move_to_end(order_id)
        return known


_BLANK = Ticket()


def tickets_from(reader: Reader) -> TicketSource:
    """Tickets out of the projections, which know whether but not since when the kitchen has an order.

    Where that leaves a doubt the kitchen is told too much rather than too little: of an order that was cancelled while
    nobody here listened it may hear although it never had it.
    """

    async def look_up(_: CafeId, order_ids: Iterable[OrderId]) -> dict[OrderId, Ticket]:
        found: dict[OrderId, Ticket] = {}
        for order_id in order_ids:
            view, subject = await reader.order(order_id), await reader.subject("order", order_id)
            if view is None:
                found[order_id] = Ticket(whole=True)
                continue
            closed = view.status in (OrderStatus.COMPLETED, OrderStatus.CANCELLED)
            found[order_id] = Ticket(
                customer_id=subject.customer_id if subject else None,
                channel=view.channel,
                lines={line.line: (line.station, BEFORE) for line in view.items},
                released_at=BEFORE if view.in_kitchen or closed else None,
                whole=True,
            )
        return found

    return look_up
