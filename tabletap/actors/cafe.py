"""The cafe actor: ``domain.cafe`` on the one loop, with the kitchen's board beside it.

The board follows the cafe's log (whoever wrote to it) and is the cafe's to tell: what moved in the queue is gathered
for a moment and becomes one event, so that a rush costs one message a second and not one per order and change.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from tabletap.domain import cafe as rules
from tabletap.domain import drawer, order
from tabletap.domain.base import CafeId, Command, Context, Decision, Event, OrderId, Ref
from tabletap.domain.cafe import Cafe, MoveQueue, OpenCafe, Snapshot
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.events import CafeConfigured, CafeOpened, DayClosed, MenuPublished, Place, QueueMoved
from tabletap.domain.kitchen import Board
from tabletap.domain.menu import Wish

from .entity import Entity, Envelope, House, Life, Query
from .ports import Publisher, Reader, Recorded, State

MISSING = Refusal(Code.NOT_FOUND, "there is no such cafe")
SNAPSHOT_EVERY = 500

_PINNED = (CafeOpened, CafeConfigured, MenuPublished)
_decode_snapshot = msgspec.msgpack.Decoder(Snapshot)


class GetMenu(Query, frozen=True):
    """What anybody may know of the cafe."""


class GetCafe(Query, frozen=True):
    """The cafe's own state, for those who work for it."""


class GetTables(Query, frozen=True):
    """The names of its tables."""


class Quote(Query, frozen=True):
    """What ``wishes`` cost now, if they can be had."""

    wishes: tuple[Wish, ...]
    field: str = "items"


class Available(Query, frozen=True):
    """Whether an order that was admitted can still be had, or something of it is 86'd. None: it can; else the refusal.

    How many are left is no question: what a countdown counts, it has counted when the order was admitted.
    """

    skus: frozenset[str]


class QueueTick(msgspec.Struct, frozen=True):
    """The board has moved a moment ago: tell."""


class Nudge(Query, frozen=True):
    """Live: somebody needs the board."""


class CafeLife(Life[Cafe]):
    """A cafe lives for years: counting orders is snapshot, menu and settings are read from their own events."""

    pinned = tuple(str(event.__struct_config__.tag) for event in _PINNED)
    snapshot_every = SNAPSHOT_EVERY

    def born(self, ref: Ref, event: Event) -> Cafe:
        """The cafe as it opened."""
        assert isinstance(event, CafeOpened)
        return rules.born(ref.cafe_id, event)

    def decide(self, state: Cafe | None, command: Command, ctx: Context) -> Decision | Refusal:
        """By the rules; what does not exist can only be opened."""
        if isinstance(command, OpenCafe):
            return Refusal(Code.SLUG_TAKEN, "this cafe is open") if state else rules.open_cafe(command)
        return MISSING if state is None else rules.decide(state, cast("rules.CafeCommand", command), ctx)

    def evolve(self, state: Cafe, event: Event) -> Cafe:
        """By the rules."""
        return rules.evolve(state, event)

    def wake_at(self, state: Cafe) -> datetime | None:
        """When a sold-out item comes back."""
        return rules.wake_at(state)

    def projected(self, state: Cafe, events: Sequence[Event]) -> Sequence[State]:
        """Counting orders changes nothing of the cafe's row."""
        return (state,) if any(isinstance(event, _PINNED) for event in events) else ()

    def snapshot(self, state: Cafe) -> bytes:
        """The counters."""
        return msgspec.msgpack.encode(rules.snapshot(state))

    def restore(self, ref: Ref, pinned: Sequence[Event], snapshot: bytes) -> Cafe:
        """Settings and menu from their events, the counters from the snapshot."""
        state = self.born(ref, next(event for event in pinned if isinstance(event, CafeOpened)))
        for event in pinned:
            state = rules.evolve(state, event)
        return rules.restore(state, _decode_snapshot.decode(snapshot))

    def reply(self, state: Cafe, births: Sequence[State], events: Sequence[Event]) -> Any:
        """The order or drawer it admitted, the day it closed, else the cafe's settings."""
        match births, events:
            case [order.Order() as placed], _:
                return order.view(placed)
            case [drawer.Drawer() as opened], _:
                return drawer.view(opened)
            case _, [DayClosed() as closed]:
                return rules.day_view(closed)
            case _:
                return state.settings

    def answer(self, state: Cafe | None, query: Query, now: datetime) -> Any:
        """From the state of this moment."""
        if isinstance(query, Nudge):
            return None
        if state is None:
            return MISSING
        match query:
            case GetMenu():
                return rules.view(state, now)
            case GetCafe():
                return state
            case GetTables():
                return state.settings.tables
            case Quote():
                return rules.quote(state, query.wishes, now, query.field)
            case Available():
                gone = sorted(sku for sku in query.skus if state.out(sku, now))
                return Refusal(Code.ITEM_UNAVAILABLE, f"sold out: {', '.join(gone)}") if gone else None
            case _:
                raise AssertionError(query)


