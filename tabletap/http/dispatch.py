"""One way through every door: find the operation, say who asks, check that they may, do it once, answer.

REST and sockets differ in how they carry a request; from here on they are the same. The order of the steps matters:
nobody learns anything about a body or an order before their token has been read, and nothing is done before everything
has been checked.
"""

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import trio

from tabletap.actors.ports import CafeEntry, Idempotency
from tabletap.actors.runtime import Outage
from tabletap.domain import cardlike
from tabletap.domain.access import ANYBODY, Principal, Subject, may_act, owns
from tabletap.domain.base import PaymentId, Role
from tabletap.domain.errors import Code, FieldError, Refusal, invalid
from tabletap.domain.order import OrderView
from tabletap.domain.payment import PaymentView

from .limits import RateLimiter
from .operations import OPERATIONS
from .operations.base import KEY_REUSED, About, Call, Key, Named, Operation, Raw, Services, Signed
from .problems import STATUS

SUBJECTS_AT_MOST = 10_000
"""How many orders' and payments' owners are remembered; they never change."""

_NUL = rb"\u0000"
KEYS_REMEMBERED = 10_000
"""Keys lately used here: their records are read before, not after, something is tried again."""

_NOT_FOUND = Refusal(Code.NOT_FOUND, "there is nothing of that name here")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a door has read. ``params``: from the path, or all fields of a socket message that the path would name.

    ``cafe``: where the door itself is a cafe's (a socket), else the path names it.
    """

    operation: Operation
    principal: Principal | None
    params: Mapping[str, str]
    body: bytes = b""
    query: Mapping[str, str] = {}
    key: str | None = None
    headers: Mapping[str, str] = {}
    address: str = ""
    cafe: CafeEntry | None = None


class Performed(msgspec.Struct, frozen=True):
    """The answer: JSON (or raw) bytes, or the refusal that the door puts into its own form."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    refusal: Refusal | None = None
    replayed: bool = False


