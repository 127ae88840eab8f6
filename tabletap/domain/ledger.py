"""The ledger: every movement of money as a balanced double entry, derived from events by one table.

The chart of accounts (per cafe, per currency; debit positive, credit negative):

======================  =========  ====================================================================
account                 kind       what stands on it
======================  =========  ====================================================================
``cash``                asset      notes and coins in the drawers
``bank``                asset      the cafe's bank account
``receivable``          asset      what orders still owe
``clearing``            asset      money a payment has taken and its order has not noted yet: 0 at rest
``sales``               income     sales without tax
``refunds``             income     sales given back whose order stands (a contra account)
``tax:CLASS``           liability  tax contained in sales, by tax class
``tips``                liability  tips, owed to staff
``unapplied``           liability  money received that no order had use for, owed back
``rounding``            expense    cash rounding, gained or given away
``drawer_float``        equity     cash put into or taken out of drawers for other reasons
``drawer_difference``   expense    counted less than expected (or more)
======================  =========  ====================================================================

Every function here is pure; the store writes the entries in the transaction of the event that caused them.
"""

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, NamedTuple

from . import events as e
from .base import Event
from .vocabulary import Method


class Entry(NamedTuple):
    """``amount`` cents onto ``account``: debit positive, credit negative."""

    account: str
    amount: int


GUARDED_FROM_BELOW = frozenset({"receivable"})
"""Accounts that may never be less than nothing: an order is never paid beyond its total."""

GUARDED_FROM_ABOVE = frozenset({"unapplied"})
"""Liabilities whose debit balance would mean that more was given back than was owed."""

TENDER: MappingProxyType[Method, str] = MappingProxyType(
    {
        Method.CASH: "cash",
        Method.QR_CODE_BANK_TRANSFER: "bank",
    }
)
"""Which asset each way of paying lands on."""


def _sale(lines: Iterable[e.Numbered]) -> list[Entry]:
    entries: list[Entry] = []
    for line in lines:
        entries += (
            Entry("receivable", line.total),
            Entry("sales", line.tax - line.total),
            Entry(f"tax:{line.tax_class}", -line.tax),
        )
    return entries


def _reversal(reversal: e.Reversal) -> list[Entry]:
    taxes = [Entry(f"tax:{tax_class}", tax) for tax_class, tax in reversal.tax.items()]
    return [
        Entry("sales", reversal.net),
        *taxes,
        Entry("receivable", -reversal.from_receivable),
        Entry("refunds", -reversal.from_refunds),
    ]


def _completed(event: e.PaymentCompleted) -> list[Entry]:
    return [
        Entry(TENDER[event.method], event.received),
        Entry("clearing", -event.amount),
        Entry("tips", -event.tip),
        Entry("rounding", -event.rounding),
        Entry("unapplied", -event.surplus),
    ]


def _refunded(event: e.PaymentRefunded) -> list[Entry]:
    return [
        Entry(TENDER[event.method], -event.amount),
        Entry("unapplied", event.from_surplus),
        Entry("refunds", event.from_sale),
        Entry("tips", event.from_tip),
        Entry("rounding", event.from_rounding),
    ]


POSTINGS: MappingProxyType[type[Event], Callable[[Any], list[Entry]]] = MappingProxyType(
    {
        e.OrderPlaced: lambda event: _sale(event.lines),
        e.OrderChanged: lambda event: _sale(event.added),
        e.MergeUndone: lambda event: _sale(event.lines),
        e.ItemVoided: lambda event: _reversal(event.reversal),
        e.OrderCancelled: lambda event: _reversal(event.reversal),
        e.PaymentCompleted: _completed,
        e.PaymentSettled: lambda event: [Entry("clearing", event.amount), Entry("receivable", -event.amount)],
        e.PaymentUnapplied: lambda event: [
            Entry("clearing", event.amount),
            Entry("unapplied", event.given_back - event.amount),
            Entry("refunds", -event.given_back),
        ],
        e.PaymentRefunded: _refunded,
        e.DrawerOpened: lambda event: [Entry("cash", event.float_amount), Entry("drawer_float", -event.float_amount)],
        e.DrawerMoved: lambda event: [Entry("cash", event.amount), Entry("drawer_float", -event.amount)],
        e.DrawerClosed: lambda event: [Entry("cash", event.difference), Entry("drawer_difference", -event.difference)],
    }
)
"""Event -> entries. An event that is not here moves no money."""


def postings(event: Event) -> tuple[Entry, ...]:
    """The entries of ``event``: one per account, none of zero, and always summing to zero."""
    derive = POSTINGS.get(type(event))
    if derive is None:
        return ()
    balances: dict[str, int] = {}
    for account, amount in derive(event):
        balances[account] = balances.get(account, 0) + amount
    entries = tuple(Entry(account, amount) for account, amount in balances.items() if amount)
    if sum(entry.amount for entry in entries) != 0:
        raise AssertionError(f"unbalanced posting of {e.tag_of(event)}: {entries}")
    return entries
