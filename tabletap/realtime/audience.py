"""Who hears what: the one table from the log's events to frames (spec R3).

Pure: an event and the tickets of its orders in, casts out. What must hold:

- At most one cast per room and event, so that the offsets of a room strictly grow.
- Each room tells a complete story alone: a client is in one of them by default.
- An event that says nothing new to a room is not sent there. The kitchen hears nothing of an order it does not have.
- Names go to the crew and to the order's own customer, phone numbers to the crew and the tills and only with the
  points they have, devices and the reasons of voids, refunds, failed payments and credit to the crew. The code of a
  gift card is nowhere.
- Tills hear of online and table orders and never of those of the counter, which they have taken themselves.
  ``cafe:{id}:customers`` is read by everybody: item availability, and the numbers of orders that are ready.

``catalogue`` says what each room is called and which wire type carries which payload into which rooms.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from tabletap.actors.ports import Recorded
from tabletap.domain import events as e
from tabletap.domain.access import pos_room
from tabletap.domain.base import Event, OrderId, PaymentId
from tabletap.domain.order import Order, view
from tabletap.domain.vocabulary import AccountKind, Cause, Channel, OrderStatus, PaymentStatus

from . import news
from . import payloads as p
from .catalogue import ALSO, Hears
from .tickets import Ticket

S = OrderStatus


class Cast(msgspec.Struct, frozen=True):
    """One frame of one room. Casts of an event that say the same share their ``data``."""

    room: str
    type: str
    data: p.Data


SILENT: frozenset[type[Event]] = frozenset(
    {
        e.CafeOpened,  # nobody can be in a room of a cafe that did not exist
        e.PaymentReleased,  # payment_failed has said it
        e.PaymentsWithdrawn,  # each payment says for itself that it is closed, and why
        e.VerificationPlanned,  # between us and the provider
        e.ProviderSettled,
        e.StatementMatched,  # its money has been told of
        e.RefundProcessing,
        e.CardsSold,  # gift_card_purchased says it of each
        e.PointsCounted,  # loyalty_updated says it when they are there
        e.AccountOpened,  # the first movement says it
        e.SpendingBarred,  # payment_failed has said it
        e.TipsDistributed,  # management's own affair: who does it has the answer to their request
        e.TipsPaidOut,
        e.DayClosed,
        e.DrawerOpened,  # the drawer is the till's own: who works it has the answer to their request
        e.DrawerMoved,
        e.DrawerCashTaken,
        e.DrawerClosed,
    }
)


TOLD_TO_TILLS = (
    e.OrderAccepted
    | e.OrderReleased
    | e.OrderChanged
    | e.ItemsMoved
    | e.ItemVoided
    | e.VoidAcknowledged
    | e.OrderTableMoved
    | e.OrderStatusChanged
    | e.OrderCancelled
    | e.MergeUndone
    | e.PaymentSettled
    | e.RefundNoted
    | e.OrderDiscounted
    | e.DiscountReturned
)
"""What changes an order that a till has."""


def audience(recorded: Recorded, tickets: Mapping[OrderId, Ticket], order: Order | None = None) -> tuple[Cast, ...]:
    """The frames of one event. ``tickets``: of its orders; without one, the kitchen is taken to have the order.
    ``order``: as it is after the event, for tills; without it they hear only that it has changed."""
    rooms = _Rooms(recorded, tickets)
    return (*_casts(rooms, recorded.event), *_updates(rooms, recorded.event, order))


def _casts(to: "_Rooms", event: e.AnyEvent) -> Iterator[Cast]:
    match event:
        case e.OrderPlaced():
            yield from _placed(to, event)
        case e.OrderAccepted():
            yield from to.own("order_updated", told := p.OrderNews(order_id=event.order_id, accepted=True))
            yield from to.crew("order_updated", told)
        case e.OrderReleased():
            yield from _released(to, event)
        case e.OrderChanged() | e.ItemsMoved() | e.ItemVoided() | e.VoidAcknowledged() | e.OrderTableMoved():
            yield from _changed(to, event)
        case e.OrderStatusChanged() | e.OrderCancelled() | e.MergeUndone():
            yield from _moved(to, event)
        case e.PaymentSettled(order_id=order_id, paid=paid, owed=owed):
            # The kitchen waits for the order's own move to paid.
            state = p.PaymentState(order_id=order_id, payment_id=event.payment_id, paid=paid, owed=owed)
            yield from to.own("payment_state_sync", state)
            status = PaymentStatus.COMPLETED if owed == 0 else None
            yield from to.crew(
                "order_updated", p.OrderNews(order_id=order_id, paid=paid, owed=owed, payment_status=status)
            )
        case e.RefundNoted():
            # The payment has said so before the order knew it: who asked for the order then has not got these sums.
            for rooms in (to.own, to.crew):
                yield from rooms("order_updated", news.given_back(event))
        case e.OrderDiscounted() | e.DiscountReturned():
            for rooms in (to.own, to.crew):
                yield from rooms("order_updated", news.discounted(event))
        case e.QueueMoved():
            yield from _queue(to, event)
        case (
            e.PaymentInitiated()
            | e.PaymentProcessing()
            | e.PaymentCompleted()
            | e.PaymentClosed()
            | e.PaymentUnapplied()
            | e.MoreReceived()
        ):
            type_, about = news.payment(event)
            yield from to.money(event.payment_id, type_, about)
            reason = event.reason if isinstance(event, e.PaymentClosed) else None
            for_crew = msgspec.structs.replace(about, reason=reason, redirect_url=None)
            yield from to.takings(type_, for_crew, to_crew="payment_update")
        case e.PaymentDisputed() | e.DisputeWon():
            type_, about = news.payment(event)
            yield from to.takings(type_, about, to_crew="payment_update")
        case e.RefundRequested() | e.RefundCompleted() | e.RefundFailed():
            refund = news.refund(event)
            yield from to.money(event.payment_id, "refund_updated", refund)
            yield from to.takings("refund_updated", msgspec.structs.replace(refund, reason=event.reason))
        case e.AccountCredited() | e.AccountDebited():
            yield from _held(to, event)
        case e.ItemAvailabilityChanged():
            yield from to.everybody(
                p.MenuNews(sku=event.sku, available=event.available, until=event.until, remaining=event.remaining)
            )
        case e.MenuPublished():
            yield from to.everybody(p.MenuNews(published=True))
        case e.CafeConfigured():
            yield from to.everybody(p.MenuNews(accepting=event.settings.accepting))
        case _:
            return  # SILENT, as the test of this table insists


def _updates(to: "_Rooms", event: e.AnyEvent, order: Order | None) -> Iterator[Cast]:
    """A till may have been away for long: it is told the whole order as it is now, each time."""
    if isinstance(event, TOLD_TO_TILLS):
        if order is None:
            yield from to.tills("order_updated", p.OrderNews(order_id=event.order_id))
        else:
            number = order.placed.number
            yield from to.tills(
                "order_updated", p.WholeOrder(order_id=event.order_id, number=number, order=view(order))
            )


class _Rooms:
    """The rooms that one event may reach, by who is in them."""

    def __init__(self, recorded: Recorded, tickets: Mapping[OrderId, Ticket]) -> None:
        self._cafe_id = recorded.cafe_id
        self._cafe = f"cafe:{recorded.cafe_id}"
        self._order_id = e.order_of(recorded.event)
        self._tickets = tickets
        ticket = None if self._order_id is None else tickets.get(self._order_id)
        self._ticket = ticket or Ticket(released_at=0)
        self._stations = self._ticket.stations_at(recorded.offset)
        self.kitchen_has_it = self._ticket.in_kitchen_at(recorded.offset)

    def own(self, type_: str, data: p.Data) -> Iterator[Cast]:
        """The order's customer, by the order's room or by their account's."""
        yield Cast(f"order:{self._order_id}", type_, data)
        if self._ticket.customer_id is not None:
            yield Cast(f"user:{self._ticket.customer_id}", type_, data)

    def user(self, user: str | None, type_: str, data: p.Data) -> Iterator[Cast]:
        if user is not None:
            yield Cast(f"user:{user}", type_, data)

    def money(self, payment_id: PaymentId, type_: str, data: p.Data) -> Iterator[Cast]:
        yield Cast(f"payment:{payment_id}", type_, data)
        yield from self.own(type_, data)

    def staff(self, type_: str, data: p.Data) -> Iterator[Cast]:
        return self._people(Hears.STAFF, type_, data)

    def cafe(self, type_: str, data: p.Data) -> Iterator[Cast]:
        yield Cast(self._cafe, type_, data)

    def crew(self, type_: str, data: p.Data) -> Iterator[Cast]:
        yield from self.staff(type_, data)
        yield from self.cafe(type_, data)

    def takings(self, type_: str, data: p.Data, *, to_crew: str | None = None) -> Iterator[Cast]:
        """The cafe's money, for its crew; one room hears nothing else."""
        yield Cast(f"{self._cafe}:payments", type_, data)
        yield from self.crew(to_crew or type_, data)

    def kitchen(self, type_: str, data: p.Data) -> Iterator[Cast]:
        return self._people(Hears.KITCHEN, type_, data)

    def stations(self, type_: str, data: p.Data) -> Iterator[Cast]:
        """Every station that makes something of the order."""
        return self.of_stations(self._stations.values(), type_, data)

    def of_stations(self, names: Iterable[str], type_: str, data: p.Data) -> Iterator[Cast]:
        for name in dict.fromkeys(filter(None, names)):  # a gift card is of none
            yield Cast(f"{self._cafe}:station:{name}", type_, data)

    def lines_by_station(self, lines: Iterable[int]) -> dict[str, list[int]]:
        by_station: dict[str, list[int]] = {}
        for line in lines:
            if line in self._stations:
                by_station.setdefault(self._stations[line], []).append(line)
        return by_station

    def customers(self, type_: str, data: p.Data) -> Iterator[Cast]:
        return self._people(Hears.CUSTOMERS, type_, data)

    def tills(self, type_: str, data: p.Data) -> Iterator[Cast]:
        """The tills, unless it is about an order of the counter."""
        if self._ticket.channel is not Channel.COUNTER:
            yield Cast(pos_room(self._cafe_id), type_, data)

    def everybody(self, data: p.MenuNews) -> Iterator[Cast]:
        yield from self.crew("menu_updated", data)
        yield from self.kitchen("menu_updated", data)
        yield from self.customers("menu_updated", data)

    def user_of(self, order_id: OrderId) -> str | None:
        ticket = self._tickets.get(order_id)
        return None if ticket is None else ticket.customer_id

    def _people(self, hears: Hears, type_: str, data: p.Data) -> Iterator[Cast]:
        yield Cast(f"{self._cafe}:{hears.rpartition(':')[2]}", type_, data)
        for role in ALSO[hears]:
            yield Cast(f"{self._cafe}:role:{role}", type_, data)


