"""Webhooks at the door of a whole server: what comes from a provider, what goes to an integrator (spec H1, H2, H5)."""

import json
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tabletap.actors.ports import Heard, Overloaded
from tabletap.http.dispatch import Dispatcher, Performed, Request
from tabletap.http.limits import RateLimiter, RateLimits
from tabletap.http.operations import OPERATIONS
from tabletap.http.operations.webhooks import BODY_BYTES
from tabletap.store.pool import DatabaseDown
from tests.gateways.webhook_receiver import Inbox, Receiver

from .server import Cafe, Server, at_once, new_key, problem_of, until

CARD = "4111 1111 1111 1111"


def event(payment_id: str, sequence: int = 1, type_: str = "payment.succeeded", **more: Any) -> Any:
    """What Payconic says of a payment."""
    status = {"payment.succeeded": "SUCCEEDED", "payment.failed": "FAILED"}.get(type_, "PENDING")
    payment = {"id": "pay_1", "merchantReference": payment_id, "status": status, **more}
    return {"id": f"evt_{new_key()}", "eventType": type_, "sequence": sequence, "data": {"payment": payment}}


def inbox(server: Server, event_id: str) -> Any:
    """The row of an event, or None."""
    listed = server.call("GET", "/api/webhooks/inbox?limit=500", server.admin).json()["webhooks"]
    return next((row for row in listed if row["eventId"] == event_id), None)


def rejections(server: Server) -> list[Any]:
    answer = server.call("GET", "/api/webhooks/rejections?limit=500", server.admin)
    found: list[Any] = answer.json()["rejections"]
    return found


# -- what comes


def test_a_right_webhook_completes_its_payment_and_needs_no_token(server: Server) -> None:
    order = server.place(server.a)
    payment = server.initiate(server.a, order, "payconic_card")
    told = event(payment["paymentId"], capturedAmount=payment["totalAmount"])
    answer = server.tell("payconic", told)
    assert (answer.status_code, answer.json()) == (200, {"received": True})
    until(lambda: server.order(server.a, order)["status"] == "paid")
    row = until(lambda: (found := inbox(server, told["id"])) and found["status"] == "processed" and found)
    assert (row["provider"], row["paymentId"], row["cafeId"]) == ("payconic", payment["paymentId"], server.a.id)


def test_however_often_a_webhook_comes_it_is_answered_and_counts_once(server: Server) -> None:
    order = server.place(server.a)
    payment = server.initiate(server.a, order, "payconic_card")
    told = event(payment["paymentId"], capturedAmount=payment["totalAmount"])
    assert {answer.status_code for answer in at_once(10, lambda _: server.tell("payconic", told))} == {200}
    paid = until(lambda: (now := server.order(server.a, order))["status"] == "paid" and now)
    assert paid["paid"] == payment["totalAmount"]
    assert server.tell("payconic", told).status_code == 200
    assert server.order(server.a, order)["paid"] == payment["totalAmount"]


@pytest.mark.parametrize("signature", ["", "00" * 32, "not hex", "v1,abc"])
def test_a_forged_webhook_is_turned_away_and_noted_without_its_body(server: Server, signature: str) -> None:
    payment = server.initiate(server.a, server.place(server.a), "payconic_card")
    told = event(payment["paymentId"], capturedAmount=payment["totalAmount"], failureReason=CARD)
    problem_of(server.tell("payconic", told, signature=signature), 401, "INVALID_SIGNATURE")
    assert inbox(server, told["id"]) is None
    size = len(json.dumps(told))
    noted = until(lambda: [one for one in rejections(server) if one["bodyBytes"] == size])[0]
    assert (noted["provider"], noted["reason"]) == ("payconic", "forged")
    assert CARD not in json.dumps(noted)
    status = server.call("GET", f"/api/payments/{payment['paymentId']}/status", server.a.tokens["staff"])
    assert status.json()["status"] != "completed"


def test_the_signature_is_over_the_bytes_as_they_came(server: Server) -> None:
    told = event(new_key())
    body = b" " + json.dumps(told, indent=3).encode() + b"\n"
    assert server.tell("payconic", body).status_code == 200
    assert inbox(server, told["id"])["status"] == "ignored"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b"{", b"\xff", b'{"id":"evt_1"}'])
def test_what_is_rightly_signed_and_cannot_be_read_is_turned_away(server: Server, body: bytes) -> None:
    problem_of(server.tell("payconic", body), 400, "MALFORMED")


