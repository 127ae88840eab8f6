"""Loyalty by phone number (spec W4): what a number has, adding, turning points into a discount, what moved.

Numbers are taken however people write them and told in E.164. They are earned by paying orders (``domain.order``).
"""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.actors.account import GetEntry
from tabletap.actors.cafe import GetCafe
from tabletap.actors.order import GetOrder, GetRewards, Rewards
from tabletap.domain import access, phone
from tabletap.domain.access import Access
from tabletap.domain.account import AccountView, Discount, Entry, Grant, Holding, Use, points_of
from tabletap.domain.base import Kind, Ref, Role
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.settings import LoyaltyRules
from tabletap.domain.till import Scope

from .base import About, Call, Key, Operation
from .gift_cards import History, HistoryQuery, OrderName, Reason, history_page

Points = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class PointsView(msgspec.Struct, frozen=True):
    """What a number has, and what (``worth``, in cents) that would take off an order."""

    phone: str
    points: int
    worth: int


class PointsBody(msgspec.Struct, frozen=True, rename="camel"):
    """``orderId``: one of ours, which a redemption lowers; or the till's own, which is noted."""

    points: Points
    order_id: OrderName | None = None
    reason: Reason | None = None


class OwnPointsBody(msgspec.Struct, frozen=True):
    """Of the number on the order."""

    points: Points


class Moved(msgspec.Struct, frozen=True, rename="camel"):
    """``points``: the new balance. ``discount``: what a redemption is worth in cents, 0 where it is none."""

    phone: str
    points: int
    transaction_id: UUID
    discount: int = 0


class OrderPoints(msgspec.Struct, frozen=True):
    """``earned``: by paying this order. ``points``, ``worth``: of its number, where the cafe lets customers redeem."""

    earned: int
    points: int | None
    worth: int | None


async def _rules(call: Call) -> LoyaltyRules | Refusal:
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    return cafe if isinstance(cafe, Refusal) else cafe.settings.loyalty


async def _rewards(call: Call) -> Rewards | Refusal:
    found: Rewards | Refusal = await call.services.desk.query(call.order_ref(), GetRewards())
    return found


async def _named(call: Call) -> tuple[Holding, LoyaltyRules] | Refusal:
    """The points of the number in the path."""
    rules = await _rules(call)
    if isinstance(rules, Refusal):
        return rules
    number = phone.normalise(call.params["phone"], rules.country)
    if number is None:
        return invalid("phone", "this is no phone number")
    return points_of(call.cafe_id, number), rules


async def _balance(call: Call, holding: Holding) -> int:
    account = await call.services.reader.holdings.account(holding.ref.id)
    return account.balance if account else 0


async def points(call: Call) -> Any:
    """What there is. A number that has never earned anything has nothing."""
    named = await _named(call)
    if isinstance(named, Refusal):
        return named
    holding, rules = named
    balance = await _balance(call, holding)
    return PointsView(holding.label or "", balance, balance * rules.cents_per_point)


async def history(call: Call) -> Any:
    """What moved."""
    named = await _named(call)
    return named if isinstance(named, Refusal) else await history_page(call, named[0].ref.id)


async def add(call: Call) -> Any:
    """Staff or a till give points."""
    body: PointsBody = call.body
    named = await _named(call)
    if isinstance(named, Refusal):
        return named
    command = Grant(named[0], call.services.new_id(), body.points, body.reason, body.order_id)
    return await call.services.desk.ask(named[0].ref, command, call.by, call.idempotency)


async def redeem(call: Call) -> Any:
    """Points become a discount: on an order of ours, or whatever the till gives for them."""
    body: PointsBody = call.body
    named = await _named(call)
    if isinstance(named, Refusal):
        return named
    return await _use(call, *named, body.reason, body.order_id, await _order_of_ours(call))


async def _order_of_ours(call: Call) -> Ref | None:
    """The order that the body names, if it is one of this cafe's."""
    try:
        ident = UUID(call.body.order_id or "")
    except ValueError:
        return None
    subject = await call.services.reader.subject("order", ident)
    return Ref(Kind.ORDER, ident, call.cafe_id) if subject and subject.cafe_id == call.cafe_id else None


