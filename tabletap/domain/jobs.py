"""Jobs as rules: who comes first, how often each queue tries, and what is told of a flow (spec H6). Pure."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

import msgspec

from .base import CafeId
from .vocabulary import Queue

HIGHEST_PRIORITY = 10

_BY_AMOUNT = ((100_00, 2), (500_00, 3))
"""Above so many cents: so much more."""

_PREMIUM = 5


def priority_of(amount_cents: int, *, premium: bool = False) -> int:
    """How early a job about so much money is done, 0-10 (spec H6): the larger the amount, the more; premium first."""
    priority = sum(more for above, more in _BY_AMOUNT if amount_cents > above) + (_PREMIUM if premium else 0)
    return min(priority, HIGHEST_PRIORITY)


# -- queues


class Backoff(StrEnum):
    """How the pause between two attempts grows: not at all, or twofold each time."""

    FIXED = "fixed"
    EXPONENTIAL = "exponential"


Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the jobs of a queue are done, on each node. Whoever takes longer than ``deadline_s`` has failed."""

    at_once: Count = 8
    attempts: Count = 5  # then it is a dead letter
    backoff: Backoff = Backoff.EXPONENTIAL
    first_pause_s: Seconds = 1.0
    longest_pause_s: Seconds = 300.0
    deadline_s: Seconds = 60.0
    keep_done_s: Seconds = 24 * 3600.0

    def __post_init__(self) -> None:
        """Raises ValueError where no pause could be as long as the first."""
        if self.first_pause_s > self.longest_pause_s:
            raise ValueError("first_pause_s must not be longer than longest_pause_s")

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures (1: the first)."""
        doubled = 2.0 ** min(failures - 1, 30) if self.backoff is Backoff.EXPONENTIAL else 1.0
        return min(self.first_pause_s * doubled, self.longest_pause_s)


# What config/default.toml says, too: a test holds the two together.
POLICIES: Mapping[Queue, QueuePolicy] = MappingProxyType(
    {
        Queue.PAYMENTS: QueuePolicy(at_once=32, attempts=5, first_pause_s=1.0, longest_pause_s=60.0),
        Queue.ORDERS: QueuePolicy(at_once=16, attempts=5, first_pause_s=0.5, longest_pause_s=60.0),
        Queue.NOTIFICATIONS: QueuePolicy(at_once=8, attempts=5, first_pause_s=5.0, longest_pause_s=600.0),
        Queue.WEBHOOKS: QueuePolicy(at_once=16, attempts=3, first_pause_s=2.0),  # spec H1
        Queue.SOCKETS: QueuePolicy(at_once=8, attempts=3, backoff=Backoff.FIXED, first_pause_s=0.5, keep_done_s=3600.0),
        Queue.RECONCILIATION: QueuePolicy(
            at_once=2, attempts=3, backoff=Backoff.FIXED, first_pause_s=30.0, deadline_s=240.0
        ),
    }
)


# -- what is shown of them


class QueueDepth(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What is in a queue now. ``waiting``: due or resting until it is; ``held``: parents whose children are not done;
    ``done``: kept as done; ``dead``: given up, until somebody replays them. ``oldest_due_s``: for how long what waits
    longest could have been done."""

    queue: str
    waiting: int = 0
    held: int = 0
    running: int = 0
    done: int = 0
    dead: int = 0
    oldest_due_s: float = 0.0


class DeadLetter(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """What was given up: a job, or a message between entities (``queue`` is ``actor`` then). ``what``: its type."""

    id: UUID
    queue: str
    key: str
    cafe_id: CafeId
    what: str
    attempts: int
    reason: str
    created_at: datetime
    died_at: datetime
    parent: UUID | None = None
    flow: UUID | None = None


# -- flows


class FlowState(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """How far a flow is: its jobs in all, those done, those that were given up (and hold their parents)."""

    flow_id: UUID
    cafe_id: CafeId
    total: int
    done: int
    dead: int

    @property
    def complete(self) -> bool:
        return self.done == self.total


class FlowNews(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened in a flow, for the room ``flow:{id}``. ``type`` is the wire type.

    ``job_id``, ``queue``, ``what`` (the task's type): the job it is about; ``attempt``: from 1; ``final``: it was the
    last. ``state``: how far the flow is. Why something failed is for those who see the dead letters.
    """

    id: UUID
    type: str
    at: datetime
    flow: UUID
    cafe_id: CafeId
    job_id: UUID | None = None
    queue: Queue | None = None
    what: str | None = None
    attempt: int | None = None
    final: bool | None = None
    total: int | None = None
    state: FlowState | None = None
