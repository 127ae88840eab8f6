"""An account: money of somebody's that the house holds, customer credit (spec W1) or what is on a gift card.

The first movement opens it. Each movement has an id of its own (the payment it was spent on, the refund it comes from):
the same one again changes nothing, with another amount it is refused. The balance is never below nothing, whoever asks
at the same moment, because all of them ask here, one after the other.

A spending that was given up, or that the balance did not cover, is *barred*: remembered as an entry of nothing, so that
no late repeat of it takes money after somebody was told that none was taken.

An account lives for years, so it remembers only its last ``ENTRIES_REMEMBERED`` movements. What may be older than those
is refused, never done twice: ids are UUIDv7 and say when they were made.
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never
from uuid import UUID, uuid5

import msgspec

from . import events as e
from .base import INSTALLATION_CAFE, NOTHING, CafeId, Command, Context, Decision, Event, Kind, PaymentId, Ref
from .errors import Code, Refusal, invalid
from .vocabulary import AccountKind, CreditScope

ENTRIES_REMEMBERED = 1_000
"""Movements by id. A repeat comes after seconds, in an outage after hours; a wallet makes a few movements a day."""


def credit_account(cafe_id: CafeId, customer_id: str, scope: CreditScope) -> Ref:
    """Where a customer's credit is held: at the cafe, or (by the cafe's setting) for the whole installation."""
    holder = INSTALLATION_CAFE if scope is CreditScope.INSTALLATION else cafe_id
    return Ref(Kind.ACCOUNT, uuid5(holder, f"credit:{customer_id}"), holder)


def gift_account(cafe_id: CafeId, code: str) -> Ref:
    """Where the money of a gift card is held. Spaces, hyphens and case of ``code`` do not matter.

    The code itself is worth money: only this digest of it is ever written down.
    """
    plain = "".join(sign for sign in code.upper() if sign.isalnum())
    digest = hashlib.sha256(plain.encode()).hexdigest()
    return Ref(Kind.ACCOUNT, uuid5(cafe_id, f"gift:{digest}"), cafe_id)


# -- state


class Bar(StrEnum):
    """Why a spending was barred: it was given up in time, or the balance did not cover it."""

    GIVEN_UP = "given_up"
    REFUSED = "refused"


class Entry(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A movement: ``amount`` credited, or (negative) debited; 0 where it was barred. ``back``: refunded of it."""

    amount: int
    barred: Bar | None = None
    back: int = 0


class Account(msgspec.Struct, frozen=True):
    """``entries``: the last movements, oldest first. ``forgotten_ms``: no older id (milliseconds since the epoch) is
    known to be new."""

    opened: e.AccountOpened
    balance: int = 0
    entries: dict[UUID, Entry] = {}
    forgotten_ms: int = -1

    @property
    def ref(self) -> Ref:
        return Ref(Kind.ACCOUNT, self.opened.account_id, self.opened.cafe_id)

    def forgot(self, entry_id: UUID) -> bool:
        """Whether nobody here can tell if there was such a movement."""
        return entry_id not in self.entries and _made_ms(entry_id) <= self.forgotten_ms


def _made_ms(entry_id: UUID) -> int:
    """When an id was made, by its own word; of other ids than UUIDv7: never too long ago."""
    return entry_id.int >> 80 if entry_id.version == 7 else 1 << 48


# -- commands


class Holding(msgspec.Struct, frozen=True):
    """Which account a command is for, and what it is: the first movement opens it so."""

    ref: Ref
    kind: AccountKind
    currency: str
    owner: str | None = None


class Grant(Command, frozen=True):
    """Staff give ``amount`` away, or load a gift card."""

    holding: Holding
    entry_id: UUID
    amount: int
    reason: str | None = None


class Withdraw(Command, frozen=True):
    """Staff take ``amount`` back."""

    holding: Holding
    entry_id: UUID
    amount: int
    reason: str | None = None


class Spend(Command, frozen=True):
    """A payment takes ``amount``."""

    holding: Holding
    payment_id: PaymentId
    amount: int

    @property
    def entry_id(self) -> UUID:
        return self.payment_id


class Deposit(Command, frozen=True):
    """A refund of ``payment_id`` comes in; ``entry_id``: the refund's.

    Never more than the payment has taken here. ``elsewhere``: it was made another way (by card, say), and what can be
    given back is for the payment to know.
    """

    holding: Holding
    entry_id: UUID
    amount: int
    payment_id: PaymentId
    elsewhere: bool = False


class BarSpending(Command, frozen=True):
    """Never let this payment take anything, unless it has."""

    holding: Holding
    payment_id: PaymentId
    why: Bar


Movement = Grant | Withdraw | Spend | Deposit
AccountCommand = Movement | BarSpending


# -- decide


