"""Tokens that are good no longer (spec A1): one, or all that a person was given until now; at a cafe, or everywhere.

A token speaks for itself and is written down nowhere. What is kept is that somebody has said no to it, for as long as
it could have been good.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

import msgspec

from .base import By, CafeId, Role

_RANKS: Mapping[Role, int] = MappingProxyType({Role.MANAGER: 1, Role.OWNER: 2, Role.ADMIN: 3, Role.SYSTEM: 4})


def rank(role: Role) -> int:
    """How high a role stands: nobody can take a token from somebody above them."""
    return _RANKS.get(role, 0)


class Revocation(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one of ``token_id`` and ``user`` is given. ``cafe_id`` None: everywhere. ``until``: from then on, no
    token that it is about can be good anyway."""

    cafe_id: CafeId | None
    token_id: str | None = None
    user: str | None = None
    at: datetime
    until: datetime
    by: By

    def binds(self, role: Role, issued_at: datetime | None) -> bool:
        """Whether it is about a token of this role, and (of a person's tokens) of this age."""
        if rank(role) > rank(self.by.role):
            return False
        return self.user is None or issued_at is None or issued_at <= self.at
