"""What ``/openapi.json`` says of every operation is what a client finds (spec Q5): schemathesis asks, from outside.

Each operation is asked a few things that its schema allows and a few that it forbids, always the same ones, as the
installation's admin, at a cafe to which nothing was done. No answer may be a 5xx, or of a status, type or shape that
the document does not tell of.
"""

from collections.abc import Callable, Mapping
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tabletap.http.operations import OPERATIONS
from tabletap.http.operations.base import Named

from .server import MENU, SETTINGS, Server, new_key

EXAMPLES = 6
"""Per operation and mode: some 500 requests in all."""

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


SHIFT = {
    "from": "2026-01-01T00:00:00Z",
    "to": "2126-01-01T00:00:00Z",
    "staff": [{"user": "sam", "role": "floor"}],
}

REPORT = {
    "reportDate": "2026-01-01",
    "totalSales": 100,
    "totalOrders": 1,
    "cashSales": 100,
    "cardSales": 0,
    "netSales": 100,
}

PHONE = "+61412345678"

KNOWN: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "cafes.open": lambda ids: {"slug": f"{ids['cafe']}-more", "settings": SETTINGS, "menu": MENU},
    "menu.publish": lambda ids: MENU,
    "orders.place": lambda ids: {"channel": "online", "items": [{"sku": ids["sku"], "quantity": 1}]},
    "orders.move": lambda ids: {"table": ids["table"]},
    "orders.merge": lambda ids: {"into": ids["other"]},
    "payments.verify": lambda ids: {"tendered": 100},
    "drawers.pay": lambda ids: {"amount": 5, "reason": "change"},
    "credits.add": lambda ids: {"cafe": ids["cafe"], "customerId": "ann", "amount": 5, "reason": "sorry"},
    "credits.deduct": lambda ids: {"cafe": ids["cafe"], "customerId": "ann", "amount": 5, "reason": "a slip"},
    "tips.distribute": lambda ids: SHIFT,
    "tips.payout": lambda ids: {"user": "sam", "amount": 5, "way": "cash"},
    "endpoints.create": lambda ids: {"url": "http://127.0.0.1:1/"},
    "endpoints.change": lambda ids: {"url": "http://127.0.0.1:2/"},
    "endpoints.replay": lambda ids: {"messageId": ids["messageId"]},
    "pos.batch": lambda ids: {"updates": [{"orderId": ids["orderId"], "move": "start"}]},
    "pos_keys.make": lambda ids: {"name": "Front"},
    "tokens.revoke": lambda ids: {"tokenId": ids["jobId"]},
    "installation.revoke": lambda ids: {"user": ids["jobId"]},
    "gift_cards.deduct": lambda ids: {"amount": 5},
    "gift_cards.refund": lambda ids: {"amount": 5, "transactionId": ids["transactionId"]},
    "loyalty.add": lambda ids: {"points": 5},
    "loyalty.redeem": lambda ids: {"points": 5},
    "loyalty.redeem_on_order": lambda ids: {"points": 5},
    "reports.upload": lambda ids: REPORT,
    "reports.close": lambda ids: {"force": True},
    "statements.import": lambda ids: {"csv": "Date,Amount,Description", "format": {"amount": "Amount"}},
}
"""Bodies that no schema leads to, because they name what exists: the first thing that is asked."""


@pytest.fixture(scope="module")
def untouched() -> list[Mapping[str, str]]:
    """Things that a test had and did nothing to: good for another."""
    return []


@pytest.fixture
def ids(server: Server, untouched: list[Mapping[str, str]]) -> Mapping[str, str]:
    """Things that exist, for the paths; nothing was ever done to them."""
    return untouched.pop() if untouched else things(server)


