"""A cafe on the wire: what anybody may know of it."""

from datetime import datetime

import msgspec

from tabletap.domain.base import CafeId
from tabletap.domain.menu import Category, Group, Item
from tabletap.domain.settings import ServiceCharge
from tabletap.domain.vocabulary import Method

from .state import Cafe


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
    """What anybody may know of a cafe: enough to order from it. ``tip_presets``: in basis points;
    ``service_charge``: what comes on top of a basket; ``payment_methods``: a door adds which it takes."""

    cafe_id: CafeId
    slug: str
    name: str
    currency: str
    accepting: bool
    tables: tuple[str, ...]
    menu: MenuView
    tip_presets: tuple[int, ...]
    service_charge: ServiceCharge | None
    payment_methods: tuple[Method, ...] = ()


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
    return CafeView(
        cafe_id=state.id,
        slug=state.slug,
        name=settings.name,
        currency=settings.currency,
        accepting=settings.accepting,
        tables=settings.tables,
        menu=shown,
        tip_presets=settings.tips.presets,
        service_charge=settings.service_charge,
    )
