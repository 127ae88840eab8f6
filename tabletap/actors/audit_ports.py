"""What audits and reconciliation need, as protocols: the ledger, the log, the rounds, a provider's statement.

The store implements the first three, gateways the last where their provider offers it. Every method raises
``actors.runtime.Outage`` when the database cannot be reached.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable
from uuid import UUID

import msgspec

from tabletap.domain.base import CafeId, OrderId, PaymentId, Ref
from tabletap.domain.charge import Charge, Standing
from tabletap.domain.reconciliation import Known, Run, Stuck

from .ports import Recorded

# -- the ledger and the log


class Balance(msgspec.Struct, frozen=True, rename="camel"):
    """What stands on an account, in cents: debit positive, credit negative."""

    account: str
    currency: str
    balance: int


class Posted(msgspec.Struct, frozen=True, rename="camel"):
    """An entry: line ``line`` (from 1) of what the event at ``offset`` has moved."""

    offset: int
    line: int
    account: str
    currency: str
    amount: int
    order_id: OrderId | None
    payment_id: PaymentId | None
    at: datetime


class Balances(Protocol):
    """The ledger of a cafe."""

    async def balances(
        self, cafe_id: CafeId, at: datetime | None, after: tuple[str, str], limit: int
    ) -> Sequence[Balance]:
        """By account and currency, ``after`` one of them; ``at``: as the entries up to then add up (None: now)."""
        ...

    async def entries(
        self, cafe_id: CafeId, account: str | None, before: tuple[int, int] | None, limit: int
    ) -> Sequence[Posted]:
        """Newest first, ``before`` an offset and line; of one account or of all."""
        ...


class Trail(Protocol):
    """What has happened to an order."""

    async def events(self, cafe_id: CafeId, order_id: OrderId, after: int, limit: int) -> Sequence[Recorded]:
        """The events about an order and its payments after an offset, oldest first."""
        ...


# -- the rounds


class Turn(msgspec.Struct, frozen=True):
    """It is ours. ``since``: when the last run that was finished began (None: there was none)."""

    since: datetime | None


class Rounds(Protocol):
    """Where reconciliation finds what may be wrong, and keeps what it found. Each list is the oldest ``limit``."""

    async def begin(self, run_id: UUID, now: datetime, *, not_after: datetime | None) -> Turn | None:
        """Begin a run, unless another is under way or (``not_after``) has begun since then: None."""
        ...

    async def finish(self, run: Run) -> None:
        """Keep what a run has found; forget very old ones."""
        ...

    async def newest(self) -> Run | None:
        """The run that was finished last."""
        ...

    async def under_way(self, begun_before: datetime, limit: int) -> Sequence[Charge]:
        """Payments that are open and whose provider can be asked."""
        ...

    async def known(self, payment_ids: Collection[PaymentId]) -> Mapping[PaymentId, Known]:
        """How payments stand here; those that are unknown are left out."""
        ...

    async def overdue_payments(self, expired_before: datetime, limit: int) -> Sequence[Ref]:
        """Open payments that should have been given up."""
        ...

    async def stuck_messages(self, since: datetime, limit: int) -> Sequence[Stuck]:
        """What has been waiting in the outbox since then or longer, by receiver."""
        ...

    async def stale_orders(self, placed_before: datetime, limit: int) -> Sequence[tuple[Ref, int]]:
        """Orders (with their numbers) that nobody has paid or is about to pay, and that the kitchen does not have."""
        ...

    async def unreleased_orders(self, paid_before: datetime, limit: int) -> Sequence[tuple[Ref, int]]:
        """Orders (with their numbers) that are paid, due, and not in the kitchen."""
        ...


# -- a provider's statement


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """A charge as its provider lists it. ``payment_id`` None: ``reference`` is none of our ids."""

    reference: str
    payment_id: PaymentId | None
    standing: Standing


class StatedPage(msgspec.Struct, frozen=True):
    """``next``: what to ask ``after`` for the next page; None: that was all."""

    charges: Sequence[Stated]
    next: str | None


@runtime_checkable
class Statement(Protocol):
    """A gateway whose provider tells what has changed there."""

    async def changed_since(self, since: datetime, after: str | None, limit: int) -> StatedPage:
        """Charges that changed since, in the order in which they did. Raises GatewayDown and GatewaySilent."""
        ...
