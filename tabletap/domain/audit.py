"""What must match what, if the ledger is right: rules over one entity at a time, and the words for what breaks them.

The ledger is proven in three steps. Its entries are the postings of the log, event by event, and sum to nothing; its
balances are the sums of its entries; and what stands on an account is what orders, payments, drawers and accounts of
customers say of themselves (the rules here). ``store.audit`` reads, these judge.

Money may be on its way: a payment has it and its order is about to hear so. That is told, not blamed, as long as
something is still going to be done about it.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from .base import CafeId, Ref
from .drawer import Drawer
from .events import AccountCredited, AccountDebited, DrawerCashTaken
from .ledger import GUARDED_FROM_ABOVE, GUARDED_FROM_BELOW, HELD_FOR_SOMEBODY, TENDER
from .order import Order
from .payment import CLOSED, OPEN, UNDER_WAY, Payment
from .tips import TipJar
from .vocabulary import Method

TENDER_ACCOUNTS: Final = frozenset(TENDER.values())
TRANSIT: Final = frozenset({TENDER[Method.CUSTOMER_CREDIT], TENDER[Method.GIFT_CARD]})
"""Where credit is between the account it is held on and the payment it is spent on."""

HELD_FOR_CUSTOMERS: Final = ("credit:", "gift:", "loyalty:")
OWED_TO_STAFF: Final = "tips:"


class Rule(StrEnum):
    """What can be broken."""

    LOG = "log"
    SUM = "sum"
    ENTRIES = "entries"
    BALANCE = "balance"
    BOUND = "bound"
    RECEIVABLE = "receivable"
    CLEARING = "clearing"
    TENDER = "tender"
    REFUNDS_DUE = "refunds_due"
    UNAPPLIED = "unapplied"
    TRANSIT = "transit"
    HELD = "held"
    TIPS = "tips"
    DRAWER = "drawer"
    ROW = "row"


class Finding(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Something that does not match, or money on its way. ``about``: the entity, account or offset it is about."""

    rule: Rule
    about: str
    words: str
    cafe_id: CafeId | None = None


Sums = Mapping[str, int]
"""Cents by account: the entries of one entity, added up."""


def cents(amount: int) -> str:
    """An amount as an auditor reads it.

    >>> cents(-1205)
    '-12.05'
    """
    whole, part = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{whole}.{part:02}"


def entries_of_event(expected: Sequence[tuple[Any, ...]], found: Sequence[tuple[Any, ...]]) -> str | None:
    """Entries (account, currency, amount, order, payment) as the log gives them, and as the ledger has them."""
    if list(expected) == list(found):
        return None
    return f"the log posts {_told(expected)}, the ledger has {_told(found)}"


def _told(entries: Iterable[tuple[Any, ...]]) -> str:
    told = []
    for account, currency, amount, order_id, payment_id in entries:
        whose = f" of payment {payment_id}" if payment_id else f" of order {order_id}" if order_id else ""
        told.append(f"{account} {cents(amount)} {currency}{whose}")
    return ", ".join(told) or "nothing"


def bound_of(account: str, balance: int) -> str | None:
    """A guarded account that is on the side where it may never be."""
    if account in GUARDED_FROM_BELOW and balance < 0:
        return f"{account} stands at {cents(balance)}: it may not be less than nothing"
    if (account in GUARDED_FROM_ABOVE or account.startswith(HELD_FOR_SOMEBODY)) and balance > 0:
        return f"{account} is overdrawn by {cents(balance)}"
    return None


def of_order(order: Order, sums: Sums) -> list[Finding]:
    """``sums``: of the events about the order and its payments."""
    receivable, owed = sums.get("receivable", 0), order.unsettled
    if receivable == owed:
        return []
    words = f"the ledger says that {cents(receivable)} is still owed on it, the order says {cents(owed)}"
    return [Finding(Rule.RECEIVABLE, f"order {order.placed.order_id}", words, order.placed.cafe_id)]


class Judged(msgspec.Struct, frozen=True):
    """A payment: what does not match, what is on its way, and what of it is in transit to or from an account."""

    faults: list[Finding]
    on_its_way: list[Finding]
    in_transit: int


