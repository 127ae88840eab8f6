"""An account as it stands, and how events change it."""

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import Event, Kind, Ref

ENTRIES_REMEMBERED = 1_000
"""Movements by id. A repeat comes after seconds, in an outage after hours; a wallet makes a few movements a day."""

REVIVED_FOR = timedelta(days=90)
"""What is refunded to a card that has expired can be used for so long."""


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
    known to be new. ``revived_until``: an expired card that was refunded to is good again so long."""

    opened: e.AccountOpened
    balance: int = 0
    entries: dict[UUID, Entry] = {}
    forgotten_ms: int = -1
    revived_until: datetime | None = None

    @property
    def ref(self) -> Ref:
        return Ref(Kind.ACCOUNT, self.opened.account_id, self.opened.cafe_id)

    @property
    def expires_at(self) -> datetime | None:
        return self.revived_until or self.opened.expires_at

    def expired(self, now: datetime) -> bool:
        """Whether what is on it can no longer be used."""
        return self.expires_at is not None and now >= self.expires_at

    def forgot(self, entry_id: UUID) -> bool:
        """Whether nobody here can tell if there was such a movement."""
        return entry_id not in self.entries and _made_ms(entry_id) <= self.forgotten_ms


def _made_ms(entry_id: UUID) -> int:
    """When an id was made, by its own word; of other ids than UUIDv7: never too long ago."""
    return entry_id.int >> 80 if entry_id.version == 7 else 1 << 48


def born(event: e.AccountOpened) -> Account:
    """The account before its first movement."""
    return Account(opened=event)


def evolve(state: Account, event: Event) -> Account:
    """The account after ``event``."""
    match event:
        case e.AccountCredited():
            after = _remembering(state, event.entry_id, Entry(event.amount), event.balance)
            if event.expires_at is not None:
                after = msgspec.structs.replace(after, revived_until=event.expires_at)
            of = event.payment_id or event.returns
            return after if of is None else _with_back(after, of, event.amount)
        case e.AccountDebited():
            return _remembering(state, event.entry_id, Entry(-event.amount), event.balance)
        case e.SpendingBarred():
            return _remembering(state, event.payment_id, Entry(0, Bar(event.why)), state.balance)
        case _:
            return state


def _with_back(state: Account, taken: UUID, amount: int) -> Account:
    spent = state.entries.get(taken)
    if spent is None:
        return state
    refunded = msgspec.structs.replace(spent, back=spent.back + amount)
    return msgspec.structs.replace(state, entries=state.entries | {taken: refunded})


def _remembering(state: Account, entry_id: UUID, entry: Entry, balance: int) -> Account:
    entries, forgotten_ms = state.entries | {entry_id: entry}, state.forgotten_ms
    if len(entries) > ENTRIES_REMEMBERED:
        oldest = next(iter(entries))
        del entries[oldest]
        forgotten_ms = max(forgotten_ms, _made_ms(oldest)) if oldest.version == 7 else forgotten_ms
    return msgspec.structs.replace(state, balance=balance, entries=entries, forgotten_ms=forgotten_ms)


def wake_at(state: Account) -> datetime | None:
    """When the account wants to be woken: a card with something on it, when it expires."""
    return state.expires_at if state.balance else None
