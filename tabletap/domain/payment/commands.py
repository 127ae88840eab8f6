"""What may be asked of, and told to, a payment. What its order says to it is in ``domain.messages``."""

from uuid import UUID

from tabletap.domain.base import Command, Wake
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.messages import ClosePayment, ReturnUnapplied
from tabletap.domain.vocabulary import RefundTo


class VerifyCash(Command, frozen=True):
    """Staff have counted ``tendered`` cents in notes and coins, and put them into the drawer, if one is open."""

    tendered: int
    drawer_id: UUID | None = None


class VerifyTransfer(Command, frozen=True):
    """Staff (or a bank statement, by its line's id) have seen ``received`` cents arrive."""

    received: int
    statement_line: str | None = None


class VerifyNow(Command, frozen=True):
    """Ask the provider now, not when it is due."""


class Cancel(Command, frozen=True):
    """Give it up, so that another way of paying can be chosen."""

    reason: str | None = None


class Refund(Command, frozen=True):
    """Give back ``amount`` (left out: all that is left), the way it came or to the customer's credit."""

    amount: int | None = None
    reason: str | None = None
    drawer_id: UUID | None = None
    to: RefundTo = RefundTo.ORIGINAL


class HearCharge(Command, frozen=True):
    """The provider has said how the charge stands: asked, or by a webhook."""

    standing: Standing


class HearRefund(Command, frozen=True):
    """The provider has said how a refund stands."""

    refund_id: UUID
    standing: RefundStanding


class HearDispute(Command, frozen=True):
    """The provider has taken money back, or given it again."""

    dispute: Dispute


class HearSilence(Command, frozen=True):
    """The provider could not be reached, or never answered: about the charge, or about a refund."""

    refund_id: UUID | None = None
    reason: str | None = None


PaymentCommand = (
    VerifyCash
    | VerifyTransfer
    | VerifyNow
    | Cancel
    | Refund
    | HearCharge
    | HearRefund
    | HearDispute
    | HearSilence
    | ClosePayment
    | ReturnUnapplied
    | Wake
)
