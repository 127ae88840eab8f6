"""What a client may say on a socket (``protocol.md``), and what it is answered: one reply or error for each ``id``."""

from typing import Any
from uuid import UUID

import msgspec

from tabletap.actors.ports import Reader
from tabletap.actors.runtime import Outage
from tabletap.domain import cardlike
from tabletap.domain.access import Subject, may_hear, parse_room
from tabletap.domain.base import CafeId
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.http.auth import Authenticator
from tabletap.http.dispatch import Dispatcher, Request, blame
from tabletap.http.operations import OPERATIONS
from tabletap.http.operations.base import Operation
from tabletap.http.problems import ProblemField, fields_at_fault
from tabletap.http.tills import Tills
from tabletap.realtime.frames import message_frame
from tabletap.realtime.hub import Hub
from tabletap.realtime.replay import subscribe
from tabletap.realtime.rooms import RoomFull
from tabletap.realtime.session import Session

from .admission import Guest
from .depth import deeper_than
from .doors import Doors

Id = str | int | None


class Said(msgspec.Struct, frozen=True, rename="camel"):
    """A message of a client."""

    op: str
    id: Id = None
    room: str | None = None
    after: int | None = None
    offset: int | None = None
    token: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    idempotency_key: str | None = None


class Reply(msgspec.Struct, frozen=True, tag="reply"):
    id: Id
    data: Any


class Error(msgspec.Struct, frozen=True, tag="error", rename="camel", omit_defaults=True, kw_only=True):
    """``retry_after``: seconds until asking again may help."""

    id: Id = None
    code: Code
    error: str
    errors: tuple[ProblemField, ...] = ()
    retry_after: int | None = None


class Unsubscribed(msgspec.Struct, frozen=True, tag="unsubscribed"):
    id: Id
    room: str


_decoder = msgspec.json.Decoder(Said)


