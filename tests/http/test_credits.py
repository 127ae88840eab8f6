"""Customer credit through the doors (spec W1): given, spent, taken back, looked at."""

from collections import Counter
from typing import Any

import pytest

from .server import PREPAY, Cafe, Server, at_once, fields_at_fault, new_key, problem_of


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe(prepay=PREPAY)


def move(server: Server, cafe: Cafe, name: str, amount: int, customer: str = "ann", key: str | None = None) -> Any:
    fields = {"cafe": cafe.slug, "customerId": customer, "amount": amount, "reason": "waited long"}
    return server.perform(f"credits.{name}", fields, cafe.tokens["manager"], key=key or new_key())


def balance(server: Server, cafe: Cafe, customer: str = "ann") -> int:
    fields = {"cafe": cafe.slug, "customerId": customer}
    found = server.perform("credits.balance", fields, cafe.tokens["staff"])
    assert found.status_code == 200, found.text
    told = found.json()
    assert (told["currency"], told["customerId"]) == ("AUD", customer)
    return int(told["balance"])


def history(server: Server, cafe: Cafe, token: str, **more: Any) -> Any:
    found = server.perform("credits.history", {"cafe": cafe.slug, **more}, token)
    assert found.status_code == 200, found.text
    return found.json()


def test_credit_is_given_and_taken_back_and_never_below_nothing(server: Server, cafe: Cafe) -> None:
    assert balance(server, cafe) == 0
    given = move(server, cafe, "add", 500)
    assert (given.status_code, given.json()["balance"]) == (200, 500)
    assert move(server, cafe, "deduct", 200).json()["balance"] == 300
    problem_of(move(server, cafe, "deduct", 301), 400, "INSUFFICIENT_FUNDS")
    assert balance(server, cafe) == 300
    assert balance(server, cafe, "bob") == 0
    assert balance(server, server.open_cafe()) == 0


def test_a_key_moves_credit_once_and_a_repeat_has_the_first_answer(server: Server, cafe: Cafe) -> None:
    key = new_key()
    first, _, again = (
        move(server, cafe, "add", 500, key=key),
        move(server, cafe, "add", 1),
        move(server, cafe, "add", 500, key=key),
    )
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    problem_of(move(server, cafe, "add", 501, key=key), 422, "IDEMPOTENCY_KEY_REUSED")
    assert balance(server, cafe) == 501


async def test_one_key_is_one_request_at_the_socket_too_which_names_no_cafe(server: Server, cafe: Cafe) -> None:
    key, fields = new_key(), {"customerId": "ann", "amount": 500, "reason": "waited long"}
    first = move(server, cafe, "add", 500, key=key).json()
    async with server.socket("orders", cafe, cafe.tokens["manager"]) as socket:
        assert (await socket.perform("credits.add", fields, key=key))["data"] == first
        assert (await socket.perform("credits.balance", {"customerId": "ann"}))["data"]["balance"] == 500


@pytest.mark.parametrize(
    ("field", "value"), [("amount", 0), ("amount", -5), ("amount", 1.5), ("reason", ""), ("customerId", "")]
)
def test_what_makes_no_sense_is_refused_by_its_field(server: Server, cafe: Cafe, field: str, value: Any) -> None:
    fields = {"cafe": cafe.slug, "customerId": "ann", "amount": 5, "reason": "x", field: value}
    refused = server.perform("credits.add", fields, cafe.tokens["staff"], key=new_key())
    assert fields_at_fault(problem_of(refused, 400, "VALIDATION_ERROR")) == {field}


def test_100_deductions_at_once_never_overdraw_a_wallet_and_lose_none(server: Server, cafe: Cafe) -> None:
    move(server, cafe, "add", 1000)
    answers = at_once(100, lambda _: move(server, cafe, "deduct", 30))
    assert Counter(answer.status_code for answer in answers) == {200: 33, 400: 67}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 400} == {"INSUFFICIENT_FUNDS"}
    balances = sorted(answer.json()["balance"] for answer in answers if answer.status_code == 200)
    assert balances[0] == balance(server, cafe) == 10
    entries = history(server, cafe, cafe.tokens["staff"], customerId="ann", limit=200)["entries"]
    assert [entry["balance"] for entry in entries] == [*range(10, 1001, 30)]


