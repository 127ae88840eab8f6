"""``/asyncapi.json``: the sockets described (AsyncAPI 3.0, spec Q5), from the doors, the catalogue and the operations.

A door is a channel; so is a room, whose address is its name: it is heard on the socket of a door. Commands are received
at every door alike. Channels tell in ``x-roles`` who may, the document in ``x-close-codes`` why a socket was closed.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from tabletap.domain.access import CAFE_ROOMS, COOKS
from tabletap.domain.base import Role
from tabletap.domain.till import NAME_CHARS
from tabletap.realtime.catalogue import ALSO, CATALOGUE, FLOWS, OF_DOORS, Hears, WireType
from tabletap.realtime.limits import (
    GOING_AWAY,
    INTERNAL_ERROR,
    PROTOCOL_ERROR,
    TOO_BIG,
    TOO_MANY_MESSAGES,
    TOO_SLOW,
    TRY_AGAIN_LATER,
)
from tabletap.realtime.replay import Subscribed
from tabletap.realtime.snapshots import Resync

from .openapi import param_schema
from .operations.base import Key, Operation, Raw
from .sockets.commands import Error, Unsubscribed
from .sockets.doors import PROTOCOL, TOKEN_EXPIRED, TillWelcome, Welcome
from .sockets.table import DOORS, Door

Json = dict[str, Any]

EVENTS: Final[Mapping[str, WireType]] = MappingProxyType({**CATALOGUE, **FLOWS, **OF_DOORS})
"""Everything that is ever told."""

CLOSE_CODES: Final[Mapping[int, str]] = MappingProxyType(
    {
        GOING_AWAY: "the server goes away: come back, after your last offset",
        PROTOCOL_ERROR: "that was no WebSocket",
        1007: "that was no UTF-8",
        TOO_BIG: "the message is too large",
        INTERNAL_ERROR: "something went wrong here: come back, after your last offset",
        TRY_AGAIN_LATER: "the welcome took too long: come back",
        TOKEN_EXPIRED: "the token has expired or was revoked: come back with another",
        TOO_SLOW: "too much was waiting for you: come back, after your last offset",
        TOO_MANY_MESSAGES: "too many messages",
    }
)

_REF = "#/components/schemas/{name}"
_ID: Final[Json] = {"type": ["string", "integer", "null"]}
_TEXT: Final[Json] = {"type": "string"}
_OFFSET: Final[Json] = {"type": "integer", "minimum": 0}
_TOLD = ("welcome", "subscribed", "unsubscribed", "resync", "reply", "error", "heartbeat")
_SAID = ("subscribe", "unsubscribe.command", "auth", "ping")
_ACK = "ack"
_STRUCTS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "welcome": Welcome,
        "till_welcome": TillWelcome,
        "subscribed": Subscribed,
        "unsubscribed": Unsubscribed,
        "resync": Resync,
        "error": Error,
    }
)
_ROLE_ROOM = "cafe:{id}:role:{role}"


def document(operations: Iterable[Operation], version: str, host: str, *, secure: bool) -> Json:
    """The document as plain data. ``host``: with its port, as clients reach it."""
    carried = [operation for operation in operations if not operation.signed_bytes]
    schema_of, schemas = _schemas(carried)
    doors = {f"door.{name}": _door(name, door) for name, door in DOORS.items()}
    rooms = {_room_key(pattern): _room(pattern) for pattern in (*Hears, _ROLE_ROOM)}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "TableTap",
            "version": version,
            "description": f"One JSON object a message, by the subprotocol {PROTOCOL}. See /openapi.json for REST.",
            "x-close-codes": {str(code): why for code, why in CLOSE_CODES.items()},
        },
        "defaultContentType": "application/json",
        "servers": {
            "node": {
                "host": host,
                "protocol": "wss" if secure else "ws",
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("bearer", "till")],
            }
        },
        "channels": {**doors, **rooms, "commands": _commands(carried)},
        "operations": {
            **{name.replace("door.", "say.", 1): _saying(name) for name in doors},
            **{f"hear.{name}": _hearing(name, channel, doors) for name, channel in {**doors, **rooms}.items()},
            **{operation.name: _command(operation) for operation in carried},
        },
        "components": {
            "messages": {
                **{type_: _event(type_, wire, schema_of) for type_, wire in EVENTS.items()},
                **_protocol(schema_of),
                **{operation.name: _asked(operation, schema_of) for operation in carried},
                **{f"{operation.name}.reply": _answered(operation, schema_of) for operation in carried},
            },
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "till": {"type": "httpApiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _schemas(operations: Iterable[Operation]) -> tuple[dict[str, Json], Json]:
    types: list[Any] = [*_STRUCTS.values(), *(payload for wire in EVENTS.values() for payload in wire.payloads)]
    for operation in operations:
        types += [one for one in (operation.body, operation.query, operation.reply) if one not in (None, Raw)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    return {repr(one): schema for one, schema in zip(types, schemas, strict=True)}, _without_discriminators(components)


def _without_discriminators(schema: Any) -> Any:
    """OpenAPI's, which msgspec writes, is an object; AsyncAPI's is a string that can name no such mapping."""
    if isinstance(schema, list):
        return [_without_discriminators(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    is_ours = isinstance(found := schema.get("discriminator"), dict) and "propertyName" in found
    return {name: _without_discriminators(part) for name, part in schema.items() if not (is_ours and part is found)}


# -- channels


def _door(name: str, door: Door) -> Json:
    whose = {hears for hears in Hears if hears.value in door.patterns}
    heard = whose if door.till else whose | {Hears.ANNOUNCEMENTS}
    events = [type_ for type_, wire in EVENTS.items() if wire.rooms & heard]
    of_tills = {"address": f"/ws/{name}/{{cafe}}", "parameters": {"cafe": {"description": "its slug"}}}
    said = ["till_welcome", *_TOLD[1:], *_SAID, _ACK] if door.till else [*_TOLD, *_SAID]
    return {
        **(of_tills if door.till else {"address": f"/ws/{name}"}),
        "title": name,
        "description": f"{door.summary}. Heard without asking: {', '.join(door.patterns)}.",
        "messages": _messages([*said, *events]),
        "bindings": {"ws": {"method": "GET", "query": _query(door), "bindingVersion": "0.1.0"}},
        "x-roles": sorted(door.roles),
        "x-rooms": list(door.patterns),
        "x-tracking-token": door.tracking,
    }


def _query(door: Door) -> Json:
    if door.till:
        names = {
            "after": {**_OFFSET, "description": "instead of its cursor"},
            "till": {**_TEXT, "maxLength": NAME_CHARS},
        }
        return {"type": "object", "properties": names}
    return {
        "type": "object",
        "required": [] if door.tracking else ["cafe"],
        "properties": {
            "cafe": {**_TEXT, "description": "its slug; a tracking token needs none"},
            "after": {**_OFFSET, "description": "where the client left off"},
            "device": {**_TEXT, "maxLength": 64, "description": "the name by which staff know the device"},
        },
    }


def _room_key(pattern: str) -> str:
    return "room." + ".".join(part for part in pattern.split(":") if not part.startswith("{"))


def _room(pattern: str) -> Json:
    return {
        "address": pattern,
        "description": "A room: heard on the socket of a door, by its default rooms or by subscribing.",
        "parameters": {part[1:-1]: {} for part in pattern.split(":") if part.startswith("{")},
        "messages": _messages(_events_in(pattern)),
        "x-roles": sorted(_hearers(pattern)),
    }


def _events_in(pattern: str) -> list[str]:
    rooms = set(ALSO) if pattern == _ROLE_ROOM else {Hears(pattern)}
    return [type_ for type_, wire in EVENTS.items() if wire.rooms & rooms]


def _hearers(pattern: str) -> Iterable[Role]:
    """Of a cafe's rooms; who hears an order, a payment, a flow or a user is a matter of whose it is."""
    kind, _, rest = pattern.partition(":")
    part = rest.removeprefix("{id}").removeprefix(":")
    if kind != "cafe" or part.startswith(("role:", "announcements")):
        return frozenset(Role) - {Role.SYSTEM, Role.TILL}
    return COOKS if part.startswith("station:") else CAFE_ROOMS[part]


