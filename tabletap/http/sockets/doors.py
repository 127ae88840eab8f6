"""The doors at work: ``/ws/DOOR?cafe=SLUG``, with a bearer token (``table`` says which there are), and
``/ws/pos/SLUG``, with a till's key.

A refused client gets an HTTP status, not a socket that closes. Who is admitted hears the door's default rooms from the
offset of the welcome on (or, with ``?after=N``, from there), and may subscribe to others.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio
from trio_websocket import WebSocketRequest

from tabletap.actors.ports import Reader
from tabletap.domain import access
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.vocabulary import Channel
from tabletap.http.auth import Authenticator
from tabletap.http.keyring import Keyring
from tabletap.http.problems import STATUS, headers, problem
from tabletap.http.revoked import REVOKED
from tabletap.http.tills import Tills
from tabletap.realtime.defaults import DefaultRooms
from tabletap.realtime.frames import message_frame
from tabletap.realtime.hub import Hub
from tabletap.realtime.limits import GOING_AWAY, TOO_MANY_MESSAGES, SessionLimits
from tabletap.realtime.presence import Connection, Presence
from tabletap.realtime.session import Admission, Session
from tabletap.realtime.session import Refusal as Rejection
from tabletap.realtime.slow import SlowClient

from .admission import Admissions, Guest
from .gate import Gate
from .table import DOORS
from .watch import Watch

PROTOCOL = "tabletap.v1"
TOKEN_EXPIRED = 4001
LOOKED_AT_IN_ONE_GO = 250

_BUSY = Refusal(Code.OVERLOADED, "too many commands are under way on this socket")


class Welcome(msgspec.Struct, frozen=True, tag="welcome", rename="camel", kw_only=True):
    """The first message of the server. ``rooms``: what the door gives to everybody, from ``offset`` on."""

    session: str
    cafe_id: str
    rooms: tuple[str, ...]
    offset: int
    heartbeat_ms: int


class TillWelcome(Welcome, frozen=True, tag="welcome", rename="camel", kw_only=True):
    """A till's. ``cursor``: up to there it has acknowledged everything; what comes after that follows."""

    till: str
    cursor: int


Handle = Callable[[Session, Guest, str | bytes], Any]
Refuse = Callable[[Session, str | bytes, Refusal], None]


