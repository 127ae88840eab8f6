"""A cafe as it stands: settings, menu, what is sold out, numbers and slots, and how events change it."""

from datetime import date, datetime, timedelta
from uuid import UUID

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import CafeId, Event, Kind, Ref
from tabletap.domain.menu import PricedMenu
from tabletap.domain.settings import CafeSettings

SLOT = timedelta(minutes=15)


class SoldOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """``remaining`` None: none at all until ``until`` (or for good). Otherwise a countdown of what is left."""

    until: datetime | None = None
    remaining: int | None = None


class Slot(msgspec.Struct, frozen=True, array_like=True):
    """What has been promised for one quarter of an hour."""

    items: int = 0
    value: int = 0


class Cafe(msgspec.Struct, frozen=True):
    """``numbers``: business day -> last number given; only the newest days are kept. ``closed``: the last closing of a
    day; ``newest_drawer``: the last one opened."""

    id: CafeId
    slug: str
    settings: CafeSettings
    menu: PricedMenu
    sold_out: dict[str, SoldOut] = {}
    numbers: dict[date, int] = {}
    slots: dict[datetime, Slot] = {}
    closed: e.DayClosed | None = None
    newest_drawer: UUID | None = None

    @property
    def ref(self) -> Ref:
        return Ref(Kind.CAFE, self.id, self.id)

    def available(self, sku: str, quantity: int, now: datetime) -> bool:
        """Whether ``quantity`` of ``sku`` can be sold at ``now``."""
        gone = self.sold_out.get(sku)
        if gone is None or (gone.until is not None and gone.until <= now):
            return True
        return gone.remaining is not None and gone.remaining >= quantity

    def out(self, sku: str, now: datetime) -> bool:
        """Whether ``sku`` is 86'd at ``now``, also for orders admitted before; those a countdown has counted."""
        gone = self.sold_out.get(sku)
        return gone is not None and gone.remaining is None and (gone.until is None or gone.until > now)


KEPT_DAYS = 3
KEPT_SLOTS = 4 * 24 * 8
"""A week of slots ahead and a day behind."""


def born(cafe_id: CafeId, event: e.CafeOpened) -> Cafe:
    """The cafe as it opened."""
    return Cafe(id=cafe_id, slug=event.slug, settings=event.settings, menu=PricedMenu(event.menu))


def evolve(state: Cafe, event: Event) -> Cafe:
    """The cafe after ``event``: its own, the placing of an order it admitted, a drawer it opened."""
    replace = msgspec.structs.replace
    match event:
        case e.OrderPlaced():
            return _after_order(state, event)
        case e.DrawerOpened():
            return replace(state, newest_drawer=event.drawer_id)
        case e.DayClosed():
            return replace(state, closed=event)
        case e.CafeConfigured():
            return replace(state, settings=event.settings)
        case e.MenuPublished():
            menu = PricedMenu(event.menu)
            return replace(state, menu=menu, sold_out={s: gone for s, gone in state.sold_out.items() if s in menu})
        case e.ItemAvailabilityChanged():
            sold_out = {sku: gone for sku, gone in state.sold_out.items() if sku != event.sku}
            if not event.available or event.remaining is not None:
                sold_out[event.sku] = SoldOut(event.until, event.remaining)
            return replace(state, sold_out=sold_out)
        case _:
            return state


def _after_order(state: Cafe, event: e.OrderPlaced) -> Cafe:
    numbers = state.numbers | {event.business_day: event.number}
    if len(numbers) > KEPT_DAYS:
        del numbers[min(numbers)]
    slot = slot_of(event.scheduled_for or event.placed_at)
    taken = state.slots.get(slot, Slot())
    made = [line for line in event.lines if line.gift is None]
    slots = state.slots | {
        slot: Slot(
            taken.items + sum(line.quantity for line in made),
            taken.value + sum(line.total for line in made),
        )
    }
    if len(slots) > KEPT_SLOTS:
        del slots[min(slots)]
    sold_out = state.sold_out
    for line in event.lines:
        gone = sold_out.get(line.sku)
        if gone is not None and gone.remaining is not None:
            left = max(0, gone.remaining - line.quantity)
            sold_out = sold_out | {line.sku: SoldOut(gone.until, left)}
    return msgspec.structs.replace(state, numbers=numbers, slots=slots, sold_out=sold_out)


def slot_of(moment: datetime) -> datetime:
    """The beginning of the quarter of an hour that ``moment`` is in."""
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def wake_at(state: Cafe) -> datetime | None:
    """When the next sold-out item comes back."""
    return min((gone.until for gone in state.sold_out.values() if gone.until is not None), default=None)


class Snapshot(msgspec.Struct, frozen=True):
    """What changes with every order. Settings and menu are read from their events: counting rewrites no menu."""

    sold_out: dict[str, SoldOut]
    numbers: dict[date, int]
    slots: tuple[tuple[datetime, Slot], ...]
    closed: e.DayClosed | None = None
    newest_drawer: UUID | None = None


def snapshot(state: Cafe) -> Snapshot:
    """What of the state is worth keeping between two lives of the actor."""
    return Snapshot(state.sold_out, state.numbers, tuple(state.slots.items()), state.closed, state.newest_drawer)


def restore(state: Cafe, kept: Snapshot) -> Cafe:
    """The state with a snapshot laid over settings and menu."""
    return msgspec.structs.replace(
        state,
        sold_out=kept.sold_out,
        numbers=kept.numbers,
        slots=dict(kept.slots),
        closed=kept.closed,
        newest_drawer=kept.newest_drawer,
    )
