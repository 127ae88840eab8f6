"""The ledger as management reads it: what stands on its accounts, at any time, and how it came there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from tabletap.actors.audit_ports import Balance, Posted
from tabletap.domain import access
from tabletap.domain.access import Access

from .base import Call, Operation

MOST = 500
"""Lines of an answer."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Account = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]{1,100}$")]  # NUL is no text that a database knows
AfterAccount = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]{1,100} [A-Z]{3}$")]
BeforeEntry = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,18}-[0-9]{1,4}$")]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class BalancesQuery(msgspec.Struct, frozen=True):
    """``at``: as it was then (left out: now). ``after``: the ``next`` of the page before."""

    at: Moment | None = None
    after: AfterAccount | None = None
    limit: Limit = MOST


class BalancesReply(msgspec.Struct, frozen=True):
    """Debit positive, credit negative, in cents; all of a currency sum to 0. ``next``: where there are more."""

    at: datetime
    balances: Sequence[Balance]
    next: str | None


class EntriesQuery(msgspec.Struct, frozen=True):
    """``account`` left out: of all. ``before``: the ``next`` of the page before."""

    account: Account | None = None
    before: BeforeEntry | None = None
    limit: Limit = 100


class EntriesReply(msgspec.Struct, frozen=True):
    """Newest first. ``next``: where there are more."""

    entries: Sequence[Posted]
    next: str | None


async def balances(call: Call) -> Any:
    """By account, page by page."""
    query: BalancesQuery = call.query
    account, _, currency = (query.after or "").rpartition(" ")
    found = await call.services.balances.balances(call.cafe_id, query.at, (account, currency), query.limit)
    more = len(found) == query.limit
    return BalancesReply(
        at=query.at or call.services.now(),
        balances=found,
        next=f"{found[-1].account} {found[-1].currency}" if more else None,
    )


async def entries(call: Call) -> Any:
    """Newest first, page by page."""
    query: EntriesQuery = call.query
    offset, _, line = (query.before or "").partition("-")
    before = (int(offset), int(line)) if line else None
    found = await call.services.balances.entries(call.cafe_id, query.account, before, query.limit)
    more = len(found) == query.limit
    return EntriesReply(entries=found, next=f"{found[-1].offset}-{found[-1].line}" if more else None)


OPERATIONS = (
    Operation(
        name="ledger.balances",
        method="GET",
        path="/api/{cafe}/ledger/balances",
        summary="What stands on the accounts of the ledger, now or at a past time",
        access=Access(access.MANAGEMENT),
        query=BalancesQuery,
        reply=BalancesReply,
        handler=balances,
    ),
    Operation(
        name="ledger.entries",
        method="GET",
        path="/api/{cafe}/ledger/entries",
        summary="The entries of the ledger, of one account or all, newest first",
        access=Access(access.MANAGEMENT),
        query=EntriesQuery,
        reply=EntriesReply,
        handler=entries,
    ),
)