class Dispatcher:
    """Carries requests from the doors to the handlers."""

    def __init__(self, services: Services, limiter: RateLimiter) -> None:
        self.services = services
        self._limiter = limiter
        self._in_progress: set[tuple[str, UUID]] = set()
        self._used: dict[tuple[str, UUID], None] = {}
        self._subjects: dict[tuple[str, UUID], Subject] = {}
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {
            name: msgspec.json.Decoder(op.body) for name, op in OPERATIONS.items() if op.body is not None
        }

    async def perform(self, request: Request) -> Performed:
        """Carry one request out."""
        begun = trio.current_time()
        performed = await self._performed(request)
        if request.principal is not None and request.principal.role is Role.TILL:
            refused = performed.refusal
            error = f"{refused.code}: {refused.message}" if refused is not None else None
            duration_s = trio.current_time() - begun
            self.services.tills.called(request.principal, request.operation.name, performed.status, error, duration_s)
        return performed

    async def _performed(self, request: Request) -> Performed:
        operation = request.operation
        try:
            answer = await self._perform(request)
        except Outage:
            answer = Refusal(Code.UNAVAILABLE, "the database cannot be reached", retry_after_s=1)
        if isinstance(answer, Refusal):
            return Performed(STATUS[answer.code], refusal=answer)
        if isinstance(answer, Performed):
            return answer
        if isinstance(answer, Raw):
            return Performed(operation.status, answer.body, answer.content_type)
        return Performed(operation.status, msgspec.json.encode(answer))

    async def _perform(self, request: Request) -> Any:
        stopped = self._limited(request) or _card_data(request)
        if stopped is not None:
            return stopped
        operation, principal = request.operation, request.principal
        if principal is None and not operation.access.public:
            return may_act(None, operation.access, None)
        cafe = self._cafe(request)
        if isinstance(cafe, Refusal):
            return cafe
        if operation.about is None:
            refused = may_act(principal, operation.access, cafe.id if cafe else None)
            if refused or (refused := await self._of_another_cafe(principal, cafe)):
                return refused
        body = self._signed(request) if operation.signed_bytes else self._body(operation, request.body)
        if isinstance(body, Refusal):
            return body
        if operation.cafe_by is Named.BODY:  # it is in the key's scope: one request, by whatever door
            body = msgspec.structs.replace(body, cafe=None)
        query = self._query(operation, request.query)
        if isinstance(query, Refusal):
            return query
        subject = await self._subject(operation, request, body)
        if isinstance(subject, Refusal):
            return subject
        if subject is not None:
            refused = self._may_touch(request, subject)
            if refused:
                return refused
        call = Call(
            services=self.services,
            principal=principal or ANYBODY,
            params=request.params,
            cafe=cafe,
            subject=subject,
            body=body,
            query=query,
        )
        if request.key is not None or operation.key is Key.REQUIRED:
            return await self._once(operation, call, request.key)
        return await self._handle(operation, call)

    def _limited(self, request: Request) -> Refusal | None:
        if request.operation.signed_bytes:
            return None
        principal = request.principal
        user = principal and (principal.user or (principal.order_id and str(principal.order_id)))
        if principal is not None and principal.role is Role.TILL:
            wait = self._limiter.wait_of_till(user or "", trio.current_time())
        else:
            wait = self._limiter.wait(
                address=request.address, user=user or None, operation=request.operation.name, now=trio.current_time()
            )
        if wait <= 0:
            return None
        return Refusal(Code.RATE_LIMIT_EXCEEDED, "too many requests", retry_after_s=max(1, math.ceil(wait)))

    # -- what it is about

    def _cafe(self, request: Request) -> CafeEntry | Refusal | None:
        if not request.operation.of_cafe:
            return request.cafe
        slug = request.params.get("cafe") if request.operation.cafe_by is None else _named(request)
        if isinstance(slug, Refusal):
            return slug
        if slug is None:
            return request.cafe or _NOT_FOUND
        return self.services.directory.by_slug(slug) or Refusal(Code.NOT_FOUND, f"there is no cafe {slug!r}")

    async def _subject(self, operation: Operation, request: Request, body: Any) -> Subject | Refusal | None:
        if operation.about is None:
            return None
        if operation.about is About.PAYMENT:
            kind, text = "payment", request.params.get("paymentId", "")
        else:
            named = getattr(body, "order_id", None)
            kind, text = "order", str(named) if named else request.params.get("orderId", "")
        try:
            ident = UUID(text)
        except ValueError:
            return Refusal(Code.NOT_FOUND, f"there is no such {kind}")
        return await self._look_up(kind, ident) or Refusal(Code.NOT_FOUND, f"there is no such {kind}")

    async def _look_up(self, kind: str, ident: UUID) -> Subject | None:
        known = self._subjects.get((kind, ident))
        if known is None:
            known = await self.services.reader.subject(kind, PaymentId(ident))
            if known is not None:
                self._know(kind, ident, known)
        return known

    async def _of_another_cafe(self, principal: Principal | None, cafe: CafeEntry | None) -> Refusal | None:
        """A tracking token is its order's cafe's, also where no token is needed."""
        if principal is None or principal.order_id is None or cafe is None:
            return None
        subject = await self._look_up("order", principal.order_id)
        if subject is not None and subject.cafe_id == cafe.id:
            return None
        return Refusal(Code.FORBIDDEN, "this token is not for this cafe")

    @staticmethod
    def _may_touch(request: Request, subject: Subject) -> Refusal | None:
        principal, access = request.principal, request.operation.access
        refused = may_act(principal, access, subject.cafe_id)
        if refused or principal is None:
            return refused
        if request.cafe is not None and request.cafe.id != subject.cafe_id:
            return Refusal(Code.FORBIDDEN, "this door is another cafe's")
        if principal.order_id is None and principal.role in access.roles:
            return None
        if owns(principal, subject.order_id, subject.customer_id):
            return None
        return Refusal(Code.FORBIDDEN, "this order is somebody else's")

    # -- what was said

    @staticmethod
    def _signed(request: Request) -> Signed | Refusal:
        most = request.operation.signed_bytes or 0
        if len(request.body) > most:
            return Refusal(Code.PAYLOAD_TOO_LARGE, f"the body has more than {most} bytes")
        return Signed(request.headers, request.body)

    def _body(self, operation: Operation, raw: bytes) -> Any:
        decoder = self._decoders.get(operation.name)
        if decoder is None:
            return None
        try:
            body = decoder.decode(raw.strip() or b"null")
            return body if _NUL not in raw else _without_nul(msgspec.json.decode(raw)) or body
        except msgspec.ValidationError as error:
            return blame(error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Refusal(Code.MALFORMED, f"the body is not JSON: {error}")

    @staticmethod
    def _query(operation: Operation, query: Mapping[str, str]) -> Any:
        if operation.query is None:
            return None
        try:
            return msgspec.convert(query, operation.query, strict=False)
        except msgspec.ValidationError as error:
            return blame(error)

    # -- doing it

    async def _handle(self, operation: Operation, call: Call) -> Any:
        answer = await operation.handler(call)
        if isinstance(answer, Refusal):
            return answer
        self._introduce(call, answer)
        return answer if operation.finish is None else await operation.finish(call, answer)

    def _introduce(self, call: Call, answer: Any) -> None:
        """Remember whose a new order or payment is: the next request about it need not ask the database."""
        if isinstance(answer, OrderView) and call.subject is None:
            account = call.principal.user if call.principal.role is Role.CUSTOMER else None
            self._know("order", answer.id, Subject(answer.cafe_id, answer.id, account))
        elif isinstance(answer, PaymentView) and call.subject is not None and call.body is not None:
            payer = getattr(call.body, "customer_id", None) or call.subject.customer_id
            self._know("payment", answer.payment_id, msgspec.structs.replace(call.subject, customer_id=payer))

    def _know(self, kind: str, ident: UUID, subject: Subject) -> None:
        known = self._subjects
        if (kind, ident) not in known and len(known) >= SUBJECTS_AT_MOST:
            del known[next(iter(known))]
        known.setdefault((kind, ident), subject)

    async def _once(self, operation: Operation, call: Call, key: str | None) -> Any:
        """Do it once for this key (spec H3): the record is written in the commit of the effect.

        A key that nobody here has seen lately is tried at once: if it was used before, the commit cannot be written,
        and only then is its record read. So the usual request does not pay for the rare repeat.
        """
        if operation.key is Key.NONE:
            return await self._handle(operation, call)
        idempotency = self._idempotency(operation, call, key)
        if isinstance(idempotency, Refusal):
            return idempotency
        held = (idempotency.scope, idempotency.key)
        if held in self._in_progress:
            return Refusal(Code.DUPLICATE_IN_PROGRESS, "a request with this key is under way", retry_after_s=1)
        self._in_progress.add(held)
        try:
            if held in self._used and (replayed := await self._replayed(operation, call, idempotency)) is not None:
                return replayed
            answer = await self._handle(operation, msgspec.structs.replace(call, idempotency=idempotency))
            if isinstance(answer, Refusal) and (replayed := await self._replayed(operation, call, idempotency)):
                return answer if replayed.refusal == answer else replayed
            return answer
        finally:
            self._in_progress.discard(held)
            self._remember(held)

    def _remember(self, held: tuple[str, UUID]) -> None:
        self._used[held] = None
        if len(self._used) > KEYS_REMEMBERED:
            del self._used[next(iter(self._used))]

    async def _replayed(self, operation: Operation, call: Call, idempotency: Idempotency) -> Performed | None:
        """The answer that the key has already, if it has one."""
        services = self.services
        before = await services.reader.answered(idempotency.scope, idempotency.key, services.now())
        if before is None:
            return None
        if before.idempotency.request != idempotency.request:
            return Performed(STATUS[KEY_REUSED.code], refusal=KEY_REUSED)
        return await self._replay(operation, call, ok=before.ok, body=before.body)

    async def _replay(self, operation: Operation, call: Call, *, ok: bool, body: bytes) -> Performed:
        if not ok:
            refusal = msgspec.json.decode(body, type=Refusal)
            return Performed(STATUS[refusal.code], refusal=refusal, replayed=True)
        stored = msgspec.json.decode(body, type=operation.stored)
        reply = stored if operation.finish is None else await operation.finish(call, stored)
        if isinstance(reply, Refusal):
            return Performed(STATUS[reply.code], refusal=reply)
        return Performed(operation.status, msgspec.json.encode(reply), replayed=True)

    @staticmethod
    def _idempotency(operation: Operation, call: Call, key: str | None) -> Idempotency | Refusal:
        if key is None:
            return Refusal(
                Code.IDEMPOTENCY_KEY_MISSING, "this request is carried out once: it needs an Idempotency-Key"
            )
        try:
            parsed = UUID(key.strip())
        except ValueError:
            return Refusal(Code.IDEMPOTENCY_KEY_INVALID, "an Idempotency-Key is a UUID")
        who = call.principal
        user = who.user or (f"order:{who.order_id}" if who.order_id else "anybody")
        params = sorted(item for item in call.params.items() if item[0] != "cafe")  # it is in the scope, at every door
        asked = [operation.name, params, call.body]
        digest = hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).digest()
        return Idempotency(f"{call.cafe_id}:{user}", parsed, digest)


