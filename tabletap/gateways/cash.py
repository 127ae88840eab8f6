"""Cash: there is nothing to show; the customer comes to the counter."""

from tabletap.actors.ports import Presentation
from tabletap.domain.cafe import Cafe
from tabletap.domain.payment import PaymentView


class CashGateway:
    """Paid at the counter."""

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:  # noqa: ARG002  nothing to show
        """Nothing."""
        return Presentation()
