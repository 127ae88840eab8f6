"""Who is connected, and what is said to all of them (spec R5, R2)."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import Role
from tabletap.realtime.payloads import Announcement
from tabletap.realtime.presence import Connection
from tabletap.realtime.sending import Whom

from .base import Call, Operation

CAFES_COUNTED = 100

Names = Annotated[frozenset[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]], msgspec.Meta(max_length=100)]


class ConnectionsQuery(msgspec.Struct, frozen=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=2_000)] = 500


class Connections(msgspec.Struct, frozen=True):
    """The longest connected first; ``total`` counts those beyond the limit too."""

    connections: tuple[Connection, ...]
    total: int


class OfCafe(msgspec.Struct, frozen=True, rename="camel"):
    cafe_id: str
    connected: int


class Counts(msgspec.Struct, frozen=True, rename="camel"):
    """``by_cafe``: those with the most."""

    total: int
    by_door: dict[str, int]
    by_role: dict[str, int]
    by_cafe: tuple[OfCafe, ...]


class AnnounceBody(msgspec.Struct, frozen=True, rename="camel"):
    """``include``... nothing: everybody who is connected. ``exclude``... goes before that."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    include_roles: frozenset[Role] = frozenset()
    include_users: Names = frozenset()
    exclude_roles: frozenset[Role] = frozenset()
    exclude_users: Names = frozenset()


class Announced(msgspec.Struct, frozen=True):
    """``heard``: how many sockets it went to."""

    heard: int


async def listed(call: Call) -> Any:
    """Who is connected to the cafe."""
    there = await call.services.presence.connections(call.cafe_id)
    return Connections(tuple(there[: call.query.limit]), len(there))


async def counts(call: Call) -> Any:
    """How many are connected to the cafes of who asks."""
    there: Sequence[Connection] = await call.services.presence.connections(None)
    mine = [one for one in there if call.principal.belongs_to(one.cafe_id)]
    of_cafe = Counter(str(one.cafe_id) for one in mine)
    return Counts(
        len(mine),
        Counter(one.door for one in mine),
        Counter(one.role.value for one in mine),
        tuple(OfCafe(cafe_id, count) for cafe_id, count in of_cafe.most_common(CAFES_COUNTED)),
    )


async def announce(call: Call) -> Any:
    """Say something to whoever is connected to the cafe now."""
    body: AnnounceBody = call.body
    whom = Whom(
        include_roles=body.include_roles,
        include_users=body.include_users,
        exclude_roles=body.exclude_roles,
        exclude_users=body.exclude_users,
    )
    said = Announcement(text=body.text, by=call.principal.user, role=call.principal.role)
    room = f"cafe:{call.cafe_id}:announcements"
    return Announced(call.services.presence.say(call.cafe_id, room, "announcement", said, whom))


OPERATIONS = (
    Operation(
        name="cafes.announce",
        method="POST",
        path="/api/{cafe}/announcements",
        summary="Say something to whoever is connected to a cafe now: to all, or by role and name",
        access=Access(access.MANAGEMENT),
        body=AnnounceBody,
        reply=Announced,
        handler=announce,
    ),
    Operation(
        name="connections.list",
        method="GET",
        path="/api/{cafe}/connections",
        summary="Who is connected to a cafe's doors, with what token and since when",
        access=Access(access.MANAGEMENT),
        query=ConnectionsQuery,
        reply=Connections,
        handler=listed,
    ),
    Operation(
        name="connections.count",
        method="GET",
        path="/api/admin/connections",
        summary="How many are connected, by door, role and cafe",
        access=Access(access.INSTALLATION),
        reply=Counts,
        handler=counts,
    ),
)
