"""Who has been shut out, in memory: every door asks here, by way of ``auth``, and nothing else does.

What is revoked here holds as soon as it is written down; what is revoked elsewhere (another node, the command line), as
soon as it has been read, which is tried several times a second.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import msgspec
import structlog
import trio

from tabletap.actors.access_ports import Revocations
from tabletap.actors.runtime import Outage
from tabletap.domain.access import Principal
from tabletap.domain.base import By, CafeId
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.revocation import Revocation, rank

log = structlog.get_logger(__name__)

REVOKED = Refusal(Code.INVALID_TOKEN, "the token was revoked")
_RANKS_AT_MOST = 5

_Key = tuple[CafeId | None, bool, str, int]
"""Where, whether it is about a token or a person, which, and by whom of what rank."""


class RevokedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``kept_s``: how long a token can be good at most. ``per_cafe``: how many a cafe, or the installation, has."""

    kept_s: int
    per_cafe: int
    read_every_s: float


class Revoked:
    """``changed`` is called when somebody may have been shut out: open sockets are the doors' to close."""

    def __init__(self, table: Revocations, settings: RevokedSettings, now: Callable[[], datetime]) -> None:
        self._table = table
        self._settings = settings
        self._now = now
        self._known: dict[_Key, Revocation] = {}
        self._of_cafe: Counter[CafeId | None] = Counter()
        self._mark = 0
        self.changed: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._known)

    def judge(self, principal: Principal) -> Principal | Refusal:
        """The principal as far as their token is still good: it may have lost some of its cafes, or all."""
        if not self._known or principal.user is None:
            return principal
        if self._bars(None, principal):
            return REVOKED
        if not principal.cafes:
            return principal
        left = frozenset(cafe_id for cafe_id in principal.cafes if not self._bars(cafe_id, principal))
        if not left:
            return REVOKED
        return principal if left == principal.cafes else msgspec.structs.replace(principal, cafes=left)

    async def revoke(
        self, cafe_ids: Iterable[CafeId | None], *, token_id: str | None = None, user: str | None = None, by: By
    ) -> Revocation | Refusal:
        """Shut out a token, or a person with all their tokens of today; the last of what was written down.

        None among ``cafe_ids`` is everywhere. Raises Outage.
        """
        now = self._now()
        made = [
            Revocation(
                cafe_id=cafe_id,
                token_id=token_id,
                user=user,
                at=now,
                until=now + timedelta(seconds=self._settings.kept_s),
                by=by,
            )
            for cafe_id in cafe_ids
        ]
        if any(self._is_full_for(one) for one in made):
            return Refusal(Code.OVERLOADED, "too many tokens have been revoked: revoke the person", retry_after_s=3600)
        for one in made:
            await self._table.add(one)
            where = str(one.cafe_id) if one.cafe_id else "everywhere"
            log.info("token_revoked", cafe_id=where, token_id=token_id, user=user, by=by.user, role=by.role.value)
        self._learn(made)
        return made[-1]

    def of_cafe(self, cafe_id: CafeId) -> list[Revocation]:
        """What is revoked at a cafe, the newest first."""
        found = [one for one in self._known.values() if one.cafe_id == cafe_id]
        return sorted(found, key=lambda one: one.at, reverse=True)

    async def refresh(self) -> None:
        """Read what is new, and forget what has run out. Raises Outage."""
        now = self._now()
        newer, self._mark = await self._table.newer(self._mark, now)
        self._learn(newer)
        for key in [key for key, one in self._known.items() if one.until <= now]:
            del self._known[key]
            self._of_cafe[key[0]] -= 1
        self._of_cafe += Counter()  # drops those that have none left

    async def run(self) -> None:
        """Keep up with the other nodes, until cancelled."""
        while True:
            await trio.sleep(self._settings.read_every_s)
            try:
                await self.refresh()
            except Outage:
                log.debug("revocations_not_read")

    def _bars(self, cafe_id: CafeId | None, principal: Principal) -> bool:
        return any(one.binds(principal.role, principal.issued_at) for one in self._about(cafe_id, principal))

    def _about(self, cafe_id: CafeId | None, principal: Principal) -> Iterator[Revocation]:
        for of_token, subject in ((True, principal.token_id), (False, principal.user)):
            for height in range(rank(principal.role), _RANKS_AT_MOST) if subject is not None else ():
                found = self._known.get((cafe_id, of_token, subject or "", height))
                if found is not None:
                    yield found

    def _is_full_for(self, revocation: Revocation) -> bool:
        return _key(revocation) not in self._known and self._of_cafe[revocation.cafe_id] >= self._settings.per_cafe

    def _learn(self, revocations: Iterable[Revocation]) -> None:
        news = False
        for one in revocations:
            key = _key(one)
            before = self._known.get(key)
            if before is None:
                self._of_cafe[one.cafe_id] += 1
            if before is None or one.at > before.at:
                self._known[key] = one
                news = True
        if news:
            self.changed()


def _key(one: Revocation) -> _Key:
    return (one.cafe_id, one.token_id is not None, one.token_id or one.user or "", rank(one.by.role))
