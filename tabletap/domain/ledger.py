"""The ledger: every movement of money as a balanced double entry, derived from events by one table.

The chart of accounts (per cafe, per currency; debit positive, credit negative):

======================  =========  ====================================================================
account                 kind       what stands on it
======================  =========  ====================================================================
``cash``                asset      notes and coins in the drawers
``bank``                asset      the cafe's bank account
``provider:NAME``       asset      what a payment provider holds for the cafe until it pays it out
``credit_transit``      asset      credit on its way between an account and a payment: 0 at rest; of the
                                   installation's credit, what installation and cafe owe each other
``gift_transit``        asset      the same of gift cards
``receivable``          asset      what orders still owe
``clearing``            asset      money a payment has taken and its order has not noted yet: 0 at rest
``sales``               income     sales without tax
``service_charge``      income     service charges without tax: no tip, the cafe's own
``refunds``             income     sales given back whose order stands (a contra account), less what cards that were
                                   refunded still had
``discounts``           income     what points took off orders, without tax (a contra account)
``tax:CLASS``           liability  tax contained in sales, by tax class
``tips``                liability  tips, owed to staff and not distributed yet; a debit balance is tips that were
                                   refunded after they had been distributed, kept back from the next ones
``tips:USER``           liability  distributed to one of the staff, not paid out yet
``credit:ACCOUNT``      liability  a customer's credit
``gift:ACCOUNT``        liability  what is left on a gift card
``gift_sold``           liability  gift cards that orders buy, until they are paid and the cards are good
``gift_redeemed``       income     what tills took off cards for sales of their own, which are not in this ledger
``breakage``            income     what was left on cards that expired
``credit_granted``      expense    credit that staff gave away (less what they took back), cards they loaded
``unapplied``           liability  money received that no order had use for, owed back
``refunds_due``         liability  refunds that are promised and not given back yet
``rounding``            expense    cash rounding, gained or given away
``fees``                expense    what providers keep for their work
``chargebacks``         expense    payments that providers have taken back
``drawer_float``        equity     cash put into or taken out of drawers for other reasons
``drawer_difference``   expense    counted less than expected (or more)
``loyalty:ACCOUNT``     points     what a phone number has; in the unit ``PTS``, which no cent is worth
``points``              points     the other side of all points
======================  =========  ====================================================================

Every function here is pure; the store writes the entries in the transaction of the event that caused them.
"""

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any, NamedTuple

from . import events as e
from .base import Event
from .vocabulary import AccountKind, Cause, Method, RefundTo


class Entry(NamedTuple):
    """``amount`` cents onto ``account``: debit positive, credit negative."""

    account: str
    amount: int


GUARDED_FROM_BELOW = frozenset({"receivable"})
"""Accounts that may never be less than nothing: an order is never paid beyond its total."""

GUARDED_FROM_ABOVE = frozenset({"unapplied", "refunds_due"})
"""Liabilities whose debit balance would mean that more was given back than was owed."""

HELD_FOR_SOMEBODY = ("credit:", "gift:", "tips:", "loyalty:")
"""What accounts begin with that hold something of somebody's: nobody can take more than they have."""

TENDER: MappingProxyType[Method, str] = MappingProxyType(
    {
        Method.CASH: "cash",
        Method.QR_CODE_BANK_TRANSFER: "bank",
        Method.PAYCONIC_CARD: "provider:payconic",
        Method.PAYCONIC_BANK_TRANSFER: "provider:payconic",
        Method.PAYCONIC_DIGITAL_WALLET: "provider:payconic",
        Method.STRIPE_CARD: "provider:stripe",
        Method.CUSTOMER_CREDIT: "credit_transit",
        Method.GIFT_CARD: "gift_transit",
    }
)
"""Which asset each way of paying lands on."""


_HELD: MappingProxyType[AccountKind, tuple[str, str]] = MappingProxyType(
    {
        AccountKind.CREDIT: ("credit", TENDER[Method.CUSTOMER_CREDIT]),
        AccountKind.GIFT_CARD: ("gift", TENDER[Method.GIFT_CARD]),
        AccountKind.LOYALTY: ("loyalty", "points"),
    }
)
"""What the accounts of each kind begin with, and where what is on them comes from and goes to, if nothing else says."""

_GIFT_CAUSE: MappingProxyType[Cause | None, str] = MappingProxyType(
    {
        Cause.SOLD: "gift_sold",
        Cause.USED: "gift_redeemed",
        Cause.RETURNED: "gift_redeemed",
        Cause.EXPIRED: "breakage",
        Cause.TAKEN_BACK: "refunds",
    }
)
"""The other side of what moves on a gift card, where it is no payment of ours."""


