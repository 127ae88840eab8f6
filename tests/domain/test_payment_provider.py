"""A payment and its provider: asked again and again, heard twice, late and out of order, and never charged twice."""

from datetime import timedelta
from itertools import product
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import events as e
from tabletap.domain import payment as payments
from tabletap.domain.base import CafeId, Decision, Kind, Ref, Wake
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.ledger import postings
from tabletap.domain.messages import NoteRefund, ReturnUnapplied, Settle
from tabletap.domain.payment import (
    Cancel,
    HearCharge,
    HearDispute,
    HearRefund,
    HearSilence,
    Payment,
    Refund,
    VerifyNow,
    VerifyTransfer,
)
from tabletap.domain.tasks import AbandonCharge, GiveBack, OpenCharge, VerifyCharge, VerifyRefund
from tabletap.domain.vocabulary import (
    ChargeState,
    Method,
    PaymentStatus,
    Queue,
    RefundState,
    RefundStatus,
    RefundTo,
    Surplus,
)

from .test_payment_lifecycle import CARD, TRANSFER, ask, done, payment, succeeded
from .world import NOON

CREDIT = Ref(Kind.ACCOUNT, UUID(int=8), CafeId(UUID(int=9)))


def tasks(outcome: Decision | Refusal) -> list[type]:
    assert isinstance(outcome, Decision), outcome
    return [type(job.task) for job in outcome.jobs]


def minutes_until(state: Payment) -> float | None:
    at = payments.wake_at(state)
    return None if at is None else (at - NOON) / timedelta(minutes=1)


# -- asking


def test_a_payment_nobody_speaks_of_is_asked_about_after_thirty_seconds_and_then_less_and_less_often() -> None:
    state, asked = payment("processing", Method.PAYCONIC_BANK_TRANSFER), []
    for _ in range(7):
        at = minutes_until(state)
        assert at is not None
        outcome = ask(state, Wake(), at)  # type: ignore[arg-type]
        assert tasks(outcome) == [VerifyCharge]
        asked.append(at)
        state = done(state, Wake(), at)  # type: ignore[arg-type]
    assert asked == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 26.0]


def test_jobs_of_a_payment_wait_in_its_own_line_of_the_queue_by_its_worth() -> None:
    state = payment("processing", CARD, amount=600_00)
    outcome = ask(state, VerifyNow())
    assert isinstance(outcome, Decision)
    (job,) = outcome.jobs
    assert (job.queue, job.key, job.priority) == (Queue.PAYMENTS, str(state.initiated.payment_id), 5)
    assert outcome.events == ()


def test_silence_is_followed_by_a_question_soon_and_never_by_another_charge() -> None:
    state = payment("pending", CARD)
    pauses = []
    for _ in range(6):
        state = done(state, HearSilence(), 1)
        pauses.append((minutes_until(state) or 0) - 1)
    assert [round(pause * 60) for pause in pauses] == [2, 4, 8, 16, 32, 60]
    assert tasks(ask(state, Wake(), 3)) == [VerifyCharge]


def test_a_charge_the_provider_never_heard_of_is_asked_for_again_under_the_same_id() -> None:
    state = done(payment("pending", CARD), HearSilence())
    outcome = ask(state, HearCharge(Standing(state=ChargeState.ABSENT)))
    assert isinstance(outcome, Decision)
    (job,) = outcome.jobs
    assert isinstance(job.task, OpenCharge)
    assert job.task.charge.payment_id == state.initiated.payment_id
    assert job.task.charge.amount == state.initiated.total


@pytest.mark.parametrize("how", [Cancel(), Wake()])
def test_what_is_given_up_here_is_given_up_at_the_provider_and_followed_until_that_is_settled(how: Cancel) -> None:
    state = payment("processing", CARD)
    outcome = ask(state, how, 30)
    assert tasks(outcome) == [AbandonCharge]
    state = done(state, how, 30)
    due = minutes_until(state)
    assert due is not None
    assert tasks(ask(state, Wake(), due)) == [AbandonCharge]  # type: ignore[arg-type]
    state = done(state, HearCharge(Standing(state=ChargeState.CANCELLED)), 31)
    assert state.final
    assert payments.wake_at(state) is None


