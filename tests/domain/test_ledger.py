"""Every movement of money is a balanced posting; worked examples in cents, written by hand (spec M1)."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import account as accounts
from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import ledger, tips
from tabletap.domain.base import Decision, Event, Kind, OrderId, PaymentId, Ref, Wake
from tabletap.domain.cafe import Configure, GiftWish, OpenDrawer
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.ledger import Entry, postings
from tabletap.domain.messages import TakeCash
from tabletap.domain.order import Change, MergeInto, MoveItem, MoveOrder
from tabletap.domain.payment import HearCharge, HearDispute, HearRefund, Refund, VerifyCash, VerifyTransfer
from tabletap.domain.settings import LoyaltyRules
from tabletap.domain.vocabulary import AccountKind, ChargeState, Method, RefundState, RefundTo

from .world import BANANA, NOON, SETTINGS, TOAST, World

CASH, TRANSFER = Method.CASH, Method.QR_CODE_BANK_TRANSFER
OLD = OrderId(UUID(int=1))


def sale_with_tax(world: World) -> None:
    world.place(TOAST, BANANA)


def cash_with_rounding_and_tip(world: World) -> None:
    world.paid(world.place(TOAST, BANANA), CASH, tip=99)


def cash_in_flight(world: World) -> None:
    world.take(world.pay(world.place(TOAST, BANANA), CASH))


def void(world: World) -> None:
    world.do(world.place(TOAST, BANANA), MoveItem(1, "void"))


def void_after_a_refund(world: World) -> None:
    order = world.place(TOAST, BANANA)
    world.do(world.paid(order, TRANSFER), Refund(901))
    world.deliver_all()
    world.do(order, MoveItem(1, "void"))


def void_with_money_in_flight(world: World) -> None:
    order = world.place(TOAST, BANANA)
    world.pay(order, TRANSFER, 153)
    world.do(order, MoveItem(1, "void"))


def cancel(world: World) -> None:
    world.do(world.place(TOAST, BANANA), MoveOrder("cancel"))


def cancel_after_a_full_refund(world: World) -> None:
    order = world.place(TOAST, BANANA)
    world.do(world.paid(order, TRANSFER, 500), Refund())
    world.deliver_all()
    world.do(order, MoveOrder("cancel"))


def change(world: World) -> None:
    order = world.place(TOAST)
    world.do(order, Change(add=world.priced(BANANA), remove=(1,)))


def merge(world: World) -> None:
    one, two = world.place(TOAST), world.place(BANANA)
    world.do(one, MergeInto(OrderId(two.id)))
    world.deliver_all()


def merge_undone(world: World) -> None:
    one, two = world.place(TOAST), world.place(BANANA)
    world.do(one, MergeInto(OrderId(two.id)))
    world.do(two, MoveOrder("cancel"))
    world.deliver_all()


def transfer_over(world: World) -> None:
    world.take(world.pay(world.place(TOAST), TRANSFER, tip=50), 1000)
    world.deliver_all()


def transfer_under(world: World) -> None:
    world.take(world.pay(world.place(TOAST), TRANSFER, tip=50), 900)
    world.deliver_all()


def refund_of_surplus(world: World) -> None:
    transfer_over(world)
    world.do(world.payments[0].ref, Refund(49))


def refund_of_surplus_and_sale(world: World) -> None:
    transfer_over(world)
    world.do(world.payments[0].ref, Refund(149))


def refund_of_everything(world: World) -> None:
    transfer_over(world)
    world.do(world.payments[0].ref, Refund())


def refund_of_rounded_cash(world: World) -> None:
    cash_with_rounding_and_tip(world)
    world.do(world.payments[0].ref, Refund())


def unapplied_money(world: World) -> None:
    order = world.place(TOAST)
    payment = world.pay(order, TRANSFER)
    world.do(order, MoveOrder("cancel"))
    world.take(payment)
    world.deliver_all()


def unapplied_money_given_back(world: World) -> None:
    unapplied_money(world)
    world.do(world.payments[0].ref, Refund())


def unapplied_money_given_back_too_early(world: World) -> None:
    order = world.place(TOAST)
    payment = world.pay(order, TRANSFER)
    world.do(order, MoveOrder("cancel"))
    world.take(payment)
    world.do(payment, Refund(600))
    world.deliver_all()


def late_money(world: World) -> None:
    order = world.place(TOAST)
    late = world.pay(order, TRANSFER)
    world.later(minutes=15)
    world.do(late, Wake())
    world.deliver_all()
    world.paid(order, TRANSFER, 600)
    world.take(late)
    world.deliver_all()


def card_with_fee(world: World) -> None:
    payment = world.pay(world.place(TOAST), Method.PAYCONIC_CARD)
    world.do(payment, HearCharge(Standing(state=ChargeState.SUCCEEDED, amount=901, fee=26)))
    world.deliver_all()


def card_refund_promised(world: World) -> None:
    card_with_fee(world)
    world.ask(world.payments[0].ref, Refund(400))


def card_refund_failed(world: World) -> None:
    card_refund_promised(world)
    refund_id = next(iter(world.payments[0].refunds))
    world.do(world.payments[0].ref, HearRefund(refund_id, RefundStanding(state=RefundState.FAILED)))


def chargeback(world: World) -> None:
    card_with_fee(world)
    world.do(world.payments[0].ref, HearDispute(Dispute(dispute_id="d", amount=901, fee=2500)))


def chargeback_won(world: World) -> None:
    chargeback(world)
    world.do(world.payments[0].ref, HearDispute(Dispute(dispute_id="d", amount=901, won=True)))


def transferred_twice(world: World) -> None:
    payment = world.pay(world.place(TOAST), TRANSFER)
    world.do(payment, VerifyTransfer(901, "line 1"))
    world.do(payment, VerifyTransfer(901, "line 2"))
    world.deliver_all()


def drawer(world: World) -> None:
    till = world.do(world.cafe_ref, OpenDrawer("till", 100_00)).births[0].ref
    world.do(till, drawers.Pay(-20_00, "milk"))
    world.do(till, drawers.Pay(50_00, "change"))
    payment = world.pay(world.place(TOAST), CASH)
    world.do(payment, VerifyCash(10_00, till.id))
    world.deliver_all()
    world.do(till, drawers.Count(138_95))


def held(world: World, kind: AccountKind) -> tuple[Ref, accounts.Holding]:
    """An account of the cafe's, under a number that can be written down."""
    ref = Ref(Kind.ACCOUNT, UUID(int=7), world.cafe.id)
    return ref, accounts.Holding(ref, kind, "AUD", "ann")