class Boards:
    """The boards of the cafes that live here: written by their cafe, read by whoever renders an order.

    A board outlives a crash of its cafe, and goes on following the log, until the cafe's next life brings another.
    """

    def __init__(self) -> None:
        self._boards: dict[CafeId, Board] = {}
        self._unfollow: dict[CafeId, Callable[[], None]] = {}

    def __contains__(self, cafe_id: object) -> bool:
        return cafe_id in self._boards

    def place(self, cafe_id: CafeId, order_id: OrderId, now: datetime) -> Place | None:
        """Where an order stands in its cafe's queue, if it waits there and the cafe lives."""
        board = self._boards.get(cafe_id)
        return board.place(order_id, now) if board else None

    def put(self, cafe_id: CafeId, board: Board, unfollow: Callable[[], None]) -> None:
        """A cafe has come to life; ``unfollow`` ends what its board hears."""
        self.drop(cafe_id)
        self._boards[cafe_id], self._unfollow[cafe_id] = board, unfollow

    def drop(self, cafe_id: CafeId) -> None:
        """A cafe has gone, if it was here."""
        if self._boards.pop(cafe_id, None) is not None:
            self._unfollow.pop(cafe_id)()


class Kitchen(msgspec.Struct, frozen=True):
    """What a cafe needs to keep its board. ``tick_s``: how long news of the queue gathers (seconds)."""

    reader: Reader
    publisher: Publisher
    boards: Boards
    tick_s: float


class CafeActor(Entity[Cafe]):
    """The loop, and the board that follows the cafe's log. ``_news``: read off the board, not yet heard in the log."""

    __slots__ = ("_adopted", "_news", "board", "kitchen", "ticking")

    def __init__(self, ref: Ref, life: CafeLife, house: House, kitchen: Kitchen) -> None:
        super().__init__(ref, life, house)
        self.kitchen = kitchen
        self.board = Board()
        self.ticking = False
        self._adopted: int | None = None
        self._news: QueueMoved | None = None

    async def started(self) -> None:
        """Follow the log first, then take over what is active: what happens between the two is heard of once."""
        await super().started()
        kitchen, cafe_id = self.kitchen, self._ref.cafe_id
        missed: list[Recorded] = []
        unfollow = kitchen.publisher.follow(cafe_id, missed.extend)
        try:
            offset, active = await kitchen.reader.orders_with_offset(cafe_id)
        finally:
            unfollow()
        self.board.adopt(active, self.context.now())
        self._adopted = offset
        self._hear(missed)
        kitchen.boards.put(cafe_id, self.board, kitchen.publisher.follow(cafe_id, self._hear))

    def _hear(self, events: Sequence[Recorded]) -> None:
        for recorded in events:
            if self._adopted is None or recorded.offset > self._adopted:
                self.board.apply(recorded.event, recorded.at)
                if isinstance(recorded.event, QueueMoved):
                    self._news = None
        if self.board.moved and not self.ticking:
            self.ticking = True
            self.context.tell_self_later(self.kitchen.tick_s, QueueTick())

    def open(self, content: Any, now: datetime) -> Envelope | None:
        """A tick becomes news of the queue, if there are any: the same ones where they were not written at once."""
        if not isinstance(content, QueueTick):
            return super().open(content, now)
        self.ticking = False
        self._news = self._news or self.board.news(now)
        return Envelope(MoveQueue(self._news)) if self._news else None

    def idle(self) -> bool:
        """A cafe with orders in its kitchen stays."""
        return self.board.active == 0 and not self.ticking

    async def stopped(self) -> None:
        """Stop following."""
        self.kitchen.boards.drop(self._ref.cafe_id)