def test_what_failed_at_the_provider_needs_no_giving_up() -> None:
    outcome = ask(payment("processing", CARD), HearCharge(Standing(state=ChargeState.FAILED, reason="declined")))
    assert tasks(outcome) == []
    state = done(payment("processing", CARD), HearCharge(Standing(state=ChargeState.FAILED, reason="declined")))
    assert (state.status, state.closed_reason, payments.wake_at(state)) == ("failed", "declined", None)


def test_a_payment_that_came_to_nothing_is_not_asked_about_for_ever() -> None:
    state, questions = done(payment("processing", CARD), Cancel()), 0
    while (due := minutes_until(state)) is not None:
        questions += bool(tasks(ask(state, Wake(), due)))  # type: ignore[arg-type]
        state = done(state, Wake(), due)  # type: ignore[arg-type]
        assert questions < 100
    assert state.final
    assert done(state, HearCharge(succeeded())).status == "completed"


STATES = [
    HearCharge(Standing(state=state, external_id="pay_1", amount=1154 if state is ChargeState.SUCCEEDED else 0))
    for state in ChargeState
]


@given(st.lists(st.sampled_from([*STATES, HearSilence(), Cancel(), VerifyNow()]), max_size=12))
def test_in_whatever_order_and_however_often_a_provider_speaks_money_is_counted_once(said: list[HearCharge]) -> None:
    state, balance, settled = payment("pending", CARD), 0, 0
    for minute, command in enumerate(said):
        outcome = ask(state, command, minute)
        if isinstance(outcome, Refusal):
            continue
        for event in outcome.events:
            balance += sum(entry.amount for entry in postings(event) if entry.account == "provider:payconic")
            state = payments.evolve(state, event)
        settled += sum(isinstance(message.command, Settle) for message in outcome.messages)
    paid = any(command == STATES[3] for command in said)
    assert STATES[3].standing.state is ChargeState.SUCCEEDED
    assert (state.status == "completed") == paid
    assert (balance, settled) == ((1154, 1) if paid else (0, 0))


# -- refunds

MOVES = {
    "pending": {"processing", "completed", "failed"},
    "processing": {"completed", "failed"},
    "completed": set(),
    "failed": set(),
}


def test_the_table_of_a_refund_s_moves_is_the_one_of_the_specification() -> None:
    assert set(MOVES) == set(RefundStatus)
    assert {(was.value, to.value) for was, to in payments.REFUND_MOVES} == {
        (was, to) for was, tos in MOVES.items() for to in tos
    }


def refunding(status: str, amount: int | None = 500) -> tuple[Payment, UUID]:
    """A card payment of 1154 with a refund at ``status``."""
    state = done(payment("completed", CARD), Refund(amount))
    refund_id = next(iter(state.refunds))
    heard = {"processing": RefundState.PENDING, "completed": RefundState.SUCCEEDED, "failed": RefundState.FAILED}
    if status in heard:
        state = done(state, HearRefund(refund_id, RefundStanding(state=heard[status], reason="no")))
    assert state.refunds[refund_id].status == status
    return state, refund_id


LEADS = {
    RefundState.ABSENT: dict(zip(MOVES, ("pending", "processing", "completed", "failed"), strict=True)),
    RefundState.PENDING: dict(zip(MOVES, ("processing", "processing", "completed", "failed"), strict=True)),
    RefundState.SUCCEEDED: dict(zip(MOVES, ("completed", "completed", "completed", "failed"), strict=True)),
    RefundState.FAILED: dict(zip(MOVES, ("failed", "failed", "completed", "failed"), strict=True)),
}


@pytest.mark.parametrize(("status", "said"), [*product(MOVES, LEADS)])
def test_what_a_provider_says_of_a_refund_leads_where_it_must(status: str, said: RefundState) -> None:
    state, refund_id = refunding(status)
    after = done(state, HearRefund(refund_id, RefundStanding(state=said)))
    to = LEADS[said][status]
    assert after.refunds[refund_id].status == to
    assert to == status or to in MOVES[status]
    if status in ("completed", "failed"):
        assert after == state