def test_what_no_table_could_keep_is_turned_away(server: Server) -> None:
    problem_of(server.tell("payconic", {**event(new_key()), "id": "nul \0"}), 400, "MALFORMED")
    problem_of(server.tell("payconic", {**event(new_key()), "id": "x" * 10_000}), 400, "MALFORMED")
    problem_of(server.tell("payconic", {**event(new_key()), "sequence": 1 << 64}), 400, "MALFORMED")
    problem_of(server.tell("payconic", {**event(new_key()), "sequence": 1 << 63}), 400, "MALFORMED")
    problem_of(server.tell("payconic", b" " * (BODY_BYTES + 1)), 413, "PAYLOAD_TOO_LARGE")


def test_an_unknown_provider_is_nobody(server: Server) -> None:
    for provider in ("nobody", "inbox", "PAYCONIC", ""):
        assert server.tell(provider, event(new_key())).status_code in (404, 405)


def test_a_token_that_is_none_is_refused_here_too_and_a_right_one_replaces_no_signature(server: Server) -> None:
    told = event(new_key())
    problem_of(server.tell("payconic", told, authorization="Bearer rubbish"), 401, "INVALID_TOKEN")
    admin = f"Bearer {server.admin}"
    problem_of(server.tell("payconic", told, signature="00", authorization=admin), 401, "INVALID_SIGNATURE")


def test_a_provider_has_no_say_about_a_payment_that_is_not_its_own(server: Server) -> None:
    payment = server.initiate(server.a, server.place(server.a), "cash")
    told = event(payment["paymentId"], capturedAmount=payment["totalAmount"])
    assert server.tell("payconic", told).status_code == 200
    assert inbox(server, told["id"])["status"] == "ignored"


async def test_no_socket_carries_webhooks(server: Server) -> None:
    async with server.socket("orders", server.a, server.admin) as socket:
        answer = await socket.perform("webhooks.receive", {"provider": "payconic"})
        assert answer["code"] == "UNKNOWN_OPERATION"


def test_a_card_number_in_a_webhook_stays_outside(server: Server) -> None:
    payment = server.initiate(server.a, server.place(server.a), "payconic_card")
    told = event(payment["paymentId"], type_="payment.failed", failureReason=f"declined {CARD}")
    assert server.tell("payconic", told).status_code == 200
    path = f"/api/payments/{payment['paymentId']}/status"
    shown = until(
        lambda: (now := server.call("GET", path, server.a.tokens["staff"]).json())["status"] == "failed" and now
    )
    assert "4111" not in json.dumps(shown)


class Door:
    """The door alone, with limits that nobody else would get through twice."""

    def __init__(self, outcome: Exception | None = None) -> None:
        self.taken: list[Heard] = []
        self.outcome = outcome
        services: Any = SimpleNamespace(providers={"us": self}, inbox=self)
        tight = RateLimits(
            address_per_min=1, user_per_min=1, operation_per_min=1, burst=1, keys=10, till_per_min=1, till_burst=1
        )
        self.dispatcher = Dispatcher(services, RateLimiter(tight))

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> Heard:
        assert headers["x-signature"] == "right"
        return Heard(event_id=body.decode(), type="t", payment_id=None)

    async def take(self, provider: str, heard: Heard) -> None:
        self.taken.append(heard)
        if self.outcome is not None:
            raise self.outcome

    async def perform(self, body: bytes) -> Performed:
        operation = OPERATIONS["webhooks.receive"]
        request = Request(
            operation=operation,
            principal=None,
            params={"provider": "us"},
            body=body,
            headers={"x-signature": "right"},
            address="one of theirs",
        )
        return await self.dispatcher.perform(request)


async def test_no_limit_on_addresses_keeps_a_provider_out() -> None:
    door = Door()
    assert {(await door.perform(b"%d" % number)).status for number in range(50)} == {200}
    assert [heard.event_id for heard in door.taken] == [str(number) for number in range(50)]


@pytest.mark.parametrize("trouble", [Overloaded(3), DatabaseDown("away")])
async def test_a_provider_whose_webhook_cannot_be_stored_is_told_to_send_it_again(trouble: Exception) -> None:
    answer = await Door(trouble).perform(b"evt_1")
    assert answer.status == 503
    assert answer.refusal is not None
    assert answer.refusal.retry_after_s == (3 if isinstance(trouble, Overloaded) else 1)