def _commands(operations: Iterable[Operation]) -> Json:
    names = [name for operation in operations for name in (operation.name, f"{operation.name}.reply")]
    return {
        "address": "/ws/{door}",
        "description": "Whatever REST can do, a client can say at any door; a socket speaks to its own cafe.",
        "parameters": {"door": {"enum": list(DOORS)}},
        "messages": _messages([*names, "error"]),
    }


def _messages(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in dict.fromkeys(names)}


# -- operations


def _refs(channel: str, names: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]


def _saying(door: str) -> Json:
    return {
        "action": "receive",
        "summary": "Hear more rooms or fewer, show a fresh token, or ask whether anybody is there",
        "channel": {"$ref": f"#/channels/{door}"},
        "messages": _refs(door, (*_SAID, _ACK) if DOORS[door.removeprefix("door.")].till else _SAID),
        "reply": {
            "channel": {"$ref": f"#/channels/{door}"},
            "messages": _refs(door, ("subscribed", "unsubscribed", "resync", "reply", "error")),
        },
    }


def _hearing(name: str, channel: Json, doors: Mapping[str, Json]) -> Json:
    told = [message for message in channel["messages"] if message not in (*_SAID, _ACK)]
    return {"action": "send", "channel": {"$ref": f"#/channels/{name}"}, "messages": _refs(name, told)} | (
        {"summary": f"What is told at {channel['address']}"} if name in doors else {}
    )