def credit(world: World) -> None:
    ref, holding = held(world, AccountKind.CREDIT)
    world.do(ref, accounts.Grant(holding, world.new_id(), 1000))
    world.do(ref, accounts.Withdraw(holding, world.new_id(), 100))


def credit_spent(world: World) -> None:
    ref, holding = held(world, AccountKind.CREDIT)
    world.do(ref, accounts.Grant(holding, world.new_id(), 1000))
    world.account = ref
    payment = world.paid(world.place(TOAST), Method.CUSTOMER_CREDIT)
    world.do(ref, accounts.Spend(holding, PaymentId(payment.id), 901))


def credit_refunded(world: World) -> None:
    ref, holding = held(world, AccountKind.CREDIT)
    payment = world.paid(world.place(TOAST), TRANSFER)
    world.do(ref, accounts.Deposit(holding, world.new_id(), 901, PaymentId(payment.id), elsewhere=True))


def gift_card_loaded_and_spent(world: World) -> None:
    ref, holding = held(world, AccountKind.GIFT_CARD)
    world.do(ref, accounts.Grant(holding, world.new_id(), 1000))
    world.do(ref, accounts.Spend(holding, PaymentId(UUID(int=2)), 901))
    world.do(ref, accounts.BarSpending(holding, PaymentId(UUID(int=3)), accounts.Bar.GIVEN_UP))


PHONE = "0412 345 678"
LOYAL = msgspec.structs.replace(SETTINGS, loyalty=LoyaltyRules(points_per_unit=2, cents_per_point=5))


def gift(world: World, value: int, number: int = 7) -> GiftWish:
    return GiftWish(value, Ref(Kind.ACCOUNT, UUID(int=number), world.cafe.id), UUID(int=number), "RC3R")


def gift_card_ordered(world: World) -> None:
    world.place(TOAST, gift_cards=(gift(world, 5000),))


def gift_card_ordered_and_cancelled(world: World) -> None:
    gift_card_ordered(world)
    world.do(world.orders[0].ref, MoveOrder("cancel"))


