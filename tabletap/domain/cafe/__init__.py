"""A cafe: its settings, its menu, what is sold out, and the admission of orders.

The cafe admits an order and numbers it (open? table known? priced? not sold out? not throttled?); from then on the
order lives its own life. Numbers are short, start at 1 with every business day, and have no gaps or repeats: only
this state hands them out, in the commit that creates the order. The cafe's state follows the orders it admitted, so
an order costs one event, not two. Closings of its day are numbered by it as well: only it writes them.

Reading order: ``state``, ``commands``, ``admission``, ``rewards``, ``keeping``, ``closing``, ``view``.
"""

from typing import assert_never

from tabletap.domain import events as e
from tabletap.domain.base import Context, Decision, Wake
from tabletap.domain.errors import Refusal

from .admission import SCHEDULE_AT_MOST, SCHEDULE_LEAD, place, quote
from .closing import DayView, close_day, day_view
from .commands import (
    CafeCommand,
    CloseDay,
    Configure,
    GiftWish,
    MoveQueue,
    OpenCafe,
    OpenDrawer,
    PlaceOrder,
    PublishMenu,
    SetAvailability,
)
from .keeping import RESERVED_SLUGS, configure, open_cafe, open_drawer, publish, set_availability
from .rewards import CARDS_AT_MOST, card_of
from .state import (
    KEPT_DAYS,
    KEPT_SLOTS,
    SLOT,
    Cafe,
    Slot,
    Snapshot,
    SoldOut,
    born,
    evolve,
    restore,
    slot_of,
    snapshot,
    wake_at,
)
from .view import CafeView, ItemView, MenuView, view

__all__ = [
    "CARDS_AT_MOST",
    "KEPT_DAYS",
    "KEPT_SLOTS",
    "RESERVED_SLUGS",
    "SCHEDULE_AT_MOST",
    "SCHEDULE_LEAD",
    "SLOT",
    "Cafe",
    "CafeCommand",
    "CafeView",
    "CloseDay",
    "Configure",
    "DayView",
    "GiftWish",
    "ItemView",
    "MenuView",
    "MoveQueue",
    "OpenCafe",
    "OpenDrawer",
    "PlaceOrder",
    "PublishMenu",
    "SetAvailability",
    "Slot",
    "Snapshot",
    "SoldOut",
    "born",
    "card_of",
    "day_view",
    "decide",
    "evolve",
    "open_cafe",
    "quote",
    "restore",
    "slot_of",
    "snapshot",
    "view",
    "wake_at",
]


def decide(state: Cafe, command: CafeCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the cafe as it stands."""
    match command:
        case PlaceOrder():
            return place(state, command, ctx)
        case SetAvailability():
            return set_availability(state, command, ctx)
        case Configure():
            return configure(state, command)
        case PublishMenu():
            return publish(state, command)
        case CloseDay():
            return close_day(state, command, ctx)
        case OpenDrawer():
            return open_drawer(state, command, ctx)
        case MoveQueue():
            return Decision((command.news,))
        case Wake():
            back = [sku for sku, gone in state.sold_out.items() if gone.until is not None and gone.until <= ctx.now]
            return Decision(tuple(e.ItemAvailabilityChanged(sku, available=True) for sku in back))
        case _:
            assert_never(command)
