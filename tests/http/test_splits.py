"""A bill of several payers as their phones see it: claims, shares, the service charge, and what sold out meanwhile."""

from typing import Any

import pytest

from .server import Cafe, Server, new_key, problem_of

TOAST, BEANS = {"sku": "toast", "quantity": 1}, {"sku": "beans", "quantity": 1}


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe(
        prepay=["online"], serviceCharge={"rate": 1000, "taxClass": "gst", "channels": ["table", "online"]}
    )


def begin(server: Server, order: Any, **body: Any) -> Any:
    asked = {"orderId": order["id"], "paymentMethod": "qr_code_bank_transfer", **body}
    return server.call("POST", "/api/payments/initiate", order["trackingToken"], asked, key=new_key())


def test_an_order_tells_its_service_charge_beside_what_was_ordered(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, items=[TOAST, BEANS])
    assert (order["subtotal"], order["serviceCharge"], order["total"]) == (2323, 232, 2555)
    assert [item["serviceCharge"] for item in order["items"]] == [72, 160]
    counter = server.place(cafe, cafe.tokens["counter"], channel="counter")
    assert (counter["serviceCharge"], counter["total"]) == (0, counter["subtotal"])


def test_two_guests_who_split_by_item_see_each_other_s_claims(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, items=[TOAST, BEANS])
    first = begin(server, order, split={"by": "item", "lines": [1]})
    assert (first.status_code, first.json()["amount"]) == (201, 795)
    assert [item["claim"] for item in server.order(cafe, order)["items"]] == ["processing", None]
    taken = problem_of(begin(server, order, split={"by": "item", "lines": [1, 2]}), 409, "LINE_CLAIMED")
    assert "Toast" in taken["error"]
    server.verify(cafe, first.json(), received=795)
    server.verify(cafe, begin(server, order, split={"by": "item", "lines": [2]}).json(), received=1760)
    seen = server.order(cafe, order)
    assert [item["claim"] for item in seen["items"]] == ["completed", "completed"]
    assert (seen["paymentStatus"], seen["owed"]) == ("completed", 0)


def test_shares_are_told_with_who_has_which(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, items=[TOAST, BEANS])
    amounts = [begin(server, order, split={"by": "share", "of": 3}).json()["amount"] for _ in range(3)]
    assert amounts == [852, 852, 851]
    shares = server.order(cafe, order)["shares"]
    assert shares == [{"share": number, "of": 3, "status": "processing"} for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("split", "told"),
    [
        ({"split": {"by": "item", "lines": [2]}}, {"lines": [2]}),
        ({"split": {"by": "share", "of": 3}}, {"part": {"share": 1, "of": 3}}),
        ({"amount": 500}, {}),
        ({}, {}),
    ],
)
@pytest.mark.parametrize(("door", "type_"), [("payments", "payment_initiated"), ("counter", "payment_update")])
async def test_whoever_hears_of_a_payment_hears_what_it_is_for_as_rest_tells_it(
    server: Server, cafe: Cafe, door: str, type_: str, split: Any, told: Any
) -> None:
    async with server.socket(door, cafe, cafe.tokens["manager"]) as socket:
        order = server.place(cafe, items=[TOAST, BEANS])
        begun = begin(server, order, **split).json()
        heard = await socket.until(
            lambda event: event["type"] == type_ and event["data"]["paymentId"] == begun["paymentId"]
        )
    path = f"/api/payments/{begun['paymentId']}/status"
    shown = server.call("GET", path, cafe.tokens["staff"]).json()
    (listed,) = server.call("GET", f"/api/orders/{order['id']}/payments", cafe.tokens["staff"]).json()["payments"]
    for payment in (begun, shown, listed, heard["data"]):
        assert {name: payment[name] for name in ("lines", "part") if name in payment} == told


@pytest.mark.parametrize(
    "split",
    [{"by": "share", "of": 1}, {"by": "item", "lines": []}, {"by": "luck"}, {"by": "item", "lines": [0]}, "half"],
)
def test_a_split_that_makes_no_sense_is_refused_by_its_field(server: Server, cafe: Cafe, split: Any) -> None:
    refused = problem_of(begin(server, server.place(cafe), split=split), 400, "VALIDATION_ERROR")
    assert refused["errors"][0]["field"].startswith("split")


