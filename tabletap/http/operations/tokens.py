"""Tokens that are taken back: one by its id, or all that a person was given until now (spec A1)."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any

import msgspec

from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import CafeId
from tabletap.domain.errors import Refusal, invalid
from tabletap.domain.revocation import Revocation

from .base import Call, Operation

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class RevokeBody(msgspec.Struct, frozen=True, rename="camel"):
    """Either one token, by its id (``jti``), or a person with all tokens they were given until now."""

    token_id: Name | None = None
    user: Name | None = None


class RevokedToken(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """``until``: no such token could be good from then on, and nobody need remember."""

    token_id: str | None = None
    user: str | None = None
    revoked_at: datetime
    revoked_by: str | None = None
    until: datetime


class RevokedTokens(msgspec.Struct, frozen=True):
    """The newest first."""

    revoked: tuple[RevokedToken, ...]


def _view(one: Revocation) -> RevokedToken:
    return RevokedToken(
        token_id=one.token_id, user=one.user, revoked_at=one.at, revoked_by=one.by.user, until=one.until
    )


async def _revoke(call: Call, cafe_ids: Collection[CafeId | None]) -> Any:
    body: RevokeBody = call.body
    if (body.token_id is None) == (body.user is None):
        return invalid("tokenId", "say which token or which user")
    made = await call.services.revoked.revoke(cafe_ids, token_id=body.token_id, user=body.user, by=call.by)
    return made if isinstance(made, Refusal) else _view(made)


async def revoke(call: Call) -> Any:
    """At this cafe the token is good no longer, unless its holder stands above who asks."""
    return await _revoke(call, (call.cafe_id,))


async def revoke_everywhere(call: Call) -> Any:
    """The same at every cafe of who asks."""
    cafes = call.principal.cafes
    return await _revoke(call, (None,) if cafes is None else tuple(sorted(cafes)))


async def revoked(call: Call) -> Any:
    """What has been taken back at this cafe."""
    return RevokedTokens(tuple(_view(one) for one in call.services.revoked.of_cafe(call.cafe_id)))


OPERATIONS = (
    Operation(
        name="tokens.revoke",
        method="POST",
        path="/api/{cafe}/tokens/revoke",
        summary="Take back a token, or all of a person's, at a cafe: requests are refused and sockets closed at once",
        access=Access(access.MANAGEMENT),
        body=RevokeBody,
        reply=RevokedToken,
        handler=revoke,
    ),
    Operation(
        name="tokens.revoked",
        method="GET",
        path="/api/{cafe}/tokens/revoked",
        summary="Which tokens have been taken back at a cafe",
        access=Access(access.MANAGEMENT),
        reply=RevokedTokens,
        handler=revoked,
    ),
    Operation(
        name="installation.revoke",
        method="POST",
        path="/api/admin/tokens/revoke",
        summary="Take back a token, or all of a person's, at all cafes",
        access=Access(access.INSTALLATION),
        body=RevokeBody,
        reply=RevokedToken,
        handler=revoke_everywhere,
    ),
)
