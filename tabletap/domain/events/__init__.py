"""Every event there is: what the log holds, in the words of the trade.

An event is complete in itself: whoever reads the log later needs no other table to tell a screen what happened. Times
are the log's (each record carries its own), amounts are cents. ``TYPES`` maps a tag to its class; ``AnyEvent`` decodes.
"""

from typing import Any, get_args

from tabletap.domain.base import Event, OrderId

from .account import AccountCredited, AccountDebited, AccountOpened, SpendingBarred
from .cafe import CafeConfigured, CafeOpened, DayClosed, ItemAvailabilityChanged, MenuPublished, Place, QueueMoved
from .drawer import DrawerCashTaken, DrawerClosed, DrawerMoved, DrawerOpened
from .order import (
    CardsSold,
    Customer,
    DiscountReturned,
    ItemsMoved,
    ItemVoided,
    LoyaltyTerms,
    MergeUndone,
    Numbered,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderDiscounted,
    OrderPlaced,
    OrderReleased,
    OrderStatusChanged,
    OrderTableMoved,
    PaymentReleased,
    PaymentSettled,
    PaymentsWithdrawn,
    PointsCounted,
    RefundNoted,
    Reversal,
    ServiceTerms,
    VoidAcknowledged,
)
from .payment import (
    DisputeWon,
    MoreReceived,
    PaymentClosed,
    PaymentCompleted,
    PaymentDisputed,
    PaymentInitiated,
    PaymentProcessing,
    PaymentUnapplied,
    ProviderSettled,
    RefundCompleted,
    RefundFailed,
    RefundProcessing,
    RefundRequested,
    StatementMatched,
    VerificationPlanned,
)
from .tips import TipsDistributed, TipShare, TipsPaidOut

__all__ = [
    "TYPES",
    "AccountCredited",
    "AccountDebited",
    "AccountOpened",
    "AnyEvent",
    "CafeConfigured",
    "CafeOpened",
    "CardsSold",
    "Customer",
    "DayClosed",
    "DiscountReturned",
    "DisputeWon",
    "DrawerCashTaken",
    "DrawerClosed",
    "DrawerMoved",
    "DrawerOpened",
    "ItemAvailabilityChanged",
    "ItemVoided",
    "ItemsMoved",
    "LoyaltyTerms",
    "MenuPublished",
    "MergeUndone",
    "MoreReceived",
    "Numbered",
    "OrderAccepted",
    "OrderCancelled",
    "OrderChanged",
    "OrderDiscounted",
    "OrderPlaced",
    "OrderReleased",
    "OrderStatusChanged",
    "OrderTableMoved",
    "PaymentClosed",
    "PaymentCompleted",
    "PaymentDisputed",
    "PaymentInitiated",
    "PaymentProcessing",
    "PaymentReleased",
    "PaymentSettled",
    "PaymentUnapplied",
    "PaymentsWithdrawn",
    "Place",
    "PointsCounted",
    "ProviderSettled",
    "QueueMoved",
    "RefundCompleted",
    "RefundFailed",
    "RefundNoted",
    "RefundProcessing",
    "RefundRequested",
    "Reversal",
    "ServiceTerms",
    "SpendingBarred",
    "StatementMatched",
    "TipShare",
    "TipsDistributed",
    "TipsPaidOut",
    "VerificationPlanned",
    "VoidAcknowledged",
    "order_of",
    "tag_of",
]

AnyEvent = (
    CafeOpened
    | CafeConfigured
    | MenuPublished
    | ItemAvailabilityChanged
    | QueueMoved
    | DayClosed
    | OrderPlaced
    | OrderAccepted
    | OrderReleased
    | OrderChanged
    | ItemsMoved
    | ItemVoided
    | VoidAcknowledged
    | OrderStatusChanged
    | OrderCancelled
    | MergeUndone
    | OrderTableMoved
    | PaymentSettled
    | PaymentReleased
    | PaymentsWithdrawn
    | RefundNoted
    | OrderDiscounted
    | DiscountReturned
    | CardsSold
    | PointsCounted
    | PaymentInitiated
    | PaymentProcessing
    | VerificationPlanned
    | ProviderSettled
    | PaymentCompleted
    | PaymentClosed
    | PaymentUnapplied
    | StatementMatched
    | MoreReceived
    | RefundRequested
    | RefundProcessing
    | RefundCompleted
    | RefundFailed
    | PaymentDisputed
    | DisputeWon
    | AccountOpened
    | AccountCredited
    | AccountDebited
    | SpendingBarred
    | TipsDistributed
    | TipsPaidOut
    | DrawerOpened
    | DrawerMoved
    | DrawerCashTaken
    | DrawerClosed
)

TYPES: dict[str, type[Event]] = {event.__struct_config__.tag: event for event in get_args(AnyEvent)}


def tag_of(event: Event) -> str:
    """The event's type as log and wire spell it (``order.placed``)."""
    tag: Any = type(event).__struct_config__.tag
    return str(tag)


def order_of(event: Event) -> OrderId | None:
    """The order that an event is about, if it is about one."""
    return getattr(event, "order_id", None)