def _held(to: _Rooms, event: e.AccountCredited | e.AccountDebited) -> Iterator[Cast]:
    """What moves on a gift card after it was sold is told by its payment, or to the till that did it."""
    match event.kind:
        case AccountKind.CREDIT:
            credit = news.credit(event)
            yield from to.user(event.owner, "credit_updated", credit)
            yield from to.takings("credit_updated", msgspec.structs.replace(credit, reason=event.reason))
        case AccountKind.GIFT_CARD if isinstance(event, e.AccountCredited) and event.cause is Cause.SOLD:
            sold = news.card_sold(event)
            yield from to.crew("gift_card_purchased", sold)
            yield from to.tills("gift_card_purchased", sold)
        case AccountKind.LOYALTY:
            points = news.points(event)
            yield from to.crew("loyalty_updated", points)
            yield from to.tills("loyalty_updated", points)


def _placed(to: _Rooms, event: e.OrderPlaced) -> Iterator[Cast]:
    """Everybody gets the whole order; the kitchen only what it may begin with."""
    whole = news.placed(event)
    yield from to.own("order_created", whole)
    yield from to.crew("order_created", whole)
    yield from to.tills("new_order", whole)
    if event.released:
        yield from to.kitchen("order_created", whole)
        yield from to.of_stations((line.station for line in event.lines), "order_created", whole)


