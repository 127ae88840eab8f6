"""Gift cards and loyalty as customers, staff and tills meet them (spec W3, W4, and their lines of S2)."""

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from tabletap.domain import giftcode

from .server import Cafe, Server, at_once, fields_at_fault, new_key, problem_of, until

LOYALTY = {"pointsPerUnit": 2, "centsPerPoint": 5, "selfService": True}
PHONE, NUMBER = "0412 345 678", "+61412345678"


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe(loyalty=LOYALTY)


def order_cards(server: Server, cafe: Cafe, *values: int, **more: Any) -> Any:
    cards = [{"value": value} for value in values]
    return server.place(cafe, None, **{"items": [], "giftCards": cards, **more})


def cards_of(server: Server, order: Any) -> Any:
    found = server.call("GET", f"/api/orders/{order['id']}/gift-cards", order["trackingToken"])
    assert found.status_code == 200, found.text
    return found.json()["giftCards"]


def buy(server: Server, cafe: Cafe, *values: int) -> list[str]:
    """The codes of cards that were paid in cash."""
    order = order_cards(server, cafe, *values)
    server.pay(cafe, order)
    until(lambda: all(card["good"] for card in cards_of(server, order)))
    return [card["card"] for card in cards_of(server, order)]


def at_till(server: Server, cafe: Cafe, what: str, body: Any = None, **more: Any) -> Any:
    method = "GET" if body is None else "POST"
    return server.call(method, f"/api/{cafe.slug}/{what}", cafe.tokens["counter"], body, **more)


def balance_of(server: Server, cafe: Cafe, code: str) -> int:
    return int(server.call("GET", f"/api/{cafe.slug}/gift-cards/{code}/balance").json()["balance"])


def ledger(server: Server, cafe: Cafe) -> dict[str, int]:
    found = server.call("GET", f"/api/{cafe.slug}/ledger/balances", cafe.tokens["owner"]).json()["balances"]
    return {line["account"].partition(":")[0]: line["balance"] for line in found if line["balance"]}


# -- cards


def test_a_customer_buys_a_card_and_learns_its_code_when_it_is_paid(server: Server, cafe: Cafe) -> None:
    order = order_cards(server, cafe, 5_000)
    (hidden,) = cards_of(server, order)
    assert (hidden["good"], hidden["card"][:15]) == (False, giftcode.HIDDEN)
    assert order["items"][0]["giftCard"] == hidden["card"]
    server.pay(cafe, order)
    (card,) = until(lambda: [one for one in cards_of(server, order) if one["good"]])
    assert giftcode.is_code(card["card"])
    assert giftcode.last_four(card["card"]) == hidden["card"][-4:]
    told = server.call("GET", f"/api/{cafe.slug}/gift-cards/{card['card'].lower()}/balance").json()
    assert told | {"card": "", "expiresAt": ""} == {
        "card": "",
        "balance": 5_000,
        "currency": "AUD",
        "status": "active",
        "expiresAt": "",
    }
    assert server.order(cafe, order)["status"] == "completed"
    assert ledger(server, cafe) == {"cash": 5_000, "gift": -5_000}


def test_a_card_is_paid_by_card_and_bank_like_any_order(server: Server, cafe: Cafe) -> None:
    order = order_cards(server, cafe, 700)
    payment = server.initiate(cafe, order, "qr_code_bank_transfer")
    server.verify(cafe, payment, received=700)
    (card,) = until(lambda: [one for one in cards_of(server, order) if one["good"]])
    coffee = server.place(cafe)
    paid = server.initiate(cafe, coffee, "gift_card", giftCard=card["card"], amount=700)
    until(lambda: server.order(cafe, coffee)["paid"] == 700)
    assert balance_of(server, cafe, card["card"]) == 0
    server.perform("payments.refund", {"paymentId": paid["paymentId"], "amount": 300}, server.admin, key=new_key())
    until(lambda: balance_of(server, cafe, card["card"]) == 300)


