"""Reports in Postgres: what SQL adds up is what the log says, and what was printed stays."""

import itertools
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import order as orders
from tabletap.domain import payment as payments
from tabletap.domain.base import By, Role, business_day, day_bounds
from tabletap.domain.dailyreport import DailyReport
from tabletap.domain.daycount import Facts, count
from tabletap.domain.vocabulary import Channel, Method, RefundTo
from tabletap.store.pool import Database
from tabletap.store.reports import ReportTable
from tests.domain.days import Gathered
from tests.domain.test_daycount import balanced, close
from tests.domain.world import BANANA, FLAT_WHITE, NOON, TOAST
from tests.store.conftest import _temporary_database
from tests.store.opened import opened, rows, run
from tests.store.shop import Shop

TILL = By(Role.TILL, "till:1", "Front")
REPORT = DailyReport(
    report_date=date(2026, 3, 10), total_sales=901, total_orders=1, cash_sales=901, card_sales=0, net_sales=901
)


def comparable(facts: Facts) -> Mapping[str, object]:
    """Facts without their order, and without what SQL adds to those of the ledger."""
    return {
        "entries": sorted(facts.entries, key=repr),
        "before": {name: cents for name, cents in facts.before.items() if cents},
        "after": {name: cents for name, cents in facts.after.items() if cents},
        "orders": (facts.placed, facts.cancelled, facts.hours),
    }


async def test_sql_counts_what_the_log_says_for_every_stretch_between_closings(migrated: Database) -> None:
    shop, table = Shop(), ReportTable(migrated)
    ends = [0]
    async with opened(migrated) as store:
        for evening in (shop.busy, lambda: shop.reward("+61412345678"), lambda: shop.paid(shop.place(BANANA))):
            evening()
            held = shop.place(channel=Channel.ONLINE)
            ends.append(close(shop))
            shop.paid(held, Method.PAYCONIC_CARD, tip=50)
        await store.write(shop)
    gathered = Gathered(shop.log)
    closings = (await table.closings(shop.cafe.id, None, 10))[::-1]
    assert [(one.day.number, one.after, one.offset) for one in closings] == [
        (number, *stretch) for number, stretch in enumerate(itertools.pairwise(ends), start=1)
    ]
    for closing in closings:
        found = await table.of_closing(closing, shop.cafe.id, shop.cafe.settings)
        assert comparable(found.facts) == comparable(gathered.facts(closing.after, closing.offset))
        balanced(count(found.facts))
    since, last = await table.since_closing(shop.cafe.id, shop.cafe.settings)
    assert last == closings[-1]
    assert comparable(since.facts) == comparable(gathered.facts(ends[-1], len(shop.log)))
    balanced(count(since.facts))


async def test_the_newest_closing_is_first_and_pages_go_back(migrated: Database) -> None:
    shop, table = Shop(), ReportTable(migrated)
    async with opened(migrated) as store:
        for _ in range(4):
            close(shop)
        await store.write(shop)
    pages = [await table.closings(shop.cafe.id, before, 2) for before in (None, 3, 1)]
    assert [[one.day.number for one in page] for page in pages] == [[4, 3], [2, 1], []]
    assert pages[1][1].since is None
    assert pages[0][0].since == pages[0][1].day.closed_at


async def test_what_was_ordered_and_voided_is_no_top_item_and_gift_cards_are_none(migrated: Database) -> None:
    shop, table = Shop(), ReportTable(migrated)
    first = shop.place(TOAST, BANANA, FLAT_WHITE)
    second = shop.place(TOAST)
    shop.do(first, orders.MoveItem(line=2, move="void"))
    shop.do(shop.place(BANANA), orders.MoveOrder("cancel"))
    shop.do(second, orders.Change(add=shop.priced(TOAST)))
    shop.do(second, orders.MergeInto(first.id))  # type: ignore[arg-type]
    shop.deliver_all()
    shop.reward("+61412345678")
    async with opened(migrated) as store:
        await store.write(shop)
    found, _ = await table.since_closing(shop.cafe.id, shop.cafe.settings)
    sold = {item.sku: (item.quantity, item.sales) for item in found.facts.items}
    assert sold == {"toast": (4, 3604), "flat-white": (1, 450)}
    assert [(hour.hour, hour.orders) for hour in found.facts.hours] == [(12, 2)], (
        "noon in Sydney, and what was neither cancelled nor merged away"
    )


