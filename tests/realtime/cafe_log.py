"""A cafe's log written by the domain itself at random, a reader of it, and sessions that collect what they are sent."""

import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import trio

from tabletap.actors.ports import Recorded
from tabletap.domain import events as e
from tabletap.domain import order as o
from tabletap.domain import payment as pay
from tabletap.domain.access import Subject
from tabletap.domain.base import SYSTEM, CafeId, Context, Decision, Event, Kind, OrderId, PaymentId, Ref
from tabletap.domain.menu import Priced
from tabletap.domain.messages import NoteRefund, Release, Settle
from tabletap.domain.vocabulary import Channel, Method
from tabletap.realtime.audience import Cast, audience
from tabletap.realtime.frames import encode
from tabletap.realtime.stories import Stories
from tabletap.realtime.telling import Batch
from tabletap.realtime.tickets import Ticket, Tickets, told_by

CAFE = CafeId(UUID(int=0xCAFE))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
STATIONS = ("bar", "grill")


def ident(number: int) -> UUID:
    return UUID(int=number)


def line(number: int, station: str = "bar", *, added: bool = False) -> e.Numbered:
    return e.Numbered(
        line=number,
        sku="latte",
        name="Latte",
        quantity=1,
        unit_price=500,
        total=500,
        tax=45,
        tax_class="gst",
        station=station,
        added=added,
    )


def placed(number: int, **facts: Any) -> e.OrderPlaced:
    given: dict[str, Any] = {
        "lines": (line(1, "bar"), line(2, "grill")),
        "channel": Channel.TABLE,
        "table": "4",
        "released": True,
    }
    return e.OrderPlaced(
        order_id=OrderId(ident(number)),
        cafe_id=CAFE,
        number=number,
        business_day=date(2026, 3, 2),
        currency="AUD",
        placed_at=NOON,
        **(given | facts),
    )


def recorded(event: Event, offset: int = 1) -> Recorded:
    order_id = e.order_of(event)
    ref = Ref(Kind.CAFE, CAFE, CAFE) if order_id is None else Ref(Kind.ORDER, order_id, CAFE)
    return Recorded(
        cafe_id=CAFE,
        offset=offset,
        id=UUID(int=10**9 + offset),
        ref=ref,
        version=1,
        author=ref,
        order_id=order_id,
        at=NOON + timedelta(seconds=offset),
        by=SYSTEM,
        event=event,  # type: ignore[arg-type]
    )


def logged(*events: Event) -> list[Recorded]:
    return [recorded(event, offset) for offset, event in enumerate(events, start=1)]


