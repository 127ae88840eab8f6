"""The menu (spec O1): what can be ordered, with which choices, at what price, made where and in what time.

Prices are cents and include the tax of the item's class. A size is chosen like a modifier of the group ``size``.
Nesting goes one level: an option may open further groups, whose options may not.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec

from .errors import FieldError, Refusal, invalid
from .money import tax_within

SIZE = "size"

MAX_QUANTITY = 99
MAX_LINES = 100
MAX_MODIFIERS = 40

END = r"$(?!\n)"
"""The end of a text, in every dialect of patterns: Python's ``$`` alone lets a last line feed pass."""

Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?" + END, max_length=64)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Price = Annotated[int, msgspec.Meta(ge=0, le=10_000_00)]
Note = Annotated[str, msgspec.Meta(max_length=500)]


def is_slug(slug: str) -> bool:
    """Whether ``slug`` has a slug's form."""
    try:
        msgspec.convert(slug, Slug)
    except msgspec.ValidationError:
        return False
    return True


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Slug
    name: Name


class Option(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One choice of a group. ``price`` is added; ``groups`` open only with it."""

    id: Slug
    name: Name
    price: Annotated[int, msgspec.Meta(ge=-10_000_00, le=10_000_00)] = 0
    groups: tuple[Slug, ...] = ()


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A choice to make: at least ``min`` and at most ``max`` of ``options`` (an option may be taken twice)."""

    id: Slug
    name: Name
    options: Annotated[tuple[Option, ...], msgspec.Meta(min_length=1, max_length=100)]
    min: Annotated[int, msgspec.Meta(ge=0, le=20)] = 0
    max: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1


class Size(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Slug
    name: Name
    price: Price


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    sku: Slug
    name: Name
    category: Slug
    price: Price
    station: Slug
    tax_class: Slug
    description: Annotated[str, msgspec.Meta(max_length=500)] = ""
    sizes: tuple[Size, ...] = ()
    groups: tuple[Slug, ...] = ()
    allergens: tuple[Slug, ...] = ()
    prep_seconds: Annotated[int, msgspec.Meta(ge=0, le=7200)] = 0


class Menu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}" + END)]
    stations: tuple[Slug, ...]
    tax_classes: dict[Slug, Annotated[int, msgspec.Meta(ge=0, le=10_000)]]
    categories: tuple[Category, ...]
    groups: tuple[Group, ...]
    items: Annotated[tuple[Item, ...], msgspec.Meta(max_length=2_000)]


class Choice(msgspec.Struct, frozen=True):
    """A modifier as a customer picks it."""

    group: Slug
    option: Slug


class Wish(msgspec.Struct, frozen=True):
    """One line of a request: what a customer wants, before the menu has priced it."""

    sku: Slug
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)]
    modifiers: Annotated[tuple[Choice, ...], msgspec.Meta(max_length=MAX_MODIFIERS)] = ()
    note: Note | None = None


class Modifier(msgspec.Struct, frozen=True, omit_defaults=True):
    """A choice as priced: kept with the order, so that a later menu changes nothing that was sold."""

    group: str
    option: str
    name: str
    price: int = 0


