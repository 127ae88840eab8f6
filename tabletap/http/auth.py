"""Who asks: people's tokens (JWT, HS256, the algorithm pinned) and customers' tracking tokens.

A person's token carries ``sub`` (user), ``role``, ``cafes`` (ids; ``["*"]`` for the installation's admin), ``exp``,
``iat``, ``jti`` and the issuer. A tracking token is its order's id and a MAC over it: it needs no table, cannot be
guessed, survives restarts, and is never written down here. The codes of gift cards are made the same way, of a serial
number. None of these ever reaches a log.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt
import msgspec

from tabletap.domain import giftcode
from tabletap.domain.access import Principal
from tabletap.domain.base import CafeId, OrderId, Role
from tabletap.domain.errors import Code, Refusal

ALGORITHM = "HS256"
ISSUER = "tabletap"
TRACKING_PREFIX = "trk_"
MAC_BYTES = 18
MAX_TOKEN_CHARS = 4096
READ_AT_MOST = 2_000
"""So many tokens that were read and found good are remembered; by their digests, as none is kept as it is."""

_PEOPLE = frozenset(set(Role) - {Role.SYSTEM, Role.TILL})
_INVALID = Refusal(Code.INVALID_TOKEN, "the token is not one of ours")
_EXPIRED = Refusal(Code.TOKEN_EXPIRED, "the token has expired")


class AuthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``secret`` signs people's tokens and tracking tokens, each under a key of its own derived from it.
    ``longest_lifetime_s``: none is good for longer, whoever issued it, so that what was revoked can be forgotten."""

    secret: bytes
    token_lifetime_s: int
    leeway_s: int
    longest_lifetime_s: int = 90 * 24 * 3600


Judge = Callable[[Principal], Principal | Refusal]
"""What is left of a principal when what has been revoked is taken away."""


class Authenticator:
    """Issues and reads tokens. ``judge``: asked about everybody, last."""

    def __init__(self, settings: AuthSettings, judge: Judge = lambda principal: principal) -> None:
        self._settings = settings
        self.judge = judge
        self._people_key = self._derive(b"people")
        self._tracking_key = self._derive(b"tracking")
        self._gift_key = self._derive(b"gift-cards")
        self._read: dict[bytes, Principal] = {}

    def _derive(self, purpose: bytes) -> bytes:
        return hmac.digest(self._settings.secret, b"tabletap." + purpose, hashlib.sha256)

    def issue(
        self, *, user: str, role: Role, cafes: frozenset[CafeId] | None, token_id: UUID, lifetime_s: int | None = None
    ) -> str:
        """A person's token. ``cafes`` None: every cafe of the installation. Raises ValueError if it is to live too
        long."""
        now, lifetime_s = datetime.now(UTC), lifetime_s or self._settings.token_lifetime_s
        if lifetime_s > self._settings.longest_lifetime_s:
            raise ValueError(f"a token is good for at most {self._settings.longest_lifetime_s} s")
        claims = {
            "iss": ISSUER,
            "sub": user,
            "role": role.value,
            "cafes": ["*"] if cafes is None else sorted(str(cafe_id) for cafe_id in cafes),
            "iat": round(now.timestamp(), 3),  # to the millisecond: whether it came before or after a revocation
            "exp": now + timedelta(seconds=lifetime_s),
            "jti": str(token_id),
        }
        return jwt.encode(claims, self._people_key, algorithm=ALGORITHM)

    def principal(self, token: str) -> Principal | Refusal:
        """Who holds ``token``."""
        if len(token) > MAX_TOKEN_CHARS:
            return _INVALID
        if token.startswith(TRACKING_PREFIX):
            return self._tracked(token)
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        known = self._read.pop(digest, None)
        read = self._person(token) if known is None or _has_run_out(known) else known
        if isinstance(read, Refusal):
            return read
        self._read[digest] = read  # whose was read last comes last
        if len(self._read) > READ_AT_MOST:
            del self._read[next(iter(self._read))]
        return self.judge(read)

    def _person(self, token: str) -> Principal | Refusal:
        """Who a person's token names, by its signature and its claims alone."""
        try:
            claims = jwt.decode(
                token,
                self._people_key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                leeway=self._settings.leeway_s,
                options={"require": ["exp", "sub", "iss"]},
            )
            role = Role(str(claims.get("role")))
            named = claims.get("cafes", [])
            everywhere = named == ["*"] and role is Role.ADMIN
            cafes = None if everywhere else frozenset(CafeId(UUID(cafe)) for cafe in named)
            issued_at = datetime.fromtimestamp(claims["iat"], UTC) if "iat" in claims else None
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        except jwt.ExpiredSignatureError:
            return _EXPIRED
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError, OSError):
            return _INVALID
        longest = timedelta(seconds=self._settings.longest_lifetime_s + self._settings.leeway_s)
        if role not in _PEOPLE or expires_at - datetime.now(UTC) > longest:
            return _INVALID
        return Principal(
            role=role,
            user=str(claims["sub"]),
            cafes=cafes,
            expires_at=expires_at,
            issued_at=issued_at,
            token_id=str(claims["jti"]) if "jti" in claims else None,
        )

    def tracking_token(self, order_id: OrderId) -> str:
        """The token with which a customer follows an order without an account."""
        mac = hmac.digest(self._tracking_key, order_id.bytes, hashlib.sha256)[:MAC_BYTES]
        return TRACKING_PREFIX + base64.urlsafe_b64encode(order_id.bytes + mac).rstrip(b"=").decode()

    def gift_code(self, cafe_id: CafeId, serial: UUID) -> str:
        """The code of the gift card of a ``serial``: always the same, and written down nowhere."""
        return giftcode.spell(hmac.digest(self._gift_key, cafe_id.bytes + serial.bytes, hashlib.sha256))

    def _tracked(self, token: str) -> Principal | Refusal:
        text = token.removeprefix(TRACKING_PREFIX)
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return _INVALID
        if len(raw) != 16 + MAC_BYTES:
            return _INVALID
        order_id = OrderId(UUID(bytes=raw[:16]))
        if not hmac.compare_digest(token.encode(), self.tracking_token(order_id).encode()):
            return _INVALID
        return Principal(role=Role.CUSTOMER, order_id=order_id)


def _has_run_out(principal: Principal) -> bool:
    return principal.expires_at is None or principal.expires_at <= datetime.now(UTC)
