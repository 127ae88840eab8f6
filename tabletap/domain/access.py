"""Who may do and hear what: the one place where tenants and roles are checked (spec A1, A2).

Every door asks here: ``may_act`` for an operation, ``may_hear`` for a room. A person's token names their cafes; a
tracking token names one order and speaks for nothing else; nobody is somebody only where an operation is open to all.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

import msgspec

from .base import By, CafeId, OrderId, Role
from .errors import Code, Refusal, invalid
from .menu import is_slug
from .till import Scope

STAFF = frozenset({Role.STAFF, Role.COUNTER, Role.MANAGER, Role.OWNER, Role.ADMIN})
"""Who serves customers and takes money."""

CREW = STAFF | {Role.KITCHEN}
"""Everybody who works there."""

MANAGEMENT = frozenset({Role.MANAGER, Role.OWNER, Role.ADMIN})
INSTALLATION = frozenset({Role.ADMIN})


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. ``cafes`` None: all of them (the installation's admin). ``order_id``: by its tracking token.
    ``token_id``, ``issued_at``: of a person's token, or of a till's key, which is good for its ``scopes``
    and has ``proof`` as its digest."""

    role: Role
    user: str | None = None
    cafes: frozenset[CafeId] | None = frozenset()
    order_id: OrderId | None = None
    expires_at: datetime | None = None
    issued_at: datetime | None = None
    token_id: str | None = None
    device: str | None = None
    scopes: frozenset[Scope] = frozenset()
    proof: bytes = b""

    @property
    def by(self) -> By:
        """The principal as the audit trail keeps it."""
        return By(self.role, self.user, self.device)

    def belongs_to(self, cafe_id: CafeId) -> bool:
        """Whether the principal has anything to do with the cafe."""
        return self.cafes is None or cafe_id in self.cafes


ANYBODY = Principal(role=Role.CUSTOMER)
"""A caller without a token."""


class Access(msgspec.Struct, frozen=True):
    """Who may perform an operation: ``roles``; ``public``: anybody; ``own_order``: whoever holds the order's token
    or placed it with their account; ``till``: the cafe's tills, by a key of that scope."""

    roles: frozenset[Role]
    public: bool = False
    own_order: bool = False
    till: Scope | None = None


_NO_TOKEN = Refusal(Code.AUTH_REQUIRED, "a token is needed")
_FOREIGN = Refusal(Code.FORBIDDEN, "this token is not for this cafe")


def may_act(principal: Principal | None, access: Access, cafe_id: CafeId | None) -> Refusal | None:
    """Whether ``principal`` (None: no token) may perform an operation of ``access`` at ``cafe_id`` (None: of no cafe).

    A token that is shown must be good for the cafe even where none is needed. For an ``own_order`` operation this says
    only that the principal may try; ``owns`` decides when the order is known.
    """
    if principal is None:
        return None if access.public else _NO_TOKEN
    if principal.order_id is not None:
        allowed = access.public or access.own_order
        return None if allowed else Refusal(Code.FORBIDDEN, "a tracking token may not do this")
    if cafe_id is not None and not principal.belongs_to(cafe_id):
        return _FOREIGN
    if principal.role is Role.TILL:
        return _may_till(principal, access)
    if access.public or principal.role in access.roles:
        return None
    if access.own_order and principal.role is Role.CUSTOMER:
        return None
    return Refusal(Code.FORBIDDEN, f"the role {principal.role} may not do this")


def _may_till(principal: Principal, access: Access) -> Refusal | None:
    """A till does what tills do, and what anybody may."""
    if access.public or (access.till is not None and access.till in principal.scopes):
        return None
    lacks = "a till may not do this" if access.till is None else f"this key is not good for {access.till}"
    return Refusal(Code.FORBIDDEN, lacks)


def owns(principal: Principal, order_id: OrderId, customer_id: str | None) -> bool:
    """Whether the order is the principal's own: by its tracking token, or placed with their account."""
    if principal.order_id is not None:
        return principal.order_id == order_id
    return principal.role is Role.CUSTOMER and customer_id is not None and principal.user == customer_id


