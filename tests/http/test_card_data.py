"""No card number enters by any door (spec P10): it is refused by its field, and nowhere to be found after that: neither
in the database, nor in the log, nor in an answer.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tabletap.store.embedded import serving
from tabletap.store.pool import Connection, Database

from .server import Cafe, Server, fields_at_fault, new_key, problem_of

CARDS = ("4111111111111111", "5555555555554444", "378282246310005")


def spelled(card: str) -> tuple[str, ...]:
    """The ways in which it is sent."""
    fours = [card[place : place + 4] for place in range(0, len(card), 4)]
    return (card, " ".join(fours), "-".join(fours))


SPELLINGS = tuple(text for card in CARDS for text in spelled(card))
EVERYWHERE = (*SPELLINGS, *(card[4:] for card in CARDS))
"""What is searched for: each spelling, and the most of each number."""

TOAST = {"sku": "toast", "quantity": 1}


@pytest.fixture(scope="module")
def cafe(server: Server) -> Cafe:
    return server.open_cafe()


def order(**more: Any) -> dict[str, Any]:
    return {"channel": "online", "items": [TOAST], **more}


def bodies(card: str) -> Iterator[tuple[Any, str]]:
    """Orders with a card number somewhere, and where."""
    yield order(note=card), "note"
    yield order(note=f"please charge {card}, exp 12/27, thanks"), "note"
    yield order(items=[TOAST, {**TOAST, "note": card}]), "items.1.note"
    yield order(items=[{**TOAST, "sku": card}]), "items.0.sku"
    yield order(items=[{**TOAST, "modifiers": [{"group": card, "option": "x"}]}]), "items.0.modifiers.0.group"
    yield order(customer={"name": card}), "customer.name"
    yield order(customer={"name": "Ann", "phone": card}), "customer.phone"
    yield order(channel=card), "channel"
    yield order(nobodyReadsThis={"deep": [[{"er": card}]]}), "nobodyReadsThis.deep.0.0.er"
    yield order(**{card: 1}), ""
    yield [card], "0"
    yield card, ""


def numbers(card: str) -> Iterator[tuple[Any, str]]:
    """The same as a number of JSON."""
    yield order(items=[{"sku": "toast", "quantity": int(card)}]), "items.0.quantity"
    yield order(note=int(card)), "note"
    yield order(x=float(card)), "x"
    yield int(card), ""


CASES = [case for text in SPELLINGS for case in bodies(text)] + [case for card in CARDS for case in numbers(card)]


def told_nothing(answer: Any) -> None:
    """The answer to a request has none of it: neither its body nor its head."""
    whole = f"{answer.headers} {answer.text}"
    assert not [text for text in EVERYWHERE if text in whole], whole


def test_a_body_with_a_card_number_is_refused_by_its_field(server: Server, cafe: Cafe) -> None:
    before = server.footprint(cafe)
    for body, field in CASES:
        answer = server.call("POST", f"/api/{cafe.slug}/orders", cafe.tokens["staff"], body, key=new_key())
        told = problem_of(answer, 400, "CARD_DATA_REFUSED")
        assert fields_at_fault(told) == ({field} if field else set()), body
        told_nothing(answer)
    assert server.footprint(cafe) == before


def test_every_operation_that_takes_text_refuses_it(server: Server, cafe: Cafe) -> None:
    placed = server.place(cafe)
    payment = server.initiate(cafe, placed, amount=100)
    ident, card = payment["paymentId"], SPELLINGS[1]
    initiate = {"orderId": placed["id"], "paymentMethod": "cash"}
    for method, path, body, field in (
        ("POST", "/api/payments/initiate", {**initiate, "metadata": {"card": card}}, "metadata.card"),
        ("POST", "/api/payments/initiate", {**initiate, "metadata": {card: "x"}}, "metadata"),
        ("POST", "/api/payments/initiate", {**initiate, "customerId": card}, "customerId"),
        ("POST", "/api/payments/initiate", {**initiate, "amount": int(CARDS[0])}, "amount"),
        ("POST", f"/api/payments/{ident}/cancel", {"reason": card}, "reason"),
        ("POST", f"/api/payments/{ident}/refund", {"reason": card}, "reason"),
        ("POST", f"/api/orders/{placed['id']}/cancel", {"reason": card}, "reason"),
        ("PATCH", f"/api/orders/{placed['id']}", {"note": card}, "note"),
        ("POST", f"/api/{cafe.slug}/drawers", {"name": card, "floatAmount": 0}, "name"),
        ("PUT", f"/api/{cafe.slug}/settings", {**cafe.settings, "name": card}, "name"),
        ("PUT", f"/api/{cafe.slug}/settings", {**cafe.settings, "tables": ["1", card]}, "tables.1"),
    ):
        answer = server.call(method, path, server.admin, body, key=new_key())
        assert fields_at_fault(problem_of(answer, 400, "CARD_DATA_REFUSED")) == {field}
        told_nothing(answer)
    assert server.call("GET", f"/api/payments/{ident}/status", server.admin).json()["status"] == "pending"


def test_neither_escapes_nor_broken_json_bring_it_in(server: Server, cafe: Cafe) -> None:
    card = CARDS[0]
    escaped = "".join(f"\\u{ord(digit):04x}" for digit in card)
    for raw, code in (
        (f'{{"channel":"online","items":[{{"sku":"toast","quantity":1}}],"note":"{escaped}"}}', "CARD_DATA_REFUSED"),
        (f'{{"channel":"online","{escaped}":1,"items":[]}}', "CARD_DATA_REFUSED"),
        (f'{{"channel":"online","note":"{card}"', "CARD_DATA_REFUSED"),
        (f"channel=online&note={card}", "CARD_DATA_REFUSED"),
        (f'{{"channel":"é","note":"{card}"}}', "CARD_DATA_REFUSED"),
        ('{"note":"' + card.translate({ord(str(d)): 0xFF10 + d for d in range(10)}) + '"}', "CARD_DATA_REFUSED"),
        (f'{{"channel":"{card}","channel":"online","items":[]}}', "VALIDATION_ERROR"),  # of two, the last one counts
    ):
        answer = server.call("POST", f"/api/{cafe.slug}/orders", content=raw.encode())
        problem_of(answer, 400, code)
        told_nothing(answer)


def test_it_comes_in_by_no_path_query_or_key(server: Server, cafe: Cafe) -> None:
    for card in SPELLINGS:
        in_path = quote(card)
        for answer in (
            server.call("GET", f"/api/{cafe.slug}/orders?status={in_path}", server.admin),
            server.call("GET", f"/api/{cafe.slug}/kitchen?station={in_path}", server.admin),
            server.call("GET", f"/api/{cafe.slug}/kitchen?{in_path}=1", server.admin),
            server.call("GET", f"/api/{in_path}/menu"),
            server.call("GET", f"/api/orders/{in_path}", server.admin),
            server.call("GET", f"/api/{cafe.slug}/tables/{in_path}/qr.png"),
            server.call(
                "POST", f"/api/{cafe.slug}/menu/items/{in_path}/availability", server.admin, {"available": True}
            ),
            server.call("POST", f"/api/{cafe.slug}/orders", None, order(), key=card),
        ):
            problem_of(answer, 400, "CARD_DATA_REFUSED")
            told_nothing(answer)
        for path in (f"/{in_path}", f"/api/{in_path}", f"/static/{in_path}.js", f"/nowhere/{in_path}/x"):
            answer = server.call("GET", path)
            problem_of(answer, 404, "NOT_FOUND")
            told_nothing(answer)
        told_nothing(server.knock("orders", None, server.admin, cafe_=card))
        told_nothing(server.knock(in_path, cafe, server.admin))


async def test_it_comes_in_by_no_socket_message(server: Server, cafe: Cafe) -> None:
    card = CARDS[0]
    messages = [
        *({"op": "orders.place", "id": 1, "data": body} for body, _ in CASES),
        {"op": "ping", "id": card},
        {"op": "ping", "id": int(card)},
        {"op": "ping", "id": 1, "data": {"x": card}},
        {"op": card, "id": 1},
        {"op": "subscribe", "id": 1, "room": f"user:{card}"},
        {"op": "unsubscribe", "id": 1, "room": f"user:{card}"},
        {"op": "auth", "id": 1, "token": card},
        {"op": "orders.get", "id": 1, "data": {"orderId": card}},
        {"op": "orders.place", "id": 1, "data": order(), "idempotencyKey": card},
        {"op": "orders.place", "id": 1, "data": order(), card: 1},
    ]
    before = server.footprint(cafe)
    async with server.socket("orders", cafe, cafe.tokens["owner"]) as client:
        for message in messages:
            await client.send(json.dumps(message))
            answer = await client.next()
            assert (answer["type"], answer["code"]) == ("error", "CARD_DATA_REFUSED"), message
            assert answer.get("id") == (1 if message["id"] == 1 else None)
            assert not [text for text in EVERYWHERE if text in str(answer)]
        for broken in (f'{{"op":"ping","id":"{card}"', f'{{"op":{card},"id":1}}', f'{{"id":"{card}"}}', card):
            await client.send(broken)
            answer = await client.next()
            assert answer["type"] == "error"
            assert card not in str(answer)
        await client.send(json.dumps({"op": "orders.place", "id": 2, "data": order(items=[{**TOAST, "note": card}])}))
        assert fields_at_fault(await client.next()) == {"items.0.note"}
        assert await client.silence() == []
    assert server.footprint(cafe) == before


async def everything(server: Server) -> str:
    """Every row of every table, as text; bytes as the text they hold."""
    dsn = serving(server.state)
    assert dsn is not None

    async def work(connection: Connection) -> str:
        columns = await connection.fetch(
            """SELECT table_name, string_agg(
                   CASE data_type WHEN 'bytea' THEN format('encode(%1$I, ''escape'')', column_name)
                                  ELSE format('%1$I::text', column_name) END, ', ')
               FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name"""
        )
        rows = [await connection.fetch(f"SELECT concat_ws(' | ', {of}) FROM \"{table}\"") for table, of in columns]
        return "\n".join(row[0] for table in rows for row in table)

    async with Database.open(dsn) as database:
        return await database.read(work)


async def test_after_all_this_it_is_neither_in_the_database_nor_in_the_log(server: Server, cafe: Cafe) -> None:
    for body, _ in CASES:
        server.call("POST", f"/api/{cafe.slug}/orders", cafe.tokens["staff"], body, key=new_key())
    async with server.socket("orders", cafe, cafe.tokens["owner"]) as client:
        for body, _ in CASES:
            assert (await client.perform("orders.place", body, key=new_key()))["type"] == "error"
    marker = f"marker {new_key()}"
    placed = server.call("POST", f"/api/{cafe.slug}/orders", cafe.tokens["staff"], order(note=marker), key=new_key())
    assert placed.status_code == 201
    kept = await everything(server)
    assert kept.count(marker) >= 3, "the search would not find it: in the event, in the order and in the answer"
    assert not [text for text in EVERYWHERE if text in kept]
    log = (server.state.parent / "server.log").read_text()
    assert not [text for text in EVERYWHERE if text in log]


def test_what_only_has_many_digits_is_taken(server: Server, cafe: Cafe) -> None:
    for note in ("call 0400 123 456 or 0400 123 457", new_key(), "DK5000400440116243", "4111111111111112", "9" * 40):
        answer = server.call("POST", f"/api/{cafe.slug}/orders", None, order(note=note), key=new_key())
        assert answer.status_code == 201, answer.text
