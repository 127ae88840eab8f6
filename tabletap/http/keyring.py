"""The keys of tills, in memory: every door asks here who a till is, and whether its key is still good.

A key that is made, rotated or revoked here holds as soon as it is written down; elsewhere (another node), as soon as it
has been read, which is tried several times a second, and for a key that is not known at once.
"""

import math
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import structlog
import trio

from tabletap.actors.runtime import Outage
from tabletap.actors.till_ports import KeyNameTaken, Keys
from tabletap.domain import cardlike
from tabletap.domain.access import Principal
from tabletap.domain.base import CafeId, Role
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.till import KEY_BYTES, KEY_PREFIX, NAME_CHARS, Scope, TillKey, digest_of, hint_of, is_till_name

from .limits import Allowance

log = structlog.get_logger(__name__)

KEY_CHARS_AT_MOST = 200
GONE_AT_MOST = 10_000
TENANT = "X-Tenant-ID"

_WRONG = Refusal(Code.INVALID_TOKEN, "the key is not one of ours")
_REVOKED = Refusal(Code.INVALID_TOKEN, "the key was revoked")
_ROTATED = Refusal(Code.TOKEN_EXPIRED, "the key was rotated: there is another one")
_OTHER_TENANT = Refusal(Code.FORBIDDEN, f"{TENANT}, the path and the key must be of the same cafe")


class KeySettings(msgspec.Struct, frozen=True, kw_only=True):
    """``wrong_...``: of an address, beyond which no key that it shows is looked up. ``addresses``: remembered.
    ``revoked_days``: for so long a revoked key is listed."""

    per_cafe: int
    wrong_per_min: int
    wrong_burst: int
    addresses: int
    read_every_s: float
    used_every_s: float
    revoked_days: float


class Shown(msgspec.Struct, frozen=True):
    """What a till brings. ``tenant``: the header; ``slug``: of the cafe that the path names, if it names one; ``till``:
    which of the key's tills it says it is."""

    key: str
    tenant: str | None
    slug: str | None
    till: str | None
    address: str