def of_payment(payment: Payment, order: Order | None, sums: Sums, held: int, *, waits: bool) -> Judged:
    """``sums``: of the entries that name the payment, among the events about its order.

    ``held``: what the accounts of ours that paid or were refunded to have put in transit for it (less what they took).
    ``waits``: whether something still rests in the outbox for the payment or its order.
    """
    faults: list[Finding] = []
    on_its_way: list[Finding] = []
    started = payment.initiated

    def put(where: list[Finding], rule: Rule, words: str) -> None:
        where.append(Finding(rule, f"payment {started.payment_id}", words, started.cafe_id))

    taken = sum(amount for account, amount in sums.items() if account in TENDER_ACCOUNTS) + sums.get("fees", 0)
    kept = payment.received - payment.refunded - payment.disputed
    if taken != kept:
        put(
            faults,
            Rule.TENDER,
            f"{cents(taken)} came in by the ledger, {cents(kept)} by the payment: received {cents(payment.received)}, "
            f"refunded {cents(payment.refunded)}, disputed {cents(payment.disputed)}",
        )
    due = sum(refund.requested.amount for refund in payment.refunds.values() if refund.status in UNDER_WAY)
    if sums.get("refunds_due", 0) != -due:
        promised = cents(-sums.get("refunds_due", 0))
        put(faults, Rule.REFUNDS_DUE, f"the ledger promises {promised} in refunds, those under way are {cents(due)}")
    if sums.get("unapplied", 0) != -payment.spare:
        owed_back = cents(-sums.get("unapplied", 0))
        put(faults, Rule.UNAPPLIED, f"the ledger owes {owed_back} back, the payment {cents(payment.spare)}")

    noted = order.applied.get(started.payment_id, 0) if order else 0
    moving = (payment.completed.amount if payment.completed else 0) - noted - payment.unapplied
    clearing = -sums.get("clearing", 0)
    if clearing != moving:
        put(faults, Rule.CLEARING, f"{cents(clearing)} is in clearing, {cents(moving)} is on its way to the order")
    elif moving and waits:
        put(on_its_way, Rule.CLEARING, f"{cents(moving)} is on its way between payment and order")
    elif moving:
        put(faults, Rule.CLEARING, f"{cents(moving)} is in clearing, and nothing is left that would move it on")

    transit = sum(amount for account, amount in sums.items() if account in TRANSIT) + held
    if transit and _may_hear_more(payment):
        put(on_its_way, Rule.TRANSIT, f"{cents(abs(transit))} is on its way between the payment and an account")
    elif transit:
        words = f"{cents(abs(transit))} is in transit between the payment and an account, and neither waits for it"
        put(faults, Rule.TRANSIT, words)
    return Judged(faults, on_its_way, transit)


def _may_hear_more(payment: Payment) -> bool:
    unsure = payment.status in OPEN or (payment.status in CLOSED and not payment.final)
    return unsure or any(refund.status in UNDER_WAY for refund in payment.refunds.values())


def of_drawer(
    drawer: Drawer, taken: Iterable[DrawerCashTaken], sums: Sums, moved: Mapping[UUID, frozenset[int]]
) -> list[Finding]:
    """``taken``: what went through it. ``moved``: payment -> what came in by it, and (negative) what went out."""

    def fault(words: str) -> Finding:
        return Finding(Rule.DRAWER, f"drawer {drawer.opened.drawer_id}", words, drawer.opened.cafe_id)

    faults = []
    closed = drawer.closed
    own = drawer.opened.float_amount + drawer.moved + (closed.difference if closed else 0)
    if sums.get("cash", 0) != own:
        faults.append(fault(f"it holds {cents(own)} beside its sales, the ledger says {cents(sums.get('cash', 0))}"))
    if closed is not None and closed.difference != closed.counted - closed.expected:
        words = f"it was closed {cents(closed.difference)} off, but {cents(closed.counted)} less "
        faults.append(fault(f"{words}{cents(closed.expected)} is {cents(closed.counted - closed.expected)}"))
    faults += [
        fault(f"{cents(one.amount)} went through it for payment {one.payment_id}, which knows nothing of that")
        for one in taken
        if one.amount not in moved.get(one.payment_id, frozenset())
    ]
    return faults


def of_held(account: Ref, moves: Sequence[AccountCredited | AccountDebited], sums: Sums) -> list[Finding]:
    """``moves``: all that was put on the account and taken from it, each with the balance it left."""
    held = 0
    faults: list[Finding] = []
    for move in moves:
        held += move.amount if isinstance(move, AccountCredited) else -move.amount
        if held != move.balance:
            words = f"after {move.entry_id} it says that it holds {cents(move.balance)}, its moves sum to {cents(held)}"
            faults.append(Finding(Rule.HELD, f"account {account.id}", words, account.cafe_id))
    posted = -sum(amount for name, amount in sums.items() if name.startswith(HELD_FOR_CUSTOMERS))
    if posted != held:
        words = f"it holds {cents(held)}, the ledger says {cents(posted)}"
        faults.append(Finding(Rule.HELD, f"account {account.id}", words, account.cafe_id))
    return faults


def of_tips(jar: TipJar, sums: Sums) -> list[Finding]:
    """What each of the staff is still owed, by the jar and by the ledger."""
    owed = {user: amount for user, amount in jar.owed.items() if amount}
    posted = {
        account.removeprefix(OWED_TO_STAFF): -amount
        for account, amount in sums.items()
        if account.startswith(OWED_TO_STAFF) and amount
    }
    faults = []
    for user in sorted(owed.keys() | posted.keys()):
        mine, ledgers = owed.get(user, 0), posted.get(user, 0)
        if mine != ledgers:
            words = f"{user} is owed {cents(mine)} in tips, the ledger says {cents(ledgers)}"
            faults.append(Finding(Rule.TIPS, f"tips of {user}", words, jar.cafe_id))
    return faults
