"""What a gateway is told when a payment begins, out of which account, and how long it may take (spec P1, H6)."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tabletap.domain.base import By, Decision, Job, Role
from tabletap.domain.charge import EXPIRES_AFTER, charge_of, reference
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.menu import Wish
from tabletap.domain.order import InitiatePayment
from tabletap.domain.tasks import AnyTask, OpenCharge
from tabletap.domain.vocabulary import MANUAL, Method, Queue, Surplus

from .world import CUSTOMER, STAFF, TOAST, World

CARD, CREDIT, GIFT = Method.PAYCONIC_CARD, Method.CUSTOMER_CREDIT, Method.GIFT_CARD


def begun(world: World, command: InitiatePayment, *wishes: Wish, by: By = STAFF) -> Decision:
    return world.do(world.place(*wishes), command, by)


def job_of(decision: Decision) -> Job:
    (job,) = decision.jobs
    return job


@pytest.mark.parametrize("method", Method)
def test_a_gateway_is_asked_for_the_money_unless_staff_see_it_arrive(method: Method) -> None:
    world = World()
    decision = begun(world, InitiatePayment(method, account=world.account))
    assert len(decision.jobs) == (method not in MANUAL)


def test_the_job_says_all_that_a_gateway_has_to_know() -> None:
    world = World()
    decision = begun(world, InitiatePayment(CARD, 500, tip=50, customer_id="ada"))
    payment = world.payment(decision.births[0].ref)
    job = job_of(decision)
    assert (job.queue, job.key, job.cafe_id) == (Queue.PAYMENTS, str(payment.ref.id), payment.ref.cafe_id)
    assert job.task == OpenCharge(charge_of(payment.initiated))
    assert msgspec.json.decode(msgspec.json.encode(job.task), type=AnyTask) == job.task
    charge = charge_of(payment.initiated)
    assert (charge.amount, charge.currency, charge.customer_id, charge.order_number) == (550, "AUD", "ada", 1)
    assert charge.reference == reference(charge.payment_id)
    assert charge.external_id is None


@pytest.mark.parametrize(
    ("toasts", "tier", "by", "priority"),
    [
        (1, {}, STAFF, 0),
        (12, {}, STAFF, 2),
        (60, {}, STAFF, 5),
        (1, {"customerTier": "premium"}, By(Role.COUNTER), 5),
        (60, {"customerTier": "premium"}, STAFF, 10),
        (1, {"customerTier": "premium"}, CUSTOMER, 0),
        (1, {"customerTier": "basic"}, STAFF, 0),
    ],
)
def test_large_amounts_and_premium_customers_go_first_but_nobody_says_so_of_themselves(
    toasts: int, tier: dict[str, str], by: By, priority: int
) -> None:
    world = World()
    decision = begun(world, InitiatePayment(CARD, metadata={"seat": "4", **tier}), Wish("toast", toasts), by=by)
    assert job_of(decision).priority == priority
    noted = world.payments[0].initiated.metadata
    assert noted == ({"seat": "4"} if by is CUSTOMER else {"seat": "4", **tier})


def test_what_the_door_knows_of_the_payer_is_kept_with_the_payment() -> None:
    world = World()
    facts: dict[str, Any] = {"account": world.account, "credit": world.account, "surplus": Surplus.CREDIT}
    begun(world, InitiatePayment(CREDIT, **facts))
    initiated = world.payments[0].initiated
    assert {name: getattr(initiated, name) for name in facts} == facts
    assert charge_of(initiated).account == world.account


@pytest.mark.parametrize(("method", "field"), [(CREDIT, "customerId"), (GIFT, "giftCard")])
def test_a_payment_out_of_an_account_needs_one(method: Method, field: str) -> None:
    world = World()
    outcome = world.ask(world.place(), InitiatePayment(method))
    assert isinstance(outcome, Refusal)
    assert [error.field for error in outcome.errors] == [field]


@pytest.mark.parametrize(("funds", "enough"), [(950, False), (951, True)])
def test_an_account_that_holds_too_little_is_not_even_asked(funds: int, enough: bool) -> None:
    world = World()
    outcome = world.ask(world.place(TOAST), InitiatePayment(GIFT, tip=50, account=world.account, funds=funds))
    assert isinstance(outcome, Decision) == enough
    assert enough or (isinstance(outcome, Refusal) and outcome.code is Code.INSUFFICIENT_FUNDS)


def test_how_long_a_payment_may_take_is_its_method_s() -> None:
    assert set(EXPIRES_AFTER) == set(Method)
    world = World()
    for method, after in EXPIRES_AFTER.items():
        started = world.payment(world.pay(world.place(), method)).initiated
        assert started.expires_at == world.now + after
    assert EXPIRES_AFTER[Method.PAYCONIC_BANK_TRANSFER] == timedelta(hours=1)
