"""Who pays: out of which account of ours, if out of one, and onto which credit a refund may go."""

from typing import Annotated, Any

import msgspec

from tabletap.actors.account import GetAccount
from tabletap.domain import access
from tabletap.domain.account import AccountView, credit_account, gift_account
from tabletap.domain.base import Ref
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.settings import CafeSettings
from tabletap.domain.vocabulary import Method

from .base import Call

GiftCode = Annotated[str, msgspec.Meta(min_length=4, max_length=40)]


class Payer(msgspec.Struct, frozen=True):
    """``account`` had ``funds`` cents a moment ago; ``credit``: of the customer, where one is known."""

    customer_id: str | None
    account: Ref | None = None
    funds: int | None = None
    credit: Ref | None = None


async def payer_of(
    call: Call, method: Method, customer_id: str | None, gift_card: str | None, settings: CafeSettings
) -> Payer | Refusal:
    """Who pays with ``method``. That there is enough is asked at the door, so that nobody waits in vain; the account
    itself decides when it is asked for the money."""
    payer = Payer(customer_id, credit=_credit(call, customer_id, settings))
    match method:
        case Method.CUSTOMER_CREDIT:
            spender = access.credit_spender(call.principal, customer_id)
            if isinstance(spender, Refusal):
                return spender
            account = credit_account(call.cafe_id, spender, settings.credit)
            payer = Payer(spender, account, credit=account)
        case Method.GIFT_CARD if gift_card is not None:
            payer = msgspec.structs.replace(payer, account=gift_account(call.cafe_id, gift_card))
        case _:
            return payer
    assert payer.account is not None
    found: AccountView | Refusal = await call.services.desk.query(payer.account, GetAccount())
    if isinstance(found, Refusal):
        return _without_account(payer, method, found)
    if found.currency != settings.currency:
        return invalid("currency", f"the account is in {found.currency}, the order in {settings.currency}")
    return msgspec.structs.replace(payer, funds=found.balance)


def _without_account(payer: Payer, method: Method, missing: Refusal) -> Payer | Refusal:
    if missing.code is not Code.NOT_FOUND:
        return missing
    if method is Method.GIFT_CARD:
        return invalid("giftCard", "there is no such gift card")
    return msgspec.structs.replace(payer, funds=0)


def _credit(call: Call, customer_id: str | None, settings: CafeSettings) -> Ref | None:
    """Where a refund to credit may go: to whom staff name, else to whose order it is."""
    by_staff = call.principal.order_id is None and call.principal.role in access.STAFF
    subject: Any = call.subject
    customer = (customer_id if by_staff else None) or subject.customer_id
    return None if customer is None else credit_account(call.cafe_id, customer, settings.credit)
