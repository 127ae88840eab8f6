"""The kitchen's board counts what its stations really do; its screen shows what is to be made or was taken back."""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
import pytest

from tabletap.domain import events as e
from tabletap.domain import kitchen
from tabletap.domain import order as orders
from tabletap.domain.base import OrderId, Ref, Wake
from tabletap.domain.kitchen import Board, KitchenView, display
from tabletap.domain.menu import Wish
from tabletap.domain.order import Accept, Change, MergeInto, MoveItem, MoveOrder
from tabletap.domain.settings import Ageing
from tabletap.domain.vocabulary import Channel

from .world import BANANA, FLAT_WHITE, SETTINGS, TOAST, WATER, World, thaw


class Kitchen:
    """A world with a board that follows its log."""

    def __init__(self, *, approval: bool = False, prepay: tuple[Channel, ...] = ()) -> None:
        self.world = World(msgspec.structs.replace(SETTINGS, approval=approval, prepay=prepay))
        self.world.tick = timedelta(milliseconds=1)
        self.board = Board()
        self._heard = 0

    def follow(self) -> Board:
        for line in self.world.log[self._heard :]:
            self.board.apply(thaw(line.event), line.at)
        self._heard = len(self.world.log)
        return self.board

    @property
    def positions(self) -> dict[int, int]:
        """Number of the order -> its place in the queue."""
        return self._numbered(self.follow())

    @property
    def positions_of_a_new_board(self) -> dict[int, int]:
        board = Board()
        board.adopt([orders.view(order) for order in self.world.orders], self.world.now)
        return self._numbered(board)

    def _numbered(self, board: Board) -> dict[int, int]:
        places = board.places(self.world.now)
        return {
            order.placed.number: places[order.placed.order_id].position
            for order in self.world.orders
            if order.placed.order_id in places
        }

    def load(self) -> int:
        board = self.follow()
        board.places(self.world.now)
        return board.load()

    def news(self) -> e.QueueMoved | None:
        return self.follow().news(self.world.now)

    def wait(self, order: Ref) -> float:
        """Seconds until the order should be ready."""
        place = self.follow().places(self.world.now)[OrderId(order.id)]
        return round((place.ready_at - self.world.now.replace(microsecond=0)).total_seconds())

    def finish(self, order: Ref, after_s: float) -> None:
        """Make an order at its station in so many seconds."""
        self.world.do(order, MoveOrder("start"))
        self.world.later(seconds=after_s)
        self.world.do(order, MoveOrder("ready"))
        self.follow()


# -- positions


def test_orders_queue_in_the_order_in_which_the_kitchen_got_them() -> None:
    k = Kitchen(approval=True)
    one, two, three = k.world.place(), k.world.place(), k.world.place()
    assert k.positions == {}
    for order in (two, three, one):
        k.world.do(order, Accept())
    assert k.positions == k.positions_of_a_new_board == {2: 1, 3: 2, 1: 3}


def test_who_leaves_lets_the_others_move_up() -> None:
    for move in ("ready", "cancel"):
        k = Kitchen()
        first = k.world.place()
        for _ in range(2):
            k.world.place()
        k.world.do(first, MoveOrder(move))
        assert k.positions == k.positions_of_a_new_board == {2: 1, 3: 2}
        assert k.board.place(OrderId(first.id), k.world.now) is None


def test_a_recalled_order_is_back_where_it_was_and_its_line_is_work_again() -> None:
    k = Kitchen()
    first, _ = k.world.place(TOAST, BANANA), k.world.place()
    k.world.later(seconds=300)
    k.world.do(first, MoveOrder("ready"))
    load = k.load()
    k.world.do(first, MoveItem(1, "recall"))
    assert k.positions == k.positions_of_a_new_board == {1: 1, 2: 2}
    assert k.load() > load
    assert k.wait(first) == 300


def test_a_recall_is_followed_by_a_board_that_was_born_after_the_order_was_ready() -> None:
    k = Kitchen()
    first, _ = k.world.place(), k.world.place()
    k.world.do(first, MoveOrder("ready"))
    k.follow()
    k.board = Board()
    k.board.adopt([orders.view(order) for order in k.world.orders], k.world.now)
    k.world.do(first, MoveItem(1, "recall"))
    assert k.positions == {1: 1, 2: 2}


def test_lines_added_to_a_ready_order_are_work() -> None:
    k = Kitchen()
    order = k.world.place(BANANA)
    k.world.do(order, MoveOrder("ready"))
    k.world.do(order, Change(add=k.world.priced(TOAST)))
    assert k.wait(order) == 300