class Keyring:
    """``changed`` is called when a key may be good no longer: open sockets are the doors' to close. ``suspicious``: a
    wrong key was shown, by an address, at a cafe. ``slug_of``: of a cafe that there is."""

    def __init__(
        self,
        table: Keys,
        settings: KeySettings,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        *,
        cafe_named: Callable[[str], CafeId | None],
    ) -> None:
        self._table = table
        self._settings = settings
        self._now = now
        self._new_id = new_id
        self._cafe_named = cafe_named
        self._by_id: dict[UUID, TillKey] = {}
        self._by_digest: dict[bytes, TillKey] = {}
        self._gone: dict[UUID, None] = {}
        self._mark = 0
        self._used: dict[UUID, datetime] = {}
        self._wrong = Allowance(settings.wrong_per_min, settings.wrong_burst, settings.addresses)
        self.changed: Callable[[], None] = lambda: None
        self.suspicious: Callable[[str, CafeId | None], None] = lambda address, cafe_id: None  # noqa: ARG005  nobody's

    def __len__(self) -> int:
        return len(self._by_id)

    # -- who it is

    async def principal(self, shown: Shown, *, tenant_needed: bool) -> Principal | Refusal:
        """The till that shows a key. Raises Outage.

        A key that is known here is good from any address: a cafe's guests are at the address of its tills.
        """
        wait = self._wrong.wait(shown.address, trio.current_time())
        if wait > 0 and self._good(digest_of(shown.key[:KEY_CHARS_AT_MOST])) is None:
            return Refusal(Code.RATE_LIMIT_EXCEEDED, "too many wrong keys", retry_after_s=math.ceil(wait))
        found = await self._find(shown.key)
        if isinstance(found, Refusal):
            self._wrong.take(shown.address, trio.current_time())
            cafe_id = self._cafe_named(shown.slug or shown.tenant or "")
            log.warning("wrong_till_key", address=shown.address, cafe_id=cafe_id and str(cafe_id), why=found.message)
            self.suspicious(shown.address, cafe_id)
            return found
        refused = self._of_tenant(found, shown, tenant_needed=tenant_needed)
        if refused is not None:
            return refused
        if shown.till is not None and (not is_till_name(shown.till) or cardlike.find(shown.till)):
            return invalid("till", f"must be a name of at most {NAME_CHARS} characters")
        digest = digest_of(shown.key)
        self._used[found.id] = self._now()
        return Principal(
            role=Role.TILL,
            user=f"till:{found.id}",
            cafes=frozenset({found.cafe_id}),
            token_id=str(found.id),
            proof=digest,
            expires_at=None if digest == found.digest else found.until,
            device=shown.till or found.name,
            scopes=found.scopes,
        )

    async def _find(self, key: str) -> TillKey | Refusal:
        if not key.startswith(KEY_PREFIX) or len(key) > KEY_CHARS_AT_MOST:
            return _WRONG
        digest = digest_of(key)
        if digest not in self._by_digest:
            await self.refresh()  # it may have been made elsewhere a moment ago
        return self._good(digest) or (_ROTATED if digest in self._by_digest else _WRONG)

    def _good(self, digest: bytes) -> TillKey | None:
        found = self._by_digest.get(digest)
        if found is None or digest == found.digest:
            return found
        return found if found.until is not None and found.until > self._now() else None

    def _of_tenant(self, key: TillKey, shown: Shown, *, tenant_needed: bool) -> Refusal | None:
        if shown.tenant is None and tenant_needed:
            return invalid(TENANT, "say whose till you are")
        if shown.slug is not None and self._cafe_named(shown.slug) is None:
            return Refusal(Code.NOT_FOUND, f"there is no cafe {shown.slug!r}")
        if shown.slug is not None and shown.tenant not in (None, shown.slug):
            return _OTHER_TENANT
        named = shown.slug or shown.tenant
        return None if named is None or self._cafe_named(named) == key.cafe_id else _OTHER_TENANT

    def judge(self, principal: Principal) -> Principal | Refusal:
        """The till as far as its key is still good."""
        found = self._good(principal.proof)
        if found is None:
            return _ROTATED if principal.proof in self._by_digest else _REVOKED
        until = None if principal.proof == found.digest else found.until
        return msgspec.structs.replace(principal, scopes=found.scopes, expires_at=until)

    # -- what becomes of keys

    async def make(
        self, cafe_id: CafeId, name: str, scopes: frozenset[Scope], by: str | None
    ) -> tuple[TillKey, str] | Refusal:
        """A new key, and the key itself, which nobody can be told a second time. Raises Outage."""
        text, now = _new_key(), self._now()
        key = TillKey(
            id=self._new_id(),
            cafe_id=cafe_id,
            name=name,
            scopes=scopes,
            digest=digest_of(text),
            hint=hint_of(text),
            since=now,
            created_at=now,
            created_by=by,
        )
        try:
            if not await self._table.add(key, self._settings.per_cafe):
                return Refusal(Code.ILLEGAL_MOVE, "the cafe has as many keys as it may have")
        except KeyNameTaken:
            return invalid("name", "there is a key of this name")
        self._learn([key])
        log.info("till_key_made", cafe_id=str(cafe_id), key_id=str(key.id), by=by)
        return key, text

    async def rotate(self, cafe_id: CafeId, key_id: UUID, overlap: timedelta) -> tuple[TillKey, str] | None:
        """Another key in its place; what it was is good for so long. Raises Outage."""
        text, now = _new_key(), self._now()
        key = await self._table.rotate(cafe_id, key_id, digest_of(text), hint_of(text), now, now + overlap)
        if key is None:
            return None
        self._learn([key])
        log.info("till_key_rotated", cafe_id=str(cafe_id), key_id=str(key.id))
        return key, text

    async def revoke(self, cafe_id: CafeId, key_id: UUID) -> TillKey | None:
        """It is good no longer, nor are its sockets. Raises Outage."""
        key = await self._table.revoke(cafe_id, key_id, self._now())
        if key is not None:
            self._learn([key])
            log.info("till_key_revoked", cafe_id=str(cafe_id), key_id=str(key.id))
        return key

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillKey]:
        """The newest first, with when they were last used as far as is known here. Raises Outage."""
        return [
            msgspec.structs.replace(key, last_used_at=self._used.get(key.id, key.last_used_at))
            for key in await self._table.of_cafe(cafe_id)
        ]

    async def refresh(self) -> None:
        """Read what is new. Raises Outage."""
        newer, self._mark = await self._table.newer(self._mark)
        self._learn(newer)

    async def run(self) -> None:
        """Keep up with the other nodes, and write down when keys were used, until cancelled."""
        write_at = trio.current_time() + self._settings.used_every_s
        while True:
            await trio.sleep(self._settings.read_every_s)
            try:
                await self.refresh()
                if trio.current_time() >= write_at:
                    write_at = trio.current_time() + self._settings.used_every_s
                    await self._write_used()
            except Outage:
                log.debug("till_keys_not_read")

    async def _write_used(self) -> None:
        used, self._used = self._used, {}
        try:
            if used:
                await self._table.used(used)
        except Outage:
            self._used = used | self._used
            raise

    def _learn(self, keys: Sequence[TillKey]) -> None:
        changed = False
        for key in keys:
            before = self._by_id.get(key.id)
            if key.id in self._gone or (before is not None and key.since < before.since):
                continue  # read before it was changed here, and come after
            self._by_id.pop(key.id, None)
            for digest in (before.digest, before.previous) if before is not None else ():
                self._by_digest.pop(digest or b"", None)
            if key.revoked_at is not None:
                self._gone[key.id] = None
                if len(self._gone) > GONE_AT_MOST:
                    del self._gone[next(iter(self._gone))]
            else:
                self._by_id[key.id] = key
                self._by_digest[key.digest] = key
                if key.previous is not None:
                    self._by_digest[key.previous] = key
            changed = changed or (before is not None and before != key)
        if changed:
            self.changed()


def _new_key() -> str:
    return KEY_PREFIX + urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode()