class _Named(msgspec.Struct, frozen=True):
    """What must be read of a body before anything else of it is."""

    cafe: str | None = None


_decode_named = msgspec.json.Decoder(_Named | None).decode


def _named(request: Request) -> str | Refusal | None:
    """The cafe that the query or the body names; None: nothing is asked where the door itself is a cafe's."""
    if request.cafe is not None:
        return None
    slug = request.query.get("cafe")
    if request.operation.cafe_by is Named.BODY:
        try:
            named = _decode_named(request.body.strip() or b"null")
        except msgspec.ValidationError as error:
            return blame(error)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return Refusal(Code.MALFORMED, f"the body is not JSON: {error}")
        slug = named.cafe if named else None
    return slug or invalid("cafe", "say which")


def _card_data(request: Request) -> Refusal | None:
    """Refuses a request with a card number anywhere in it, before anything is done with it (spec P10)."""
    operation = request.operation
    field = None if operation.signed_bytes else cardlike.field_in(request.body, beside=operation.screens)
    if field is not None:
        return cardlike.refusal(field)
    query = () if request.cafe else request.query.items()  # on a socket it is the body once more
    for name, text in (*request.params.items(), *query, ("Idempotency-Key", request.key or "")):
        if cardlike.find(name) or cardlike.find(text):
            return cardlike.refusal(cardlike.redact(name))
    return None


def _without_nul(value: Any, field: str = "") -> Refusal | None:
    """Names the first text with a NUL: it is JSON, but no text that a database keeps."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if "\0" in (value if isinstance(value, str) else "".join(value) if isinstance(value, dict) else ""):
        return invalid(field, "must not contain NUL")
    found = (_without_nul(part, f"{field}.{name}".lstrip(".")) for name, part in inner)
    return next((refusal for refusal in found if refusal), None)


def blame(error: msgspec.ValidationError) -> Refusal:
    """A refusal that names the field msgspec stumbled over (``$.items[0].sku`` -> ``items.0.sku``)."""
    text, _, path = str(error).partition(" - at `")
    field = ".".join(re.findall(r"[^$.`\[\]]+", path))
    return Refusal(Code.VALIDATION_ERROR, f"{field}: {text}" if field else text, (FieldError(field, text),))
