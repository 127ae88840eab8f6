"""Movements: what may be put on and taken off, each once."""

from datetime import datetime, timedelta
from typing import Any, assert_never
from uuid import UUID

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Context, Decision, Message, Wake
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.holding import Holding
from tabletap.domain.messages import PutOn, TakeBack, TakeDiscount
from tabletap.domain.vocabulary import Cause

from .commands import AccountCommand, BarSpending, Deposit, Grant, Movement, Return, Spend, Use, Withdraw
from .state import REVIVED_FOR, Account, born

Moved = e.AccountCredited | e.AccountDebited


def decide(state: Account | None, command: AccountCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the account as it stands (None: nothing has ever moved on it)."""
    if isinstance(command, Wake):
        return NOTHING if state is None else _expire(state, ctx)
    opened = state.opened if state else _opened(command.holding, ctx.now)
    opening = () if state else (opened,)
    account = state or born(opened)
    match command:
        case BarSpending():
            if command.payment_id in account.entries or account.forgot(command.payment_id):
                return NOTHING
            barred = e.SpendingBarred(
                account_id=opened.account_id, payment_id=command.payment_id, why=command.why.value
            )
            return Decision((*opening, barred))
        case PutOn() | TakeBack():
            told = _told(account, command, ctx)
            return Decision((*opening, told)) if told else NOTHING
        case _:
            outcome = _move(account, command, ctx)
    if isinstance(outcome, Refusal):
        return outcome
    return Decision((*opening, outcome), messages=_discount(command)) if outcome else Decision(opening)


def _opened(holding: Holding, now: datetime) -> e.AccountOpened:
    valid = None if holding.valid_days is None else timedelta(days=holding.valid_days)
    return e.AccountOpened(
        account_id=holding.ref.id,
        cafe_id=holding.ref.cafe_id,
        kind=holding.kind,
        currency=holding.currency,
        opened_at=now,
        owner=holding.owner,
        label=holding.label,
        serial=holding.serial,
        expires_at=now + valid if valid else None,
    )


def _expire(state: Account, ctx: Context) -> Decision:
    """What nobody came for in time is the cafe's."""
    if state.balance == 0 or not state.expired(ctx.now):
        return NOTHING
    facts = _facts(state, ctx.new_id(), state.balance, state.opened.owner)
    return Decision((e.AccountDebited(balance=0, cause=Cause.EXPIRED, **facts),))


def _move(account: Account, command: Movement, ctx: Context) -> Moved | Refusal | None:
    """The movement; None: it has been made."""
    amount, opened = command.amount, account.opened
    if amount < 1:
        return invalid("amount", "must be at least 1")
    if command.holding.currency != opened.currency:
        return invalid("currency", f"the account is in {opened.currency}")
    debit = isinstance(command, Withdraw | Spend | Use)
    known = account.entries.get(command.entry_id)
    if known is not None and known.barred is not None:
        return Refusal(Code.PAYMENT_FAILED, f"this payment was {known.barred.value.replace('_', ' ')} before")
    if known is not None:
        same = known.amount == (-amount if debit else amount)
        return None if same else Refusal(Code.IDEMPOTENCY_KEY_REUSED, "there was such a movement of another amount")
    if account.forgot(command.entry_id):
        return Refusal(Code.PAYMENT_EXPIRED, "too much has moved since: nobody here can tell whether it was done")
    if account.expired(ctx.now) and (debit or isinstance(command, Grant)):
        return Refusal(Code.GIFT_CARD_EXPIRED, "the card has expired")
    if debit and amount > account.balance:
        return Refusal(Code.INSUFFICIENT_FUNDS, f"{amount} is more than the {account.balance} there are")
    if isinstance(command, Deposit | Return) and amount > (left := _returnable(account, command)):
        return Refusal(Code.REFUND_EXCEEDS_ORIGINAL, f"{amount} is more than the {left} left of what it took")
    return _moved(account, command, ctx)


def _returnable(account: Account, command: Deposit | Return) -> int:
    """How much may come back of what was taken; where nobody here can tell, as much as the payment says."""
    taken = account.entries.get(command.used if isinstance(command, Return) else command.payment_id)
    if taken is not None:
        return max(0, -taken.amount - taken.back)
    if isinstance(command, Return):
        return 0
    return command.amount if command.elsewhere or account.forgot(command.payment_id) else 0


def _facts(account: Account, entry_id: UUID, amount: int, owner: str | None) -> dict[str, Any]:
    opened = account.opened
    return {
        "account_id": opened.account_id,
        "entry_id": entry_id,
        "kind": opened.kind,
        "amount": amount,
        "owner": opened.owner or owner,
        "label": opened.label,
    }


def _moved(account: Account, command: Movement, ctx: Context) -> Moved:
    amount, more, less = command.amount, account.balance + command.amount, account.balance - command.amount
    facts = _facts(account, command.entry_id, amount, command.holding.owner)
    again = ctx.now + REVIVED_FOR if account.expired(ctx.now) else None
    match command:
        case Grant(reason=reason, reference=reference):
            return e.AccountCredited(balance=more, granted=True, reason=reason, reference=reference, **facts)
        case Deposit(payment_id=payment_id):
            return e.AccountCredited(balance=more, payment_id=payment_id, expires_at=again, **facts)
        case Return(used=used, reason=reason):
            cause = Cause.RETURNED
            return e.AccountCredited(balance=more, cause=cause, returns=used, reason=reason, expires_at=again, **facts)
        case Withdraw(reason=reason, reference=reference):
            return e.AccountDebited(balance=less, granted=True, reason=reason, reference=reference, **facts)
        case Spend(payment_id=payment_id):
            return e.AccountDebited(balance=less, payment_id=payment_id, **facts)
        case Use(reason=reason, reference=reference):
            return e.AccountDebited(balance=less, cause=Cause.USED, reason=reason, reference=reference, **facts)
        case _:
            assert_never(command)


def _discount(command: Movement) -> tuple[Message, ...]:
    """Points that were taken are told to the order they are to lower."""
    if not isinstance(command, Use) or command.discount is None:
        return ()
    wanted = TakeDiscount(
        discount_id=command.entry_id,
        amount=command.discount.amount,
        points=command.amount,
        holding=command.holding,
    )
    return (Message(command.discount.order, wanted),)


def _told(account: Account, command: PutOn | TakeBack, ctx: Context) -> Moved | None:
    """What an order says has happened: done as far as it can be, never refused. None: there is nothing to do."""
    if command.entry_id in account.entries or account.forgot(command.entry_id):
        return None
    if isinstance(command, PutOn):
        facts = _facts(account, command.entry_id, command.amount, None)
        balance = account.balance + command.amount
        return e.AccountCredited(
            balance=balance, cause=command.cause, reference=command.reference, returns=command.returns, **facts
        )
    amount = 0 if account.expired(ctx.now) else min(command.amount, account.balance)
    if amount == 0:
        return None
    facts = _facts(account, command.entry_id, amount, None)
    balance = account.balance - amount
    return e.AccountDebited(balance=balance, cause=Cause.TAKEN_BACK, reference=command.reference, **facts)