def test_lines_that_came_ready_from_another_table_are_no_work() -> None:
    k = Kitchen()
    one, two = k.world.place(TOAST), k.world.place(FLAT_WHITE)
    k.world.do(one, MoveOrder("ready"))
    k.world.do(one, MergeInto(OrderId(two.id)))
    k.world.deliver_all()
    assert k.wait(two) == 60
    assert k.positions == k.positions_of_a_new_board == {2: 1}


def test_an_order_whose_merge_came_to_nothing_is_back_in_its_place() -> None:
    k = Kitchen()
    one, two = k.world.place(), k.world.place()
    k.world.place()
    k.world.do(one, MergeInto(OrderId(two.id)))
    k.world.do(two, MoveOrder("cancel"))
    assert k.positions == {3: 1}
    k.world.deliver_all()
    assert k.positions == k.positions_of_a_new_board == {1: 1, 3: 2}


def test_a_new_board_answers_as_the_old_one() -> None:
    k = Kitchen(prepay=(Channel.ONLINE,))
    online = k.world.place(TOAST, channel=Channel.ONLINE)
    placed = [k.world.place(TOAST, FLAT_WHITE), k.world.place(BANANA), k.world.place(WATER, TOAST)]
    k.world.later(seconds=60)
    k.world.do(placed[0], MoveItem(2, "bump"))
    k.world.do(placed[2], MoveItem(2, "void"))
    k.world.paid(online)
    board, fresh = k.follow(), Board()
    fresh.adopt([orders.view(order) for order in k.world.orders], k.world.now)
    assert board.places(k.world.now) == fresh.places(k.world.now)
    assert (board.active, board.load()) == (fresh.active, fresh.load())
    assert fresh.moved


def test_one_order_s_place_is_at_most_a_moment_old() -> None:
    k = Kitchen()
    first, second = k.world.place(), k.world.place()
    place = k.follow().place(OrderId(second.id), k.world.now)
    assert place == k.board.places(k.world.now)[OrderId(second.id)]
    k.world.do(first, MoveOrder("cancel"))
    k.world.now += kitchen.FRESH_FOR
    place = k.follow().place(OrderId(second.id), k.world.now)
    assert place is not None
    assert place.position == 1


# -- estimates


def test_an_order_waits_for_the_work_before_it_at_its_own_stations() -> None:
    k = Kitchen()
    toast, coffee = k.world.place(Wish("toast", 2)), k.world.place(FLAT_WHITE)
    both, nothing = k.world.place(TOAST, FLAT_WHITE), k.world.place(BANANA)
    assert [k.wait(order) for order in (toast, coffee, both, nothing)] == [600, 60, 900, 900]


def test_estimates_follow_the_pace_that_the_station_shows() -> None:
    for took, slower in ((600, True), (100, False)):
        k = Kitchen()
        waits = []
        for _ in range(8):
            order = k.world.place()
            waits.append(k.wait(order))
            k.finish(order, took)
        assert waits[0] == 300
        assert waits == sorted(waits, reverse=not slower)
        assert abs(waits[-1] - took) < abs(300 - took) / 3
        assert k.wait(k.world.place(FLAT_WHITE)) == 60, "the bar has nothing to do with it"


def test_a_forgotten_bump_says_little_about_the_cook() -> None:
    k = Kitchen()
    k.finish(k.world.place(), 24 * 3600)
    assert k.wait(k.world.place()) == 300 * (1 + kitchen.PACE_WEIGHT * 3)


def test_a_station_does_not_count_the_wait_behind_its_own_work_as_its_pace() -> None:
    k = Kitchen()
    first, second = k.world.place(), k.world.place()
    for order in (first, second):
        k.world.later(seconds=300)
        k.world.do(order, MoveOrder("ready"))
    assert k.wait(k.world.place()) == 300


# -- load


@pytest.mark.parametrize(
    ("wishes", "load"),
    [
        ((), 0),
        ((BANANA,), 0),
        ((FLAT_WHITE,), 7),
        ((TOAST,), 33),
        ((TOAST, FLAT_WHITE), 33),
        ((Wish("toast", 9),), 100),
    ],
)
def test_load_is_the_fullest_station_from_nothing_to_a_hundred(wishes: tuple[Wish, ...], load: int) -> None:
    k = Kitchen()
    if wishes:
        k.world.place(*wishes)
    assert k.load() == load


