"""The cashier: asks gateways what payments want asked, and tells the payments what was heard.

Each question is a job, done outside of every mailbox and at least once; the gateway and the payment are both
idempotent, so a crash between asking and telling only means asking again. What a provider does not answer is told as
silence, and the payment looks it up when it sees fit: no question is ever repeated here.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from tabletap.domain.base import SYSTEM, Command, Kind, Ref, Task
from tabletap.domain.charge import Charge, RefundStanding, Standing
from tabletap.domain.errors import Refusal
from tabletap.domain.payment import HearCharge, HearRefund, HearSilence
from tabletap.domain.tasks import AbandonCharge, GiveBack, OpenCharge, VerifyCharge, VerifyRefund
from tabletap.domain.vocabulary import ChargeState, Method, RefundState

from .desk import Desk, come_back_if_not_now
from .ports import Gateway, GatewayDown, GatewaySilent

log = structlog.get_logger(__name__)

NOT_TAKEN_HERE = "this way of paying is not taken here"


class NotHeard(Exception):  # noqa: N818  read as a sentence at the raise
    """The payment refused what it was told: tried again, and a dead letter if it keeps refusing."""


class Cashier:
    """``gateways``: by way of paying."""

    def __init__(self, gateways: Mapping[Method, Gateway], desk: Desk) -> None:
        self._gateways = gateways
        self._desk = desk

    async def charge(self, task: OpenCharge | VerifyCharge | AbandonCharge) -> None:
        """Open, look up or give up a charge."""
        heard = await self._ask_charge(task)
        await self._tell(task.charge, heard)

    async def refund(self, task: GiveBack | VerifyRefund) -> None:
        """Give money back, or look up whether it was."""
        heard = await self._ask_refund(task)
        await self._tell(task.charge, heard)

    async def _ask_charge(self, task: OpenCharge | VerifyCharge | AbandonCharge) -> Command:
        charge = task.charge
        gateway = self._gateways.get(charge.method)
        if gateway is None:
            return HearCharge(Standing(state=ChargeState.FAILED, reason=NOT_TAKEN_HERE))
        try:
            match task:
                case OpenCharge():
                    standing = await gateway.initiate(charge)
                case VerifyCharge():
                    standing = await gateway.verify(charge)
                case AbandonCharge():
                    standing = await gateway.cancel(charge)
        except (GatewayDown, GatewaySilent) as silence:
            return HearSilence(reason=_words(silence, task, charge))
        return HearCharge(standing)

    async def _ask_refund(self, task: GiveBack | VerifyRefund) -> Command:
        refund = task.refund
        method = task.charge.method if refund.account is None else Method.CUSTOMER_CREDIT
        gateway = self._gateways.get(method)
        if gateway is None:
            return HearRefund(refund.refund_id, RefundStanding(state=RefundState.FAILED, reason=NOT_TAKEN_HERE))
        try:
            match task:
                case GiveBack():
                    standing = await gateway.refund(task.charge, refund)
                case VerifyRefund():
                    standing = await gateway.verify_refund(task.charge, refund)
        except (GatewayDown, GatewaySilent) as silence:
            return HearSilence(refund_id=refund.refund_id, reason=_words(silence, task, task.charge))
        return HearRefund(refund.refund_id, standing)

    async def _tell(self, charge: Charge, heard: Command) -> None:
        payment = Ref(Kind.PAYMENT, charge.payment_id, charge.cafe_id)
        answer: Any = await self._desk.tell(payment, heard, SYSTEM)
        come_back_if_not_now(payment, answer)
        if isinstance(answer, Refusal):
            raise NotHeard(f"{answer.code}: {answer.message}")


def _words(silence: Exception, task: Task, charge: Charge) -> str:
    log.info("gateway_silent", payment=str(charge.payment_id), asked=type(task).__name__, why=type(silence).__name__)
    down = isinstance(silence, GatewayDown)
    return "the provider cannot be reached" if down else "the provider has not answered"
