"""The account actor: ``domain.account`` on the one loop; and the way to it for the gateways that pay from accounts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec

from tabletap.domain import account as rules
from tabletap.domain.account import Account, Bar, BarSpending, Entry, Movement
from tabletap.domain.base import SYSTEM, Command, Context, Decision, Event, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.events import AccountOpened

from .desk import Desk
from .entity import Life, Query
from .holding_ports import Holdings
from .ports import GatewayDown, GatewaySilent, State
from .runtime import Outage

SNAPSHOT_EVERY = 100
"""Events: an account that wakes up reads a snapshot and fewer than that."""

MISSING = Refusal(Code.NOT_FOUND, "there is no such account")

_snapshots = msgspec.msgpack.Encoder(uuid_format="bytes")
_decode_snapshot = msgspec.msgpack.Decoder(Account)

_NOTHING_DONE = frozenset({Code.NOT_EXECUTED, Code.OVERLOADED, Code.UNAVAILABLE, Code.DUPLICATE_IN_PROGRESS})
_NOBODY_KNOWS = frozenset({Code.OUTCOME_UNKNOWN, Code.INTERNAL_ERROR})


class GetAccount(Query, frozen=True):
    """The account as it stands; a refusal (NOT_FOUND), where nothing has ever moved on it."""


class GetEntry(Query, frozen=True):
    """One movement: the entry, None (never asked for), or ``Forgotten``."""

    entry_id: UUID


class Forgotten(msgspec.Struct, frozen=True):
    """It is too old for the account to tell. Whatever it was, it will not be done from now on."""


class AccountLife(Life[Account]):
    """An account lives for years; its last movements are in the snapshot, the others only in the log."""

    snapshot_every = SNAPSHOT_EVERY

    def born(self, ref: Ref, event: Event) -> Account:  # noqa: ARG002  the opening says it all
        """The account, just opened."""
        assert isinstance(event, AccountOpened)
        return rules.born(event)

    def decide(self, state: Account | None, command: Command, ctx: Context) -> Decision | Refusal:
        """By the rules; the first movement opens the account."""
        return rules.decide(state, cast("rules.AccountCommand", command), ctx)

    def evolve(self, state: Account, event: Event) -> Account:
        """By the rules."""
        return rules.evolve(state, event)

    def snapshot(self, state: Account) -> bytes:
        """All of it."""
        return _snapshots.encode(state)

    def restore(self, ref: Ref, pinned: Sequence[Event], snapshot: bytes) -> Account:  # noqa: ARG002  it is all in there
        """The account as it was kept."""
        return _decode_snapshot.decode(snapshot)

    def wake_at(self, state: Account) -> datetime | None:
        """When a gift card expires."""
        return rules.wake_at(state)

    def reply(self, state: Account, births: Sequence[State], events: Sequence[Event]) -> Any:  # noqa: ARG002  its state says it
        """The account with its balance, and the movement that led to it."""
        return rules.view(state, next(reversed(state.entries), None))

    def answer(self, state: Account | None, query: Query, now: datetime) -> Any:  # noqa: ARG002  it does not age
        """From the state of this moment."""
        match query:
            case GetAccount():
                return MISSING if state is None else rules.view(state)
            case GetEntry(entry_id=entry_id):
                if state is None:
                    return None
                return Forgotten() if state.forgot(entry_id) else state.entries.get(entry_id)
            case _:
                raise AssertionError(query)


class DeskAccounts:
    """Implements ``holding_ports.Accounts``: at the desk, and what an account no longer remembers in the database."""

    def __init__(self, desk: Desk, holdings: Holdings) -> None:
        self._desk = desk
        self._holdings = holdings

    async def move(self, command: Movement | BarSpending) -> Refusal | None:
        """Have it done, once."""
        answer = _heard(await self._desk.tell(command.holding.ref, command, SYSTEM))
        return answer if isinstance(answer, Refusal) else None

    async def entry(self, account: Ref, entry_id: UUID) -> Entry | None:
        """How a movement stands."""
        found = _heard(await self._desk.query(account, GetEntry(entry_id)))
        if not isinstance(found, Forgotten):
            return cast("Entry | None", found)
        try:
            written = await self._holdings.entry(account.id, entry_id)
        except Outage:
            raise GatewayDown("the database cannot be reached") from None
        return Entry(written.amount) if written else Entry(0, Bar.GIVEN_UP)


def _heard(answer: Any) -> Any:
    if isinstance(answer, Refusal) and answer.code in _NOTHING_DONE:
        raise GatewayDown(answer.message)
    if isinstance(answer, Refusal) and answer.code in _NOBODY_KNOWS:
        raise GatewaySilent(answer.message)
    return answer
