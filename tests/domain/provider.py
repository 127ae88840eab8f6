"""A payment provider in miniature: takes and gives back what the test says, once per payment and refund."""

from uuid import UUID

from tabletap.domain.base import Command, PaymentId
from tabletap.domain.charge import Charge, RefundStanding, Standing
from tabletap.domain.payment import HearCharge, HearRefund, HearSilence
from tabletap.domain.tasks import AbandonCharge, GiveBack, OpenCharge, ProcessWebhook, VerifyCharge, VerifyRefund
from tabletap.domain.vocabulary import ChargeState, Method, RefundState

AT_ONCE = frozenset({Method.CUSTOMER_CREDIT, Method.GIFT_CARD})
"""Nobody has to approve these."""

UNDER_WAY = frozenset({ChargeState.OPEN, ChargeState.PROCESSING})

Question = OpenCharge | VerifyCharge | AbandonCharge | GiveBack | VerifyRefund


class Provider:
    """``becomes``: what a charge is as soon as it is opened (None: succeeded where nobody approves it, else open);
    ``refunds_become``: the same of a refund. ``loses``: so many of the next answers never come, though what was asked
    is done; ``down``: so many of the next questions never arrive."""

    def __init__(self) -> None:
        self.becomes: ChargeState | None = None
        self.refunds_become = RefundState.SUCCEEDED
        self.loses = 0
        self.down = 0
        self.charges: dict[PaymentId, Standing] = {}
        self.refunds: dict[UUID, RefundStanding] = {}
        self.given_back: dict[UUID, int] = {}
        """Refund -> cents that have really gone."""

    def says(self, payment_id: PaymentId, standing: Standing) -> None:
        """Somebody has approved or declined it."""
        self.charges[payment_id] = standing

    def says_of_refund(self, refund_id: UUID, state: RefundState) -> None:
        """A refund that was pending is through, or not."""
        self.refunds[refund_id] = RefundStanding(state=state)
        if state is not RefundState.SUCCEEDED:
            self.given_back.pop(refund_id, None)

    @property
    def taken(self) -> int:
        """Cents of all charges."""
        return sum(one.amount for one in self.charges.values() if one.state is ChargeState.SUCCEEDED)

    def asked(self, task: Question | ProcessWebhook) -> Command:
        """What a cashier tells the payment after having asked."""
        assert not isinstance(task, ProcessWebhook), "nobody stores webhooks here"
        refund_id = task.refund.refund_id if isinstance(task, GiveBack | VerifyRefund) else None
        if self.down:
            self.down -= 1
            return HearSilence(refund_id, "down")
        heard = self._done(task)
        if self.loses:
            self.loses -= 1
            return HearSilence(refund_id, "no answer")
        return heard

    def _done(self, task: Question) -> Command:
        charge = task.charge
        match task:
            case OpenCharge():
                return HearCharge(self.charges.setdefault(charge.payment_id, self._opened(charge)))
            case VerifyCharge():
                return HearCharge(self.charges.get(charge.payment_id, Standing(state=ChargeState.ABSENT)))
            case AbandonCharge():
                stands = self.charges.get(charge.payment_id, Standing(state=ChargeState.OPEN))
                if stands.state in UNDER_WAY:
                    stands = Standing(state=ChargeState.CANCELLED)
                self.charges[charge.payment_id] = stands
                return HearCharge(stands)
            case GiveBack():
                refund = task.refund
                if refund.refund_id not in self.refunds:
                    self.refunds[refund.refund_id] = RefundStanding(state=self.refunds_become)
                    if self.refunds_become is not RefundState.FAILED:
                        self.given_back[refund.refund_id] = refund.amount
                return HearRefund(refund.refund_id, self.refunds[refund.refund_id])
            case VerifyRefund():
                absent = RefundStanding(state=RefundState.ABSENT)
                return HearRefund(task.refund.refund_id, self.refunds.get(task.refund.refund_id, absent))

    def _opened(self, charge: Charge) -> Standing:
        state = self.becomes or (ChargeState.SUCCEEDED if charge.method in AT_ONCE else ChargeState.OPEN)
        amount = charge.amount if state is ChargeState.SUCCEEDED else 0
        return Standing(state=state, external_id=f"ext_{charge.payment_id.hex[-8:]}", amount=amount)
