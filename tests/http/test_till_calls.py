"""Each line of what tills may ask by REST (spec S2), as its document names it: what it answers, and whom it refuses."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tabletap.domain import giftcode

from .server import Cafe, Server, new_key, of_till, problem_of

PHONE = "+61412345678"
MANY = 100_000


class Line(NamedTuple):
    """``path``: below the cafe's; ``answer``: its fields and their types; ``wrong``: bodies that are refused, each with
    its status and code; ``writes``: not for a key that may only read."""

    method: str
    path: str
    answer: Mapping[str, type | tuple[type, ...]]
    body: Mapping[str, Any] | None = None
    writes: bool = False
    wrong: tuple[tuple[Any, int, str], ...] = ()


WRONG_BODIES: tuple[tuple[Any, int, str], ...] = tuple(
    (body, 400, "VALIDATION_ERROR")
    for body in ({}, [], None, {"points": 0, "amount": 0}, {"points": "5", "amount": 1.5})
)
LINES = (
    Line("GET", "health", {"status": str, "tenant": str, "offset": int, "timestamp": str}),
    Line("GET", "orders/pending", {"orders": list, "cursor": int}),
    Line(
        "GET",
        "gift-cards/{card}/balance",
        {"card": str, "balance": int, "currency": str, "status": str, "expiresAt": (str, type(None))},
    ),
    Line(
        "POST",
        "gift-cards/{card}/deduct",
        {"card": str, "deducted": int, "balance": int, "transactionId": str},
        {"amount": 5, "orderId": "R-7"},
        writes=True,
        wrong=(*WRONG_BODIES, ({"amount": MANY}, 400, "INSUFFICIENT_FUNDS")),
    ),
    Line("GET", "loyalty/{phone}/points", {"phone": str, "points": int, "worth": int}),
    Line(
        "POST",
        "loyalty/{phone}/add",
        {"phone": str, "points": int, "transactionId": str, "discount": int},
        {"points": 7, "orderId": "R-7", "reason": "sorry"},
        writes=True,
        wrong=WRONG_BODIES,
    ),
    Line(
        "POST",
        "loyalty/{phone}/redeem",
        {"phone": str, "points": int, "transactionId": str, "discount": int},
        {"points": 2, "orderId": "R-7", "reason": "a coffee"},
        writes=True,
        wrong=(*WRONG_BODIES, ({"points": MANY}, 400, "INSUFFICIENT_FUNDS")),
    ),
    Line("GET", "pos-status", {"connections": list, "tills": list, "offset": int}),
    Line(
        "POST",
        "orders/batch",
        {"results": list},
        {"updates": [{"orderId": "{order}", "move": "accept"}]},
        writes=True,
        wrong=(
            *WRONG_BODIES,
            ({"updates": []}, 400, "VALIDATION_ERROR"),
            ({"updates": [{"orderId": "{order}", "move": "eat"}]}, 400, "VALIDATION_ERROR"),
        ),
    ),
)


class Shop(NamedTuple):
    """A cafe with an order, a gift card, and points under a number."""

    cafe: Cafe
    key: str
    reader: str
    order: str
    card: str

    def path(self, line: Line, slug: str | None = None) -> str:
        return f"/api/{slug or self.cafe.slug}/{line.path.format(card=self.card, phone=PHONE)}"

    def filled(self, body: Any) -> Any:
        """With this shop's order in it."""
        if isinstance(body, dict):
            return {name: self.filled(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self.filled(value) for value in body]
        return self.order if body == "{order}" else body


@pytest.fixture(scope="module")
def shop(server: Server) -> Shop:
    cafe = server.open_cafe(prepay=[], approval=True)
    key, reader = (server.key(cafe, *scopes)["key"] for scopes in ((), ("read",)))
    issued = server.call(
        "POST", f"/api/{cafe.slug}/gift-cards", cafe.tokens["manager"], {"amount": 5_000}, key=new_key()
    )
    given = server.ask(cafe, key, f"loyalty/{PHONE}/add", {"points": 500})
    assert given.status_code == 200, given.text
    return Shop(cafe, key, reader, server.place(cafe)["id"], issued.json()["card"])


@pytest.fixture(params=LINES, ids=lambda line: f"{line.method} {line.path}")
def line(request: pytest.FixtureRequest) -> Line:
    found: Line = request.param
    return found


def asked(server: Server, shop: Shop, line: Line, headers: Mapping[str, str], slug: str | None = None) -> Any:
    body = None if line.body is None else shop.filled(line.body)
    return server.call(line.method, shop.path(line, slug), None, body, headers=headers)


def test_it_answers_with_what_it_promises(server: Server, shop: Shop, line: Line) -> None:
    answer = asked(server, shop, line, of_till(shop.cafe, shop.key))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert line.answer.keys() <= told.keys()
    for name, type_ in line.answer.items():
        assert isinstance(told[name], type_), name
        assert not isinstance(told[name], bool)


def test_without_a_key_or_with_a_wrong_one_nothing_is_told(server: Server, shop: Shop, line: Line) -> None:
    tenant = {"X-Tenant-ID": shop.cafe.slug}
    problem_of(asked(server, shop, line, tenant), 401, "AUTH_REQUIRED")
    problem_of(asked(server, shop, line, {**tenant, "X-API-Key": ""}), 401, "AUTH_REQUIRED")
    problem_of(asked(server, shop, line, {**tenant, "X-API-Key": "tt_wrong"}), 401, "INVALID_TOKEN")
    problem_of(asked(server, shop, line, {"X-API-Key": shop.key}), 400, "VALIDATION_ERROR")


def test_a_key_is_good_at_its_own_cafe_and_for_what_it_was_made(server: Server, shop: Shop, line: Line) -> None:
    elsewhere = server.b.slug
    theirs = of_till(shop.cafe, server.key(server.b)["key"])
    problem_of(asked(server, shop, line, theirs), 403, "FORBIDDEN")
    problem_of(asked(server, shop, line, {**theirs, "X-Tenant-ID": elsewhere}), 403, "FORBIDDEN")
    problem_of(asked(server, shop, line, {"X-API-Key": shop.key, "X-Tenant-ID": elsewhere}), 403, "FORBIDDEN")
    problem_of(asked(server, shop, line, of_till(shop.cafe, shop.key), elsewhere), 403, "FORBIDDEN")
    problem_of(asked(server, shop, line, {"X-API-Key": shop.key, "X-Tenant-ID": "nowhere"}), 403, "FORBIDDEN")
    nowhere = {"X-API-Key": shop.key, "X-Tenant-ID": "nowhere"}
    problem_of(asked(server, shop, line, nowhere, "nowhere"), 404, "NOT_FOUND")
    as_reader = asked(server, shop, line, of_till(shop.cafe, shop.reader))
    if line.writes:
        problem_of(as_reader, 403, "FORBIDDEN")
    else:
        assert as_reader.status_code == 200


def test_what_is_wrong_with_a_body_is_said_and_nothing_is_done(server: Server, shop: Shop, line: Line) -> None:
    if line.body is None:
        return
    headers = of_till(shop.cafe, shop.key)
    looks = ("loyalty/{phone}/points", "gift-cards/{card}/balance")

    def money() -> list[str]:
        paths = [f"/api/{shop.cafe.slug}/{look.format(card=shop.card, phone=PHONE)}" for look in looks]
        return [server.call("GET", path, headers=headers).text for path in paths]

    before = money()
    for body, status, code in line.wrong:
        problem_of(server.call("POST", shop.path(line), None, shop.filled(body), headers=headers), status, code)
    for text in (b"{", b"nonsense", b"\xff", b'{"points":1'):
        problem_of(server.http.post(shop.path(line), content=text, headers=headers), 400, "MALFORMED")
    assert money() == before


def test_a_write_repeated_under_its_key_is_done_once_and_the_key_is_for_nothing_else(
    server: Server, shop: Shop, line: Line
) -> None:
    if not line.writes:
        return
    headers, key, path = of_till(shop.cafe, shop.key), new_key(), shop.path(line)
    body = shop.filled(line.body)
    first, again = (server.call("POST", path, None, body, headers=headers, key=key) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    other = {"points": 1, "amount": 1, "updates": [{"orderId": shop.order, "move": "start"}]}
    problem_of(server.call("POST", path, None, other, headers=headers, key=key), 422, "IDEMPOTENCY_KEY_REUSED")
    problem_of(server.call("POST", path, None, body, headers=headers, key="1"), 400, "IDEMPOTENCY_KEY_INVALID")


def test_who_asks_for_what_is_not_there_hears_so(server: Server, shop: Shop) -> None:
    nobodys = giftcode.spell(b"nobody bought it")
    for path, body in (
        (f"gift-cards/{nobodys}/balance", None),
        (f"gift-cards/{nobodys}/deduct", {"amount": 1}),
        ("gift-cards", None),
        ("orders/waiting", None),
    ):
        answer = server.ask(shop.cafe, shop.key, path, body)
        assert answer.status_code in (404, 405), answer.text
    for path, body in (
        ("gift-cards/12/balance", None),
        ("gift-cards/12/deduct", {"amount": 1}),
        ("loyalty/nobody/points", None),
        ("loyalty/12/add", {"points": 1}),
        ("loyalty/12/redeem", {"points": 1}),
    ):
        problem_of(server.ask(shop.cafe, shop.key, path, body), 400, "VALIDATION_ERROR")
    (result,) = server.ask(
        shop.cafe, shop.key, "orders/batch", {"updates": [{"orderId": new_key(), "move": "accept"}]}
    ).json()["results"]
    assert result["refused"]["code"] == "NOT_FOUND"


def test_a_repeat_by_another_name_of_the_same_till_is_still_the_same_sale(server: Server, shop: Shop) -> None:
    """Two machines under one key share its idempotency: a sale that moved from one to the other is charged once."""
    key, path = new_key(), f"gift-cards/{shop.card}/deduct"
    answers = [
        server.call(
            "POST",
            f"/api/{shop.cafe.slug}/{path}",
            None,
            {"amount": 3},
            headers=of_till(shop.cafe, shop.key),
            params={"till": name},
            key=key,
        )
        for name in ("front", "bar")
    ]
    assert answers[0].status_code == 200
    assert answers[0].json() == answers[1].json()
