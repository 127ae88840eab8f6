"""Whatever a client sends, it is told what is wrong; nothing has changed, and the server is there for others."""

# ruff: noqa: E501  the tables of what can be wrong read as tables

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from trio_websocket import ConnectionClosed

from .server import MENU, SETTINGS, Server, fields_at_fault, new_key, problem_of

TOAST = {"sku": "toast", "quantity": 1}
NOTHING = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def nothing_changes(server: Server) -> Iterator[None]:
    """Around each test: the same orders, the same log, and the next client is served."""
    before = server.footprint(server.a)
    yield
    assert server.footprint(server.a) == before
    assert server.call("GET", "/health").status_code == 200


def order(**more: Any) -> dict[str, Any]:
    return {"channel": "online", "items": [TOAST], **more}


def items(*wishes: Any) -> dict[str, Any]:
    return {"channel": "online", "items": list(wishes)}


BAD_ORDERS: dict[str, tuple[Any, str]] = {
    "no channel": ({"items": [TOAST]}, ""),
    "an unknown channel": (order(channel="drone"), "channel"),
    "a channel that is a number": (order(channel=1), "channel"),
    "no items": ({"channel": "online"}, "items"),
    "items that are none": (order(items=[]), "items"),
    "items that are no list": (order(items="toast"), "items"),
    "items that are null": (order(items=None), "items"),
    "101 lines": (order(items=[TOAST] * 101), "items"),
    "an item that is no object": (items(7), "items.0"),
    "an unknown sku": (items(TOAST, {"sku": "unobtainium", "quantity": 1}), "items.1.sku"),
    "a sku that is a number": (items({"sku": 1, "quantity": 1}), "items.0.sku"),
    "a sku of another alphabet": (items({"sku": "\u0442oast", "quantity": 1}), "items.0.sku"),
    "a sku with a line feed": (items({"sku": "toast\n", "quantity": 1}), "items.0.sku"),
    "a sku with NUL": (items({"sku": "toast\0", "quantity": 1}), "items.0.sku"),
    "quantity 0": (items({"sku": "toast", "quantity": 0}), "items.0.quantity"),
    "quantity -1": (items({"sku": "toast", "quantity": -1}), "items.0.quantity"),
    "quantity 10,000": (items({"sku": "toast", "quantity": 10_000}), "items.0.quantity"),
    "quantity 100": (items({"sku": "toast", "quantity": 100}), "items.0.quantity"),
    "quantity 1.5": (items({"sku": "toast", "quantity": 1.5}), "items.0.quantity"),
    "a huge quantity": (items({"sku": "toast", "quantity": 10**40}), "items.0.quantity"),
    "a quantity of 64 bits": (items({"sku": "toast", "quantity": 2**63}), "items.0.quantity"),
    "a quantity that is text": (items({"sku": "toast", "quantity": "1"}), "items.0.quantity"),
    "a quantity that is true": (items({"sku": "toast", "quantity": True}), "items.0.quantity"),
    "no quantity": (items({"sku": "toast"}), "items.0"),
    "a choice the item has not": (items({**TOAST, "modifiers": [{"group": "milk", "option": "oat"}]}), "items.0.modifiers.0.group"),
    "an option the group has not": (items({"sku": "flat-white", "quantity": 1, "modifiers": [{"group": "milk", "option": "yak"}]}), "items.0.modifiers.0.option"),
    "a nested choice alone": (items({"sku": "flat-white", "quantity": 1, "modifiers": [{"group": "brand", "option": "house"}]}), "items.0.modifiers.0.group"),
    "too many of a choice": (items({"sku": "flat-white", "quantity": 1, "modifiers": [{"group": "milk", "option": "oat"}] * 2}), "items.0.modifiers"),
    "41 modifiers": (items({**TOAST, "modifiers": [{"group": "milk", "option": "oat"}] * 41}), "items.0.modifiers"),
    "a note that is too long": (order(note="x" * 501), "note"),
    "a note that is a list": (order(note=[]), "note"),
    "a table of an online order": (order(table="1"), "table"),
    "an unknown table": (order(channel="table", table="99"), "table"),
    "no table": (order(channel="table"), "table"),
    "an empty table": (order(channel="table", table=""), "table"),
    "a phone number of letters": (order(customer={"phone": "call me"}), "customer.phone"),
    "a name that is too long": (order(customer={"name": "x" * 81}), "customer.name"),
    "a time that is none": (order(scheduledFor="tomorrow"), "scheduledFor"),
    "a time without a zone": (order(scheduledFor="2030-01-01T10:00:00"), "scheduledFor"),
    "a time that has passed": (order(scheduledFor="2020-01-01T10:00:00Z"), "scheduledFor"),
    "a time that is too far": (order(scheduledFor="2099-01-01T10:00:00Z"), "scheduledFor"),
    "a list": ([], ""),
    "a text": ("order", ""),
    "a number": (1, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_ORDERS)
async def test_an_order_that_is_wrong_is_refused_naming_the_field(what: str, server: Server) -> None:
    body, field = BAD_ORDERS[what]
    told = problem_of(server.call("POST", f"/api/{server.a.slug}/orders", None, body), 400, "VALIDATION_ERROR")
    assert told["path"] == f"/api/{server.a.slug}/orders"
    assert fields_at_fault(told) == {field}
    async with server.socket("orders", server.a, server.a.tokens["staff"]) as client:
        answer = await client.perform("orders.place", body)
        assert answer["type"] == "error"
        assert answer["code"] == "VALIDATION_ERROR"
        assert fields_at_fault(answer) <= {field, "data"}


RAW_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "VALIDATION_ERROR"),
    "spaces": (b"  \r\n ", "VALIDATION_ERROR"),
    "null": (b"null", "VALIDATION_ERROR"),
    "half an object": (b'{"channel":"online","items":[', "MALFORMED"),
    "two objects": (b'{"channel":"online","items":[{"sku":"toast","quantity":1}]}{}', "MALFORMED"),
    "single quotes": (b"{'channel':'online'}", "MALFORMED"),
    "NaN": (b'{"channel":"online","items":[{"sku":"toast","quantity":NaN}]}', "MALFORMED"),
    "an exponent that overflows": (b'{"channel":"online","items":[{"sku":"toast","quantity":1e999}]}', "VALIDATION_ERROR"),
    "not UTF-8": (b'{"channel":"online","note":"\xff\xfe","items":[{"sku":"toast","quantity":1}]}', "MALFORMED"),
    "a lone surrogate": (b'{"channel":"online","note":"\\ud800","items":[{"sku":"toast","quantity":1}]}', "MALFORMED"),
    "the surrogates of CESU-8": (b'{"channel":"online","note":"\xed\xa0\x80","items":[{"sku":"toast","quantity":1}]}', "MALFORMED"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "MALFORMED"),
    "XML": (b"<order/>", "MALFORMED"),
    "a form": (b"channel=online", "MALFORMED"),
    "100,000 brackets": (b"[" * 100_000, "VALIDATION_ERROR"),
    "a deep note": (b'{"channel":"online","x":' + b"[" * 100_000, "MALFORMED"),
    "a deep note that ends": (b'{"channel":"online","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "MALFORMED"),
}  # fmt: skip


