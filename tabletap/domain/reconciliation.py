"""Reconciliation (spec P9): what of two accounts of the same thing is to be believed, and what is told of it.

Money that a provider has taken is believed, and so is its word that it has not, as long as nobody here has acted on the
contrary. Where both have made up their minds and disagree, nothing is changed: people have to look.
"""

from datetime import datetime
from enum import Enum, StrEnum
from uuid import UUID

import msgspec

from .base import CafeId
from .charge import Standing
from .payment import CLOSED, OPEN
from .vocabulary import ChargeState, PaymentStatus

FINDINGS = 500
"""So many of a run are told; all are counted."""


class Sort(StrEnum):
    """What can be found."""

    CHARGE_DIFFERS = "charge_differs"
    CHARGE_UNKNOWN = "charge_unknown"
    PROVIDER_SILENT = "provider_silent"
    MESSAGE_STUCK = "message_stuck"
    PAYMENT_OVERDUE = "payment_overdue"
    ORDER_STALE = "order_stale"
    ORDER_NOT_IN_KITCHEN = "order_not_in_kitchen"


class Finding(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Something that was not as it should be; ``repaired``: and is now."""

    sort: Sort
    about: str
    words: str
    repaired: bool = False
    cafe_id: CafeId | None = None


class Run(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One run, and what it has found. ``checked``: by what was looked at, how many."""

    run_id: UUID
    started_at: datetime
    finished_at: datetime
    checked: dict[str, int]
    repaired: int
    remaining: int
    findings: tuple[Finding, ...]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as it stands here; ``received``: the cents that were taken."""

    cafe_id: CafeId
    status: PaymentStatus
    received: int


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """What waits in the outbox for one receiver: an entity, or a queue and a key."""

    cafe_id: CafeId
    receiver: str
    waiting: int
    oldest: datetime
    last_error: str | None


class Verdict(Enum):
    """``TELL``: the payment has to hear of it; ``CONTRADICTION``: for people to look at."""

    AGREE = "agree"
    TELL = "tell"
    CONTRADICTION = "contradiction"
    UNKNOWN = "unknown"


_SETTLED_AS = {
    ChargeState.FAILED: PaymentStatus.FAILED,
    ChargeState.CANCELLED: PaymentStatus.CANCELLED,
    ChargeState.EXPIRED: PaymentStatus.EXPIRED,
}


def compare(known: Known | None, standing: Standing) -> Verdict:
    """What follows from a charge's standing at its provider, for the payment as it stands here."""
    state = standing.state
    if known is None:
        return Verdict.AGREE if state in _SETTLED_AS or state is ChargeState.ABSENT else Verdict.UNKNOWN
    if known.status in OPEN:
        with_provider = (ChargeState.OPEN, ChargeState.PROCESSING)
        return Verdict.AGREE if state in with_provider and known.status is PaymentStatus.PROCESSING else Verdict.TELL
    if known.status in CLOSED:  # what is not taken yet there is being given up, by the payment itself
        return Verdict.TELL if state is ChargeState.SUCCEEDED else Verdict.AGREE
    if state is ChargeState.SUCCEEDED and standing.amount == known.received:
        return Verdict.AGREE
    return Verdict.CONTRADICTION


def difference(known: Known, standing: Standing) -> str:
    """Both sides, in words."""
    here = f"{known.status} with {known.received} cents" if known.received else f"{known.status}"
    there = f"{standing.state} with {standing.amount} cents" if standing.amount else f"{standing.state}"
    return f"it is {here} here, {there} at its provider"


def run_of_cafe(run: Run, cafe_id: CafeId) -> Run:
    """What of a run concerns one cafe."""
    findings = tuple(finding for finding in run.findings if finding.cafe_id == cafe_id)
    repaired = sum(finding.repaired for finding in findings)
    return msgspec.structs.replace(run, findings=findings, repaired=repaired, remaining=len(findings) - repaired)
