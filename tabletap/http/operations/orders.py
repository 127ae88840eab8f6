"""Orders: place, read, change, and move them and their lines through the kitchen."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from tabletap.actors.cafe import GetTables, Nudge, Quote
from tabletap.actors.order import GetOrder
from tabletap.domain import access
from tabletap.domain.access import Access, owns
from tabletap.domain.base import OrderId, Role, utc
from tabletap.domain.cafe import CARDS_AT_MOST, PlaceOrder
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.events import Customer
from tabletap.domain.menu import MAX_LINES, Note, Wish
from tabletap.domain.order import Accept, Change, MergeInto, MoveItem, MoveOrder, MoveTable, OrderView
from tabletap.domain.vocabulary import Channel

from .base import About, Call, Key, Operation
from .gift_cards import new_card

TableName = Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
Wishes = Annotated[tuple[Wish, ...], msgspec.Meta(max_length=MAX_LINES)]


class CustomerBody(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=80)] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=20, pattern=r"^[+0-9 ()-]*$")] | None = None


class GiftCardBody(msgspec.Struct, frozen=True):
    """A gift card worth ``value`` cents, which is good when the order is paid."""

    value: Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class PlaceBody(msgspec.Struct, frozen=True, rename="camel"):
    """``items``, ``giftCards``: at least one of either. ``scheduledFor``: a time, or ASAP (as is leaving it out)."""

    channel: Channel
    items: Wishes = ()
    gift_cards: Annotated[tuple[GiftCardBody, ...], msgspec.Meta(max_length=CARDS_AT_MOST)] = ()
    table: TableName | None = None
    note: Note | None = None
    customer: CustomerBody | None = None
    scheduled_for: Annotated[str, msgspec.Meta(max_length=40, examples=["ASAP", "2026-01-31T08:30:00Z"])] | None = None


class ListQuery(msgspec.Struct, frozen=True):
    """``status=active``: what is neither completed nor cancelled, oldest first. Else newest first, ``before`` an id."""

    status: Literal["active", "all"] = "all"
    before: UUID | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class OrderList(msgspec.Struct, frozen=True):
    """``offset``: of the cafe's log when this was so; what follows it on a socket is news."""

    orders: tuple[OrderView, ...]
    offset: int