def test_a_refund_under_way_promises_its_money_and_the_order_hears_when_it_is_done() -> None:
    state, refund_id = refunding("pending")
    assert (state.status, state.refundable, state.refunded) == ("completed", 654, 0)
    too_much = ask(state, Refund(655))
    assert isinstance(too_much, Refusal)
    assert too_much.code is Code.REFUND_EXCEEDS_ORIGINAL
    outcome = ask(state, HearRefund(refund_id, RefundStanding(state=RefundState.SUCCEEDED)))
    assert isinstance(outcome, Decision)
    assert [message.command for message in outcome.messages] == [NoteRefund(state.initiated.payment_id, refund_id, 500)]
    state = done(state, HearRefund(refund_id, RefundStanding(state=RefundState.SUCCEEDED)))
    assert (state.status, state.refunded) == ("partially_refunded", 500)


def test_a_refund_that_failed_can_be_asked_for_again_another_way() -> None:
    state, refund_id = refunding("failed", None)
    assert (state.status, state.refundable) == ("completed", 1154)
    again = done(state, Refund())
    assert next(iter(again.refunds)) == refund_id
    assert len(again.refunds) == 2


def test_a_refund_without_an_answer_is_looked_up_and_asked_for_again_only_if_it_is_not_there() -> None:
    state, refund_id = refunding("pending")
    state = done(state, HearSilence(refund_id=refund_id))
    assert tasks(ask(state, Wake(), 2)) == [VerifyRefund]
    assert tasks(ask(state, HearRefund(refund_id, RefundStanding(state=RefundState.ABSENT)))) == [GiveBack]
    assert tasks(ask(state, HearRefund(refund_id, RefundStanding(state=RefundState.PENDING)))) == []


def test_two_refunds_under_way_make_the_payment_refunded_with_the_last_of_them() -> None:
    state, first = refunding("pending", 500)
    state = done(state, Refund())
    second = [*state.refunds][1]
    done_ = RefundStanding(state=RefundState.SUCCEEDED)
    state = done(state, HearRefund(second, done_))
    assert state.status == "partially_refunded"
    assert done(state, HearRefund(first, done_)).status == "refunded"
    assert done(state, HearRefund(first, RefundStanding(state=RefundState.FAILED))).refundable == 500


def test_a_refund_to_credit_goes_to_the_customer_s_account_by_a_job() -> None:
    state = payment("completed", CARD, credit=CREDIT)
    outcome = ask(state, Refund(400, to=RefundTo.CREDIT))
    assert isinstance(outcome, Decision)
    (job,) = outcome.jobs
    assert isinstance(job.task, GiveBack)
    assert job.task.refund.account == CREDIT


@given(
    st.lists(st.tuples(st.integers(1, 900), st.sampled_from(["completed", "failed", "pending"])), max_size=6),
    st.integers(0, 1054),
    st.integers(0, 6),
)
def test_refunds_that_are_done_fail_or_wait_never_promise_more_than_came_in_and_the_ledger_says_the_same(
    asked: list[tuple[int, str]], unapplied: int, when: int
) -> None:
    balances: dict[str, int] = {}
    state = payment("processing", CARD)

    def carry(state: Payment, command: object) -> Payment:
        outcome = ask(state, command)  # type: ignore[arg-type]
        if isinstance(outcome, Refusal):
            return state
        for event in outcome.events:
            for entry in postings(event):
                balances[entry.account] = balances.get(entry.account, 0) + entry.amount
            state = payments.evolve(state, event)
        return state

    state = carry(state, HearCharge(succeeded()))
    for index, (amount, end) in enumerate(asked):
        if index == when and unapplied:
            state = carry(state, ReturnUnapplied(unapplied))
        before = len(state.refunds)
        state = carry(state, Refund(amount))
        if len(state.refunds) > before and end != "pending":
            said = RefundState.SUCCEEDED if end == "completed" else RefundState.FAILED
            state = carry(state, HearRefund([*state.refunds][-1], RefundStanding(state=said)))
    waiting = sum(one.requested.amount for one in state.refunds.values() if one.status in payments.UNDER_WAY)
    assert sum(balances.values()) == 0
    assert balances["provider:payconic"] == 1154 - 33 - state.refunded
    assert balances.get("refunds_due", 0) == -waiting
    assert balances.get("unapplied", 0) == -state.spare <= 0
    assert balances.get("tips", 0) <= 0
    assert 0 <= state.refundable == 1154 - state.refunded - waiting


# -- money nobody had use for