def test_the_installations_admin_sees_all_of_the_inbox_and_others_what_is_theirs(server: Server) -> None:
    payment = server.initiate(server.a, server.place(server.a), "payconic_card")
    ours, nobodys = event(payment["paymentId"], 2), event(new_key())
    for told in (ours, nobodys):
        assert server.tell("payconic", told).status_code == 200
    of_b = server.token("admin", server.b.id)
    seen = server.call("GET", "/api/webhooks/inbox?limit=500", of_b).json()["webhooks"]
    assert not {ours["id"], nobodys["id"]} & {row["eventId"] for row in seen}
    row = inbox(server, ours["id"])
    path = f"/api/webhooks/inbox/{row['webhookId']}/replay"
    problem_of(server.call("POST", path, of_b), 404, "NOT_FOUND")
    problem_of(server.call("POST", path, server.admin), 409, "ILLEGAL_MOVE")
    problem_of(server.call("POST", f"/api/webhooks/inbox/{new_key()}/replay", server.admin), 404, "NOT_FOUND")
    assert server.call("GET", "/api/webhooks/rejections", of_b).json() == {"rejections": []}
    problem_of(server.call("GET", "/api/webhooks/inbox?status=lost", server.admin), 400, "VALIDATION_ERROR")


def test_what_a_provider_numbers_is_told_by_its_numbers(server: Server) -> None:
    payment = server.initiate(server.a, server.place(server.a), "payconic_card")
    first = event(payment["paymentId"], 1, capturedAmount=payment["totalAmount"])
    second = event(payment["paymentId"], 2, "payment.other")
    server.tell("payconic", second)
    until(lambda: inbox(server, second["id"])["status"] == "waiting")
    server.tell("payconic", first)
    until(lambda: inbox(server, second["id"])["status"] == "processed")
    assert inbox(server, first["id"])["status"] == "processed"


# -- what goes


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver().serving() as receiver:
        yield receiver


def endpoint(server: Server, cafe: Cafe, there: Inbox, *types: str) -> Any:
    body = {"cafe": cafe.slug, "url": there.url, "types": types}
    made = server.perform("endpoints.create", body, cafe.tokens["owner"])
    assert made.status_code == 201, made.text
    return made.json()


def test_an_integrator_hears_what_happens_signed_by_the_secret_it_was_told(server: Server, receiver: Receiver) -> None:
    cafe, there = server.open_cafe(), receiver.inbox()
    made = endpoint(server, cafe, there)
    order = server.place(cafe)
    delivery = until(lambda: there.deliveries)[0]
    body = Webhook(made["secret"]).verify(delivery.body, delivery.headers)
    assert body["type"] == "order_created"
    assert body["data"]["orderId"] == order["id"]
    listed = server.perform("endpoints.list", {"cafe": cafe.slug}, cafe.tokens["manager"])
    assert made["secret"] not in listed.text
    assert [one["endpointId"] for one in listed.json()["endpoints"]] == [made["endpointId"]]


def test_an_endpoint_hears_nothing_of_other_cafes_and_nothing_it_did_not_ask_for(
    server: Server, receiver: Receiver
) -> None:
    cafe, there = server.open_cafe(), receiver.inbox()
    made = endpoint(server, cafe, there, "menu_updated")
    server.place(cafe)
    server.place(server.b)
    soup = {"cafe": cafe.slug, "sku": "toast", "available": False}
    assert server.perform("menu.set_availability", soup, cafe.tokens["staff"]).status_code == 200
    until(lambda: there.deliveries)
    tried = server.perform("endpoints.test", {"cafe": cafe.slug, **made}, cafe.tokens["owner"])
    assert tried.status_code == 200, tried.text
    until(lambda: len(there.deliveries) >= 2)
    assert [delivery.event["type"] for delivery in there.deliveries] == ["menu_updated", "test"]