def _released(to: _Rooms, event: e.OrderReleased) -> Iterator[Cast]:
    """The kitchen gets the whole order; the others have it and hear that the kitchen has it now."""
    whole = news.released(event)
    to_cooks = "new_paid_order" if event.paid else "new_order"
    yield from to.kitchen(to_cooks, whole)
    yield from to.of_stations((line.station for line in event.lines), to_cooks, whole)
    told = p.OrderNews(order_id=event.order_id, number=whole.number, in_kitchen=True)
    yield from to.own("order_status_updated", told)
    yield from to.staff("order_updated", told)
    yield from to.cafe("paid_order_ready_for_preparation" if event.paid else "order_updated", told)


def _changed(to: _Rooms, event: news.Change) -> Iterator[Cast]:
    """Everybody who has the order hears what changed about it; a station, what changed about its lines."""
    told = news.changed(event)
    if not isinstance(event, e.VoidAcknowledged):  # that the kitchen has seen it is the crew's own affair
        yield from to.own("order_updated", msgspec.structs.replace(told, reason=None, device=None))
    yield from to.crew("order_updated", told)
    if not to.kitchen_has_it:
        return
    yield from to.kitchen("order_updated", told)
    match event:
        case e.OrderTableMoved():
            yield from to.stations("order_updated", told)
        case e.OrderChanged(note=note) if note is not None:
            yield from to.stations("order_updated", told)
        case _:
            lines = [item.line for item in told.items] + [line.line for line in told.added]
            for name, own in to.lines_by_station(lines).items():
                theirs = msgspec.structs.replace(
                    told,
                    items=tuple(item for item in told.items if item.line in own),
                    added=tuple(line for line in told.added if line.line in own),
                )
                yield from to.of_stations((name,), "order_updated", theirs)


