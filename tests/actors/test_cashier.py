"""Workers that tell an entity something: what costs their job an attempt, and what does not."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from tabletap.actors.cashier import Cashier, NotHeard
from tabletap.actors.desk import Desk
from tabletap.actors.ports import Sent
from tabletap.actors.runtime import RefusedForNow, System
from tabletap.actors.withdrawing import NotWithdrawn, Withdrawing
from tabletap.domain.base import SYSTEM, CafeId, Job, Kind, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.payment import HearCharge, HearRefund
from tabletap.domain.tasks import GiveBack, VerifyCharge, WithdrawPayments
from tabletap.domain.vocabulary import ChargeState, Method, Queue, RefundState
from tests.domain.world import NOON
from tests.gateways.till import new_charge, new_refund

CAFE = CafeId(UUID(int=1))
CHARGE, REFUND = new_charge(Method.PAYCONIC_CARD, 1_250), new_refund(100)
NO_GATEWAY: dict[Any, Any] = {}


class Told:
    """A desk where everybody answers the same."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.commands: list[Any] = []

    async def tell(self, _ref: Ref, command: Any, _by: Any) -> Any:
        self.commands.append(command)
        return self.answer


class Orders:
    async def unreleased(self, _cafe: CafeId, _sku: str) -> list[UUID]:
        return [UUID(int=7)]


async def charges(desk: Any) -> None:
    await Cashier(NO_GATEWAY, desk).charge(VerifyCharge(CHARGE))


async def refunds(desk: Any) -> None:
    await Cashier(NO_GATEWAY, desk).refund(GiveBack(CHARGE, REFUND))


async def withdraws(desk: Any) -> None:
    task = WithdrawPayments(Ref(Kind.CAFE, CAFE, CAFE), "toast", NOON)
    sent = Sent(UUID(int=2), Job(Queue.ORDERS, "key", CAFE, task), SYSTEM)
    await Withdrawing(Orders(), desk).withdraw(task, sent)  # type: ignore[arg-type]


WORKERS = pytest.mark.parametrize("work", [charges, refunds, withdraws])
Work = Callable[[Any], Awaitable[None]]


async def test_who_pays_in_a_way_that_is_not_taken_here_is_told_that_it_failed() -> None:
    desk = Told()
    await charges(desk)
    await refunds(desk)
    charge, refund = desk.commands
    assert isinstance(charge, HearCharge)
    assert isinstance(refund, HearRefund)
    assert (charge.standing.state, refund.standing.state) == (ChargeState.FAILED, RefundState.FAILED)


@WORKERS
@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.UNAVAILABLE, Code.NOT_EXECUTED, Code.OUTCOME_UNKNOWN])
async def test_an_entity_that_cannot_be_told_now_costs_no_attempt(work: Work, code: Code) -> None:
    with pytest.raises(RefusedForNow) as refused:
        await work(Told(Refusal(code, "later", retry_after_s=3)))
    assert refused.value.retry_after_seconds == 3


@WORKERS
async def test_an_entity_that_says_no_costs_one(work: Work) -> None:
    with pytest.raises((NotHeard, NotWithdrawn)):
        await work(Told(Refusal(Code.ILLEGAL_MOVE, "no")))


@WORKERS
async def test_a_job_of_a_former_life_that_comes_before_the_actors_are_up_costs_no_attempt(work: Work) -> None:
    nobody: Any = None
    system = System(dict.fromkeys(("order", "payment"), nobody))
    with pytest.raises(RefusedForNow):
        await work(Desk(system, nobody, ask_timeout_s=1, follow_s=1))