def credit_spender(principal: Principal, customer_id: str | None) -> str | Refusal:
    """Whose credit the principal may spend: a customer with an account their own, staff that of the one they name.

    A tracking token proves that somebody holds an order, not who they are.
    """
    own = principal.user if principal.order_id is None else None
    if principal.role in STAFF and principal.order_id is None:
        return customer_id or invalid("customerId", "say whose credit pays")
    if principal.role is not Role.CUSTOMER or own is None:
        return Refusal(Code.FORBIDDEN, "credit is spent by its owner, or by staff for them")
    return own if customer_id in (None, own) else Refusal(Code.FORBIDDEN, "this credit is somebody else's")


# -- rooms

COOKS = frozenset({Role.KITCHEN, Role.STAFF}) | MANAGEMENT

CAFE_ROOMS: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "": CREW,
        "staff": CREW,
        "kitchen": COOKS,
        "customers": CREW | {Role.CUSTOMER},
        "payments": STAFF,
        "presence": CREW,
        "alerts": MANAGEMENT,
        "pos": frozenset({Role.TILL}),
    }
)
"""Who hears the rooms of their cafe, by what follows its id; roles and stations have rooms besides."""


def pos_room(cafe_id: CafeId) -> str:
    """The room of the cafe's tills."""
    return f"cafe:{cafe_id}:pos"


KINDS = ("cafe", "order", "payment", "flow", "user")
"""The kinds of rooms."""


class Room(msgspec.Struct, frozen=True):
    """A room's name, taken apart. ``kind``: cafe, order, payment, user or flow; ``part``: of a cafe (``staff``)."""

    kind: str
    id: str
    part: str = ""

    @property
    def uuid(self) -> UUID | None:
        """The id as a UUID, where it is one."""
        try:
            return UUID(self.id)
        except ValueError:
            return None


def parse_room(name: str) -> Room | None:
    """Take a room's name apart; None if there is no such kind of room."""
    kind, _, rest = name.partition(":")
    ident, _, part = rest.partition(":")
    if name.endswith(":"):  # the same room in another spelling, in which nothing is ever said
        return None
    room = Room(kind, ident, part)
    match kind:
        case "cafe":
            return room if _is_canonical(room) and _is_part(part) else None
        case "order" | "payment" | "flow":
            return room if _is_canonical(room) and not part else None
        case "user":
            return room if ident and not part else None
        case _:
            return None


def _is_canonical(room: Room) -> bool:
    """Whether its id is a UUID in the one spelling that events are sent to."""
    return room.uuid is not None and str(room.uuid) == room.id


def _is_part(part: str) -> bool:
    """Whether a cafe has such rooms."""
    kind, _, which = part.partition(":")
    match kind:
        case "role":
            return which in set(Role)
        case "station":
            return is_slug(which)
        case _:
            return part in CAFE_ROOMS


class Subject(msgspec.Struct, frozen=True):
    """What a room of an order, payment or flow is about, as the store says."""

    cafe_id: CafeId
    order_id: OrderId
    customer_id: str | None = None


def may_hear(principal: Principal, room: Room, subject: Subject | None) -> bool:
    """Whether ``principal`` may listen in ``room``; ``subject``: what it is about (None: nothing that exists)."""
    if principal.role is Role.TILL and room.part != "pos":
        return False
    if room.kind == "user":
        return principal.user is not None and principal.user == room.id
    if room.kind == "cafe":
        of_cafe = principal.order_id is None and principal.belongs_to(CafeId(UUID(room.id)))
        return of_cafe and principal.role in _who_hears(room.part)
    if subject is None:
        return False
    if owns(principal, subject.order_id, subject.customer_id):
        return True
    return principal.order_id is None and principal.belongs_to(subject.cafe_id) and principal.role in CREW


def _who_hears(part: str) -> frozenset[Role]:
    if part.startswith("role:"):
        own = part.removeprefix("role:")
        return MANAGEMENT | ({Role(own)} if own in set(Role) else frozenset())
    if part.startswith("station:"):
        return COOKS
    return CAFE_ROOMS[part]
