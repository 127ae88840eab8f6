"""What an operation is: one line of the table from which REST, socket commands and OpenAPI are derived.

An operation is declared once, with its name, who may, what it takes and answers, and a handler that turns a ``Call``
into questions to entities. Handlers hold no rules: they name the entity, build the command, and pass on the answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Protocol
from uuid import UUID

import msgspec

from tabletap.actors.audit_ports import Balances, Trail
from tabletap.actors.cafe import Boards
from tabletap.actors.desk import Desk
from tabletap.actors.ports import CafeEntry, Gateway, Idempotency, JobBoard, Reader, Statements
from tabletap.actors.reconciliation import Reconciliation
from tabletap.actors.report_ports import Reports
from tabletap.actors.webhook_ports import Endpoints, Inbox
from tabletap.domain.access import Access, Principal, Subject
from tabletap.domain.base import By, CafeId, Kind, PaymentId, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.vocabulary import Method
from tabletap.http.auth import Authenticator
from tabletap.http.keyring import Keyring
from tabletap.http.revoked import Revoked
from tabletap.http.tills import Tills
from tabletap.realtime.feed import TillFeed
from tabletap.realtime.presence import Presence


class Key(Enum):
    """Whether a request carries an ``Idempotency-Key`` (spec H3): required wherever money moves."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


KEY_REUSED = Refusal(Code.IDEMPOTENCY_KEY_REUSED, "this key was used for another request")


class Signed(msgspec.Struct, frozen=True):
    """A request as it came, for whoever checks a signature over it. Header names are in lower case."""

    headers: Mapping[str, str]
    body: bytes


class Raw(msgspec.Struct, frozen=True):
    """An answer that is no JSON."""

    content_type: str
    body: bytes


class Directory(Protocol):
    """The cafes of this installation, by slug and by id, kept up to date in memory."""

    def by_slug(self, slug: str) -> CafeEntry | None: ...

    def by_id(self, cafe_id: CafeId) -> CafeEntry | None: ...

    def add(self, entry: CafeEntry) -> None: ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """What handlers may use. ``public_url``: where customers reach this server, without a trailing slash;
    ``providers``: the gateways by the name under which their webhooks come."""

    desk: Desk
    reader: Reader
    boards: Boards
    directory: Directory
    gateways: Mapping[Method, Gateway]
    providers: Mapping[str, Gateway]
    inbox: Inbox
    endpoints: Endpoints
    statements: Statements
    balances: Balances
    reports: Reports
    trail: Trail
    reconciliation: Reconciliation
    jobs: JobBoard
    auth: Authenticator
    revoked: Revoked
    presence: Presence
    keyring: Keyring
    tills: Tills
    till_feed: TillFeed
    public_url: Callable[[], str]
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request on its way: already parsed, admitted and allowed."""

    services: Services
    principal: Principal
    params: Mapping[str, str]
    cafe: CafeEntry | None = None
    subject: Subject | None = None
    body: Any = None
    query: Any = None
    idempotency: Idempotency | None = None

    @property
    def by(self) -> By:
        return self.principal.by

    @property
    def cafe_id(self) -> CafeId:
        """Whose the request is about: the cafe of the path, or of the order or payment named."""
        if self.subject is not None:
            return self.subject.cafe_id
        assert self.cafe is not None
        return self.cafe.id

    def cafe_ref(self) -> Ref:
        return Ref(Kind.CAFE, self.cafe_id, self.cafe_id)

    def order_ref(self) -> Ref:
        assert self.subject is not None
        return Ref(Kind.ORDER, self.subject.order_id, self.subject.cafe_id)

    def payment_ref(self) -> Ref:
        assert self.subject is not None
        return Ref(Kind.PAYMENT, PaymentId(UUID(self.params["paymentId"])), self.subject.cafe_id)


Handler = Callable[[Call], Awaitable[Any]]
Finish = Callable[[Call, Any], Awaitable[Any]]


class About(Enum):
    """What an operation's id parameter names, so that its cafe and owner can be looked up first."""

    ORDER = "order"
    PAYMENT = "payment"


class Named(Enum):
    """Where an operation's cafe is named, if its path does not: a field ``cafe`` of the query or of the body."""

    QUERY = "query"
    BODY = "body"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    ``about``: the subject to look up, by the parameter ``orderId`` or ``paymentId`` (of path or body). ``cafe_by``: see
    there; on a socket it is the socket's cafe, whatever else is named. ``stored``: the
    type that its entity answers and the idempotency record keeps; ``finish`` makes the reply from it, alike for a
    fresh answer and a replayed one, and so must depend on nothing that a replay would not have. ``signed_bytes``: the
    request is signed by a machine that we know; the handler gets it as it came (``Signed``), up to so many bytes. It is
    of the REST door alone, and no rate limit concerns it: one address speaks for all customers. ``screens``: the field
    of the body that the handler itself looks through for card numbers, since one odd line must not stop the rest.
    ``csv``: its query has a field ``format``, and it may be had as a table by ``csv`` there (or ``Accept: text/csv``).
    """

    name: str
    method: str
    path: str
    summary: str
    access: Access
    handler: Handler
    reply: Any
    body: Any = None
    query: Any = None
    status: int = 200
    key: Key = Key.NONE
    about: About | None = None
    cafe_by: Named | None = None
    stored: Any = None
    finish: Finish | None = None
    signed_bytes: int | None = None
    screens: str | None = None
    csv: bool = False

    @property
    def params(self) -> tuple[str, ...]:
        """The names between braces in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def of_cafe(self) -> bool:
        """Whether path, query or body names the cafe."""
        return "cafe" in self.params or self.cafe_by is not None
