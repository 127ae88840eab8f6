"""A cafe: its settings, its menu, what is sold out, and the admission of orders.

The cafe admits an order and numbers it (open? table known? priced? not sold out? not throttled?); from then on the
order lives its own life. Numbers are short, start at 1 with every business day, and have no gaps or repeats: only
this state hands them out, in the commit that creates the order. The cafe's state follows the orders it admitted, so
an order costs one event, not two.
"""

from datetime import date, datetime, timedelta
from typing import assert_never
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from . import events as e
from .base import NOTHING, Birth, CafeId, Command, Context, Decision, Event, Kind, OrderId, Ref, Wake, business_day
from .errors import Code, FieldError, Refusal, invalid
from .menu import MAX_LINES, Category, Group, Item, Menu, Priced, PricedMenu, Wish, check_menu, is_slug
from .order import number_line
from .settings import CafeSettings
from .vocabulary import Channel

RESERVED_SLUGS = frozenset(
    {
        "admin",
        "api",
        "auth",
        "cafes",
        "compliance",
        "credits",
        "demo-token",
        "graphql",
        "group-payments",
        "health",
        "info",
        "internal",
        "kitchen",
        "marketplace",
        "metrics",
        "openapi",
        "orders",
        "payments",
        "public",
        "static",
        "tables",
        "v1",
        "v2",
        "venues",
        "webhooks",
        "ws",
    }
)
"""Words that stand in paths: a cafe of that slug would hide a door."""

SLOT = timedelta(minutes=15)
SCHEDULE_AT_MOST = timedelta(days=7)
SCHEDULE_LEAD = timedelta(minutes=5)
"""A scheduled order reaches the kitchen this long before its preparation must begin."""


class SoldOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """``remaining`` None: none at all until ``until`` (or for good). Otherwise a countdown of what is left."""

    until: datetime | None = None
    remaining: int | None = None


class Slot(msgspec.Struct, frozen=True, array_like=True):
    """What has been promised for one quarter of an hour."""

    items: int = 0
    value: int = 0


class Cafe(msgspec.Struct, frozen=True):
    """``numbers``: business day -> last number given; only the newest days are kept."""

    id: CafeId
    slug: str
    settings: CafeSettings
    menu: PricedMenu
    sold_out: dict[str, SoldOut] = {}
    numbers: dict[date, int] = {}
    slots: dict[datetime, Slot] = {}

    @property
    def ref(self) -> Ref:
        return Ref(Kind.CAFE, self.id, self.id)

    def available(self, sku: str, quantity: int, now: datetime) -> bool:
        """Whether ``quantity`` of ``sku`` can be sold at ``now``."""
        gone = self.sold_out.get(sku)
        if gone is None or (gone.until is not None and gone.until <= now):
            return True
        return gone.remaining is not None and gone.remaining >= quantity


# -- commands


class OpenCafe(Command, frozen=True):
    """The first thing that can be asked of a cafe."""

    slug: str
    settings: CafeSettings
    menu: Menu


class Configure(Command, frozen=True):
    settings: CafeSettings


class PublishMenu(Command, frozen=True):
    menu: Menu


class SetAvailability(Command, frozen=True):
    """86 an item (``available`` false, perhaps ``until`` a time), count it down (``remaining``), or bring it back."""

    sku: str
    available: bool
    until: datetime | None = None
    remaining: int | None = None


class PlaceOrder(Command, frozen=True):
    channel: Channel
    wishes: tuple[Wish, ...]
    table: str | None = None
    note: str | None = None
    customer: e.Customer | None = None
    scheduled_for: datetime | None = None


class OpenDrawer(Command, frozen=True):
    name: str
    float_amount: int


class MoveQueue(Command, frozen=True):
    """From the kitchen's board: the queue has moved."""

    news: e.QueueMoved


CafeCommand = Configure | PublishMenu | SetAvailability | PlaceOrder | OpenDrawer | MoveQueue | Wake


# -- decide


def open_cafe(command: OpenCafe) -> Decision | Refusal:
    """Bring a cafe into the world."""
    if not is_slug(command.slug):
        return invalid("slug", "lower-case letters, digits and hyphens, at most 64")
    if command.slug in RESERVED_SLUGS:
        return invalid("slug", f"{command.slug!r} is a word of the paths")
    wrong = _check_settings(command.settings) or check_menu(command.menu) or _check_currency(command)
    if wrong:
        return wrong
    return Decision((e.CafeOpened(command.slug, command.settings, command.menu),))


def _check_currency(command: OpenCafe) -> Refusal | None:
    if command.menu.currency != command.settings.currency:
        return invalid("menu.currency", f"the cafe's is {command.settings.currency}")
    return None


def _check_settings(settings: CafeSettings) -> Refusal | None:
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return invalid("settings.timezone", f"{settings.timezone!r} is no time zone")
    if len(set(settings.tables)) != len(settings.tables):
        return invalid("settings.tables", "a table stands twice")
    for channel, (first, second) in msgspec.structs.asdict(settings.ageing).items():
        if first >= second:
            return invalid(f"settings.ageing.{channel}", "the second threshold must be above the first")
    return None