def decide(state: Account | None, command: AccountCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the account as it stands (None: nothing has ever moved on it)."""
    opened = state.opened if state else _opened(command.holding, ctx.now)
    opening = () if state else (opened,)
    account = state or born(opened)
    if isinstance(command, BarSpending):
        if command.payment_id in account.entries or account.forgot(command.payment_id):
            return NOTHING
        barred = e.SpendingBarred(
            account_id=account.opened.account_id, payment_id=command.payment_id, why=command.why.value
        )
        return Decision((*opening, barred))
    outcome = _move(account, command)
    return outcome if isinstance(outcome, Refusal) else Decision((*opening, outcome) if outcome else ())


def _opened(holding: Holding, now: datetime) -> e.AccountOpened:
    return e.AccountOpened(
        account_id=holding.ref.id,
        cafe_id=holding.ref.cafe_id,
        kind=holding.kind,
        currency=holding.currency,
        opened_at=now,
        owner=holding.owner,
    )


def _move(account: Account, command: Movement) -> e.AccountCredited | e.AccountDebited | Refusal | None:
    """The movement; None: it has been made."""
    amount, opened = command.amount, account.opened
    if amount < 1:
        return invalid("amount", "must be at least 1 cent")
    if command.holding.currency != opened.currency:
        return invalid("currency", f"the account is in {opened.currency}")
    debit = isinstance(command, Withdraw | Spend)
    known = account.entries.get(command.entry_id)
    if known is not None and known.barred is not None:
        return Refusal(Code.PAYMENT_FAILED, f"this payment was {known.barred.value.replace('_', ' ')} before")
    if known is not None:
        same = known.amount == (-amount if debit else amount)
        return None if same else Refusal(Code.IDEMPOTENCY_KEY_REUSED, "there was such a movement of another amount")
    if account.forgot(command.entry_id):
        return Refusal(Code.PAYMENT_EXPIRED, "too much has moved since: nobody here can tell whether it was done")
    if debit and amount > account.balance:
        return Refusal(Code.INSUFFICIENT_FUNDS, f"{amount} cents is more than the {account.balance} there are")
    if isinstance(command, Deposit) and amount > (left := _refundable(account, command)):
        return Refusal(Code.REFUND_EXCEEDS_ORIGINAL, f"{amount} cents is more than the {left} left of what it took")
    return _moved(account, command, amount)


def _refundable(account: Account, command: Deposit) -> int:
    """How much may come back of a payment; where nobody here can tell, as much as the payment says."""
    spent = account.entries.get(command.payment_id)
    if spent is not None:
        return -spent.amount - spent.back
    return command.amount if command.elsewhere or account.forgot(command.payment_id) else 0


def _moved(account: Account, command: Movement, amount: int) -> e.AccountCredited | e.AccountDebited:
    opened = account.opened
    facts: dict[str, Any] = {
        "account_id": opened.account_id,
        "entry_id": command.entry_id,
        "kind": opened.kind,
        "amount": amount,
        "owner": opened.owner or command.holding.owner,
    }
    match command:
        case Grant(reason=reason):
            return e.AccountCredited(balance=account.balance + amount, granted=True, reason=reason, **facts)
        case Deposit(payment_id=payment_id):
            return e.AccountCredited(balance=account.balance + amount, payment_id=payment_id, **facts)
        case Withdraw(reason=reason):
            return e.AccountDebited(balance=account.balance - amount, granted=True, reason=reason, **facts)
        case Spend(payment_id=payment_id):
            return e.AccountDebited(balance=account.balance - amount, payment_id=payment_id, **facts)
        case _:
            assert_never(command)


# -- evolve


def born(event: e.AccountOpened) -> Account:
    """The account before its first movement."""
    return Account(opened=event)


def evolve(state: Account, event: Event) -> Account:
    """The account after ``event``."""
    match event:
        case e.AccountCredited():
            after = _remembering(state, event.entry_id, Entry(event.amount), event.balance)
            return after if event.payment_id is None else _with_back(after, event.payment_id, event.amount)
        case e.AccountDebited():
            return _remembering(state, event.entry_id, Entry(-event.amount), event.balance)
        case e.SpendingBarred():
            return _remembering(state, event.payment_id, Entry(0, Bar(event.why)), state.balance)
        case _:
            return state


def _with_back(state: Account, payment_id: PaymentId, amount: int) -> Account:
    spent = state.entries.get(payment_id)
    if spent is None:
        return state
    refunded = msgspec.structs.replace(spent, back=spent.back + amount)
    return msgspec.structs.replace(state, entries=state.entries | {payment_id: refunded})


def _remembering(state: Account, entry_id: UUID, entry: Entry, balance: int) -> Account:
    entries, forgotten_ms = state.entries | {entry_id: entry}, state.forgotten_ms
    if len(entries) > ENTRIES_REMEMBERED:
        oldest = next(iter(entries))
        del entries[oldest]
        forgotten_ms = max(forgotten_ms, _made_ms(oldest)) if oldest.version == 7 else forgotten_ms
    return msgspec.structs.replace(state, balance=balance, entries=entries, forgotten_ms=forgotten_ms)


# -- view


class AccountView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """An account on the wire. ``customerId``: whose credit it is."""

    account_id: UUID
    balance: int
    currency: str
    customer_id: str | None = None


class EntryView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A movement on the wire: ``amount`` in (positive) or out, ``balance`` after it, ``cursor`` for paging.

    ``granted``: by staff; else it was a payment or, coming in, its refund. ``reason``: of staff, for staff.
    """

    entry_id: UUID
    amount: int
    balance: int
    at: datetime
    cursor: int
    granted: bool = False
    payment_id: PaymentId | None = None
    reason: str | None = None


def view(state: Account) -> AccountView:
    """The account as the wire tells it."""
    opened = state.opened
    return AccountView(
        account_id=opened.account_id, balance=state.balance, currency=opened.currency, customer_id=opened.owner
    )
