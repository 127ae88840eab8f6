"""The cafe actor: its snapshot, and the kitchen's board that follows the log."""

from datetime import timedelta

import msgspec
import trio

from tabletap.actors.cafe import Available, GetCafe, GetMenu, GetTables, Nudge, Quote
from tabletap.actors.ports import Conflict, Overloaded
from tabletap.domain import cafe as rules
from tabletap.domain import events as e
from tabletap.domain.base import CafeId, Kind, Ref
from tabletap.domain.cafe import Configure, OpenCafe, OpenDrawer, PublishMenu, SetAvailability
from tabletap.domain.errors import Code
from tabletap.domain.order import MoveItem, MoveOrder
from tests.domain.world import BANANA, MENU, SETTINGS, TOAST, comparable

from .corner import NOON, TICK_S, Corner

CHEAPER = msgspec.structs.replace(MENU, items=tuple(msgspec.structs.replace(item, price=100) for item in MENU.items))


async def wake(corner):
    return await corner.desk.query(corner.cafe_ref, GetCafe())


# -- questions


async def test_a_cafe_answers_from_the_state_of_this_moment(corner):
    await corner.do(corner.cafe_ref, SetAvailability("toast", available=False))
    menu = await corner.desk.query(corner.cafe_ref, GetMenu())
    assert {item.sku: item.available for item in menu.menu.items}["toast"] is False
    assert await corner.desk.query(corner.cafe_ref, GetTables()) == SETTINGS.tables
    assert (await corner.desk.query(corner.cafe_ref, Quote((BANANA,))))[0].total == 153
    assert await corner.desk.query(corner.cafe_ref, Available(frozenset({"banana"}))) is None
    gone = await corner.desk.query(corner.cafe_ref, Available(frozenset({"toast", "banana"})))
    assert (gone.code, gone.message) == (Code.ITEM_UNAVAILABLE, "sold out: toast")


async def test_a_cafe_that_was_never_opened_is_not_found(corner):
    nowhere = CafeId(corner.house.new_id())
    ref = Ref(Kind.CAFE, nowhere, nowhere)
    assert (await corner.desk.query(ref, GetMenu())).code is Code.NOT_FOUND
    assert (await corner.ask(ref, corner.placing())).code is Code.NOT_FOUND
    assert (await corner.ask(corner.cafe_ref, OpenCafe("again", SETTINGS, MENU))).code is Code.SLUG_TAKEN


async def test_a_drawer_is_born_of_its_cafe_and_answered(corner):
    opened = await corner.do(corner.cafe_ref, OpenDrawer("till", 10_000))
    assert opened.float_amount == 10_000
    assert len(await corner.events(e.DrawerOpened)) == 1


async def test_an_item_comes_back_when_its_time_has_come(corner):
    until = corner.clock.now() + timedelta(hours=1)
    await corner.do(corner.cafe_ref, SetAvailability("toast", available=False, until=until))
    assert corner.store.wakes == {corner.cafe_ref: until}
    await trio.sleep(3_599)
    assert len(await corner.events(e.ItemAvailabilityChanged)) == 1
    await trio.sleep(2)
    assert [one.available for one in await corner.events(e.ItemAvailabilityChanged)] == [False, True]
    assert corner.store.wakes == {}


# -- the snapshot


