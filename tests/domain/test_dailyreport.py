"""A till's report of a day: it must agree with itself; where it differs from our count, it is told line by line."""

from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain.dailyreport import DailyReport, check, differences
from tabletap.domain.daycount import Facts, Hour, Sold, count
from tabletap.domain.errors import Code
from tabletap.domain.vocabulary import Method

from .days import counted
from .world import World

TODAY = date(2026, 3, 10)
GOOD = DailyReport(
    report_date=TODAY,
    total_sales=10_000,
    total_orders=10,
    cash_sales=4_000,
    card_sales=3_000,
    gift_card_sales=1_000,
    online_sales=2_000,
    discounts=500,
    refunds=300,
    net_sales=9_200,
)
TENDERS = {"totalSales", "cashSales", "cardSales", "giftCardSales", "onlineSales"}
NET = {"netSales", "totalSales", "discounts", "refunds"}


def changed(**fields: Any) -> DailyReport:
    return msgspec.structs.replace(GOOD, **fields)


def at_fault(report: DailyReport) -> set[str]:
    refused = check(report, TODAY)
    if refused is None:
        return set()
    assert refused.code is Code.VALIDATION_ERROR
    return {error.field for error in refused.errors}


@pytest.mark.parametrize(
    "report",
    [
        GOOD,
        changed(cash_sales=3_500),  # tenders after discounts
        changed(cash_sales=3_200),  # after discounts and refunds
        changed(
            busy_hours=({"hour": 8, "orders": 10, "sales": 10_000},), top_items=({"sku": "toast", "quantity": 99},)
        ),
        changed(top_items=("toast", 7, None, {"what": "ever"}), busy_hours=([8, 12],), staff_shifts=({"a": {"b": 1}},)),
        changed(report_date=date(2020, 1, 1)),
    ],
)
def test_a_report_that_agrees_with_itself_is_taken(report: DailyReport) -> None:
    assert check(report, TODAY) is None


@pytest.mark.parametrize(
    ("report", "fields"),
    [
        (changed(cash_sales=4_001), TENDERS),
        (changed(gift_card_sales=0), TENDERS),
        (changed(online_sales=2_300), TENDERS),
        (changed(net_sales=9_201), NET),
        (changed(net_sales=-9_200), NET),
        (changed(refunds=0), NET),
        (changed(total_sales=9_999), TENDERS | NET),
        (changed(busy_hours=({"hour": 24, "orders": 1},)), {"busyHours.0.hour"}),
        (changed(busy_hours=({"hour": 8}, {"hour": 8})), {"busyHours"}),
        (changed(busy_hours=({"hour": 8, "orders": 6}, {"hour": 9, "orders": 5})), {"busyHours", "totalOrders"}),
        (changed(report_date=date(1999, 12, 31)), {"reportDate"}),
        (changed(report_date=date(2026, 3, 11)), {"reportDate"}),
    ],
)
def test_one_that_does_not_is_refused_and_every_field_that_has_a_part_is_named(
    report: DailyReport, fields: set[str]
) -> None:
    assert at_fault(report) == fields


@given(
    parts=st.tuples(*[st.integers(0, 10**9)] * 4),
    discounts=st.integers(0, 10**6),
    refunds=st.integers(0, 10**6),
    wrong=st.integers(-(10**6), 10**6).filter(bool),
)
def test_a_cent_too_many_or_too_few_anywhere_is_seen(
    parts: tuple[int, int, int, int], discounts: int, refunds: int, wrong: int
) -> None:
    total = sum(parts)
    sums = dict(zip(("cash_sales", "card_sales", "gift_card_sales", "online_sales"), parts, strict=True))
    good = changed(
        total_sales=total, discounts=discounts, refunds=refunds, net_sales=total - discounts - refunds, **sums
    )
    assert at_fault(good) == set()
    assert at_fault(msgspec.structs.replace(good, net_sales=good.net_sales + wrong)) >= NET
    if wrong not in {-discounts, -discounts - refunds}:  # which are other ways to count
        assert at_fault(msgspec.structs.replace(good, card_sales=good.card_sales + wrong)) >= TENDERS


def of_world(world: World, **more: Any) -> DailyReport:
    """The report of a till that has seen all that we have."""
    taken = counted(world).takings
    told = {name: getattr(taken, name) for name in taken.__struct_fields__ if name != "other_sales"}
    return DailyReport(report_date=TODAY, **{**told, **more})


def test_a_till_that_saw_what_we_saw_differs_in_nothing() -> None:
    world = World()
    world.paid(world.place())
    world.paid(world.place(), Method.PAYCONIC_CARD, tip=100)
    assert differences(of_world(world), counted(world)) == ()


def test_each_line_that_differs_is_told_with_both_figures() -> None:
    world = World()
    world.paid(world.place())
    told = differences(of_world(world, cash_sales=900, total_orders=2), counted(world))
    assert [(one.field, one.reported, one.counted) for one in told] == [
        ("totalOrders", 2, 1),
        ("cashSales", 900, 901),
    ]


def test_of_items_and_hours_only_what_the_till_has_named_is_compared() -> None:
    facts = Facts(currency="AUD", items=(Sold("toast", "Toast", 3, 2_703),), hours=(Hour(8, 2, 1_802), Hour(9, 1, 901)))
    nothing = DailyReport(report_date=TODAY, total_sales=0, total_orders=3, cash_sales=0, card_sales=0, net_sales=0)
    report = msgspec.structs.replace(
        nothing,
        top_items=(
            {"sku": "toast", "quantity": 3},
            {"name": "Toast", "quantity": 2, "sales": 2_703},
            {"sku": "cake", "quantity": 1},
            {"quantity": 7},
            "toast",
        ),
        busy_hours=({"hour": 8, "orders": 2}, {"hour": 9, "orders": 3, "sales": 901}, {"hour": 10, "orders": 1}, 11),
    )
    told = differences(report, count(facts))
    assert [(one.field, one.reported, one.counted) for one in told] == [
        ("topItems.Toast.quantity", 2, 3),
        ("topItems.cake.quantity", 1, 0),
        ("busyHours.9.orders", 3, 1),
        ("busyHours.10.orders", 1, 0),
    ]
