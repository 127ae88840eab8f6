"""Every movement of money is a balanced posting; worked examples in cents, written by hand (spec M1)."""

from collections.abc import Callable
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import ledger
from tabletap.domain.base import Decision, Event, OrderId, PaymentId, Wake
from tabletap.domain.cafe import OpenDrawer
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.ledger import Entry, postings
from tabletap.domain.messages import TakeCash
from tabletap.domain.order import Change, MergeInto, MoveItem, MoveOrder
from tabletap.domain.payment import Refund, VerifyCash
from tabletap.domain.vocabulary import Method

from .world import BANANA, TOAST, World

CASH, TRANSFER = Method
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


def drawer(world: World) -> None:
    till = world.do(world.cafe_ref, OpenDrawer("till", 100_00)).births[0].ref
    world.do(till, drawers.Pay(-20_00, "milk"))
    world.do(till, drawers.Pay(50_00, "change"))
    payment = world.pay(world.place(TOAST), CASH)
    world.do(payment, VerifyCash(10_00, till.id))
    world.deliver_all()
    world.do(till, drawers.Count(138_95))


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
    unapplied_money: {"bank": 901, "unapplied": -901},
    unapplied_money_given_back: {},
    unapplied_money_given_back_too_early: {"bank": 301, "unapplied": -301},
    late_money: {"bank": 1501, "unapplied": -600, "sales": -819, "tax:gst": -82},
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
    refunded = e.PaymentRefunded(
        payment_id=payment_id,
        order_id=OLD,
        refund_id=UUID(int=3),
        method=method,
        amount=sale + tip + surplus + rounding,
        from_surplus=surplus,
        from_sale=sale,
        from_tip=tip,
        from_rounding=rounding,
        refunded=sale + tip + surplus + rounding,
        full=True,
    )
    for event in (completed, refunded):
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