def gift_card_bought(world: World) -> None:
    gift_card_ordered(world)
    world.paid(world.orders[0].ref, TRANSFER)


def gift_card_used_at_a_till(world: World) -> None:
    gift_card_bought(world)
    ref, holding = held(world, AccountKind.GIFT_CARD)
    used = world.new_id()
    world.do(ref, accounts.Use(holding, used, 1000))
    world.do(ref, accounts.Return(holding, world.new_id(), 300, used))


def gift_card_expired(world: World) -> None:
    gift_card_used_at_a_till(world)
    world.later(days=1_097)
    world.do(held(world, AccountKind.GIFT_CARD)[0], Wake())


def gift_card_refunded(world: World) -> None:
    gift_card_used_at_a_till(world)
    world.do(world.payments[0].ref, Refund())
    world.deliver_all()


def points_redeemed(world: World) -> None:
    world.do(world.cafe_ref, Configure(LOYAL))
    order = world.place(TOAST, BANANA)
    holding = accounts.points_of(world.cafe.id, "+61412345678")
    world.do(holding.ref, accounts.Grant(holding, world.new_id(), 30))
    world.do(holding.ref, accounts.Use(holding, world.new_id(), 20, discount=accounts.Discount(order, 100)))
    world.deliver_all()


def points_returned(world: World) -> None:
    points_redeemed(world)
    world.do(world.orders[0].ref, MoveOrder("cancel"))
    world.deliver_all()


def points_earned(world: World) -> None:
    world.do(world.cafe_ref, Configure(LOYAL))
    world.paid(world.place(TOAST, customer=e.Customer(phone=PHONE)), TRANSFER)


def points_taken_back(world: World) -> None:
    points_earned(world)
    world.do(world.payments[0].ref, Refund(500))
    world.deliver_all()


def loyalty_of(number: str) -> str:
    return f"loyalty:{accounts.points_of(World().cafe.id, number).ref.id}"


ANNS_POINTS = loyalty_of("+61412345678")


def tips_shared_out(world: World) -> None:
    world.paid(world.place(TOAST), TRANSFER, tip=75_00)
    jar = tips.tip_jar(world.cafe.id)
    staff = tuple(tips.Worker(user, "floor") for user in ("sam", "kim"))
    settings, pool = world.cafe.settings.tips, tips.Pool(amount=75_00, charged=0, offset=9, distributions=0)
    since, until = world.now - timedelta(hours=1), world.now + timedelta(hours=1)
    world.do(jar, tips.Distribute(world.cafe.id, "AUD", settings, since, until, pool, staff))
    world.do(jar, tips.PayOut("sam", 30_00, tips.Way.BANK))
    world.do(jar, tips.PayOut("kim", 37_50, tips.Way.CASH))


