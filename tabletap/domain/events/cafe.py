"""A cafe: its settings, its menu, its queue."""

from datetime import date, datetime

import msgspec

from tabletap.domain.base import Event, OrderId
from tabletap.domain.menu import Menu
from tabletap.domain.settings import CafeSettings


class CafeOpened(Event, frozen=True, tag="cafe.opened"):
    slug: str
    settings: CafeSettings
    menu: Menu


class CafeConfigured(Event, frozen=True, tag="cafe.configured"):
    settings: CafeSettings


class MenuPublished(Event, frozen=True, tag="cafe.menu_published"):
    menu: Menu


class ItemAvailabilityChanged(Event, frozen=True, tag="cafe.item_availability_changed"):
    """86'd or back. ``until``: sold out till then. ``remaining``: so many left to sell, then sold out."""

    sku: str
    available: bool
    until: datetime | None = None
    remaining: int | None = None


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """Where an order stands in the queue (1 = next) and when it should be ready."""

    order_id: OrderId
    position: int
    ready_at: datetime


class QueueMoved(Event, frozen=True, tag="cafe.queue_moved"):
    """The kitchen's queue as it stands: load 0-100 and every place that changed since the last time."""

    load: int
    active: int
    places: tuple[Place, ...]


class DayClosed(Event, frozen=True, tag="cafe.day_closed", kw_only=True):
    """The day is closed (Z): its report counts what stands in the log after the closing before and before this one.

    ``number`` counts closings from 1, without gaps. ``open_drawers``: the names of those it was forced over.
    """

    number: int
    business_day: date
    closed_at: datetime
    open_drawers: tuple[str, ...] = ()
