"""Paying out of an account of ours: customer credit and gift cards (spec P1, W1).

The provider is the account itself, which is idempotent by the ids of payments and refunds. Its no is final: what the
balance did not cover, and what was given up, is barred there, so that asking again later cannot take the money.
"""

from collections.abc import Mapping

from tabletap.actors.holding_ports import Accounts
from tabletap.actors.ports import Heard, MalformedWebhook, Presentation
from tabletap.domain.account import Bar, BarSpending, Deposit, Entry, Holding, Spend
from tabletap.domain.base import Ref
from tabletap.domain.cafe import Cafe
from tabletap.domain.charge import Charge, RefundOrder, RefundStanding, Standing
from tabletap.domain.errors import Code
from tabletap.domain.payment import PaymentView
from tabletap.domain.vocabulary import AccountKind, ChargeState, RefundState

NOT_ENOUGH: Mapping[AccountKind, str] = {
    AccountKind.CREDIT: "not enough credit",
    AccountKind.GIFT_CARD: "not enough on the gift card",
}
NO_ACCOUNT = "there is no account to pay from"
NO_REFUND_ACCOUNT = "there is no account to put it on"


class AccountGateway:
    """Takes from and gives back to accounts of one ``kind``. Whatever the charge was paid by, a refund that names an
    account goes there, as credit."""

    provider = ""
    manual = False

    def __init__(self, kind: AccountKind, accounts: Accounts) -> None:
        self._kind = kind
        self._accounts = accounts

    async def initiate(self, charge: Charge) -> Standing:
        """Take the money at once, or never."""
        if charge.account is None:
            return Standing(state=ChargeState.FAILED, reason=NO_ACCOUNT)
        holding = self._holding(charge.account, charge, self._kind)
        refusal = await self._accounts.move(Spend(holding, charge.payment_id, charge.amount))
        if refusal is None:
            return _taken(charge, charge.amount)
        if refusal.code is not Code.IDEMPOTENCY_KEY_REUSED:  # then it has been spent already, though another amount
            await self._accounts.move(BarSpending(holding, charge.payment_id, Bar.REFUSED))
        return await self.verify(charge)

    async def verify(self, charge: Charge) -> Standing:
        """How it stands with the account."""
        if charge.account is None:
            return Standing(state=ChargeState.FAILED, reason=NO_ACCOUNT)
        return self._standing(charge, await self._accounts.entry(charge.account, charge.payment_id))

    async def cancel(self, charge: Charge) -> Standing:
        """Never take it, unless it has been taken."""
        if charge.account is None:
            return Standing(state=ChargeState.CANCELLED)
        holding = self._holding(charge.account, charge, self._kind)
        await self._accounts.move(BarSpending(holding, charge.payment_id, Bar.GIVEN_UP))
        return await self.verify(charge)

    def _standing(self, charge: Charge, entry: Entry | None) -> Standing:
        match entry:
            case None:
                return Standing(state=ChargeState.ABSENT)
            case Entry(barred=None):
                return _taken(charge, -entry.amount)
            case Entry(barred=Bar.REFUSED):
                return Standing(state=ChargeState.FAILED, reason=NOT_ENOUGH[self._kind])
            case _:
                return Standing(state=ChargeState.CANCELLED)

    async def refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        """Put it (back) on the account, at once."""
        account = refund.account or charge.account
        if account is None:
            return RefundStanding(state=RefundState.FAILED, reason=NO_REFUND_ACCOUNT)
        holding = self._holding(account, charge, AccountKind.CREDIT if refund.account else self._kind)
        elsewhere = refund.account is not None
        refusal = await self._accounts.move(
            Deposit(holding, refund.refund_id, refund.amount, charge.payment_id, elsewhere)
        )
        if refusal is None:
            return _given_back(refund)
        standing = await self.verify_refund(charge, refund)
        if standing.state is RefundState.SUCCEEDED:
            return standing
        return RefundStanding(state=RefundState.FAILED, reason=refusal.message)

    async def verify_refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        """Whether it is on the account."""
        account = refund.account or charge.account
        if account is None:
            return RefundStanding(state=RefundState.FAILED, reason=NO_REFUND_ACCOUNT)
        entry = await self._accounts.entry(account, refund.refund_id)
        if entry is None:
            return RefundStanding(state=RefundState.ABSENT)
        return _given_back(refund) if entry.amount > 0 else RefundStanding(state=RefundState.FAILED)

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> Heard:  # noqa: ARG002  there are none
        """Nobody outside has anything to say of our own accounts."""
        raise MalformedWebhook("accounts of the house send no webhooks")

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:  # noqa: ARG002  nothing to show
        """Nothing: it is paid already, or not at all."""
        return Presentation()

    @staticmethod
    def _holding(account: Ref, charge: Charge, kind: AccountKind) -> Holding:
        owner = charge.customer_id if kind is AccountKind.CREDIT else None
        return Holding(account, kind, charge.currency, owner)


def _taken(charge: Charge, amount: int) -> Standing:
    return Standing(state=ChargeState.SUCCEEDED, external_id=str(charge.payment_id), amount=amount)


def _given_back(refund: RefundOrder) -> RefundStanding:
    return RefundStanding(state=RefundState.SUCCEEDED, external_id=str(refund.refund_id))
