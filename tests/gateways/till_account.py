"""Credit and gift cards at the till: their provider is an account actor of ours, on the actors' own loop."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext

import msgspec
from uuid_utils.compat import uuid7

from tabletap.actors.account import DeskAccounts
from tabletap.domain.account import Grant, Holding, credit_account, gift_account
from tabletap.domain.charge import Charge
from tabletap.domain.events import AccountCredited, AccountDebited
from tabletap.domain.vocabulary import AccountKind, CreditScope, Method
from tabletap.gateways.account import AccountGateway
from tests.actors.corner import Corner
from tests.actors.written import Written

from .till import Lacks, Opener, Till

LOADED = 1_000_000
"""Cents on the account: more than any test spends."""

METHODS = {AccountKind.CREDIT: Method.CUSTOMER_CREDIT, AccountKind.GIFT_CARD: Method.GIFT_CARD}


class AccountTill(Till):
    """``payer``: the account that pays."""

    lacks = frozenset({Lacks.STAFF, Lacks.CUSTOMER, Lacks.NETWORK, Lacks.WEBHOOKS, Lacks.SEQUENCE})

    def __init__(self, corner: Corner, payer: Holding) -> None:
        self.method = METHODS[payer.kind]
        self.corner = corner
        self.payer = payer
        self.gateway = AccountGateway(payer.kind, DeskAccounts(corner.desk, Written(corner)))  # type: ignore[arg-type]

    def charge(self, amount: int = 1_250) -> Charge:
        cafe_id = self.corner.cafe_ref.cafe_id
        plain = super().charge(amount)
        return msgspec.structs.replace(plain, cafe_id=cafe_id, account=self.payer.ref, customer_id=self.payer.owner)

    async def taken(self, charge: Charge) -> list[int]:
        debits = await self.corner.events(AccountDebited)
        return [debit.amount for debit in debits if debit.entry_id == charge.payment_id]

    async def given_back(self, charge: Charge) -> list[int]:
        credits_ = await self.corner.events(AccountCredited)
        return [credit.amount for credit in credits_ if credit.payment_id == charge.payment_id]


class Accounts(Opener):
    """A cafe of the test's own, with one account of ``kind`` that has money on it."""

    lacks = AccountTill.lacks

    def __init__(self, kind: AccountKind) -> None:
        self._kind = kind

    def running(self) -> AbstractContextManager[None]:
        return nullcontext()

    @asynccontextmanager
    async def till(self, running: None) -> AsyncIterator[AccountTill]:
        async with Corner().open() as corner:
            payer = self._payer(corner)
            await corner.do(payer.ref, Grant(payer, uuid7(), LOADED))
            yield AccountTill(corner, payer)
        assert corner.crashes == []

    def _payer(self, corner: Corner) -> Holding:
        cafe_id = corner.cafe_ref.cafe_id
        if self._kind is AccountKind.CREDIT:
            return Holding(credit_account(cafe_id, "ann", CreditScope.CAFE), self._kind, "AUD", "ann")
        return Holding(gift_account(cafe_id, "GIFT-1"), self._kind, "AUD")
