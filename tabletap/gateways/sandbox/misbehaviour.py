"""How the sandbox can be told to misbehave, and to play the customer. Pure.

Chance is a function of the seed and of what it is thrown for (payment 7, its third webhook), so neither the order of
requests nor a restart changes what happens to a payment.
"""

from datetime import datetime, timedelta
from random import Random
from typing import Annotated, Literal

import msgspec

from .account import Account, Move, Unasked

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]
Span = tuple[Milliseconds, Milliseconds]

ORIGINAL, SECOND, FORGED = range(3)
"""Which letter of one webhook is meant where each has a chance of its own."""


class _Told(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Misbehaviour(_Told, frozen=True, kw_only=True):
    """``POST /control/misbehave``: how often (0 to 1) it does what. What is left out is off.

    ``timeout_after_charging``: a payment or refund is made, and its answer never comes. ``duplicate``: a webhook is
    sent twice. ``reorder``: a webhook lets the next one of its payment go first. ``forge``: where a success would be a
    lie, a webhook claims it with a wrong signature. ``fail_refunds``: refunds fail. ``delay_ms``: answers to payments
    and refunds, and webhooks, are late by a time between these.
    """

    timeout_after_charging: Rate = 0
    duplicate: Rate = 0
    reorder: Rate = 0
    forge: Rate = 0
    fail_refunds: Rate = 0
    delay_ms: Span | Literal[0] = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a span that ends before it begins."""
        _check(self.delay_ms)

    def times_out(self, account: Account, asked: int) -> bool:
        """Whether the answer never comes. ``asked``: 0 for the payment, from 1 on for its refunds."""
        return _chance(self.timeout_after_charging, self.seed, "timeout", account.number, asked)

    def refund_fails(self, account: Account) -> bool:
        """What becomes of the payment's next refund."""
        return _chance(self.fail_refunds, self.seed, "refund", account.number, len(account.refunds))

    def duplicates(self, account: Account) -> bool:
        """Whether the webhook of the payment's latest happening is sent twice."""
        return _chance(self.duplicate, self.seed, "duplicate", account.number, account.sequence)

    def reorders(self, account: Account) -> bool:
        """Whether it lets the next one go first."""
        return _chance(self.reorder, self.seed, "reorder", account.number, account.sequence)

    def forges(self, account: Account) -> bool:
        """Whether a success is claimed now."""
        return _chance(self.forge, self.seed, "forge", account.number, account.sequence)

    def answers_after(self, account: Account, asked: int) -> timedelta:
        """How late an answer is."""
        return _between(self.delay_ms, self.seed, "answer", account.number, asked)

    def arrives_after(self, account: Account, letter: int) -> timedelta:
        """How late one of the letters of the payment's latest happening is."""
        return _between(self.delay_ms, self.seed, "letter", account.number, account.sequence, letter)


class Auto(_Told, frozen=True, kw_only=True):
    """``POST /control/auto``: new payments are approved by themselves so long after they were made, or declined."""

    approve_after_ms: Span | None = None
    decline: Rate = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a span that ends before it begins."""
        _check(self.approve_after_ms)

    def unasked(self, number: int, seed: int, now: datetime) -> Unasked | None:
        """What a customer who is not there will do with payment ``number``."""
        if self.approve_after_ms is None:
            return None
        declines = _chance(self.decline, seed, "decline", number)
        after = _between(self.approve_after_ms, seed, "approve", number)
        return Unasked(now + after, Move.DECLINE if declines else Move.APPROVE)


def _check(span: Span | Literal[0] | None) -> None:
    if span and span[0] > span[1]:
        raise ValueError("a span begins with its shorter end")


def _throw(seed: int, *what: object) -> Random:
    return Random(":".join(map(str, (seed, *what))))  # noqa: S311  nothing secret


def _chance(rate: float, seed: int, *what: object) -> bool:
    return rate > 0 and _throw(seed, *what).random() < rate


def _between(span: Span | Literal[0], seed: int, *what: object) -> timedelta:
    if span == 0:
        return timedelta()
    return timedelta(milliseconds=_throw(seed, *what).uniform(*span))