def guarded_from_above(account: str) -> bool:
    """Whether the account may never have a debit balance."""
    return account in GUARDED_FROM_ABOVE or account.startswith(HELD_FOR_SOMEBODY)


def _sale(lines: Iterable[e.Numbered]) -> list[Entry]:
    entries: list[Entry] = []
    for line in lines:
        entries += (
            Entry("receivable", line.due),
            Entry("gift_sold" if line.gift else "sales", line.tax - line.total),
            Entry("service_charge", line.service_tax - line.service),
            *(Entry(f"tax:{tax_class}", -tax) for tax_class, tax in line.taxes.items()),
        )
    return entries


def _reversal(reversal: e.Reversal) -> list[Entry]:
    taxes = [Entry(f"tax:{tax_class}", tax) for tax_class, tax in reversal.tax.items()]
    return [
        Entry("sales", reversal.net),
        Entry("gift_sold", reversal.gift),
        Entry("service_charge", reversal.service),
        *taxes,
        Entry("receivable", -reversal.from_receivable),
        Entry("refunds", -reversal.from_refunds),
    ]


def _completed(event: e.PaymentCompleted) -> list[Entry]:
    return [
        Entry(TENDER[event.method], event.received - event.fee),
        Entry("fees", event.fee),
        Entry("clearing", -event.amount),
        Entry("tips", -event.tip),
        Entry("rounding", -event.rounding),
        Entry("unapplied", -event.surplus),
    ]


def _promised(event: e.RefundRequested | e.RefundFailed) -> list[Entry]:
    """Out of where it was received; a refund that failed puts it back."""
    return [
        Entry("refunds_due", -event.amount),
        Entry("unapplied", event.from_surplus),
        Entry("refunds", event.from_sale),
        Entry("tips", event.from_tip),
        Entry("rounding", event.from_rounding),
    ]


def _given_back(event: e.RefundCompleted) -> list[Entry]:
    way = TENDER[Method.CUSTOMER_CREDIT if event.to is RefundTo.CREDIT else event.method]
    return [Entry("refunds_due", event.amount), Entry(way, -event.amount)]


def _disputed(event: e.PaymentDisputed) -> list[Entry]:
    return [
        Entry("chargebacks", event.amount),
        Entry("fees", event.fee),
        Entry(TENDER[event.method], -event.amount - event.fee),
    ]


def _held(event: e.AccountCredited | e.AccountDebited) -> list[Entry]:
    kind, other = _HELD[event.kind]
    if event.kind is not AccountKind.LOYALTY and event.granted:
        other = "credit_granted"
    elif event.kind is AccountKind.GIFT_CARD:
        other = _GIFT_CAUSE.get(event.cause, other)
    amount = event.amount if isinstance(event, e.AccountCredited) else -event.amount
    return [Entry(other, amount), Entry(f"{kind}:{event.account_id}", -amount)]


def _discounted(event: e.OrderDiscounted | e.DiscountReturned) -> list[Entry]:
    """Less is owed, of which a part is less tax."""
    taxes = [Entry(f"tax:{tax_class}", tax) for tax_class, tax in event.tax.items()]
    return [Entry("receivable", -event.amount), Entry("discounts", event.amount - sum(event.tax.values())), *taxes]


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
        e.MoreReceived: lambda event: [
            Entry(TENDER[event.method], event.amount),
            Entry("unapplied", -event.amount),
        ],
        e.RefundRequested: _promised,
        e.RefundCompleted: _given_back,
        e.RefundFailed: lambda event: [Entry(entry.account, -entry.amount) for entry in _promised(event)],
        e.PaymentDisputed: _disputed,
        e.DisputeWon: lambda event: [
            Entry(TENDER[event.method], event.amount),
            Entry("chargebacks", -event.amount),
        ],
        e.OrderDiscounted: _discounted,
        e.DiscountReturned: lambda event: [Entry(entry.account, -entry.amount) for entry in _discounted(event)],
        e.AccountCredited: _held,
        e.AccountDebited: _held,
        e.TipsDistributed: lambda event: [
            Entry("tips", event.amount),
            *(Entry(f"tips:{share.user}", -share.amount) for share in event.shares),
        ],
        e.TipsPaidOut: lambda event: [Entry(f"tips:{event.user}", event.amount), Entry(event.way, -event.amount)],
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