def test_payments_and_deductions_at_once_take_no_more_than_there_is(server: Server, cafe: Cafe) -> None:
    move(server, cafe, "add", 1000)
    orders = [server.place(cafe) for _ in range(10)]

    def act(index: int) -> Any:
        if index % 2:
            return move(server, cafe, "deduct", 150)
        body = {
            "orderId": orders[index // 2]["id"],
            "paymentMethod": "customer_credit",
            "customerId": "ann",
            "amount": 150,
        }
        return server.call("POST", "/api/payments/initiate", cafe.tokens["counter"], body, key=new_key())

    answers = at_once(20, act)
    assert {answer.status_code for answer in answers} <= {200, 201, 400}
    entries = history(server, cafe, cafe.tokens["staff"], customerId="ann")["entries"]
    left = balance(server, cafe)
    assert left == 100
    assert [entry["amount"] for entry in entries] == [-150] * 6 + [1000]
    paid = sum(server.order(cafe, order)["paid"] for order in orders)
    assert paid == 150 * sum("paymentId" in entry for entry in entries)


def test_history_is_paged_and_the_customer_sees_everything_but_why(server: Server, cafe: Cafe) -> None:
    ann = server.token("customer", cafe.id, user="ann")
    for amount in (1, 2, 3, 4, 5):
        move(server, cafe, "add", amount)
    first = history(server, cafe, ann, limit=2)
    assert [entry["amount"] for entry in first["entries"]] == [5, 4]
    second = history(server, cafe, ann, limit=2, before=first["next"])
    third = history(server, cafe, ann, limit=2, before=second["next"])
    assert [entry["amount"] for page in (second, third) for entry in page["entries"]] == [3, 2, 1]
    assert third["next"] is None
    assert not any("reason" in entry for entry in first["entries"])
    told = history(server, cafe, cafe.tokens["staff"], customerId="ann")["entries"][0]
    assert told["reason"] == "waited long"
    assert told["granted"] is True


async def test_the_customer_and_the_staff_hear_of_it_at_once(server: Server, cafe: Cafe) -> None:
    ann = server.token("customer", cafe.id, user="ann")
    async with (
        server.socket("customers", cafe, ann) as customer,
        server.socket("orders", cafe, cafe.tokens["staff"]) as staff,
        server.socket("customers", cafe, cafe.tokens["customer"]) as other,
    ):
        await customer.say("subscribe", room="user:ann")
        assert (await other.say("subscribe", room="user:ann"))["code"] == "FORBIDDEN"
        move(server, cafe, "add", 500)
        told = await customer.until(lambda message: message.get("type") == "credit_updated")
        assert (told["data"]["amount"], told["data"]["balance"]) == (500, 500)
        assert "reason" not in told["data"]
        told = await staff.until(lambda message: message.get("type") == "credit_updated")
        assert told["data"]["reason"] == "waited long"
        assert not [message for message in await other.silence() if message["type"] == "credit_updated"]


def test_credit_of_the_installation_is_good_at_every_cafe_that_takes_it(server: Server) -> None:
    one, two = (server.open_cafe(credit="installation") for _ in range(2))
    alone, customer = server.open_cafe(), f"ann-{new_key()}"
    assert move(server, one, "add", 500, customer).json()["balance"] == 500
    assert balance(server, two, customer) == 500
    assert balance(server, alone, customer) == 0
    assert move(server, two, "deduct", 200, customer).json()["balance"] == 300
    assert balance(server, one, customer) == 300
    order = server.place(one)
    body = {"orderId": order["id"], "paymentMethod": "customer_credit", "customerId": customer, "amount": 100}
    begun = server.call("POST", "/api/payments/initiate", one.tokens["counter"], body, key=new_key())
    assert begun.status_code == 201, begun.text
    assert server.order(one, order)["paid"] == 100
    assert balance(server, two, customer) == 200
