"""Endpoints of integrators: where a cafe's events are sent, signed by Standard Webhooks (spec H5)."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.actors.webhook_ports import AttemptView, EndpointView
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.endpoint import url_at_fault
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.realtime.outgoing import OFFERED

from .base import Call, Operation

Url = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Types = Annotated[tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=50)]
Description = Annotated[str, msgspec.Meta(max_length=200)]

MISSING = Refusal(Code.NOT_FOUND, "there is no such endpoint")


class CreateBody(msgspec.Struct, frozen=True):
    """``types`` left out or empty: all there are."""

    url: Url
    types: Types = ()
    description: Description = ""


class ChangeBody(msgspec.Struct, frozen=True):
    """What is left out stays as it is."""

    url: Url | None = None
    types: Types | None = None
    description: Description | None = None
    enabled: bool | None = None


class ReplayBody(msgspec.Struct, frozen=True, rename="camel"):
    message_id: UUID


class AttemptsQuery(msgspec.Struct, frozen=True):
    """``before``: the last one of the page before."""

    before: Annotated[int, msgspec.Meta(ge=1, le=1 << 53)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class EndpointList(msgspec.Struct, frozen=True):
    """``types``: all that can be asked for."""

    endpoints: tuple[EndpointView, ...]
    types: tuple[str, ...]


class Attempts(msgspec.Struct, frozen=True):
    attempts: tuple[AttemptView, ...]


class OnItsWay(msgspec.Struct, frozen=True, rename="camel"):
    """The message will be sent; the log of attempts tells how that went."""

    message_id: UUID


class Deleted(msgspec.Struct, frozen=True):
    deleted: bool = True


def _ident(call: Call) -> UUID | None:
    try:
        return UUID(call.params["endpointId"])
    except ValueError:
        return None


def _at_fault(call: Call, url: str | None, types: tuple[str, ...] | None) -> Refusal | None:
    fault = None if url is None else url_at_fault(url, private=call.services.endpoints.private_networks)
    if fault is not None:
        return invalid("url", fault)
    for place, type_ in enumerate(types or ()):
        if type_ not in OFFERED:
            return invalid(f"types.{place}", f"there is no type {type_!r}")
    return None


async def create(call: Call) -> Any:
    """A new endpoint; its secret is told now and never again."""
    body: CreateBody = call.body
    refused = _at_fault(call, body.url, body.types)
    if refused is not None:
        return refused
    made = await call.services.endpoints.create(call.cafe_id, body.url, body.types, body.description)
    return made or Refusal(Code.ILLEGAL_MOVE, "the cafe has as many endpoints as it may have")


async def listed(call: Call) -> Any:
    """The cafe's endpoints, oldest first."""
    return EndpointList(tuple(await call.services.endpoints.listed(call.cafe_id)), tuple(sorted(OFFERED)))


async def change(call: Call) -> Any:
    """Change some of it, or disable and enable it."""
    body, endpoint_id = call.body, _ident(call)
    refused = _at_fault(call, body.url, body.types)
    if refused is not None:
        return refused
    if endpoint_id is None:
        return MISSING
    changed = await call.services.endpoints.change(call.cafe_id, endpoint_id, **msgspec.structs.asdict(body))
    return changed or MISSING


async def delete(call: Call) -> Any:
    """Send nothing there any more, and forget what was sent."""
    endpoint_id = _ident(call)
    if endpoint_id is None or not await call.services.endpoints.delete(call.cafe_id, endpoint_id):
        return MISSING
    return Deleted()


async def rotate(call: Call) -> Any:
    """A new secret, told now and never again; for a day the old one signs as well."""
    endpoint_id = _ident(call)
    return (endpoint_id and await call.services.endpoints.rotate(call.cafe_id, endpoint_id)) or MISSING


async def attempts(call: Call) -> Any:
    """What was tried there, newest first."""
    endpoint_id, query = _ident(call), call.query
    if endpoint_id is None:
        return MISSING
    found = await call.services.endpoints.attempts(call.cafe_id, endpoint_id, query.before, query.limit)
    return MISSING if found is None else Attempts(tuple(found))


async def replay(call: Call) -> Any:
    """Send one message once more, under the id it had."""
    endpoint_id, message_id = _ident(call), call.body.message_id
    if endpoint_id is None:
        return MISSING
    replayed = await call.services.endpoints.replay(call.cafe_id, endpoint_id, message_id)
    if replayed is None:
        return Refusal(Code.NOT_FOUND, "there is no such message")
    if not replayed:
        return Refusal(Code.ILLEGAL_MOVE, "it is on its way, or the endpoint is disabled")
    return OnItsWay(message_id)


async def test(call: Call) -> Any:
    """Send a message of type ``test``."""
    endpoint_id = _ident(call)
    if endpoint_id is None:
        return MISSING
    message_id = await call.services.endpoints.test(call.cafe_id, endpoint_id)
    if message_id is None:
        known = {endpoint.endpoint_id for endpoint in await call.services.endpoints.listed(call.cafe_id)}
        return Refusal(Code.ILLEGAL_MOVE, "the endpoint is disabled") if endpoint_id in known else MISSING
    return OnItsWay(message_id)


def _operation(
    name: str, method: str, path: str, summary: str, handler: Any, reply: Any, *, body: Any = None, query: Any = None
) -> Operation:
    return Operation(
        name=f"endpoints.{name}",
        method=method,
        path=f"/api/{{cafe}}/webhook-endpoints{path}",
        summary=summary,
        access=Access(access.MANAGEMENT),
        body=body,
        query=query,
        reply=reply,
        status=201 if name == "create" else 200,
        handler=handler,
    )


OPERATIONS = (
    _operation("create", "POST", "", "Send the cafe's events somewhere", create, EndpointView, body=CreateBody),
    _operation("list", "GET", "", "Where the cafe's events are sent", listed, EndpointList),
    _operation("change", "PATCH", "/{endpointId}", "Change an endpoint", change, EndpointView, body=ChangeBody),
    _operation("delete", "DELETE", "/{endpointId}", "Delete an endpoint", delete, Deleted),
    _operation("rotate", "POST", "/{endpointId}/rotate", "A new secret", rotate, EndpointView),
    _operation("attempts", "GET", "/{endpointId}/attempts", "What was tried", attempts, Attempts, query=AttemptsQuery),
    _operation("replay", "POST", "/{endpointId}/replay", "Send a message again", replay, OnItsWay, body=ReplayBody),
    _operation("test", "POST", "/{endpointId}/test", "Send a message to try it", test, OnItsWay),
)
