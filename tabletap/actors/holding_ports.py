"""The money that is held for people, as protocols: what can be read of it, and the accounts themselves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from tabletap.domain.account import AccountView, BarSpending, Entry, EntryView, Movement
from tabletap.domain.base import CafeId, Ref
from tabletap.domain.errors import Refusal
from tabletap.domain.tips import DistributionView, Owed, Pool


class Holdings(Protocol):
    """What is held for people: customers' credit, gift cards, tips."""

    async def account(self, account_id: UUID) -> AccountView | None:
        """The account, if anything has ever moved on it."""
        ...

    async def history(self, account_id: UUID, before: int | None = None, limit: int = 50) -> Sequence[EntryView]:
        """Its movements, newest first. ``before``: the cursor of the last one of the page before."""
        ...

    async def entry(self, account_id: UUID, entry_id: UUID) -> EntryView | None:
        """One movement, however long ago."""
        ...

    async def tip_pool(self, cafe_id: CafeId, since: datetime, until: datetime) -> Pool:
        """What came in as tips from ``since`` to before ``until`` and can be distributed, as of now."""
        ...

    async def tips_owed(self, cafe_id: CafeId) -> Sequence[Owed]:
        """What each of the staff has not been paid out yet, by name."""
        ...

    async def tip_distributions(self, cafe_id: CafeId, limit: int = 50) -> Sequence[DistributionView]:
        """The last distributions, newest first."""
        ...


class Accounts(Protocol):
    """The accounts, as whoever takes payments asks them. Raises ``GatewayDown`` (nothing was done: ask again) and
    ``GatewaySilent`` (it may have been done: look)."""

    async def move(self, command: Movement | BarSpending) -> Refusal | None:
        """Have it done, once. None: it is done, now or before."""
        ...

    async def entry(self, account: Ref, entry_id: UUID) -> Entry | None:
        """How a movement stands; None: nobody has asked for it yet."""
        ...
