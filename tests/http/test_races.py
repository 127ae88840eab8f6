"""Who comes at the same moment is served one after the other: money and numbers come out whole (spec P7, O3)."""

import random
from typing import Any

import pytest

from .server import Cafe, Server, at_once, new_key

CLOSED = {"NOTHING_OWED", "AMOUNT_EXCEEDS_OWED", "ORDER_CLOSED"}


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe()


def initiate(server: Server, cafe: Cafe, order: Any, **more: Any) -> Any:
    body = {"orderId": order["id"], "paymentMethod": "qr_code_bank_transfer", **more}
    return server.call("POST", "/api/payments/initiate", cafe.tokens["counter"], body, key=new_key())


def receive(server: Server, cafe: Cafe, payment: Any) -> Any:
    path = f"/api/payments/{payment['paymentId']}/verify"
    received = {"received": payment["totalAmount"]}
    return server.call("POST", path, cafe.tokens["counter"], received, key=new_key())


def status(server: Server, cafe: Cafe, payment: Any) -> Any:
    return server.call("GET", f"/api/payments/{payment['paymentId']}/status", cafe.tokens["counter"]).json()


def test_50_payments_of_the_last_cents_take_exactly_what_is_owed(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    first = initiate(server, cafe, order, amount=order["total"] - 7).json()
    assert receive(server, cafe, first).status_code == 200
    begun = at_once(50, lambda _: initiate(server, cafe, order, amount=7))
    assert sorted(answer.status_code for answer in begun) == [201] + [409] * 49
    assert {answer.json()["code"] for answer in begun if answer.status_code == 409} <= CLOSED
    verified = at_once(50, lambda index: receive(server, cafe, next(a.json() for a in begun if a.status_code == 201)))
    assert sorted(answer.status_code for answer in verified) == [200] + [409] * 49
    paid = server.order(cafe, order)
    assert (paid["paid"], paid["owed"], paid["paymentStatus"]) == (order["total"], 0, "completed")


def test_50_payments_of_all_sizes_at_once_take_exactly_what_is_owed(server: Server, cafe: Cafe) -> None:
    order, chance = server.place(cafe), random.Random(7)
    sizes = [chance.randint(1, 400) for _ in range(50)]

    def pay(index: int) -> Any:
        begun = initiate(server, cafe, order, amount=sizes[index])
        return receive(server, cafe, begun.json()) if begun.status_code == 201 else begun

    answers = at_once(50, pay)
    assert {answer.status_code for answer in answers} <= {200, 409}
    taken = [answer.json() for answer in answers if answer.status_code == 200]
    now = server.order(cafe, order)
    assert now["paid"] == sum(payment["amount"] for payment in taken) <= order["total"]
    assert now["owed"] == order["total"] - now["paid"]
    rest = initiate(server, cafe, order)
    if now["owed"]:
        assert receive(server, cafe, rest.json()).status_code == 200
    assert server.order(cafe, order)["paid"] == order["total"]


def test_30_orders_at_once_are_numbered_without_gap_or_repeat(server: Server, cafe: Cafe) -> None:
    placed = at_once(30, lambda _: server.place(cafe))
    assert sorted(order["number"] for order in placed) == list(range(1, 31))


def test_of_the_last_three_pieces_exactly_three_are_sold(server: Server, cafe: Cafe) -> None:
    path = f"/api/{cafe.slug}/menu/items/toast/availability"
    assert server.call("POST", path, cafe.tokens["staff"], {"available": True, "remaining": 3}).status_code == 200
    body = {"channel": "online", "items": [{"sku": "toast", "quantity": 1}]}
    answers = at_once(20, lambda _: server.call("POST", f"/api/{cafe.slug}/orders", None, body))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 17
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"ITEM_UNAVAILABLE"}


@pytest.mark.parametrize("round_", range(5))
def test_an_order_that_is_cancelled_while_it_is_paid_keeps_or_returns_every_cent(
    round_: int, server: Server, cafe: Cafe
) -> None:
    order = server.place(cafe)
    payments = [initiate(server, cafe, order, amount=100).json() for _ in range(4)]
    cancel = f"/api/orders/{order['id']}/cancel"

    def act(index: int) -> Any:
        if index < 4:
            return receive(server, cafe, payments[index])
        return server.call("POST", cancel, cafe.tokens["manager"])

    answers = at_once(5, act)
    assert all(answer.status_code == 200 for answer in answers[:4])  # late money is taken too, and owed back
    server.settle()
    now, told = server.order(cafe, order), [status(server, cafe, payment) for payment in payments]
    assert {payment["received"] for payment in told} == {100}
    spare = sum(payment.get("surplus", 0) for payment in told)
    assert now["paid"] + spare == 400
    assert answers[4].status_code in {200, 409}
    assert (now["status"] == "cancelled") == (answers[4].status_code == 200)
    refunded = 0
    for payment in payments:
        path = f"/api/payments/{payment['paymentId']}/refund"
        back = server.call("POST", path, cafe.tokens["manager"], key=new_key())
        assert back.status_code == 200, back.text
        refunded += back.json()["refundedAmount"]
    assert refunded == 400
    assert server.order(cafe, order)["paid"] == 0


def test_50_refunds_at_once_give_back_no_more_than_was_paid(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    payment = initiate(server, cafe, order).json()
    assert receive(server, cafe, payment).status_code == 200
    path, each = f"/api/payments/{payment['paymentId']}/refund", order["total"] // 4
    body = {"amount": each}
    answers = at_once(50, lambda _: server.call("POST", path, cafe.tokens["manager"], body, key=new_key()))
    assert sum(answer.status_code == 200 for answer in answers) == 4
    now = status(server, cafe, payment)
    assert now["refundedAmount"] == 4 * each <= order["total"]