async def test_a_snapshot_restores_the_same_state_and_never_contains_the_menu(monkeypatch):
    monkeypatch.setattr("tabletap.actors.cafe.CafeLife.snapshot_every", 10)
    corner = Corner()
    async with corner.open():
        until = corner.clock.now() + timedelta(hours=3)
        await corner.do(corner.cafe_ref, PublishMenu(CHEAPER))
        await corner.do(corner.cafe_ref, Configure(msgspec.structs.replace(SETTINGS, tables=("7",))))
        await corner.do(corner.cafe_ref, SetAvailability("water", available=False, until=until))
        await corner.do(corner.cafe_ref, SetAvailability("banana", available=True, remaining=50))
        for _ in range(23):
            await corner.place(BANANA)
        await corner.settle()
        before, version = await wake(corner), corner.live(corner.cafe_ref)._version
        snapshots = [commit.snapshot for commit in corner.journal.commits if commit.snapshot is not None]
        assert len(snapshots) == 2
        assert all(item.name.encode() not in snapshot for snapshot in snapshots for item in MENU.items)
        assert all(len(snapshot) < 300 for snapshot in snapshots)
        assert len((await corner.store.load(corner.cafe_ref)).later) < 10
    async with corner.open():
        after = await wake(corner)
        assert comparable(after) == comparable(before)
        assert after.sold_out["banana"].remaining == 27
        assert corner.live(corner.cafe_ref)._version == version
        assert (await corner.do(corner.cafe_ref, corner.placing(BANANA))).number == 24


async def test_a_menu_published_after_the_snapshot_counts(monkeypatch):
    monkeypatch.setattr("tabletap.actors.cafe.CafeLife.snapshot_every", 3)
    corner = Corner()
    async with corner.open():
        for _ in range(4):
            await corner.place()
        await corner.do(corner.cafe_ref, PublishMenu(CHEAPER))
    async with corner.open():
        assert (await corner.order(await corner.place())).total == 100
        assert (await wake(corner)).menu.menu == CHEAPER


async def test_an_order_changes_nothing_of_the_cafes_row_and_rewrites_no_menu(corner):
    await corner.place()
    (placed,) = (
        commit for commit in corner.journal.commits if any(isinstance(n.event, e.OrderPlaced) for n in commit.events)
    )
    assert [type(state).__name__ for state in placed.states] == ["Order"]
    assert placed.snapshot is None


# -- the board


async def positions(corner, *orders):
    await trio.sleep(1)  # places may be a moment old
    now = corner.clock.now()
    places = [corner.boards.place(corner.cafe_ref.cafe_id, ref.id, now) for ref in orders]
    return [place and place.position for place in places]


async def test_the_board_follows_the_orders_whoever_moves_them(corner):
    first, second, third = [await corner.place() for _ in range(3)]
    assert await positions(corner, first, second, third) == [1, 2, 3]
    await corner.do(first, MoveOrder("ready"))
    assert await positions(corner, first, second, third) == [None, 1, 2]
    await corner.do(second, MoveOrder("cancel"))
    assert await positions(corner, first, second, third) == [None, None, 1]
    await corner.do(first, MoveItem(1, "recall"))
    assert await positions(corner, first, second, third) == [1, None, 2]


async def test_the_board_is_rebuilt_when_its_cafe_comes_to_life():
    corner = Corner()
    async with corner.open():
        first, second, third = [await corner.place() for _ in range(3)]
        await corner.do(first, MoveOrder("ready"))
    async with corner.open():
        assert corner.cafe_ref.cafe_id not in corner.boards
        await wake(corner)
        assert await positions(corner, first, second, third) == [None, 1, 2]
        assert corner.live(corner.cafe_ref).board.active == 2


async def test_a_board_hears_nothing_twice_of_what_happens_while_it_is_rebuilt(monkeypatch):
    """Orders are moved before the read, between the read and its answer, and after it; each counts once."""
    corner = Corner()
    async with corner.open():
        orders = [await corner.place() for _ in range(4)]
    async with corner.open():
        reading = corner.store.orders_with_offset
        reads, go_on = trio.Event(), trio.Event()

        async def slowly(cafe_id):
            await corner.do(orders[0], MoveOrder("ready"))
            answer = await reading(cafe_id)
            reads.set()
            await go_on.wait()
            return answer

        monkeypatch.setattr(corner.store, "orders_with_offset", slowly)
        heard = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wake, corner)
            await reads.wait()
            await corner.do(orders[1], MoveOrder("ready"))
            await corner.do(orders[0], MoveItem(1, "recall"))
            board = corner.live(corner.cafe_ref).board
            monkeypatch.setattr(
                board, "apply", lambda event, at, apply=board.apply: (heard.append(event), apply(event, at))
            )
            go_on.set()
        await corner.do(orders[2], MoveOrder("ready"))
        assert await positions(corner, *orders) == [1, None, None, 2]
        moved = [event for event in heard if isinstance(event, e.ItemsMoved)]
        assert [event.order_id for event in moved] == [orders[1].id, orders[0].id, orders[2].id]


