"""The doors (spec R1): ``/ws/{orders|kitchen|counter|customers}?cafe=SLUG``, with a bearer token.

A refused client gets an HTTP status, not a socket that closes. Who is admitted hears the door's default room from the
offset of the welcome on (or, with ``?after=N``, from there), and may subscribe to others.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import trio
from trio_websocket import WebSocketRequest

from tabletap.actors.ports import CafeEntry, Reader
from tabletap.actors.runtime import Outage
from tabletap.domain import access
from tabletap.domain.access import Principal
from tabletap.domain.base import Role
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.http.auth import Authenticator
from tabletap.http.operations.base import Directory
from tabletap.http.problems import STATUS, headers, problem
from tabletap.http.rest import bearer
from tabletap.realtime.defaults import DefaultRooms
from tabletap.realtime.frames import message_frame
from tabletap.realtime.hub import Hub
from tabletap.realtime.session import Admission, Session
from tabletap.realtime.session import Refusal as Rejection
from tabletap.realtime.stream import GOING_AWAY

PROTOCOL = "tabletap.v1"
BEARER = "bearer."
TOKEN_EXPIRED = 4001


class Door(msgspec.Struct, frozen=True):
    """Who may enter, and the room they hear at once."""

    roles: frozenset[Role]
    room: Callable[[Principal, CafeEntry], str]
    tracking: bool = False


def _own_room(principal: Principal, _: CafeEntry) -> str:
    return f"order:{principal.order_id}" if principal.order_id else f"user:{principal.user}"


DOORS: Mapping[str, Door] = MappingProxyType(
    {
        "orders": Door(access.CREW, lambda _, cafe: f"cafe:{cafe.id}:staff"),
        "kitchen": Door(
            frozenset({Role.KITCHEN, Role.STAFF}) | access.MANAGEMENT, lambda _, cafe: f"cafe:{cafe.id}:kitchen"
        ),
        "counter": Door(access.STAFF, lambda _, cafe: f"cafe:{cafe.id}:staff"),
        "customers": Door(frozenset({Role.CUSTOMER}), _own_room, tracking=True),
    }
)


class Guest(msgspec.Struct, kw_only=True):
    """Who a session is: kept as its ``principal``. ``rooms``: set when it has been welcomed."""

    principal: Principal
    cafe: CafeEntry
    door: str
    after: int | None
    address: str
    rooms: DefaultRooms | None = None


class Welcome(msgspec.Struct, frozen=True, tag="welcome", rename="camel", kw_only=True):
    """The first message of the server. ``rooms``: what the door gives to everybody, from ``offset`` on."""

    session: str
    cafe_id: str
    rooms: tuple[str, ...]
    offset: int
    heartbeat_ms: int


Handle = Callable[[Session, Guest, str | bytes], Any]


class Doors:
    """Admits sessions, welcomes them, and knows those that are there. Implements ``realtime.session.Door``."""

    def __init__(
        self,
        *,
        hub: Hub,
        reader: Reader,
        auth: Authenticator,
        directory: Directory,
        allowed_origins: tuple[str, ...],
        now: Callable[[], datetime],
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._auth = auth
        self._directory = directory
        self._origins = frozenset(allowed_origins)
        self._now = now
        self._sessions: dict[Session, Guest] = {}
        self.answer: Handle | None = None
        self.refuse_busy: Callable[[Session, str | bytes], None] | None = None

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    # -- entering

    async def admit(self, request: WebSocketRequest, remote: str) -> Admission | Rejection:
        """Whether the request may become a socket."""
        found = {name.lower(): value.decode("latin-1") for name, value in request.headers}
        found[b"host"] = request._event.host  # noqa: SLF001  wsproto keeps it from the headers, trio-websocket to itself
        try:
            guest = await self._guest(request.path, found, request.proposed_subprotocols, remote)
        except Outage:
            guest = Refusal(Code.UNAVAILABLE, "the database cannot be reached", retry_after_s=1)
        if isinstance(guest, Refusal):
            body = msgspec.json.encode(problem(guest, urlsplit(request.path).path))
            extra = tuple((name.encode(), value.encode()) for name, value in headers(guest).items())
            return Rejection(status=STATUS[guest.code], body=body, headers=extra)
        offered = PROTOCOL if PROTOCOL in request.proposed_subprotocols else None
        return Admission(principal=guest, subprotocol=offered)

    async def _guest(
        self, target: str, found: Mapping[bytes, str], offered: tuple[str, ...], remote: str
    ) -> Guest | Refusal:
        url = urlsplit(target)
        name = url.path.removeprefix("/ws/")
        door = DOORS.get(name)
        if door is None:
            return Refusal(Code.NOT_FOUND, f"there is no door {url.path!r}")
        if not self._same_origin(found.get(b"origin"), found.get(b"host")):
            return Refusal(Code.FORBIDDEN, "pages of this origin may not open sockets here")
        token = bearer(found.get(b"authorization")) or next(
            (one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)), None
        )
        if token is None:
            return Refusal(Code.AUTH_REQUIRED, "a token is needed")
        principal = self._auth.principal(token)
        if isinstance(principal, Refusal):
            return principal
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        cafe = await self._cafe(principal, door, query.get("cafe"))
        if isinstance(cafe, Refusal):
            return cafe
        after = query.get("after")
        if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
            return invalid("after", "must be an offset")
        return Guest(
            principal=principal, cafe=cafe, door=name, after=None if after is None else int(after), address=remote
        )

    async def _cafe(self, principal: Principal, door: Door, slug: str | None) -> CafeEntry | Refusal:
        """The cafe whose door it is, if the principal may enter there."""
        named = self._directory.by_slug(slug) if slug is not None else None
        if principal.order_id is not None:
            subject = await self._reader.subject("order", principal.order_id)
            if (
                not door.tracking
                or subject is None
                or (slug is not None and (named is None or named.id != subject.cafe_id))
            ):
                return Refusal(Code.FORBIDDEN, "a tracking token opens only its own order's door")
            return self._directory.by_id(subject.cafe_id) or Refusal(Code.NOT_FOUND, "there is no such cafe")
        if slug is None:
            return invalid("cafe", "say which: ?cafe=SLUG")
        if named is None:
            return Refusal(Code.NOT_FOUND, f"there is no cafe {slug!r}")
        if not principal.belongs_to(named.id):
            return Refusal(Code.FORBIDDEN, "this token is not for this cafe")
        if principal.role not in door.roles:
            return Refusal(Code.FORBIDDEN, f"the role {principal.role} may not enter here")
        return named

    def _same_origin(self, origin: str | None, host: str | None) -> bool:
        """A browser says where its page is from; other clients say nothing and bring their own token."""
        return origin is None or origin in self._origins or urlsplit(origin).netloc == host

    async def opened(self, session: Session) -> None:
        """Welcome it; its default room begins with what follows the welcome's offset."""
        guest = guest_of(session)
        self._sessions[session] = guest
        room = DOORS[guest.door].room(guest.principal, guest.cafe)
        self._hub.attach(session, guest.cafe.id)
        rooms = DefaultRooms(self._hub, self._reader, session, guest.cafe.id, {room: self.snapshot(guest, room)})
        offset = await rooms.hold()
        welcome = Welcome(
            session=session.id,
            cafe_id=str(guest.cafe.id),
            rooms=(room,),
            offset=offset,
            heartbeat_ms=self._hub.limits.heartbeat_ms,
        )
        session.send(message_frame(welcome))
        guest.rooms = rooms
        rooms.open(guest.after)

    def snapshot(self, guest: Guest, room: str) -> Callable[[], Any]:
        """What a client that missed too much is given instead: the order, or the cafe's active orders."""
        parsed = access.parse_room(room)

        async def of_cafe() -> tuple[int, Any]:
            offset, orders = await self._reader.orders_with_offset(guest.cafe.id)
            return offset, {"orders": orders}

        async def of_one() -> tuple[int, Any]:
            offset = await self._reader.head(guest.cafe.id)  # first: what follows is told again rather than lost
            assert parsed is not None
            assert parsed.uuid is not None
            if parsed.kind == "order":
                return offset, {"order": await self._reader.order(parsed.uuid)}  # type: ignore[arg-type]
            if parsed.kind == "flow":
                return offset, {"flow": await self._reader.flow(parsed.uuid)}
            return offset, {"payment": await self._reader.payment(parsed.uuid)}  # type: ignore[arg-type]

        async def of_user() -> tuple[int, Any]:
            return await self._reader.head(guest.cafe.id), {}

        if parsed is not None and parsed.kind in ("order", "payment", "flow"):
            return of_one
        return of_cafe if parsed is not None and parsed.kind == "cafe" else of_user

    # -- being there

    async def message(self, session: Session, message: str | bytes) -> None:
        """Answer one message."""
        assert self.answer is not None
        await self.answer(session, guest_of(session), message)

    def busy(self, session: Session, message: str | bytes) -> None:
        """Too many commands at once."""
        assert self.refuse_busy is not None
        self.refuse_busy(session, message)

    def closed(self, session: Session) -> None:
        """It has gone."""
        self._sessions.pop(session, None)
        self._hub.detach(session)

    # -- all of them

    def close_all(self) -> None:
        """The server goes away."""
        for session in tuple(self._sessions):
            session.close(GOING_AWAY, "the server is going down")

    async def run(self) -> None:
        """Close the sessions whose token has expired (code 4001), within a second of it."""
        while True:
            await trio.sleep(1)
            now = self._now()
            for session, guest in tuple(self._sessions.items()):
                expires_at = guest.principal.expires_at
                if expires_at is not None and expires_at <= now:
                    session.close(TOKEN_EXPIRED, "the token has expired")


def guest_of(session: Session) -> Guest:
    """Who the session is."""
    guest = session.principal
    assert isinstance(guest, Guest)
    return guest
