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

from tabletap.actors.cafe import Boards
from tabletap.actors.desk import Desk
from tabletap.actors.ports import CafeEntry, Gateway, Idempotency, Reader
from tabletap.domain.access import Access, Principal, Subject
from tabletap.domain.base import By, CafeId, Kind, OrderId, PaymentId, Ref
from tabletap.domain.vocabulary import Method
from tabletap.http.auth import Authenticator


class Key(Enum):
    """Whether a request carries an ``Idempotency-Key`` (spec H3): required wherever money moves."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


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
    """What handlers may use. ``public_url``: where customers reach this server, without a trailing slash."""

    desk: Desk
    reader: Reader
    boards: Boards
    directory: Directory
    gateways: Mapping[Method, Gateway]
    auth: Authenticator
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


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table.

    ``about``: the subject to look up, by the parameter ``orderId`` or ``paymentId`` (of path or body). ``stored``: the
    type that its entity answers and the idempotency record keeps; ``finish`` makes the reply from it, alike for a
    fresh answer and a replayed one, and so must depend on nothing that a replay would not have.
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
    stored: Any = None
    finish: Finish | None = None

    @property
    def params(self) -> tuple[str, ...]:
        """The names between braces in the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def of_cafe(self) -> bool:
        """Whether the path names the cafe."""
        return "cafe" in self.params


def order_id_of(text: str) -> OrderId:
    """An order's id as a path or message spells it; the dispatcher has checked its form."""
    return OrderId(UUID(text))