async def test_news_of_the_queue_are_gathered_into_one_event_per_tick(corner):
    orders = [await corner.place() for _ in range(30)]
    assert await corner.events(e.QueueMoved) == []
    await trio.sleep(2 * TICK_S)
    (news,) = await corner.events(e.QueueMoved)
    assert (news.active, len(news.places)) == (30, 30)
    await corner.do(orders[-1], MoveOrder("cancel"))
    await corner.do(orders[-2], MoveOrder("cancel"))
    await trio.sleep(2 * TICK_S)
    assert [len(news.places) for news in await corner.events(e.QueueMoved)] == [30, 0]


async def test_no_news_are_told_when_nothing_moved(corner):
    await corner.place()
    await trio.sleep(100)
    before = len(await corner.log())
    await corner.do(corner.cafe_ref, SetAvailability("water", available=False))
    await trio.sleep(3_600)
    assert len(await corner.log()) == before + 1


async def test_news_that_lost_a_race_or_met_a_full_writer_are_told_all_the_same(corner):
    order = await corner.place()
    corner.journal.trouble = [Conflict()]
    await trio.sleep(2 * TICK_S)
    assert [news.active for news in await corner.events(e.QueueMoved)] == [1]
    await corner.do(order, MoveItem(1, "start"))
    await corner.do(order, MoveItem(1, "bump"))
    corner.journal.trouble = [Overloaded(1)]
    await trio.sleep(2 * TICK_S)
    assert len(await corner.events(e.QueueMoved)) == 1
    await corner.do(order, MoveItem(1, "recall"))
    await corner.do(order, MoveItem(1, "bump"))
    await trio.sleep(4 * TICK_S)
    assert (await corner.events(e.QueueMoved))[-1].active == 0


async def test_a_cafe_with_orders_in_its_kitchen_stays_and_leaves_when_they_are_done():
    async with Corner(idle_seconds=10).open() as corner:
        order = await corner.place()
        await trio.sleep(1_000)
        assert corner.live(corner.cafe_ref) is not None
        assert corner.cafe_ref.cafe_id in corner.boards
        await corner.do(order, MoveOrder("ready"))
        await corner.rest()
        assert corner.cafe_ref.cafe_id not in corner.boards
        assert not corner.crier.followers[corner.cafe_ref.cafe_id]


async def test_a_nudge_brings_the_board_to_life():
    corner = Corner()
    async with corner.open():
        order = await corner.place()
    async with corner.open():
        corner.desk.nudge(corner.cafe_ref, Nudge())
        await corner.settle()
        assert await positions(corner, order) == [1]


async def test_a_cafe_that_crashes_again_and_again_leaves_no_follower_behind(corner, monkeypatch):
    order = await corner.place()
    monkeypatch.setattr(rules, "quote", lambda *_: 1 / 0)
    for _ in range(3):
        assert (await corner.desk.query(corner.cafe_ref, Quote((TOAST,)))).code is Code.INTERNAL_ERROR
        await trio.sleep(100)
    await wake(corner)
    assert len(corner.crier.followers[corner.cafe_ref.cafe_id]) == 1
    assert await positions(corner, order) == [1]
    assert len(corner.crashes) == 6
    corner.crashes.clear()


async def test_a_days_numbers_start_again_at_four_in_the_morning(corner):
    assert NOON.hour == 1  # noon in Sydney
    assert [(await corner.do(corner.cafe_ref, corner.placing())).number for _ in range(2)] == [1, 2]
    await trio.sleep(15.9 * 3600)
    assert (await corner.do(corner.cafe_ref, corner.placing())).number == 3
    await trio.sleep(0.2 * 3600)
    assert (await corner.do(corner.cafe_ref, corner.placing())).number == 1
