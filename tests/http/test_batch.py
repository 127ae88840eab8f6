"""Many orders moved by one call: each is answered for itself, and the call may be repeated (spec S7)."""

from collections import Counter
from typing import Any

import httpx
import pytest

from .server import Cafe, Server, at_once, new_key, of_till, problem_of


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe(prepay=[])


def batch(server: Server, cafe: Cafe, key: str, updates: Any, *, once: str | None = None) -> httpx.Response:
    """By a till; ``once``: the Idempotency-Key."""
    path = f"/api/{cafe.slug}/orders/batch"
    return server.call("POST", path, None, {"updates": updates}, headers=of_till(cafe, key), key=once)


def moves(order: Any, *names: str) -> list[Any]:
    return [{"orderId": order["id"], "move": name} for name in names]


def statuses(answer: httpx.Response) -> list[str]:
    """Of the orders, or the codes where they were refused."""
    assert answer.status_code == 200, answer.text
    return [one["order"]["status"] if "order" in one else one["refused"]["code"] for one in answer.json()["results"]]


def times_told(server: Server, cafe: Cafe, key: str) -> Counter[tuple[str, str]]:
    """How often tills were told of each order in each status."""
    told = server.ask(cafe, key, "events", after=0, limit=500).json()["events"]
    return Counter((one["data"]["orderId"], one["data"]["order"]["status"]) for one in told)


def test_a_batch_answers_each_order_for_itself_and_may_be_repeated(server: Server, cafe: Cafe) -> None:
    key, elsewhere = server.key(cafe)["key"], server.place(server.b)
    one, other = server.place(cafe), server.place(cafe)
    updates = [
        *moves(one, "start"),
        *moves(elsewhere, "cancel"),
        *moves(one, "ready"),
        {**moves(other, "cancel")[0], "reason": "sold out"},
        *moves(other, "start"),
    ]
    for _ in range(2):
        answer = batch(server, cafe, key, updates)
        assert [result["orderId"] for result in answer.json()["results"]] == [one["orderId"] for one in updates]
        assert statuses(answer)[1:] == ["NOT_FOUND", "ready", "cancelled", "ILLEGAL_MOVE"]
    for body in ([], [updates[0]] * 101, [{**updates[0], "move": "eat"}], [{"move": "start"}], None):
        problem_of(batch(server, cafe, key, body), 400, "VALIDATION_ERROR")
    reader = server.key(cafe, "read")["key"]
    problem_of(batch(server, cafe, reader, updates), 403, "FORBIDDEN")


def test_under_the_same_key_a_batch_is_answered_what_it_was_answered(server: Server, cafe: Cafe) -> None:
    key, once = server.key(cafe)["key"], new_key()
    one, other = server.place(cafe), server.place(cafe)
    updates = [*moves(one, "start"), *moves(other, "ready", "start", "cancel")]
    first = batch(server, cafe, key, updates, once=once)
    assert statuses(first)[0] == "preparing"
    assert statuses(batch(server, cafe, key, moves(one, "ready", "complete"))) == ["ready", "completed"]
    told = times_told(server, cafe, key)
    again = batch(server, cafe, key, updates, once=once)
    assert again.json() == first.json()
    assert times_told(server, cafe, key) == told
    assert statuses(batch(server, cafe, key, updates, once=new_key()))[0] == "ILLEGAL_MOVE", "without it, it is tried"


def test_a_key_is_one_batch_s_and_no_other_s(server: Server, cafe: Cafe) -> None:
    key, once = server.key(cafe)["key"], new_key()
    one, other = server.place(cafe), server.place(cafe)
    assert statuses(batch(server, cafe, key, moves(one, "start"), once=once)) == ["preparing"]
    for updates in (moves(other, "start"), [*moves(one, "start"), *moves(other, "start")], moves(one, "ready")):
        problem_of(batch(server, cafe, key, updates, once=once), 422, "IDEMPOTENCY_KEY_REUSED")
    problem_of(batch(server, cafe, key, moves(other, "start"), once="1"), 400, "IDEMPOTENCY_KEY_INVALID")
    assert [server.order(cafe, order)["status"] for order in (one, other)] == ["preparing", "pending"]
    assert statuses(batch(server, cafe, server.key(cafe)["key"], moves(other, "start"), once=once)) == ["preparing"], (
        "somebody else's key is another one"
    )


def test_20_at_once_with_one_key_move_each_order_once(server: Server, cafe: Cafe) -> None:
    key, once = server.key(cafe)["key"], new_key()
    orders = [server.place(cafe) for _ in range(10)]
    updates = [move for order in orders for move in moves(order, "start", "ready", "complete")]
    answers = at_once(20, lambda _: batch(server, cafe, key, updates, once=once))
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [answer for answer in answers if answer.status_code == 200]
    assert statuses(done[0]) == ["preparing", "ready", "completed"] * len(orders)
    assert all(answer.json() == done[0].json() for answer in done)
    told = times_told(server, cafe, key)
    assert {told[order["id"], "completed"] for order in orders} == {1}