def things(server: Server) -> Mapping[str, str]:
    """One of each, at a cafe of their own."""
    cafe = server.open_cafe(loyalty={"pointsPerUnit": 1})
    order = server.place(cafe, None, customer={"phone": PHONE})
    payment = server.initiate(cafe, order, amount=100)
    drawer = server.perform(
        "drawers.open", {"cafe": cafe.slug, "name": "Till", "floatAmount": 0}, server.admin, key=new_key()
    )
    hook = {"cafe": cafe.slug, "url": "http://127.0.0.1:1/", "types": ["menu_updated"]}
    endpoint = server.perform("endpoints.create", hook, server.admin)
    message = server.perform("endpoints.test", {**endpoint.json(), **hook}, server.admin)
    elsewhere = server.initiate(cafe, order, "payconic_card", amount=100)
    wire = {"id": "pay_1", "merchantReference": elsewhere["paymentId"], "status": "PENDING"}
    event = {"id": f"evt_{new_key()}", "eventType": "payment.other", "sequence": 2, "data": {"payment": wire}}
    assert server.tell("payconic", event).status_code == 200
    webhook = server.call("GET", "/api/webhooks/inbox?limit=1", server.admin).json()["webhooks"][0]
    issued = {"cafe": cafe.slug, "amount": 90_000}
    card = server.perform("gift_cards.issue", issued, server.admin, key=new_key()).json()["card"]
    used = server.perform("gift_cards.deduct", {"cafe": cafe.slug, "card": card, "amount": 100}, server.admin)
    points = {"cafe": cafe.slug, "phone": PHONE, "points": 100}
    assert server.perform("loyalty.add", points, server.admin).status_code == 200
    closed = server.perform("reports.close", {"cafe": cafe.slug, "force": True}, server.admin, key=new_key())
    return {
        "cafe": cafe.slug,
        "card": card,
        "phone": PHONE,
        "transactionId": used.json()["transactionId"],
        "orderId": order["id"],
        "paymentId": payment["paymentId"],
        "drawerId": drawer.json()["drawerId"],
        "jobId": new_key(),
        "sku": "toast",
        "table": "1",
        "line": "1",
        "endpointId": endpoint.json()["endpointId"],
        "messageId": message.json()["messageId"],
        "keyId": server.key(cafe)["keyId"],
        "webhookId": webhook["webhookId"],
        "other": server.place(cafe)["id"],
        "day": "2026-01-01",
        "number": str(closed.json()["number"]),
    }


@pytest.fixture
def money(server: Server, ids: Mapping[str, str]) -> None:
    """Something to take: credit, tips that are owed to somebody, and some that nobody has shared out."""
    given = {"cafe": ids["cafe"], "customerId": "ann", "amount": 100, "reason": "sorry"}
    assert server.perform("credits.add", given, server.admin, key=new_key()).status_code == 200
    for shared_out in (True, False):
        begun = {"orderId": ids["other"], "paymentMethod": "cash", "amount": 100, "tipAmount": 100}
        payment = server.perform("payments.initiate", begun, server.admin, key=new_key()).json()
        counted = {"paymentId": payment["paymentId"], "tendered": 200}
        assert server.perform("payments.verify", counted, server.admin, key=new_key()).status_code == 200
        if shared_out:
            shared = {"cafe": ids["cafe"], **SHIFT}
            assert server.perform("tips.distribute", shared, server.admin, key=new_key()).status_code == 201


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    config = schemathesis.Config.from_dict({})
    return schemathesis.openapi.from_dict(server.call("GET", "/openapi.json").json(), config=config)


UNSIGNED = {name: operation for name, operation in OPERATIONS.items() if not operation.signed_bytes}
"""What can be asked without a secret of somebody else's."""

ASKED = [(name, GenerationMode.POSITIVE) for name in UNSIGNED] + [
    (name, GenerationMode.NEGATIVE)
    for name, operation in UNSIGNED.items()
    if not operation.access.public or operation.body is not None  # else there is nothing that could be wrong
]


@pytest.mark.parametrize(("name", "mode"), ASKED)
def test_every_answer_is_one_that_the_document_tells_of(
    name: str, mode: GenerationMode, server: Server, ids: Any, untouched: Any, document: Any, request: Any
) -> None:
    operation = OPERATIONS[name]
    if about_money := name.startswith(("credits.", "tips.")):
        request.getfixturevalue("money")
    described = document[operation.path][operation.method]
    answers: set[int] = set()
    asked = 0

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=described.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        nonlocal asked
        if mode is GenerationMode.POSITIVE or asked % 2:
            # Else hardly any request would get past the first door: ids that exist are not found by chance.
            case.path_parameters = {**(case.path_parameters or {}), **{p: ids[p] for p in operation.params}}
            if isinstance(case.body, dict) and "orderId" in case.body:
                case.body["orderId"] = ids["orderId"]
            if operation.cafe_by is Named.QUERY:
                case.query = {**(case.query or {}), "cafe": ids["cafe"], "customerId": "ann"}
            if case.headers is not None:
                case.headers.pop("X-API-Key", None)  # a person asks here; see test_tills
            if asked == 0 and name in KNOWN:
                case.body = KNOWN[name](ids)
        asked += 1
        response = case.call(base_url=server.url, headers={"authorization": f"Bearer {server.admin}"})
        answers.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    ask()
    if mode is GenerationMode.POSITIVE:
        assert answers - {400, 404}, "nothing was asked that an operation could have done"
        assert not answers & {401, 403}
    assert server.call("GET", "/health").status_code == 200
    if not about_money and (operation.method == "GET" or min(answers) >= 400):
        untouched.append(ids)
