"""A request with an ``Idempotency-Key`` is carried out once, however often and however fast it comes (spec H3)."""

from collections import Counter
from typing import Any

import pytest
import trio

from tabletap.http.operations import OPERATIONS
from tabletap.http.operations.base import Key

from .server import Cafe, Server, at_once, new_key, problem_of

ORDER = {"channel": "online", "items": [{"sku": "toast", "quantity": 1}]}
MOVES_MONEY = {
    "payments.initiate",
    "payments.verify",
    "payments.refund",
    "credits.add",
    "credits.deduct",
    "gift_cards.issue",
    "tips.distribute",
    "tips.payout",
    "drawers.open",
    "drawers.pay",
    "drawers.count",
    "statements.import",
    "reports.close",
}


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe()


def initiate(server: Server, cafe: Cafe, order: Any, key: str | None, **more: Any) -> Any:
    body = {"orderId": order["id"], "paymentMethod": "cash", **more}
    return server.call("POST", "/api/payments/initiate", cafe.tokens["counter"], body, key=key)


def orders_of(server: Server, cafe: Cafe) -> list[Any]:
    return server.call("GET", f"/api/{cafe.slug}/orders", server.admin).json()["orders"]


def test_a_key_is_required_wherever_money_moves() -> None:
    assert {name for name, operation in OPERATIONS.items() if operation.key is Key.REQUIRED} == MOVES_MONEY


async def test_without_its_key_a_request_that_moves_money_is_refused(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    payment = server.initiate(cafe, order, amount=1)
    drawer = server.perform(
        "drawers.open",
        {"cafe": cafe.slug, "name": "Till", "floatAmount": 0},
        cafe.tokens["counter"],
        key=new_key(),
    ).json()
    asked: dict[str, dict[str, Any]] = {
        "payments.initiate": {"orderId": order["id"], "paymentMethod": "cash"},
        "payments.verify": {"paymentId": payment["paymentId"], "tendered": 100},
        "payments.refund": {"paymentId": payment["paymentId"]},
        "drawers.open": {"cafe": cafe.slug, "name": "Till", "floatAmount": 0},
        "drawers.pay": {"cafe": cafe.slug, "drawerId": drawer["drawerId"], "amount": 1, "reason": "x"},
        "drawers.count": {"cafe": cafe.slug, "drawerId": drawer["drawerId"], "counted": 0},
        "reports.close": {"cafe": cafe.slug, "force": True},
        "statements.import": {"cafe": cafe.slug, "csv": "Date,Amount", "format": {"amount": "Amount"}},
    }
    shift = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "staff": [{"user": "sam", "role": "bar"}]}
    credit = {"cafe": cafe.slug, "customerId": "ann", "amount": 1, "reason": "x"}
    asked |= {
        "credits.add": credit,
        "credits.deduct": credit,
        "gift_cards.issue": {"cafe": cafe.slug, "amount": 1},
        "tips.distribute": {"cafe": cafe.slug, **shift},
        "tips.payout": {"cafe": cafe.slug, "user": "sam", "amount": 1, "way": "cash"},
    }
    assert asked.keys() == MOVES_MONEY
    before = server.footprint(cafe)
    async with server.socket("counter", cafe, cafe.tokens["owner"]) as till:
        for name, fields in asked.items():
            answer = server.perform(name, fields, cafe.tokens["owner"])
            problem_of(answer, 400, "IDEMPOTENCY_KEY_MISSING")
            for key in ("1", "not a uuid", "x" * 1_000):
                answer = server.perform(name, fields, cafe.tokens["owner"], key=key)
                problem_of(answer, 400, "IDEMPOTENCY_KEY_INVALID")
                assert (await till.perform(name, fields, key=key))["code"] == "IDEMPOTENCY_KEY_INVALID"
            assert (await till.perform(name, fields))["code"] == "IDEMPOTENCY_KEY_MISSING"
    assert server.footprint(cafe)[0]["orders"] == before[0]["orders"]


def test_50_at_once_with_one_key_are_one_effect(server: Server, cafe: Cafe) -> None:
    key, path = new_key(), f"/api/{cafe.slug}/orders"
    answers = at_once(50, lambda _: server.call("POST", path, cafe.tokens["staff"], ORDER, key=key))
    assert len(orders_of(server, cafe)) == 1
    codes = Counter(answer.status_code for answer in answers)
    assert codes.keys() <= {201, 409}
    fresh = [answer for answer in answers if answer.status_code == 201 and "idempotency-replayed" not in answer.headers]
    assert len(fresh) == 1
    for answer in answers:
        if answer.status_code == 409:
            problem_of(answer, 409, "DUPLICATE_IN_PROGRESS")
            assert answer.headers["retry-after"]
        else:
            assert answer.json()["id"] == fresh[0].json()["id"]


def test_50_payments_at_once_with_one_key_set_the_money_aside_once(server: Server, cafe: Cafe) -> None:
    order, key = server.place(cafe), new_key()
    begun = at_once(50, lambda _: initiate(server, cafe, order, key, amount=100))
    assert {answer.status_code for answer in begun} <= {201, 409}
    assert len({answer.json()["paymentId"] for answer in begun if answer.status_code == 201}) == 1
    rest = initiate(server, cafe, order, new_key()).json()
    assert rest["amount"] == order["total"] - 100
    key, payment = new_key(), next(answer.json() for answer in begun if answer.status_code == 201)
    path = f"/api/payments/{payment['paymentId']}/verify"
    taken = at_once(50, lambda _: server.call("POST", path, cafe.tokens["counter"], {"tendered": 200}, key=key))
    assert {answer.status_code for answer in taken} <= {200, 409}
    assert {answer.json()["change"] for answer in taken if answer.status_code == 200} == {100}
    assert server.order(cafe, order)["paid"] == 100