def test_a_message_that_failed_is_in_the_log_and_is_sent_again_under_its_id(server: Server, receiver: Receiver) -> None:
    cafe, there = server.open_cafe(), receiver.inbox()
    there.answer = lambda number: 200 if number > 1 else 202
    made = endpoint(server, cafe, there)
    of_it = {"cafe": cafe.slug, "endpointId": made["endpointId"]}
    owner = cafe.tokens["owner"]
    message = server.perform("endpoints.test", of_it, owner).json()["messageId"]
    log = until(lambda: server.perform("endpoints.attempts", of_it, owner).json()["attempts"])
    assert [(one["messageId"], one["status"], one["messageStatus"]) for one in log] == [(message, 202, "delivered")]
    again = server.perform("endpoints.replay", {**of_it, "messageId": message}, owner)
    assert again.status_code == 200, again.text
    first, second = until(lambda: len(there.deliveries) == 2 and there.deliveries)
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"msg_{message.replace('-', '')}"
    unknown = server.perform("endpoints.replay", {**of_it, "messageId": new_key()}, owner)
    problem_of(unknown, 404, "NOT_FOUND")


def test_a_receiver_that_is_gone_disables_its_endpoint(server: Server, receiver: Receiver) -> None:
    cafe, there = server.open_cafe(), receiver.inbox()
    there.answer = lambda number: 410
    made = endpoint(server, cafe, there)
    of_it, owner = {"cafe": cafe.slug, "endpointId": made["endpointId"]}, cafe.tokens["owner"]
    server.place(cafe)

    def disabled() -> Any:
        (one,) = server.perform("endpoints.list", of_it, owner).json()["endpoints"]
        return not one["enabled"] and one

    assert "410" in until(disabled)["disabledReason"]
    problem_of(server.perform("endpoints.test", of_it, owner), 409, "ILLEGAL_MOVE")
    enabled = server.perform("endpoints.change", {**of_it, "enabled": True}, owner)
    assert (enabled.status_code, enabled.json()["enabled"]) == (200, True)


def test_a_secret_is_renewed_and_what_was_deleted_is_not_there(server: Server, receiver: Receiver) -> None:
    cafe, there = server.open_cafe(), receiver.inbox()
    made = endpoint(server, cafe, there)
    of_it, owner = {"cafe": cafe.slug, "endpointId": made["endpointId"]}, cafe.tokens["owner"]
    renewed = server.perform("endpoints.rotate", of_it, owner).json()["secret"]
    assert renewed != made["secret"]
    server.perform("endpoints.test", of_it, owner)
    delivery = until(lambda: there.deliveries)[0]
    for secret in (made["secret"], renewed):
        assert Webhook(secret).verify(delivery.body, delivery.headers)
    assert server.perform("endpoints.delete", of_it, owner).json() == {"deleted": True}
    for name in ("delete", "rotate", "test", "attempts"):
        problem_of(server.perform(f"endpoints.{name}", of_it, owner), 404, "NOT_FOUND")
    problem_of(server.perform("endpoints.change", {**of_it, "enabled": True}, owner), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "url", ["http://example.org/", "https://user:word@example.org/", "https://169.254.169.254/", "rubbish", ""]
)
def test_an_endpoint_cannot_be_where_nothing_may_be_sent(server: Server, url: str) -> None:
    problem = problem_of(
        server.perform("endpoints.create", {"cafe": server.a.slug, "url": url}, server.admin), 400, "VALIDATION_ERROR"
    )
    assert [error["field"] for error in problem["errors"]] == ["url"]


def test_a_type_that_there_is_not_cannot_be_asked_for(server: Server) -> None:
    body = {"cafe": server.a.slug, "url": "https://example.org/", "types": ["menu_updated", "weather"]}
    problem = problem_of(server.perform("endpoints.create", body, server.admin), 400, "VALIDATION_ERROR")
    assert [error["field"] for error in problem["errors"]] == ["types.1"]


def test_an_order_and_its_payment_are_told_in_their_order(server: Server, receiver: Receiver) -> None:
    cafe, there = server.open_cafe(prepay=("online", "table", "counter")), receiver.inbox()
    endpoint(server, cafe, there)
    order = server.place(cafe)
    server.pay(cafe, order)

    def told() -> list[str]:
        return [delivery.event["type"] for delivery in there.deliveries]

    until(lambda: told().count("payment_update") >= 2 and "paid_order_ready_for_preparation" in told())
    about_it = [one for one in there.deliveries if one.event["data"].get("orderId") == order["id"]]
    times = [one.event["timestamp"] for one in about_it]
    assert times == sorted(times)
    assert told()[0] == "order_created"
    ids = [delivery.headers["webhook-id"] for delivery in there.deliveries]
    assert len(ids) == len(set(ids))