EXAMPLES: dict[Callable[[World], None], dict[str, int]] = {
    sale_with_tax: {"receivable": 1054, "sales": -972, "tax:gst": -82},
    cash_with_rounding_and_tip: {"cash": 1155, "tips": -99, "rounding": -2, "sales": -972, "tax:gst": -82},
    cash_in_flight: {
        "cash": 1055,
        "clearing": -1054,
        "rounding": -1,
        "receivable": 1054,
        "sales": -972,
        "tax:gst": -82,
    },
    void: {"receivable": 153, "sales": -153},
    void_after_a_refund: {"bank": 153, "sales": -153},
    void_with_money_in_flight: {"receivable": 153, "sales": -153},
    cancel: {},
    cancel_after_a_full_refund: {},
    change: {"receivable": 153, "sales": -153},
    merge: {"receivable": 1054, "sales": -972, "tax:gst": -82},
    merge_undone: {"receivable": 901, "sales": -819, "tax:gst": -82},
    transfer_over: {"bank": 1000, "tips": -50, "unapplied": -49, "sales": -819, "tax:gst": -82},
    transfer_under: {"bank": 900, "receivable": 1, "sales": -819, "tax:gst": -82},
    refund_of_surplus: {"bank": 951, "tips": -50, "sales": -819, "tax:gst": -82},
    refund_of_surplus_and_sale: {"bank": 851, "tips": -50, "refunds": 100, "sales": -819, "tax:gst": -82},
    refund_of_everything: {"refunds": 901, "sales": -819, "tax:gst": -82},
    refund_of_rounded_cash: {"refunds": 1054, "sales": -972, "tax:gst": -82},
    credit: {"credit_granted": 900, f"credit:{UUID(int=7)}": -900},
    credit_spent: {
        "credit_granted": 1000,
        f"credit:{UUID(int=7)}": -99,
        "sales": -819,
        "tax:gst": -82,
    },
    credit_refunded: {
        "bank": 901,
        "credit_transit": 901,
        f"credit:{UUID(int=7)}": -901,
        "sales": -819,
        "tax:gst": -82,
    },
    gift_card_loaded_and_spent: {"credit_granted": 1000, "gift_transit": -901, f"gift:{UUID(int=7)}": -99},
    gift_card_ordered: {"receivable": 5901, "gift_sold": -5000, "sales": -819, "tax:gst": -82},
    gift_card_ordered_and_cancelled: {},
    gift_card_bought: {"bank": 5901, f"gift:{UUID(int=7)}": -5000, "sales": -819, "tax:gst": -82},
    gift_card_used_at_a_till: {
        "bank": 5901,
        f"gift:{UUID(int=7)}": -4300,
        "gift_redeemed": -700,
        "sales": -819,
        "tax:gst": -82,
    },
    gift_card_expired: {"bank": 5901, "breakage": -4300, "gift_redeemed": -700, "sales": -819, "tax:gst": -82},
    gift_card_refunded: {"refunds": 5901 - 4300, "gift_redeemed": -700, "sales": -819, "tax:gst": -82},
    # 100 off 1054: 85 of the toast (8 of its tax), 15 of the banana.
    points_redeemed: {
        "receivable": 954,
        "discounts": 92,
        "sales": -972,
        "tax:gst": -74,
        ANNS_POINTS: -10,
        "points": 10,
    },
    points_returned: {ANNS_POINTS: -30, "points": 30},
    points_earned: {"bank": 901, "sales": -819, "tax:gst": -82, ANNS_POINTS: -18, "points": 18},
    points_taken_back: {"bank": 401, "refunds": 500, "sales": -819, "tax:gst": -82, ANNS_POINTS: -8, "points": 8},
    tips_shared_out: {
        "bank": 901 + 45_00,
        "cash": -37_50,
        "tips:sam": -7_50,
        "sales": -819,
        "tax:gst": -82,
    },
    unapplied_money: {"bank": 901, "unapplied": -901},
    unapplied_money_given_back: {},
    unapplied_money_given_back_too_early: {"bank": 301, "unapplied": -301},
    late_money: {"bank": 1501, "unapplied": -600, "sales": -819, "tax:gst": -82},
    card_with_fee: {"provider:payconic": 875, "fees": 26, "sales": -819, "tax:gst": -82},
    card_refund_promised: {
        "provider:payconic": 875,
        "fees": 26,
        "refunds": 400,
        "refunds_due": -400,
        "sales": -819,
        "tax:gst": -82,
    },
    card_refund_failed: {"provider:payconic": 875, "fees": 26, "sales": -819, "tax:gst": -82},
    chargeback: {
        "provider:payconic": -2526,
        "fees": 2526,
        "chargebacks": 901,
        "sales": -819,
        "tax:gst": -82,
    },
    chargeback_won: {"provider:payconic": -1625, "fees": 2526, "sales": -819, "tax:gst": -82},
    transferred_twice: {"bank": 1802, "unapplied": -901, "sales": -819, "tax:gst": -82},
    drawer: {
        "cash": 138_95,
        "drawer_float": -130_00,
        "drawer_difference": 5,
        "rounding": 1,
        "sales": -819,
        "tax:gst": -82,
    },
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_the_accounts_stand_where_a_bookkeeper_would_have_them(example: Callable[[World], None]) -> None:
    world = World()
    example(world)
    assert {account: cents for account, cents in world.balances.items() if cents} == EXAMPLES[example]
    assert sum(world.balances.values()) == 0
    assert world.balances["receivable"] == sum(order.unsettled for order in world.orders)
    for event in world.events:
        entries = postings(event)
        assert sum(entry.amount for entry in entries) == 0
        assert len({entry.account for entry in entries}) == len(entries)
        assert all(entry.amount for entry in entries)


def test_the_examples_post_every_kind_of_event_that_moves_money() -> None:
    posted: set[type[Event]] = set()
    for example in EXAMPLES:
        world = World()
        example(world)
        posted |= {type(event) for event in world.events}
    assert set(ledger.POSTINGS) <= posted


def test_every_way_of_paying_lands_on_an_asset() -> None:
    assert set(ledger.TENDER) == set(Method)


@given(*[st.integers(0, 5000) for _ in range(4)], st.integers(-2, 2), st.sampled_from(Method))
def test_whatever_a_payment_is_made_of_it_balances(
    amount: int, tip: int, surplus: int, sale: int, rounding: int, method: Method
) -> None:
    payment_id = PaymentId(UUID(int=2))
    completed = e.PaymentCompleted(
        payment_id=payment_id,
        order_id=OLD,
        method=method,
        received=amount + tip + surplus + rounding,
        amount=amount,
        tip=tip,
        surplus=surplus,
        rounding=rounding,
    )
    requested = e.RefundRequested(
        payment_id=payment_id,
        order_id=OLD,
        refund_id=UUID(int=3),
        method=method,
        to=RefundTo.ORIGINAL,
        requested_at=NOON,
        amount=sale + tip + surplus + rounding,
        from_surplus=surplus,
        from_sale=sale,
        from_tip=tip,
        from_rounding=rounding,
    )
    parts = {"from_surplus": surplus, "from_sale": sale, "from_tip": tip, "from_rounding": rounding}
    failed = e.RefundFailed(
        payment_id=payment_id, order_id=OLD, refund_id=UUID(int=3), amount=requested.amount, **parts
    )
    disputed = e.PaymentDisputed(
        payment_id=payment_id, order_id=OLD, method=method, dispute_id="d", amount=amount, fee=tip
    )
    won = e.DisputeWon(payment_id=payment_id, order_id=OLD, method=method, dispute_id="d", amount=amount)
    more = e.MoreReceived(payment_id=payment_id, order_id=OLD, method=method, amount=sale, statement_line="7")
    given_back = [
        e.RefundCompleted(
            payment_id=payment_id,
            order_id=OLD,
            refund_id=UUID(int=3),
            method=method,
            to=to,
            amount=requested.amount,
            refunded=requested.amount,
            full=True,
        )
        for to in RefundTo
    ]
    for event in (completed, requested, failed, disputed, won, more, *given_back):
        assert sum(entry.amount for entry in postings(event)) == 0


def test_an_event_that_does_not_add_up_is_never_posted() -> None:
    wrong = e.PaymentCompleted(
        payment_id=PaymentId(UUID(int=2)), order_id=OLD, method=CASH, received=100, amount=99, tip=0
    )
    with pytest.raises(AssertionError, match=r"payment\.completed"):
        postings(wrong)


def test_entries_of_one_account_are_one_entry_and_events_without_money_have_none() -> None:
    world = World()
    world.place(TOAST, TOAST)
    placed = next(event for event in world.events if isinstance(event, e.OrderPlaced))
    assert set(postings(placed)) == {Entry("receivable", 1802), Entry("sales", -1638), Entry("tax:gst", -164)}
    assert postings(e.OrderAccepted(OLD)) == ()


# -- the drawer, whose count closes a session


def test_a_counted_drawer_takes_nothing_more_and_says_so() -> None:
    world = World()
    till = world.do(world.cafe_ref, OpenDrawer("till", 50_00)).births[0].ref
    assert isinstance(world.ask(till, drawers.Count(-1)), Refusal)
    for amount in (0, -50_01):
        assert isinstance(world.ask(till, drawers.Pay(amount, "milk")), Refusal)
    world.do(till, drawers.Count(49_00))
    assert world.do(till, drawers.Count(49_00)) == Decision()
    for command in (drawers.Count(50_00), drawers.Pay(1, "late")):
        outcome = world.ask(till, command)
        assert isinstance(outcome, Refusal)
        assert outcome.code is Code.DRAWER_CLOSED


def test_cash_goes_through_a_drawer_once() -> None:
    world = World()
    till = world.do(world.cafe_ref, OpenDrawer("till", 50_00)).births[0].ref
    took = TakeCash(PaymentId(UUID(int=2)), UUID(int=3), 9_00)
    world.do(till, took)
    assert world.do(till, took) == Decision()
    drawer_state = world.states[till]
    assert isinstance(drawer_state, drawers.Drawer)
    assert drawer_state.expected == 59_00
    assert drawers.view(drawer_state).cash_payments == 9_00