def test_a_till_deducts_and_refunds(server: Server, cafe: Cafe) -> None:
    (code,) = buy(server, cafe, 2_000)
    taken = at_till(server, cafe, f"gift-cards/{code}/deduct", {"amount": 1_500, "orderId": "R-7"}).json()
    assert taken.keys() == {"card", "deducted", "balance", "transactionId"}
    assert (taken["card"], taken["deducted"], taken["balance"]) == (code, 1_500, 500)
    problem_of(at_till(server, cafe, f"gift-cards/{code}/deduct", {"amount": 501}), 400, "INSUFFICIENT_FUNDS")
    back = {"transactionId": taken["transactionId"], "amount": 1_000}
    assert at_till(server, cafe, f"gift-cards/{code}/refund", back).json()["balance"] == 1_500
    problem_of(at_till(server, cafe, f"gift-cards/{code}/refund", back), 409, "REFUND_EXCEEDS_ORIGINAL")
    lines = at_till(server, cafe, f"gift-cards/{code}/transactions").json()["entries"]
    assert [(line["amount"], line["cause"], line.get("orderId")) for line in lines[:2]] == [
        (1_000, "returned", None),
        (-1_500, "used", "R-7"),
    ]
    assert ledger(server, cafe) == {"cash": 2_000, "gift": -1_500, "gift_redeemed": -500}


def test_what_is_no_card_is_told_from_one_that_nobody_bought(server: Server, cafe: Cafe) -> None:
    unknown = giftcode.spell(b"nobody bought it")
    mistyped = unknown[:-1] + ("0" if unknown[-1] != "0" else "1")
    for ask in (
        lambda code: server.call("GET", f"/api/{cafe.slug}/gift-cards/{code}/balance"),
        lambda code: at_till(server, cafe, f"gift-cards/{code}/deduct", {"amount": 1}),
    ):
        problem_of(ask(unknown), 404, "NOT_FOUND")
        assert fields_at_fault(problem_of(ask(mistyped), 400, "VALIDATION_ERROR")) == {"card"}
    (code,) = buy(server, cafe, 700)
    problem_of(server.call("GET", f"/api/{server.a.slug}/gift-cards/{code}/balance"), 404, "NOT_FOUND")
    for wrong in (0, -1, 1.5, "1"):
        problem_of(at_till(server, cafe, f"gift-cards/{code}/deduct", {"amount": wrong}), 400, "VALIDATION_ERROR")


def test_200_deducts_at_once_take_what_there_is_and_each_is_in_the_log_once(server: Server, cafe: Cafe) -> None:
    (code,) = buy(server, cafe, 1_000)
    answers = at_once(200, lambda _: at_till(server, cafe, f"gift-cards/{code}/deduct", {"amount": 7}))
    assert Counter(answer.status_code for answer in answers) == {200: 142, 400: 58}
    taken = {answer.json()["transactionId"] for answer in answers if answer.status_code == 200}
    lines = at_till(server, cafe, f"gift-cards/{code}/transactions?limit=200").json()["entries"]
    assert sorted(line["entryId"] for line in lines if line.get("cause") == "used") == sorted(taken)
    assert len(taken) == 142
    assert balance_of(server, cafe, code) == 1_000 - 142 * 7
    assert ledger(server, cafe) == {"cash": 1_000, "gift": -6, "gift_redeemed": -994}


def test_a_key_50_at_once_takes_from_a_card_once(server: Server, cafe: Cafe) -> None:
    (code,) = buy(server, cafe, 1_000)
    key, path = new_key(), f"gift-cards/{code}/deduct"
    answers = at_once(50, lambda _: at_till(server, cafe, path, {"amount": 100}, key=key))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert len({answer.text for answer in answers if answer.status_code == 200}) == 1
    assert balance_of(server, cafe, code) == 900
    again = at_till(server, cafe, path, {"amount": 100}, key=key)
    assert again.headers["idempotency-replayed"] == "true"
    problem_of(at_till(server, cafe, path, {"amount": 101}, key=key), 422, "IDEMPOTENCY_KEY_REUSED")