async def test_50_socket_messages_with_one_key_are_one_effect(server: Server, cafe: Cafe) -> None:
    key, answers = new_key(), []
    async with (
        server.socket("orders", cafe, server.token("staff", cafe.id, user="two-sockets")) as one,
        server.socket("orders", cafe, server.token("staff", cafe.id, user="two-sockets")) as two,
        trio.open_nursery() as nursery,
    ):

        async def ask(socket: Any) -> None:
            answers.append(await socket.perform("orders.place", ORDER, key=key))

        async def ask_many(socket: Any) -> None:
            for _ in range(25):
                await ask(socket)

        nursery.start_soon(ask_many, one)
        nursery.start_soon(ask_many, two)
    assert len(answers) == 50
    assert len(orders_of(server, cafe)) == 1
    for answer in answers:
        assert answer["type"] == "reply" or answer["code"] == "DUPLICATE_IN_PROGRESS"
    assert len({answer["data"]["id"] for answer in answers if answer["type"] == "reply"}) == 1


async def test_a_replay_has_the_body_of_the_first_answer_by_every_way_in(server: Server, cafe: Cafe) -> None:
    order, key = server.place(cafe), new_key()
    path, fields = "/api/payments/initiate", {"orderId": order["id"], "paymentMethod": "qr_code_bank_transfer"}
    first = server.call("POST", path, cafe.tokens["counter"], fields, key=key)
    again = server.call("POST", path, cafe.tokens["counter"], fields, key=key.upper())
    assert "idempotency-replayed" not in first.headers
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert again.json() == first.json()
    async with server.socket("counter", cafe, cafe.tokens["counter"]) as till:
        assert (await till.perform("payments.initiate", fields, key=key))["data"] == first.json()


def test_a_replayed_order_comes_with_its_tracking_token(server: Server, cafe: Cafe) -> None:
    key, path = new_key(), f"/api/{cafe.slug}/orders"
    first, again = (server.call("POST", path, None, ORDER, key=key).json() for _ in range(2))
    assert again["trackingToken"] == first["trackingToken"]
    assert again["id"] == first["id"]


def test_a_key_is_good_for_one_request_only(server: Server, cafe: Cafe) -> None:
    order, other, key = server.place(cafe), server.place(cafe), new_key()
    assert initiate(server, cafe, order, key, amount=100).status_code == 201
    for answer in (
        initiate(server, cafe, order, key, amount=101),
        initiate(server, cafe, other, key, amount=100),
        server.call("POST", f"/api/orders/{order['id']}/start", cafe.tokens["counter"], key=key),
        server.call("POST", f"/api/{cafe.slug}/orders", cafe.tokens["counter"], ORDER, key=key),
    ):
        problem_of(answer, 422, "IDEMPOTENCY_KEY_REUSED")
    assert initiate(server, cafe, order, key, amount=100).headers["idempotency-replayed"] == "true"
    assert server.order(cafe, other)["paymentStatus"] == "pending"


def test_a_key_belongs_to_one_user_of_one_cafe(server: Server, cafe: Cafe) -> None:
    key, elsewhere = new_key(), server.open_cafe()
    placed = [
        server.call("POST", f"/api/{where.slug}/orders", token, ORDER, key=key)
        for where, token in (
            (cafe, None),
            (cafe, cafe.tokens["staff"]),
            (cafe, cafe.tokens["counter"]),
            (cafe, server.admin),
            (elsewhere, server.admin),
            (elsewhere, None),
        )
    ]
    assert [answer.status_code for answer in placed] == [201] * 6
    assert len({answer.json()["id"] for answer in placed}) == 6


def test_a_refusal_is_replayed_even_when_it_would_not_be_made_again(server: Server, cafe: Cafe) -> None:
    order, key = server.place(cafe), new_key()
    first = initiate(server, cafe, order, key, amount=order["total"] + 1)
    problem_of(first, 409, "AMOUNT_EXCEEDS_OWED")
    more = {"add": [{"sku": "toast", "quantity": 1}]}
    assert server.call("PATCH", f"/api/orders/{order['id']}", cafe.tokens["counter"], more).status_code == 200
    again = initiate(server, cafe, order, key, amount=order["total"] + 1)
    problem_of(again, 409, "AMOUNT_EXCEEDS_OWED")
    assert again.headers["idempotency-replayed"] == "true"
    assert initiate(server, cafe, order, new_key(), amount=order["total"] + 1).status_code == 201


def test_a_request_that_was_wrong_in_itself_may_be_mended_under_its_key(server: Server, cafe: Cafe) -> None:
    order, key, path = server.place(cafe), new_key(), f"/api/{cafe.slug}/orders"
    problem_of(initiate(server, cafe, order, key, amount=0), 400, "VALIDATION_ERROR")
    problem_of(initiate(server, cafe, order, key, currency="EUR"), 400, "VALIDATION_ERROR")
    assert initiate(server, cafe, order, key).status_code == 201
    key = new_key()
    wrong = {"channel": "online", "items": [{"sku": "nothing", "quantity": 1}]}
    problem_of(server.call("POST", path, None, wrong, key=key), 400, "VALIDATION_ERROR")
    assert server.call("POST", path, None, ORDER, key=key).status_code == 201
