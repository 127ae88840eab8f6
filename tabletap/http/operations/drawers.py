"""Cash drawers: open a session, pay in and out, count it."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.actors.drawer import GetDrawer
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import Kind, Ref
from tabletap.domain.cafe import OpenDrawer
from tabletap.domain.drawer import Count, DrawerView, Pay
from tabletap.domain.errors import Code, Refusal

from .base import Call, Key, Operation

Cash = Annotated[int, msgspec.Meta(ge=0, le=100_000_00)]


class OpenDrawerBody(msgspec.Struct, frozen=True, rename="camel"):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    float_amount: Cash


class PayBody(msgspec.Struct, frozen=True):
    """``amount``: positive in, negative out."""

    amount: Annotated[int, msgspec.Meta(ge=-100_000_00, le=100_000_00)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class CountBody(msgspec.Struct, frozen=True):
    counted: Cash


class DrawerList(msgspec.Struct, frozen=True):
    """The drawers that are open, oldest first."""

    drawers: tuple[DrawerView, ...]


def _ref(call: Call) -> Ref | Refusal:
    try:
        return Ref(Kind.DRAWER, UUID(call.params["drawerId"]), call.cafe_id)
    except ValueError:
        return Refusal(Code.NOT_FOUND, "there is no such drawer")


async def open_(call: Call) -> Any:
    """Open a session with a float."""
    command = OpenDrawer(call.body.name, call.body.float_amount)
    return await call.services.desk.ask(call.cafe_ref(), command, call.by, call.idempotency)


async def list_(call: Call) -> Any:
    """Where cash can go."""
    return DrawerList(tuple(await call.services.reader.drawers(call.cafe_id)))


async def get(call: Call) -> Any:
    """The session as it stands."""
    ref = _ref(call)
    return ref if isinstance(ref, Refusal) else await call.services.desk.query(ref, GetDrawer())


async def pay(call: Call) -> Any:
    """Cash in or out that is no sale."""
    ref = _ref(call)
    if isinstance(ref, Refusal):
        return ref
    return await call.services.desk.ask(ref, Pay(call.body.amount, call.body.reason), call.by, call.idempotency)


async def count(call: Call) -> Any:
    """Close the session with what is in it."""
    ref = _ref(call)
    if isinstance(ref, Refusal):
        return ref
    return await call.services.desk.ask(ref, Count(call.body.counted), call.by, call.idempotency)


def _operation(
    name: str, method: str, path: str, summary: str, handler: Any, body: Any = None, reply: Any = DrawerView
) -> Operation:
    return Operation(
        name=f"drawers.{name}",
        method=method,
        path=f"/api/{{cafe}}/drawers{path}",
        summary=summary,
        access=Access(access.STAFF),
        body=body,
        reply=reply,
        status=201 if name == "open" else 200,
        key=Key.REQUIRED if method == "POST" else Key.NONE,
        stored=DrawerView if method == "POST" else None,
        handler=handler,
    )


OPERATIONS = (
    _operation("open", "POST", "", "Open a drawer with a float", open_, OpenDrawerBody),
    _operation("list", "GET", "", "The drawers that are open", list_, reply=DrawerList),
    _operation("get", "GET", "/{drawerId}", "A drawer's session", get),
    _operation("pay", "POST", "/{drawerId}/pay", "Pay cash in or out", pay, PayBody),
    _operation("count", "POST", "/{drawerId}/count", "Count and close", count, CountBody),
)
