"""The Payconic sandbox as a process, over real HTTP: every line of its wire format, and every way to misbehave."""

import hashlib
import hmac
import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import httpx
import pytest
import trio

from tabletap.gateways.sandbox import api, process
from tabletap.gateways.sandbox import book as books
from tabletap.gateways.sandbox.account import DISPUTE_FEE
from tabletap.gateways.sandbox.doors import Credentials
from tabletap.gateways.sandbox.wire import BODY_BYTES, PAGE_PAYMENTS, sign

from .sandbox_process import (
    KEY,
    MERCHANT,
    PATIENCE_S,
    POLL_S,
    WEBHOOK_SECRET,
    in_seconds,
    payment_request,
    running_sandbox,
)
from .webhook_receiver import Receiver


@pytest.fixture(scope="module")
def receiver():
    with Receiver().serving() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def running(receiver):
    """``anywhere``: a callback for payments whose webhooks are of no interest."""
    with running_sandbox() as sandbox:
        sandbox.anywhere = receiver.inbox().url
        yield sandbox


@pytest.fixture
def sandbox(running):
    """Well-behaved, whatever the test before made of it."""
    running.misbehave()
    running.auto()
    return running


@pytest.fixture
def inbox(receiver):
    return receiver.inbox()


def refused(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.json().keys() == {"code", "message", "traceId", "spanId"}
    assert response.headers["content-type"] == "application/json"


def ask(client, sandbox, asked, **more):
    """Ask for a payment over a connection of one's own."""
    headers = {"Authorization": f"Bearer {KEY}", "X-Merchant-ID": MERCHANT, "Idempotency-Key": str(uuid.uuid4())}
    return client.post(f"{sandbox.url}/v1/payments", json=asked, headers=headers, **more)


def refund(sandbox, payment, amount=100, *, key=None, **more):
    """Ask for a refund of a payment."""
    body = {"merchantReference": key or str(uuid.uuid4()), "amount": amount, "reason": None, **more}
    return sandbox.post(f"/v1/payments/{payment['id']}/refunds", body, key=key or body["merchantReference"])


def paid(sandbox, url=None, **more):
    """A payment by card that has succeeded."""
    return sandbox.act(sandbox.pay(url or sandbox.anywhere, **more)["id"], "approve")


def at_once(works):
    """What each answers, all of them let go at the same moment."""
    gate = Barrier(len(works))

    def run(work):
        gate.wait(PATIENCE_S)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def until(condition):
    """Wait until it holds; what it answers then."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    return found


class TestPayments:
    def test_a_payment_is_made_as_it_was_asked_for(self, sandbox):
        asked = payment_request(sandbox.anywhere, amount=1999, method="digital_wallet")
        made = sandbox.post("/v1/payments", asked, key=asked["merchantReference"])
        assert made.status_code == 201
        payment = made.json()
        here, checkout = f"{sandbox.url}/v1/payments/{payment['id']}", f"{sandbox.url}/checkout/{payment['id']}"
        assert re.fullmatch("pay_[0-9a-f]{24}", payment.pop("id"))
        assert payment.pop("createdAt").endswith("Z")
        assert payment.pop("expiresAt") == asked["expiresAt"].replace("+00:00", "Z")
        assert payment == {
            "merchantReference": asked["merchantReference"],
            "status": "PENDING",
            "amount": 1999,
            "currency": "AUD",
            "method": "digital_wallet",
            "capturedAmount": 0,
            "refundedAmount": 0,
            "fee": 0,
            "failureReason": None,
            "sequence": 0,
            "_links": {"self": {"href": here}, "checkout": {"href": checkout}, "cancel": {"href": here}},
        }

    def test_the_same_key_and_body_are_the_same_payment_as_it_stands_now(self, sandbox):
        asked = payment_request(sandbox.anywhere)
        first = sandbox.post("/v1/payments", asked, key="again-and-again")
        again = sandbox.post("/v1/payments", asked, key="again-and-again")
        assert (first.status_code, again.status_code) == (201, 200)
        assert again.json() == first.json()
        sandbox.act(first.json()["id"], "approve")
        assert sandbox.post("/v1/payments", asked, key="again-and-again").json()["status"] == "SUCCEEDED"

    def test_the_same_key_at_once_is_one_payment(self, sandbox):
        asked = payment_request(sandbox.anywhere)
        answers = at_once([lambda: sandbox.post("/v1/payments", asked, key=asked["merchantReference"])] * 8)
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1

    def test_a_key_with_another_body_is_refused(self, sandbox):
        asked = payment_request(sandbox.anywhere)
        sandbox.post("/v1/payments", asked, key=asked["merchantReference"])
        other = sandbox.post("/v1/payments", {**asked, "amount": 1}, key=asked["merchantReference"])
        refused(other, 422, "IDEMPOTENCY_MISMATCH")

    def test_a_reference_under_another_key_is_refused(self, sandbox):
        asked = payment_request(sandbox.anywhere)
        sandbox.post("/v1/payments", asked)
        refused(sandbox.post("/v1/payments", asked), 409, "DUPLICATE_REFERENCE")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"amount": 0},
            {"amount": "12.50"},
            {"currency": "aud"},
            {"method": "cash"},
            {"expiresAt": "soon"},
            {"expiresAt": "2026-01-01T00:00:00"},
            {"callbackUrl": "ftp://x"},
            {"returnUrl": "http://x:port/"},
            {"returnUrl": "http://evil; script-src *"},
            {"merchantReference": ""},
            {"unknown": 1},
        ],
    )
    def test_a_body_that_is_not_right_is_refused(self, sandbox, wrong):
        before = len(sandbox.statement()["payments"])
        refused(sandbox.post("/v1/payments", payment_request(sandbox.anywhere, **wrong)), 400, "INVALID_REQUEST")
        assert len(sandbox.statement()["payments"]) == before

    def test_a_post_needs_its_key(self, sandbox):
        answer = sandbox.http.post("/v1/payments", json=payment_request(sandbox.anywhere))
        refused(answer, 400, "IDEMPOTENCY_KEY_MISSING")

    @pytest.mark.parametrize("path", ["/v1/payments", "/v1/payments/pay_x", "/v1/payments/pay_x/refunds"])
    @pytest.mark.parametrize("wrong", [{"Authorization": "Bearer x"}, {"Authorization": ""}, {"X-Merchant-ID": "x"}])
    def test_only_the_merchant_comes_in(self, sandbox, path, wrong):
        refused(sandbox.http.get(path, headers=wrong), 401, "UNAUTHORIZED")

    @pytest.mark.parametrize("path", ["/control/statement", "/control/quiet", "/control/deliveries"])
    def test_control_needs_the_key(self, sandbox, path):
        refused(httpx.get(sandbox.url + path, trust_env=False), 401, "UNAUTHORIZED")
        told = httpx.get(sandbox.url + path, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
        assert told.status_code == 200

    def test_what_is_not_there_is_not_found(self, sandbox):
        refused(sandbox.http.get("/v1/payments/pay_x"), 404, "PAYMENT_NOT_FOUND")
        refused(sandbox.http.delete("/v1/payments/pay_x"), 404, "PAYMENT_NOT_FOUND")
        refused(refund(sandbox, {"id": "pay_x"}), 404, "PAYMENT_NOT_FOUND")
        refused(sandbox.http.get("/v1/nothing"), 404, "NOT_FOUND")
        refused(sandbox.http.put("/v1/payments", json={}), 405, "METHOD_NOT_ALLOWED")

    def test_a_body_is_bounded(self, sandbox):
        refused(sandbox.post("/v1/payments", {"description": "x" * BODY_BYTES}), 413, "PAYLOAD_TOO_LARGE")

    def test_a_payment_is_found_by_its_reference(self, sandbox):
        payment = sandbox.pay(sandbox.anywhere)
        found = sandbox.http.get("/v1/payments", params={"merchantReference": payment["merchantReference"]})
        assert found.json() == {"payments": [payment]}
        assert sandbox.http.get("/v1/payments", params={"merchantReference": "nobody"}).json() == {"payments": []}

    def test_pages_are_in_the_order_of_change_and_miss_nothing_that_changes_meanwhile(self, sandbox):
        since = in_seconds(0)
        made = [sandbox.pay(sandbox.anywhere)["id"] for _ in range(5)]
        seen, after = [], {}
        while True:
            asked = {"updatedSince": since, "limit": 2, **after}
            page = sandbox.http.get("/v1/payments", params=asked).json()
            seen += [payment["id"] for payment in page["payments"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
            for ident in (page["next"], made[-1]):  # what was seen changes, and what was not
                if sandbox.payment(ident)["status"] == "PENDING":
                    sandbox.act(ident, "approve")
        assert seen == made
        later = in_seconds(0)
        for ident in (made[2], made[0]):
            sandbox.act(ident, "dispute" if sandbox.payment(ident)["status"] == "SUCCEEDED" else "approve")
        changed = sandbox.http.get("/v1/payments", params={"updatedSince": later}).json()
        assert [payment["id"] for payment in changed["payments"]] == [made[2], made[0]]

    @pytest.mark.parametrize(
        ("asked", "code"),
        [
            ({"limit": "0"}, "INVALID_REQUEST"),
            ({"limit": str(PAGE_PAYMENTS + 1)}, "INVALID_REQUEST"),
            ({"updatedSince": "today"}, "INVALID_REQUEST"),
            ({"updatedSince": "2026-01-01T00:00:00"}, "INVALID_REQUEST"),
            ({"after": "pay_x"}, "PAYMENT_NOT_FOUND"),
        ],
    )
    def test_a_page_that_there_is_not_is_refused(self, sandbox, asked, code):
        refused(sandbox.http.get("/v1/payments", params=asked), 404 if code == "PAYMENT_NOT_FOUND" else 400, code)


class TestLives:
    @pytest.mark.parametrize(
        ("move", "status", "event"),
        [
            ("approve", "SUCCEEDED", "payment.succeeded"),
            ("decline", "FAILED", "payment.failed"),
            ("cancel", "CANCELLED", "payment.cancelled"),
            ("expire", "EXPIRED", "payment.cancelled"),
        ],
    )
    def test_what_becomes_of_a_payment_is_told_once(self, sandbox, inbox, move, status, event):
        payment = sandbox.pay(inbox.url, amount=1250)
        moved = sandbox.act(payment["id"], move)
        succeeded = move == "approve"
        assert moved["status"] == status
        assert (moved["capturedAmount"], moved["fee"]) == ((1250, 36) if succeeded else (0, 0))  # 2.9 % is 36.25
        assert (moved["failureReason"] is not None) == (move == "decline")
        assert moved["_links"].keys() == {"self", "checkout"} | ({"refund"} if succeeded else set())
        (told,) = inbox.until(1)
        assert told.event.keys() == {"id", "eventType", "sequence", "createdAt", "data"}
        assert (told.event["eventType"], told.event["sequence"]) == (event, 1)
        assert re.fullmatch("evt_[0-9a-f]{24}", told.event["id"])
        assert told.event["data"] == {"payment": moved}
        refused(sandbox.http.delete(f"/v1/payments/{payment['id']}"), 422, "PAYMENT_NOT_PENDING")
        refused(sandbox.http.post(f"/control/payments/{payment['id']}/approve"), 422, "PAYMENT_NOT_PENDING")
        sandbox.until_quiet()
        assert len(inbox.deliveries) == 1

    def test_the_fee_is_rounded_half_up(self, sandbox):
        assert paid(sandbox, amount=500)["fee"] == 15  # 14.5
        assert paid(sandbox, amount=499)["fee"] == 14  # 14.471

    def test_a_transfer_takes_its_time_and_cannot_be_cancelled_meanwhile(self, sandbox, inbox):
        payment = sandbox.pay(inbox.url, method="bank_transfer")
        approved = sandbox.act(payment["id"], "approve")
        assert (approved["status"], approved["capturedAmount"]) == ("AUTHORIZED", 0)
        assert approved["_links"].keys() == {"self", "checkout"}
        refused(sandbox.http.delete(f"/v1/payments/{payment['id']}"), 422, "PAYMENT_NOT_PENDING")
        assert not sandbox.quiet()["quiet"]
        (told,) = inbox.until(1)
        assert told.event["eventType"] == "payment.succeeded"
        assert told.event["data"]["payment"] == sandbox.payment(payment["id"])
        sandbox.until_quiet()

    def test_a_merchant_may_cancel_until_it_is_approved(self, sandbox, inbox):
        payment = sandbox.pay(inbox.url)
        assert sandbox.http.get(f"/checkout/{payment['id']}").status_code == 200
        opened = sandbox.payment(payment["id"])
        assert opened["status"] == "IDENTIFIED"
        cancelled = sandbox.http.delete(opened["_links"]["cancel"]["href"])
        assert (cancelled.status_code, cancelled.json()["status"]) == (200, "CANCELLED")
        inbox.until(1)
        assert inbox.told() == [(1, "payment.cancelled")]

    def test_of_a_cancel_and_an_approval_at_once_one_wins(self, sandbox, inbox):
        for _ in range(10):
            payment = sandbox.pay(inbox.url)
            answers = at_once(
                [lambda ident=payment["id"]: sandbox.http.delete(f"/v1/payments/{ident}")] * 2
                + [lambda ident=payment["id"]: sandbox.http.post(f"/control/payments/{ident}/approve")] * 2
            )
            assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]
            (won,) = (answer.json() for answer in answers if answer.status_code == 200)
            assert sandbox.payment(payment["id"]) == won
            assert won["sequence"] == 1
        inbox.until(10)

    def test_a_payment_expires_by_itself(self, sandbox, inbox):
        soon = sandbox.pay(inbox.url, expiresAt=in_seconds(0.4))
        assert soon["status"] == "PENDING"
        (told,) = inbox.until(1)
        assert told.event["eventType"] == "payment.cancelled"
        assert told.event["data"]["payment"]["status"] == "EXPIRED" == sandbox.payment(soon["id"])["status"]
        assert sandbox.pay(sandbox.anywhere, expiresAt=in_seconds(-60))["status"] == "EXPIRED"

    def test_new_payments_are_approved_or_declined_by_themselves_if_it_is_told_so(self, sandbox, inbox):
        before = sandbox.pay(inbox.url)
        sandbox.auto(approveAfterMs=[0, 50])
        approved = sandbox.pay(inbox.url)
        inbox.until(1)
        sandbox.auto(approveAfterMs=[0, 50], decline=1.0)
        declined = sandbox.pay(inbox.url)
        inbox.until(2)
        sandbox.auto()
        after = sandbox.pay(inbox.url)
        sandbox.until_quiet()
        stands = [sandbox.payment(one["id"])["status"] for one in (before, approved, declined, after)]
        assert stands == ["PENDING", "SUCCEEDED", "FAILED", "PENDING"]


class TestRefunds:
    def test_a_refund_is_given_and_told(self, sandbox, inbox):
        payment = paid(sandbox, inbox.url, amount=1000)
        made = refund(sandbox, payment, 300, key="the-first", reason="too cold")
        assert made.status_code == 201
        assert re.fullmatch("ref_[0-9a-f]{24}", made.json()["id"])
        assert {name: value for name, value in made.json().items() if name not in {"id", "createdAt"}} == {
            "paymentId": payment["id"],
            "merchantReference": "the-first",
            "status": "SUCCEEDED",
            "amount": 300,
            "failureReason": None,
        }
        _, told = inbox.until(2)
        now = sandbox.payment(payment["id"])
        assert now["refundedAmount"] == 300
        assert (told.event["eventType"], told.event["sequence"]) == ("refund.succeeded", 2)
        assert told.event["data"] == {"payment": now, "refund": made.json()}

    def test_refunds_never_exceed_the_payment_even_at_once(self, sandbox):
        payment = paid(sandbox, amount=1250)
        answers = at_once([lambda: refund(sandbox, payment, 100)] * 15)
        assert sorted(answer.status_code for answer in answers) == [201] * 12 + [422] * 3
        refused(refund(sandbox, payment, 51), 422, "REFUND_EXCEEDS_PAYMENT")
        assert refund(sandbox, payment, 50).status_code == 201
        assert sandbox.payment(payment["id"])["refundedAmount"] == 1250

    def test_a_refund_is_given_once_for_its_key(self, sandbox):
        payment = paid(sandbox, amount=100)
        answers = at_once([lambda: refund(sandbox, payment, 100, key="one-refund")] * 6)
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1
        refused(refund(sandbox, payment, 99, key="one-refund"), 422, "IDEMPOTENCY_MISMATCH")
        path = f"/v1/payments/{payment['id']}/refunds"
        other = sandbox.post(path, {"merchantReference": "one-refund", "amount": 1, "reason": None})
        refused(other, 409, "DUPLICATE_REFERENCE")

    @pytest.mark.parametrize("move", [None, "decline", "cancel"])
    def test_only_what_was_paid_can_be_refunded(self, sandbox, move):
        payment = sandbox.pay(sandbox.anywhere)
        if move:
            sandbox.act(payment["id"], move)
        refused(refund(sandbox, payment), 422, "PAYMENT_NOT_REFUNDABLE")

    def test_refunds_are_listed_and_found_by_their_reference(self, sandbox):
        payment = paid(sandbox)
        first, second = (refund(sandbox, payment).json() for _ in range(2))
        path = f"/v1/payments/{payment['id']}/refunds"
        assert sandbox.http.get(path).json() == {"refunds": [first, second]}
        found = sandbox.http.get(path, params={"merchantReference": second["merchantReference"]})
        assert found.json() == {"refunds": [second]}
        assert sandbox.http.get(path, params={"merchantReference": "x"}).json() == {"refunds": []}

    def test_a_transfers_refund_is_pending_first_and_counts_already(self, sandbox, inbox):
        payment = sandbox.pay(inbox.url, method="bank_transfer", amount=1000)
        sandbox.act(payment["id"], "approve")
        inbox.until(1)
        assert refund(sandbox, payment, 1000, key="slowly").json()["status"] == "PENDING"
        refused(refund(sandbox, payment, 1), 422, "REFUND_EXCEEDS_PAYMENT")
        assert sandbox.payment(payment["id"])["refundedAmount"] == 0
        inbox.until(2)
        assert inbox.told()[1] == (2, "refund.succeeded")
        assert sandbox.payment(payment["id"])["refundedAmount"] == 1000

    def test_a_refund_that_fails_can_be_asked_for_again(self, sandbox, inbox):
        payment = paid(sandbox, inbox.url, amount=1000)
        sandbox.misbehave(failRefunds=1.0)
        failed = refund(sandbox, payment, 1000).json()
        assert failed["status"] == "FAILED"
        assert failed["failureReason"]
        sandbox.misbehave()
        assert refund(sandbox, payment, 1000).json()["status"] == "SUCCEEDED"
        inbox.until(3)
        assert inbox.told() == [(1, "payment.succeeded"), (2, "refund.failed"), (3, "refund.succeeded")]

    def test_a_dispute_takes_back_what_is_left_until_it_is_won(self, sandbox, inbox):
        payment = paid(sandbox, inbox.url, amount=1000)
        refund(sandbox, payment, 400)
        sandbox.act(payment["id"], "dispute")
        refused(refund(sandbox, payment, 1), 422, "REFUND_EXCEEDS_PAYMENT")
        refused(sandbox.http.post(f"/control/payments/{payment['id']}/dispute"), 422, "PAYMENT_NOT_DISPUTABLE")
        sandbox.act(payment["id"], "win-dispute")
        refused(sandbox.http.post(f"/control/payments/{payment['id']}/win-dispute"), 422, "NO_OPEN_DISPUTE")
        assert refund(sandbox, payment, 600).status_code == 201
        opened, won = (delivery.event for delivery in inbox.until(5)[2:4])
        assert [opened["eventType"], won["eventType"]] == ["dispute.opened", "dispute.won"]
        told = opened["data"]["dispute"]
        assert told == won["data"]["dispute"]
        assert told.keys() == {"id", "amount", "fee", "reason"}
        assert (told["amount"], told["fee"]) == (600, DISPUTE_FEE)


class TestWebhooks:
    def test_the_signature_is_hmac_sha256_over_the_raw_body(self, sandbox, inbox):
        # The vector that Wikipedia's article on HMAC gives.
        fox = b"The quick brown fox jumps over the lazy dog"
        assert sign("key", fox) == "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
        paid(sandbox, inbox.url)
        (told,) = inbox.until(1)
        assert told.headers["content-type"] == "application/json"
        known = hmac.new(WEBHOOK_SECRET.encode(), told.body, hashlib.sha256).hexdigest()
        assert told.headers["x-payconic-signature"] == known

    def test_it_is_told_again_in_the_same_bytes_until_it_is_taken(self, sandbox, receiver):
        inboxes = {status: receiver.inbox() for status in (302, 404, 429, 500)}
        for status, inbox in inboxes.items():
            inbox.answer = lambda number, status=status: status if number == 1 else 204
            paid(sandbox, inbox.url)
        for inbox in inboxes.values():
            first, again = inbox.until(2)
            assert first.body == again.body
            assert first.headers["x-payconic-signature"] == again.headers["x-payconic-signature"]
        sandbox.until_quiet()
        assert {len(inbox.deliveries) for inbox in inboxes.values()} == {2}

    def test_they_are_in_order_and_one_that_is_not_taken_does_not_hold_up_the_next(self, sandbox, inbox):
        inbox.answer = lambda number: 503 if number == 1 else 200
        payment = paid(sandbox, inbox.url)
        for _ in range(3):
            refund(sandbox, payment)
        inbox.until(5)
        assert [sequence for sequence, _ in inbox.told()] == [1, 2, 3, 4, 1]


class TestMisbehaviour:
    def test_a_payment_is_made_and_its_answer_never_comes(self, sandbox):
        sandbox.misbehave(timeoutAfterCharging=1.0)
        asked = payment_request(sandbox.anywhere)
        with pytest.raises(httpx.ReadTimeout):
            sandbox.post("/v1/payments", asked, key=asked["merchantReference"], timeout=0.3)
        found = sandbox.http.get("/v1/payments", params={"merchantReference": asked["merchantReference"]})
        (made,) = found.json()["payments"]
        again = sandbox.post("/v1/payments", asked, key=asked["merchantReference"])
        assert (again.status_code, again.json()) == (200, made)

    async def test_who_waits_for_it_is_cut_off_in_the_end(self, monkeypatch):
        monkeypatch.setattr(api, "HANGS_S", 0.05)
        told, ready = trio.open_memory_channel(1)
        credentials = Credentials(key=KEY, merchant_id=MERCHANT, webhook_secret=WEBHOOK_SECRET)
        serve = partial(process.run, credentials, host="127.0.0.1", port=0, state=":memory:", until_stdin_closes=False)
        headers = {"Authorization": f"Bearer {KEY}", "X-Merchant-ID": MERCHANT, "Idempotency-Key": "waits"}
        async with trio.open_nursery() as nursery, httpx.AsyncClient(trust_env=False, headers=headers) as client:
            nursery.start_soon(partial(serve, ready=told.send_nowait))
            url = await ready.receive()
            await client.post(f"{url}/control/misbehave", json={"timeoutAfterCharging": 1.0})
            with pytest.raises(httpx.ReadError):
                await client.post(f"{url}/v1/payments", json=payment_request(url), timeout=PATIENCE_S)
            found = await client.get(f"{url}/v1/payments")
            assert len(found.json()["payments"]) == 1
            nursery.cancel_scope.cancel()

    def test_a_refund_is_given_and_its_answer_never_comes(self, sandbox):
        payment = paid(sandbox)
        sandbox.misbehave(timeoutAfterCharging=1.0)
        path, body = f"/v1/payments/{payment['id']}/refunds", {"merchantReference": "r-lost", "amount": 7}
        with pytest.raises(httpx.ReadTimeout):
            sandbox.post(path, body, key="r-lost", timeout=0.3)
        assert sandbox.payment(payment["id"])["refundedAmount"] == 7
        assert sandbox.post(path, body, key="r-lost").status_code == 200

    def test_every_webhook_is_sent_twice(self, sandbox, inbox):
        sandbox.misbehave(duplicate=1.0)
        paid(sandbox, inbox.url)
        first, second = inbox.until(2)
        assert first.body == second.body
        assert inbox.told() == [(1, "payment.succeeded")] * 2

    def test_a_webhook_lets_the_next_one_go_first(self, sandbox, inbox):
        sandbox.misbehave(reorder=1.0)
        refund(sandbox, paid(sandbox, inbox.url))
        inbox.until(2)
        assert inbox.told() == [(2, "refund.succeeded"), (1, "payment.succeeded")]

    def test_a_forger_claims_what_is_not_so_and_does_not_know_the_secret(self, sandbox, inbox):
        forged, accepted = (sandbox.statement()[name] for name in ("forged", "forgedAccepted"))
        sandbox.misbehave(forge=1.0)
        inbox.answer = lambda number: 401
        payment = sandbox.pay(inbox.url)
        (lie,) = inbox.until(1)
        assert lie.event["eventType"] == "payment.succeeded"
        claimed = lie.event["data"]["payment"]
        assert (claimed["id"], claimed["status"], claimed["capturedAmount"]) == (payment["id"], "SUCCEEDED", 1250)
        assert sandbox.payment(payment["id"])["status"] == "PENDING"
        assert lie.headers["x-payconic-signature"] != sign(WEBHOOK_SECRET, lie.body)
        inbox.answer = lambda number: 200
        sandbox.act(payment["id"], "decline")
        inbox.until(3)
        until(lambda: sandbox.statement()["forged"] == forged + 2)
        assert sandbox.statement()["forgedAccepted"] == accepted + 1
        signed = [
            one for one in inbox.deliveries if one.headers["x-payconic-signature"] == sign(WEBHOOK_SECRET, one.body)
        ]
        assert [one.event["eventType"] for one in signed] == ["payment.failed"]

    def test_answers_and_webhooks_come_late(self, sandbox, inbox):
        sandbox.misbehave(delayMs=[200, 200])
        began = time.monotonic()
        paid(sandbox, inbox.url)
        assert not inbox.deliveries
        inbox.until(1)
        assert time.monotonic() - began >= 0.4, "a fifth of a second each: no load makes it shorter"

    def test_chance_follows_the_seed(self, sandbox):
        def lot(seed):
            sandbox.misbehave(failRefunds=0.5, seed=seed)
            payment = paid(sandbox)
            return [refund(sandbox, payment, 1).json()["status"] for _ in range(12)]

        assert {"SUCCEEDED", "FAILED"} == {*lot(1), *lot(2)}

    @pytest.mark.parametrize("wrong", [{"duplicate": 2}, {"delayMs": [5, 1]}, {"delayMs": 7}, {"sulk": 1}])
    def test_it_cannot_misbehave_in_a_way_that_it_does_not_know(self, sandbox, wrong):
        refused(sandbox.http.post("/control/misbehave", json=wrong), 400, "INVALID_REQUEST")
        assert sandbox.misbehave(delayMs=0, reorder=0)["delayMs"] == 0

    def test_while_it_is_down_it_refuses_cuts_off_and_tells_nothing(self, sandbox, inbox):
        sandbox.misbehave(timeoutAfterCharging=1.0)
        sandbox.auto(approveAfterMs=[800, 800])
        asked = payment_request(inbox.url)
        with ThreadPoolExecutor(1) as pool, httpx.Client(trust_env=False) as other:
            waiting = pool.submit(ask, other, sandbox, asked, timeout=PATIENCE_S)
            until(lambda: sandbox.statement()["payments"][-1]["merchantReference"] == asked["merchantReference"])
            assert sandbox.down(1.0) == {"seconds": 1.0}
            with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
                waiting.result(PATIENCE_S)
        refusals = 0

        def up():
            nonlocal refusals
            told = bool(inbox.deliveries)
            try:
                return sandbox.quiet()
            except httpx.ConnectError:
                refusals += 1
                assert not told
            return None

        until(up)
        assert refusals
        inbox.until(1)
        assert inbox.told() == [(1, "payment.succeeded")]


class TestKeeping:
    def test_nothing_is_lost_when_it_is_killed(self, receiver, tmp_path):
        taken, refusing = receiver.inbox(), receiver.inbox()
        refusing.answer = lambda number: 500
        with running_sandbox(tmp_path / "sandbox.sqlite") as sandbox:
            sandbox.misbehave(failRefunds=1.0)
            payment = paid(sandbox, taken.url, amount=1000)
            failed = refund(sandbox, payment, 10, key="r-1").json()
            untold = paid(sandbox, refusing.url)
            sandbox.auto(approveAfterMs=[60_000, 60_000])
            unasked = sandbox.pay(refusing.url, expiresAt=in_seconds(1.0))
            taken.until(2)
            refusing.until(1)
            before = sandbox.statement()
            pages = sandbox.http.get("/v1/payments").json()
            sandbox.kill()
            refusing.answer = lambda number: 200
            heard = len(refusing.deliveries)
            sandbox.start()
            assert sandbox.statement()["payments"][:2] == before["payments"][:2]
            assert sandbox.http.get("/v1/payments").json()["payments"][:2] == pages["payments"][:2]
            assert sandbox.payment(payment["id"])["sequence"] == 2
            body = {"merchantReference": "r-1", "amount": 10, "reason": None}
            again = sandbox.post(f"/v1/payments/{payment['id']}/refunds", body, key="r-1")
            assert (again.status_code, again.json()) == (200, failed)
            assert refund(sandbox, payment, 10).json()["status"] == "FAILED", "it still misbehaves"
            told = refusing.until(heard + 2)  # what was not taken, and the expiry
            assert {one.body for one in told if one.event["data"]["payment"]["id"] == untold["id"]} == {told[0].body}
            assert json.loads(told[0].body)["data"]["payment"] == untold
            until(lambda: sandbox.payment(unasked["id"])["status"] == "EXPIRED")
            sandbox.until_quiet()
            assert len(taken.deliveries) == 3
            sandbox.misbehave(timeoutAfterCharging=1.0)
            with httpx.Client(trust_env=False) as waiting, pytest.raises(httpx.ReadTimeout):
                ask(waiting, sandbox, payment_request(refusing.url), timeout=0.2)
            assert sandbox.stop() == 0

    def test_a_file_has_one_owner(self, tmp_path, monkeypatch):
        monkeypatch.setattr(books, "WAIT_FOR_THE_FILE_S", 0)
        path = str(tmp_path / "sandbox.sqlite")
        first = books.Book(path)
        with pytest.raises(books.sqlite3.OperationalError, match="locked"):
            books.Book(path)
        first.close()
        books.Book(path).close()


class TestPages:
    def test_the_checkout_says_what_is_paid_to_whom_and_needs_no_script(self, sandbox):
        payment = sandbox.pay(
            sandbox.anywhere, amount=123_405, method="bank_transfer", description="<b>Order</b> & more"
        )
        page = sandbox.http.get(payment["_links"]["checkout"]["href"], headers={"Authorization": ""})
        for shown in ("1,234.05 AUD", "&lt;b&gt;Order&lt;/b&gt; &amp; more", "TT-7", "Bank transfer", MERCHANT):
            assert shown in page.text
        assert re.findall('<button id="([a-z]+)"', page.text) == ["approve", "decline", "cancel", "expire"]
        assert "<script" not in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "form-action 'self' http://127.0.0.1:9;" in policy
        assert sandbox.http.get("/sandbox.css").headers["content-type"].startswith("text/css")

    @pytest.mark.parametrize(
        ("button", "status", "word"),
        [
            ("approve", "SUCCEEDED", "Paid"),
            ("decline", "FAILED", "Declined"),
            ("cancel", "CANCELLED", "Cancelled"),
            ("expire", "EXPIRED", "Expired"),
        ],
    )
    def test_a_button_decides_and_leads_back_to_the_merchant(self, sandbox, button, status, word):
        payment = sandbox.pay(sandbox.anywhere)
        checkout = payment["_links"]["checkout"]["href"]
        pressed = sandbox.http.post(checkout, data={"move": button})
        assert (pressed.status_code, pressed.headers["location"]) == (303, "http://127.0.0.1:9/demo?payment=TT-7")
        assert sandbox.payment(payment["id"])["status"] == status
        again = sandbox.http.post(checkout, data={"move": "approve"})
        assert (again.status_code, again.headers["location"]) == (303, f"/checkout/{payment['id']}")
        page = sandbox.http.get(checkout).text
        assert word in page
        assert "http://127.0.0.1:9/demo?payment=TT-7" in page
        assert "<button" not in page

    @pytest.mark.parametrize("move", ["capture", "identify", "dispute", ""])
    def test_there_are_no_other_buttons(self, sandbox, move):
        payment = sandbox.pay(sandbox.anywhere)
        refused(sandbox.http.post(f"/checkout/{payment['id']}", data={"move": move}), 400, "INVALID_REQUEST")
        refused(sandbox.http.post(f"/payments/{payment['id']}", data={"move": "approve"}), 400, "INVALID_REQUEST")
        assert sandbox.payment(payment["id"])["status"] == "PENDING"

    def test_the_list_shows_what_became_of_payments_and_disputes_what_succeeded(self, sandbox):
        waiting, succeeded = sandbox.pay(sandbox.anywhere), paid(sandbox)
        row = re.compile(f'<tr id="({waiting["id"]}|{succeeded["id"]})">(.*?)</tr>', re.DOTALL)
        shown = dict(row.findall(sandbox.http.get("/").text))
        assert "Waiting" in shown[waiting["id"]]
        assert "Dispute" not in shown[waiting["id"]]
        assert "Paid" in shown[succeeded["id"]]
        assert "Dispute" in shown[succeeded["id"]]
        pressed = sandbox.http.post(f"/payments/{succeeded['id']}", data={"move": "dispute"})
        assert (pressed.status_code, pressed.headers["location"]) == (303, "/")
        assert "12.50 AUD disputed" in dict(row.findall(sandbox.http.get("/").text))[succeeded["id"]]
