"""What a day took, counted (spec S5): orders = tenders + rounding + refunds + open, to the cent, on any day there is.

The days are whole lives of a cafe (``test_lives``: splits, cash with rounding, cards, credit, gift cards, tips, refunds
before and after the fact, cancellations, merges, points, providers that misbehave), in which the day is closed whenever
it pleases, over open orders and between a payment and its order. What reports say is compared with what orders say they
owe and with money as it was handed over, which know nothing of the ledger.
"""

import itertools
from collections import Counter
from datetime import timedelta

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tabletap.domain import account as accounts
from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import tips
from tabletap.domain.base import By, Kind, PaymentId, Ref, Role
from tabletap.domain.cafe import CloseDay
from tabletap.domain.daycount import DayCount
from tabletap.domain.order import MergeInto, MoveItem, MoveOrder
from tabletap.domain.payment import Refund
from tabletap.domain.settings import CafeSettings, ServiceCharge
from tabletap.domain.vocabulary import AccountKind, Channel, Method, RefundTo

from .days import counted, still_open
from .test_lives import Lives
from .world import BANANA, TOAST, World

MANAGER = By(Role.MANAGER, "mona", "office")


def close(world: World, *, force: bool = True) -> int:
    """Close the day; the offset of the closing."""
    open_ones = tuple(
        one.opened.name for one in world.states.values() if isinstance(one, drawers.Drawer) and one.closed is None
    )
    world.do(world.cafe_ref, CloseDay(open_ones, world.cafe.newest_drawer, force=force), MANAGER)
    return len(world.log)


def balanced(day: DayCount) -> DayCount:
    """The day, if its books are right, added up here once more."""
    one = day.identity
    assert one.carried_in + one.charged == one.orders
    assert one.orders == one.tenders + one.rounding + one.refunds + one.open, one
    assert one.difference == 0
    assert one.tenders == sum(tender.taken for tender in day.tenders)
    taken = day.takings
    parts = taken.cash_sales + taken.card_sales + taken.gift_card_sales + taken.online_sales + taken.other_sales
    assert parts == taken.total_sales - taken.discounts == one.orders - one.open
    assert taken.net_sales == taken.total_sales - taken.discounts - taken.refunds
    assert sum(day.by_channel.values()) == day.sales.gross + day.sales.moved - day.sales.voids
    return day


