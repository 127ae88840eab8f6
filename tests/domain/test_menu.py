"""The menu prices what can be made, and refuses the rest by the field that is wrong."""

import msgspec
import pytest

from tabletap.domain.errors import Code, Refusal
from tabletap.domain.menu import (
    Category,
    Choice,
    Group,
    Item,
    Menu,
    Modifier,
    Option,
    Priced,
    PricedMenu,
    Size,
    Slug,
    Wish,
    check_menu,
    is_slug,
)

from .world import MENU

FULL, OAT = Choice("milk", "full"), Choice("milk", "oat")
MINOR, OATLY = Choice("brand", "minor"), Choice("brand", "oatly")
SHOT, LESS = Choice("extra", "shot"), Choice("extra", "less")
LARGE, SMALL = Choice("size", "large"), Choice("size", "small")


def price(*choices: Choice, sku: str = "flat-white", quantity: int = 1, note: str | None = None) -> Priced:
    priced = PricedMenu(MENU).price([Wish(sku, quantity, choices, note)])
    assert not isinstance(priced, Refusal), priced
    return priced[0]


def refusal(*choices: Choice, sku: str = "flat-white") -> Refusal:
    refused = PricedMenu(MENU).price([Wish(sku, 1, choices)])
    assert isinstance(refused, Refusal)
    assert refused.code is Code.VALIDATION_ERROR
    return refused


@pytest.mark.parametrize(
    ("choices", "cents"),
    [
        ((FULL,), 450),
        ((SMALL, FULL), 450),
        ((LARGE, FULL), 550),
        ((FULL, LARGE), 550),
        ((LARGE, OAT, MINOR), 550 + 70 + 20),
        ((LARGE, OAT, MINOR, OATLY), 550 + 70 + 20 + 30),
        ((OATLY, OAT), 450 + 70 + 30),
        ((FULL, SHOT), 500),
        ((FULL, SHOT, SHOT, SHOT), 600),
        ((FULL, LESS), 0),
    ],
)
def test_a_price_is_the_size_and_every_modifier_and_never_below_nothing(
    choices: tuple[Choice, ...], cents: int
) -> None:
    assert price(*choices).unit_price == cents


def test_total_and_tax_are_for_the_whole_quantity() -> None:
    line = price(LARGE, FULL, quantity=3)
    assert (line.total, line.tax) == (1650, 150)
    assert (line.station, line.tax_class, line.prep_seconds) == ("bar", "gst", 60)


def test_the_tax_of_a_line_is_rounded_once_and_not_per_piece() -> None:
    line = price(sku="toast", quantity=3)
    assert (line.total, line.tax) == (2703, 246)


def test_a_line_remembers_what_was_chosen_by_name_and_price() -> None:
    assert price(LARGE, OAT, OATLY).modifiers == (
        Modifier("size", "large", "Large"),
        Modifier("milk", "oat", "Oat", 70),
        Modifier("brand", "oatly", "Oatly", 30),
    )


def test_an_empty_note_is_no_note() -> None:
    assert price(FULL, note="").note is None
    assert price(FULL, note="hot").note == "hot"


@pytest.mark.parametrize(
    ("choices", "field"),
    [
        ((), "items.0.modifiers"),
        ((FULL, OAT), "items.0.modifiers"),
        ((FULL, FULL), "items.0.modifiers"),
        ((OAT,), "items.0.modifiers"),
        ((OAT, MINOR, OATLY, MINOR), "items.0.modifiers"),
        ((FULL, SHOT, SHOT, SHOT, SHOT), "items.0.modifiers"),
        ((FULL, MINOR), "items.0.modifiers.1.group"),
        ((MINOR, FULL), "items.0.modifiers.0.group"),
        ((FULL, Choice("sauce", "bbq")), "items.0.modifiers.1.group"),
        ((Choice("milk", "rice"),), "items.0.modifiers.0.option"),
        ((FULL, Choice("size", "huge")), "items.0.modifiers.1"),
        ((FULL, LARGE, SMALL), "items.0.modifiers.2"),
        ((FULL, LARGE, LARGE), "items.0.modifiers.2"),
    ],
)
def test_a_wrong_choice_is_refused_by_its_path(choices: tuple[Choice, ...], field: str) -> None:
    assert [error.field for error in refusal(*choices).errors] == [field]


