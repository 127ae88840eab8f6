from typing import Any

import pytest

from tabletap.domain import cafe as cafes
from tabletap.domain import order as orders
from tabletap.store import projections, rebuild
from tabletap.store.pool import Database
from tests.domain.world import BANANA, FLAT_WHITE, TOAST
from tests.store.opened import opened, rows, run
from tests.store.shop import Shop


async def derived(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every derived row as text, table by table."""
    return {
        table: await rows(database, f"SELECT {table}::text FROM {table} ORDER BY 1") for table in projections.TABLES
    }


async def test_rows_built_again_from_the_log_are_the_live_ones_byte_for_byte(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild, "PAGE_ENTITIES", 2)
    monkeypatch.setattr(rebuild, "PAGE_EVENTS", 3)
    shops = [Shop(), Shop("other")]
    async with opened(migrated) as store:
        for shop in shops:
            shop.busy()
            shop.reward("+61412345678")
            mixed = shop.place(FLAT_WHITE, TOAST, BANANA, table=None)
            shop.move_queue(mixed)
            shop.do(mixed, orders.MoveOrder("ready"))
            shop.do(mixed, orders.MoveItem(line=1, move="recall"))
            shop.do(mixed, orders.MoveItem(line=3, move="void"))
            shop.do(shop.cafe_ref, cafes.SetAvailability("toast", available=False))
            await store.write(shop)
    live = await derived(migrated)
    assert all(live.values()), "every table has something to compare"
    counts = await rebuild.rebuild(migrated)
    assert await derived(migrated) == live
    assert counts == {table: len(found) for table, found in live.items()}


async def test_rows_that_were_lost_or_spoilt_come_back_and_the_writer_goes_on(migrated: Database) -> None:
    shop = Shop()
    shop.busy()
    async with opened(migrated) as store:
        await store.write(shop)
        live = await derived(migrated)
        await run(migrated, "TRUNCATE orders, ledger_entries, ledger_balances, order_places")
        await run(migrated, "UPDATE payments SET status = 'spoilt'")
        await rebuild.rebuild(migrated)
        assert await derived(migrated) == live
        shop.paid(shop.place())
        await store.write(shop)
    balances = dict(await rows(migrated, "SELECT account, balance FROM ledger_balances"))  # type: ignore[arg-type]
    assert {one: cents for one, cents in balances.items() if cents} == {
        one: cents for one, cents in shop.balances.items() if cents
    }


async def test_an_empty_log_gives_empty_tables(migrated: Database) -> None:
    assert set((await rebuild.rebuild(migrated)).values()) == {0}
