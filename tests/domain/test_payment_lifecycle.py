"""Every status of a payment meets every command; money that came is never lost, and never given back twice.

The tables below are written by hand from spec P2, P4-P6, not taken from the domain's own.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import NamedTuple
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import events as e
from tabletap.domain import payment as payments
from tabletap.domain.base import Command, Context, Decision, Event, Kind, PaymentId, Ref, Wake
from tabletap.domain.charge import EXPIRES_AFTER, Dispute, RefundStanding, Standing, expires_at, reference
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.messages import ClosePayment, NoteRefund, Release, ReturnUnapplied, Settle, TakeCash
from tabletap.domain.order import MoveOrder
from tabletap.domain.payment import (
    Cancel,
    HearCharge,
    HearDispute,
    HearRefund,
    HearSilence,
    Payment,
    Refund,
    VerifyCash,
    VerifyNow,
    VerifyTransfer,
)
from tabletap.domain.vocabulary import (
    ChargeState,
    Method,
    PaymentStatus,
    RefundState,
    RefundTo,
    Surplus,
)

from .world import BANANA, NOON, STAFF, TOAST, Ids, World

TRANSFER, CARD = Method.QR_CODE_BANK_TRANSFER, Method.PAYCONIC_CARD
ILLEGAL, GONE, INVALID = Code.ILLEGAL_MOVE, Code.PAYMENT_EXPIRED, Code.VALIDATION_ERROR

MOVES = {
    "pending": {"processing", "completed", "failed", "cancelled", "expired"},
    "processing": {"completed", "failed", "cancelled", "expired"},
    "completed": {"partially_refunded", "refunded"},
    "partially_refunded": {"partially_refunded", "refunded"},
    "refunded": {"partially_refunded"},
    "failed": {"completed"},
    "cancelled": {"completed"},
    "expired": {"completed"},
}
"""From -> to, as spec P2 has it; late money completes what was given up, and whoever transfers twice is owed again."""


def test_the_table_of_moves_is_the_one_of_the_specification() -> None:
    assert set(MOVES) == set(PaymentStatus)
    assert {(was.value, to.value) for was, to in payments.PAYMENT_MOVES} == {
        (was, to) for was, tos in MOVES.items() for to in tos
    }


def succeeded(amount: int = 1154) -> Standing:
    return Standing(state=ChargeState.SUCCEEDED, external_id="pay_1", amount=amount, fee=33)


TAKING: dict[Method, Callable[[int], Command]] = {Method.CASH: VerifyCash, TRANSFER: VerifyTransfer}


def given_back(state: Payment, amount: int | None = None) -> Payment:
    """A refund asked for, and done by the provider where there is one."""
    state = done(state, Refund(amount))
    refund_id = next(reversed(state.refunds))
    if state.manual:
        return state
    return done(state, HearRefund(refund_id, RefundStanding(state=RefundState.SUCCEEDED)))


def payment(
    status: str,
    method: Method = TRANSFER,
    *,
    amount: int = 1054,
    tip: int = 100,
    surplus: Surplus = Surplus.HOLD,
    credit: Ref | None = None,
) -> Payment:
    """A payment of 1054 + 100 that stands at ``status``; received exactly, and 54 given back where it was refunded."""
    rounding = 1 if method is Method.CASH and (amount + tip) % 5 == 4 else 0
    total = amount + tip + rounding
    ids = Ids(7)
    payment_id = PaymentId(ids())
    state = payments.born(
        e.PaymentInitiated(
            payment_id=payment_id,
            order_id=ids(),
            cafe_id=ids(),
            order_number=1,
            method=method,
            amount=amount,
            tip=tip,
            rounding=rounding,
            total=total,
            currency="AUD",
            reference=reference(payment_id),
            initiated_at=NOON,
            expires_at=expires_at(method, NOON),
            surplus=surplus,
            credit=credit,
        )
    )
    if status == "processing":
        return msgspec.structs.replace(state, status=PaymentStatus.PROCESSING)
    if status in ("failed", "cancelled", "expired"):
        return msgspec.structs.replace(state, status=PaymentStatus(status), closed_reason="was given up")
    if status == "pending":
        return state
    state = done(state, TAKING.get(method, lambda cents: HearCharge(succeeded(cents)))(total))
    if status == "partially_refunded":
        state = given_back(state, 54)
    if status == "refunded":
        state = given_back(state)
    assert state.status == status
    return state


def ask(state: Payment, command: Command, minutes: int = 1) -> Decision | Refusal:
    ids = Ids(len(state.refunds) + 99)
    return payments.decide(state, command, Context(NOON + timedelta(minutes=minutes), ids, STAFF))  # type: ignore[arg-type]


def done(state: Payment, command: Command, minutes: int = 1) -> Payment:
    decision = ask(state, command, minutes)
    assert isinstance(decision, Decision), decision
    for event in decision.events:
        state = payments.evolve(state, event)
    return state


class Row(NamedTuple):
    """Where a command leads from each status (its own: nothing happens), or the code of the refusal."""

    pending: str | Code
    processing: str | Code
    completed: str | Code
    partially_refunded: str | Code
    refunded: str | Code
    failed: str | Code
    cancelled: str | Code
    expired: str | Code


C, X, PART = "completed", "cancelled", "partially_refunded"
F, E = "failed", "expired"
SAME = tuple(status.value for status in PaymentStatus)
"""Each status itself: nothing happens."""


def told(state: ChargeState, **more: object) -> Callable[[], Command]:
    return lambda: HearCharge(Standing(state=state, **more))  # type: ignore[arg-type]


COMMANDS: dict[str, tuple[Method, Callable[[], Command], Row]] = {
    "cash": (Method.CASH, lambda: VerifyCash(2000), Row(C, C, ILLEGAL, ILLEGAL, ILLEGAL, GONE, GONE, GONE)),
    "too little cash": (
        Method.CASH,
        lambda: VerifyCash(1154),
        Row(*[Code.TENDERED_TOO_LITTLE] * 2, *[ILLEGAL] * 3, *[GONE] * 3),
    ),
    "cash for a transfer": (TRANSFER, lambda: VerifyCash(2000), Row(*[INVALID] * 8)),
    "transfer": (TRANSFER, lambda: VerifyTransfer(1154), Row(C, C, ILLEGAL, ILLEGAL, ILLEGAL, C, C, C)),
    "a line of a statement": (
        TRANSFER,
        lambda: VerifyTransfer(1154, "line 7"),
        Row(C, C, C, PART, "refunded", C, C, C),
    ),
    "a transfer for cash": (Method.CASH, lambda: VerifyTransfer(1154), Row(*[INVALID] * 8)),
    "cancel": (TRANSFER, Cancel, Row(X, X, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, X, ILLEGAL)),
    "cancel at a provider": (CARD, Cancel, Row(X, X, ILLEGAL, ILLEGAL, ILLEGAL, ILLEGAL, X, ILLEGAL)),
    "part refund": (
        TRANSFER,
        lambda: Refund(10),
        Row(ILLEGAL, ILLEGAL, PART, PART, *[ILLEGAL] * 4),
    ),
    "full refund": (TRANSFER, Refund, Row(ILLEGAL, ILLEGAL, "refunded", "refunded", *[ILLEGAL] * 4)),
    "refund at a provider": (CARD, Refund, Row(ILLEGAL, ILLEGAL, C, PART, *[ILLEGAL] * 4)),
    "too large a refund": (
        TRANSFER,
        lambda: Refund(1155),
        Row(ILLEGAL, ILLEGAL, *[Code.REFUND_EXCEEDS_ORIGINAL] * 2, *[ILLEGAL] * 4),
    ),
    "no refund": (TRANSFER, lambda: Refund(0), Row(ILLEGAL, ILLEGAL, INVALID, INVALID, *[ILLEGAL] * 4)),
    "negative refund": (TRANSFER, lambda: Refund(-1), Row(ILLEGAL, ILLEGAL, INVALID, INVALID, *[ILLEGAL] * 4)),
    "refund to nobody's credit": (
        CARD,
        lambda: Refund(to=RefundTo.CREDIT),
        Row(ILLEGAL, ILLEGAL, INVALID, INVALID, *[ILLEGAL] * 4),
    ),
    "order gone": (TRANSFER, lambda: ClosePayment("gone"), Row(X, X, *SAME[2:])),
    "order gone, at a provider": (CARD, lambda: ClosePayment("gone"), Row(X, X, *SAME[2:])),
    "wake": (TRANSFER, Wake, Row(E, E, *SAME[2:])),
    "wake at a provider": (CARD, Wake, Row(E, E, *SAME[2:])),
    "the provider has it": (
        CARD,
        told(ChargeState.OPEN, external_id="pay_1", redirect_url="https://pay"),
        Row("processing", "processing", *SAME[2:]),
    ),
    "the provider is at it": (CARD, told(ChargeState.PROCESSING), Row("processing", *SAME[1:])),
    "the provider has the money": (CARD, lambda: HearCharge(succeeded()), Row(C, C, *SAME[2:5], C, C, C)),
    "the provider says it has nothing": (CARD, told(ChargeState.SUCCEEDED, amount=0), Row(*SAME)),
    "the provider refuses": (CARD, told(ChargeState.FAILED), Row(F, F, *SAME[2:])),
    "given up at the provider": (CARD, told(ChargeState.CANCELLED), Row(X, X, *SAME[2:])),
    "expired at the provider": (CARD, told(ChargeState.EXPIRED), Row(E, E, *SAME[2:])),
    "the provider does not know it": (CARD, told(ChargeState.ABSENT), Row(*SAME)),
    "the provider of cash": (Method.CASH, lambda: HearCharge(succeeded()), Row(*[INVALID] * 8)),
    "silence": (CARD, HearSilence, Row(*SAME)),
    "asked about now": (CARD, VerifyNow, Row(*SAME)),
    "cash asked about": (Method.CASH, VerifyNow, Row(*[INVALID] * 8)),
    "a refund nobody asked for": (
        CARD,
        lambda: HearRefund(UUID(int=1), RefundStanding(state=RefundState.SUCCEEDED)),
        Row(*SAME),
    ),
    "a chargeback": (
        CARD,
        lambda: HearDispute(Dispute(dispute_id="d", amount=500, fee=25)),
        Row(ILLEGAL, ILLEGAL, *SAME[2:5], *[ILLEGAL] * 3),
    ),
}


@pytest.mark.parametrize(("name", "status"), [*product(COMMANDS, Row._fields)])
def test_a_command_in_a_status_leads_where_it_must_or_is_refused_by_name(name: str, status: str) -> None:
    method, build, row = COMMANDS[name]
    state, expected = payment(status, method), getattr(row, status)
    outcome = ask(state, build(), minutes=60)
    if isinstance(expected, Code):
        assert isinstance(outcome, Refusal)
        assert outcome.code is expected
        assert expected not in (ILLEGAL, GONE) or status in outcome.message
        return
    assert isinstance(outcome, Decision)
    assert done(state, build(), minutes=60).status == expected
    moved = expected != status
    assert not moved or outcome.events
    assert not moved or expected in MOVES[status]
    if status in ("pending", "processing") and expected in ("failed", "cancelled", "expired"):
        assert [message.command for message in outcome.messages] == [Release(state.initiated.payment_id)]


def test_no_command_is_missing_from_the_table() -> None:
    covered = {type(build()) for _, build, _ in COMMANDS.values()} | {ReturnUnapplied}
    assert covered == set(payments.PaymentCommand.__args__)  # type: ignore[attr-defined]


# -- time


@pytest.mark.parametrize(("method", "minutes"), [(Method.CASH, 30), (TRANSFER, 15)])
def test_a_payment_expires_on_time_and_not_before(method: Method, minutes: int) -> None:
    state = payment("pending", method)
    assert payments.wake_at(state) == NOON + timedelta(minutes=minutes)
    assert done(state, Wake(), minutes - 1).status == "pending"
    expired = done(state, Wake(), minutes)
    assert expired.status == "expired"
    assert payments.wake_at(expired) is None


def test_every_way_of_paying_expires() -> None:
    assert set(EXPIRES_AFTER) == set(Method)


@pytest.mark.parametrize("status", ["failed", "cancelled", "expired"])
def test_late_money_completes_the_payment_and_says_that_it_was_late(status: str) -> None:
    state = done(payment(status), VerifyTransfer(1154))
    assert state.completed is not None
    assert (state.status, state.completed.late) == ("completed", True)


# -- money


@pytest.mark.parametrize(
    ("received", "amount", "tip", "surplus"),
    [
        (1, 1, 0, 0),
        (1053, 1053, 0, 0),
        (1054, 1054, 0, 0),
        (1055, 1054, 1, 0),
        (1154, 1054, 100, 0),
        (1155, 1054, 100, 1),
        (99_999, 1054, 100, 98_845),
    ],
)
def test_a_transfer_pays_the_order_first_then_the_tip_and_the_rest_is_owed_back(
    received: int, amount: int, tip: int, surplus: int
) -> None:
    completed = done(payment("pending"), VerifyTransfer(received)).completed
    assert completed is not None
    assert (completed.received, completed.amount, completed.tip, completed.surplus) == (received, amount, tip, surplus)
    assert completed.late is False


@pytest.mark.parametrize("received", [0, -5])
def test_a_transfer_of_nothing_is_no_transfer(received: int) -> None:
    refused = ask(payment("pending"), VerifyTransfer(received))
    assert isinstance(refused, Refusal)
    assert refused.errors[0].field == "received"


@pytest.mark.parametrize(("tendered", "change"), [(1155, 0), (1160, 5), (5000, 3845)])
def test_cash_covers_the_rounded_total_and_the_rest_is_change(tendered: int, change: int) -> None:
    state = done(payment("pending", Method.CASH), VerifyCash(tendered))
    view = payments.view(state)
    assert (view.tendered, view.change, view.rounding, view.received) == (tendered, change, 1, 1155)


def test_settling_and_releasing_reach_the_order_and_cash_its_drawer() -> None:
    state, drawer_id = payment("pending", Method.CASH), UUID(int=5)
    drawer = Ref(Kind.DRAWER, drawer_id, state.initiated.cafe_id)
    taken = ask(state, VerifyCash(2000, drawer_id))
    assert isinstance(taken, Decision)
    settle, cash = taken.messages
    assert (settle.to, settle.command) == (state.order_ref, Settle(state.initiated.payment_id, 1054))
    assert cash.to == drawer
    assert isinstance(cash.command, TakeCash)
    assert cash.command.amount == 1155
    given_back = ask(done(state, VerifyCash(2000)), Refund(drawer_id=drawer_id))
    assert isinstance(given_back, Decision)
    note, cash = given_back.messages
    assert isinstance(note.command, NoteRefund)
    assert isinstance(cash.command, TakeCash)
    assert (note.command.amount, cash.command.amount) == (1054, -1155)
    closed = ask(state, Cancel())
    assert isinstance(closed, Decision)
    assert [message.command for message in closed.messages] == [Release(state.initiated.payment_id)]


def test_a_transfer_goes_through_no_drawer() -> None:
    outcome = ask(payment("completed"), Refund(drawer_id=UUID(int=5)))
    assert isinstance(outcome, Decision)
    assert all(isinstance(message.command, NoteRefund) for message in outcome.messages)


PARTS = st.lists(st.integers(1, 3000), max_size=6)


def refunds_of(state: Payment, parts: list[int]) -> Payment:
    """Give back the parts that fit, then all that is left."""
    for part in parts:
        if part < state.refundable:
            state = done(state, Refund(part))
    return done(state, Refund())


def assert_all_given_back(state: Payment) -> None:
    """Every cent went back where it had come from."""
    completed = state.completed
    assert completed is not None
    assert state.status == "refunded"
    assert state.refundable == 0
    spare = completed.surplus + state.unapplied - state.given_back
    assert sum(refund.from_surplus for refund in state.standing_refunds) == spare
    assert sum(refund.from_sale for refund in state.standing_refunds) == completed.received - spare - completed.tip - (
        completed.rounding
    )
    assert sum(refund.from_tip for refund in state.standing_refunds) == completed.tip
    assert sum(refund.from_rounding for refund in state.standing_refunds) == completed.rounding
    for refund in state.standing_refunds:
        parts = refund.from_surplus, refund.from_sale, refund.from_tip, refund.from_rounding
        assert sum(parts) == refund.amount


@given(st.integers(1, 3000), st.integers(0, 300), st.integers(1, 5000), st.integers(0, 3000), PARTS)
def test_refunds_of_a_transfer_give_back_surplus_sale_and_tip_to_the_cent(
    amount: int, tip: int, received: int, unapplied: int, parts: list[int]
) -> None:
    state = done(payment("pending", amount=amount, tip=tip), VerifyTransfer(received))
    assert state.completed is not None
    unapplied = min(unapplied, state.completed.amount)
    if unapplied:
        state = done(state, ReturnUnapplied(unapplied))
    assert_all_given_back(refunds_of(state, parts))


@given(st.integers(1, 3000), st.integers(0, 300), st.booleans(), PARTS)
def test_refunds_of_cash_give_back_the_rounding_too_whether_the_order_had_use_for_it_or_not(
    amount: int, tip: int, order_gone: bool, parts: list[int]
) -> None:
    world = World()
    order = world.place(*[BANANA] * 20)
    paid = world.pay(order, amount=amount, tip=tip)
    if order_gone:
        world.do(order, MoveOrder("cancel"))
        world.take(paid)
    else:
        world.take(paid)
    world.deliver_all()
    for part in parts:
        if part < world.payment(paid).refundable:
            world.do(paid, Refund(part))
    world.do(paid, Refund())
    world.deliver_all()
    assert_all_given_back(world.payment(paid))
    assert {account: cents for account, cents in world.balances.items() if cents} == (
        {} if order_gone else {"receivable": 3060 - amount, "sales": -3060, "refunds": amount}
    )


@given(st.integers(1, 2000), st.integers(0, 2000), st.integers(0, 2000), PARTS)
def test_a_refund_that_is_faster_than_the_order_s_answer_is_given_once(
    amount: int, refunded: int, unapplied: int, parts: list[int]
) -> None:
    """Staff refund a payment before its order has said that it had no use for the money."""
    state = done(payment("pending", amount=amount, tip=0), VerifyTransfer(amount))
    refunded, unapplied = min(refunded, amount), min(unapplied, amount)
    if refunded:
        state = done(state, Refund(refunded))
    if unapplied:
        state = done(state, ReturnUnapplied(unapplied))
    assert 0 <= state.given_back <= unapplied
    if state.refundable:
        state = refunds_of(state, parts)
    assert state.refunded == amount
    assert sum(refund.from_surplus for refund in state.standing_refunds) == unapplied - state.given_back


def test_what_the_order_had_no_use_for_is_noted_once() -> None:
    state = done(payment("completed"), ReturnUnapplied(1054))
    assert ask(state, ReturnUnapplied(1054)) == Decision()
    assert payments.view(state).surplus == 1054


def test_the_last_cents_rounded_away_can_still_be_given_back() -> None:
    world = World()
    order = world.place(TOAST)
    world.paid(order, TRANSFER, amount=899)
    last = world.paid(order)
    assert world.payment(last).received == 0
    world.do(world.payments[0].ref, Refund())
    world.do(last, Refund())
    world.deliver_all()
    world.do(order, MoveOrder("cancel"))
    assert not any(world.balances.values())


# -- references

CROCKFORD = set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")


@given(st.uuids())
def test_a_reference_fits_a_bank_statement_and_can_be_read_aloud(ident: UUID) -> None:
    text = reference(PaymentId(ident))
    assert len(text) <= 18
    assert set(text) <= CROCKFORD
    assert text == reference(PaymentId(ident))


def test_ten_thousand_payments_have_ten_thousand_references() -> None:
    ids = Ids(3)
    assert len({reference(PaymentId(ids())) for _ in range(10_000)}) == 10_000


@given(st.sampled_from(sorted(payments.PAYMENT_MOVES)))
def test_events_of_another_noun_change_nothing(move: tuple[PaymentStatus, PaymentStatus]) -> None:
    state = payment(move[0])
    stranger: Event = e.OrderAccepted(state.initiated.order_id)
    assert payments.evolve(state, stranger) is state