class Days(Lives):
    """``ends``: the offsets of the closings so far; ``opens``: what was open at each, by what orders say."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = [0]
        self.opens = [0]

    @rule(hours=st.integers(0, 9))
    def the_day_is_closed(self, hours: int) -> None:
        self.world.later(hours=hours)
        self.ends.append(close(self.world))
        self.opens.append(still_open(self.world))
        day = balanced(counted(self.world, self.ends[-2], self.ends[-1]))
        assert (day.identity.carried_in, day.identity.open) == tuple(self.opens[-2:])

    @rule(which=st.integers(0, 99))
    def tips_are_shared_out_and_paid_out(self, which: int) -> None:
        jar = tips.tip_jar(self.world.cafe.id)
        there = -self.world.balances["tips"]
        if there < 1:
            return
        known = self.world.states.get(jar)
        times = known.distributions if isinstance(known, tips.TipJar) else 0
        pool = tips.Pool(amount=1 + which % there, charged=0, offset=len(self.world.log), distributions=times)
        cafe, now = self.world.cafe, self.world.now
        share = tips.Distribute(
            cafe.id, "AUD", cafe.settings.tips, now - timedelta(1), now, pool, (tips.Worker("sam", "floor"),)
        )
        self.world.do(jar, share)
        self.world.do(jar, tips.PayOut("sam", 1, tips.Way.BANK))

    @invariant()
    def cash_and_bank_hold_what_came_less_what_went(self) -> None:
        """As in any life, but for tips that left the bank."""
        paid_out = sum(event.amount for event in self.world.events if isinstance(event, e.TipsPaidOut))
        balances = self.world.balances
        taken = sum(money for payment, money in self.received.items() if self.world.payment(payment).manual)
        held = balances["cash"] + balances["bank"] + paid_out
        assert held == taken - self.returned.total() + self.drawer_cash

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "world"):
            self.everything_was_counted_once()

    def everything_was_counted_once(self) -> None:
        """The days together are the whole time, and that is what was handed over."""
        world = self.world
        self.ends.append(close(world))
        whole = balanced(counted(world))
        days = [balanced(counted(world, *stretch)) for stretch in itertools.pairwise(self.ends)]
        for name in ("charged", "tenders", "rounding", "refunds"):
            assert sum(getattr(day.identity, name) for day in days) == getattr(whole.identity, name)
        for earlier, later in itertools.pairwise(days):
            assert later.identity.carried_in == earlier.identity.open
        numbers = [event.number for event in world.events if isinstance(event, e.DayClosed)]
        assert numbers == list(range(1, len(numbers) + 1))
        came: Counter[Method] = Counter()
        given: Counter[Method] = Counter()
        for payment, money in self.received.items():
            state = world.payment(payment)
            came[state.initiated.method] += money
            for refund in state.standing_refunds:
                to_credit = refund.to is RefundTo.CREDIT
                given[Method.CUSTOMER_CREDIT if to_credit else state.initiated.method] += refund.amount
        shown = {tender.method: tender for tender in whole.tenders}
        for method in Method:
            tender = shown.get(method)
            assert (tender.received if tender else 0) == came[method]
            assert (tender.refunded if tender else 0) == given[method]
        assert whole.identity.open == sum(order.unsettled for order in world.orders) == still_open(world)


TestDays = Days.TestCase
TestDays.settings = hypothesis.settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # as in test_lives
)


# -- what day closes are known to get wrong


def test_an_open_order_is_in_the_day_it_was_placed_and_carried_into_the_day_it_is_paid() -> None:
    world = World()
    order = world.place()
    evening = close(world)
    world.paid(order)
    first, second = balanced(counted(world, 0, evening)), balanced(counted(world, evening))
    assert (first.identity.charged, first.identity.open, first.tenders) == (901, 901, ())
    assert (second.identity.carried_in, second.identity.charged, second.identity.open) == (901, 0, 0)
    assert (second.identity.tenders, second.identity.rounding) == (900, 1)


def test_money_that_its_order_has_not_noted_yet_is_counted_once_and_no_order_is_open_for_it() -> None:
    world = World()
    payment = world.pay(world.place(), Method.QR_CODE_BANK_TRANSFER)
    world.take(payment)
    evening = close(world)
    world.deliver_all()
    first, second = balanced(counted(world, 0, evening)), balanced(counted(world, evening))
    assert (first.identity.tenders, first.identity.open) == (901, 0)
    assert (second.identity.orders, second.identity.tenders) == (0, 0)


def test_cash_rounding_stands_on_a_line_of_its_own_up_or_down() -> None:
    world = World()
    world.paid(world.place(TOAST))  # 9.01 -> 9.00
    world.paid(world.place(BANANA))  # 1.53 -> 1.55
    day = balanced(counted(world))
    (cash,) = day.tenders
    assert (cash.received, cash.payments, day.identity.rounding) == (1_055, 2, -1)
    assert day.takings.cash_sales == 1_054


def test_only_the_last_cash_of_a_split_is_rounded() -> None:
    world = World()
    order = world.place()
    world.paid(order, Method.CASH, 502)
    world.paid(order, Method.PAYCONIC_CARD, 100)
    world.paid(order)  # 2.99 -> 3.00
    day = balanced(counted(world))
    assert {one.method: one.taken for one in day.tenders} == {Method.CASH: 802, Method.PAYCONIC_CARD: 100}
    assert day.identity.rounding == -1


def test_a_tip_that_comes_after_its_order_and_one_that_goes_back_are_no_sales() -> None:
    world = World()
    order = world.place()
    world.paid(order, Method.PAYCONIC_CARD, 900)
    evening = close(world)
    late = world.paid(order, Method.PAYCONIC_CARD, 1, tip=300)
    night = close(world)
    world.do(late, Refund(None))
    world.deliver_all()
    days = [balanced(counted(world, *stretch)) for stretch in ((0, evening), (evening, night), (night, len(world.log)))]
    assert [day.tips.received for day in days] == [0, 300, 0]
    assert [day.tips.refunded for day in days] == [0, 0, 300]
    assert [day.identity.tenders for day in days] == [900, 1, -1]
    assert [day.identity.refunds for day in days] == [0, 0, 1]
    assert [day.tips.undistributed for day in days] == [0, 300, 0]


def test_an_opening_float_and_what_is_paid_in_or_out_are_no_sales() -> None:
    world = World()
    drawer = world.do(world.cafe_ref, cafes.OpenDrawer("till", 20_000)).births[0].ref
    world.do(drawer, drawers.Pay(-500, "milk"))
    world.do(drawer, drawers.Count(19_000))
    day = balanced(counted(world))
    assert (day.identity.orders, day.identity.tenders, day.tenders) == (0, 0, ())


def test_what_was_paid_and_is_given_back_and_cancelled_later_is_a_refund_of_that_later_day() -> None:
    world = World()
    order = world.place()
    paid = world.paid(order, Method.PAYCONIC_CARD)
    evening = close(world)
    world.do(paid, Refund(None))
    world.deliver_all()
    world.do(order, MoveOrder("cancel"))
    second = balanced(counted(world, evening))
    assert (second.sales.voids, second.sales.refunds, second.sales.net) == (0, 901, -901)
    assert (second.identity.tenders, second.identity.open) == (-901, 0)
    assert balanced(counted(world)).sales.net == 0


def test_what_is_voided_before_it_is_paid_is_nobody_s_refund() -> None:
    world = World()
    world.do(world.place(TOAST, BANANA), MoveItem(line=2, move="void"))
    world.do(world.place(), MoveOrder("cancel"))
    day = balanced(counted(world))
    assert (day.sales.gross, day.sales.voids, day.sales.refunds, day.identity.open) == (1_955, 1_054, 0, 901)
    assert (day.placed, day.cancelled, day.takings.total_orders) == (2, 1, 1)


def test_a_merged_order_is_billed_once_also_when_the_day_ends_on_its_way() -> None:
    world = World()
    first, second = world.place(), world.place(BANANA)
    world.do(first, MergeInto(second.id))  # type: ignore[arg-type]
    evening = close(world)
    world.deliver_all()
    days = [balanced(counted(world, 0, evening)), balanced(counted(world, evening))]
    assert [(day.sales.gross, day.sales.moved, day.sales.voids) for day in days] == [(1_054, -901, 0), (0, 901, 0)]
    assert days[1].identity.open == balanced(counted(world)).sales.gross == 1_054


def test_a_gift_card_is_a_liability_when_it_is_sold_and_money_when_it_pays() -> None:
    world = World()
    card = Ref(Kind.ACCOUNT, world.new_id(), world.cafe.id)
    world.paid(world.place(gift_cards=(cafes.GiftWish(5_000, card, card.id, "RC3R"),)), Method.PAYCONIC_CARD)
    world.account = card
    used = world.paid(world.place(BANANA), Method.GIFT_CARD)
    holding = accounts.Holding(card, AccountKind.GIFT_CARD, "AUD")
    world.do(card, accounts.Spend(holding, PaymentId(used.id), 153))
    world.do(card, accounts.Use(holding, world.new_id(), 1_000))
    day = balanced(counted(world))
    assert (day.sales.gross, day.sales.gift_cards, day.sales.net) == (6_054, 5_000, 1_054)
    assert (day.takings.gift_card_sales, day.takings.card_sales) == (153, 5_901)
    cards = day.gift_cards
    assert (cards.sold, cards.used_here, cards.used_at_tills, cards.outstanding) == (5_000, 153, 1_000, 3_847)
    assert (cards.granted, cards.expired, cards.taken_back) == (0, 0, 0)


def test_money_is_online_or_of_the_counter_and_each_cent_is_in_one_place() -> None:
    world = World()
    for channel, method in (
        (Channel.ONLINE, Method.PAYCONIC_CARD),
        (Channel.TABLE, Method.QR_CODE_BANK_TRANSFER),
        (Channel.ONLINE, Method.CASH),
        (Channel.COUNTER, Method.STRIPE_CARD),
        (Channel.COUNTER, Method.QR_CODE_BANK_TRANSFER),
    ):
        world.paid(world.place(channel=channel, table="1" if channel is Channel.TABLE else None), method)
    taken = balanced(counted(world)).takings
    parts = (taken.online_sales, taken.cash_sales, taken.card_sales, taken.other_sales)
    assert parts == (1_802, 901, 901, 901)
    assert (taken.total_sales, taken.net_sales, taken.total_orders) == (4_505, 4_505, 5)


def test_tax_and_service_charge_are_told_apart_from_sales() -> None:
    settings = CafeSettings(name="Corner", service_charge=ServiceCharge(rate=1_000, tax_class="gst"))
    world = World(settings)
    world.place(TOAST, BANANA)
    sales = balanced(counted(world)).sales
    assert (sales.gross, sales.service_charge) == (1_054 + 105, 95)
    assert sales.tax == {"gst": 82 + 10}