class Commands:
    """Answers messages. Joins the doors to the dispatcher and the hub."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        hub: Hub,
        reader: Reader,
        auth: Authenticator,
        doors: Doors,
        tills: Tills,
        message_depth: int,
    ) -> None:
        self._dispatcher = dispatcher
        self._depth = message_depth
        self._hub = hub
        self._reader = reader
        self._auth = auth
        self._doors = doors
        self._tills = tills
        doors.answer = self.answer
        doors.refuse = self.refuse

    async def answer(self, session: Session, guest: Guest, message: str | bytes) -> None:
        """One message, one answer."""
        said = self._parse(message)
        if isinstance(said, Refusal):
            _refuse(session, None, said)
            return
        card = _card_data(said, message)
        if card is not None:
            _refuse(session, said.id, card)
            return
        if guest.rooms is not None:
            guest.rooms.heard(said.op)
        try:
            refusal = await self._answer(session, guest, said)
        except Outage:
            refusal = Refusal(Code.UNAVAILABLE, "the database cannot be reached", retry_after_s=1)
        if refusal is not None:
            _refuse(session, said.id, refusal)

    def refuse(self, session: Session, message: str | bytes, refusal: Refusal) -> None:
        """It was not looked at: there are too many already."""
        said = self._parse(message)
        _refuse(session, None if isinstance(said, Refusal) else said.id, refusal)

    def _parse(self, message: str | bytes) -> Said | Refusal:
        if deeper_than(self._depth, message if isinstance(message, bytes) else message.encode()):
            return Refusal(Code.MALFORMED, f"the message is nested more than {self._depth} deep")
        try:
            return _decoder.decode(message)
        except msgspec.ValidationError as error:
            return blame(error)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            return Refusal(Code.MALFORMED, f"the message is not JSON: {error}")

    async def _answer(self, session: Session, guest: Guest, said: Said) -> Refusal | None:
        match said.op:
            case "subscribe":
                return await self._subscribe(session, guest, said)
            case "unsubscribe":
                return self._unsubscribe(session, said)
            case "ping":
                session.send(message_frame(Reply(said.id, {"pong": True})))
                return None
            case "ack":
                return self._acknowledge(session, guest, said)
            case "auth":
                return self._renew(session, guest, said)
            case name if name in OPERATIONS and not OPERATIONS[name].signed_bytes:
                return await self._perform(session, guest, said, OPERATIONS[name])
            case _:
                return Refusal(Code.UNKNOWN_OPERATION, f"there is no operation {said.op[:80]!r}")

    def _acknowledge(self, session: Session, guest: Guest, said: Said) -> Refusal | None:
        """A till has everything up to an offset. It is answered only where it asks to be, by an id."""
        if guest.till is None:
            return Refusal(Code.FORBIDDEN, "only tills acknowledge")
        if said.offset is None or said.offset < 0:
            return invalid("offset", "must be an offset")
        cursor = self._tills.acknowledge(guest.till, said.offset)
        if isinstance(cursor, Refusal):
            return cursor
        if said.id is not None:
            session.send(message_frame(Reply(said.id, {"cursor": cursor})))
        return None

    # -- rooms

    async def _subscribe(self, session: Session, guest: Guest, said: Said) -> Refusal | None:
        room = parse_room(said.room or "")
        if room is None or said.room is None:
            return invalid("room", "there is no such kind of room")
        if said.after is not None and not 0 <= said.after < 1 << 63:
            return invalid("after", "must be an offset")
        subject: Subject | None = None
        if room.kind in ("order", "payment", "flow") and room.uuid is not None:
            subject = await self._reader.subject(room.kind, room.uuid)
        theirs = room.kind == "cafe" and CafeId(UUID(room.id)) != guest.cafe.id
        if theirs or (subject and subject.cafe_id != guest.cafe.id) or not may_hear(guest.principal, room, subject):
            return Refusal(Code.FORBIDDEN, "this room is not yours to hear")
        snapshot = self._doors.snapshot(guest, said.room)
        after = guest.till.cursor if guest.till is not None and said.after is None else said.after
        try:
            if room.kind == "flow":
                await self._hub.flows.subscribe(session, said.room, said.id, snapshot)
                return None
            await subscribe(
                self._hub,
                self._reader,
                session,
                said.room,
                guest.cafe.id,
                after,
                said.id,
                snapshot,
            )
        except RoomFull as full:
            return Refusal(Code.TOO_MANY_SUBSCRIPTIONS, str(full))
        return None

    def _unsubscribe(self, session: Session, said: Said) -> Refusal | None:
        if said.room is None:
            return invalid("room", "say which")
        self._hub.leave(session, said.room)
        session.send(message_frame(Unsubscribed(said.id, said.room)))
        return None

    # -- who

    def _renew(self, session: Session, guest: Guest, said: Said) -> Refusal | None:
        """A fresh token of the same person for the one that runs out."""
        renewed = self._auth.principal(said.token or "")
        if isinstance(renewed, Refusal):
            return renewed
        was = guest.principal
        same = (renewed.user, renewed.role, renewed.order_id) == (was.user, was.role, was.order_id)
        if not same or not (renewed.order_id or renewed.belongs_to(guest.cafe.id)):
            return Refusal(Code.FORBIDDEN, "the token is somebody else's")
        guest.principal = msgspec.structs.replace(renewed, device=was.device)
        self._doors.renewed(session, guest)
        session.send(message_frame(Reply(said.id, {"expiresAt": renewed.expires_at})))
        return None

    # -- operations

    async def _perform(self, session: Session, guest: Guest, said: Said, operation: Operation) -> Refusal | None:
        fields = _fields(said.data)
        if isinstance(fields, Refusal):
            return fields
        params = {name: str(fields[name]) for name in operation.params if name in fields and name != "cafe"}
        missing = [name for name in operation.params if name != "cafe" and name not in params]
        if missing:
            return invalid(missing[0], "is missing")
        query = {name: str(value) for name, value in fields.items() if value is not None}
        performed = await self._dispatcher.perform(
            Request(
                operation=operation,
                principal=guest.principal,
                params=params,
                body=bytes(said.data),
                query=query,
                key=said.idempotency_key,
                address=guest.address,
                cafe=guest.cafe,
            )
        )
        if performed.refusal is not None:
            return performed.refusal
        is_json = performed.content_type == "application/json"
        data = msgspec.Raw(performed.body) if is_json else performed.body
        session.send(message_frame(Reply(said.id, data)))
        return None


def _card_data(said: Said, message: str | bytes) -> Refusal | None:
    """Refuses a message with a card number anywhere in it (spec P10); ``data`` is named as its operation knows it."""
    operation = OPERATIONS.get(said.op)
    beside = f"data.{operation.screens}" if operation is not None and operation.screens else None
    field = cardlike.field_in(message if isinstance(message, bytes) else message.encode(), beside)
    return None if field is None else cardlike.refusal(field.removeprefix("data."))


def _fields(data: msgspec.Raw) -> dict[str, Any] | Refusal:
    try:
        fields = msgspec.json.decode(bytes(data) or b"null", type=dict[str, Any] | None)
    except (msgspec.DecodeError, RecursionError):
        return invalid("data", "must be an object")
    return fields or {}


def _refuse(session: Session, ident: Id, refusal: Refusal) -> None:
    ident = None if cardlike.find(str(ident)) else ident
    told, errors = cardlike.redact(refusal.message), fields_at_fault(refusal)
    error = Error(id=ident, code=refusal.code, error=told, errors=errors, retry_after=refusal.retry_after_s)
    session.send(message_frame(error))
