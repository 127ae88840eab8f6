"""What stands in ``data`` of each wire event. AsyncAPI is derived from these; a field left out has not changed."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from tabletap.domain.base import OrderId, PaymentId, Role
from tabletap.domain.order import LineView, OrderView
from tabletap.domain.payment import PartView
from tabletap.domain.vocabulary import (
    Cause,
    ItemStatus,
    Method,
    OrderStatus,
    PaymentStatus,
    Queue,
    RefundStatus,
    RefundTo,
)


class Data(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The base of all payloads."""


class WholeOrder(Data, frozen=True, kw_only=True):
    """An order a screen has not seen yet."""

    order_id: OrderId
    number: int
    order: OrderView


class ItemNews(msgspec.Struct, frozen=True):
    """Where a line stands now."""

    line: int
    status: ItemStatus


class OrderNews(Data, frozen=True, kw_only=True):
    """What changed about an order. ``voided``, ``acknowledged``: line numbers. ``device``, ``reason``: for the crew.

    ``discount``: so much less to pay than before (or, negative, more).
    """

    order_id: OrderId
    number: int | None = None
    status: OrderStatus | None = None
    was: OrderStatus | None = None
    accepted: bool | None = None
    in_kitchen: bool | None = None
    items: tuple[ItemNews, ...] = ()
    added: tuple[LineView, ...] = ()
    voided: int | None = None
    acknowledged: int | None = None
    note: str | None = None
    table: str | None = None
    absorbed: OrderId | None = None
    merged_into: OrderId | None = None
    paid: int | None = None
    refunded: int | None = None
    owed: int | None = None
    discount: int | None = None
    payment_status: PaymentStatus | None = None
    reason: str | None = None
    device: str | None = None


class ReadyNumber(Data, frozen=True, kw_only=True):
    """For the screen above the counter that everybody reads: a number and nothing else."""

    number: int


class PaymentState(Data, frozen=True, kw_only=True):
    """What an order has been paid and still owes, after a payment was settled."""

    order_id: OrderId
    payment_id: PaymentId
    paid: int
    owed: int


class PaymentNews(Data, frozen=True, kw_only=True):
    """What changed about a payment. ``surplus``: received beyond use, owed back. ``lines``: those of the order that it
    is for, ``part``: which part of the bill, where that is split so."""

    payment_id: PaymentId
    order_id: OrderId
    status: PaymentStatus | None = None
    amount: int | None = None
    tip_amount: int | None = None
    total_amount: int | None = None
    currency: str | None = None
    payment_method: Method | None = None
    rounding: int | None = None
    lines: tuple[int, ...] = ()
    part: PartView | None = None
    received: int | None = None
    tendered: int | None = None
    change: int | None = None
    surplus: int | None = None
    disputed: int | None = None
    redirect_url: str | None = None
    late: bool | None = None
    reference: str | None = None
    expires_at: datetime | None = None
    reason: str | None = None


class RefundNews(Data, frozen=True, kw_only=True):
    """Money to be given back, or given. ``refunded_amount``: of this payment, so far; ``status``: the payment's."""

    payment_id: PaymentId
    order_id: OrderId
    refund_id: UUID
    refund_status: RefundStatus
    status: PaymentStatus | None = None
    amount: int
    refunded_amount: int | None = None
    payment_method: Method | None = None
    to: RefundTo | None = None
    reason: str | None = None


class CreditNews(Data, frozen=True, kw_only=True):
    """A customer's credit has moved: ``amount`` in (positive) or out, ``balance`` after it. ``granted``: by staff."""

    account_id: UUID
    entry_id: UUID
    amount: int
    balance: int
    customer_id: str | None = None
    granted: bool = False
    payment_id: PaymentId | None = None
    reason: str | None = None