@pytest.mark.parametrize("what", RAW_BODIES)
def test_a_body_that_is_no_order_at_all_is_refused(what: str, server: Server) -> None:
    body, code = RAW_BODIES[what]
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = server.call("POST", f"/api/{server.a.slug}/orders", content=body, headers={"content-type": kind})
        problem_of(answer, 400, code)


def test_text_that_a_database_cannot_hold_is_refused_naming_the_field(server: Server) -> None:
    for body, field in (
        (order(note="a\0b"), "note"),
        (order(customer={"name": "\0"}), "customer.name"),
        (order(items=[{**TOAST, "note": "no\0thing"}]), "items.0.note"),
    ):
        told = problem_of(server.call("POST", f"/api/{server.a.slug}/orders", None, body), 400, "VALIDATION_ERROR")
        assert fields_at_fault(told) == {field}


def test_a_body_above_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    big = json.dumps(order(note="x" * 2_000_000)).encode()
    path = f"/api/{server.a.slug}/orders"
    problem_of(server.call("POST", path, content=big), 413, "PAYLOAD_TOO_LARGE")
    problem_of(server.call("POST", path, content=iter([big[:1_000_000], big[1_000_000:]])), 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/api/payments/initiate", {"orderId": "1", "paymentMethod": "cash"}, "orderId"),
        ("POST", "/api/payments/initiate", {"orderId": NOTHING, "paymentMethod": "shells"}, "paymentMethod"),
        ("POST", "/api/payments/initiate", {"orderId": NOTHING, "paymentMethod": "cash", "amount": 0}, "amount"),
        ("POST", "/api/payments/initiate", {"orderId": NOTHING, "paymentMethod": "cash", "amount": -5}, "amount"),
        ("POST", "/api/payments/initiate", {"orderId": NOTHING, "paymentMethod": "cash", "amount": 1.5}, "amount"),
        ("POST", "/api/payments/initiate", {"orderId": NOTHING, "paymentMethod": "cash", "tipAmount": 10**9}, "tipAmount"),
        ("POST", "/api/payments/initiate", {"orderId": NOTHING, "paymentMethod": "cash", "currency": "aud"}, "currency"),
        ("POST", "/api/payments/initiate", {"orderId": NOTHING, "paymentMethod": "cash", "metadata": {"a": 1}}, "metadata"),
        ("POST", "/api/{cafe}/menu/items/toast/availability", {}, ""),
        ("POST", "/api/{cafe}/menu/items/toast/availability", {"available": "no"}, "available"),
        ("POST", "/api/{cafe}/menu/items/toast/availability", {"available": False, "until": "2020-01-01T00:00:00Z"}, "until"),
        ("POST", "/api/{cafe}/menu/items/toast/availability", {"available": False, "until": "2030-01-01T00:00:00"}, "until"),
        ("POST", "/api/{cafe}/menu/items/toast/availability", {"available": True, "remaining": -1}, "remaining"),
        ("POST", "/api/{cafe}/drawers", {"name": "", "floatAmount": 0}, "name"),
        ("POST", "/api/{cafe}/drawers", {"name": "till", "floatAmount": -1}, "floatAmount"),
        ("PUT", "/api/{cafe}/settings", {**SETTINGS, "unknown": 1}, ""),
        ("PUT", "/api/{cafe}/settings", {**SETTINGS, "timezone": "Mars/Olympus"}, "settings.timezone"),
        ("PUT", "/api/{cafe}/settings", {**SETTINGS, "timezone": "../../etc/passwd"}, "settings.timezone"),
        ("PUT", "/api/{cafe}/settings", {**SETTINGS, "timezone": "a\0b"}, "timezone"),
        ("PUT", "/api/{cafe}/settings", {**SETTINGS, "currency": "EUR"}, "settings.currency"),
        ("PUT", "/api/{cafe}/settings", {**SETTINGS, "tables": ["1", "1"]}, "settings.tables"),
        ("PUT", "/api/{cafe}/menu", {**MENU, "items": [{**MENU["items"][1], "station": "roof"}]}, "items.0.station"),
        ("PUT", "/api/{cafe}/menu", {**MENU, "items": [MENU["items"][1]] * 2}, "items"),
        ("POST", "/api/cafes", {"slug": "health", "settings": SETTINGS, "menu": MENU}, "slug"),
        ("POST", "/api/cafes", {"slug": "../x", "settings": SETTINGS, "menu": MENU}, "slug"),
        ("POST", "/api/cafes", {"slug": "Cafe", "settings": SETTINGS, "menu": MENU}, "slug"),
        ("GET", "/api/{cafe}/orders?limit=0", None, "limit"),
        ("GET", "/api/{cafe}/orders?limit=501", None, "limit"),
        ("GET", "/api/{cafe}/orders?limit=many", None, "limit"),
        ("GET", "/api/{cafe}/orders?status=lost", None, "status"),
        ("GET", "/api/{cafe}/orders?before=yesterday", None, "before"),
        ("GET", "/api/{cafe}/kitchen?station=roof", None, "station"),
        ("GET", "/api/{cafe}/kitchen?station=" + "x" * 65, None, "station"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_is_refused_naming_the_field(
    method: str, path: str, body: Any, field: str, server: Server
) -> None:
    path = path.replace("{cafe}", server.a.slug)
    told = problem_of(server.call(method, path, server.admin, body, key=new_key()), 400, "VALIDATION_ERROR")
    assert fields_at_fault(told) == {field}


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nowhere",
        "/api",
        "/api/",
        "/api/orders",
        "/api/orders/1",
        "/api/orders/%00",
        f"/api/orders/{NOTHING}",
        "/api/orders/' OR 1=1 --",
        f"/api/payments/{NOTHING}/status",
        "/api/payments/x/status",
        "/api/nowhere/menu",
        "/api/%F0%9F%8D%B5/menu",
        "/api/%ff/menu",
        "/api/" + "x" * 5_000 + "/menu",
        "/api/{cafe}/tables/99/qr.png",
        "/api/{cafe}/tables/..%2f..%2fetc%2fpasswd/qr.svg",
        "/api/{cafe}/drawers/1",
        f"/api/{{cafe}}/drawers/{NOTHING}",
        "/nowhere/kitchen",
        "/static/",
        "/static/nothing.js",
        "/static/../rest.py",
        "/static/..%2frest.py",
        "/static/%2e%2e/rest.py",
        "/static/..%5crest.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/customer.js%00.png",
        "/ws/orders",
    ],
)
def test_what_is_not_there_is_not_found(path: str, server: Server) -> None:
    path = path.replace("{cafe}", server.a.slug)
    answer = raw(server, f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {server.admin}")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 "), answer[:300]
    assert json.loads(body)["code"] == "NOT_FOUND"


