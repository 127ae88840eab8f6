"""Who is let in at a door: one look at a handshake, and a guest or a refusal.

The order matters: what costs little and tells nothing comes first, and whoever was turned away too often is not looked
at at all. The token is in the handshake, so there is never a socket of somebody unknown.
"""

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import msgspec
from trio_websocket import WebSocketRequest

from tabletap.actors.ports import CafeEntry, Reader
from tabletap.actors.runtime import Outage
from tabletap.domain import cardlike
from tabletap.domain.access import Principal
from tabletap.domain.base import CafeId
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.till import Scope
from tabletap.http.auth import Authenticator
from tabletap.http.keyring import Keyring, Shown
from tabletap.http.operations.base import Directory
from tabletap.http.problems import STATUS
from tabletap.http.rest import bearer
from tabletap.http.tills import Till, Tills
from tabletap.realtime.defaults import DefaultRooms
from tabletap.realtime.hub import Hub
from tabletap.realtime.replay import know_head

from .gate import Gate
from .table import DOORS, Door
from .watch import Watch

BEARER = "bearer."
DEVICE_CHARS = 64


class Guest(msgspec.Struct, kw_only=True):
    """Who a session is: kept as its ``principal``. ``rooms``: set when it has been welcomed. ``till``: whose cursor it
    moves, if it is a till's."""

    principal: Principal
    cafe: CafeEntry
    door: str
    after: int | None
    address: str
    rooms: DefaultRooms | None = None
    till: Till | None = None

    @property
    def who(self) -> str:
        """What their own limits go by: the person, or the order whose token they hold."""
        return self.principal.user or f"order:{self.principal.order_id}"


class Knock(msgspec.Struct, frozen=True):
    """What a till brings to its door."""

    door: str
    slug: str
    headers: Mapping[bytes, str]
    query: Mapping[str, str]
    address: str


class Admissions:
    """Looks at handshakes. ``origins``: pages of these may open sockets, besides our own."""

    def __init__(
        self,
        *,
        hub: Hub,
        reader: Reader,
        auth: Authenticator,
        keyring: Keyring,
        tills: Tills,
        directory: Directory,
        gate: Gate,
        watch: Watch,
        origins: frozenset[str],
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._auth = auth
        self._keyring = keyring
        self._tills = tills
        self._directory = directory
        self._gate = gate
        self._watch = watch
        self._origins = origins

    async def look(self, request: WebSocketRequest, remote: str) -> Guest | Refusal:
        """Who they are and where they want to be, or why not."""
        self._watch.knocked()
        stopped = self._gate.knock(remote)
        try:
            guest = stopped or await self._guest(request, remote)
        except Outage:
            guest = Refusal(Code.UNAVAILABLE, "the database cannot be reached", retry_after_s=1)
        if isinstance(guest, Guest):
            guest = self._gate.identified(f"{guest.cafe.id} {guest.who}", str(guest.cafe.id)) or guest
        if isinstance(guest, Refusal):
            if guest.code is not Code.RATE_LIMIT_EXCEEDED and STATUS[guest.code] < 500:
                self._gate.failed(remote)
            self._watch.turned_away(remote, self._cafe_of(request))
        return guest

    def _cafe_of(self, request: WebSocketRequest) -> CafeId | None:
        url = urlsplit(request.path)
        named = parse_qs(url.query).get("cafe", [""])[-1] or url.path.removeprefix("/ws/").partition("/")[2]
        found = self._directory.by_slug(named)
        return None if found is None else found.id

    async def _guest(self, request: WebSocketRequest, remote: str) -> Guest | Refusal:
        found = {name.lower(): value.decode("latin-1") for name, value in request.headers}
        found[b"host"] = request._event.host  # noqa: SLF001  wsproto keeps it from the headers, trio-websocket to itself
        url = urlsplit(request.path)
        name, _, slug = url.path.removeprefix("/ws/").partition("/")
        door = DOORS.get(name)
        if door is None or bool(slug) != door.till:
            return Refusal(Code.NOT_FOUND, f"there is no door {url.path!r}")
        if not self._same_origin(found.get(b"origin"), found.get(b"host")):
            return Refusal(Code.FORBIDDEN, "pages of this origin may not open sockets here")
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if door.till:
            return await self._till(Knock(name, slug, found, query, remote))
        principal = self._principal(found, request.proposed_subprotocols)
        if isinstance(principal, Refusal):
            return principal
        cafe = await self._cafe(principal, door, query.get("cafe"))
        if isinstance(cafe, Refusal):
            return cafe
        after, device = query.get("after"), query.get("device")
        if not _is_offset(after):
            return invalid("after", "must be an offset")
        if device is not None and (len(device) > DEVICE_CHARS or not device.isprintable() or cardlike.find(device)):
            return invalid("device", f"must be a name of at most {DEVICE_CHARS} characters")
        return Guest(
            principal=msgspec.structs.replace(principal, device=device),
            cafe=cafe,
            door=name,
            after=None if after is None else int(after),
            address=remote,
        )

    async def _till(self, knock: "Knock") -> Guest | Refusal:
        """A till, by its key. It begins where its cursor stands, unless it says itself how far it has got."""
        key, after = knock.headers.get(b"x-api-key"), knock.query.get("after")
        if not key:
            return Refusal(Code.AUTH_REQUIRED, "a key is needed: X-API-Key")
        tenant = knock.headers.get(b"x-tenant-id")
        shown = Shown(key.strip(), tenant, knock.slug, knock.query.get("till"), knock.address)
        principal = await self._keyring.principal(shown, tenant_needed=False)
        if isinstance(principal, Refusal):
            return principal
        cafe = self._directory.by_slug(knock.slug)
        if cafe is None or Scope.READ not in principal.scopes:
            return Refusal(Code.FORBIDDEN, f"this key is not good for {Scope.READ}")
        if not _is_offset(after):
            return invalid("after", "must be an offset")
        till = await self._tills.enter(principal, await know_head(self._hub, self._reader, cafe.id))
        if isinstance(till, Refusal):
            return till
        begins = till.cursor if after is None else int(after)
        return Guest(principal=principal, cafe=cafe, door=knock.door, after=begins, address=knock.address, till=till)

    def _principal(self, found: Mapping[bytes, str], offered: tuple[str, ...]) -> Principal | Refusal:
        token = bearer(found.get(b"authorization")) or next(
            (one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)), None
        )
        return Refusal(Code.AUTH_REQUIRED, "a token is needed") if token is None else self._auth.principal(token)

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


def _is_offset(text: str | None) -> bool:
    return text is None or (text.isascii() and text.isdigit() and len(text) < 19)
