"""A bill is split by item, by share, by amount: all know their part, and no cent is paid twice (spec P7)."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import events as e
from tabletap.domain import order as orders
from tabletap.domain.base import Decision, PaymentId, Ref, Wake
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.menu import Wish
from tabletap.domain.order import ByItem, ByShare, Change, InitiatePayment, MoveItem, Split
from tabletap.domain.payment import Cancel
from tabletap.domain.settings import ServiceCharge
from tabletap.domain.vocabulary import Channel, Method, PaymentStatus

from .world import BANANA, FLAT_WHITE, SETTINGS, TOAST, WATER, World

TRANSFER, CARD, GIFT = Method.QR_CODE_BANK_TRANSFER, Method.PAYCONIC_CARD, Method.GIFT_CARD
SERVED = msgspec.structs.replace(SETTINGS, service_charge=ServiceCharge(rate=1_000, tax_class="gst"))


def begun(world: World, order: Ref, split: Split, method: Method = TRANSFER) -> Ref:
    return world.pay(order, method, split=split)


def settled(world: World, order: Ref, split: Split, method: Method = TRANSFER) -> int:
    """A split that has been paid: what it came to."""
    payment = begun(world, order, split, method)
    world.take(payment)
    world.deliver_all()
    return world.payment(payment).initiated.amount


def refused(world: World, order: Ref, split: Split, **facts: int) -> Refusal:
    outcome = world.ask(order, InitiatePayment(TRANSFER, split=split, **facts))
    assert isinstance(outcome, Refusal), outcome
    return outcome


def claims(world: World, order: Ref) -> list[PaymentStatus | None]:
    return [line.claim for line in orders.view(world.order(order)).items]


def shares(world: World, order: Ref) -> list[tuple[int, int, str]]:
    return [(one.share, one.of, one.status.value) for one in orders.view(world.order(order)).shares]


# -- by item


def test_whoever_splits_by_item_pays_for_their_lines_and_nobody_else_does() -> None:
    world = World()
    order = world.place(TOAST, BANANA, FLAT_WHITE)
    assert settled(world, order, ByItem((1, 3))) == 901 + 450
    assert claims(world, order) == ["completed", None, "completed"]
    again = refused(world, order, ByItem((2, 3)))
    assert (again.code, "line 3, Flat white, is paid for" in again.message) == (Code.LINE_CLAIMED, True)
    assert settled(world, order, ByItem((2,)), CARD) == 153
    assert world.order(order).status == "paid"


def test_a_line_that_somebody_is_paying_for_is_refused_by_name_until_their_payment_lapses() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    payment = begun(world, order, ByItem((2,)))
    assert claims(world, order) == [None, "processing"]
    other = refused(world, order, ByItem((1, 2)))
    assert (other.code, "Banana, is being paid" in other.message) == (Code.LINE_CLAIMED, True)
    world.do(payment, Cancel())
    world.deliver_all()
    assert claims(world, order) == [None, None]
    assert settled(world, order, ByItem((1, 2))) == 1054


def test_a_line_that_was_not_paid_in_full_is_not_paid_for() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    world.take(begun(world, order, ByItem((1,))), 900)
    world.deliver_all()
    assert claims(world, order) == [None, None]
    assert world.order(order).owed == 154


def test_late_money_pays_for_the_lines_it_was_meant_for() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    payment = begun(world, order, ByItem((2,)))
    world.later(minutes=15)
    world.do(payment, Wake())
    world.deliver_all()
    assert claims(world, order) == [None, None]
    world.take(payment)
    world.deliver_all()
    assert claims(world, order) == [None, "completed"]


def test_lines_that_cost_more_than_is_left_are_paid_by_an_amount() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    world.paid(order, TRANSFER, 200)
    assert refused(world, order, ByItem((1,))).code is Code.AMOUNT_EXCEEDS_OWED
    world.paid(order, TRANSFER)
    assert world.order(order).status == "paid"


def test_a_line_carries_its_share_of_the_service_charge_to_whoever_pays_for_it() -> None:
    world = World(SERVED)
    order = world.place(TOAST, BANANA)  # 1054, and 105 for service: 90 and 15
    assert [settled(world, order, ByItem((number,))) for number in (1, 2)] == [991, 168]
    assert world.order(order).status == "paid"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [(ByItem((3,)), "split.lines.0"), (ByItem((1, 1)), "split.lines"), (ByItem((1, 2)), "split.lines.1")],
)
def test_a_line_that_is_not_there_cannot_be_paid_for(wanted: ByItem, field: str) -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    world.do(order, MoveItem(2, "void"))
    assert [error.field for error in refused(world, order, wanted).errors] == [field]


def test_what_costs_nothing_is_not_paid_for() -> None:
    world = World()
    assert refused(world, world.place(TOAST, WATER), ByItem((2,))).code is Code.VALIDATION_ERROR


def test_a_split_says_itself_what_it_comes_to() -> None:
    world = World()
    (error,) = refused(world, world.place(), ByShare(2), amount=5).errors
    assert error.field == "amount"


# -- by share


def test_shares_are_even_to_the_cent_and_sum_to_the_whole() -> None:
    world = World()
    order = world.place(TOAST)
    assert [settled(world, order, ByShare(3), method) for method in (CARD, GIFT, TRANSFER)] == [301, 300, 300]
    assert world.order(order).status == "paid"
    assert shares(world, order) == [(1, 3, "completed"), (2, 3, "completed"), (3, 3, "completed")]


def test_a_share_whose_payment_lapsed_is_the_next_one() -> None:
    world = World()
    order = world.place(TOAST)
    first, _ = begun(world, order, ByShare(3)), begun(world, order, ByShare(3))
    assert shares(world, order) == [(1, 3, "processing"), (2, 3, "processing")]
    world.do(first, Cancel())
    world.deliver_all()
    again = world.payment(begun(world, order, ByShare(3))).initiated
    assert (again.share, again.amount) == ((1, 3), 301)
    last = world.payment(begun(world, order, ByShare(3))).initiated
    assert (last.share, last.amount) == ((3, 3), 300)


def test_the_last_share_is_what_is_left_whatever_the_bill_has_become() -> None:
    world = World()
    order = world.place(TOAST)
    settled(world, order, ByShare(3))
    settled(world, order, ByShare(3))
    world.do(order, Change(add=world.priced(BANANA)))
    assert settled(world, order, ByShare(3)) == 300 + 153
    assert world.order(order).owed == 0


def test_when_all_shares_are_taken_the_rest_is_an_amount() -> None:
    world = World()
    order = world.place(TOAST)
    for _ in range(2):
        settled(world, order, ByShare(2))
    world.do(order, Change(add=world.priced(BANANA)))
    full = refused(world, order, ByShare(2))
    assert (full.code, "all 2 shares" in full.message) == (Code.NOTHING_OWED, True)
    world.paid(order, TRANSFER)
    assert world.order(order).owed == 0


def test_a_share_is_never_more_than_is_left() -> None:
    world = World()
    order = world.place(TOAST)
    world.paid(order, TRANSFER, 800)
    assert settled(world, order, ByShare(3)) == 101


# -- however it is split


SPLITS = st.one_of(
    st.builds(ByShare, st.integers(2, 5)),
    st.builds(ByItem, st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)),
)


@given(
    baskets=st.lists(st.sampled_from([TOAST, BANANA, WATER, FLAT_WHITE]), min_size=1, max_size=4),
    attempts=st.lists(st.tuples(st.one_of(SPLITS, st.integers(1, 900)), st.sampled_from(["take", "cancel", "wait"]))),
    rate=st.one_of(st.none(), st.integers(1, 3_000)),
)
def test_however_a_bill_is_split_it_is_never_overpaid_and_a_line_has_one_payer(
    baskets: list[Wish], attempts: Sequence[tuple[Split | int, str]], rate: int | None
) -> None:
    charge = None if rate is None else ServiceCharge(rate=rate, tax_class="gst")
    world = World(msgspec.structs.replace(SETTINGS, service_charge=charge))
    order = world.place(*baskets, channel=Channel.TABLE, table="1")
    for wanted, then in attempts:
        facts = {"amount": wanted} if isinstance(wanted, int) else {"split": wanted}
        outcome = world.ask(order, InitiatePayment(CARD, **facts))  # type: ignore[arg-type]
        if isinstance(outcome, Decision):
            payment = outcome.births[0].ref
            if then == "take":
                world.take(payment)
            elif then == "cancel":
                world.do(payment, Cancel())
            world.deliver_all()
        state = world.order(order)
        assert state.total == state.paid + sum(state.reserved.values()) + state.owed
        held = list(state.held_claims.values())
        lines = [number for claim in held for number in claim.lines]
        assert len(lines) == len(set(lines))
        taken = [claim.share for claim in held if claim.share is not None]
        assert len(taken) == len(set(taken))
    assert world.balances["receivable"] == world.order(order).unsettled
    assert sum(world.balances.values()) == 0


def test_the_log_says_what_each_payment_is_for() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    ids = [PaymentId(begun(world, order, split).id) for split in (ByItem((2,)), ByShare(2))]
    said = {
        event.payment_id: (event.lines, event.share) for event in world.events if isinstance(event, e.PaymentInitiated)
    }
    assert [said[ident] for ident in ids] == [((2,), None), ((), (1, 2))]
    world.restart()
    assert claims(world, order) == [None, "processing"]
