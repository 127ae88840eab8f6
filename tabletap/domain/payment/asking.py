"""Questions to a payment's gateway, as jobs: what is asked, and when it is asked again."""

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import Context, Job, Task
from tabletap.domain.charge import Charge, charge_of
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.jobs import priority_of
from tabletap.domain.tasks import AbandonCharge, VerifyCharge
from tabletap.domain.vocabulary import PaymentStatus, Queue

from .state import CLOSED, Payment, silence_pause, verification_pause


def illegal(state: Payment, to: PaymentStatus) -> Refusal:
    return Refusal(Code.ILLEGAL_MOVE, f"a payment that is {state.status} cannot become {to}")


def charge(state: Payment) -> Charge:
    """The payment as its gateway needs to know it."""
    return msgspec.structs.replace(charge_of(state.initiated), external_id=state.external_id)


def job(state: Payment, task: Task) -> Job:
    """Work for this payment's gateway: one thing after the other."""
    started = state.initiated
    premium = started.metadata.get("customerTier") == "premium"
    return Job(
        Queue.PAYMENTS,
        str(started.payment_id),
        started.cafe_id,
        task,
        priority=priority_of(started.total, premium=premium),
    )


def question(state: Payment) -> Job:
    """Ask how it stands; one that was given up is given up at the provider, which answers the same."""
    asked: Task = AbandonCharge(charge(state)) if state.status in CLOSED else VerifyCharge(charge(state))
    return job(state, asked)


def planned(state: Payment, ctx: Context, *, silent: bool = False, reason: str | None = None) -> e.VerificationPlanned:
    """When the provider is asked next; ``silent``: soon, since its answer never came."""
    attempt = state.attempt + 1
    pause = silence_pause(attempt) if silent else verification_pause(attempt)
    started = state.initiated
    return e.VerificationPlanned(
        payment_id=started.payment_id, order_id=started.order_id, attempt=attempt, at=ctx.now + pause, reason=reason
    )