class Writer:
    """Orders, payments and the cafe doing something at random, each by its own ``decide``."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ids = 0
        self._orders: dict[OrderId, o.Order] = {}
        self._payments: dict[PaymentId, pay.Payment] = {}
        self.events: list[Event] = []

    def write(self, count: int) -> list[Recorded]:
        while len(self.events) < count:
            self._step()
        return logged(*self.events[:count])

    def _new_id(self) -> UUID:
        self._ids += 1
        return ident(1_000_000 + self._ids)

    def _step(self) -> None:
        pick = self._random.random()
        if pick < 0.15 or not self._orders:
            self._place()
        elif pick < 0.25:
            self._queue()
        elif pick < 0.30:
            self.events.append(e.ItemAvailabilityChanged("latte", self._random.random() < 0.5))
        elif pick < 0.50 and self._payments:
            self._move_payment()
        else:
            self._move_order()

    def _place(self) -> None:
        waits, prepay = self._random.random() < 0.3, self._random.random() < 0.4
        user = self._random.choice([None, "ann", "bob"])
        event = placed(
            len(self._orders) + 1,
            lines=tuple(line(n, self._random.choice(STATIONS)) for n in (1, 2)),
            customer=e.Customer(name="Ann", phone="0400 000 000", id=user) if user else None,
            needs_approval=waits,
            prepay=prepay,
            released=not waits and not prepay,
            channel=(Channel.ONLINE, Channel.COUNTER, Channel.TABLE)[len(self._orders) % 3],
        )
        self.events.append(event)
        self._orders[event.order_id] = o.born(event)

    def _queue(self) -> None:
        chosen = self._random.sample(sorted(self._orders), k=min(3, len(self._orders)))
        places = tuple(e.Place(order_id, n, NOON) for n, order_id in enumerate(chosen, start=1))
        self.events.append(e.QueueMoved(load=self._random.randrange(100), active=len(chosen), places=places))

    def _move_order(self) -> None:
        order = self._orders[self._random.choice(list(self._orders))]
        commands: list[Any] = [
            o.Accept(),
            o.MoveOrder(self._random.choice(list(o.ORDER_MOVES))),
            *(o.MoveItem(self._random.choice((1, 2)), move) for move in o.ITEM_MOVES),
            o.Change(add=(_unnumbered(line(1, self._random.choice(STATIONS))),)),
            o.Change(note="no sugar"),
            o.MoveTable(str(self._random.randrange(9))),
            o.InitiatePayment(Method.CASH),
        ]
        self._decide_order(order, self._random.choice(commands))

    def _decide_order(self, order: o.Order, command: Any) -> None:
        decision = o.decide(order, command, Context(NOON, self._new_id))
        if not isinstance(decision, Decision):
            return
        for event in (*decision.events, *(event for birth in decision.births for event in birth.events)):
            self.events.append(event)
            order = o.evolve(order, event)
            if isinstance(event, e.PaymentInitiated):
                self._payments[event.payment_id] = pay.born(event)
        self._orders[order.placed.order_id] = order

    def _move_payment(self) -> None:
        payment = self._random.choice(list(self._payments.values()))
        command: Any = self._random.choice([pay.VerifyCash(payment.initiated.total), pay.Cancel("why"), pay.Refund()])
        decision = pay.decide(payment, command, Context(NOON, self._new_id))
        if not isinstance(decision, Decision):
            return
        for event in decision.events:
            self.events.append(event)
            payment = pay.evolve(payment, event)
        self._payments[payment.initiated.payment_id] = payment
        for message in decision.messages:
            if isinstance(message.command, Settle | Release | NoteRefund):
                self._decide_order(self._orders[OrderId(message.to.id)], message.command)


def _unnumbered(facts: e.Numbered) -> Priced:
    return Priced(**{name: getattr(facts, name) for name in Priced.__struct_fields__})


def story(records: Iterable[Recorded]) -> dict[str, list[tuple[int, str, Any]]]:
    """What each room must hear of the log: (offset, type, data), from folding it once from its beginning."""
    tickets, rooms = Tickets(10**6), dict[str, list[tuple[int, str, Any]]]()
    stories = Stories(10**6)
    for record in records:
        tickets.note(record)
        for cast in audience(record, tickets.of(record.event), stories.advance(record)):
            heard = (record.offset, cast.type, msgspec.json.decode(encode(cast.data)))
            rooms.setdefault(cast.room, []).append(heard)
    return rooms


def casts_of(*events: Event) -> dict[str, Cast]:
    """What the last of the events says, by room."""
    tickets, stories, casts = Tickets(10**6), Stories(10**6), tuple[Cast, ...]()
    for record in logged(*events):
        tickets.note(record)
        casts = audience(record, tickets.of(record.event), stories.advance(record))
    assert len({cast.room for cast in casts}) == len(casts), "a room hears an event at most once"
    return {cast.room: cast for cast in casts}


class FakeReader:
    """The log as far as it is committed. Each answer may take its time, before and after it is read."""

    def __init__(self, records: Sequence[Recorded] = (), seed: int | None = None) -> None:
        self.records = list(records)
        self.log_reads = 0
        self._random = None if seed is None else random.Random(seed)

    async def pause(self) -> None:
        await trio.sleep(0 if self._random is None else self._random.choice([0, 0, 0.001, 0.003]))

    async def log(self, cafe_id: CafeId, after: int, limit: int, order_id: OrderId | None = None) -> Sequence[Recorded]:
        self.log_reads += 1
        await self.pause()
        about = [
            record
            for record in self.records[after:]
            if order_id is None or record.order_id is None or record.order_id == order_id
        ]
        await self.pause()
        return about[:limit]

    async def history(self, cafe_id: CafeId, order_ids: Collection[OrderId], before: int) -> Sequence[Recorded]:
        await self.pause()
        found = [record for record in self.records[: before - 1] if record.order_id in order_ids]
        await self.pause()
        return found

    async def head(self, cafe_id: CafeId) -> int:
        await self.pause()
        head = len(self.records)
        await self.pause()
        return head

    async def subject(self, kind: str, id_: UUID) -> Subject | None:
        await self.pause()
        for record in self.records:
            event = record.event
            if kind == "payment" and isinstance(event, e.PaymentInitiated) and event.payment_id == id_:
                return Subject(CAFE, event.order_id)
            if kind == "order" and isinstance(event, e.OrderPlaced) and event.order_id == id_:
                return Subject(CAFE, event.order_id, event.customer.id if event.customer else None)
        return None

    async def order(self, order_id: OrderId) -> o.OrderView | None:
        await self.pause()
        order: o.Order | None = None
        for record in self.records:
            if record.order_id == order_id:
                event = record.event
                order = o.born(event) if isinstance(event, e.OrderPlaced) else order and o.evolve(order, event)
        return None if order is None else o.view(order)

    async def tickets(self, cafe_id: CafeId, order_ids: Iterable[OrderId]) -> dict[OrderId, Ticket]:
        """The exact ones, from the log."""
        await self.pause()
        found = Tickets(10**6)
        for record in self.records:
            if told_by(record) is not None:
                found.note(record)
        await self.pause()
        return {order_id: found._known[order_id] for order_id in order_ids if order_id in found._known}


class FakeStream:
    def __init__(self, seed: int | None = None) -> None:
        self.waits = 0
        self._random = None if seed is None else random.Random(seed)

    async def wait_send_all_might_not_block(self) -> None:
        self.waits += 1
        await trio.sleep(0 if self._random is None else self._random.choice([0, 0.001, 0.004]))


class FakeSession:
    free = False
    bare_send = None

    def __init__(self, seed: int | None = None, *, takes: bool = True) -> None:
        self.rooms: set[str] = set()
        self.stream = FakeStream(seed)
        self.sent: list[bytes] = []
        self.closed: int | None = None
        self.takes = takes

    def send(self, frame: bytes) -> bool:
        if self.takes:
            self.sent.append(frame)
        return self.takes

    def sent_short(self, data: bytes, sent: int | None) -> None:
        raise AssertionError("it has no bare socket")

    @property
    def frames(self) -> list[bytes]:
        """What was sent, frame by frame: several may have been sent in one piece."""
        return [frame for piece in self.sent for frame in frames_of(piece)]

    def tell(self, batch: Batch) -> bool:
        return sum(self.send(told.frame) for told in batch.told) == len(batch.told)

    def close(self, code: int, reason: str = "") -> None:
        self.closed = code

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(payload_of(frame)) for frame in self.frames]

    def heard(self, room: str) -> list[int]:
        """The offsets of the room's events, in the order in which they came."""
        return [m["offset"] for m in self.messages if m.get("room") == room and "eventId" in m]


def frames_of(piece: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(piece):
        size, head = piece[at + 1], 2
        if size > 125:
            head = {126: 4, 127: 10}[size]
            size = int.from_bytes(piece[at + 2 : at + head])
        yield piece[at : at + head + size]
        at += head + size


def payload_of(frame: bytes) -> bytes:
    size = frame[1]
    return frame[{126: 4, 127: 10}.get(size, 2) :]
