"""The table of doors (spec R1): who may enter where, and the rooms they hear at once."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from tabletap.actors.ports import CafeEntry
from tabletap.domain import access
from tabletap.domain.access import Principal
from tabletap.domain.base import Role

DefaultNames = Callable[[Principal, CafeEntry], tuple[str, ...]]


class Door(msgspec.Struct, frozen=True):
    """``roles``: who may enter; ``tracking``: also whoever holds an order's tracking token;
    ``till``: the cafe's tills and nobody else, by their keys, at ``/ws/NAME/SLUG``. ``rooms``: what they hear
    without asking, ``patterns`` the same as AsyncAPI names it."""

    roles: frozenset[Role]
    summary: str
    patterns: tuple[str, ...]
    rooms: DefaultNames
    tracking: bool = False
    till: bool = False


def _of_cafe(*parts: str) -> DefaultNames:
    def rooms(_: Principal, cafe: CafeEntry) -> tuple[str, ...]:
        return tuple(f"cafe:{cafe.id}:{part}".rstrip(":") for part in parts)

    return rooms


def _own(principal: Principal, _: CafeEntry) -> tuple[str, ...]:
    return (f"order:{principal.order_id}" if principal.order_id else f"user:{principal.user}",)


def _takings_or_own(principal: Principal, cafe: CafeEntry) -> tuple[str, ...]:
    return _own(principal, cafe) if principal.role is Role.CUSTOMER else _of_cafe("payments")(principal, cafe)


DOORS: Mapping[str, Door] = MappingProxyType(
    {
        "orders": Door(access.CREW, "Every change of the cafe's orders", ("cafe:{id}:staff",), _of_cafe("staff")),
        "kitchen": Door(access.COOKS, "What the kitchen has to make", ("cafe:{id}:kitchen",), _of_cafe("kitchen")),
        "counter": Door(access.STAFF, "The till's", ("cafe:{id}:staff",), _of_cafe("staff")),
        "customers": Door(
            frozenset({Role.CUSTOMER}),
            "A customer's own orders: by their account, or one by its tracking token",
            ("user:{id}", "order:{id}"),
            _own,
            tracking=True,
        ),
        "payments": Door(
            access.STAFF | {Role.CUSTOMER},
            "The cafe's money and nothing else; for a customer, their own orders",
            ("cafe:{id}:payments", "user:{id}", "order:{id}"),
            _takings_or_own,
            tracking=True,
        ),
        "pos": Door(
            frozenset({Role.TILL}),
            "A till's: online and table orders, from where its cursor stands",
            ("cafe:{id}:pos",),
            _of_cafe("pos"),
            till=True,
        ),
        "admin": Door(
            access.MANAGEMENT,
            "The cafe as a whole: its orders, who is connected, and what looks odd",
            ("cafe:{id}", "cafe:{id}:presence", "cafe:{id}:alerts"),
            _of_cafe("", "presence", "alerts"),
        ),
    }
)
