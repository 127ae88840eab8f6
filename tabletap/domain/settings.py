"""What a cafe's owner may set. Amounts are cents, times carry their unit in the name."""

from typing import Annotated

import msgspec

from .menu import END, Name
from .vocabulary import Channel

Positive = Annotated[int, msgspec.Meta(gt=0)]


class BankDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where a bank transfer goes. BSB as NNN-NNN, account at most 9 digits (Australian Payments Network)."""

    account_name: Annotated[str, msgspec.Meta(min_length=1, max_length=70)]
    bsb: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3}-[0-9]{3}" + END)]
    account_number: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}" + END)]


class Throttle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """At most so many items, or so much value, per 15 minutes of promised time (spec O6)."""

    items_per_slot: Positive | None = None
    value_per_slot: Positive | None = None


class Ageing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """When a ticket turns yellow and red on the kitchen's screen, in seconds, per channel."""

    online: tuple[Positive, Positive] = (300, 600)
    table: tuple[Positive, Positive] = (300, 600)
    counter: tuple[Positive, Positive] = (300, 600)


class CafeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """``prepay``: channels whose orders the kitchen sees when paid. ``approval``: staff accept each order first."""

    name: Name
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}" + END)] = "AUD"
    timezone: Annotated[str, msgspec.Meta(max_length=64)] = "Australia/Sydney"
    accepting: bool = True
    approval: bool = False
    prepay: tuple[Channel, ...] = ()
    tables: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=20)], ...], msgspec.Meta(max_length=500)
    ] = ()
    throttle: Throttle = Throttle()
    ageing: Ageing = Ageing()
    bank: BankDetails | None = None