async def _use(
    call: Call, holding: Holding, rules: LoyaltyRules, reason: str | None, reference: str | None, order: Ref | None
) -> Any:
    """Take points. That the order owes so much is asked at the door; it decides in the end, or gives them back."""
    cents = call.body.points * rules.cents_per_point
    if order is not None:
        found = await call.services.desk.query(order, GetOrder())
        if isinstance(found, Refusal):
            return found
        if found.status in ("completed", "cancelled"):
            return Refusal(Code.ORDER_CLOSED, f"the order is {found.status}")
        if cents > found.owed:
            return Refusal(Code.AMOUNT_EXCEEDS_OWED, f"{cents} cents is more than the {found.owed} still owed")
    discount = Discount(order, cents) if order else None
    command = Use(holding, call.services.new_id(), call.body.points, reason, reference, discount)
    return await call.services.desk.ask(holding.ref, command, call.by, call.idempotency)


async def added(call: Call, stored: AccountView) -> Moved:  # noqa: ARG001  every finish is called alike
    """What is told of it."""
    assert stored.transaction_id is not None
    return Moved(stored.label or "", stored.balance, stored.transaction_id)


async def redeemed(call: Call, stored: AccountView) -> Moved | Refusal:
    """The same; or that the order had no use for it, as when somebody else paid it at that moment."""
    assert stored.transaction_id is not None
    rules = await _rules(call)
    if isinstance(rules, Refusal):
        return rules
    account = points_of(call.cafe_id, stored.label or "").ref
    entry: Any = await call.services.desk.query(account, GetEntry(stored.transaction_id))
    if isinstance(entry, Entry) and entry.back:
        return Refusal(Code.AMOUNT_EXCEEDS_OWED, "the order does not owe so much any more: the points are back")
    told = await added(call, stored)
    return msgspec.structs.replace(told, discount=call.body.points * rules.cents_per_point)


async def of_order(call: Call) -> Any:
    """What an order earns, and what its number could redeem."""
    rules, rewards = await _rules(call), await _rewards(call)
    if isinstance(rules, Refusal) or isinstance(rewards, Refusal):
        return rules if isinstance(rules, Refusal) else rewards
    if rewards.points_of is None or (call.principal.role is Role.CUSTOMER and not rules.self_service):
        return OrderPoints(rewards.points, None, None)
    balance = await _balance(call, rewards.points_of)
    return OrderPoints(rewards.points, balance, balance * rules.cents_per_point)


async def redeem_on_order(call: Call) -> Any:
    """Whoever holds the order takes points of its number off it, where the cafe lets them."""
    rules, rewards = await _rules(call), await _rewards(call)
    if isinstance(rules, Refusal) or isinstance(rewards, Refusal):
        return rules if isinstance(rules, Refusal) else rewards
    if call.principal.role is Role.CUSTOMER and not rules.self_service:
        return Refusal(Code.METHOD_UNSUPPORTED, "points are redeemed at the counter here")
    if rewards.points_of is None:
        return Refusal(Code.INSUFFICIENT_FUNDS, "there is no number on this order that could have points")
    order = call.order_ref()
    return await _use(call, rewards.points_of, rules, None, str(order.id), order)


def _of_number(name: str, method: str, summary: str, handler: Any, reply: Any, **more: Any) -> Operation:
    return Operation(
        name=f"loyalty.{name}",
        method=method,
        path=f"/api/{{cafe}}/loyalty/{{phone}}/{name}",
        summary=summary,
        access=Access(access.STAFF, till=Scope.READ if method == "GET" else Scope.WRITE),
        reply=reply,
        handler=handler,
        **more,
    )


_MOVING: dict[str, Any] = {"body": PointsBody, "stored": AccountView, "key": Key.OPTIONAL}

OPERATIONS = (
    _of_number("points", "GET", "The points of a phone number", points, PointsView),
    _of_number("history", "GET", "What moved on them, newest first", history, History, query=HistoryQuery),
    _of_number("add", "POST", "Give points", add, Moved, finish=added, **_MOVING),
    _of_number("redeem", "POST", "Turn points into a discount", redeem, Moved, finish=redeemed, **_MOVING),
    Operation(
        name="loyalty.of_order",
        method="GET",
        path="/api/orders/{orderId}/loyalty",
        summary="What an order earns, and what its number could redeem",
        access=Access(access.STAFF, own_order=True),
        reply=OrderPoints,
        about=About.ORDER,
        handler=of_order,
    ),
    Operation(
        name="loyalty.redeem_on_order",
        method="POST",
        path="/api/orders/{orderId}/redeem",
        summary="Take points of the order's number off it; its customer may where the cafe lets them",
        access=Access(access.STAFF, own_order=True),
        body=OwnPointsBody,
        reply=Moved,
        stored=AccountView,
        finish=redeemed,
        key=Key.OPTIONAL,
        about=About.ORDER,
        handler=redeem_on_order,
    ),
)
