"""Gift cards and points, from the order that brings them to what they are used for (spec W3, W4)."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tabletap.domain import account as accounts
from tabletap.domain import events as e
from tabletap.domain import kitchen
from tabletap.domain.account import REVIVED_FOR, Discount, Grant, Holding, Return, Use, points_of
from tabletap.domain.base import Kind, OrderId, PaymentId, Ref, Wake
from tabletap.domain.cafe import CARDS_AT_MOST, Configure, GiftWish, PlaceOrder
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.order import Change, MergeInto, MoveItem, MoveOrder, view
from tabletap.domain.payment import Refund
from tabletap.domain.settings import CafeSettings, GiftCardRules, LoyaltyRules, ServiceCharge
from tabletap.domain.vocabulary import AccountKind, Cause, Channel, Method, OrderStatus, PaymentStatus

from .world import BANANA, SETTINGS, STAFF, TOAST, World

TRANSFER = Method.QR_CODE_BANK_TRANSFER
ANN = e.Customer(phone="0412 345 678")
NUMBER = "+61412345678"
LOYAL = LoyaltyRules(points_per_unit=2, cents_per_point=5)


def shop(**changed: Any) -> World:
    return World(msgspec.structs.replace(SETTINGS, **changed))


def gift(world: World, value: int, number: int = 7) -> GiftWish:
    return GiftWish(value, Ref(Kind.ACCOUNT, UUID(int=number), world.cafe.id), UUID(int=number), "RC3R")


def card(world: World, number: int = 7) -> Holding:
    """The card, as a door that knows its code names it."""
    return Holding(Ref(Kind.ACCOUNT, UUID(int=number), world.cafe.id), AccountKind.GIFT_CARD, "AUD")


def ordered(world: World, *values: int, **facts: Any) -> Ref:
    """An order of cards alone."""
    cards = tuple(gift(world, value, 7 + index) for index, value in enumerate(values))
    command = PlaceOrder(channel=Channel.ONLINE, wishes=(), gift_cards=cards, **facts)
    return world.do(world.cafe_ref, command).births[0].ref


def bought(world: World, *values: int) -> Ref:
    order = ordered(world, *values)
    world.paid(order, TRANSFER)
    return order


def state(world: World, holding: Holding) -> accounts.Account:
    found = world.states[holding.ref]
    assert isinstance(found, accounts.Account)
    return found


def points(world: World, number: str = NUMBER) -> int:
    found = world.states.get(points_of(world.cafe.id, number).ref)
    return found.balance if isinstance(found, accounts.Account) else 0


def refused(world: World, ref: Ref, command: Any) -> Code:
    outcome = world.ask(ref, command)
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


# -- buying cards


@pytest.mark.parametrize("method", Method)
def test_a_card_is_good_when_the_payment_of_its_order_completes_however_it_is_paid(method: Method) -> None:
    world = World()
    order = ordered(world, 5000)
    payment = world.pay(order, method)
    world.deliver_all()
    if method not in (Method.CUSTOMER_CREDIT, Method.GIFT_CARD):
        assert card(world).ref not in world.states
    if world.payment(payment).status in (PaymentStatus.PENDING, PaymentStatus.PROCESSING):
        world.take(payment)
    world.deliver_all()
    assert state(world, card(world)).balance == 5000
    assert world.order(order).status is OrderStatus.COMPLETED
    assert world.balances["gift_sold"] == 0
    assert world.balances[f"gift:{UUID(int=7)}"] == -5000


def test_a_card_that_is_paid_in_part_is_worth_nothing_yet() -> None:
    world = World()
    order = ordered(world, 5000)
    world.paid(order, TRANSFER, 4999)
    assert card(world).ref not in world.states
    world.paid(order, TRANSFER, 1)
    assert state(world, card(world)).balance == 5000


def test_a_card_is_loaded_once_however_often_its_message_comes() -> None:
    world = World()
    world.take(world.pay(ordered(world, 5000), TRANSFER))
    world.deliver(world.orders[0].ref, twice=True)
    world.deliver(card(world).ref, twice=True)
    world.deliver_all()
    assert state(world, card(world)).balance == 5000
    assert world.balances["gift_sold"] == 0


def test_cards_alone_are_no_work_for_the_kitchen() -> None:
    world = World()
    order = ordered(world, 5000, 700)
    world.paid(order, TRANSFER)
    assert not any(isinstance(event, e.OrderReleased) for event in world.events)
    board = kitchen.Board()
    for line in world.log:
        board.apply(msgspec.json.decode(line.event, type=e.AnyEvent), line.at)
    assert board.active == 0
    assert view(world.order(order)).status is OrderStatus.COMPLETED


def test_coffee_that_is_added_to_a_card_reaches_the_kitchen() -> None:
    world = World()
    order = ordered(world, 5000)
    assert not world.order(order).released
    world.do(order, Change(add=world.priced(TOAST)))
    assert world.order(order).released
    world.paid(order, TRANSFER)
    assert world.order(order).status is OrderStatus.PAID
    assert state(world, card(world)).balance == 5000


def test_a_card_beside_coffee_waits_for_nobody_and_hides_nothing_from_the_kitchen() -> None:
    world = World()
    order = world.place(TOAST, gift_cards=(gift(world, 5000),))
    assert world.order(order).released
    world.do(order, MoveItem(1, "start"))
    assert world.order(order).status is OrderStatus.PREPARING
    world.do(order, MoveItem(1, "bump"))
    assert world.order(order).status is OrderStatus.READY
    assert card(world).ref not in world.states
    world.paid(order, TRANSFER)
    assert state(world, card(world)).balance == 5000
    world.do(order, MoveOrder("complete"))


def test_when_all_but_the_card_is_voided_the_order_does_not_hang() -> None:
    world = World()
    order = world.place(TOAST, BANANA, gift_cards=(gift(world, 5000),))
    world.do(order, MoveItem(1, "start"))
    world.do(order, MoveItem(1, "void"))
    world.do(order, MoveItem(2, "void"))
    assert world.order(order).status is OrderStatus.READY
    world.paid(order, TRANSFER)
    world.do(order, MoveOrder("complete"))
    assert state(world, card(world)).balance == 5000


def test_a_card_is_neither_taxed_nor_charged_for_service_and_counts_for_no_throttle() -> None:
    world = shop(service_charge=ServiceCharge(rate=1_000, tax_class="gst"))
    before = world.cafe.slots
    order = world.order(ordered(world, 5000))
    assert (order.total, order.tax, order.service) == (5000, 0, 0)
    assert sum(slot.items + slot.value for slot in world.cafe.slots.values()) == sum(
        slot.items + slot.value for slot in before.values()
    )
    assert world.balances["sales"] == 0


def test_what_a_card_may_be_worth_is_the_cafes_rule() -> None:
    world = shop(gift_cards=GiftCardRules(min_value=1_000, max_value=2_000))

    def asked(*values: int) -> Any:
        cards = tuple(gift(world, value) for value in values)
        return world.ask(world.cafe_ref, PlaceOrder(channel=Channel.ONLINE, wishes=(), gift_cards=cards))

    for values, field in (((999,), "giftCards.0.value"), ((1_000, 2_001), "giftCards.1.value"), ((), "items")):
        outcome = asked(*values)
        assert isinstance(outcome, Refusal)
        assert [error.field for error in outcome.errors] == [field]
    assert isinstance(asked(*[1_000] * (CARDS_AT_MOST + 1)), Refusal)
    assert not isinstance(asked(1_000, 2_000), Refusal)
    sells_none = msgspec.structs.replace(SETTINGS, gift_cards=GiftCardRules(sold=False))
    world.do(world.cafe_ref, Configure(sells_none))
    assert isinstance(asked(1_000), Refusal)


@pytest.mark.parametrize(
    "wrong",
    [
        msgspec.structs.replace(SETTINGS, gift_cards=GiftCardRules(min_value=60_000)),
        msgspec.structs.replace(SETTINGS, currency="PTS"),
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: CafeSettings) -> None:
    world = World()
    assert refused(world, world.cafe_ref, Configure(wrong)) is Code.VALIDATION_ERROR


def test_an_order_whose_cards_were_sold_cannot_be_undone_but_refunded() -> None:
    world = World()
    order = world.place(TOAST, gift_cards=(gift(world, 5000),))
    other = world.place()
    assert refused(world, order, MergeInto(OrderId(other.id))) is Code.ILLEGAL_MOVE
    payment = world.paid(order, TRANSFER)
    world.do(payment, Refund())
    world.deliver_all()
    assert refused(world, order, MoveOrder("cancel")) is Code.ILLEGAL_MOVE
    assert state(world, card(world)).balance == 0
    assert refused(world, card(world).ref, Use(card(world), world.new_id(), 1)) is Code.INSUFFICIENT_FUNDS


def test_a_refund_in_part_leaves_the_card_to_its_owner_and_one_of_all_takes_what_is_left() -> None:
    world = World()
    order = bought(world, 5000)
    world.do(card(world).ref, Use(card(world), world.new_id(), 1_200))
    payment = world.payments[0].ref
    world.do(payment, Refund(100))
    world.deliver_all()
    assert state(world, card(world)).balance == 3_800
    world.do(payment, Refund())
    world.deliver_all()
    assert state(world, card(world)).balance == 0
    assert world.order(order).kept == 0
    assert world.balances["refunds"] == 5000 - 3_800


# -- using cards


def test_a_till_takes_and_puts_back_never_more_than_it_took() -> None:
    world = World()
    bought(world, 5000)
    one, used = card(world), world.new_id()
    world.do(one.ref, Use(one, used, 2_000, reference="R-7"))
    assert world.ask(one.ref, Use(one, used, 2_000)) == world.ask(one.ref, Use(one, used, 2_000))
    world.do(one.ref, Return(one, world.new_id(), 1_500, used))
    assert refused(world, one.ref, Return(one, world.new_id(), 501, used)) is Code.REFUND_EXCEEDS_ORIGINAL
    assert refused(world, one.ref, Return(one, world.new_id(), 1, world.new_id())) is Code.REFUND_EXCEEDS_ORIGINAL
    world.do(one.ref, Return(one, world.new_id(), 500, used))
    assert state(world, one).balance == 5_000
    assert world.balances["gift_redeemed"] == 0
    assert refused(world, one.ref, Use(one, world.new_id(), 5_001)) is Code.INSUFFICIENT_FUNDS
    loaded = next(iter(state(world, one).entries))
    assert refused(world, one.ref, Return(one, world.new_id(), 1, loaded)) is Code.REFUND_EXCEEDS_ORIGINAL


def test_a_card_expires_by_the_rule_it_was_sold_under() -> None:
    world = shop(gift_cards=GiftCardRules(valid_days=10))
    bought(world, 5000)
    world.do(world.cafe_ref, Configure(SETTINGS))
    one = card(world)
    world.later(days=10, seconds=-1)
    assert world.do(one.ref, Wake()).events == ()
    world.do(one.ref, Use(one, world.new_id(), 1))
    world.later(seconds=1)
    assert accounts.wake_at(state(world, one)) == world.now
    assert refused(world, one.ref, Use(one, world.new_id(), 1)) is Code.GIFT_CARD_EXPIRED
    assert refused(world, one.ref, accounts.Spend(one, PaymentId(world.new_id()), 1)) is Code.GIFT_CARD_EXPIRED
    assert refused(world, one.ref, Grant(one, world.new_id(), 1)) is Code.GIFT_CARD_EXPIRED
    world.do(one.ref, Wake())
    assert world.do(one.ref, Wake()).events == ()
    assert world.balances["breakage"] == -4_999
    assert state(world, one).balance == 0
    assert accounts.wake_at(state(world, one)) is None
    world.do(world.payments[0].ref, Refund())
    world.deliver_all()
    assert world.balances["breakage"] == -4_999


def test_what_is_refunded_to_a_card_that_has_expired_can_be_used_for_a_while() -> None:
    world = shop(gift_cards=GiftCardRules(valid_days=1))
    bought(world, 5000)
    one, payment = card(world), PaymentId(world.new_id())
    world.do(one.ref, accounts.Spend(one, payment, 5000))
    world.later(days=400)
    world.do(one.ref, accounts.Deposit(one, world.new_id(), 300, payment))
    assert accounts.wake_at(state(world, one)) == world.now + REVIVED_FOR
    world.do(one.ref, Use(one, world.new_id(), 100))
    world.now += REVIVED_FOR
    assert refused(world, one.ref, Use(one, world.new_id(), 100)) is Code.GIFT_CARD_EXPIRED
    world.do(one.ref, Wake())
    assert world.balances["breakage"] == -200


def test_a_card_without_a_term_never_expires() -> None:
    world = shop(gift_cards=GiftCardRules(valid_days=None))
    bought(world, 5000)
    assert accounts.wake_at(state(world, card(world))) is None
    world.later(days=36_500)
    world.do(card(world).ref, Use(card(world), world.new_id(), 5000))


# -- points


def test_points_are_earned_for_whole_units_when_the_order_is_paid_and_not_before() -> None:
    world = shop(loyalty=LOYAL)
    order = world.place(TOAST, BANANA, customer=ANN)
    world.paid(order, TRANSFER, 1_000, tip=500)
    assert points(world) == 0
    world.paid(order, TRANSFER)
    assert points(world) == 20  # 10.54 are 10 whole units
    assert view(world.order(order)).points == 20
    assert world.balances["points"] == 20


@pytest.mark.parametrize(
    ("rules", "customer"),
    [(LoyaltyRules(), ANN), (LOYAL, None), (LOYAL, e.Customer(name="Ann")), (LOYAL, e.Customer(phone="12"))],
)
def test_nobody_earns_without_a_rule_and_a_number(rules: LoyaltyRules, customer: e.Customer | None) -> None:
    world = shop(loyalty=rules)
    world.paid(world.place(TOAST, customer=customer), TRANSFER)
    assert world.balances["points"] == 0


def test_buying_a_card_earns_nothing_and_paying_with_one_does() -> None:
    world = shop(loyalty=LOYAL)
    world.paid(world.place(TOAST, customer=ANN, gift_cards=(gift(world, 5000),)), TRANSFER)
    assert points(world) == 18
    payment = world.pay(world.place(TOAST, customer=ANN), Method.GIFT_CARD)
    world.deliver_all()
    world.take(payment)
    world.deliver_all()
    assert points(world) == 36


def test_what_is_refunded_takes_its_points_along_as_far_as_there_are_any() -> None:
    world = shop(loyalty=LOYAL)
    order = world.place(TOAST, customer=ANN)
    payment = world.paid(order, TRANSFER)
    world.do(payment, Refund(1))
    world.deliver_all()
    assert points(world) == 18  # 9.00 are still 9 units
    world.do(payment, Refund(100))
    world.deliver_all()
    assert points(world) == 16
    holding = points_of(world.cafe.id, NUMBER)
    world.do(holding.ref, Use(holding, world.new_id(), 10))
    world.do(payment, Refund())
    world.deliver_all()
    assert points(world) == 0
    assert world.order(order).points == 0


def test_points_become_less_to_pay_with_its_tax_and_the_order_may_be_paid_by_them() -> None:
    world = shop(loyalty=LOYAL)
    order, holding = world.place(TOAST, BANANA, customer=ANN), points_of(world.cafe.id, NUMBER)
    world.do(holding.ref, Grant(holding, world.new_id(), 300))
    world.do(holding.ref, Use(holding, world.new_id(), 20, discount=Discount(order, 100)))
    world.deliver_all()
    lowered = view(world.order(order))
    assert (lowered.total, lowered.discount, lowered.owed, lowered.tax) == (954, 100, 954, 74)
    world.do(holding.ref, Use(holding, world.new_id(), 190, discount=Discount(order, 950)))
    world.deliver_all()
    assert world.order(order).owed == 4
    world.paid(order, TRANSFER)
    assert world.order(order).status is OrderStatus.PAID
    assert points(world) == 90  # nothing earned for 4 cents
    assert world.balances["receivable"] == 0


def test_an_order_that_is_paid_by_points_alone_is_paid() -> None:
    world = shop(prepay=(Channel.ONLINE,), loyalty=LOYAL)
    order, holding = world.place(BANANA, channel=Channel.ONLINE, customer=ANN), points_of(world.cafe.id, NUMBER)
    world.do(holding.ref, Grant(holding, world.new_id(), 300))
    world.do(holding.ref, Use(holding, world.new_id(), 31, discount=Discount(order, 153)))
    world.deliver_all()
    assert world.order(order).status is OrderStatus.PAID
    assert world.order(order).released
    assert world.balances["receivable"] == 0


@pytest.mark.parametrize("gone", ["paid", "cancelled", "in flight"])
def test_points_that_an_order_has_no_use_for_come_back(gone: str) -> None:
    world = shop(loyalty=LOYAL)
    order, holding = world.place(TOAST), points_of(world.cafe.id, NUMBER)
    world.do(holding.ref, Grant(holding, world.new_id(), 300))
    world.do(holding.ref, Use(holding, used := world.new_id(), 20, discount=Discount(order, 100)))
    match gone:
        case "paid":
            world.take(world.pay(order, TRANSFER))
        case "cancelled":
            world.do(order, MoveOrder("cancel"))
        case _:
            world.pay(order, TRANSFER, 802)
    while world.waiting:
        world.deliver(world.waiting[0])
    assert points(world) == 300
    assert state(world, holding).entries[used].back == 20
    assert world.balances["discounts"] == 0


def test_a_discount_comes_twice_and_counts_once() -> None:
    world = shop(loyalty=LOYAL)
    order, holding = world.place(TOAST), points_of(world.cafe.id, NUMBER)
    world.do(holding.ref, Grant(holding, world.new_id(), 300))
    world.do(holding.ref, Use(holding, world.new_id(), 20, discount=Discount(order, 100)))
    world.deliver(order, twice=True)
    world.deliver_all()
    assert world.order(order).discount == 100
    assert points(world) == 280


def test_a_cancelled_order_gives_its_points_back() -> None:
    world = shop(loyalty=LOYAL)
    order, holding = world.place(TOAST), points_of(world.cafe.id, NUMBER)
    world.do(holding.ref, Grant(holding, world.new_id(), 300))
    for _ in range(2):
        world.do(holding.ref, Use(holding, world.new_id(), 20, discount=Discount(order, 100)))
    world.deliver_all()
    assert refused(world, order, MoveItem(1, "void")) is Code.ORDER_PAID
    world.do(order, MoveOrder("cancel"))
    world.deliver_all()
    assert points(world) == 300
    assert {account for account, cents in world.balances.items() if cents} == {
        "points",
        f"loyalty:{holding.ref.id}",
    }


def test_points_are_never_less_than_none() -> None:
    world = World()
    holding = points_of(world.cafe.id, NUMBER)
    assert refused(world, holding.ref, Use(holding, world.new_id(), 1)) is Code.INSUFFICIENT_FUNDS
    world.do(holding.ref, Grant(holding, world.new_id(), 5))
    assert refused(world, holding.ref, Use(holding, world.new_id(), 6)) is Code.INSUFFICIENT_FUNDS
    assert points_of(world.cafe.id, "+61412345679").ref != holding.ref


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 1_000), st.booleans()), max_size=4),
)
@settings(deadline=None)
def test_whatever_is_taken_off_the_books_close(discounts: list[int], paid: list[tuple[int, bool]]) -> None:
    """Discounts and payments in any mixture: what is owed is what the ledger says, tax included."""
    world = shop(loyalty=LoyaltyRules(points_per_unit=3, cents_per_point=1))
    order, holding = world.place(TOAST, BANANA, customer=ANN), points_of(world.cafe.id, NUMBER)
    world.do(holding.ref, Grant(holding, world.new_id(), 2_000))
    taken = 0
    for index, points_used in enumerate(discounts):
        if points(world) >= points_used:
            world.do(holding.ref, Use(holding, world.new_id(), points_used, discount=Discount(order, points_used)))
        if index < len(paid) and world.order(order).owed >= paid[index][0]:
            payment = world.pay(order, TRANSFER, paid[index][0])
            world.take(payment)
            if paid[index][1]:
                world.do(payment, Refund(), STAFF)
        world.deliver_all()
    now = world.order(order)
    taken = now.discount
    assert 0 <= taken <= 1054
    assert world.balances["receivable"] == now.unsettled == 1054 - taken - now.paid
    assert -world.balances["tax:gst"] == now.tax >= 0
    assert world.balances["discounts"] == taken - (82 - now.tax)
    assert points(world) == 2_000 - taken + now.points
    assert world.balances["points"] == points(world)
    assert now.points == (now.kept // 100 * 3 if now.paid_up else now.points)
    assert sum(world.balances.values()) == 0


def test_why_something_moved_is_told() -> None:
    world = shop(loyalty=LOYAL)
    bought(world, 5000)
    moved = [event for event in world.events if isinstance(event, e.AccountCredited)]
    assert [(event.cause, event.label) for event in moved] == [(Cause.SOLD, "RC3R")]
    assert all(b"7K2Q" not in line.event for line in world.log)
