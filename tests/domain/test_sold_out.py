"""An item that sells out between basket and payment is not paid for (spec O1), however the two race."""

from datetime import timedelta

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import Decision, PaymentId, Ref
from tabletap.domain.cafe import PlaceOrder, SetAvailability
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.order import Accept, InitiatePayment, MoveItem, Withdraw
from tabletap.domain.vocabulary import Channel, Method

from .world import BANANA, SETTINGS, TOAST, World

TRANSFER, CARD = Method.QR_CODE_BANK_TRANSFER, Method.PAYCONIC_CARD
PREPAID = msgspec.structs.replace(SETTINGS, prepay=(Channel.COUNTER,))
GONE = SetAvailability("toast", available=False)


def gone(world: World) -> None:
    world.do(world.cafe_ref, GONE)
    world.deliver_all()


def withdrawn(world: World) -> list[tuple[PaymentId, ...]]:
    return [event.payments for event in world.events if isinstance(event, e.PaymentsWithdrawn)]


def test_payments_in_flight_for_what_has_sold_out_are_closed_and_say_why() -> None:
    world = World(PREPAID)
    order = world.place(TOAST, BANANA)
    card, transfer = world.pay(order, CARD, 500), world.pay(order, TRANSFER)
    world.deliver_all()
    gone(world)
    for payment in (card, transfer):
        assert (world.payment(payment).status, world.payment(payment).closed_reason) == (
            "cancelled",
            "Toast has sold out",
        )
    state = world.order(order)
    assert (state.status, state.owed, state.reserved) == ("pending", 1054, {})
    assert world.provider.taken == 0


def test_money_that_comes_all_the_same_goes_back_and_feeds_nobody() -> None:
    world = World(PREPAID)
    order = world.place(TOAST)
    payment = world.pay(order, TRANSFER)
    world.take(payment)  # the order has not heard of it yet
    world.do(world.cafe_ref, GONE)
    for key in world.waiting_jobs:
        world.work(key)
    world.deliver_all()
    assert (world.order(order).paid, world.order(order).released) == (0, False)
    assert world.payment(payment).unapplied == 901
    assert world.balances["unapplied"] == -901


def test_money_that_comes_late_goes_back_also_when_the_item_is_there_again() -> None:
    world = World(PREPAID)
    order = world.place(TOAST)
    payment = world.pay(order, CARD)
    world.deliver_all()
    gone(world)
    world.do(world.cafe_ref, SetAvailability("toast", available=True))
    world.take(payment)
    world.deliver_all()
    assert world.order(order).paid == 0
    world.paid(order, TRANSFER)
    assert world.order(order).released


def test_what_the_kitchen_has_is_the_kitchen_s_affair() -> None:
    world = World()
    order = world.place(TOAST)
    payment = world.pay(order, TRANSFER)
    gone(world)
    assert withdrawn(world) == []
    assert world.payment(payment).status == "pending"


def test_only_orders_with_the_item_are_concerned() -> None:
    world = World(PREPAID)
    banana, both, neither = world.place(BANANA), world.place(TOAST, BANANA), world.place(TOAST, BANANA)
    world.do(neither, MoveItem(1, "void"))
    payments = [world.pay(order, CARD) for order in (banana, both, neither)]
    world.deliver_all()
    gone(world)
    assert [world.payment(one).status for one in payments] == ["processing", "cancelled", "processing"]
    assert withdrawn(world) == [(PaymentId(payments[1].id),)]


def test_an_order_that_waits_for_approval_is_not_paid_for_either() -> None:
    world = World(msgspec.structs.replace(SETTINGS, approval=True))
    order = world.place(TOAST)
    payment = world.pay(order, CARD)
    world.deliver_all()
    gone(world)
    assert world.payment(payment).status == "cancelled"
    world.do(order, Accept())
    assert world.order(order).released  # pay later: whether to make it is staff's own call


def test_a_withdrawal_counts_once() -> None:
    world = World(PREPAID)
    order = world.place(TOAST)
    world.pay(order, CARD)
    told = Withdraw("toast", world.now)
    world.do(order, told)
    world.deliver_all()
    world.pay(order, CARD)
    assert world.do(order, told) == Decision()
    assert len(world.do(order, Withdraw("toast", world.now + timedelta(seconds=1))).messages) == 1


def test_a_payment_that_begins_while_the_item_sells_out_is_refused_by_name() -> None:
    world = World(PREPAID)
    order = world.place(TOAST)
    asked_at = world.now
    world.later(seconds=1)
    gone(world)
    late = world.ask(order, InitiatePayment(CARD, checked_at=asked_at))
    assert isinstance(late, Refusal)
    assert (late.code, "Toast" in late.message) == (Code.ITEM_UNAVAILABLE, True)
    world.do(world.cafe_ref, SetAvailability("toast", available=True))
    world.later(seconds=1)
    world.do(order, InitiatePayment(CARD, checked_at=world.now))


def test_what_a_countdown_has_counted_for_an_order_stays_its_own() -> None:
    world = World(PREPAID)
    world.do(world.cafe_ref, SetAvailability("toast", available=True, remaining=1))
    order = world.place(TOAST)
    assert not world.cafe.available("toast", 1, world.now)
    assert not world.cafe.out("toast", world.now)
    assert world.jobs == {}
    world.paid(order, TRANSFER)
    assert world.order(order).released
    assert isinstance(world.ask(world.cafe_ref, PlaceOrder(Channel.COUNTER, (TOAST,))), Refusal)


def test_an_item_that_was_sold_out_until_a_time_is_back_by_then() -> None:
    world = World()
    world.do(world.cafe_ref, SetAvailability("toast", available=False, until=world.now + timedelta(hours=1)))
    assert world.cafe.out("toast", world.now)
    assert not world.cafe.out("toast", world.now + timedelta(hours=1))


def test_only_taking_an_item_off_withdraws_payments_and_only_when_it_is_news() -> None:
    world = World()

    def jobs(command: SetAvailability) -> int:
        return len(world.do(world.cafe_ref, command).jobs)

    assert jobs(GONE) == 1
    assert jobs(GONE) == 0
    assert jobs(SetAvailability("toast", available=True)) == 0
    assert jobs(SetAvailability("toast", available=True, remaining=3)) == 0


def test_a_withdrawn_payment_survives_a_restart() -> None:
    world = World(PREPAID)
    order: Ref = world.place(TOAST)
    payment = world.pay(order, CARD)
    gone(world)
    world.restart()
    world.take(payment)
    world.deliver_all()
    assert world.order(order).paid == 0
