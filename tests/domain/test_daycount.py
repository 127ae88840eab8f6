"""What a day took, counted (spec S5): orders = tenders + rounding + refunds + open, to the cent, on any day there is.

The days are whole lives of a cafe (``test_lives``: splits, cash with rounding, cards, credit, gift cards, tips, refunds
before and after the fact, cancellations, merges, points, providers that misbehave), in which the day is closed whenever
it pleases, over open orders and between a payment and its order. What reports say is compared with what orders say they
owe and with money as it was handed over, which know nothing of the ledger.
"""

from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import tips
from tabletap.domain.base import By, Decision, Role
from tabletap.domain.cafe import CloseDay
from tabletap.domain.daycount import DayCount
from tabletap.domain.errors import Code
from tabletap.domain.messages import Settle
from tabletap.domain.order import Change, MoveItem, MoveOrder
from tabletap.domain.payment import Refund
from tabletap.domain.vocabulary import Channel, Method, RefundTo

from .days import counted, still_open
from .test_lives import Lives
from .world import BANANA, STAFF, TOAST, World

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
        days = [balanced(counted(world, *stretch)) for stretch in zip(self.ends, self.ends[1:], strict=False)]
        for name in ("charged", "tenders", "rounding", "refunds"):
            assert sum(getattr(day.identity, name) for day in days) == getattr(whole.identity, name)
        for earlier, later in zip(days, days[1:], strict=False):
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
TestDays.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # as in test_lives
)
_ = (BANANA, STAFF, TOAST, Code, Settle, Change, MoveItem, MoveOrder, Refund, Channel, Decision, cafes)
