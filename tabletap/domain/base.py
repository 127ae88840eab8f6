"""What every noun shares: references, who asks, what a decision is made of, and the day a cafe is in."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import NewType
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

CafeId = NewType("CafeId", UUID)
OrderId = NewType("OrderId", UUID)
PaymentId = NewType("PaymentId", UUID)

BUSINESS_DAY_STARTS_AT_H = 4
"""A cafe's day ends when the last night owl has gone home: 04:00 in its own time zone."""


class Kind(StrEnum):
    """The nouns that have a life of their own: each is an actor and a stream of events."""

    CAFE = "cafe"
    ORDER = "order"
    PAYMENT = "payment"
    DRAWER = "drawer"


class Ref(msgspec.Struct, frozen=True, order=True):
    """Names one entity. ``cafe_id`` says in whose log its events are."""

    kind: Kind
    id: UUID
    cafe_id: CafeId


class Role(StrEnum):
    """Who somebody is to a cafe. ``SYSTEM`` is the house itself: timers and messages between actors."""

    CUSTOMER = "customer"
    STAFF = "staff"
    KITCHEN = "kitchen"
    COUNTER = "counter"
    MANAGER = "manager"
    OWNER = "owner"
    ADMIN = "admin"
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


class Birth(msgspec.Struct, frozen=True):
    """A new entity, brought into the world in the commit of the one that admits it."""

    ref: Ref
    events: tuple[Event, ...]


class Decision(msgspec.Struct, frozen=True):
    """What follows from a command. No events, births and messages: it was already so, and nothing is written."""

    events: tuple[Event, ...] = ()
    births: tuple[Birth, ...] = ()
    messages: tuple[Message, ...] = ()


NOTHING = Decision()


def business_day(at: datetime, timezone: str) -> date:
    """The business day that the moment ``at`` (aware) belongs to in the cafe's time zone."""
    local = at.astimezone(ZoneInfo(timezone)).replace(tzinfo=None)
    return (local - timedelta(hours=BUSINESS_DAY_STARTS_AT_H)).date()


def utc(moment: datetime) -> datetime:
    """The same moment in UTC, to the millisecond: what the wire and the log carry."""
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
