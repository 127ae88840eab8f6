"""Orders as they stood after each event of the log, for tills, which are told whole orders (spec S1).

A story is told from its beginning: it begins with the order's placing, or with all its events up to some offset, and is
right only if none after that is left out. So it is forgotten as soon as an event passes it by.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from tabletap.actors.ports import Recorded
from tabletap.domain import events as e
from tabletap.domain.base import CafeId, Kind, OrderId
from tabletap.domain.order import Order, born, evolve
from tabletap.domain.vocabulary import Channel

from .audience import TOLD_TO_TILLS

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
