"""What every noun shares: references, who asks, what a decision is made of, and the day a cafe is in."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from .vocabulary import Queue

CafeId = NewType("CafeId", UUID)
OrderId = NewType("OrderId", UUID)
PaymentId = NewType("PaymentId", UUID)

INSTALLATION_CAFE = CafeId(UUID(int=0x7AB1E7A9))
"""The reserved cafe in whose log everything is that belongs to no cafe (credit for the whole installation)."""

BUSINESS_DAY_STARTS_AT_H = 4
"""A cafe's day ends when the last night owl has gone home: 04:00 in its own time zone."""


class Kind(StrEnum):
    """The nouns that have a life of their own: each is an actor and a stream of events."""

    CAFE = "cafe"
    ORDER = "order"
    PAYMENT = "payment"
    DRAWER = "drawer"
    ACCOUNT = "account"
    TIPS = "tips"


class Ref(msgspec.Struct, frozen=True, order=True):
    """Names one entity. ``cafe_id`` says in whose log its events are."""

    kind: Kind
    id: UUID
    cafe_id: CafeId


class Role(StrEnum):
    """Who somebody is to a cafe. ``SYSTEM`` is the house itself: timers and messages between actors. ``TILL`` is no
    person but a machine of the cafe's, known by a key."""

    CUSTOMER = "customer"
    STAFF = "staff"
    KITCHEN = "kitchen"
    COUNTER = "counter"
    MANAGER = "manager"
    OWNER = "owner"
    ADMIN = "admin"
    TILL = "till"
    SYSTEM = "system"


class By(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who caused something, as the audit trail keeps it. ``user`` is None for a customer without an account."""

    role: Role
    user: str | None = None
    device: str | None = None


SYSTEM = By(Role.SYSTEM)


class Context(msgspec.Struct, frozen=True):
    """All that ``decide`` may know of the world: the time (UTC), a source of new ids, and who asks."""

    now: datetime
    new_id: Callable[[], UUID]
    by: By = SYSTEM


class Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Something that happened. Subclasses carry their tag; ``domain.events`` lists them all."""


class Command(msgspec.Struct, frozen=True):
    """Something asked of an entity."""


class Wake(Command, frozen=True):
    """The entity's own wake time has come."""


class Message(msgspec.Struct, frozen=True):
    """A command for another entity: an outbox row of the commit that caused it, handled there at least once."""

    to: Ref
    command: Command


class Task(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Work that is no entity's own: a call to a provider, a webhook to be sent. ``domain.tasks`` lists them all."""


class Job(msgspec.Struct, frozen=True):
    """A task for a queue: an outbox row of the commit that caused it, done at least once (spec H6).

    Jobs of a queue with the same ``key`` are done one after the other, in order. ``priority`` 0-10, higher first among
    what is due. ``parent``: the job that comes after this one (and all its other children) is done; ``id`` names it
    where somebody must (a parent, a flow), else it gets one.
    """

    queue: Queue
    key: str
    cafe_id: CafeId
    task: Task
    priority: int = 0
    delay_s: float = 0.0
    id: UUID | None = None
    parent: UUID | None = None
    flow: UUID | None = None


class Birth(msgspec.Struct, frozen=True):
    """A new entity, brought into the world in the commit of the one that admits it."""

    ref: Ref
    events: tuple[Event, ...]


class Decision(msgspec.Struct, frozen=True):
    """What follows from a command. Nothing at all: it was already so, and nothing is written."""

    events: tuple[Event, ...] = ()
    births: tuple[Birth, ...] = ()
    messages: tuple[Message, ...] = ()
    jobs: tuple[Job, ...] = ()


NOTHING = Decision()


def business_day(at: datetime, timezone: str) -> date:
    """The business day that the moment ``at`` (aware) belongs to in the cafe's time zone."""
    local = at.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    return (local - timedelta(hours=BUSINESS_DAY_STARTS_AT_H)).date()


def day_bounds(day: date, timezone: str) -> tuple[datetime, datetime]:
    """When the business day begins, and when the next one does (aware)."""
    begins, ends = (
        datetime.combine(one, time(BUSINESS_DAY_STARTS_AT_H), ZoneInfo(timezone)) for one in (day, day + timedelta(1))
    )
    return begins, ends


def utc(moment: datetime) -> datetime:
    """The same moment in UTC, to the millisecond: what the wire and the log carry."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