def test_a_manager_issues_a_card_and_a_repeat_tells_the_same_code(server: Server, cafe: Cafe) -> None:
    path, key = f"/api/{cafe.slug}/gift-cards", new_key()
    first, again = (server.call("POST", path, cafe.tokens["manager"], {"amount": 900}, key=key) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert giftcode.is_code(first.json()["card"])
    assert ledger(server, cafe) == {"credit_granted": 900, "gift": -900}


def test_neither_codes_nor_numbers_reach_the_log(server: Server, cafe: Cafe) -> None:
    (code,) = buy(server, cafe, 700)
    at_till(server, cafe, f"gift-cards/{code}/deduct", {"amount": 100_000})
    at_till(server, cafe, f"loyalty/{NUMBER}/redeem", {"points": 100_000})
    told = (server.state.parent / "server.log").read_text()
    assert giftcode.plain(code) not in giftcode.plain(told)
    assert NUMBER[3:] not in told


async def test_the_counter_hears_of_cards_and_points(server: Server, cafe: Cafe) -> None:
    async with server.socket("counter", cafe, cafe.tokens["counter"]) as counter:
        order = server.place(cafe, None, giftCards=[{"value": 5_000}], customer={"phone": PHONE})
        server.pay(cafe, order)
        sold = await counter.until(lambda message: message["type"] == "gift_card_purchased")
        (card,) = until(lambda: [one for one in cards_of(server, order) if one["good"]])
        assert sold["data"]["card"] == giftcode.masked(giftcode.last_four(card["card"]))
        assert sold["data"]["balance"] == 5_000
        earned = await counter.until(lambda message: message["type"] == "loyalty_updated")
        assert (earned["data"]["phone"], earned["data"]["points"]) == (NUMBER, 28)
        assert card["card"] not in str(counter.heard)


# -- points


def points_of(server: Server, cafe: Cafe, phone: str = NUMBER) -> int:
    return int(at_till(server, cafe, f"loyalty/{phone}/points").json()["points"])


def test_points_are_earned_added_redeemed_and_told(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, None, customer={"phone": PHONE})
    server.pay(cafe, order)
    until(lambda: points_of(server, cafe) == 28)
    added = at_till(server, cafe, f"loyalty/{NUMBER}/add", {"points": 10, "reason": "birthday"}).json()
    assert (added["phone"], added["points"]) == (NUMBER, 38)
    used = at_till(server, cafe, "loyalty/0412345678/redeem", {"points": 30, "orderId": "R-7"}).json()
    assert (used["phone"], used["points"], used["discount"]) == (NUMBER, 8, 150)
    problem_of(at_till(server, cafe, f"loyalty/{NUMBER}/redeem", {"points": 9}), 400, "INSUFFICIENT_FUNDS")
    lines = at_till(server, cafe, f"loyalty/{NUMBER}/history").json()["entries"]
    assert [(line["amount"], line.get("cause"), line.get("orderId")) for line in lines] == [
        (-30, "used", "R-7"),
        (10, None, None),
        (28, "earned", order["id"]),
    ]
    assert at_till(server, cafe, "loyalty/+49301234567/points").json() == {
        "phone": "+49301234567",
        "points": 0,
        "worth": 0,
    }
    assert fields_at_fault(problem_of(at_till(server, cafe, "loyalty/12/points"), 400, "VALIDATION_ERROR")) == {"phone"}


def test_points_become_a_discount_on_an_order_of_ours(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    at_till(server, cafe, f"loyalty/{NUMBER}/add", {"points": 1_000})
    used = at_till(server, cafe, f"loyalty/{NUMBER}/redeem", {"points": 20, "orderId": order["id"]})
    assert used.json()["points"] == 980
    lowered = server.order(cafe, order)
    assert (lowered["discount"], lowered["owed"], lowered["total"]) == (100, order["total"] - 100, order["total"] - 100)
    too_much = {"points": 900, "orderId": order["id"]}
    problem_of(at_till(server, cafe, f"loyalty/{NUMBER}/redeem", too_much), 409, "AMOUNT_EXCEEDS_OWED")
    elsewhere = server.place(server.a)
    noted = {"points": 1, "orderId": elsewhere["id"]}
    assert at_till(server, cafe, f"loyalty/{NUMBER}/redeem", noted).status_code == 200
    assert server.order(server.a, elsewhere)["discount"] == 0
    server.perform("orders.cancel", {"orderId": order["id"]}, server.admin)
    until(lambda: points_of(server, cafe) == 999)
    gone = {"points": 1, "orderId": order["id"]}
    problem_of(at_till(server, cafe, f"loyalty/{NUMBER}/redeem", gone), 409, "ORDER_CLOSED")


def test_a_refund_takes_points_back(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe, None, customer={"phone": PHONE})
    paid = server.pay(cafe, order)
    until(lambda: points_of(server, cafe) == 28)
    fields = {"paymentId": paid["paymentId"], "amount": 500}
    assert server.perform("payments.refund", fields, server.admin, key=new_key()).status_code == 200
    until(lambda: points_of(server, cafe) == 18)


def test_200_redeems_at_once_use_what_there_is_and_each_is_in_the_log_once(server: Server, cafe: Cafe) -> None:
    at_till(server, cafe, f"loyalty/{NUMBER}/add", {"points": 1_000})
    answers = at_once(200, lambda _: at_till(server, cafe, f"loyalty/{NUMBER}/redeem", {"points": 7}))
    assert Counter(answer.status_code for answer in answers) == {200: 142, 400: 58}
    used = {answer.json()["transactionId"] for answer in answers if answer.status_code == 200}
    lines = at_till(server, cafe, f"loyalty/{NUMBER}/history?limit=200").json()["entries"]
    assert sorted(line["entryId"] for line in lines if line.get("cause") == "used") == sorted(used)
    assert len(used) == 142
    assert points_of(server, cafe) == 6


def test_a_key_50_at_once_redeems_once(server: Server, cafe: Cafe) -> None:
    at_till(server, cafe, f"loyalty/{NUMBER}/add", {"points": 1_000})
    key, path = new_key(), f"loyalty/{NUMBER}/redeem"
    answers = at_once(50, lambda _: at_till(server, cafe, path, {"points": 100}, key=key))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert points_of(server, cafe) == 900
    assert at_till(server, cafe, path, {"points": 100}, key=key).headers["idempotency-replayed"] == "true"


def test_a_customer_redeems_on_their_own_order_where_the_cafe_lets_them(server: Server, cafe: Cafe) -> None:
    at_till(server, cafe, f"loyalty/{NUMBER}/add", {"points": 100})
    order = server.place(cafe, None, customer={"phone": PHONE})
    path, token = f"/api/orders/{order['id']}", order["trackingToken"]
    assert server.call("GET", f"{path}/loyalty", token).json() == {"earned": 0, "points": 100, "worth": 500}
    used = server.call("POST", f"{path}/redeem", token, {"points": 40}).json()
    assert (used["points"], used["discount"]) == (60, 200)
    assert server.order(cafe, order)["discount"] == 200
    nameless = server.place(cafe)
    problem_of(
        server.call("POST", f"/api/orders/{nameless['id']}/redeem", nameless["trackingToken"], {"points": 1}),
        400,
        "INSUFFICIENT_FUNDS",
    )


def test_a_number_is_no_proof_so_elsewhere_customers_neither_see_nor_redeem_points(server: Server) -> None:
    careful = server.open_cafe(loyalty={**LOYALTY, "selfService": False})
    at_till(server, careful, f"loyalty/{NUMBER}/add", {"points": 100})
    order = server.place(careful, None, customer={"phone": PHONE})
    path, token = f"/api/orders/{order['id']}", order["trackingToken"]
    assert server.call("GET", f"{path}/loyalty", token).json() == {"earned": 0, "points": None, "worth": None}
    problem_of(server.call("POST", f"{path}/redeem", token, {"points": 1}), 400, "METHOD_UNSUPPORTED")
    assert server.call("POST", f"{path}/redeem", careful.tokens["counter"], {"points": 1}).status_code == 200


def test_a_number_has_points_of_its_own_at_each_cafe(server: Server, cafe: Cafe) -> None:
    other = server.open_cafe(loyalty=LOYALTY)
    at_till(server, cafe, f"loyalty/{NUMBER}/add", {"points": 100, "orderId": str(uuid4())})
    assert (points_of(server, cafe), points_of(server, other)) == (100, 0)