def test_cash_is_not_taken_for_what_has_sold_out(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, items=[TOAST])
    payment = server.initiate(cafe, order)
    gone = {"available": False}
    path = f"/api/{cafe.slug}/menu/items/toast/availability"
    assert server.call("POST", path, cafe.tokens["kitchen"], gone).status_code == 200
    path = f"/api/payments/{payment['paymentId']}/verify"
    problem_of(
        server.call("POST", path, cafe.tokens["counter"], {"tendered": 5_000}, key=new_key()), 409, "ITEM_UNAVAILABLE"
    )
    problem_of(begin(server, order), 409, "ITEM_UNAVAILABLE")
    assert server.order(cafe, order)["paid"] == 0


def test_the_last_one_that_was_counted_for_an_order_can_be_paid_for(server: Server, cafe: Cafe) -> None:
    path = f"/api/{cafe.slug}/menu/items/toast/availability"
    assert server.call("POST", path, cafe.tokens["kitchen"], {"available": True, "remaining": 1}).status_code == 200
    order = server.place(cafe, items=[TOAST])
    assert server.pay(cafe, order)["status"] == "completed"


def test_a_way_of_paying_that_nobody_takes_here_is_refused_by_name(server: Server, cafe: Cafe) -> None:
    answer = begin(server, server.place(cafe), paymentMethod="stripe_card")
    problem_of(answer, 400, "METHOD_UNSUPPORTED")


def test_an_item_that_sells_out_stops_whoever_is_about_to_pay_for_it(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, items=[TOAST, BEANS])
    payment = begin(server, order).json()
    path = f"/api/{cafe.slug}/menu/items/toast/availability"
    assert server.call("POST", path, cafe.tokens["kitchen"], {"available": False}).status_code == 200
    stopped = server.call("GET", f"/api/payments/{payment['paymentId']}/status", order["trackingToken"]).json()
    assert (stopped["status"], stopped["reason"]) == ("cancelled", "Toast has sold out")
    assert server.order(cafe, order)["status"] == "pending"
    late = server.verify(cafe, payment, received=2555)
    assert (late["status"], late["received"]) == ("completed", 2555)
    assert server.order(cafe, order)["paid"] == 0  # it is owed back


def test_credit_is_spent_by_its_owner_and_not_by_whoever_holds_the_order(server: Server, cafe: Cafe) -> None:
    user = f"ada-{new_key()}"
    ada = server.token("customer", cafe.id, user=user)
    order = server.place(cafe, ada, items=[TOAST])
    credit = {"orderId": order["id"], "paymentMethod": "customer_credit"}

    def pay(token: str, **more: Any) -> Any:
        return server.call("POST", "/api/payments/initiate", token, {**credit, **more}, key=new_key())

    problem_of(pay(order["trackingToken"]), 403, "FORBIDDEN")
    problem_of(pay(order["trackingToken"], customerId=user), 403, "FORBIDDEN")
    problem_of(pay(ada, customerId="somebody-else"), 403, "FORBIDDEN")
    problem_of(pay(ada), 400, "INSUFFICIENT_FUNDS")
    problem_of(pay(cafe.tokens["counter"]), 400, "VALIDATION_ERROR")
    added = server.perform(
        "credits.add",
        {"cafe": cafe.slug, "customerId": user, "amount": 800, "reason": "sorry"},
        cafe.tokens["manager"],
        key=new_key(),
    )
    assert added.status_code in (200, 201), added.text
    problem_of(pay(ada, tipAmount=6), 400, "INSUFFICIENT_FUNDS")
    assert pay(ada, tipAmount=5).status_code == 201
    assert server.order(cafe, order)["paymentStatus"] == "completed"


def test_a_gift_card_that_does_not_exist_pays_for_nothing(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, items=[TOAST])
    for more in ({}, {"giftCard": "NO-SUCH-CARD"}):
        refused = problem_of(begin(server, order, paymentMethod="gift_card", **more), 400, "VALIDATION_ERROR")
        assert [error["field"] for error in refused["errors"]] == ["giftCard"]