def test_load_falls_to_nothing_when_all_is_done() -> None:
    k = Kitchen()
    order = k.world.place(TOAST, FLAT_WHITE)
    k.world.do(order, MoveItem(1, "bump"))
    assert k.load() == 7
    k.world.do(order, MoveItem(2, "void"))
    assert (k.load(), k.board.active) == (0, 0)


# -- news


def test_news_are_told_once() -> None:
    k = Kitchen()
    assert k.news() is None
    order = k.world.place()
    assert k.follow().moved
    news = k.news()
    assert news is not None
    assert (news.load, news.active, [place.order_id for place in news.places]) == (33, 1, [order.id])
    assert not k.board.moved
    assert k.news() is None


def test_an_estimate_that_hardly_moved_is_no_news_and_one_that_moved_is() -> None:
    k = Kitchen()
    k.world.place()
    k.news()
    k.world.later(seconds=60)
    assert k.news() is None
    k.world.later(seconds=61)
    assert k.news() is not None


def test_news_tell_only_the_places_that_changed() -> None:
    k = Kitchen()
    first, second = k.world.place(), k.world.place()
    k.news()
    third = k.world.place()
    news = k.news()
    assert news is not None
    assert [place.order_id for place in news.places] == [third.id]
    k.world.do(first, MoveOrder("cancel"))
    news = k.news()
    assert news is not None
    assert [(place.order_id, place.position) for place in news.places] == [(second.id, 1), (third.id, 2)]


def test_news_of_orders_that_only_came_are_those_that_all_places_worked_out_again_would_be() -> None:
    k, again = Kitchen(), Kitchen()
    again.world = k.world
    for _ in range(8):
        k.world.place(TOAST, FLAT_WHITE)
        k.world.place(BANANA)
        again.follow().places(k.world.now)
        assert k.news() == again.board.news(k.world.now)
        k.world.later(seconds=1)


class Thorough(Board):
    """Looks at every place each time."""

    def _looked_at(self, now: datetime) -> Iterable[e.Place]:
        self._only_came = False
        return super()._looked_at(now)


@pytest.mark.parametrize("seed", range(20))
def test_news_miss_nothing_whatever_has_happened_and_whoever_asked_in_between(seed: int) -> None:
    chance, k, thorough = random.Random(seed), Kitchen(), Kitchen()
    thorough.world, thorough.board = k.world, Thorough()
    living: list[Ref] = []
    for _ in range(60):
        match chance.choice(("come", "come", "come", "go", "ask", "tell")):
            case "come":
                living.append(k.world.place(*chance.choices((TOAST, FLAT_WHITE, BANANA), k=2)))
            case "go" if living:
                move = chance.choice(("start", "ready", "cancel"))
                k.world.do(living.pop(chance.randrange(len(living))), MoveOrder(move))
            case "ask" if living:
                k.world.later(seconds=kitchen.FRESH_FOR.total_seconds())  # places are worked out again
                k.follow().place(OrderId(living[-1].id), k.world.now)
            case _:
                assert positions(k.news()) == positions(thorough.news())


def positions(news: e.QueueMoved | None) -> object:
    return news and (news.load, news.active, [(place.order_id, place.position) for place in news.places])


def test_what_a_board_adopted_is_news() -> None:
    k = Kitchen()
    order = k.world.place()
    board = Board()
    board.adopt([orders.view(order) for order in k.world.orders], k.world.now)
    news = board.news(k.world.now)
    assert news is not None
    assert [place.order_id for place in news.places] == [order.id]


def test_that_the_last_order_left_is_news_even_if_it_was_no_work() -> None:
    k = Kitchen()
    order = k.world.place(BANANA)
    k.news()
    k.world.do(order, MoveOrder("ready"))
    news = k.news()
    assert news is not None
    assert (news.active, news.places) == (0, ())
    assert k.news() is None


def test_what_does_not_concern_the_kitchen_moves_nothing() -> None:
    k = Kitchen(approval=True)
    order = k.world.place()
    k.world.pay(order)
    assert not k.follow().moved


# -- the screen


def screen(k: Kitchen, station: str | None = None, ageing: Ageing | None = None) -> KitchenView:
    views = [orders.view(order) for order in k.world.orders]
    return display(views, station, k.world.now, ageing or Ageing())


def lines(view: KitchenView) -> list[tuple[int, list[tuple[str, str]]]]:
    return [(t.order.number, [(item.sku, item.status.value) for item in t.items]) for t in view.tickets]