def decide(state: Cafe, command: CafeCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the cafe as it stands."""
    match command:
        case PlaceOrder():
            return _place(state, command, ctx)
        case SetAvailability():
            return _set_availability(state, command, ctx)
        case Configure():
            return _configure(state, command)
        case PublishMenu():
            return _publish(state, command)
        case OpenDrawer():
            return _open_drawer(state, command, ctx)
        case MoveQueue():
            return Decision((command.news,))
        case Wake():
            back = [sku for sku, gone in state.sold_out.items() if gone.until is not None and gone.until <= ctx.now]
            return Decision(tuple(e.ItemAvailabilityChanged(sku, available=True) for sku in back))
        case _:
            assert_never(command)


def _configure(state: Cafe, command: Configure) -> Decision | Refusal:
    if command.settings.currency != state.settings.currency:
        return invalid("settings.currency", "a cafe keeps its currency: its ledger is in it")
    wrong = _check_settings(command.settings)
    if wrong:
        return wrong
    return NOTHING if command.settings == state.settings else Decision((e.CafeConfigured(command.settings),))


def _publish(state: Cafe, command: PublishMenu) -> Decision | Refusal:
    if command.menu.currency != state.settings.currency:
        return invalid("currency", f"the cafe's is {state.settings.currency}")
    wrong = check_menu(command.menu)
    if wrong:
        return wrong
    return NOTHING if command.menu == state.menu.menu else Decision((e.MenuPublished(command.menu),))


def _set_availability(state: Cafe, command: SetAvailability, ctx: Context) -> Decision | Refusal:
    if command.sku not in state.menu:
        return Refusal(Code.NOT_FOUND, f"{command.sku!r} is not on the menu")
    if command.available and command.until is not None:
        return invalid("available", "an item that is available is not sold out until a time")
    if command.available and command.remaining is not None and command.remaining < 1:
        return invalid("remaining", "an item that is available has at least one left")
    if command.until is not None and command.until <= ctx.now:
        return invalid("until", "must be in the future")
    changed = e.ItemAvailabilityChanged(
        command.sku,
        available=command.available,
        until=command.until,
        remaining=command.remaining if command.available else None,
    )
    return NOTHING if evolve(state, changed).sold_out == state.sold_out else Decision((changed,))


def quote(state: Cafe, wishes: tuple[Wish, ...], now: datetime, field: str = "items") -> tuple[Priced, ...] | Refusal:
    """Price ``wishes`` by the menu of this moment, or refuse: unknown, wrongly chosen or sold out."""
    priced = state.menu.price(wishes, field)
    if isinstance(priced, Refusal):
        return priced
    wanted: dict[str, int] = {}
    errors: list[FieldError] = []
    for index, line in enumerate(priced):
        wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
        if not state.available(line.sku, wanted[line.sku], now):
            errors.append(FieldError(f"{field}.{index}.sku", f"{line.name} is sold out"))
    if errors:
        return Refusal(Code.ITEM_UNAVAILABLE, errors[0].message, tuple(errors))
    return priced


def _place(state: Cafe, command: PlaceOrder, ctx: Context) -> Decision | Refusal:
    settings = state.settings
    if not settings.accepting:
        return Refusal(Code.CAFE_CLOSED, f"{settings.name} takes no orders at the moment")
    if command.channel is Channel.TABLE and command.table not in settings.tables:
        return invalid("table", f"{settings.name} has no table {command.table!r}")
    if command.channel is Channel.ONLINE and command.table is not None:
        return invalid("table", "an online order sits at no table")
    if not 1 <= len(command.wishes) <= MAX_LINES:
        return invalid("items", f"an order has 1 to {MAX_LINES} lines")
    priced = quote(state, command.wishes, ctx.now)
    if isinstance(priced, Refusal):
        return priced
    release_at = _release_at(command.scheduled_for, priced, ctx.now)
    if isinstance(release_at, Refusal):
        return release_at
    busy = _throttled(state, command, priced, ctx.now)
    if busy:
        return busy
    day = business_day(ctx.now, settings.timezone)
    prepay = command.channel in settings.prepay
    free = sum(line.total for line in priced) == 0
    order_id = OrderId(ctx.new_id())
    placed = e.OrderPlaced(
        order_id=order_id,
        cafe_id=state.id,
        number=state.numbers.get(day, 0) + 1,
        business_day=day,
        channel=command.channel,
        currency=settings.currency,
        lines=tuple(number_line(line, index) for index, line in enumerate(priced, start=1)),
        placed_at=ctx.now,
        table=command.table,
        note=command.note or None,
        customer=command.customer,
        scheduled_for=command.scheduled_for,
        release_at=release_at,
        prepay=prepay,
        needs_approval=settings.approval,
        released=not settings.approval and release_at is None and (not prepay or free),
    )
    return Decision(births=(Birth(Ref(Kind.ORDER, order_id, state.id), (placed,)),))


def _release_at(scheduled_for: datetime | None, priced: tuple[Priced, ...], now: datetime) -> datetime | Refusal | None:
    """When a scheduled order is due in the kitchen; None: at once."""
    if scheduled_for is None:
        return None
    if not now < scheduled_for <= now + SCHEDULE_AT_MOST:
        return invalid("scheduledFor", f"must be within the next {SCHEDULE_AT_MOST.days} days")
    lead = timedelta(seconds=max(line.prep_seconds for line in priced)) + SCHEDULE_LEAD
    return scheduled_for - lead if scheduled_for - lead > now else None


def slot_of(moment: datetime) -> datetime:
    """The beginning of the quarter of an hour that ``moment`` is in."""
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _throttled(state: Cafe, command: PlaceOrder, priced: tuple[Priced, ...], now: datetime) -> Refusal | None:
    """The cap on what one quarter of an hour may promise. A walk-in at the till is the staff's own call."""
    throttle, slot = state.settings.throttle, slot_of(command.scheduled_for or now)
    taken = state.slots.get(slot, Slot())
    items = taken.items + sum(line.quantity for line in priced)
    value = taken.value + sum(line.total for line in priced)
    over_items = throttle.items_per_slot is not None and items > throttle.items_per_slot
    over_value = throttle.value_per_slot is not None and value > throttle.value_per_slot
    if command.channel is Channel.COUNTER or not (over_items or over_value):
        return None
    wait = max(1, int((slot + SLOT - now).total_seconds()))
    return Refusal(Code.KITCHEN_BUSY, "the kitchen has no room at that time: choose a later one", retry_after_s=wait)


def _open_drawer(state: Cafe, command: OpenDrawer, ctx: Context) -> Decision | Refusal:
    if command.float_amount < 0:
        return invalid("floatAmount", "cannot be less than nothing")
    drawer_id: UUID = ctx.new_id()
    opened = e.DrawerOpened(
        drawer_id=drawer_id,
        cafe_id=state.id,
        name=command.name,
        float_amount=command.float_amount,
        currency=state.settings.currency,
        opened_at=ctx.now,
    )
    return Decision(births=(Birth(Ref(Kind.DRAWER, drawer_id, state.id), (opened,)),))


# -- evolve

KEPT_DAYS = 3
KEPT_SLOTS = 4 * 24 * 8
"""A week of slots ahead and a day behind."""


def born(cafe_id: CafeId, event: e.CafeOpened) -> Cafe:
    """The cafe as it opened."""
    return Cafe(id=cafe_id, slug=event.slug, settings=event.settings, menu=PricedMenu(event.menu))


def evolve(state: Cafe, event: Event) -> Cafe:
    """The cafe after ``event``: its own, or the placing of an order it admitted."""
    replace = msgspec.structs.replace
    match event:
        case e.OrderPlaced():
            return _after_order(state, event)
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
    slots = state.slots | {
        slot: Slot(
            taken.items + sum(line.quantity for line in event.lines),
            taken.value + sum(line.total for line in event.lines),
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


def wake_at(state: Cafe) -> datetime | None:
    """When the next sold-out item comes back."""
    return min((gone.until for gone in state.sold_out.values() if gone.until is not None), default=None)


# -- snapshot


class Snapshot(msgspec.Struct, frozen=True):
    """What changes with every order. Settings and menu are read from their events: counting rewrites no menu."""

    sold_out: dict[str, SoldOut]
    numbers: dict[date, int]
    slots: tuple[tuple[datetime, Slot], ...]


def snapshot(state: Cafe) -> Snapshot:
    """What of the state is worth keeping between two lives of the actor."""
    return Snapshot(state.sold_out, state.numbers, tuple(state.slots.items()))


def restore(state: Cafe, kept: Snapshot) -> Cafe:
    """The state with a snapshot laid over settings and menu."""
    return msgspec.structs.replace(state, sold_out=kept.sold_out, numbers=kept.numbers, slots=dict(kept.slots))


# -- view


class ItemView(Item, frozen=True, rename="camel", kw_only=True):
    """An item with what a basket must know of this moment."""

    available: bool
    remaining: int | None


class MenuView(msgspec.Struct, frozen=True, rename="camel"):
    currency: str
    stations: tuple[str, ...]
    tax_classes: dict[str, int]
    categories: tuple[Category, ...]
    groups: tuple[Group, ...]
    items: tuple[ItemView, ...]


class CafeView(msgspec.Struct, frozen=True, rename="camel"):
    """What anybody may know of a cafe: enough to order from it."""

    cafe_id: CafeId
    slug: str
    name: str
    currency: str
    accepting: bool
    tables: tuple[str, ...]
    menu: MenuView


def view(state: Cafe, now: datetime) -> CafeView:
    """The cafe's menu as it stands at ``now``."""
    menu = state.menu.menu
    items = tuple(
        ItemView(
            **msgspec.structs.asdict(item),
            available=state.available(item.sku, 1, now),
            remaining=state.sold_out[item.sku].remaining if item.sku in state.sold_out else None,
        )
        for item in menu.items
    )
    shown = MenuView(menu.currency, menu.stations, menu.tax_classes, menu.categories, menu.groups, items)
    settings = state.settings
    return CafeView(state.id, state.slug, settings.name, settings.currency, settings.accepting, settings.tables, shown)