def raw(server: Server, head: str, body: bytes = b"") -> bytes:
    """What a connection of its own answers to bytes that no client library would send."""
    url = urlsplit(server.url)
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=30) as connection:
        connection.sendall(head.encode("latin-1") + b"\r\nConnection: close\r\n\r\n" + body)
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        return answer


def test_an_id_that_is_not_there_is_not_found_whatever_is_asked_of_it(server: Server) -> None:
    for ident in (NOTHING, "1", "x" * 100):
        for path, body in (
            (f"/api/orders/{ident}/start", None),
            (f"/api/orders/{ident}/items/1/bump", None),
            (f"/api/orders/{ident}/merge", {"into": NOTHING}),
            (f"/api/payments/{ident}/verify", {"tendered": 1}),
            (f"/api/payments/{ident}/refund", None),
            (f"/api/payments/{ident}/cancel", None),
        ):
            problem_of(server.call("POST", path, server.admin, body, key=new_key()), 404, "NOT_FOUND")


def test_a_line_that_is_not_there_is_named(server: Server) -> None:
    order_id = server.place(server.open_cafe())["id"]
    for line in ("99", "0", "-1", "9" * 25):
        answer = server.call("POST", f"/api/orders/{order_id}/items/{line}/bump", server.admin)
        problem_of(answer, 404, "NOT_FOUND")
    for line in ("one", "1.5", "9" * 5_000):
        answer = server.call("POST", f"/api/orders/{order_id}/items/{line}/bump", server.admin)
        assert fields_at_fault(problem_of(answer, 400, "VALIDATION_ERROR")) == {"line"}