def test_a_station_sees_its_own_lines_and_where_else_the_order_is_made() -> None:
    k = Kitchen()
    k.world.place(TOAST, FLAT_WHITE)
    k.world.place(WATER)
    bar = screen(k, "bar")
    assert lines(bar) == [(1, [("flat-white", "queued")]), (2, [("water", "queued")])]
    assert [ticket.also_at for ticket in bar.tickets] == [("kitchen",), ()]
    assert screen(k, "patisserie").tickets == ()


def test_a_done_line_leaves_its_station_but_not_the_expo() -> None:
    k = Kitchen()
    order = k.world.place(TOAST, FLAT_WHITE)
    k.world.do(order, MoveItem(1, "bump"))
    assert screen(k, "kitchen").tickets == ()
    assert lines(screen(k)) == [(1, [("toast", "ready"), ("flat-white", "queued")])]
    assert screen(k).tickets[0].also_at == ()


def test_a_void_is_shown_until_its_own_station_has_acknowledged_it() -> None:
    k = Kitchen()
    order = k.world.place(TOAST, FLAT_WHITE)
    k.world.do(order, MoveItem(1, "void"))
    assert lines(screen(k, "kitchen")) == [(1, [("toast", "voided")])]
    assert lines(screen(k)) == [(1, [("toast", "voided"), ("flat-white", "queued")])]
    assert screen(k, "bar").tickets[0].also_at == (), "nothing is made there any more"
    k.world.do(order, MoveItem(1, "bump"))
    assert screen(k, "kitchen").tickets == ()
    assert lines(screen(k)) == [(1, [("flat-white", "queued")])]


def test_orders_that_the_kitchen_does_not_have_are_not_shown() -> None:
    k = Kitchen(approval=True)
    waiting, closed = k.world.place(), k.world.place()
    k.world.do(closed, Accept())
    k.world.do(closed, MoveOrder("ready"))
    assert [ticket.order.number for ticket in screen(k).tickets] == [2]
    k.world.do(closed, MoveOrder("complete"))
    assert screen(k).tickets == ()
    k.world.do(waiting, MoveOrder("cancel"))
    assert screen(k).tickets == ()


@pytest.mark.parametrize(("age", "level"), [(0, 0), (299, 0), (300, 1), (599, 1), (600, 2), (9999, 2)])
def test_a_ticket_ages_in_two_steps(age: int, level: int) -> None:
    k = Kitchen()
    k.world.place()
    k.world.later(seconds=age)
    ticket = screen(k).tickets[0]
    assert (ticket.age_seconds, ticket.level) == (age, level)


def test_each_channel_has_its_own_thresholds() -> None:
    k = Kitchen()
    k.world.place(channel=Channel.ONLINE)
    k.world.place(channel=Channel.TABLE, table="1")
    k.world.place()
    k.world.later(seconds=100)
    ageing = Ageing(online=(50, 99), table=(50, 200), counter=(150, 200))
    assert [ticket.level for ticket in screen(k, ageing=ageing).tickets] == [2, 1, 0]


def test_a_ticket_ages_from_when_the_kitchen_got_it() -> None:
    k = Kitchen()
    order = k.world.place(scheduled_for=k.world.now + timedelta(hours=5))
    due = orders.wake_at(k.world.order(order))
    assert due is not None
    k.world.now = due
    k.world.do(order, Wake())
    k.world.later(seconds=10)
    assert screen(k).tickets[0].age_seconds == 10


def test_all_day_counts_what_is_still_to_make_here() -> None:
    k = Kitchen()
    first = k.world.place(Wish("toast", 2), FLAT_WHITE)
    second = k.world.place(TOAST, BANANA, TOAST)
    k.world.do(first, MoveItem(1, "start"))
    k.world.do(second, MoveItem(1, "bump"))
    k.world.do(second, MoveItem(2, "hold"))
    assert screen(k, "kitchen").all_day == {"Toast": 3}
    assert screen(k).all_day == {"Toast": 3, "Flat white": 1}
    k.world.do(second, MoveItem(3, "void"))
    assert screen(k, "kitchen").all_day == {"Toast": 2}


def test_additions_are_marked_on_the_ticket() -> None:
    k = Kitchen()
    order = k.world.place(TOAST)
    k.world.do(order, Change(add=k.world.priced(BANANA)))
    assert [item.added for item in screen(k).tickets[0].items] == [False, True]


def test_an_order_is_told_its_place_only_while_it_waits() -> None:
    k = Kitchen()
    order = k.world.place()
    place = k.follow().place(OrderId(order.id), k.world.now)
    assert orders.view(k.world.order(order), place).queue_position == 1
    k.world.do(order, MoveOrder("ready"))
    assert orders.view(k.world.order(order), place).queue_position is None
