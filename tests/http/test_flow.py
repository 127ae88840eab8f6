"""A cafe's day, as its customers and its people live it: by REST and by sockets, from another process."""

import base64
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import zxingcpp
from PIL import Image

from tabletap.domain.vocabulary import Queue
from tabletap.http.operations import OPERATIONS

from .server import BANK, ROLES, Cafe, Server, Socket, new_key, problem_of

MUG_WITH_OAT = {
    "sku": "flat-white",
    "quantity": 2,
    "modifiers": [
        {"group": "size", "option": "mug"},
        {"group": "milk", "option": "oat"},
        {"group": "brand", "option": "house"},
    ],
    "note": "extra hot",
}
TOAST = {"sku": "toast", "quantity": 1}


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe()


def read_code(picture: bytes) -> str:
    """What a QR reader that is not ours makes of a picture."""
    with Image.open(io.BytesIO(picture)) as image:
        (found,) = zxingcpp.read_barcodes(image.convert("L"))
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return str(found.text)


def move(server: Server, cafe: Cafe, order: Any, verb: str, role: str = "kitchen", body: Any = None) -> Any:
    answer = server.call("POST", f"/api/orders/{order['id']}/{verb}", cafe.tokens[role], body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def of_order(order: Any) -> Any:
    """Picks the messages that are about an order."""
    return lambda message: order["id"] in (message.get("data") or {}).get("orderId", "")


def events(socket: Socket, room: str) -> list[Any]:
    heard = [message for message in socket.heard if "eventId" in message and message["room"] == room]
    offsets = [message["offset"] for message in heard]
    assert offsets == sorted(set(offsets))
    return heard


async def test_an_order_goes_its_way_from_the_basket_to_the_table(server: Server, cafe: Cafe) -> None:
    async with server.socket("kitchen", cafe, cafe.tokens["kitchen"]) as kitchen:
        order = server.place(cafe, items=[MUG_WITH_OAT, TOAST], note="we are outside", customer={"name": "Ann"})
        shown = (await kitchen.until(of_order(order)))["data"]["order"]
        assert shown["items"] == order["items"]
        assert [item["total"] for item in order["items"]] == [2 * (520 + 80 + 20), 723]
        assert (order["number"], order["total"], order["currency"], order["customerName"]) == (1, 1963, "AUD", "Ann")
        assert order["tax"] == round(1240 / 11) + round(723 / 11)
        assert order["status"] == order["paymentStatus"] == "pending"

        async with server.socket("customers", None, order["trackingToken"]) as customer:
            begun = server.initiate(cafe, order)
            assert (begun["amount"], begun["rounding"], begun["totalAmount"]) == (1963, 2, 1965)
            paid = server.verify(cafe, begun, tendered=2000)
            assert (paid["status"], paid["change"], paid["rounding"]) == ("completed", 35, 2)
            assert server.order(cafe, order)["paymentStatus"] == "completed"

            assert move(server, cafe, order, "items/1/start")["status"] == "preparing"
            assert move(server, cafe, order, "items/1/bump")["items"][0]["status"] == "ready"
            assert move(server, cafe, order, "items/2/bump")["status"] == "ready"
            assert move(server, cafe, order, "complete", "counter")["status"] == "completed"

            room = f"order:{order['id']}"
            await customer.until(lambda message: (message.get("data") or {}).get("status") == "completed")
            await customer.silence()
            told = [
                (event["type"], event["data"].get("status"))
                for event in events(customer, room)
                if event["type"] in {"order_status_changed", "order_ready", "payment_initiated", "payment_completed"}
            ]
            assert told == [
                ("order_status_changed", "payment_pending"),
                ("payment_initiated", "pending"),
                ("payment_completed", "completed"),
                ("order_status_changed", "paid"),
                ("order_status_changed", "preparing"),
                ("order_ready", "ready"),
                ("order_status_changed", "completed"),
            ]
        assert server.order(cafe, order)["items"][0]["status"] == "served"


async def test_a_client_that_comes_back_gets_exactly_what_it_missed(server: Server, cafe: Cafe) -> None:
    room = f"cafe:{cafe.id}:staff"
    async with server.socket("orders", cafe, cafe.tokens["staff"]) as witness:
        first = server.place(cafe)
        seen = await witness.until(of_order(first))
        orders = [server.place(cafe) for _ in range(5)]
        move(server, cafe, orders[0], "start")
        move(server, cafe, orders[0], "ready")
        last = server.place(cafe)
        await witness.until(of_order(last))
        await witness.silence()
        missed = [event for event in events(witness, room) if event["offset"] > seen["offset"]]
        assert len(missed) > 6

        async with server.socket("orders", cafe, cafe.tokens["staff"], after=seen["offset"]) as back:
            await back.until(of_order(last))
            await back.silence()
            head = missed[-1]["offset"]
            assert [event for event in events(back, room) if event["offset"] <= head] == missed
        async with server.socket("kitchen", cafe, cafe.tokens["staff"]) as other:
            answer = await other.say("subscribe", room=room, after=seen["offset"])
            assert (answer["type"], answer["recovered"], answer["offset"]) == ("subscribed", True, seen["offset"])
            await other.until(lambda event: event.get("room") == room and event.get("offset") == head)
            assert [event for event in events(other, room) if event["offset"] <= head] == missed
            far = await other.say("subscribe", room=room, after=10**9)
            assert far["type"] == "resync"
            assert {order["id"] for order in far["snapshot"]["orders"]} >= {order["id"] for order in orders}


def test_the_code_of_a_transfer_says_what_to_pay(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    begun = server.initiate(cafe, order, "qr_code_bank_transfer", tipAmount=100)
    head, _, data = begun["qrCodeData"].partition(",")
    assert head == "data:image/png;base64"
    picture = base64.b64decode(data)
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (256, 256)
    told = json.loads(read_code(picture))
    assert told["amount"] == begun["totalAmount"] == order["total"] + 100
    assert told["reference"] == begun["reference"]
    assert {name: told[name] for name in BANK} == BANK
    assert told["currency"] == "AUD"
    paid = server.verify(cafe, begun, received=begun["totalAmount"] + 50)
    assert (paid["status"], paid["surplus"]) == ("completed", 50)
    assert "qrCodeData" not in paid


def test_the_code_of_a_table_opens_its_page(server: Server, cafe: Cafe) -> None:
    tables = server.call("GET", f"/api/{cafe.slug}/tables", cafe.tokens["staff"]).json()["tables"]
    assert [table["name"] for table in tables] == list(cafe.settings["tables"])
    for table in tables:
        png, svg = server.http.get(table["png"]), server.http.get(table["svg"])
        assert png.headers["content-type"] == "image/png"
        assert read_code(png.content) == table["url"]
        page = server.http.get(table["url"])
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert svg.headers["content-type"] == "image/svg+xml"
        assert re.search(rb"<svg[^>]*>.*<path", svg.content, re.DOTALL)
        assert httpx.URL(table["url"]).params["table"] == table["name"]


def test_an_order_for_later_does_not_reach_the_kitchen_yet(server: Server, cafe: Cafe) -> None:
    moment = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
    later, now = server.place(cafe, scheduledFor=moment), server.place(cafe, scheduledFor="ASAP")
    assert (later["inKitchen"], now["inKitchen"]) == (False, True)
    assert datetime.fromisoformat(later["scheduledFor"]) - datetime.fromisoformat(moment) < timedelta(seconds=1)
    screen = server.call("GET", f"/api/{cafe.slug}/kitchen", cafe.tokens["kitchen"]).text
    assert now["id"] in screen
    assert later["id"] not in screen
    answer = server.call("POST", f"/api/orders/{later['id']}/start", cafe.tokens["kitchen"])
    problem_of(answer, 409, "ILLEGAL_MOVE")


async def test_where_the_cafe_approves_the_kitchen_hears_of_an_order_when_it_is_accepted(server: Server) -> None:
    cafe = server.open_cafe(approval=True)
    async with server.socket("kitchen", cafe, cafe.tokens["kitchen"]) as kitchen:
        order = server.place(cafe)
        assert (order["accepted"], order["inKitchen"]) == (False, False)
        assert not [event for event in await kitchen.silence() if order["id"] in str(event)]
        assert move(server, cafe, order, "accept", "staff")["inKitchen"]
        told = await kitchen.until(of_order(order))
        assert told["type"] == "new_order"
        assert told["data"]["order"]["items"] == order["items"]


async def test_where_the_cafe_is_paid_first_the_kitchen_hears_of_an_order_when_it_is_paid(server: Server) -> None:
    cafe = server.open_cafe(prepay=["online"])
    async with server.socket("kitchen", cafe, cafe.tokens["kitchen"]) as kitchen:
        order = server.place(cafe)
        server.verify(cafe, server.initiate(cafe, order, amount=100), tendered=100)
        assert not [event for event in await kitchen.silence() if order["id"] in str(event)]
        server.pay(cafe, order)
        told = await kitchen.until(of_order(order))
        assert told["type"] == "new_paid_order"
        at_the_till = server.place(cafe, cafe.tokens["counter"], channel="counter")
        assert at_the_till["inKitchen"]


async def test_what_has_sold_out_since_is_not_charged_for(server: Server) -> None:
    cafe = server.open_cafe(prepay=["online"])
    order = server.place(cafe)
    async with server.socket("customers", cafe, cafe.tokens["customer"]) as basket:
        await basket.say("subscribe", room=f"cafe:{cafe.id}:customers")
        path = f"/api/{cafe.slug}/menu/items/toast/availability"
        answer = server.call("POST", path, cafe.tokens["kitchen"], {"available": False})
        assert [item["available"] for item in answer.json()["menu"]["items"]] == [True, False, True]
        news = await basket.until(lambda message: message["type"] == "menu_updated")
        assert (news["data"]["sku"], news["data"]["available"]) == ("toast", False)
    body = {"orderId": order["id"], "paymentMethod": "cash"}
    answer = server.call("POST", "/api/payments/initiate", order["trackingToken"], body, key=new_key())
    problem_of(answer, 409, "ITEM_UNAVAILABLE")
    now = server.order(cafe, order)
    assert (now["status"], now["paid"]) == ("pending", 0)
    placing = server.call("POST", f"/api/{cafe.slug}/orders", None, {"channel": "online", "items": [TOAST]})
    problem_of(placing, 409, "ITEM_UNAVAILABLE")
    assert server.call("POST", path, cafe.tokens["kitchen"], {"available": True}).status_code == 200
    server.pay(cafe, order)


def test_tables_move_and_become_one(server: Server, cafe: Cafe) -> None:
    one, two = (server.place(cafe, channel="table", table=table) for table in ("1", "2"))
    assert move(server, cafe, one, "move", "staff", {"table": "Terrace 3"})["table"] == "Terrace 3"
    answer = server.call("POST", f"/api/orders/{one['id']}/move", cafe.tokens["staff"], {"table": "99"})
    problem_of(answer, 400, "VALIDATION_ERROR")
    merged = move(server, cafe, two, "merge", "staff", {"into": one["id"]})
    assert (merged["status"], merged["mergedInto"]) == ("cancelled", one["id"])
    whole = server.order(cafe, one)
    assert len(whole["items"]) == 2
    assert whole["owed"] == one["total"] + two["total"]
    assert server.order(cafe, two)["owed"] == 0


def test_a_drawer_knows_what_must_be_in_it(server: Server, cafe: Cafe) -> None:
    def till(name: str, /, **fields: Any) -> httpx.Response:
        return server.perform(name, {"cafe": cafe.slug, **fields}, cafe.tokens["counter"], key=new_key())

    opened = till("drawers.open", name="Front", floatAmount=20_000)
    assert opened.status_code == 201
    drawer_id = opened.json()["drawerId"]
    payment = server.initiate(cafe, server.place(cafe))
    server.verify(cafe, payment, tendered=5_000, drawerId=drawer_id)
    assert till("drawers.pay", drawerId=drawer_id, amount=-500, reason="milk").status_code == 200
    refund = {"amount": 100, "drawerId": drawer_id}
    path = f"/api/payments/{payment['paymentId']}/refund"
    assert server.call("POST", path, cafe.tokens["counter"], refund, key=new_key()).status_code == 200
    now = till("drawers.get", drawerId=drawer_id).json()
    assert now["expected"] == 20_000 + payment["totalAmount"] - 500 - 100
    counted = till("drawers.count", drawerId=drawer_id, counted=now["expected"] - 5).json()
    assert (counted["difference"], counted["counted"]) == (-5, now["expected"] - 5)
    problem_of(till("drawers.pay", drawerId=drawer_id, amount=1, reason="late"), 409, "DRAWER_CLOSED")


def test_money_is_given_back_up_to_what_was_paid(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    paid = server.pay(cafe, order)
    path = f"/api/payments/{paid['paymentId']}/refund"

    def refund(**body: Any) -> httpx.Response:
        return server.call("POST", path, cafe.tokens["manager"], body, key=new_key())

    part = refund(amount=200, reason="cold toast").json()
    assert (part["status"], part["refundedAmount"]) == ("partially_refunded", 200)
    problem_of(refund(amount=paid["received"]), 409, "REFUND_EXCEEDS_ORIGINAL")
    rest = refund().json()
    assert (rest["status"], rest["refundedAmount"]) == ("refunded", paid["received"])
    problem_of(refund(), 409, "ILLEGAL_MOVE")
    now = server.order(cafe, order)
    assert (now["paymentStatus"], now["paid"], now["owed"]) == ("refunded", 0, 0)
    listed = server.call("GET", f"/api/orders/{order['id']}/payments", cafe.tokens["staff"]).json()["payments"]
    assert [one["paymentId"] for one in listed] == [paid["paymentId"]]
    assert [refund["amount"] for refund in listed[0]["refunds"]] == [200, paid["received"] - 200]


def test_a_customer_changes_and_cancels_an_order_until_it_is_made(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    token, path = order["trackingToken"], f"/api/orders/{order['id']}"
    changed = server.call("PATCH", path, token, {"add": [{"sku": "beans", "quantity": 1}], "remove": [1], "note": "hi"})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["total"], changed.json()["note"]) == (1600, "hi")
    move(server, cafe, order, "start")
    problem_of(server.call("PATCH", path, token, {"note": "wait"}), 409, "ILLEGAL_MOVE")
    problem_of(server.call("POST", f"{path}/cancel", token), 409, "ILLEGAL_MOVE")
    assert server.call("POST", f"{path}/cancel", cafe.tokens["staff"], {"reason": "burnt"}).status_code == 200


def test_a_list_of_orders_is_read_page_by_page(server: Server, cafe: Cafe) -> None:
    placed = [server.place(cafe)["id"] for _ in range(5)]
    path, seen, before = f"/api/{cafe.slug}/orders", [], None
    while page := server.call(
        "GET", path, cafe.tokens["staff"], params={"limit": 2, **({"before": before} if before else {})}
    ).json()["orders"]:
        seen += [order["id"] for order in page]
        before = seen[-1]
    assert seen == placed[::-1]
    server.call("POST", f"/api/orders/{placed[2]}/cancel", cafe.tokens["staff"])
    active = server.call("GET", f"{path}?status=active", cafe.tokens["staff"]).json()["orders"]
    assert [order["id"] for order in active] == placed[:2] + placed[3:]


def test_the_operators_doors_say_how_the_house_is(server: Server, cafe: Cafe) -> None:
    server.pay(cafe, server.place(cafe))
    for path in ("/health", "/health/db", "/health/ready"):
        assert server.call("GET", path).json()["status"] in {"healthy", "ready"}
    info = server.call("GET", "/info").json()
    assert info["operations"] == len(OPERATIONS)
    metrics = server.call("GET", "/metrics").text
    for name in (
        'payment_transactions_total{method="cash",status="completed"}',
        "payment_amount_dollars_bucket",
        "payment_processing_duration_seconds",
        "payment_active_transactions",
        "payment_refunds_total",
        "tabletap_actors_live",
        "tabletap_commits",
        "tabletap_sockets",
        "tabletap_rooms",
        "tabletap_outbox_delivered",
        "# HELP tabletap_queue_jobs Jobs in a queue now, by state",
        "# TYPE tabletap_queue_jobs gauge",
        "# TYPE tabletap_queue_oldest_due_seconds gauge",
        "# TYPE tabletap_queue_attempts_total counter",
        *(f'tabletap_queue_jobs{{queue="{queue}",state="dead"}} 0.0' for queue in Queue),
    ):
        assert name in metrics
    document = server.call("GET", "/openapi.json").json()
    told = {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert told == {name: (operation.method, operation.path) for name, operation in OPERATIONS.items()}


def test_the_demo_tells_how_to_try_it(server: Server) -> None:
    path = server.state / "demo.json"
    told = json.loads(path.read_text())
    assert path.stat().st_mode & 0o077 == 0
    assert told["url"] == server.url
    assert told["tokens"].keys() == set(ROLES)
    assert told["posApiKey"]
    pages = told["pages"]
    assert pages.keys() == {"menu", "menuSignedIn", "kitchen", "counter", "manage"}
    assert pages["counter"].endswith(f"/counter#token={told['tokens']['counter']}")
    for page in pages.values():
        assert server.http.get(page).status_code == 200
    menu = server.call("GET", f"/api/{told['cafe']['slug']}/menu").json()
    assert menu["cafeId"] == told["cafe"]["id"]
    assert len(menu["menu"]["items"]) >= 30
    assert [table["name"] for table in told["tables"]] == menu["tables"]
    assert server.http.get(told["tables"][0]["url"]).status_code == 200
    for token in (told["tokens"]["staff"], told["tokens"]["admin"]):
        assert server.call("GET", f"/api/{told['cafe']['slug']}/orders", token).status_code == 200