def _moved(to: _Rooms, event: news.Move) -> Iterator[Cast]:
    """The order's own status. Staff and kitchen have a word of their own for what they act on."""
    told = news.status(event)
    ready = told.status is S.READY
    yield from to.own("order_ready" if ready else "order_status_changed", told)
    if ready:
        yield from to.staff("kitchen_order_ready", told)
        yield from to.customers("order_ready", p.ReadyNumber(number=event.number))
    else:
        yield from to.staff("order_in_preparation" if told.status is S.PREPARING else "order_status_updated", told)
    yield from to.cafe("order_state_changed", told)
    if to.kitchen_has_it and not _only_about_paying(event):
        to_cooks = "kitchen_order_ready" if ready else "order_status_updated"
        yield from to.kitchen(to_cooks, told)
        yield from to.stations(to_cooks, told)


def _only_about_paying(event: Event) -> bool:
    """Whether somebody is just trying to pay: to a cook that is no news. That it is paid, or no longer is, is."""
    trying = (S.PENDING, S.PAYMENT_PENDING)
    return isinstance(event, e.OrderStatusChanged) and event.was in trying and event.to in trying


def _queue(to: _Rooms, event: e.QueueMoved) -> Iterator[Cast]:
    places = tuple(
        p.QueuePosition(order_id=place.order_id, position=place.position, estimated_ready_at=place.ready_at)
        for place in event.places
    )
    load = p.KitchenLoad(load=event.load, active=event.active, places=places)
    yield from to.kitchen("kitchen_display_updated", load)
    yield from to.cafe("kitchen_display_updated", load)
    of_user: dict[str, list[p.QueuePosition]] = {}
    for place in places:
        own = msgspec.structs.replace(place, load=event.load)
        yield Cast(f"order:{place.order_id}", "queue_position_updated", own)
        if (user := to.user_of(place.order_id)) is not None:
            of_user.setdefault(user, []).append(place)
    for user, theirs in of_user.items():  # one frame, however many orders they wait for
        yield Cast(f"user:{user}", "queue_position_updated", p.QueuePositions(load=event.load, places=tuple(theirs)))
