"""What an order is owed, what is set aside for a payment, and what was paid always make up its total."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import events as e
from tabletap.domain import order as orders
from tabletap.domain.base import Decision, OrderId, PaymentId, Ref, Wake
from tabletap.domain.charge import RefundStanding
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.messages import NoteRefund, Release, Settle
from tabletap.domain.order import Change, InitiatePayment, MergeInto, MoveItem, MoveOrder
from tabletap.domain.payment import Cancel, HearRefund, Refund
from tabletap.domain.vocabulary import Method, PaymentStatus, RefundState, Surplus

from .world import BANANA, CUSTOMER, SETTINGS, TOAST, WATER, World

TRANSFER = Method.QR_CODE_BANK_TRANSFER


def refusal(outcome: Decision | Refusal) -> Refusal:
    assert isinstance(outcome, Refusal), outcome
    return outcome


def balance(world: World, order: Ref) -> tuple[int, int, int]:
    """Paid, reserved and owed: their sum is the total of an order that lives."""
    state = world.order(order)
    reserved = sum(state.reserved.values())
    assert state.total == state.paid + reserved + state.owed
    assert state.unsettled == reserved + state.owed
    assert world.balances["receivable"] == sum(each.unsettled for each in world.orders)
    return state.paid, reserved, state.owed


def test_a_payment_sets_its_amount_aside_and_settles_or_releases_it() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    assert balance(world, order) == (0, 0, 1054)
    first = world.pay(order, TRANSFER, 500)
    assert balance(world, order) == (0, 500, 554)
    second = world.pay(order, TRANSFER)
    assert balance(world, order) == (0, 1054, 0)
    world.take(first)
    world.deliver_all()
    assert balance(world, order) == (500, 554, 0)
    world.do(second, Cancel())
    world.deliver_all()
    assert balance(world, order) == (500, 0, 554)
    world.paid(order)
    assert balance(world, order) == (1054, 0, 0)


@given(st.lists(st.tuples(st.integers(1, 1500), st.sampled_from(["take", "short", "cancel", "wait"])), max_size=8))
def test_no_two_payments_take_the_same_cent(attempts: list[tuple[int, str]]) -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    for amount, then in attempts:
        owed = world.order(order).owed
        outcome = world.ask(order, InitiatePayment(TRANSFER, amount))
        assert isinstance(outcome, Decision) == (amount <= owed)
        if isinstance(outcome, Decision):
            payment = outcome.births[0].ref
            match then:
                case "take":
                    world.take(payment)
                case "short":
                    world.take(payment, (amount + 1) // 2)
                case "cancel":
                    world.do(payment, Cancel())
            world.deliver_all()
        balance(world, order)
    assert world.order(order).paid <= 1054


@pytest.mark.parametrize(
    ("command", "code", "field"),
    [
        (InitiatePayment(TRANSFER, 0), Code.VALIDATION_ERROR, "amount"),
        (InitiatePayment(TRANSFER, -1), Code.VALIDATION_ERROR, "amount"),
        (InitiatePayment(TRANSFER, 902), Code.AMOUNT_EXCEEDS_OWED, None),
        (InitiatePayment(TRANSFER, tip=-1), Code.VALIDATION_ERROR, "tipAmount"),
        (InitiatePayment(TRANSFER, tip=1_000_01), Code.VALIDATION_ERROR, "tipAmount"),
        (InitiatePayment(TRANSFER, currency="EUR"), Code.VALIDATION_ERROR, "currency"),
    ],
)
def test_a_payment_that_cannot_be_is_refused_by_name(command: InitiatePayment, code: Code, field: str | None) -> None:
    world = World()
    refused = refusal(world.ask(world.place(), command))
    assert refused.code is code
    assert [error.field for error in refused.errors] == ([field] if field else [])


def test_a_paid_order_and_one_being_paid_say_why_nothing_is_owed() -> None:
    world = World()
    order = world.place()
    payment = world.pay(order, TRANSFER)
    assert "under way" in refusal(world.ask(order, InitiatePayment(TRANSFER))).message
    world.take(payment)
    world.deliver_all()
    assert "it is paid" in refusal(world.ask(order, InitiatePayment(TRANSFER))).message


def test_the_order_says_paid_when_it_is_and_pending_again_when_a_payment_came_to_nothing() -> None:
    world = World()
    order = world.place()
    payment = world.pay(order)
    assert (world.order(order).status, world.order(order).payment_status) == ("payment_pending", "processing")
    world.later(minutes=30)
    world.do(payment, Wake())
    world.deliver_all()
    assert (world.order(order).status, world.order(order).payment_status) == ("pending", "pending")
    world.paid(order)
    assert (world.order(order).status, world.order(order).payment_status) == ("paid", "completed")


def test_a_payment_that_came_short_leaves_the_rest_owed() -> None:
    world = World()
    order = world.place(TOAST)
    payment = world.pay(order, TRANSFER)
    world.take(payment, 900)
    world.deliver_all()
    assert balance(world, order) == (900, 0, 1)
    assert world.order(order).status == "pending"
    world.paid(order, TRANSFER, amount=1)
    assert world.order(order).status == "paid"


def test_every_message_of_a_payment_counts_once() -> None:
    world = World()
    order = world.place(TOAST)
    payment = world.pay(order, TRANSFER)
    ident = PaymentId(payment.id)
    settle, release = Settle(ident, 901), Release(ident)
    refund = NoteRefund(ident, world.new_id(), 100)
    world.do(order, settle)
    world.do(order, refund)
    state = world.order(order)
    for message in (settle, release, refund):
        assert world.do(order, message) == Decision()
    assert world.order(order) == state
    assert (state.kept, state.refunded) == (801, 100)


def test_the_kitchen_s_status_is_not_disturbed_by_money() -> None:
    world = World()
    order = world.place()
    world.do(order, MoveOrder("start"))
    world.paid(order)
    assert (world.order(order).status, world.order(order).payment_status) == ("preparing", "completed")


# -- cash


@pytest.mark.parametrize(
    ("amount", "tip", "rounding"), [(None, 0, -1), (None, 2, 2), (None, 4, 0), (900, 0, 0), (451, 1, 0), (901, 0, -1)]
)
def test_only_the_payment_that_takes_all_that_is_owed_in_cash_is_rounded(
    amount: int | None, tip: int, rounding: int
) -> None:
    world = World()
    started = world.payment(world.pay(world.place(TOAST), Method.CASH, amount, tip)).initiated
    assert started.rounding == rounding
    assert started.total == started.amount + tip + rounding


def test_in_a_split_only_the_remaining_cash_is_rounded() -> None:
    world = World()
    order = world.place(TOAST)
    assert world.payment(world.pay(order, Method.CASH, 448)).initiated.rounding == 0
    assert world.payment(world.pay(order, Method.CASH)).initiated.total == 455


def test_a_transfer_is_never_rounded() -> None:
    world = World()
    assert world.payment(world.pay(world.place(TOAST), TRANSFER)).initiated.total == 901


@pytest.mark.parametrize("cents", [1, 2, 3])
def test_the_last_cents_can_be_paid_in_cash(cents: int) -> None:
    world = World()
    order = world.place(TOAST)
    world.paid(order, TRANSFER, amount=901 - cents)
    world.paid(order)
    assert world.order(order).status == "paid"
    assert world.balances["cash"] == (5 if cents == 3 else 0)


# -- taking a sale back


def test_a_line_that_was_paid_or_is_being_paid_cannot_be_voided() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    payment = world.pay(order, TRANSFER, 902)
    for _ in range(2):
        for command in (MoveItem(2, "void"), Change(remove=(2,))):
            assert refusal(world.ask(order, command)).code is Code.ORDER_PAID
        if world.payment(payment).completed is None:
            world.take(payment)
            world.deliver_all()
    world.do(payment, Refund(1))
    world.deliver_all()
    world.do(order, MoveItem(2, "void"))
    assert (world.order(order).total, world.order(order).kept, world.order(order).unsettled) == (901, 901, 0)
    assert world.balances["receivable"] == 0
    assert world.balances["refunds"] == 0


@pytest.mark.parametrize("through", [True, False])
def test_a_refund_that_is_only_promised_frees_nothing_of_the_sale(through: bool) -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    payment = world.paid(order, Method.PAYCONIC_CARD)
    world.provider.refunds_become = RefundState.PENDING
    world.do(payment, Refund())
    world.deliver_all()
    for command in (MoveOrder("cancel"), MoveItem(2, "void")):
        assert refusal(world.ask(order, command)).code is Code.ORDER_PAID
    (refund_id,) = world.payment(payment).refunds
    said = RefundStanding(state=RefundState.SUCCEEDED if through else RefundState.FAILED)
    world.do(payment, HearRefund(refund_id, said))
    world.deliver_all()
    outcome = world.ask(order, MoveOrder("cancel"))
    assert isinstance(outcome, Decision) == through
    left = {account: cents for account, cents in world.balances.items() if cents}
    assert left == ({} if through else {"provider:payconic": 1054, "sales": -972, "tax:gst": -82})


@pytest.mark.parametrize("surplus", Surplus)
def test_money_that_a_provider_took_as_the_order_was_cancelled_goes_back_by_the_cafe_s_rule(surplus: Surplus) -> None:
    world = World()
    order = world.place(TOAST)
    payment = world.pay(order, Method.PAYCONIC_CARD, surplus=surplus, credit=world.account)
    world.deliver_all()
    world.do(order, MoveOrder("cancel"))
    world.take(payment)  # the customer was quicker than the word of it
    world.deliver_all()
    assert world.order(order).paid == 0
    held = {Surplus.REFUND: {}, Surplus.HOLD: {"unapplied": -901, "provider:payconic": 901}}
    held[Surplus.CREDIT] = {"provider:payconic": 901, "credit_transit": -901}
    assert {account: cents for account, cents in world.balances.items() if cents} == held[surplus]


def test_an_order_is_cancelled_only_when_nothing_of_it_is_kept() -> None:
    world = World()
    order = world.place(TOAST)
    payment = world.paid(order, TRANSFER, 500)
    for part in (499, 1):
        assert refusal(world.ask(order, MoveOrder("cancel"))).code is Code.ORDER_PAID
        world.do(payment, Refund(part))
        world.deliver_all()
    world.do(order, MoveOrder("cancel"))
    assert not any(cents for account, cents in world.balances.items() if account != "bank")
    assert world.balances["bank"] == 0


def test_a_cancelled_order_stops_its_payments_and_sends_late_money_back() -> None:
    world = World()
    order = world.place(TOAST)
    stopped, late = world.pay(order, TRANSFER, 400), world.pay(order, TRANSFER)
    world.take(late)
    world.do(order, MoveOrder("cancel"), CUSTOMER)
    world.deliver_all()
    assert world.payment(stopped).status == "cancelled"
    assert world.payment(late).unapplied == 501
    assert world.order(order).kept == 0
    world.take(stopped)
    world.deliver_all()
    assert world.balances["unapplied"] == -901
    assert world.balances["clearing"] == 0


def test_late_money_pays_what_is_still_owed_and_no_more() -> None:
    world = World()
    order = world.place(TOAST)
    late = world.pay(order, TRANSFER)
    world.later(minutes=15)
    world.do(late, Wake())
    world.deliver_all()
    world.paid(order, TRANSFER, amount=600)
    world.take(late)
    world.deliver_all()
    assert world.order(order).applied[PaymentId(late.id)] == 301
    assert world.payment(late).unapplied == 600
    assert world.order(order).status == "paid"


def test_late_money_does_not_take_what_another_payment_has_set_aside() -> None:
    world = World()
    order = world.place(TOAST)
    late = world.pay(order, TRANSFER)
    world.do(late, Cancel())
    world.deliver_all()
    other = world.pay(order, TRANSFER, 900)
    world.take(late)
    world.deliver_all()
    assert world.order(order).owed == 0
    world.take(other)
    world.deliver_all()
    assert world.order(order).paid == 901


def test_a_refund_of_money_the_order_never_took_is_not_noted_as_the_order_s() -> None:
    world = World()
    order = world.place(TOAST)
    payment = world.pay(order, TRANSFER)
    world.do(order, MoveOrder("cancel"))
    world.take(payment)
    world.do(payment, Refund())
    world.deliver_all()
    assert (world.order(order).kept, world.order(order).refunded) == (0, 0)
    assert not any(world.balances.values())


def test_a_refund_does_not_make_the_order_owe_again() -> None:
    world = World()
    order = world.place(TOAST)
    payment = world.paid(order, TRANSFER)
    world.do(payment, Refund(401))
    world.deliver_all()
    state = world.order(order)
    assert (state.unsettled, state.kept, state.payment_status) == (0, 500, PaymentStatus.PARTIALLY_REFUNDED)
    world.do(payment, Refund())
    world.deliver_all()
    assert world.order(order).payment_status is PaymentStatus.REFUNDED


def test_a_sale_taken_back_comes_out_of_what_is_owed_first_and_then_out_of_what_was_refunded() -> None:
    world = World()
    order = world.place(TOAST)
    world.do(world.paid(order, TRANSFER), Refund())
    world.deliver_all()
    world.do(order, Change(add=world.priced(BANANA)))
    assert world.order(order).unsettled == 153
    world.do(order, MoveItem(1, "void"))
    assert (world.order(order).total, world.order(order).unsettled) == (153, 0)
    assert (world.balances["receivable"], world.balances["refunds"]) == (0, 901 - (901 - 153))


def test_an_order_with_money_in_it_is_not_merged() -> None:
    world = World()
    order, other = world.place(TOAST), world.place(BANANA)
    world.pay(order, TRANSFER, 1)
    assert refusal(world.ask(order, MergeInto(OrderId(other.id)))).code is Code.ORDER_PAID


def test_a_merge_moves_what_is_owed_and_a_refused_one_leaves_it() -> None:
    for refused in (False, True):
        world = World()
        one, two = world.place(TOAST), world.place(BANANA)
        world.do(one, MergeInto(OrderId(two.id)))
        if refused:
            world.do(two, MoveOrder("cancel"))
        world.deliver_all()
        expected = (901, 0) if refused else (0, 1054)
        assert (world.order(one).unsettled, world.order(two).unsettled) == expected
        assert world.balances["receivable"] == sum(expected)


def test_a_free_order_owes_nothing() -> None:
    world = World()
    order = world.place(WATER)
    assert world.order(order).payment_status is PaymentStatus.COMPLETED
    assert refusal(world.ask(order, InitiatePayment(Method.CASH))).code is Code.NOTHING_OWED


def test_a_view_tells_what_is_kept_given_back_and_owed() -> None:
    world = World(SETTINGS)
    order = world.place(TOAST, BANANA)
    payment = world.paid(order, TRANSFER, 1000)
    world.do(payment, Refund(100))
    world.deliver_all()
    view = orders.view(world.order(order))
    assert (view.total, view.tax, view.paid, view.refunded, view.owed) == (1054, 82, 900, 100, 54)


def test_what_settling_tells_the_log_is_the_sum_so_far() -> None:
    world = World()
    order = world.place(TOAST)
    world.paid(order, TRANSFER, 400)
    world.paid(order, TRANSFER)
    told = [(event.paid, event.owed) for event in world.events if isinstance(event, e.PaymentSettled)]
    assert told == [(400, 501), (901, 0)]
