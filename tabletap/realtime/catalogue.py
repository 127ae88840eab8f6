"""The vocabulary of the socket: kinds of rooms, and which wire type carries what into which of them.

``audience`` obeys it (a test compares both); AsyncAPI is derived from it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec

from tabletap.domain.base import Role

from . import payloads as p


class Hears(StrEnum):
    """A kind of room, by the pattern of its name."""

    ORDER = "order:{id}"
    USER = "user:{id}"
    PAYMENT = "payment:{id}"
    CAFE = "cafe:{id}"
    STAFF = "cafe:{id}:staff"
    KITCHEN = "cafe:{id}:kitchen"
    STATION = "cafe:{id}:station:{name}"
    CUSTOMERS = "cafe:{id}:customers"
    PAYMENTS = "cafe:{id}:payments"
    FLOW = "flow:{id}"
    PRESENCE = "cafe:{id}:presence"
    POS = "cafe:{id}:pos"
    ALERTS = "cafe:{id}:alerts"
    ANNOUNCEMENTS = "cafe:{id}:announcements"


ALSO: Mapping[Hears, tuple[Role, ...]] = MappingProxyType(
    {
        Hears.STAFF: (Role.STAFF, Role.COUNTER, Role.MANAGER, Role.OWNER, Role.ADMIN),
        Hears.KITCHEN: (Role.KITCHEN,),
        Hears.CUSTOMERS: (Role.CUSTOMER,),
    }
)
"""``cafe:{id}:role:{role}`` hears what the room of those people hears."""


class WireType(msgspec.Struct, frozen=True):
    """What a wire type carries and where it is heard."""

    payloads: tuple[type[p.Data], ...]
    rooms: frozenset[Hears]


_OWN = frozenset({Hears.ORDER, Hears.USER})
_CREW = frozenset({Hears.STAFF, Hears.CAFE})
_COOKS = frozenset({Hears.KITCHEN, Hears.STATION})
_MONEY = _OWN | {Hears.PAYMENT, Hears.PAYMENTS}

CATALOGUE: Mapping[str, WireType] = MappingProxyType(
    {
        "order_created": WireType((p.WholeOrder,), _OWN | _CREW | _COOKS),
        "new_order": WireType((p.WholeOrder,), _COOKS | {Hears.POS}),
        "new_paid_order": WireType((p.WholeOrder,), _COOKS),
        "paid_order_ready_for_preparation": WireType((p.OrderNews,), frozenset({Hears.CAFE})),
        "order_updated": WireType((p.OrderNews, p.WholeOrder), _OWN | _CREW | _COOKS | {Hears.POS}),
        "order_status_changed": WireType((p.OrderNews,), _OWN),
        "order_status_updated": WireType((p.OrderNews,), _OWN | _COOKS | {Hears.STAFF}),
        "order_state_changed": WireType((p.OrderNews,), frozenset({Hears.CAFE})),
        "order_in_preparation": WireType((p.OrderNews,), frozenset({Hears.STAFF})),
        "kitchen_order_ready": WireType((p.OrderNews,), _COOKS | {Hears.STAFF}),
        "order_ready": WireType((p.OrderNews, p.ReadyNumber), _OWN | {Hears.CUSTOMERS}),
        "queue_position_updated": WireType((p.QueuePosition, p.QueuePositions), _OWN),
        "kitchen_display_updated": WireType((p.KitchenLoad,), frozenset({Hears.KITCHEN, Hears.CAFE})),
        "payment_initiated": WireType((p.PaymentNews,), _MONEY),
        "payment_completed": WireType((p.PaymentNews,), _MONEY),
        "payment_failed": WireType((p.PaymentNews,), _MONEY),
        "payment_status_updated": WireType((p.PaymentNews,), _MONEY),
        "payment_update": WireType((p.PaymentNews,), _CREW),
        "payment_state_sync": WireType((p.PaymentState,), _OWN),
        "refund_updated": WireType((p.RefundNews,), _MONEY | _CREW),
        "credit_updated": WireType((p.CreditNews,), _CREW | {Hears.USER, Hears.PAYMENTS}),
        "gift_card_purchased": WireType((p.GiftCardNews,), _CREW | {Hears.POS}),
        "loyalty_updated": WireType((p.LoyaltyNews,), _CREW | {Hears.POS}),
        "menu_updated": WireType((p.MenuNews,), _CREW | {Hears.KITCHEN, Hears.CUSTOMERS}),
    }
)

STATE: frozenset[str] = frozenset({"kitchen_display_updated", "queue_position_updated"})
"""Types that tell how something stands: to a client that is behind, the latest says it all (``payloads.newest``)."""

FLOWS: Mapping[str, WireType] = MappingProxyType(
    {
        type_: WireType((p.FlowUpdate,), frozenset({Hears.FLOW}))
        for type_ in (
            "orchestration_started",
            "job_started",
            "job_progress",
            "job_completed",
            "job_failed",
            "step_completed",
            "flow_completed",
        )
    }
)
"""What is told of flows (``flows``), which are in no log. A step is all the jobs that one job waits for."""

OF_DOORS: Mapping[str, WireType] = MappingProxyType(
    {
        "presence_updated": WireType((p.PresenceNews,), frozenset({Hears.PRESENCE})),
        "alert_raised": WireType((p.Alert,), frozenset({Hears.ALERTS})),
        "till_tested": WireType((p.TillTest,), frozenset({Hears.POS})),
        "announcement": WireType((p.Announcement,), frozenset({Hears.ANNOUNCEMENTS})),
    }
)
"""What is told of the doors themselves (``presence``, ``sending``) and is in no log either: offsets stand still. The
room of announcements cannot be asked for: they come to everybody they are for."""
