"""Whatever simulated customers order, the menu allows."""

import tomllib
from pathlib import Path
from random import Random

import msgspec

from tabletap.domain.menu import Menu, Priced, PricedMenu, Wish
from tabletap.simulate import baskets

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo" / "menu.toml"


def test_every_basket_can_be_priced() -> None:
    described = tomllib.loads(DEMO.read_text())
    menu = PricedMenu(msgspec.convert(described, Menu))
    shown = [{**item, "available": True} for item in described["items"]]
    filled = baskets.Baskets(msgspec.convert({**described, "items": shown}, baskets.Menu), Random(1))
    skus, nested = set(), 0
    for _ in range(2_000):
        wishes = msgspec.convert(filled.fill(), tuple[Wish, ...])
        priced = menu.price(wishes)
        assert isinstance(priced, tuple), (wishes, priced)
        assert all(isinstance(line, Priced) for line in priced)
        skus |= {line.sku for line in priced}
        nested += any(choice.group == "oat-brand" for wish in wishes for choice in wish.modifiers)
    assert skus == {item["sku"] for item in described["items"]}
    assert nested
