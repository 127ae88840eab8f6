"""Which account something is held on: customer credit, a gift card (spec W3), the points of a phone number (W4).

An account is not made by anybody: the first movement opens it, as its ``Holding`` says. Its id follows from what it is
known by, so that whoever names the same customer, code or number finds the same account.
"""

import hashlib
from uuid import UUID, uuid5

import msgspec

from . import giftcode
from .base import INSTALLATION_CAFE, CafeId, Kind, Ref
from .vocabulary import AccountKind, CreditScope

POINTS = "PTS"
"""The unit of points: a currency of its own in the ledger, of which no cent is worth anything. No code of ISO 4217."""


def credit_account(cafe_id: CafeId, customer_id: str, scope: CreditScope) -> Ref:
    """Where a customer's credit is held: at the cafe, or (by the cafe's setting) for the whole installation."""
    holder = INSTALLATION_CAFE if scope is CreditScope.INSTALLATION else cafe_id
    return Ref(Kind.ACCOUNT, uuid5(holder, f"credit:{customer_id}"), holder)


def gift_account(cafe_id: CafeId, code: str) -> Ref:
    """Where the money of a gift card is held. Spaces, hyphens and case of ``code`` do not matter.

    The code itself is worth money: only this digest of it is ever written down.
    """
    digest = hashlib.sha256(giftcode.plain(code).encode()).hexdigest()
    return Ref(Kind.ACCOUNT, uuid5(cafe_id, f"gift:{digest}"), cafe_id)


def loyalty_account(cafe_id: CafeId, phone: str) -> Ref:
    """Where a cafe keeps the points of a phone number (E.164, as ``domain.phone`` writes it)."""
    return Ref(Kind.ACCOUNT, uuid5(cafe_id, f"loyalty:{phone}"), cafe_id)


class Holding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which account a command is for, and what it is: the first movement opens it so.

    ``owner``: the customer, of credit. ``label``: what people know it by, the last four of a card's code or the phone
    number. ``serial``: what the code of a card is made from. ``valid_days``: from the opening until a card expires.
    """

    ref: Ref
    kind: AccountKind
    currency: str
    owner: str | None = None
    label: str | None = None
    serial: UUID | None = None
    valid_days: int | None = None


def points_of(cafe_id: CafeId, phone: str) -> Holding:
    """The account of the points of a phone number."""
    return Holding(loyalty_account(cafe_id, phone), AccountKind.LOYALTY, POINTS, label=phone)
