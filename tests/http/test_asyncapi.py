"""``/asyncapi.json`` is AsyncAPI, tells of everything there is, and a socket speaks as it says (spec Q5, R7)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tabletap.domain.access import CAFE_ROOMS
from tabletap.http import asyncapi
from tabletap.http.operations import OPERATIONS
from tabletap.http.sockets import doors
from tabletap.http.sockets.table import DOORS
from tabletap.realtime import limits
from tabletap.realtime.catalogue import CATALOGUE, FLOWS, OF_DOORS, Hears

from .server import Server
from .test_rooms_isolation import Scene

SCHEMA = Path(__file__).with_name("asyncapi-3.0.0.schema.json")
CARRIED = {name: operation for name, operation in OPERATIONS.items() if not operation.signed_bytes}


@pytest.fixture(scope="module")
def document() -> Any:
    made = asyncapi.document(OPERATIONS.values(), "1.2.3", "cafe.example:443", secure=True)
    return json.loads(json.dumps(made))


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def pointed_at(document: Any, reference: str) -> Any:
    found = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def payload(document: Any, message: str) -> Any:
    """A validator of a message's payload."""
    schema = {**document["components"]["messages"][message]["payload"], "components": document["components"]}
    return jsonschema_rs.validator_for(schema)


def test_it_is_what_asyncapi_says_a_document_is(document: Any) -> None:
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    wrong = [
        ("/".join(map(str, error.instance_path)), error.message[:200]) for error in validator.iter_errors(document)
    ]
    assert wrong == []
    assert not validator.is_valid({**document, "asyncapi": "2.6.0"}), "the judge can say no"
    assert not validator.is_valid({**document, "channels": {"x": {"address": 1}}})


def test_whatever_it_points_at_is_there(document: Any) -> None:
    pointers = set(references(document))
    assert len(pointers) > 300
    for pointer in pointers:
        assert pointed_at(document, pointer), pointer


def test_it_tells_of_every_event_door_room_operation_and_close_code(document: Any) -> None:
    channels, messages = document["channels"], document["components"]["messages"]
    assert {channel["address"] for channel in channels.values()} == {
        *(f"/ws/{name}/{{cafe}}" if door.till else f"/ws/{name}" for name, door in DOORS.items()),
        *Hears,
        "cafe:{id}:role:{role}",
        "/ws/{door}",
    }
    events = {**CATALOGUE, **FLOWS, **OF_DOORS}
    assert messages.keys() >= events.keys() | CARRIED.keys() | {f"{name}.reply" for name in CARRIED}
    assert document["operations"].keys() >= CARRIED.keys()
    assert set(channels["commands"]["messages"]) >= CARRIED.keys()
    codes = {
        value
        for module in (limits, doors)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, int) and 1000 <= value < 5000
    }
    assert {int(code) for code in document["info"]["x-close-codes"]} == codes | {1007}


@pytest.mark.parametrize("type_", sorted({**CATALOGUE, **FLOWS, **OF_DOORS}))
def test_an_event_is_told_of_in_its_rooms_and_in_no_others(type_: str, document: Any) -> None:
    rooms = {
        channel["address"]
        for name, channel in document["channels"].items()
        if name.startswith("room.") and "{role}" not in channel["address"] and type_ in channel["messages"]
    }
    assert rooms == {**CATALOGUE, **FLOWS, **OF_DOORS}[type_].rooms
    hear = {name for name, one in document["operations"].items() if any(type_ in ref for ref in references(one))}
    assert any(name.startswith("hear.room.") for name in hear)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_says_who_may_enter_and_what_they_hear(door: str, document: Any) -> None:
    channel = document["channels"][f"door.{door}"]
    assert set(channel["x-roles"]) == DOORS[door].roles
    assert channel["x-tracking-token"] == DOORS[door].tracking
    defaults = {Hears(pattern) for pattern in DOORS[door].patterns}
    expected = {type_ for type_, wire in CATALOGUE.items() if wire.rooms & defaults}
    assert expected <= channel["messages"].keys()
    assert expected == channel["messages"].keys() & CATALOGUE.keys()


def test_a_room_says_who_hears_it(document: Any) -> None:
    for part, roles in CAFE_ROOMS.items():
        address = f"cafe:{{id}}:{part}".rstrip(":")
        (channel,) = [one for one in document["channels"].values() if one["address"] == address]
        assert set(channel["x-roles"]) == roles


def test_the_server_gives_it_away_with_its_own_address(server: Server) -> None:
    answer = server.call("GET", "/asyncapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["servers"]["node"]["host"] == server.url.removeprefix("http://")
    assert told["servers"]["node"]["protocol"] == "ws"


async def test_what_is_heard_at_the_doors_is_as_the_document_says(server: Server, document: Any) -> None:
    scene = Scene(server)
    cafe = scene.cafe
    heard: list[Any] = []
    async with (
        server.socket("admin", cafe, cafe.tokens["owner"], after=0) as admin,
        server.socket("payments", cafe, cafe.tokens["counter"], after=0) as cashier,
        server.socket("customers", cafe, scene.anns, after=0) as ann,
        server.socket("kitchen", cafe, cafe.tokens["kitchen"], after=0) as cook,
    ):
        for socket, room in ((cook, f"cafe:{cafe.id}:station:bar"), (ann, scene.own_rooms[0]), (admin, "cafe:x")):
            heard.append(await socket.say("subscribe", room=room, after=0))
        heard.append(await cook.say("unsubscribe", room=f"cafe:{cafe.id}:station:bar"))
        heard.append(await cook.say("subscribe", room=f"cafe:{cafe.id}:kitchen", after=1 << 40))
        scene.act()
        for socket in (admin, cashier, ann, cook):
            heard += [socket.welcome, *await socket.silence()]
    told = document["components"]["messages"]
    kinds = {message["type"] for message in heard}
    assert kinds >= {"welcome", "subscribed", "unsubscribed", "resync", "error", "payment_completed", "announcement"}
    for message in heard:
        assert message["type"] in told
        payload(document, message["type"]).validate(message)


@pytest.mark.parametrize("name", [name for name, operation in CARRIED.items() if operation.method != "GET"])
async def test_whatever_rest_can_change_a_socket_can_ask_for(name: str, server: Server) -> None:
    """And is answered once, by a rule of the trade or with a reply; at a cafe where it can do no harm."""
    cafe = server.open_cafe()
    async with server.socket("orders", cafe, server.admin) as socket:
        answer = await socket.perform(name, {})
        assert answer["type"] in {"reply", "error"}
        assert answer.get("code") not in {"UNKNOWN_OPERATION", "INTERNAL_ERROR", "FORBIDDEN", "AUTH_REQUIRED"}


def test_rest_has_nothing_to_change_that_is_no_operation(server: Server) -> None:
    described = server.call("GET", "/openapi.json").json()["paths"]
    changing = {
        one["operationId"]
        for methods in described.values()
        for method, one in methods.items()
        if method in {"post", "put", "patch", "delete"}
    }
    signed = OPERATIONS.keys() - CARRIED.keys()
    assert changing - signed == {name for name, operation in CARRIED.items() if operation.method != "GET"}
    assert all(re.fullmatch(r"[a-z_]+\.[a-z_]+", name) for name in changing)