@pytest.mark.parametrize(
    ("rule", "method", "credit", "to"),
    [
        (Surplus.REFUND, CARD, None, RefundTo.ORIGINAL),
        (Surplus.REFUND, CARD, CREDIT, RefundTo.ORIGINAL),
        (Surplus.CREDIT, CARD, CREDIT, RefundTo.CREDIT),
        (Surplus.CREDIT, CARD, None, RefundTo.ORIGINAL),
        (Surplus.CREDIT, TRANSFER, CREDIT, RefundTo.CREDIT),
        (Surplus.CREDIT, TRANSFER, None, None),
        (Surplus.REFUND, TRANSFER, CREDIT, None),
        (Surplus.HOLD, CARD, CREDIT, None),
    ],
)
def test_money_that_came_too_late_goes_where_the_cafe_wants_it(
    rule: Surplus, method: Method, credit: object, to: RefundTo | None
) -> None:
    state = payment("expired", method, surplus=rule, credit=credit)  # type: ignore[arg-type]
    state = done(state, VerifyTransfer(1154) if method is TRANSFER else HearCharge(succeeded()))
    state = done(state, ReturnUnapplied(1054))
    refunds = [record.requested for record in state.refunds.values()]
    assert [(refund.to, refund.amount) for refund in refunds] == ([] if to is None else [(to, 1054)])
    assert state.spare == (1054 if to is None else 0)


def test_more_than_was_asked_goes_back_at_once() -> None:
    state = done(payment("processing", CARD, surplus=Surplus.REFUND), HearCharge(succeeded(1300)))
    (refund,) = state.refunds.values()
    assert (refund.requested.amount, refund.requested.from_surplus) == (146, 146)


def test_a_second_transfer_is_owed_back_and_the_same_line_of_a_statement_counts_once() -> None:
    state = done(payment("pending"), VerifyTransfer(1154, "line 1"))
    state = done(state, VerifyTransfer(1154, "line 2"))
    assert ask(state, VerifyTransfer(1154, "line 1")) == ask(state, VerifyTransfer(1154, "line 2")) == Decision()
    assert (state.received, state.spare, state.refundable) == (2308, 1154, 2308)
    assert payments.view(state).surplus == 1154


@pytest.mark.parametrize(("shown", "spare"), [(1154, 0), (1000, 0), (1200, 46)])
def test_what_staff_have_seen_is_not_counted_again_when_the_statement_shows_it(shown: int, spare: int) -> None:
    state = done(payment("pending"), VerifyTransfer(1154))
    state = done(state, VerifyTransfer(shown, "line 1"))
    assert ask(state, VerifyTransfer(shown, "line 1")) == Decision()
    assert (state.spare, state.received) == (spare, 1154 + spare)
    assert done(state, VerifyTransfer(500, "line 2")).spare == spare + 500


# -- chargebacks


def test_a_chargeback_counts_once_and_what_was_taken_back_cannot_be_refunded() -> None:
    state = payment("completed", CARD)
    opened = HearDispute(Dispute(dispute_id="d", amount=1154, fee=25))
    state = done(state, opened)
    assert ask(state, opened) == Decision()
    assert (state.disputed, state.refundable) == (1154, 0)
    assert isinstance(ask(state, Refund()), Refusal)
    won = HearDispute(Dispute(dispute_id="d", amount=1154, won=True))
    state = done(state, won)
    assert ask(state, won) == Decision()
    assert (state.disputed, state.refundable) == (0, 1154)


def test_a_chargeback_that_is_heard_of_backwards_ends_as_it_would_have_forwards() -> None:
    opened, won = (HearDispute(Dispute(dispute_id="d", amount=1154, fee=25, won=won)) for won in (False, True))
    forwards = done(done(payment("completed", CARD), opened), won)
    backwards = done(payment("completed", CARD), won)
    assert backwards == forwards
    assert ask(backwards, opened) == Decision()
    assert (backwards.disputed, backwards.refundable) == (0, 1154)


def test_events_of_a_payment_at_its_provider_rest_as_json() -> None:
    state = payment("completed", CARD, credit=CREDIT)
    outcome = ask(state, Refund(10, to=RefundTo.CREDIT))
    assert isinstance(outcome, Decision)
    for event in outcome.events:
        assert msgspec.json.decode(msgspec.json.encode(event), type=e.AnyEvent) == event
    assert state.status is PaymentStatus.COMPLETED
