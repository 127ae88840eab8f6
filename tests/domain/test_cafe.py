"""The cafe admits an order, or says by name why not; numbers its day; and forgets nothing in a restart."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import cafe as cafes
from tabletap.domain import events as e
from tabletap.domain.base import Context, Decision, Wake, business_day
from tabletap.domain.cafe import Configure, MoveQueue, OpenCafe, OpenDrawer, PlaceOrder, PublishMenu, SetAvailability
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.menu import Wish
from tabletap.domain.order import MoveOrder
from tabletap.domain.settings import Ageing, BankDetails, CafeSettings, Throttle
from tabletap.domain.vocabulary import Channel

from .world import BANANA, FLAT_WHITE, MENU, NOON, SETTINGS, STAFF, TOAST, WATER, World, comparable

replace = msgspec.structs.replace
ONLINE, TABLE, COUNTER = Channel


def place(world: World, *wishes: Wish, channel: Channel = ONLINE, **facts: object) -> Decision | Refusal:
    command = PlaceOrder(channel=channel, wishes=wishes or (TOAST,), **facts)  # type: ignore[arg-type]
    return world.ask(world.cafe_ref, command)


def refused(outcome: Decision | Refusal, code: Code = Code.VALIDATION_ERROR) -> list[str]:
    """The fields that are blamed."""
    assert isinstance(outcome, Refusal), outcome
    assert outcome.code is code
    return [error.field for error in outcome.errors]


# -- admission


def test_a_closed_cafe_takes_no_orders_of_any_channel() -> None:
    world = World(replace(SETTINGS, accepting=False))
    for channel in Channel:
        refused(place(world, channel=channel, table="1"), Code.CAFE_CLOSED)


@pytest.mark.parametrize("table", [None, "", "9"])
def test_an_order_at_a_table_needs_a_table_that_exists(table: str | None) -> None:
    assert refused(place(World(), channel=TABLE, table=table)) == ["table"]


def test_an_online_order_sits_at_no_table() -> None:
    assert refused(place(World(), table="1")) == ["table"]


@pytest.mark.parametrize("count", [0, 101])
def test_an_order_has_one_to_a_hundred_lines(count: int) -> None:
    world = World()
    command = PlaceOrder(channel=ONLINE, wishes=(WATER,) * count, scheduled_for=world.now + timedelta(hours=1))
    assert refused(world.ask(world.cafe_ref, command)) == ["items"]


def test_what_is_not_on_the_menu_is_refused_by_its_path() -> None:
    assert refused(place(World(), TOAST, Wish("tea", 1))) == ["items.1.sku"]


def test_an_item_that_is_sold_out_is_refused_by_its_path_until_its_time() -> None:
    world = World()
    until = world.now + timedelta(minutes=10)
    world.do(world.cafe_ref, SetAvailability("toast", available=False, until=until))
    assert refused(place(world, BANANA, TOAST), Code.ITEM_UNAVAILABLE) == ["items.1.sku"]
    assert isinstance(place(world, BANANA), Decision)
    world.now = until
    assert isinstance(place(world, TOAST), Decision)


def test_a_countdown_sells_what_is_left_over_all_lines_and_then_nothing() -> None:
    world = World()
    world.do(world.cafe_ref, SetAvailability("toast", available=True, remaining=3))
    assert refused(place(world, Wish("toast", 2), Wish("toast", 2)), Code.ITEM_UNAVAILABLE) == ["items.1.sku"]
    assert isinstance(place(world, Wish("toast", 1), Wish("toast", 1)), Decision)
    assert cafes.view(world.cafe, world.now).menu.items[1].remaining == 1
    refused(place(world, Wish("toast", 2)), Code.ITEM_UNAVAILABLE)
    assert isinstance(place(world, TOAST), Decision)
    refused(place(world, TOAST), Code.ITEM_UNAVAILABLE)
    item = cafes.view(world.cafe, world.now).menu.items[1]
    assert (item.available, item.remaining) == (False, 0)


@pytest.mark.parametrize(
    ("throttle", "fits", "over"),
    [
        (Throttle(items_per_slot=3), (TOAST, TOAST), (TOAST, TOAST)),
        (Throttle(items_per_slot=3), (TOAST,), (Wish("water", 3),)),
        (Throttle(value_per_slot=1000), (TOAST,), (BANANA,)),
        (Throttle(items_per_slot=9, value_per_slot=1000), (BANANA,), (TOAST,)),
    ],
)
def test_a_full_quarter_of_an_hour_takes_no_more_except_from_the_counter(
    throttle: Throttle, fits: tuple[Wish, ...], over: tuple[Wish, ...]
) -> None:
    world = World(replace(SETTINGS, throttle=throttle))
    world.later(minutes=5)
    assert isinstance(place(world, *fits), Decision)
    for channel, table in ((ONLINE, None), (TABLE, "1")):
        outcome = place(world, *over, channel=channel, table=table)
        refused(outcome, Code.KITCHEN_BUSY)
        assert isinstance(outcome, Refusal)
        assert outcome.retry_after_s == 600
    assert isinstance(place(world, *over, channel=COUNTER), Decision)
    world.later(minutes=10)
    assert isinstance(place(world, *over), Decision)


def test_exactly_the_cap_fits() -> None:
    world = World(replace(SETTINGS, throttle=Throttle(items_per_slot=2, value_per_slot=1054)))
    assert isinstance(place(world, TOAST, BANANA), Decision)
    refused(place(world, WATER), Code.KITCHEN_BUSY)


def test_a_scheduled_order_counts_for_the_time_it_was_promised_for() -> None:
    world = World(replace(SETTINGS, throttle=Throttle(items_per_slot=1)))
    at = world.now + timedelta(hours=2)
    assert isinstance(place(world, scheduled_for=at), Decision)
    assert isinstance(place(world), Decision)
    elsewhere = (at + timedelta(minutes=14)).astimezone(ZoneInfo("Asia/Kathmandu"))
    refused(place(world, scheduled_for=elsewhere), Code.KITCHEN_BUSY)
    assert isinstance(place(world, scheduled_for=at + timedelta(minutes=15)), Decision)


@pytest.mark.parametrize(
    ("ahead", "fits"),
    [
        (timedelta(seconds=-1), False),
        (timedelta(0), False),
        (timedelta(seconds=1), True),
        (timedelta(days=7), True),
        (timedelta(days=7, seconds=1), False),
    ],
)
def test_an_order_is_scheduled_within_the_next_seven_days(ahead: timedelta, fits: bool) -> None:
    outcome = place(World(), scheduled_for=NOON + ahead)
    assert isinstance(outcome, Decision) if fits else refused(outcome) == ["scheduledFor"]


@pytest.mark.parametrize(
    ("approval", "prepay", "ahead_min", "wish", "released"),
    [
        (False, (), None, TOAST, True),
        (True, (), None, TOAST, False),
        (False, (ONLINE,), None, TOAST, False),
        (False, (ONLINE,), None, WATER, True),
        (False, (TABLE,), None, TOAST, True),
        (False, (), 11, TOAST, False),
        (False, (), 10, TOAST, True),
        (True, (), None, WATER, False),
    ],
)
def test_the_kitchen_has_an_order_from_the_start_unless_something_is_waited_for(
    approval: bool, prepay: tuple[Channel, ...], ahead_min: int | None, wish: Wish, released: bool
) -> None:
    world = World(replace(SETTINGS, approval=approval, prepay=prepay))
    at = None if ahead_min is None else world.now + timedelta(minutes=ahead_min)
    order = world.order(world.place(wish, channel=ONLINE, scheduled_for=at))
    assert order.in_kitchen == released


# -- numbers


def test_numbers_start_at_one_every_business_day_and_have_no_gaps_after_refusals_and_cancellations() -> None:
    world = World()
    numbers = []
    for hour in range(0, 120, 5):
        world.now = NOON + timedelta(hours=hour)
        refused(place(world, Wish("tea", 1)))
        order = world.place()
        world.do(order, MoveOrder("cancel"))
        world.restart()
        numbers.append((world.order(order).placed.business_day, world.order(order).placed.number))
    by_day: dict[date, list[int]] = {}
    for day, number in numbers:
        by_day.setdefault(day, []).append(number)
    assert len(by_day) == 6
    assert all(given == list(range(1, len(given) + 1)) for given in by_day.values())


@pytest.mark.parametrize(
    ("local", "fold", "day"),
    [
        ("2026-03-10T03:59:59", 0, "2026-03-09"),
        ("2026-03-10T04:00:00", 0, "2026-03-10"),
        ("2026-04-05T01:30:00", 0, "2026-04-04"),
        ("2026-04-05T02:30:00", 0, "2026-04-04"),
        ("2026-04-05T02:30:00", 1, "2026-04-04"),
        ("2026-04-05T03:59:59", 0, "2026-04-04"),
        ("2026-04-05T04:00:00", 0, "2026-04-05"),
        ("2026-10-04T01:59:59", 0, "2026-10-03"),
        ("2026-10-04T03:00:00", 0, "2026-10-03"),
        ("2026-10-04T03:59:59", 0, "2026-10-03"),
        ("2026-10-04T04:00:00", 0, "2026-10-04"),
    ],
)
def test_a_business_day_starts_at_four_by_the_cafe_s_own_clock_also_when_clocks_change(
    local: str, fold: int, day: str
) -> None:
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Australia/Sydney"), fold=fold).astimezone(UTC)
    assert business_day(moment, "Australia/Sydney") == date.fromisoformat(day)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.integers(1, 86_400),
    st.sampled_from(["Australia/Sydney", "America/St_Johns", "Europe/London", "Australia/Lord_Howe", "UTC"]),
)
def test_business_days_never_go_back(moment: datetime, seconds: int, timezone: str) -> None:
    then = business_day(moment + timedelta(seconds=seconds), timezone)
    assert timedelta(0) <= then - business_day(moment, timezone) <= timedelta(days=2)


def test_a_cafe_that_moves_west_goes_on_with_the_numbers_of_the_day_it_is_in_again() -> None:
    world = World()
    world.now = NOON - timedelta(hours=24)
    world.place()
    world.now = NOON
    world.place()
    world.do(world.cafe_ref, Configure(replace(SETTINGS, timezone="America/Los_Angeles")))
    assert world.order(world.place()).placed.number == 2


# -- 86


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (SetAvailability("toast", available=True, until=NOON + timedelta(hours=1)), "available"),
        (SetAvailability("toast", available=True, remaining=0), "remaining"),
        (SetAvailability("toast", available=True, remaining=-1), "remaining"),
        (SetAvailability("toast", available=False, until=NOON), "until"),
    ],
)
def test_what_cannot_be_said_of_an_item_is_refused(command: SetAvailability, field: str) -> None:
    world = World()
    assert refused(world.ask(world.cafe_ref, command)) == [field]


def test_an_item_that_is_not_on_the_menu_is_not_found() -> None:
    world = World()
    refused(world.ask(world.cafe_ref, SetAvailability("tea", available=False)), Code.NOT_FOUND)


def test_saying_what_is_already_so_changes_nothing() -> None:
    world = World()
    for command in (
        SetAvailability("toast", available=True),
        SetAvailability("toast", available=False),
        SetAvailability("toast", available=False, until=NOON + timedelta(hours=1)),
        SetAvailability("toast", available=True, remaining=5),
        SetAvailability("toast", available=True),
    ):
        world.do(world.cafe_ref, command)
        assert world.do(world.cafe_ref, command) == Decision()
    assert world.cafe.sold_out == {}


def test_the_cafe_wakes_for_the_next_item_that_comes_back_and_for_nothing_twice() -> None:
    world = World()
    first, second = world.now + timedelta(minutes=5), world.now + timedelta(minutes=9)
    world.do(world.cafe_ref, SetAvailability("toast", available=False, until=second))
    world.do(world.cafe_ref, SetAvailability("banana", available=False, until=first))
    world.do(world.cafe_ref, SetAvailability("water", available=False))
    assert cafes.wake_at(world.cafe) == first
    assert world.do(world.cafe_ref, Wake()) == Decision()
    world.now = first
    assert world.do(world.cafe_ref, Wake()).events == (e.ItemAvailabilityChanged("banana", available=True),)
    assert world.do(world.cafe_ref, Wake()) == Decision()
    assert cafes.wake_at(world.cafe) == second
    world.now = second
    world.do(world.cafe_ref, Wake())
    assert cafes.wake_at(world.cafe) is None
    assert set(world.cafe.sold_out) == {"water"}


def test_a_new_menu_forgets_what_was_sold_out_of_the_old_one() -> None:
    world = World()
    for sku in ("toast", "banana"):
        world.do(world.cafe_ref, SetAvailability(sku, available=False))
    world.do(world.cafe_ref, PublishMenu(replace(MENU, items=MENU.items[1:2])))
    assert set(world.cafe.sold_out) == {"toast"}
    refused(place(world, BANANA))


def test_publishing_and_configuring_what_is_already_so_changes_nothing() -> None:
    world = World()
    assert world.do(world.cafe_ref, PublishMenu(MENU)) == Decision()
    assert world.do(world.cafe_ref, Configure(SETTINGS)) == Decision()


# -- opening and settings


@pytest.mark.parametrize("slug", [*sorted(cafes.RESERVED_SLUGS), "", "A", "a/b", "a b", "-a", "x" * 65, "cafe\n"])
def test_a_slug_that_would_hide_a_door_or_break_a_path_is_refused(slug: str) -> None:
    assert refused(cafes.open_cafe(OpenCafe(slug, SETTINGS, MENU))) == ["slug"]


@pytest.mark.parametrize("word", ["api", "ws", "health", "metrics", "internal", "v1", "graphql", "info", "admin"])
def test_the_words_of_the_specification_s_paths_are_reserved(word: str) -> None:
    assert word in cafes.RESERVED_SLUGS


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (replace(SETTINGS, timezone="Mars/Olympus"), "settings.timezone"),
        (replace(SETTINGS, timezone=""), "settings.timezone"),
        (replace(SETTINGS, timezone="../etc/passwd"), "settings.timezone"),
        (replace(SETTINGS, timezone="Australia"), "settings.timezone"),
        (replace(SETTINGS, timezone="a\0b"), "settings.timezone"),
        (replace(SETTINGS, tables=("1", "2", "1")), "settings.tables"),
        (replace(SETTINGS, ageing=Ageing(table=(600, 600))), "settings.ageing.table"),
        (replace(SETTINGS, ageing=Ageing(online=(700, 600))), "settings.ageing.online"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_opening_and_when_configuring(
    settings: CafeSettings, field: str
) -> None:
    assert refused(cafes.open_cafe(OpenCafe("corner", settings, MENU))) == [field]
    world = World()
    assert refused(world.ask(world.cafe_ref, Configure(settings))) == [field]


def test_menu_and_settings_are_in_one_currency_for_ever() -> None:
    euros = replace(MENU, currency="EUR")
    assert refused(cafes.open_cafe(OpenCafe("corner", SETTINGS, euros))) == ["menu.currency"]
    world = World()
    assert refused(world.ask(world.cafe_ref, PublishMenu(euros))) == ["currency"]
    assert refused(world.ask(world.cafe_ref, Configure(replace(SETTINGS, currency="EUR")))) == ["settings.currency"]


def test_a_menu_with_faults_is_not_published() -> None:
    world = World()
    assert refused(world.ask(world.cafe_ref, PublishMenu(replace(MENU, stations=("bar",)))))[0] == "items.1.station"


@pytest.mark.parametrize(
    "bank",
    [
        {"accountName": "C", "bsb": "062000", "accountNumber": "1"},
        {"accountName": "C", "bsb": "062-000\n", "accountNumber": "1"},
        {"accountName": "C", "bsb": "\u0660\u0666\u0662-000", "accountNumber": "1"},
        {"accountName": "C", "bsb": "062-000", "accountNumber": "1234567890"},
        {"accountName": "C", "bsb": "062-000", "accountNumber": "1\n"},
        {"accountName": "", "bsb": "062-000", "accountNumber": "1"},
    ],
)
def test_bank_details_that_no_bank_would_take_are_not_read(bank: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bank, BankDetails)


def test_a_drawer_is_opened_with_a_float_that_is_not_less_than_nothing() -> None:
    world = World()
    assert refused(world.ask(world.cafe_ref, OpenDrawer("till", -1))) == ["floatAmount"]
    drawer = world.do(world.cafe_ref, OpenDrawer("till", 100_00)).births[0].ref
    assert drawer.cafe_id == world.cafe.id
    assert world.balances["cash"] == 100_00


def test_the_queue_s_news_is_written_as_it_is() -> None:
    world = World()
    news = e.QueueMoved(load=5, active=1, places=())
    assert world.do(world.cafe_ref, MoveQueue(news)).events == (news,)


# -- snapshots and restarts


def busy() -> World:
    world = World(replace(SETTINGS, throttle=Throttle(items_per_slot=50)))
    world.do(world.cafe_ref, SetAvailability("toast", available=True, remaining=7))
    world.do(world.cafe_ref, SetAvailability("banana", available=False, until=world.now + timedelta(hours=1)))
    world.do(world.cafe_ref, SetAvailability("water", available=False))
    world.place(Wish("toast", 3), scheduled_for=world.now + timedelta(days=2))
    world.later(hours=20)
    world.place(FLAT_WHITE)
    return world


def test_a_snapshot_laid_over_the_events_it_rests_on_is_the_same_cafe() -> None:
    world = busy()
    kept = msgspec.json.decode(msgspec.json.encode(cafes.snapshot(world.cafe)), type=cafes.Snapshot)
    bare = cafes.born(world.cafe.id, e.CafeOpened("corner", world.cafe.settings, MENU))
    assert comparable(cafes.restore(bare, kept)) == comparable(world.cafe)


def test_a_restart_in_the_middle_is_not_noticed() -> None:
    world, other = busy(), busy()
    other.restart()
    for each in (world, other):
        each.place(Wish("toast", 4))
        refused(place(each, TOAST), Code.ITEM_UNAVAILABLE)
    assert comparable(world.cafe) == comparable(other.cafe)
    assert world.log == other.log


def test_a_cafe_forgets_old_days_and_old_slots_and_keeps_counting() -> None:
    world = World()
    for quarter in range(0, 1_000, 3):
        world.now = NOON + timedelta(minutes=15 * quarter)
        world.place(WATER)
    assert len(world.cafe.numbers) == cafes.KEPT_DAYS
    world.now = NOON
    state = world.cafe
    for quarter in range(1_000):
        at = NOON + timedelta(minutes=15 * quarter)
        outcome = cafes.decide(state, PlaceOrder(channel=ONLINE, wishes=(WATER,)), Context(at, world.new_id, STAFF))
        assert isinstance(outcome, Decision)
        state = cafes.evolve(state, outcome.births[0].events[0])
    assert len(state.slots) == cafes.KEPT_SLOTS
    assert cafes.slot_of(NOON + timedelta(minutes=15 * 999)) in state.slots


def test_a_priced_line_keeps_its_price_when_the_menu_changes() -> None:
    world = World()
    order = world.place(TOAST)
    dearer = replace(MENU, items=tuple(replace(item, price=item.price + 100) for item in MENU.items))
    world.do(world.cafe_ref, PublishMenu(dearer))
    assert world.order(order).total == 901
    assert world.order(world.place(TOAST)).total == 1001
