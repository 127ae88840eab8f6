"""Tills (spec S1-S4, S6): keys, the door, cursors, the same events by socket and by REST, and what is written down."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from .server import Cafe, Server, Socket, fields_at_fault, of_till, problem_of, until


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe(prepay=[])


def move(server: Server, cafe: Cafe, order: Mapping[str, Any], *moves: str) -> None:
    for name in moves:
        moved = server.call("POST", f"/api/orders/{order['id']}/{name}", cafe.tokens["owner"])
        assert moved.status_code == 200, moved.text


def events_by_rest(server: Server, cafe: Cafe, key: str, after: int, limit: int = 500) -> list[Any]:
    """All that tills are told after an offset, by pages."""
    found: list[Any] = []
    while True:
        page = server.ask(cafe, key, "events", after=after, limit=limit).json()
        found += page["events"]
        if page["cursor"] == after or not page["events"]:
            return found
        after = page["cursor"]


async def heard(till: Socket, last: Mapping[str, Any], status: str) -> list[Any]:
    """The events up to the one with which an order comes to a status."""
    await till.until(
        lambda one: (
            one["type"].startswith(("new_", "order_"))
            and (one["data"]["orderId"], one["data"]["order"]["status"]) == (last["id"], status)
        )
    )
    return [one for one in till.heard if "eventId" in one]


# -- what they hear


async def test_a_till_hears_online_and_table_orders_whole_and_never_one_of_the_counter(
    server: Server, cafe: Cafe
) -> None:
    async with server.till(cafe, server.key(cafe)["key"]) as till:
        mine = server.place(cafe)
        counter = server.place(cafe, cafe.tokens["counter"], channel="counter")
        table = server.place(cafe, channel="table", table="1")
        for order in (counter, mine, table):
            move(server, cafe, order, "start", "ready", "complete")
        told = await heard(till, table, "completed")
    assert counter["id"] not in json.dumps(told)
    for order in (mine, table):
        about = [one for one in told if one["data"]["orderId"] == order["id"]]
        assert about[0]["type"] == "new_order"
        assert {one["type"] for one in about[1:]} == {"order_updated"}
        statuses = list(dict.fromkeys(one["data"]["order"]["status"] for one in about))
        assert statuses == ["pending", "preparing", "ready", "completed"]
        assert {one["data"]["order"]["total"] for one in about} == {order["total"]}
        assert about[-1]["data"]["order"]["items"][0]["status"] == "served"


async def test_a_till_hears_of_every_status_that_an_order_comes_to(server: Server) -> None:
    cafe = server.open_cafe(prepay=["online"])
    async with server.till(cafe, server.key(cafe)["key"]) as till:
        paid, cancelled = server.place(cafe), server.place(cafe)
        payment = server.initiate(cafe, paid)
        server.verify(cafe, payment, tendered=100_000)
        move(server, cafe, paid, "start", "ready", "complete")
        move(server, cafe, cancelled, "cancel")
        told = await heard(till, cancelled, "cancelled")
    orders = [one["data"]["order"] for one in told if one["data"]["orderId"] == paid["id"]]
    statuses = ["pending", "payment_pending", "paid", "preparing", "ready", "completed"]
    assert list(dict.fromkeys(order["status"] for order in orders)) == statuses
    assert [(order["owed"], order["paymentStatus"]) for order in orders if order["status"] == "paid"][-1] == (
        0,
        "completed",
    )


async def test_a_till_hears_of_gift_cards_and_points_by_socket_and_by_rest(server: Server) -> None:
    cafe = server.open_cafe(loyalty={"pointsPerUnit": 2, "centsPerPoint": 5})
    key = server.key(cafe)["key"]
    async with server.till(cafe, key) as till:
        order = server.place(cafe, giftCards=[{"value": 5_000}], customer={"phone": "0412 345 678"})
        server.pay(cafe, order)
        sold = await till.until(lambda one: one["type"] == "gift_card_purchased")
        earned = await till.until(lambda one: one["type"] == "loyalty_updated")
        given = server.ask(cafe, key, "loyalty/0412345678/add", {"points": 5})
        added = await till.until(
            lambda one: one["type"] == "loyalty_updated" and one["offset"] > earned["offset"],
        )
        told = [one for one in till.heard if "eventId" in one]
    assert sold["data"]["balance"] == 5_000
    assert (earned["data"]["phone"], earned["data"]["points"] + 5) == ("+61412345678", added["data"]["points"])
    assert added["data"]["points"] == given.json()["points"]
    asked = events_by_rest(server, cafe, key, 0)
    assert [one for one in asked if one["offset"] <= told[-1]["offset"]] == told


async def test_a_till_is_told_again_what_it_has_not_acknowledged_and_nothing_else(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe)["key"]
    async with server.till(cafe, key) as till:
        first, second = server.place(cafe), server.place(cafe)
        told = await heard(till, second, "pending")
        offset = next(one["offset"] for one in told if one["data"]["orderId"] == first["id"])
        assert (await till.say("ack", offset=offset))["data"] == {"cursor": offset}
        assert (await till.say("ack", offset=offset - 1))["data"] == {"cursor": offset}, "it never goes back"
        for wrong in ({}, {"offset": -1}, {"offset": 1 << 40}):
            assert fields_at_fault(await till.say("ack", **wrong)) == {"offset"}
    async with server.till(cafe, key) as till:
        assert till.welcome["cursor"] == offset
        again = await heard(till, second, "pending")
        assert [one["data"]["orderId"] for one in again] == [second["id"]]
        assert again == [one for one in told if one["offset"] > offset], "as it was told the first time"
    async with server.socket("orders", cafe, cafe.tokens["staff"]) as somebody:
        assert (await somebody.say("ack", offset=1))["code"] == "FORBIDDEN"


async def test_a_till_that_has_acknowledged_all_it_was_told_is_as_far_as_its_cafe(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe)["key"]
    async with server.till(cafe, key) as till:
        order = server.place(cafe)
        told = await heard(till, order, "pending")
        await till.say("ack", offset=told[-1]["offset"])
        server.place(cafe, cafe.tokens["counter"], channel="counter")  # nothing to tills
        status = until(lambda: (found := server.ask(cafe, key, "pos-status").json())["connections"] and found)
        assert [one["lag"] for one in status["connections"]] == [0]
        assert status["connections"][0]["cursor"] == status["offset"] > told[-1]["offset"]
    async with server.till(cafe, key) as till:
        assert till.welcome["cursor"] >= status["offset"]
        assert [one for one in await till.silence() if "eventId" in one] == []


async def test_each_till_of_a_key_has_a_cursor_of_its_own_and_keeps_it_when_the_key_is_rotated(
    server: Server, cafe: Cafe
) -> None:
    made = server.key(cafe, name="Front")
    async with server.till(cafe, made["key"]) as front, server.till(cafe, made["key"], till="bar") as bar:
        assert (front.welcome["till"], bar.welcome["till"]) == ("Front", "bar")
        order = server.place(cafe)
        told = await heard(front, order, "pending")
        assert await heard(bar, order, "pending") == told
        await front.say("ack", offset=told[-1]["offset"])
        status = server.ask(cafe, made["key"], "pos-status").json()
        cursors = {one["till"]: one["cursor"] for one in status["connections"]}
        assert cursors["Front"] >= told[-1]["offset"] > cursors["bar"]
    rotated = server.call(
        "POST", f"/api/{cafe.slug}/pos-keys/{made['keyId']}/rotate", cafe.tokens["owner"], {"overlapHours": 1}
    ).json()
    async with server.till(cafe, rotated["key"], till="bar") as bar:
        assert await heard(bar, order, "pending") == told
    async with server.till(cafe, made["key"]) as front:  # as it was, for an hour
        assert [one for one in await front.silence() if "eventId" in one] == []


async def test_a_till_that_was_away_for_a_thousand_events_has_each_once_by_socket_and_by_rest(
    server: Server, cafe: Cafe
) -> None:
    key = server.key(cafe)["key"]
    async with server.till(cafe, key) as till:
        after = till.welcome["cursor"]
    orders = []
    while len(orders) * 7 < 1_000:
        orders.append(server.place(cafe, items=[{"sku": "toast", "quantity": 1}, {"sku": "beans", "quantity": 1}]))
        updates = [{"orderId": orders[-1]["id"], "move": name} for name in ("start", "ready", "complete")]
        results = server.ask(cafe, key, "orders/batch", {"updates": updates}).json()["results"]
        assert [one["order"]["status"] for one in results] == ["preparing", "ready", "completed"]
    async with server.till(cafe, key) as till:
        told = await heard(till, orders[-1], "completed")
        assert till.welcome["cursor"] == after
    offsets = [one["offset"] for one in told]
    assert len(offsets) > 700
    assert offsets == sorted(set(offsets))
    assert [one["data"]["orderId"] for one in told if one["type"] == "new_order"] == [order["id"] for order in orders]
    assert events_by_rest(server, cafe, key, after) == told
    assert events_by_rest(server, cafe, key, after, limit=37) == told
    pending = server.ask(cafe, key, "orders/pending", after=after, limit=500).json()
    expected = [{"offset": one["offset"], "event": one["type"], **one["data"]["order"]} for one in told[:500]]
    assert pending == {"orders": expected, "cursor": told[499]["offset"]}


# -- REST


def test_without_a_cursor_a_till_gets_the_orders_that_are_open_and_the_cursor_from_which_to_go_on(
    server: Server, cafe: Cafe
) -> None:
    key = server.key(cafe, "read")["key"]
    open_, done = server.place(cafe), server.place(cafe)
    server.place(cafe, cafe.tokens["counter"], channel="counter")
    move(server, cafe, done, "start", "ready", "complete")
    found = server.ask(cafe, key, "orders/pending").json()
    assert [order["id"] for order in found["orders"]] == [open_["id"]]
    assert server.ask(cafe, key, "orders/pending", after=found["cursor"]).json()["orders"] == []
    move(server, cafe, open_, "start")
    then = server.ask(cafe, key, "orders/pending", after=found["cursor"], wait=20).json()
    assert {order["id"] for order in then["orders"]} == {open_["id"]}
    assert then["cursor"] > found["cursor"]


def test_who_names_its_till_acknowledges_by_asking_and_who_does_not_moves_nothing(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe, "read", name="Bar")["key"]
    server.ask(cafe, key, "orders/pending", till="poller")  # is known from now on
    cursor = server.ask(cafe, key, "orders/pending", after=0).json()["cursor"]

    def tills() -> dict[str, int]:
        return {one["till"]: one["cursor"] for one in server.ask(cafe, key, "pos-status").json()["tills"]}

    assert server.ask(cafe, key, "events", after=cursor).status_code == 200
    assert tills() == {}
    server.place(cafe)
    later = server.ask(cafe, key, "orders/pending", after=cursor, till="poller").json()["cursor"]
    assert server.ask(cafe, key, "orders/pending", after=later, till="poller").status_code == 200
    assert tills() == {"poller": later}
    problem_of(server.ask(cafe, key, "orders/pending", after=later + 1_000, till="poller"), 400, "VALIDATION_ERROR")
    for query in ({"after": "x"}, {"after": -1}, {"wait": 26}, {"limit": 0}, {"till": "4111 1111 1111 1111"}):
        assert server.ask(cafe, key, "orders/pending", **query).status_code == 400


def test_the_headers_of_a_till_are_checked_each_for_itself(server: Server, cafe: Cafe) -> None:
    key, path = server.key(cafe)["key"], f"/api/{cafe.slug}/health"
    healthy = server.ask(cafe, key, "health").json()
    assert (healthy["status"], healthy["tenant"]) == ("healthy", cafe.slug)
    problem_of(server.call("GET", path, headers={"X-Tenant-ID": cafe.slug}), 401, "AUTH_REQUIRED")
    missing = problem_of(server.call("GET", path, headers={"X-API-Key": key}), 400, "VALIDATION_ERROR")
    assert fields_at_fault(missing) == {"X-Tenant-ID"}
    for tenant, slug in ((server.b.slug, cafe.slug), (cafe.slug, server.b.slug), (server.b.slug, server.b.slug)):
        headers = {"X-API-Key": key, "X-Tenant-ID": tenant}
        problem_of(server.call("GET", f"/api/{slug}/health", headers=headers), 403, "FORBIDDEN")
    nowhere = {"X-API-Key": key, "X-Tenant-ID": "nowhere"}
    problem_of(server.call("GET", "/api/nowhere/health", headers=nowhere), 404, "NOT_FOUND")
    for wrong in ("tt_", "tt_" + "x" * 43, "x" * 5_000, key[:-1], key + "x"):
        problem_of(server.call("GET", path, headers=of_till(cafe, wrong)), 401, "INVALID_TOKEN")


# -- keys


def test_a_key_is_shown_once_and_its_use_is_seen(server: Server, cafe: Cafe) -> None:
    path, owner = f"/api/{cafe.slug}/pos-keys", cafe.tokens["owner"]
    made = server.key(cafe, "read", name="Front")
    assert made["key"].startswith(made["hint"])
    listed = server.call("GET", path, owner)
    assert made["key"] not in listed.text
    assert "lastUsedAt" not in listed.json()["keys"][0]
    assert server.ask(cafe, made["key"], "health").status_code == 200
    assert "lastUsedAt" in server.call("GET", path, owner).json()["keys"][0]
    for body in ({"name": "Front"}, {"name": ""}, {"name": "\t"}, {"name": "x", "scopes": []}, {"name": "x" * 65}):
        problem_of(server.call("POST", path, owner, body), 400, "VALIDATION_ERROR")


async def test_a_revoked_key_closes_its_sockets_and_does_nothing_any_more(server: Server, cafe: Cafe) -> None:
    made, other = server.key(cafe), server.key(cafe)
    async with server.till(cafe, made["key"]) as till, server.till(cafe, other["key"]) as stays:
        revoked = server.call("DELETE", f"/api/{cafe.slug}/pos-keys/{made['keyId']}", cafe.tokens["owner"])
        assert revoked.json()["revokedAt"]
        problem_of(server.ask(cafe, made["key"], "health"), 401, "INVALID_TOKEN")
        assert await till.close_code() == 4001
        assert (await stays.say("ping"))["data"] == {"pong": True}
    problem_of(server.knock("pos", cafe, None, headers={"X-API-Key": made["key"]}), 401, "INVALID_TOKEN")
    again = server.call("DELETE", f"/api/{cafe.slug}/pos-keys/{made['keyId']}", cafe.tokens["owner"])
    problem_of(again, 404, "NOT_FOUND")


async def test_a_key_that_is_rotated_without_overlap_ends_at_once(server: Server, cafe: Cafe) -> None:
    made = server.key(cafe)
    path = f"/api/{cafe.slug}/pos-keys/{made['keyId']}/rotate"
    async with server.till(cafe, made["key"]) as till:
        rotated = server.call("POST", path, cafe.tokens["owner"], {"overlapHours": 0}).json()
        assert await till.close_code() == 4001
    problem_of(server.ask(cafe, made["key"], "health"), 401, "TOKEN_EXPIRED")
    assert server.ask(cafe, rotated["key"], "health").status_code == 200


async def test_wrong_keys_are_told_to_the_admin_door_of_the_cafe_at_which_they_were_shown(
    server: Server, cafe: Cafe
) -> None:
    async with server.socket("admin", cafe, cafe.tokens["manager"]) as admin:
        await admin.say("ping")  # from now on it is in its rooms: an alert is told to who is there
        for number in range(10):
            wrong = of_till(cafe, f"tt_guess{number}")
            problem_of(server.call("GET", f"/api/{cafe.slug}/health", headers=wrong), 401, "INVALID_TOKEN")
        alert = await admin.until(lambda one: one["type"] == "alert_raised" and one["data"]["kind"] == "wrong_keys")
    assert alert["data"]["count"] == 10
    assert "tt_guess" not in json.dumps(admin.heard)


# -- what is seen of them


async def test_what_passes_is_in_the_log_and_a_test_reaches_the_tills(server: Server, cafe: Cafe) -> None:
    made, owner = server.key(cafe, name="Front"), cafe.tokens["owner"]

    def lines() -> list[Any]:
        found: list[Any] = server.call("GET", f"/api/{cafe.slug}/pos-logs", owner).json()["lines"]
        return found

    async with server.till(cafe, made["key"]) as till:
        order = server.place(cafe)
        told = await heard(till, order, "pending")
        await till.say("ack", offset=told[-1]["offset"])
        tested = server.call("POST", f"/api/{cafe.slug}/pos-test", owner, {"text": "hello, tills"})
        assert tested.json() == {"heard": 1}
        assert (await till.until(lambda one: one["type"] == "till_tested"))["data"]["text"] == "hello, tills"
        server.ask(cafe, made["key"], "orders/batch", {"updates": []})
        server.call("GET", f"/api/{cafe.slug}/health", headers=of_till(cafe, "tt_wrong"))
    found = until(lambda: (seen := lines()) and len({one["kind"] for one in seen}) == 7 and seen)
    by_kind = {one["kind"]: one for one in found}
    assert by_kind.keys() == {"connect", "push", "ack", "test", "call", "refused", "disconnect"}
    push = by_kind["push"]
    assert (push["till"], push["keyId"], push["lastOffset"]) == ("Front", made["keyId"], told[-1]["offset"])
    assert sum(one["events"] for one in found if one["kind"] == "push") == len(told)
    assert (by_kind["call"]["what"], by_kind["call"]["status"]) == ("pos.batch", 400)
    assert "tt_" not in json.dumps(found)
    status = server.call("GET", f"/api/{cafe.slug}/pos-status", owner).json()
    assert status["connections"] == []
    (till_now,) = status["tills"]
    assert (till_now["till"], till_now["connected"]) == ("Front", False)