class GiftCardNews(Data, frozen=True, kw_only=True):
    """A gift card was sold and is good. ``card``: all but the last four signs of its code are hidden; ``order``: of
    which it was sold."""

    account_id: UUID
    card: str
    balance: int
    order: str | None = None


class LoyaltyNews(Data, frozen=True, kw_only=True):
    """The points of a phone number: how many there are now, and the ``change``. ``order``: what it is about."""

    account_id: UUID
    phone: str
    points: int
    change: int
    cause: Cause | None = None
    order: str | None = None
    reason: str | None = None


class QueuePosition(Data, frozen=True, kw_only=True):
    """Where an order stands in the kitchen's queue. ``load``: 0-100, left out where ``QueuePositions`` says it."""

    order_id: OrderId
    position: int
    estimated_ready_at: datetime
    load: int | None = None


class QueuePositions(Data, frozen=True, kw_only=True):
    """The same for all orders of an account, in one frame."""

    load: int
    places: tuple[QueuePosition, ...]


class KitchenLoad(Data, frozen=True, kw_only=True):
    """The kitchen's queue: how full, how many orders, which places changed."""

    load: int
    active: int
    places: tuple[QueuePosition, ...]


def newest(older: Data, newer: Data) -> Data:
    """A state and an older one of its kind, as one: the newer, with the places that only the older tells of."""
    if isinstance(older, KitchenLoad | QueuePositions) and isinstance(newer, KitchenLoad | QueuePositions):
        places = {place.order_id: place for place in (*older.places, *newer.places)}
        return msgspec.structs.replace(newer, places=tuple(places.values()))
    return newer


class MenuNews(Data, frozen=True, kw_only=True):
    """One item sold out or back, or (``published``, ``accepting``) the menu or the cafe's settings as a whole."""

    sku: str | None = None
    available: bool | None = None
    until: datetime | None = None
    remaining: int | None = None
    published: bool | None = None
    accepting: bool | None = None


class FlowUpdate(Data, frozen=True, kw_only=True):
    """What happened in a flow of jobs: the job it is about and which attempt at it (``final``: the last), or how far
    the flow is (``progress``: percent)."""

    flow_id: UUID
    job_id: UUID | None = None
    queue: Queue | None = None
    task: str | None = None
    attempt: int | None = None
    final: bool | None = None
    total: int | None = None
    done: int | None = None
    dead: int | None = None
    progress: int | None = None


class Present(Data, frozen=True, kw_only=True):
    """Somebody who is connected at a door. ``order_id``: by the tracking token of that order."""

    session: str
    door: str
    role: Role
    user: str | None = None
    order_id: OrderId | None = None
    device: str | None = None
    since: datetime


class PresenceNews(Data, frozen=True, kw_only=True):
    """Who has come and who has gone; ``connected``: how many there are now."""

    joined: tuple[Present, ...] = ()
    left: tuple[Present, ...] = ()
    connected: int


class Announcement(Data, frozen=True, kw_only=True):
    """What management says to whoever is connected."""

    text: str
    by: str | None = None
    role: Role


class TillTest(Data, frozen=True, kw_only=True):
    """Somebody wants to see whether the tills hear. It is in no log: nothing of it is acknowledged or told again."""

    text: str
    by: str | None = None


class AlertKind(StrEnum):
    """What looks odd: handshakes that fail again and again (of an address, of a cafe), a flood of messages, one token
    in many places, and wrong keys of tills (of an address, at a cafe)."""

    FAILED_HANDSHAKES = "failed_handshakes"
    FLOOD = "flood"
    TOKEN_IN_MANY_PLACES = "token_in_many_places"  # noqa: S105  a kind, not a secret
    WRONG_KEYS = "wrong_keys"


class Alert(Data, frozen=True, kw_only=True):
    """Something odd was seen at the doors ``count`` times within ``window_s`` seconds; said once in that time."""

    kind: AlertKind
    count: int
    window_s: float
    address: str | None = None
    user: str | None = None
    token_id: str | None = None
