"""Who comes first, and how often each queue tries (spec H6)."""

from uuid import UUID

import msgspec
import pytest

from tabletap.domain.base import CafeId
from tabletap.domain.jobs import POLICIES, Backoff, FlowState, QueuePolicy, priority_of
from tabletap.domain.vocabulary import Queue


@pytest.mark.parametrize(
    ("amount", "premium", "priority"),
    [
        (0, False, 0),
        (100_00, False, 0),
        (100_01, False, 2),
        (500_00, False, 2),
        (500_01, False, 5),
        (100_00, True, 5),
        (100_01, True, 7),
        (500_01, True, 10),
        (10_000_000_00, True, 10),
    ],
)
def test_the_more_money_the_sooner_and_premium_customers_sooner_still(
    amount: int, premium: bool, priority: int
) -> None:
    assert priority_of(amount, premium=premium) == priority


def test_every_queue_has_its_policy() -> None:
    assert set(POLICIES) == set(Queue)


def test_a_webhook_is_tried_three_times_exponentially_from_two_seconds() -> None:
    policy = POLICIES[Queue.WEBHOOKS]
    assert policy.attempts == 3
    assert [policy.pause_s(failures) for failures in (1, 2)] == [2.0, 4.0]


def test_a_payment_is_tried_five_times_and_longer_than_its_provider_takes_to_time_out() -> None:
    assert POLICIES[Queue.PAYMENTS].attempts == 5
    assert POLICIES[Queue.PAYMENTS].deadline_s > 30.0


def test_pauses_are_fixed_or_double_up_to_a_bound() -> None:
    growing = QueuePolicy(first_pause_s=2.0, longest_pause_s=10.0)
    assert [growing.pause_s(failures) for failures in (1, 2, 3, 4, 5000)] == [2, 4, 8, 10, 10]
    steady = QueuePolicy(backoff=Backoff.FIXED, first_pause_s=2.0)
    assert [steady.pause_s(failures) for failures in (1, 2, 9)] == [2, 2, 2]


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"at_once": 0}, {"first_pause_s": -1}, {"first_pause_s": 301}, {"backof": "fixed"}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, QueuePolicy)


def test_a_flow_is_complete_when_all_its_jobs_are_done() -> None:
    def flow(done: int, dead: int) -> FlowState:
        return FlowState(flow_id=UUID(int=1), cafe_id=CafeId(UUID(int=2)), total=3, done=done, dead=dead)

    assert flow(3, 0).complete
    assert not flow(2, 0).complete
    assert not flow(2, 1).complete
