"""Admission: whether an order can be taken now, at what price, for when, and under which number."""

from datetime import datetime, timedelta

from tabletap.domain import events as e
from tabletap.domain.base import Birth, Context, Decision, Kind, OrderId, Ref, business_day
from tabletap.domain.errors import Code, FieldError, Refusal, invalid
from tabletap.domain.menu import MAX_LINES, Priced, Wish
from tabletap.domain.order import number_lines
from tabletap.domain.vocabulary import Channel

from .commands import PlaceOrder
from .rewards import gift_lines, loyalty_terms
from .state import SLOT, Cafe, Slot, slot_of

SCHEDULE_AT_MOST = timedelta(days=7)
SCHEDULE_LEAD = timedelta(minutes=5)
"""A scheduled order reaches the kitchen this long before its preparation must begin."""


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


def place(state: Cafe, command: PlaceOrder, ctx: Context) -> Decision | Refusal:
    settings = state.settings
    if not settings.accepting:
        return Refusal(Code.CAFE_CLOSED, f"{settings.name} takes no orders at the moment")
    if command.channel is Channel.TABLE and command.table not in settings.tables:
        return invalid("table", f"{settings.name} has no table {command.table!r}")
    if command.channel is Channel.ONLINE and command.table is not None:
        return invalid("table", "an online order sits at no table")
    if not 1 <= len(command.wishes) + len(command.gift_cards) <= MAX_LINES:
        return invalid("items", f"an order has 1 to {MAX_LINES} lines")
    cards = gift_lines(state, command.gift_cards, len(command.wishes) + 1)
    if isinstance(cards, Refusal):
        return cards
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
    free = sum(line.total for line in (*priced, *cards)) == 0
    terms = _service_terms(state, command.channel)
    order_id = OrderId(ctx.new_id())
    placed = e.OrderPlaced(
        order_id=order_id,
        cafe_id=state.id,
        number=state.numbers.get(day, 0) + 1,
        business_day=day,
        channel=command.channel,
        currency=settings.currency,
        lines=(*number_lines(priced, 1, terms), *cards),
        placed_at=ctx.now,
        table=command.table,
        note=command.note or None,
        customer=command.customer,
        scheduled_for=command.scheduled_for,
        release_at=release_at,
        prepay=prepay,
        needs_approval=settings.approval,
        released=bool(priced) and not settings.approval and release_at is None and (not prepay or free),
        service=terms,
        loyalty=loyalty_terms(state, command.customer),
    )
    return Decision(births=(Birth(Ref(Kind.ORDER, order_id, state.id), (placed,)),))


def _service_terms(state: Cafe, channel: Channel) -> e.ServiceTerms | None:
    """What the cafe charges for service on orders of ``channel``, by the tax rates of this moment."""
    charge = state.settings.service_charge
    if charge is None or channel not in charge.channels:
        return None
    return e.ServiceTerms(charge.rate, charge.tax_class, state.menu.menu.tax_classes[charge.tax_class])


def _release_at(scheduled_for: datetime | None, priced: tuple[Priced, ...], now: datetime) -> datetime | Refusal | None:
    """When a scheduled order is due in the kitchen; None: at once."""
    if scheduled_for is None:
        return None
    if not now < scheduled_for <= now + SCHEDULE_AT_MOST:
        return invalid("scheduledFor", f"must be within the next {SCHEDULE_AT_MOST.days} days")
    lead = timedelta(seconds=max((line.prep_seconds for line in priced), default=0)) + SCHEDULE_LEAD
    return scheduled_for - lead if scheduled_for - lead > now else None


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