def test_a_nested_choice_without_its_option_says_which_option_it_needs() -> None:
    assert "without 'oat'" in refusal(FULL, MINOR).message


def test_an_item_without_sizes_has_none_to_choose() -> None:
    assert refusal(LARGE, sku="toast").errors[0].field == "items.0.modifiers.0.group"


def test_every_wrong_line_is_named_and_the_right_ones_are_not() -> None:
    refused = PricedMenu(MENU).price([Wish("tea", 1), Wish("toast", 1), Wish("flat-white", 1)], "add")
    assert isinstance(refused, Refusal)
    assert [error.field for error in refused.errors] == ["add.0.sku", "add.2.modifiers"]
    assert refused.message.startswith("add.0.sku")


# -- a menu's own faults

LATTE = Item(sku="latte", name="Latte", category="c", price=1, station="bar", tax_class="t", groups=("g",))
GROUP = Group("g", "G", (Option("o", "O", groups=("inner",)), Option("p", "P")))
INNER = Group("inner", "Inner", (Option("o", "O"),))
GOOD = Menu(
    currency="AUD",
    stations=("bar",),
    tax_classes={"t": 1000},
    categories=(Category("c", "C"),),
    groups=(GROUP, INNER),
    items=(LATTE,),
)
replace = msgspec.structs.replace


@pytest.mark.parametrize("menu", [MENU, GOOD])
def test_a_sound_menu_has_no_faults(menu: Menu) -> None:
    assert check_menu(menu) is None


@pytest.mark.parametrize(
    ("menu", "fields"),
    [
        (replace(GOOD, items=(LATTE, LATTE)), ["items"]),
        (replace(GOOD, groups=(GROUP, INNER, INNER)), ["groups"]),
        (replace(GOOD, categories=(Category("c", "C"), Category("c", "D"))), ["categories"]),
        (replace(GOOD, groups=(GROUP, INNER, replace(INNER, id="size"))), ["groups.2.id"]),
        (replace(GOOD, groups=(GROUP, replace(INNER, min=2, max=1))), ["groups.1.min"]),
        (replace(GOOD, groups=(GROUP, replace(INNER, options=(Option("o", "O"),) * 2))), ["groups.1.options"]),
        (replace(GOOD, groups=(GROUP,)), ["groups.0.options"]),
        (replace(GOOD, groups=(replace(GROUP, options=(Option("o", "O", groups=("g",)),)),)), ["groups.0.options"]),
        (
            replace(GOOD, groups=(GROUP, replace(INNER, options=(Option("o", "O", groups=("deep",)),)), GROUP)),
            ["groups", "groups.0.options", "groups.1.options", "groups.2.options"],
        ),
        (replace(GOOD, items=(replace(LATTE, category="x"),)), ["items.0.category"]),
        (replace(GOOD, items=(replace(LATTE, station="x"),)), ["items.0.station"]),
        (replace(GOOD, items=(replace(LATTE, tax_class="x"),)), ["items.0.taxClass"]),
        (replace(GOOD, items=(replace(LATTE, groups=("g", "x")),)), ["items.0.groups"]),
        (replace(GOOD, items=(replace(LATTE, sizes=(Size("s", "S", 1), Size("s", "T", 2))),)), ["items.0.sizes"]),
        (replace(GOOD, stations=(), tax_classes={}), ["items.0.station", "items.0.taxClass"]),
    ],
)
def test_each_kind_of_fault_is_found_and_named_by_its_path(menu: Menu, fields: list[str]) -> None:
    refused = check_menu(menu)
    assert refused is not None
    assert [error.field for error in refused.errors] == fields
    assert refused.message.startswith(fields[0])


@pytest.mark.parametrize("slug", ["a", "a1", "flat-white", "a" * 64, "0-0"])
def test_slugs_are_lower_case_words(slug: str) -> None:
    assert is_slug(slug)
    assert msgspec.convert(slug, Slug) == slug


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a b", "a" * 65, "ä", "a_b", "a\n", "\na", "a/b", "\u0661"])
def test_whatever_would_not_survive_in_a_path_is_no_slug(text: str) -> None:
    assert not is_slug(text)


def test_the_menu_survives_its_own_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MENU), type=Menu) == MENU