async def test_a_drawer_that_stays_open_carries_what_is_in_it_and_its_float_counts_once(migrated: Database) -> None:
    shop, table = Shop(), ReportTable(migrated)
    drawer = shop.do(shop.cafe_ref, cafes.OpenDrawer("till", 5_000)).births[0].ref

    def cash() -> None:
        payment = shop.pay(shop.place())
        shop.do(payment, payments.VerifyCash(tendered=1_000, drawer_id=drawer.id))
        shop.deliver_all()
        shop.do(payment, payments.Refund(amount=100, drawer_id=drawer.id))
        shop.deliver_all()

    cash()
    close(shop)
    cash()
    shop.do(drawer, drawers.Pay(-300, "milk"))
    shop.do(drawer, drawers.Pay(50, "change"))
    shop.do(drawer, drawers.Count(6_000))
    close(shop)
    close(shop)
    async with opened(migrated) as store:
        await store.write(shop)
    closings = (await table.closings(shop.cafe.id, None, 10))[::-1]
    first, second, third = [
        (await table.of_closing(one, shop.cafe.id, shop.cafe.settings)).facts.drawers for one in closings
    ]
    assert closings[0].day.forced_over == ("till",)
    (evening,), (morning,) = first, second
    assert (evening.carried, evening.float_amount, evening.payments, evening.refunds) == (0, 5_000, 900, 100)
    assert (evening.expected, evening.counted, evening.difference) == (5_800, None, None)
    assert (morning.carried, morning.float_amount, morning.payments, morning.refunds) == (5_800, 0, 900, 100)
    assert (morning.paid_in, morning.paid_out, morning.expected) == (50, 300, 6_350)
    assert (morning.counted, morning.difference) == (6_000, -350)
    assert third == ()


DAY_MOVES = st.lists(
    st.tuples(
        st.sampled_from(["sell", "split", "open", "late tip", "cancel", "refund", "gift", "close"]), st.integers(0, 9)
    ),
    min_size=4,
    max_size=14,
)


def live(shop: Shop, moves: list[tuple[str, int]]) -> list[int]:
    """A day made of these moves; the offsets of its closings."""
    methods = (Method.CASH, Method.PAYCONIC_CARD, Method.QR_CODE_BANK_TRANSFER, Method.STRIPE_CARD)
    ends, waiting, taken = [0], [], []
    for move, which in moves:
        shop.later(minutes=7 * which)
        method = methods[which % len(methods)]
        match move:
            case "sell":
                taken.append(shop.paid(shop.place(TOAST, BANANA, channel=list(Channel)[which % 2 * 2]), method))
            case "split":
                order = shop.place(TOAST, FLAT_WHITE)
                taken += [shop.paid(order, method, 333 + which), shop.paid(order)]
            case "open":
                waiting.append(shop.place(FLAT_WHITE, channel=Channel.ONLINE))
            case "late tip" if waiting:
                taken.append(shop.paid(waiting.pop(), method, tip=100 + which))
            case "cancel" if waiting:
                begun = shop.pay(waiting[-1], Method.QR_CODE_BANK_TRANSFER)
                shop.take(begun, shop.payment(begun).initiated.total + which)
                shop.do(waiting.pop(), orders.MoveOrder("cancel"))
                shop.deliver_all()
            case "refund" if taken and shop.payment(taken[-1]).refundable:
                shop.do(taken.pop(), payments.Refund(None if which % 2 else 1 + which, to=RefundTo.ORIGINAL))
                shop.deliver_all()
            case "gift":
                shop.reward("+61412345678")
            case "close":
                ends.append(close(shop))
    ends.append(close(shop))
    return ends


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(days=st.lists(DAY_MOVES, min_size=8, max_size=8))
def test_any_day_balances_to_the_cent_as_postgres_counts_it(
    postgres: str, migrated_template: str, days: list[list[tuple[str, int]]]
) -> None:
    async def check() -> None:
        async with _temporary_database(postgres, migrated_template) as dsn, Database.open(dsn) as database:
            for moves in days:
                await check_days(database, moves)

    trio.run(check)


async def check_days(database: Database, moves: list[tuple[str, int]]) -> None:
    """What these moves come to, counted by Postgres, gathered from the log, and as the orders themselves say."""
    shop, table = Shop(f"corner-{uuid4().hex}"), ReportTable(database)
    ends = live(shop, moves)
    async with opened(database) as store:
        await store.write(shop)
    gathered, carried = Gathered(shop.log), 0
    closings = (await table.closings(shop.cafe.id, None, 100))[::-1]
    assert [one.offset for one in closings] == ends[1:]
    for closing in closings:
        found = await table.of_closing(closing, shop.cafe.id, shop.cafe.settings)
        assert comparable(found.facts) == comparable(gathered.facts(closing.after, closing.offset))
        day = balanced(count(found.facts))
        assert day.identity.carried_in == carried
        carried = day.identity.open
    assert carried == sum(order.unsettled for order in shop.orders)


