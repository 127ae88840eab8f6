"""Customer credit (spec W1): what somebody has, what moved, and staff who give or take back.

The paths name no cafe: it is in the query or the body, and on a socket it is the socket's own.
"""

from typing import Annotated, Any

import msgspec

from tabletap.actors.cafe import GetCafe
from tabletap.domain import access
from tabletap.domain.access import Access, credit_spender
from tabletap.domain.account import AccountView, EntryView, Grant, Holding, Withdraw, credit_account
from tabletap.domain.base import Role
from tabletap.domain.errors import Refusal
from tabletap.domain.vocabulary import AccountKind

from .base import Call, Key, Named, Operation

Amount = Annotated[int, msgspec.Meta(ge=1, le=100_000_00)]
Customer = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Slug = Annotated[str, msgspec.Meta(max_length=64)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

_WHOEVER_MAY_SPEND_IT = Access(access.STAFF | {Role.CUSTOMER})


class BalanceQuery(msgspec.Struct, frozen=True, rename="camel"):
    """``customerId``: customers may leave it out, and can only name themselves."""

    cafe: Slug | None = None
    customer_id: Customer | None = None


class HistoryQuery(BalanceQuery, frozen=True, rename="camel"):
    """``before``: the ``next`` of the page before."""

    before: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class MoveBody(msgspec.Struct, frozen=True, rename="camel"):
    """``amount`` in cents; ``reason``: for staff to read, not for the customer."""

    customer_id: Customer
    amount: Amount
    reason: Reason
    cafe: Slug | None = None


class History(msgspec.Struct, frozen=True):
    """Newest first. ``next``: to go on with; None: that was all."""

    entries: tuple[EntryView, ...]
    next: int | None


async def _holding(call: Call, customer_id: str) -> Holding | Refusal:
    """Where the cafe keeps this customer's credit."""
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    if isinstance(cafe, Refusal):
        return cafe
    ref = credit_account(call.cafe_id, customer_id, cafe.settings.credit)
    return Holding(ref, AccountKind.CREDIT, cafe.settings.currency, customer_id)


async def _asked_for(call: Call) -> Holding | Refusal:
    """The account that the query is about, if it is the principal's to look at."""
    owner = credit_spender(call.principal, call.query.customer_id)
    return owner if isinstance(owner, Refusal) else await _holding(call, owner)


async def balance(call: Call) -> Any:
    """What there is. An account on which nothing has ever moved has nothing."""
    holding = await _asked_for(call)
    if isinstance(holding, Refusal):
        return holding
    found = await call.services.reader.holdings.account(holding.ref.id)
    return AccountView(
        account_id=holding.ref.id,
        balance=found.balance if found else 0,
        currency=found.currency if found else holding.currency,
        customer_id=holding.owner,
    )


async def history(call: Call) -> Any:
    """What moved, page by page."""
    holding = await _asked_for(call)
    if isinstance(holding, Refusal):
        return holding
    limit = call.query.limit
    found = await call.services.reader.holdings.history(holding.ref.id, call.query.before, limit + 1)
    entries = tuple(found[:limit])
    if call.principal.role is Role.CUSTOMER:
        entries = tuple(msgspec.structs.replace(entry, reason=None) for entry in entries)
    return History(entries, entries[-1].cursor if len(found) > limit else None)


async def add(call: Call) -> Any:
    """Staff give credit."""
    return await _move(call, Grant)


async def deduct(call: Call) -> Any:
    """Management takes credit back."""
    return await _move(call, Withdraw)


async def _move(call: Call, movement: type[Grant] | type[Withdraw]) -> Any:
    body: MoveBody = call.body
    holding = await _holding(call, body.customer_id)
    if isinstance(holding, Refusal):
        return holding
    command = movement(holding, call.services.new_id(), body.amount, body.reason)
    return await call.services.desk.ask(holding.ref, command, call.by, call.idempotency)


def _moving(name: str, summary: str, handler: Any, who: Access) -> Operation:
    return Operation(
        name=f"credits.{name}",
        method="POST",
        path=f"/api/credits/{name}",
        summary=summary,
        access=who,
        cafe_by=Named.BODY,
        body=MoveBody,
        reply=AccountView,
        stored=AccountView,
        key=Key.REQUIRED,
        handler=handler,
    )


OPERATIONS = (
    Operation(
        name="credits.balance",
        method="GET",
        path="/api/credits/balance",
        summary="A customer's credit",
        access=_WHOEVER_MAY_SPEND_IT,
        cafe_by=Named.QUERY,
        query=BalanceQuery,
        reply=AccountView,
        handler=balance,
    ),
    Operation(
        name="credits.history",
        method="GET",
        path="/api/credits/history",
        summary="What moved on a customer's credit, newest first",
        access=_WHOEVER_MAY_SPEND_IT,
        cafe_by=Named.QUERY,
        query=HistoryQuery,
        reply=History,
        handler=history,
    ),
    _moving("add", "Give a customer credit", add, Access(access.STAFF)),
    _moving("deduct", "Take credit back", deduct, Access(access.MANAGEMENT)),
)
