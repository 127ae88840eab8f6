"""An account: what the house holds for somebody. Customer credit (spec W1), what is on a gift card (W3), and the points
of a phone number (W4), which are no money but kept as carefully.

The first movement opens it. Each movement has an id of its own (the payment it was spent on, the refund it comes from):
the same one again changes nothing, with another amount it is refused. The balance is never below nothing, whoever asks
at the same moment, because all of them ask here, one after the other.

A spending that was given up, or that the balance did not cover, is *barred*: remembered as an entry of nothing, so that
no late repeat of it takes money after somebody was told that none was taken.

A gift card expires by the cafe's rule: from that moment nothing is taken from it, and what is left is the cafe's. What
is refunded to it later makes it good again for a while.

An account lives for years, so it remembers only its last ``ENTRIES_REMEMBERED`` movements. What may be older than those
is refused, never done twice: ids are UUIDv7 and say when they were made.

Reading order: ``state``, ``commands``, ``moving``, ``view``.
"""

from tabletap.domain.holding import Holding, credit_account, gift_account, loyalty_account, points_of

from .commands import (
    AccountCommand,
    BarSpending,
    Deposit,
    Discount,
    Grant,
    Movement,
    Return,
    Spend,
    Use,
    Withdraw,
)
from .moving import decide
from .state import ENTRIES_REMEMBERED, REVIVED_FOR, Account, Bar, Entry, born, evolve, wake_at
from .view import AccountView, EntryView, view

__all__ = [
    "ENTRIES_REMEMBERED",
    "REVIVED_FOR",
    "Account",
    "AccountCommand",
    "AccountView",
    "Bar",
    "BarSpending",
    "Deposit",
    "Discount",
    "Entry",
    "EntryView",
    "Grant",
    "Holding",
    "Movement",
    "Return",
    "Spend",
    "Use",
    "Withdraw",
    "born",
    "credit_account",
    "decide",
    "evolve",
    "gift_account",
    "loyalty_account",
    "points_of",
    "view",
    "wake_at",
]