# -- days by the clock


async def test_a_business_day_begins_at_four_and_every_event_is_in_one_day(migrated: Database) -> None:
    shop, table = Shop(), ReportTable(migrated)
    begins, ends = day_bounds(date(2026, 3, 12), "Australia/Sydney")
    assert (begins.hour, business_day(begins, "Australia/Sydney")) == (4, date(2026, 3, 12))
    moment, noon = timedelta(milliseconds=1), begins + timedelta(hours=8)
    for now in (begins - moment, begins, noon, ends - moment, ends):
        shop.now = now.astimezone(UTC)
        shop.place()
    async with opened(migrated) as store:
        await store.write(shop)
    found = await table.day(shop.cafe.id, begins, ends, shop.cafe.settings)
    assert (found.after, found.upto) == (2, 5)
    assert found.facts.placed == 3
    today = count(found.facts).identity
    assert (today.carried_in, today.charged, today.open) == (901, 2_703, 3_604)
    for day, expected in (
        (date(2026, 3, 11), 1),
        (date(2026, 3, 13), 1),
        (date(2026, 3, 14), 0),
        (date(2020, 1, 1), 0),
    ):
        other = await table.day(shop.cafe.id, *day_bounds(day, "Australia/Sydney"), shop.cafe.settings)
        assert other.facts.placed == expected, day


async def test_commits_that_overtook_each_other_at_four_are_all_in_one_day_or_the_next(migrated: Database) -> None:
    """The first event that is not before four begins the day: those behind it are in it, even if decided before."""
    shop = Shop()
    begins, _ = day_bounds(date(2026, 3, 12), "Australia/Sydney")
    for millisecond in (-3, 1, -2, -1, 2, -1, 3):
        shop.now = (begins + timedelta(milliseconds=millisecond)).astimezone(UTC)
        shop.place()
    async with opened(migrated) as store:
        await store.write(shop)
    query = "SELECT log_before($1, $2)"
    assert await rows(migrated, query, shop.cafe.id, begins) == [(2,)]
    assert await rows(migrated, query, shop.cafe.id, datetime(2000, 1, 1, tzinfo=UTC)) == [(0,)]
    assert await rows(migrated, query, shop.cafe.id, datetime(2100, 1, 1, tzinfo=UTC)) == [(8,)]
    assert await rows(migrated, query, uuid4(), begins) == [(0,)]


# -- what is kept


async def test_a_report_of_a_day_is_replaced_whole_and_says_so(migrated: Database) -> None:
    table, cafe = ReportTable(migrated), Shop().cafe.id
    whole = msgspec.structs.replace(
        REPORT, top_items=({"sku": "toast", "quantity": 1},), staff_shifts=("sam",), notes="wet"
    )
    first = await table.upload(cafe, uuid4(), whole, TILL, NOON)
    assert (first.uploads, first.report, first.by) == (1, whole, TILL)
    second = await table.upload(cafe, uuid4(), REPORT, TILL, NOON + timedelta(hours=1))
    assert (second.report_id, second.uploads, second.report) == (first.report_id, 2, REPORT)
    other = msgspec.structs.replace(REPORT, report_date=date(2026, 3, 11))
    await table.upload(cafe, uuid4(), other, TILL, NOON)
    await table.upload(Shop().cafe.id, uuid4(), REPORT, TILL, NOON)
    kept = await table.uploaded(cafe, date(2026, 3, 1), date(2026, 3, 31))
    assert [one.report for one in kept] == [other, REPORT]


async def test_a_z_is_stored_once_and_nothing_changes_it(migrated: Database) -> None:
    table, cafe = ReportTable(migrated), Shop().cafe.id
    assert await table.stored(cafe, 1) is None
    assert msgspec.json.decode(await table.store(cafe, 1, b'{"number": 1}', NOON)) == {"number": 1}
    assert msgspec.json.decode(await table.store(cafe, 1, b'{"number": 2}', NOON)) == {"number": 1}
    for change in ("UPDATE z_reports SET doc = '{}'", "DELETE FROM z_reports"):
        with pytest.raises(Exception, match="never changed"):
            await run(migrated, change)
    assert await table.stored(cafe, 1) == b'{"number": 1}'
