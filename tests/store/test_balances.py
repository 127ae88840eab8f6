from collections import Counter
from datetime import timedelta

from tabletap.domain.base import OrderId
from tabletap.domain.ledger import postings
from tabletap.store.balances import Balances
from tabletap.store.pool import Database
from tabletap.store.trail import Trail
from tests.domain.world import thaw
from tests.store.opened import opened
from tests.store.shop import Shop

FIRST = ("", "")


async def an_evening(database: Database) -> Shop:
    shop = Shop()
    shop.tick = timedelta(seconds=1)
    shop.busy()
    async with opened(database) as store:
        await store.write(shop)
    return shop


async def test_a_balance_at_any_time_is_what_a_replay_of_the_log_adds_up_to(migrated: Database) -> None:
    shop = await an_evening(migrated)
    balances, cafe_id = Balances(migrated), shop.cafe_ref.cafe_id
    replayed: Counter[str] = Counter()
    moments = sorted({line.at for line in shop.log})
    for at in moments:
        for line in shop.log:
            if line.at == at:
                replayed.update(dict(postings(thaw(line.event))))
        told = await balances.balances(cafe_id, at, FIRST, 100)
        assert {one.account: one.balance for one in told if one.balance} == {
            account: cents for account, cents in replayed.items() if cents
        }
        assert {one.currency for one in told} <= {"AUD"}
    now = await balances.balances(cafe_id, None, FIRST, 100)
    assert now == await balances.balances(cafe_id, moments[-1], FIRST, 100)
    assert await balances.balances(cafe_id, moments[0] - timedelta(seconds=1), FIRST, 100) == []


async def test_balances_and_entries_come_page_by_page_and_are_the_cafes_own(migrated: Database) -> None:
    shop, other = await an_evening(migrated), await an_evening_elsewhere(migrated)
    balances, cafe_id = Balances(migrated), shop.cafe_ref.cafe_id
    whole = await balances.balances(cafe_id, None, FIRST, 100)
    for at in (None, shop.now):
        paged, after = [], FIRST
        while page := await balances.balances(cafe_id, at, after, 3):
            paged += page
            after = (page[-1].account, page[-1].currency)
        assert paged == whole
    entries = await balances.entries(cafe_id, None, None, 10_000)
    expected = sum(len(postings(thaw(line.event))) for line in shop.log)
    assert len(entries) == expected
    places = [(one.offset, one.line) for one in entries]
    assert places == sorted(places, reverse=True)
    found, before = [], None
    while chunk := await balances.entries(cafe_id, None, before, 7):
        found += chunk
        before = (chunk[-1].offset, chunk[-1].line)
    assert found == entries
    assert await balances.balances(other.cafe_ref.cafe_id, None, FIRST, 100)


async def an_evening_elsewhere(database: Database) -> Shop:
    other = Shop("other")
    other.paid(other.place())
    async with opened(database) as store:
        await store.write(other)
    return other


async def test_the_entries_of_one_account_add_up_to_its_balance(migrated: Database) -> None:
    shop = await an_evening(migrated)
    balances, cafe_id = Balances(migrated), shop.cafe_ref.cafe_id
    for one in await balances.balances(cafe_id, None, FIRST, 100):
        entries = await balances.entries(cafe_id, one.account, None, 10_000)
        assert sum(entry.amount for entry in entries) == one.balance
        assert {entry.account for entry in entries} == {one.account}
    assert await balances.entries(cafe_id, "magic", None, 10) == []


async def test_a_trail_is_all_about_one_order_and_its_payments_in_order(migrated: Database) -> None:
    shop = await an_evening(migrated)
    trail, cafe_id = Trail(migrated), shop.cafe_ref.cafe_id
    for order in shop.orders:
        order_id: OrderId = order.placed.order_id
        expected = [
            (offset, thaw(line.event))
            for offset, line in enumerate(shop.log, start=1)
            if getattr(thaw(line.event), "order_id", None) == order_id
        ]
        found = await trail.events(cafe_id, order_id, 0, 1_000)
        assert [(one.offset, one.event) for one in found] == expected
        rest = await trail.events(cafe_id, order_id, found[0].offset, 2)
        assert rest == found[1:3]