class Priced(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A wish with the facts of the menu. ``total`` and ``tax`` (contained in it) are for the whole quantity."""

    sku: str
    name: str
    quantity: int
    unit_price: int
    total: int
    tax: int
    tax_class: str
    station: str
    prep_seconds: int = 0
    modifiers: tuple[Modifier, ...] = ()
    note: str | None = None


class PricedMenu:
    """A menu indexed for pricing. Built once per published menu."""

    __slots__ = ("_groups", "_items", "menu")

    def __init__(self, menu: Menu) -> None:
        self.menu = menu
        self._items: Mapping[str, Item] = {item.sku: item for item in menu.items}
        self._groups: Mapping[str, Group] = {group.id: group for group in menu.groups}

    def __contains__(self, sku: object) -> bool:
        return sku in self._items

    def price(self, wishes: Sequence[Wish], field: str = "items") -> tuple[Priced, ...] | Refusal:
        """Price every wish, or refuse naming each field that is wrong."""
        priced: list[Priced] = []
        errors: list[FieldError] = []
        for index, wish in enumerate(wishes):
            line = self._price_one(wish, f"{field}.{index}")
            if isinstance(line, Refusal):
                errors.extend(line.errors)
            else:
                priced.append(line)
        if errors:
            refusal = invalid(errors[0].field, errors[0].message)
            return msgspec.structs.replace(refusal, errors=tuple(errors))
        return tuple(priced)

    def _price_one(self, wish: Wish, field: str) -> Priced | Refusal:
        item = self._items.get(wish.sku)
        if item is None:
            return invalid(f"{field}.sku", f"{wish.sku!r} is not on the menu")
        chosen = self._choose(item, wish.modifiers, f"{field}.modifiers")
        if isinstance(chosen, Refusal):
            return chosen
        base, modifiers = chosen
        unit = max(0, base + sum(modifier.price for modifier in modifiers))
        total = unit * wish.quantity
        return Priced(
            sku=item.sku,
            name=item.name,
            quantity=wish.quantity,
            unit_price=unit,
            total=total,
            tax=tax_within(total, self.menu.tax_classes[item.tax_class]),
            tax_class=item.tax_class,
            station=item.station,
            prep_seconds=item.prep_seconds,
            modifiers=modifiers,
            note=wish.note or None,
        )

    def _choose(self, item: Item, choices: Sequence[Choice], field: str) -> tuple[int, tuple[Modifier, ...]] | Refusal:
        """The base price and the modifiers, or a refusal that names the choice at fault."""
        base = item.sizes[0].price if item.sizes else item.price
        open_groups = list(item.groups)
        nested = {
            group_id: option.id
            for opener in item.groups
            for option in self._groups[opener].options
            for group_id in option.groups
        }
        picked = {(choice.group, choice.option) for choice in choices}
        for opener in item.groups:
            for option in self._groups[opener].options:
                if (opener, option.id) in picked:
                    open_groups.extend(option.groups)
        counts: Counter[str] = Counter()
        modifiers: list[Modifier] = []
        for index, choice in enumerate(choices):
            counts[choice.group] += 1
            if choice.group == SIZE and item.sizes:
                size = next((size for size in item.sizes if size.id == choice.option), None)
                if size is None or counts[SIZE] > 1:
                    return invalid(f"{field}.{index}", f"{item.sku!r} has no size {choice.option!r} to add")
                base = size.price
                modifiers.append(Modifier(SIZE, size.id, size.name))
                continue
            if choice.group not in open_groups:
                needs = f" without {nested[choice.group]!r}" if choice.group in nested else ""
                return invalid(f"{field}.{index}.group", f"{item.sku!r} has no choice {choice.group!r}{needs}")
            option_ = next((o for o in self._groups[choice.group].options if o.id == choice.option), None)
            if option_ is None:
                return invalid(f"{field}.{index}.option", f"{choice.group!r} has no option {choice.option!r}")
            modifiers.append(Modifier(choice.group, option_.id, option_.name, option_.price))
        for group_id in dict.fromkeys(open_groups):
            group = self._groups[group_id]
            if not group.min <= counts[group_id] <= group.max:
                return invalid(field, f"choose {group.min} to {group.max} of {group_id!r}, not {counts[group_id]}")
        return base, tuple(modifiers)


def check_menu(menu: Menu) -> Refusal | None:
    """What is wrong with a menu in itself: references that lead nowhere, doubles, nesting beyond one level."""
    errors: list[FieldError] = []
    groups = {group.id: group for group in menu.groups}
    categories = {category.id for category in menu.categories}

    def twice(field: str, ids: Iterable[str]) -> None:
        errors.extend(FieldError(field, f"{id_!r} stands twice") for id_, n in Counter(ids).items() if n > 1)

    twice("items", (item.sku for item in menu.items))
    twice("groups", (group.id for group in menu.groups))
    twice("categories", (category.id for category in menu.categories))
    for g_index, group in enumerate(menu.groups):
        field = f"groups.{g_index}"
        if group.id == SIZE:
            errors.append(FieldError(f"{field}.id", "'size' is kept for an item's sizes"))
        if group.min > group.max:
            errors.append(FieldError(f"{field}.min", "is above max"))
        twice(f"{field}.options", (option.id for option in group.options))
        for option in group.options:
            for inner in option.groups:
                if inner not in groups:
                    errors.append(FieldError(f"{field}.options", f"{inner!r} is not a group"))
                elif any(deeper.groups for deeper in groups[inner].options):
                    errors.append(FieldError(f"{field}.options", f"{inner!r} nests deeper than one level"))
    for i_index, item in enumerate(menu.items):
        field = f"items.{i_index}"
        if item.category not in categories:
            errors.append(FieldError(f"{field}.category", f"{item.category!r} is not a category"))
        if item.station not in menu.stations:
            errors.append(FieldError(f"{field}.station", f"{item.station!r} is not a station"))
        if item.tax_class not in menu.tax_classes:
            errors.append(FieldError(f"{field}.taxClass", f"{item.tax_class!r} is not a tax class"))
        errors.extend(
            FieldError(f"{field}.groups", f"{group_id!r} is not a group")
            for group_id in item.groups
            if group_id not in groups
        )
        twice(f"{field}.sizes", (size.id for size in item.sizes))
    if not errors:
        return None
    return msgspec.structs.replace(invalid(errors[0].field, errors[0].message), errors=tuple(errors))
