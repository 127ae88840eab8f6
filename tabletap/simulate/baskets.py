"""What people order: random baskets that the menu allows, as a customer reads it from ``GET /api/{cafe}/menu``."""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import msgspec

LINES_AT_MOST = 4
PORTIONS = (1, 1, 1, 1, 1, 2, 2, 3)
EXTRAS = (0, 0, 0, 1, 1, 2)
"""How many choices people make of a group beyond what they must."""


class Option(msgspec.Struct, frozen=True):
    id: str
    groups: tuple[str, ...] = ()


class Group(msgspec.Struct, frozen=True):
    id: str
    options: tuple[Option, ...]
    min: int
    max: int


class Size(msgspec.Struct, frozen=True):
    id: str


class Item(msgspec.Struct, frozen=True):
    sku: str
    available: bool
    sizes: tuple[Size, ...] = ()
    groups: tuple[str, ...] = ()


class Menu(msgspec.Struct, frozen=True):
    groups: tuple[Group, ...]
    items: tuple[Item, ...]


class Cafe(msgspec.Struct, frozen=True):
    """What anybody may know of a cafe, as far as it matters for ordering."""

    menu: Menu
    tables: tuple[str, ...] = ()


class Baskets:
    """Fills baskets from one menu."""

    def __init__(self, menu: Menu, chance: Random) -> None:
        self._items = [item for item in menu.items if item.available]
        self._groups: Mapping[str, Group] = {group.id: group for group in menu.groups}
        self._chance = chance
        if not self._items:
            raise ValueError("nothing on the menu is available")

    def fill(self) -> list[dict[str, Any]]:
        """The ``items`` of an order."""
        return [self._line() for _ in range(self._chance.randint(1, LINES_AT_MOST))]

    def _line(self) -> dict[str, Any]:
        item = self._chance.choice(self._items)
        modifiers: list[dict[str, str]] = []
        if item.sizes:
            modifiers.append({"group": "size", "option": self._chance.choice(item.sizes).id})
        for group in dict.fromkeys(item.groups):
            modifiers.extend(self._choose(group))
        line: dict[str, Any] = {"sku": item.sku, "quantity": self._chance.choice(PORTIONS)}
        return {**line, "modifiers": modifiers} if modifiers else line

    def _choose(self, group_id: str) -> Iterator[dict[str, str]]:
        """As many choices as the group wants, and those of the groups that they open."""
        group = self._groups[group_id]
        count = min(group.max, len(group.options), group.min + self._chance.choice(EXTRAS))
        for option in self._chance.sample(group.options, count):
            yield {"group": group_id, "option": option.id}
            for nested in option.groups:
                yield from self._choose(nested)
