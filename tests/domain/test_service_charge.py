"""A service charge is the cafe's income, taxed, and goes wherever its line goes (spec W5)."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import cafe as cafes
from tabletap.domain import order as orders
from tabletap.domain.base import OrderId
from tabletap.domain.errors import Refusal
from tabletap.domain.menu import Wish
from tabletap.domain.order import Change, MergeInto, MoveItem, MoveOrder
from tabletap.domain.payment import Refund
from tabletap.domain.settings import CafeSettings, ServiceCharge
from tabletap.domain.vocabulary import Channel, Method

from .world import BANANA, FLAT_WHITE, MENU, SETTINGS, TOAST, WATER, World

TRANSFER = Method.QR_CODE_BANK_TRANSFER


def charging(rate: int = 1_000, tax_class: str = "gst", **facts: Any) -> CafeSettings:
    return msgspec.structs.replace(SETTINGS, service_charge=ServiceCharge(rate=rate, tax_class=tax_class, **facts))


def books(world: World) -> dict[str, int]:
    assert sum(world.balances.values()) == 0
    return {account: cents for account, cents in world.balances.items() if cents}


def test_an_order_says_what_is_charged_for_service_and_what_tax_is_in_it() -> None:
    world = World(charging())
    seen = orders.view(world.order(world.place(TOAST, BANANA)))
    # 10 % of 10.54 is 1.054, so 1.05, with 0.0955 of GST in it; 0.82 of GST is in the toast
    assert (seen.subtotal, seen.service_charge, seen.total, seen.tax) == (1054, 105, 1159, 92)
    assert [(line.total, line.service_charge) for line in seen.items] == [(901, 90), (153, 15)]


def test_a_service_charge_is_income_of_its_own_with_its_own_tax_and_no_tip() -> None:
    world = World(charging())
    world.paid(world.place(TOAST, BANANA), TRANSFER, tip=50)
    assert books(world) == {
        "bank": 1209,
        "tips": -50,
        "sales": -972,
        "service_charge": -95,
        "tax:gst": -92,
    }


def test_a_service_charge_may_be_taxed_otherwise_than_what_is_sold() -> None:
    world = World(charging(tax_class="free"))
    world.place(TOAST)
    assert books(world) == {"receivable": 991, "sales": -819, "tax:gst": -82, "service_charge": -90}


@pytest.mark.parametrize(("channel", "charged"), [(Channel.TABLE, 90), (Channel.COUNTER, 0)])
def test_it_is_charged_on_the_channels_that_the_cafe_says(channel: Channel, charged: int) -> None:
    world = World(charging(channels=(Channel.TABLE, Channel.ONLINE)))
    order = world.place(TOAST, channel=channel, table="1")
    assert world.order(order).service == charged


def test_a_void_takes_its_part_of_the_charge_along() -> None:
    world = World(charging())
    order = world.place(TOAST, BANANA)
    world.do(order, MoveItem(1, "void"))
    assert (world.order(order).total, world.order(order).service) == (153 + 15, 15)
    assert books(world) == {"receivable": 168, "sales": -153, "service_charge": -14, "tax:gst": -1}


def test_a_line_with_its_charge_cannot_be_taken_back_from_under_what_was_paid() -> None:
    world = World(charging())
    order = world.place(TOAST, BANANA)
    payment = world.paid(order, TRANSFER, 169)  # without the toast and its charge, 168 are left
    assert isinstance(world.ask(order, MoveItem(1, "void")), Refusal)
    world.do(payment, Refund(1))
    world.deliver_all()
    world.do(order, MoveItem(1, "void"))
    assert world.order(order).unsettled == 0


def test_a_cancelled_order_leaves_nothing_behind() -> None:
    world = World(charging())
    order = world.place(TOAST, BANANA)
    world.do(world.paid(order, TRANSFER), Refund())
    world.deliver_all()
    world.do(order, MoveOrder("cancel"))
    assert books(world) == {}


def test_lines_added_later_come_under_the_terms_of_the_order() -> None:
    world = World(charging())
    order = world.place(TOAST)
    world.do(world.cafe_ref, cafes.Configure(charging(rate=2_000)))
    world.do(order, Change(add=world.priced(BANANA)))
    assert world.order(order).service == 90 + 15
    assert world.order(world.place(BANANA)).service == 31


def test_two_tables_keep_what_each_was_charged_when_they_become_one() -> None:
    world = World(charging())
    one, two = world.place(TOAST), world.place(BANANA)
    world.do(one, MergeInto(OrderId(two.id)))
    world.deliver_all()
    assert (world.order(two).service, world.order(two).total) == (105, 1159)
    assert world.balances["receivable"] == 1159


def test_what_is_free_is_served_for_nothing() -> None:
    world = World(charging())
    state = world.order(world.place(WATER))
    assert (state.service, state.total, state.paid_up) == (0, 0, True)


def test_a_charge_needs_a_tax_class_of_the_menu() -> None:
    world = World()
    outcome = world.ask(world.cafe_ref, cafes.Configure(charging(tax_class="luxury")))
    assert isinstance(outcome, Refusal)
    assert outcome.errors[0].field == "settings.serviceCharge.taxClass"
    opened = cafes.open_cafe(cafes.OpenCafe("other", charging(tax_class="luxury"), MENU))
    assert isinstance(opened, Refusal)
    world.do(world.cafe_ref, cafes.Configure(charging(tax_class="free")))
    items = tuple(item for item in MENU.items if item.tax_class == "gst")
    without = msgspec.structs.replace(MENU, tax_classes={"gst": 1000}, items=items)
    outcome = world.ask(world.cafe_ref, cafes.PublishMenu(without))
    assert isinstance(outcome, Refusal)
    assert outcome.errors[0].field == "taxClasses"


@given(
    rate=st.integers(1, 3_000),
    wishes=st.lists(
        st.builds(
            lambda wish, n: msgspec.structs.replace(wish, quantity=n),
            st.sampled_from([TOAST, BANANA, WATER, FLAT_WHITE]),
            st.integers(1, 9),
        ),
        min_size=1,
        max_size=8,
    ),
    tax_class=st.sampled_from(["gst", "free"]),
)
def test_the_lines_shares_sum_to_the_charge_and_none_is_taxed_above_itself(
    rate: int, wishes: list[Wish], tax_class: str
) -> None:
    world = World(charging(rate=rate, tax_class=tax_class))
    order = world.place(*wishes)
    state = world.order(order)
    exact = state.subtotal * rate
    assert abs(state.service * 10_000 - exact) <= 5_000
    assert state.total == state.subtotal + state.service
    for line in state.lines.values():
        assert 0 <= line.facts.service_tax <= line.facts.service
    sold = Counter(world.balances)
    for number in list(state.lines)[:-1]:
        world.do(order, MoveItem(number, "void"))
    world.do(order, MoveOrder("cancel"))
    assert sold["receivable"] == state.total
    assert books(world) == {}
