"""Orders as they stood after each event of the log, for tills, which are told whole orders (spec S1).

A story is told from its beginning: it begins with the order's placing, or with all its events up to some offset, and is
right only if none after that is left out. So it is forgotten as soon as an event passes it by.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import structlog

from tabletap.actors.ports import Recorded
from tabletap.domain import events as e
from tabletap.domain.access import pos_room
from tabletap.domain.base import CafeId, Kind, OrderId
from tabletap.domain.order import Order, born, evolve
from tabletap.domain.vocabulary import Channel

from .audience import TOLD_TO_TILLS
from .rooms import Rooms
from .tickets import Tickets

log = structlog.get_logger(__name__)

History = Callable[[CafeId, Collection[OrderId], int], Awaitable[Sequence[Recorded]]]
"""All events about these orders below an offset, in their order (``ports.Reader.history``)."""


STORIES_OF_A_PAGE = 1_000_000
"""A page's orders are all kept while it is read: it has fewer events than that."""


class Stories:
    """The orders lately told of. The bound is on orders; what is forgotten is read again."""

    def __init__(self, orders_max: int) -> None:
        self._max = orders_max
        self._known: OrderedDict[OrderId, Order] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def advance(self, recorded: Recorded) -> Order | None:
        """Go on with the order's story, and how it stands then; None: not known, or an order of the counter."""
        event, order_id = recorded.event, recorded.order_id
        if order_id is None:
            return None
        if isinstance(event, e.OrderPlaced):
            order = None if event.channel is Channel.COUNTER else born(event)
        else:
            order = self._known.get(order_id)
            if order is not None and _is_its_own(recorded, order_id):
                order = evolve(order, event)
        if order is not None:
            self._known[order_id] = order
            self._known.move_to_end(order_id)
            if len(self._known) > self._max:
                self._known.popitem(last=False)
        return order

    def pass_by(self, recorded: Recorded) -> None:
        """Something has happened that nobody needs told: what is known of the order is old."""
        if self._known and recorded.order_id is not None:
            self._known.pop(recorded.order_id, None)

    def clear(self) -> None:
        """Events may be missing."""
        self._known.clear()

    def missing(self, recorded: Recorded) -> bool:
        """Whether the event changes an order whose story is not known."""
        return isinstance(recorded.event, TOLD_TO_TILLS) and recorded.event.order_id not in self._known

    def begin(self, history: Iterable[Recorded]) -> None:
        """Learn stories from their beginning up to some offset, but for those that are known already."""
        told = Stories(self._max)
        for recorded in history:
            told.advance(recorded)
        for order_id, order in told._known.items():
            self._known.setdefault(order_id, order)


def _is_its_own(recorded: Recorded, order_id: OrderId) -> bool:
    """Whether the order has decided it, or it is about the order itself."""
    return any(ref.kind is Kind.ORDER and ref.id == order_id for ref in (recorded.ref, recorded.author))


def begun_before(page: Sequence[Recorded]) -> set[OrderId]:
    """The orders that a page of the log goes on about, whose beginnings are on earlier ones."""
    placed = {recorded.order_id for recorded in page if isinstance(recorded.event, e.OrderPlaced)}
    changed = {recorded.event.order_id for recorded in page if isinstance(recorded.event, TOLD_TO_TILLS)}
    return changed - placed


def told(history: Iterable[Recorded], page: Sequence[Recorded]) -> Mapping[int, Order]:
    """How each order of a page of the log stood after each event about it, by offset. ``history``: of what was begun
    before."""
    stories, found = Stories(STORIES_OF_A_PAGE), dict[int, Order]()
    stories.begin(history)
    for recorded in page:
        order = stories.advance(recorded)
        if order is not None:
            found[recorded.offset] = order
    return found


class Storyteller:
    """A node's stories, for as long as tills listen in their cafe's room (``pos``)."""

    def __init__(self, orders_max: int, history: History | None, tickets: Tickets, rooms: Rooms) -> None:
        self._stories = Stories(orders_max)
        self._history = history
        self._tickets = tickets
        self._rooms = rooms

    def goes_on(self, pos: str, recorded: Recorded) -> Order | None:
        """How the order stands now, where a till is there to be told."""
        if self._rooms.member_count(pos):
            return self._stories.advance(recorded)
        self._stories.pass_by(recorded)
        return None

    def clear(self) -> None:
        """Events are missing."""
        self._stories.clear()

    def lacks(self, pos: str, recorded: Recorded) -> bool:
        """Whether a till is about to be told of an order whose story is not known."""
        if self._history is None or not self._rooms.member_count(pos) or not self._stories.missing(recorded):
            return False
        return recorded.order_id is not None and not self._tickets.is_of_counter(recorded.order_id)

    async def learn(self, cafe_id: CafeId, waiting: Sequence[Recorded]) -> None:
        """The stories so far of the orders that something is about to be told of. Without an answer, tills hear only
        that an order has changed."""
        pos = pos_room(cafe_id)
        lacking = {one.order_id for one in waiting if one.order_id is not None and self.lacks(pos, one)}
        if not lacking or self._history is None:
            return
        try:
            self._stories.begin(await self._history(cafe_id, lacking, waiting[0].offset))
        except Exception:
            log.exception("story_lookup_failed", cafe_id=str(cafe_id))

    async def of_page(self, cafe_id: CafeId, page: Sequence[Recorded]) -> Mapping[int, Order]:
        """How the orders in a page of the log stood after each of its events, by offset. Their tickets are learned by
        the way, as far as tills depend on them."""
        before = {order_id for order_id in begun_before(page) if not self._tickets.is_of_counter(order_id)}
        history = await self._history(cafe_id, before, page[0].offset) if before and self._history is not None else ()
        for recorded in (*history, *page):
            self._tickets.note(recorded, live=False)
        return told(history, page)
