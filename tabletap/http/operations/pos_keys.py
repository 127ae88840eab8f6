"""The keys of a cafe's tills (spec S6): a key is shown when it is made and never again."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.till import NAME_CHARS, Scope, TillKey, is_till_name

from .base import Call, Operation

OVERLAP_H = 24
MISSING = Refusal(Code.NOT_FOUND, "there is no such key")


class MakeBody(msgspec.Struct, frozen=True):
    """``scopes``: ``read`` to be told, ``write`` to change things."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS)]
    scopes: Annotated[frozenset[Scope], msgspec.Meta(min_length=1)] = frozenset(Scope)


class RotateBody(msgspec.Struct, frozen=True, rename="camel"):
    """``overlapHours``: for so long the key as it was is good too; 0 ends it, and its sockets, at once."""

    overlap_hours: Annotated[float, msgspec.Meta(ge=0, le=168)] = OVERLAP_H


class KeyView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """``hint``: how the key begins; ``previousUntil``: what it was before is good until then; ``key``: the key itself,
    where it has just been made."""

    key_id: UUID
    name: str
    scopes: Sequence[Scope]
    hint: str
    since: datetime
    created_at: datetime
    created_by: str | None = None
    previous_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    key: str | None = None


class KeyList(msgspec.Struct, frozen=True):
    """The newest first."""

    keys: tuple[KeyView, ...]


def _view(key: TillKey, text: str | None = None) -> KeyView:
    return KeyView(
        key_id=key.id,
        name=key.name,
        scopes=tuple(sorted(key.scopes)),
        hint=key.hint,
        since=key.since,
        created_at=key.created_at,
        created_by=key.created_by,
        previous_until=key.until,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
        key=text,
    )


def _ident(call: Call) -> UUID | None:
    try:
        return UUID(call.params["keyId"])
    except ValueError:
        return None


async def make(call: Call) -> Any:
    """A new key; it is told now and never again."""
    body: MakeBody = call.body
    if not is_till_name(body.name):
        return invalid("name", "must be a name: letters, digits, spaces and ._-()/+#")
    made = await call.services.keyring.make(call.cafe_id, body.name, body.scopes, call.principal.user)
    return made if isinstance(made, Refusal) else _view(*made)


async def listed(call: Call) -> Any:
    """The cafe's keys, those that were revoked too."""
    return KeyList(tuple(_view(key) for key in await call.services.keyring.of_cafe(call.cafe_id)))


async def rotate(call: Call) -> Any:
    """Another key in its place, told now and never again. Its tills and their cursors stay."""
    body, key_id = call.body or RotateBody(), _ident(call)
    overlap = timedelta(hours=body.overlap_hours)
    rotated = await call.services.keyring.rotate(call.cafe_id, key_id, overlap) if key_id else None
    return _view(*rotated) if rotated else MISSING


async def revoke(call: Call) -> Any:
    """From now on nothing is done by this key, and its sockets are closed."""
    key_id = _ident(call)
    revoked = await call.services.keyring.revoke(call.cafe_id, key_id) if key_id else None
    return _view(revoked) if revoked else MISSING


def _operation(
    name: str, method: str, path: str, summary: str, handler: Any, reply: Any, *, body: Any = None
) -> Operation:
    return Operation(
        name=f"pos_keys.{name}",
        method=method,
        path=f"/api/{{cafe}}/pos-keys{path}",
        summary=summary,
        access=Access(access.MANAGEMENT),
        body=body,
        reply=reply,
        status=201 if name == "make" else 200,
        handler=handler,
    )


OPERATIONS = (
    _operation("make", "POST", "", "A key for tills, shown once", make, KeyView, body=MakeBody),
    _operation("list", "GET", "", "The keys of the cafe's tills", listed, KeyList),
    _operation(
        "rotate", "POST", "/{keyId}/rotate", "Another key in its place", rotate, KeyView, body=RotateBody | None
    ),
    _operation("revoke", "DELETE", "/{keyId}", "Revoke a key: calls are refused, sockets closed", revoke, KeyView),
)
