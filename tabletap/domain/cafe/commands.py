"""What may be asked of a cafe."""

from datetime import date, datetime
from uuid import UUID

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import Command, Ref, Wake
from tabletap.domain.menu import Menu, Wish
from tabletap.domain.settings import CafeSettings
from tabletap.domain.vocabulary import Channel


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


class GiftWish(msgspec.Struct, frozen=True):
    """A gift card worth ``value`` cents, made from ``serial`` at the door: its account and the end of its code."""

    value: int
    account: Ref
    serial: UUID
    last_four: str


class PlaceOrder(Command, frozen=True):
    channel: Channel
    wishes: tuple[Wish, ...]
    table: str | None = None
    note: str | None = None
    customer: e.Customer | None = None
    scheduled_for: datetime | None = None
    gift_cards: tuple[GiftWish, ...] = ()


class OpenDrawer(Command, frozen=True):
    name: str
    float_amount: int


class CloseDay(Command, frozen=True):
    """Print the Z. ``open_drawers``: names of the drawers that nobody has counted, as they were read when
    ``newest_drawer`` was the last one opened. ``business_day`` None: the one it is; ``force``: with drawers open."""

    open_drawers: tuple[str, ...]
    newest_drawer: UUID | None
    business_day: date | None = None
    force: bool = False


class MoveQueue(Command, frozen=True):
    """From the kitchen's board: the queue has moved."""

    news: e.QueueMoved


CafeCommand = Configure | PublishMenu | SetAvailability | PlaceOrder | OpenDrawer | CloseDay | MoveQueue | Wake