class Doors:
    """Admits sessions, welcomes them, and knows those that are there. Implements ``realtime.session.Door``.

    ``limits``: of sessions at doors that have limits of their own."""

    def __init__(
        self,
        *,
        hub: Hub,
        reader: Reader,
        auth: Authenticator,
        admissions: Admissions,
        gate: Gate,
        watch: Watch,
        presence: Presence,
        keyring: Keyring,
        tills: Tills,
        limits: Mapping[str, SessionLimits],
        now: Callable[[], datetime],
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._auth = auth
        self._admissions = admissions
        self._gate = gate
        self._watch = watch
        self._presence = presence
        self._keyring = keyring
        self._tills = tills
        self._limits = limits
        self._now = now
        self._sessions: dict[Session, Guest] = {}
        self.answer: Handle | None = None
        self.refuse: Refuse | None = None

    @property
    def sessions(self) -> int:
        return len(self._sessions)

    def counts(self) -> Mapping[str, int]:
        """How many sessions there are at each door."""
        counted = Counter(guest.door for guest in self._sessions.values())
        return {door: counted[door] for door in DOORS}

    # -- entering

    async def admit(self, request: WebSocketRequest, remote: str) -> Admission | Rejection:
        """Whether the request may become a socket."""
        guest = await self._admissions.look(request, remote)
        if isinstance(guest, Refusal):
            body = msgspec.json.encode(problem(guest, urlsplit(request.path).path))
            extra = tuple((name.encode(), value.encode()) for name, value in headers(guest).items())
            return Rejection(status=STATUS[guest.code], body=body, headers=extra)
        offered = PROTOCOL if PROTOCOL in request.proposed_subprotocols else None
        return Admission(principal=guest, subprotocol=offered, limits=self._limits.get(guest.door))

    async def opened(self, session: Session) -> None:
        """Welcome it; its default rooms begin with what follows the welcome's offset."""
        guest = guest_of(session)
        self._sessions[session] = guest
        self._shut_out(session, guest)  # by what was revoked while it was on its way in
        names = DOORS[guest.door].rooms(guest.principal, guest.cafe)
        self._hub.attach(session, guest.cafe.id)
        snapshots = {room: self.snapshot(guest, room) for room in names}
        rooms = DefaultRooms(self._hub, self._reader, session, guest.cafe.id, snapshots)
        offset = await rooms.hold()
        if guest.till is not None:
            guest.till = self._tills.connected(guest.till, session)
        session.send(message_frame(self._welcome(session, guest, names, offset)))
        session.stream.keeper = SlowClient(
            self._hub,
            self._reader,
            session,
            guest.cafe.id,
            partial(self.snapshot, guest),
            session.limits.snapshot_pause_seconds,
        )
        guest.rooms = rooms
        self._presence.enter(session, self._connection(session, guest))
        self._watch.entered(guest.cafe.id, guest.address, guest.principal.user, guest.principal.token_id)
        rooms.open(guest.after)

    def renewed(self, session: Session, guest: Guest) -> None:
        """It has shown a fresh token."""
        self._presence.renew(session, guest.cafe.id, guest.principal.token_id)

    def _welcome(self, session: Session, guest: Guest, rooms: tuple[str, ...], offset: int) -> Welcome:
        said = Welcome(
            session=session.id,
            cafe_id=str(guest.cafe.id),
            rooms=rooms,
            offset=offset,
            heartbeat_ms=self._hub.limits.heartbeat_ms,
        )
        if guest.till is None:
            return said
        row = guest.till.row
        return TillWelcome(**msgspec.structs.asdict(said), till=row.till, cursor=row.cursor)

    def _connection(self, session: Session, guest: Guest) -> Connection:
        principal = guest.principal
        return Connection(
            session=session.id,
            cafe_id=guest.cafe.id,
            door=guest.door,
            role=principal.role,
            user=principal.user,
            order_id=principal.order_id,
            device=principal.device,
            token_id=principal.token_id,
            address=guest.address,
            since=self._now(),
        )

    def snapshot(self, guest: Guest, room: str) -> Callable[[], Any]:
        """What a client that missed too much is given instead: the order, or the cafe's active orders."""
        parsed = access.parse_room(room)

        async def of_cafe() -> tuple[int, Any]:
            offset, orders = await self._reader.orders_with_offset(guest.cafe.id)
            if parsed is not None and parsed.part == "pos":
                orders = [order for order in orders if order.channel is not Channel.COUNTER]
            return offset, {"orders": orders}

        async def of_presence() -> tuple[int, Any]:
            there = await self._presence.connections(guest.cafe.id)
            return self._hub.head(guest.cafe.id), {"connections": [one.present for one in there]}

        async def of_one() -> tuple[int, Any]:
            offset = await self._reader.head(guest.cafe.id)  # first: what follows is told again rather than lost
            assert parsed is not None
            assert parsed.uuid is not None
            if parsed.kind == "order":
                return offset, {"order": await self._reader.order(parsed.uuid)}  # type: ignore[arg-type]
            if parsed.kind == "flow":
                return offset, {"flow": await self._reader.flow(parsed.uuid)}
            return offset, {"payment": await self._reader.payment(parsed.uuid)}  # type: ignore[arg-type]

        async def of_nothing() -> tuple[int, Any]:
            return await self._reader.head(guest.cafe.id), {}

        if parsed is not None and parsed.kind in ("order", "payment", "flow"):
            return of_one
        if parsed is not None and parsed.part in ("presence", "alerts"):
            return of_presence if parsed.part == "presence" else of_nothing
        return of_cafe if parsed is not None and parsed.kind == "cafe" else of_nothing

    # -- being there

    async def message(self, session: Session, message: str | bytes) -> None:
        """Answer one message."""
        assert self.answer is not None
        assert self.refuse is not None
        guest = guest_of(session)
        if guest.till is None and self._gate.floods(guest.who):
            session.flooded = True
            session.close(TOO_MANY_MESSAGES, "too many messages")
        elif (refused := self._gate.message(guest.address, str(guest.cafe.id))) is not None:
            self.refuse(session, message, refused)
        else:
            await self.answer(session, guest, message)

    def busy(self, session: Session, message: str | bytes) -> None:
        """Too many commands at once."""
        assert self.refuse is not None
        self.refuse(session, message, _BUSY)

    def closed(self, session: Session) -> None:
        """It has gone."""
        guest = self._sessions.pop(session, None)
        self._tills.disconnected(session, _trouble(session))
        self._hub.detach(session)
        if guest is not None:
            self._presence.leave(session, guest.cafe.id)
            if session.flooded:
                self._watch.flooded(guest.cafe.id, guest.address, guest.principal.user)

    # -- all of them

    def close_all(self) -> None:
        """The server goes away."""
        for session in tuple(self._sessions):
            session.close(GOING_AWAY, "the server is going down")

    def shut_out(self) -> None:
        """Close the sessions whose token is good no longer at their cafe (code 4001)."""
        for session, guest in tuple(self._sessions.items()):
            self._shut_out(session, guest)

    def _shut_out(self, session: Session, guest: Guest) -> None:
        judge = self._auth.judge if guest.till is None else self._keyring.judge
        judged = judge(guest.principal)
        if isinstance(judged, Refusal):
            session.close(TOKEN_EXPIRED, judged.message)
        elif guest.principal.order_id is None and not judged.belongs_to(guest.cafe.id):
            session.close(TOKEN_EXPIRED, REVOKED.message)
        else:
            guest.principal = judged

    async def run(self) -> None:
        """Every second: close the sessions whose token has expired (code 4001), and see whether their peers live."""
        while True:
            await trio.sleep(1)
            now = self._now()
            for number, (session, guest) in enumerate(tuple(self._sessions.items())):
                if number % LOOKED_AT_IN_ONE_GO == 0:
                    await trio.lowlevel.checkpoint()
                    moment = trio.current_time()
                session.check_peer(moment)
                expires_at = guest.principal.expires_at
                if expires_at is not None and expires_at <= now:
                    session.close(TOKEN_EXPIRED, "the token has expired")


def guest_of(session: Session) -> Guest:
    """Who the session is."""
    guest = session.principal
    assert isinstance(guest, Guest)
    return guest


def _trouble(session: Session) -> str | None:
    """Why a session ended, if it should not have."""
    if session.flooded:
        return "it sent too much"
    if session.silent:
        return "it did not answer in time"
    return "it did not read in time" if session.overran else None