def _command(operation: Operation) -> Json:
    channel = {"$ref": "#/channels/commands"}
    return {
        "action": "receive",
        "summary": operation.summary,
        "tags": [{"name": operation.name.partition(".")[0]}],
        "channel": channel,
        "messages": _refs("commands", (operation.name,)),
        "reply": {"channel": channel, "messages": _refs("commands", (f"{operation.name}.reply", "error"))},
        "x-roles": sorted(operation.access.roles | ({Role.TILL} if operation.access.till else set())),
        "x-idempotency-key": operation.key.value,
    }


# -- messages


def _object(properties: Json, *, required: Iterable[str] | None = None) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties if required is None else required),
    }


def _any_of(schemas: list[Json]) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _event(type_: str, wire: WireType, schema_of: Mapping[str, Json]) -> Json:
    return {
        "name": type_,
        "summary": f"Heard in {', '.join(sorted(wire.rooms))}",
        "payload": _object(
            {
                "type": {"const": type_},
                "room": _TEXT,
                "offset": _OFFSET,
                "eventId": {**_TEXT, "pattern": "^evt_"},
                "timestamp": {"type": "integer", "description": "milliseconds since the epoch"},
                "data": _any_of([schema_of[repr(payload)] for payload in wire.payloads]),
            }
        ),
    }


def _protocol(schema_of: Mapping[str, Json]) -> Json:
    told = {name: schema_of[repr(struct)] for name, struct in _STRUCTS.items()}
    told["heartbeat"] = _object({"type": {"const": "heartbeat"}, "offset": _OFFSET})
    told["reply"] = _object({"type": {"const": "reply"}, "id": _ID, "data": {}})
    room = {"id": _ID, "room": _TEXT}
    said = {
        "subscribe": _object({"op": {"const": "subscribe"}, **room, "after": _OFFSET}, required=("op", "room")),
        "unsubscribe.command": _object({"op": {"const": "unsubscribe"}, **room}, required=("op", "room")),
        "auth": _object({"op": {"const": "auth"}, "id": _ID, "token": _TEXT}, required=("op", "token")),
        "ping": _object({"op": {"const": "ping"}, "id": _ID}, required=("op",)),
        _ACK: _object({"op": {"const": "ack"}, "id": _ID, "offset": _OFFSET}, required=("op", "offset")),
    }
    return {name: {"name": name, "payload": payload} for name, payload in (told | said).items()}


def _asked(operation: Operation, schema_of: Mapping[str, Json]) -> Json:
    params = {name: param_schema(name) for name in operation.params if name != "cafe"}
    parts = [_object(params)] if params else []
    parts += [schema_of[repr(one)] for one in (operation.body, operation.query) if one is not None]
    data: Json = {} if not parts else parts[0] if len(parts) == 1 else {"allOf": parts}
    properties = {"op": {"const": operation.name}, "id": _ID, "data": data}
    if operation.key is not Key.NONE:
        properties["idempotencyKey"] = {**_TEXT, "format": "uuid"}
    needed = ["op", *(["data"] if params else []), *(["idempotencyKey"] if operation.key is Key.REQUIRED else [])]
    return {
        "name": operation.name,
        "summary": operation.summary,
        "correlationId": {"location": "$message.payload#/id"},
        "payload": _object(properties, required=needed),
    }


def _answered(operation: Operation, schema_of: Mapping[str, Json]) -> Json:
    picture = {**_TEXT, "contentEncoding": "base64"}
    data = picture if operation.reply is Raw else schema_of[repr(operation.reply)]
    return {
        "name": f"{operation.name}.reply",
        "correlationId": {"location": "$message.payload#/id"},
        "payload": _object({"type": {"const": "reply"}, "id": _ID, "data": data}),
    }
