"""Cash: staff take it at the counter and say so; there is nobody to ask and nothing to show."""

from collections.abc import Mapping

from tabletap.actors.ports import Heard, MalformedWebhook, Presentation
from tabletap.domain.cafe import Cafe
from tabletap.domain.charge import Charge, RefundOrder, RefundStanding, Standing
from tabletap.domain.payment import PaymentView
from tabletap.domain.vocabulary import ChargeState, RefundState


class CashGateway:
    """Paid at the counter."""

    provider = ""
    manual = True

    async def initiate(self, charge: Charge) -> Standing:  # noqa: ARG002  the money is not here yet
        return Standing(state=ChargeState.OPEN)

    async def verify(self, charge: Charge) -> Standing:  # noqa: ARG002  only staff know more
        return Standing(state=ChargeState.OPEN)

    async def cancel(self, charge: Charge) -> Standing:  # noqa: ARG002  nothing was taken
        return Standing(state=ChargeState.CANCELLED)

    async def refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:  # noqa: ARG002
        """Handed over by staff, who asked for it with the drawer open."""  # hence no argument to look at
        return RefundStanding(state=RefundState.SUCCEEDED)

    async def verify_refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:  # noqa: ARG002  as above
        return RefundStanding(state=RefundState.SUCCEEDED)

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> Heard:  # noqa: ARG002  whoever it was
        raise MalformedWebhook("cash sends no webhooks")

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:  # noqa: ARG002  nothing to show
        """Nothing."""
        return Presentation()
