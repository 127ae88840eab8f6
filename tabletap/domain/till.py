"""Tills: the machines of a cafe that take its online and table orders over, and the keys they are known by (spec S)."""

import hashlib
import re
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from .base import CafeId

KEY_PREFIX: Final = "tt_"
KEY_BYTES: Final = 32
NAME_CHARS: Final = 64

_NAME = re.compile(r"[^\W_](?:[\w .()/+#-]*[\w.)+#])?")


class Scope(StrEnum):
    """What a key is good for: to be told things, or also to change them."""

    READ = "read"
    WRITE = "write"


class TillKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, of which only a digest is kept. It stays the same key when it is rotated, and so keep its tills their
    cursors and their idempotency records: ``digest`` is of what it is ``since`` then, ``previous`` of what it was
    before, which is good ``until`` that time."""

    id: UUID
    cafe_id: CafeId
    name: str
    scopes: frozenset[Scope]
    digest: bytes
    hint: str
    since: datetime
    previous: bytes | None = None
    until: datetime | None = None
    created_at: datetime
    created_by: str | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


def digest_of(key: str) -> bytes:
    """What is kept of a key. It is 256 random bits, so no dictionary helps whoever steals the digests: one round of
    SHA-256 is as good as any number, and lets the key be looked up by it."""
    return hashlib.sha256(key.encode()).digest()


def hint_of(key: str) -> str:
    """The beginning of a key, by which people tell one from another."""
    return key[: len(KEY_PREFIX) + 6]


def is_till_name(name: str) -> bool:
    """Whether a till may be called that."""
    return len(name) <= NAME_CHARS and _NAME.fullmatch(name) is not None
