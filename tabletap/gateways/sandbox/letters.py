"""Webhooks as letters: what is written, to whom, and when it goes out first. Pure.

A letter is one delivery of a webhook; a duplicate is a second letter with the same bytes, a forgery one with a wrong
signature.
"""

from datetime import datetime, timedelta

import msgspec

from . import wire
from .account import Account, Happened
from .misbehaviour import FORGED, ORIGINAL, SECOND, Misbehaviour
from .wire import EventType, Status, sign

YIELDS_FOR = timedelta(seconds=2)
"""How long a letter that lets the next one go first waits for there to be one."""

GIVEN_UP_AFTER = timedelta(hours=24)
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """``number``: its row, once it has one; ``sequence``: the webhook's, 0 for a forgery; ``attempts``: made so far."""

    number: int = 0
    payment: str
    sequence: int
    url: str
    body: bytes
    at: datetime
    attempts: int = 0
    original: bool = False
    yields: bool = False

    @property
    def forged(self) -> bool:
        """Whether it is not from us at all, as far as its receiver can tell."""
        return self.sequence == 0

    def signature(self, secret: str) -> str:
        """What goes with it: a forger does not know the secret."""
        return sign(f"not {secret}" if self.forged else secret, self.body)


def pause(attempts: int) -> timedelta:
    """How long to wait after so many attempts.

    >>> [pause(attempts).total_seconds() for attempts in (1, 2, 3, 7, 8, 1000)]
    [0.5, 1.0, 2.0, 32.0, 60.0, 60.0]
    """
    return timedelta(seconds=min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempts - 1, 20)))


def tell(
    happened: Happened, event_id: str, misbehaviour: Misbehaviour, *, base_url: str, yielded_to: bool, now: datetime
) -> list[Letter]:
    """The letters of one happening. ``yielded_to``: the one before lets it go first, so it goes at once."""
    account = happened.account
    event = wire.Event(
        id=event_id,
        event_type=happened.type,
        sequence=account.sequence,
        created_at=now,
        data=wire.Told(
            payment=account.view(base_url),
            refund=None if happened.refund is None else happened.refund.view(account.id),
            dispute=None if happened.dispute is None else happened.dispute.view(),
        ),
    )
    yields = misbehaviour.reorders(account) and not yielded_to
    late = YIELDS_FOR if yields else timedelta()
    first = Letter(
        payment=account.id,
        sequence=account.sequence,
        url=account.request.callback_url,
        body=msgspec.json.encode(event),
        at=now + late + misbehaviour.arrives_after(account, ORIGINAL),
        original=True,
        yields=yields,
    )
    if not misbehaviour.duplicates(account):
        return [first]
    at = now + late + misbehaviour.arrives_after(account, SECOND)
    return [first, msgspec.structs.replace(first, original=False, at=at)]


def forge(account: Account, event_id: str, misbehaviour: Misbehaviour, *, base_url: str, now: datetime) -> Letter:
    """A letter that claims a success which is none."""
    claimed = msgspec.structs.replace(account, status=Status.SUCCEEDED, captured=account.request.amount)
    event = wire.Event(
        id=event_id,
        event_type=EventType.PAYMENT_SUCCEEDED,
        sequence=account.sequence + 1,
        created_at=now,
        data=wire.Told(payment=claimed.view(base_url)),
    )
    return Letter(
        payment=account.id,
        sequence=0,
        url=account.request.callback_url,
        body=msgspec.json.encode(event),
        at=now + misbehaviour.arrives_after(account, FORGED),
    )