def test_a_method_that_a_path_does_not_have_is_refused_naming_those_it_has(server: Server) -> None:
    for method, path in (
        ("DELETE", f"/api/{server.a.slug}/orders"),
        ("POST", f"/api/{server.a.slug}/tables"),
        ("PUT", "/health"),
        ("POST", "/openapi.json"),
        ("GET", "/api/payments/initiate"),
        ("TRACE", "/health"),
        ("BREW", f"/api/{server.a.slug}/menu"),
    ):
        answer = server.call(method, path, server.admin)
        problem_of(answer, 405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"]


def test_head_and_options_are_answered_without_a_body(server: Server) -> None:
    for path in (f"/api/{server.a.slug}/menu", "/health", "/openapi.json", f"/{server.a.slug}", "/static/icon.svg"):
        got, head = server.call("GET", path), server.call("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == got.headers["content-type"]
        options = server.call("OPTIONS", path)
        assert options.status_code in {200, 204}
        assert options.content == b""
    preflight = server.call("OPTIONS", "/health", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in preflight.headers


@pytest.mark.parametrize(
    ("head", "body", "statuses"),
    [
        ("Content-Length: -1", b"{}", {400}),
        ("Content-Length: many", b"{}", {400}),
        ("Content-Length: 2\r\nContent-Length: 3", b"{}", {400}),
        ("Content-Length: 99999999999999999999", b"{}", {400, 413}),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n", {400}),
        ("Transfer-Encoding: chunked", b"nonsense\r\n\r\n", {400}),
        ("Transfer-Encoding: chunked", b"-1\r\n{}\r\n0\r\n\r\n", {400}),
        ("Transfer-Encoding: chunked", b"FFFFFFFFFFFFFFFFFFFFFFFFF\r\n{}\r\n", {400, 413}),
        ("Transfer-Encoding: gzip", b"{}", {400, 501}),
        ("Expect: 200-ok\r\nContent-Length: 2", b"{}", {400, 417}),
        ("Idempotency-Key: \x00\r\nContent-Length: 2", b"{}", {400}),
    ],
)
def test_a_body_whose_length_is_a_lie_ends_in_an_error(
    head: str, body: bytes, statuses: set[int], server: Server
) -> None:
    answer = raw(server, f"POST /api/{server.a.slug}/orders HTTP/1.1\r\nHost: t\r\n{head}", body)
    assert int(answer.split(b" ", 2)[1]) in statuses, answer


def test_of_a_key_that_stands_twice_the_last_one_counts_and_unknown_keys_do_not(server: Server) -> None:
    cafe = server.open_cafe()
    body = b'{"channel":"online","items":[{"sku":"beans","quantity":9}],"ghost":{},"items":[{"sku":"toast","quantity":1,"quantity":2}]}'
    placed = server.call("POST", f"/api/{cafe.slug}/orders", content=body)
    assert placed.status_code == 201
    assert [item["quantity"] for item in placed.json()["items"]] == [2]


# -- sockets

SAID: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "MALFORMED"),
    "no JSON": ("hello", "MALFORMED"),
    "half": ('{"op":', "MALFORMED"),
    "a list": ("[]", "VALIDATION_ERROR"),
    "a number": ("1", "VALIDATION_ERROR"),
    "null": ("null", "VALIDATION_ERROR"),
    "no op": ('{"id":1}', "VALIDATION_ERROR"),
    "an op that is a number": ('{"op":1}', "VALIDATION_ERROR"),
    "an unknown op": ('{"op":"orders.explode","id":1}', "UNKNOWN_OPERATION"),
    "an endless op": (json.dumps({"op": "x" * 10_000}), "UNKNOWN_OPERATION"),
    "an op of the inside": ('{"op":"__class__"}', "UNKNOWN_OPERATION"),
    "an id that is an object": ('{"op":"ping","id":{}}', "VALIDATION_ERROR"),
    "a deep message": ('{"op":"ping","data":' + "[" * 30_000 + "]" * 30_000 + "}", "MALFORMED"),
    "binary JSON": (b'{"op":"orders.explode"}', "UNKNOWN_OPERATION"),
    "binary rubbish": (b"\x00\xff\xfe", "MALFORMED"),
    "no data": ('{"op":"orders.place","id":1}', "VALIDATION_ERROR"),
    "data that is text": ('{"op":"orders.place","id":1,"data":"x"}', "VALIDATION_ERROR"),
    "data that is a list": ('{"op":"orders.cancel","id":1,"data":[]}', "VALIDATION_ERROR"),
    "data without the id that a path would have": ('{"op":"orders.cancel","id":1,"data":{}}', "VALIDATION_ERROR"),
    "an id that is none": ('{"op":"orders.cancel","id":1,"data":{"orderId":7}}', "NOT_FOUND"),
    "an id that is a list": ('{"op":"orders.get","id":1,"data":{"orderId":[]}}', "NOT_FOUND"),
    "a query that is wrong": ('{"op":"orders.list","id":1,"data":{"limit":"many"}}', "VALIDATION_ERROR"),
    "a key that is none": ('{"op":"orders.place","id":1,"data":{"channel":"online","items":[{"sku":"toast","quantity":1}]},"idempotencyKey":"x"}', "IDEMPOTENCY_KEY_INVALID"),
    "an offset below nothing": ('{"op":"subscribe","id":1,"room":"user:x","after":-1}', "VALIDATION_ERROR"),
    "an offset that is huge": ('{"op":"subscribe","id":1,"room":"user:x","after":' + "9" * 30 + "}", "VALIDATION_ERROR"),
    "an offset that is text": ('{"op":"subscribe","id":1,"room":"user:x","after":"1"}', "VALIDATION_ERROR"),
    "no room": ('{"op":"subscribe","id":1}', "VALIDATION_ERROR"),
    "a room that is no text": ('{"op":"subscribe","id":1,"room":1}', "VALIDATION_ERROR"),
    "no token": ('{"op":"auth","id":1}', "INVALID_TOKEN"),
}  # fmt: skip


async def test_a_message_that_is_wrong_is_answered_and_the_socket_goes_on(server: Server) -> None:
    async with server.socket("orders", server.a, server.a.tokens["owner"]) as client:
        for what, (message, code) in SAID.items():
            await client.send(message)
            answer = await client.next()
            assert (what, answer["type"], answer["code"]) == (what, "error", code)
            assert answer["error"]
        assert (await client.say("ping"))["data"] == {"pong": True}


async def test_a_message_that_is_too_big_closes_the_socket_with_1009(server: Server) -> None:
    async with server.socket("orders", server.a, server.a.tokens["owner"]) as client:
        with contextlib.suppress(ConnectionClosed):  # it need not read to the end
            await client.send('{"op":"ping","id":"' + "x" * 10_000_000 + '"}')
        assert await client.close_code() == 1009


async def test_of_1000_subscriptions_those_above_the_bound_are_refused(server: Server) -> None:
    cafe = server.a
    async with server.socket("orders", cafe, cafe.tokens["owner"]) as client:
        codes = [
            (await client.say("subscribe", room=f"cafe:{cafe.id}:station:no-{number}")).get("code")
            for number in range(1_000)
        ]
        assert codes[:63] == [None] * 63  # and the door's own room
        assert set(codes[63:]) == {"TOO_MANY_SUBSCRIPTIONS"}
        assert (await client.say("unsubscribe", room=f"cafe:{cafe.id}:station:no-1"))["type"] == "unsubscribed"
        assert (await client.say("subscribe", room=f"cafe:{cafe.id}"))["type"] == "subscribed"
