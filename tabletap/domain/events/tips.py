"""Tips, distributed and paid out."""

from datetime import datetime
from uuid import UUID

import msgspec

from tabletap.domain.base import CafeId, Event
from tabletap.domain.vocabulary import (
    TipRule,
)


class TipShare(msgspec.Struct, frozen=True):
    """What one of the staff gets of a pool."""

    user: str
    role: str
    amount: int


class TipsDistributed(Event, frozen=True, tag="tips.distributed", kw_only=True):
    """The tips of a time (from ``since`` to before ``until``), shared out as of the ``read_offset`` of the log.

    ``amount``: all shares together; ``charged``: what was kept back for tips that had been refunded.
    """

    cafe_id: CafeId
    distribution_id: UUID
    since: datetime
    until: datetime
    read_offset: int
    rule: TipRule
    currency: str
    amount: int
    charged: int
    shares: tuple[TipShare, ...]


class TipsPaidOut(Event, frozen=True, tag="tips.paid_out", kw_only=True):
    """One of the staff has been given ``amount`` of their tips; ``owed``: what is left. ``way``: cash or bank."""

    cafe_id: CafeId
    payout_id: UUID
    user: str
    amount: int
    owed: int
    way: str