class ChangeBody(msgspec.Struct, frozen=True):
    """Lines to add, numbers of lines to take off, a new note."""

    add: Annotated[tuple[Wish, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    remove: Annotated[tuple[int, ...], msgspec.Meta(max_length=MAX_LINES)] = ()
    note: Note | None = None


class ReasonBody(msgspec.Struct, frozen=True):
    reason: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class MoveTableBody(msgspec.Struct, frozen=True):
    table: TableName


class MergeBody(msgspec.Struct, frozen=True):
    into: UUID


async def place(call: Call) -> Any:
    """Ask the cafe to admit an order. A counter order is rung up by staff; a customer's account is remembered."""
    body: PlaceBody = call.body
    principal = call.principal
    is_crew = principal.order_id is None and principal.role in access.CREW
    if body.channel is Channel.COUNTER and not is_crew:
        code = Code.AUTH_REQUIRED if principal == access.ANYBODY else Code.FORBIDDEN
        return Refusal(code, "counter orders are rung up by staff")
    scheduled_for = _time(body.scheduled_for)
    if isinstance(scheduled_for, Refusal):
        return scheduled_for
    account = principal.user if principal.role is Role.CUSTOMER and principal.order_id is None else None
    name, phone = (body.customer.name, body.customer.phone) if body.customer else (None, None)
    customer = Customer(name=name, phone=phone, id=account) if name or phone or account else None
    command = PlaceOrder(
        channel=body.channel,
        wishes=body.items,
        table=body.table,
        note=body.note,
        customer=customer,
        scheduled_for=scheduled_for,
        gift_cards=tuple(new_card(call, wish.value) for wish in body.gift_cards),
    )
    return await call.services.desk.ask(call.cafe_ref(), command, call.by, call.idempotency)


def _time(text: str | None) -> datetime | Refusal | None:
    if text is None or text == "ASAP":
        return None
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return invalid("scheduledFor", "must be ASAP or a time of RFC 3339")
    return utc(moment) if moment.tzinfo else invalid("scheduledFor", "needs a time zone")


async def with_token(call: Call, stored: OrderView) -> OrderView:
    """What the one who placed the order is told: the order, and the token that follows it."""
    shown = await with_place(call, stored)
    return msgspec.structs.replace(shown, tracking_token=call.services.auth.tracking_token(stored.id))


async def with_place(call: Call, stored: OrderView) -> OrderView:
    """The order with its place in the queue, as the kitchen's board has it now."""
    services = call.services
    if stored.cafe_id not in services.boards:
        services.desk.nudge(call.cafe_ref(), Nudge())
        return stored
    place = services.boards.place(stored.cafe_id, stored.id, services.now())
    if place is None:
        return msgspec.structs.replace(stored, queue_position=None, estimated_ready_at=None)
    return msgspec.structs.replace(stored, queue_position=place.position, estimated_ready_at=place.ready_at)


async def get(call: Call) -> Any:
    """One order; its owner gets the tracking token with it."""
    assert call.subject is not None
    order = await call.services.reader.order(call.subject.order_id)
    if order is None:
        return Refusal(Code.NOT_FOUND, "there is no such order")
    own = owns(call.principal, call.subject.order_id, call.subject.customer_id)
    return await (with_token if own else with_place)(call, order)


async def list_(call: Call) -> Any:
    """The cafe's orders."""
    query: ListQuery = call.query
    reader = call.services.reader
    if query.status == "active":
        offset, orders = await reader.orders_with_offset(call.cafe_id)
        return OrderList(tuple(orders), offset)
    before = OrderId(query.before) if query.before else None
    offset = await reader.head(call.cafe_id)
    return OrderList(tuple(await reader.orders(call.cafe_id, before=before, limit=query.limit)), offset)


async def accept(call: Call) -> Any:
    """Take an order on."""
    return await call.services.desk.ask(call.order_ref(), Accept(), call.by, call.idempotency)


async def change(call: Call) -> Any:
    """Price what is added by the menu of this moment, then change the order."""
    body: ChangeBody = call.body
    priced: Any = ()
    if body.add:
        priced = await call.services.desk.query(call.cafe_ref(), Quote(body.add, field="add"))
        if isinstance(priced, Refusal):
            return priced
    command = Change(add=priced, remove=body.remove, note=body.note)
    return await call.services.desk.ask(call.order_ref(), command, call.by, call.idempotency)


async def move_table(call: Call) -> Any:
    """Seat the order at another table of the cafe."""
    tables = await call.services.desk.query(call.cafe_ref(), GetTables())
    if isinstance(tables, Refusal):
        return tables
    if call.body.table not in tables:
        return invalid("table", f"there is no table {call.body.table!r}")
    return await call.services.desk.ask(call.order_ref(), MoveTable(call.body.table), call.by, call.idempotency)


async def merge(call: Call) -> Any:
    """Continue the order in another one of the same cafe; answers this order, which is closed by it."""
    into = OrderId(call.body.into)
    services = call.services
    target = await services.reader.subject("order", into)
    if target is None or target.cafe_id != call.cafe_id:
        return invalid("into", "there is no such order here")
    ref = msgspec.structs.replace(call.order_ref(), id=into)
    order = await services.desk.query(ref, GetOrder())
    if isinstance(order, Refusal):
        return order
    if order.status in ("completed", "cancelled"):
        return Refusal(Code.ORDER_CLOSED, f"the other order is {order.status}")
    return await services.desk.ask(call.order_ref(), MergeInto(into), call.by, call.idempotency)


def _order_move(move: str, roles: frozenset[Role], summary: str, *, own: bool = False) -> Operation:
    async def handler(call: Call) -> Any:
        command = MoveOrder(move, call.body.reason if call.body else None)
        return await call.services.desk.ask(call.order_ref(), command, call.by, call.idempotency)

    return Operation(
        name=f"orders.{move}",
        method="POST",
        path=f"/api/orders/{{orderId}}/{move}",
        summary=summary,
        access=Access(roles, own_order=own),
        body=ReasonBody | None,
        reply=OrderView,
        key=Key.OPTIONAL,
        about=About.ORDER,
        stored=OrderView,
        finish=with_place,
        handler=handler,
    )


def _item_move(move: str, roles: frozenset[Role], summary: str) -> Operation:
    async def handler(call: Call) -> Any:
        try:
            line = int(call.params["line"])
        except ValueError:
            return invalid("line", "must be a number")
        command = MoveItem(line, move, call.body.reason if call.body else None)
        return await call.services.desk.ask(call.order_ref(), command, call.by, call.idempotency)

    return Operation(
        name=f"items.{move}",
        method="POST",
        path=f"/api/orders/{{orderId}}/items/{{line}}/{move}",
        summary=summary,
        access=Access(roles),
        body=ReasonBody | None,
        reply=OrderView,
        key=Key.OPTIONAL,
        about=About.ORDER,
        stored=OrderView,
        finish=with_place,
        handler=handler,
    )


def _on_order(
    name: str, method: str, path: str, summary: str, body: Any, handler: Any, *, own: bool = False
) -> Operation:
    return Operation(
        name=name,
        method=method,
        path=path,
        summary=summary,
        access=Access(access.STAFF, own_order=own),
        body=body,
        reply=OrderView,
        key=Key.OPTIONAL,
        about=About.ORDER,
        stored=OrderView,
        finish=with_place,
        handler=handler,
    )


OPERATIONS = (
    Operation(
        name="orders.place",
        method="POST",
        path="/api/{cafe}/orders",
        summary="Place an order; anybody may place an online or table order, staff ring up counter orders",
        access=Access(access.CREW, public=True),
        body=PlaceBody,
        reply=OrderView,
        status=201,
        key=Key.OPTIONAL,
        stored=OrderView,
        finish=with_token,
        handler=place,
    ),
    Operation(
        name="orders.list",
        method="GET",
        path="/api/{cafe}/orders",
        summary="The cafe's orders, with the log's offset at which they were so",
        access=Access(access.CREW),
        query=ListQuery,
        reply=OrderList,
        handler=list_,
    ),
    Operation(
        name="orders.get",
        method="GET",
        path="/api/orders/{orderId}",
        summary="One order",
        access=Access(access.CREW, own_order=True),
        reply=OrderView,
        about=About.ORDER,
        handler=get,
    ),
    _on_order("orders.accept", "POST", "/api/orders/{orderId}/accept", "Take an order on", ReasonBody | None, accept),
    _on_order(
        "orders.change",
        "PATCH",
        "/api/orders/{orderId}",
        "Add or take off lines, set the note",
        ChangeBody,
        change,
        own=True,
    ),
    _on_order("orders.move", "POST", "/api/orders/{orderId}/move", "Move to another table", MoveTableBody, move_table),
    _on_order("orders.merge", "POST", "/api/orders/{orderId}/merge", "Continue in another order", MergeBody, merge),
    _order_move("start", access.CREW, "Start every waiting line"),
    _order_move("ready", access.CREW, "Every line is ready"),
    _order_move("complete", access.CREW, "Handed over"),
    _order_move("cancel", access.STAFF, "Cancel; its customer may before it is being made", own=True),
    _item_move("start", access.CREW, "Start making a line"),
    _item_move("bump", access.CREW, "A line is ready; or a void has been seen"),
    _item_move("recall", access.CREW, "Take a bump back"),
    _item_move("hold", access.CREW, "Keep a course back"),
    _item_move("fire", access.CREW, "Let a held course go"),
    _item_move("void", access.STAFF, "Take a line off"),
)
