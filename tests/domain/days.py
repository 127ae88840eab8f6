"""Days of a cafe's log, counted without SQL: the facts of any stretch of it, gathered line by line.

What the store's queries are compared with, and what ``open`` is: of what orders and payments themselves say is owed.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tabletap.domain import events as e
from tabletap.domain import ledger
from tabletap.domain import payment as payments
from tabletap.domain.base import Event
from tabletap.domain.daycount import CARRIED, DayCount, Fact, Facts, Hour, count
from tabletap.domain.vocabulary import AccountKind, Channel, Method, RefundTo

from .world import Logged, World, thaw

SYDNEY = ZoneInfo("Australia/Sydney")


def name_of(account: str) -> str:
    """As facts call an account of the ledger."""
    first, colon, _ = account.partition(":")
    return {"credit": "credit", "gift": "gift", "tips": "tips_owed"}.get(first, account) if colon else account


class Gathered:
    """The log so far: who pays how, through which channel, and every entry."""

    def __init__(self, log: Sequence[Logged]) -> None:
        self.log = log
        self.events = [thaw(line.event) for line in log]
        self.methods: dict[UUID, Method] = {}
        self.channels: dict[UUID, Channel] = {}
        self.ways: dict[UUID, Method] = {}
        for event in self.events:
            match event:
                case e.OrderPlaced():
                    self.channels[event.order_id] = event.channel
                case e.PaymentInitiated():
                    self.methods[event.payment_id] = event.method
                case e.RefundRequested():
                    self.ways[event.refund_id] = Method.CUSTOMER_CREDIT if event.to is RefundTo.CREDIT else event.method

    def _way(self, event: Event) -> Method | None:
        if isinstance(event, e.RefundRequested | e.RefundCompleted | e.RefundFailed):
            return self.ways[event.refund_id]
        return self.methods.get(getattr(event, "payment_id", None))  # type: ignore[arg-type]

    def facts(self, after: int, upto: int) -> Facts:
        """Of the lines after the first ``after``, up to the first ``upto``."""
        sums: Counter[Any] = Counter()
        entries: Counter[Any] = Counter()
        before: Counter[str] = Counter()
        ended: Counter[str] = Counter()
        placed = cancelled = 0
        standing: dict[UUID, tuple[int, int]] = {}
        merged: dict[UUID, tuple[int, int]] = {}
        for offset, event in enumerate(self.events[:upto], start=1):
            points = getattr(event, "kind", None) is AccountKind.LOYALTY
            for account, amount in () if points else ledger.postings(event):
                name = name_of(account)
                ended[name] += amount
                if offset <= after:
                    before[name] += amount
                    continue
                moved = isinstance(event, e.MergeUndone) or bool(
                    getattr(event, "absorbed", None) or getattr(event, "merged_into", None)
                )
                channel = self.channels.get(e.order_of(event))  # type: ignore[arg-type]
                key = (e.tag_of(event), name, self._way(event), channel, moved)
                sums[key] += amount
                entries[key] += 1
            if offset > after:
                placed += isinstance(event, e.OrderPlaced)
                cancelled += isinstance(event, e.OrderCancelled) - isinstance(event, e.MergeUndone)
                match event:
                    case e.OrderPlaced():
                        hour = self.log[offset - 1].at.astimezone(SYDNEY).hour
                        standing[event.order_id] = (hour, sum(line.due for line in event.lines))
                    case e.OrderCancelled() if event.order_id in standing:
                        merged[event.order_id] = standing.pop(event.order_id)
                    case e.MergeUndone() if event.order_id in merged:
                        standing[event.order_id] = merged.pop(event.order_id)
        return Facts(
            currency="AUD",
            entries=tuple(
                Fact(event, account, sums[key], entries[key], way, channel, moved)
                for key in sums
                for event, account, way, channel, moved in [key]
            ),
            before={name: before[name] for name in CARRIED},
            after={name: ended[name] for name in CARRIED},
            placed=placed,
            cancelled=cancelled,
            hours=tuple(
                Hour(hour, len(due), sum(due))
                for hour in sorted({hour for hour, _ in standing.values()})
                for due in [[cents for at, cents in standing.values() if at == hour]]
            ),
        )


def counted(world: World, after: int = 0, upto: int | None = None) -> DayCount:
    """The report of a stretch of the world's log."""
    return count(Gathered(world.log).facts(after, len(world.log) if upto is None else upto))


def still_open(world: World) -> int:
    """What orders say is owed, less the money of payments that their orders have not heard of."""
    owed = sum(order.unsettled for order in world.orders)
    return owed - sum(_unheard(world, payment) for payment in world.payments)


def _unheard(world: World, payment: payments.Payment) -> int:
    if payment.completed is None:
        return 0
    started = payment.initiated
    order = next(one for one in world.orders if one.placed.order_id == started.order_id)
    if started.payment_id not in order.applied:
        return payment.completed.amount
    surplus = payment.completed.amount - order.applied[started.payment_id]
    return surplus - payment.unapplied
