"""Chargebacks by Stripe at a whole server: its webhooks name no payment of ours, and come in any order (spec H1, H2).

The webhooks have the shapes of Stripe's own package and are signed by it. Beside the server stands ``localstripe``,
which is asked whose an intent is; of disputes it knows nothing.
"""

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
import stripe

from tests.gateways.till_stripe import KEY, PAGE, WEBHOOK_SECRET, Running, Stripe

from .server import Server, new_key, problem_of, running, until

FEE, AMOUNT = 2_500, 1_446
"""What Stripe charges for a dispute, and what the order costs (cents)."""

CREATED, UPDATED, CLOSED = "charge.dispute.created", "charge.dispute.updated", "charge.dispute.closed"
WITHDRAWN, REINSTATED = "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"
LOST = ((CREATED, "needs_response"), (WITHDRAWN, "needs_response"), (UPDATED, "under_review"), (CLOSED, "lost"))
WON = ((CREATED, "needs_response"), (WITHDRAWN, "needs_response"), (CLOSED, "won"), (REINSTATED, "won"))


@pytest.fixture(scope="module")
def provider() -> Iterator[Running]:
    with Stripe().running() as provider:
        yield provider


@pytest.fixture(scope="module")
def shop(provider: Running) -> Iterator[Server]:
    """A server whose cards go to Stripe, which has little time to answer."""
    with running(
        TABLETAP_STRIPE_URL=str(provider.http.base_url),
        TABLETAP_STRIPE_KEY=KEY,
        TABLETAP_STRIPE_WEBHOOK_SECRET=WEBHOOK_SECRET,
        TABLETAP_STRIPE_PAGE=PAGE,
        TABLETAP_STRIPE_TIMEOUT_S="2",
    ) as server:
        yield server


def intent_of(provider: Running, payment: Any) -> Any:
    listed = provider.http.get("/v1/payment_intents", params={"limit": 10_000}).json()["data"]
    return next(one for one in listed if one["metadata"].get("payment_id") == payment["paymentId"])


def confirm(provider: Running, intent: Any) -> None:
    path = f"/v1/payment_intents/{intent['id']}"
    provider.http.post(path, data={"payment_method": "pm_card_visa"}).raise_for_status()
    provider.http.post(f"{path}/confirm").raise_for_status()


def paid(shop: Server, provider: Running) -> tuple[Any, Any]:
    """A payment that is complete, and its intent."""
    payment = shop.initiate(shop.a, shop.place(shop.a), "stripe_card")
    intent = intent_of(provider, payment)
    confirm(provider, intent)
    tell(shop, event("payment_intent.succeeded", provider.http.get(f"/v1/payment_intents/{intent['id']}").json()))
    until(lambda: status(shop, payment)["status"] == "completed")
    return payment, intent


def event(kind: str, about: Any) -> Any:
    """As Stripe sends it; its own package can read it."""
    sent = {"id": f"evt_{new_key()}", "object": "event", "api_version": "2024-06-20", "created": int(time.time())}
    whole = {**sent, "type": kind, "livemode": False, "pending_webhooks": 1, "request": None, "data": {"object": about}}
    assert stripe.Event.construct_from(whole, KEY).type == kind
    return whole


def dispute(intent: Any, state: str, dispute_id: str) -> Any:
    """A dispute in Stripe's shape: the charge, the intent, what it has moved; no label of ours anywhere."""
    charge = f"ch_{intent['id']}"
    withdrawn = {
        "id": f"txn_{dispute_id}",
        "object": "balance_transaction",
        "amount": -AMOUNT,
        "currency": "aud",
        "fee": FEE,
        "net": -AMOUNT - FEE,
        "source": dispute_id,
        "status": "available",
        "type": "adjustment",
    }
    back = {**withdrawn, "id": f"{withdrawn['id']}b", "amount": AMOUNT, "fee": 0, "net": AMOUNT}
    return {
        "id": dispute_id,
        "object": "dispute",
        "amount": AMOUNT,
        "balance_transaction": withdrawn["id"],
        "balance_transactions": [] if state.startswith("warning") else [withdrawn, *([back] if state == "won" else [])],
        "charge": charge,
        "created": int(time.time()),
        "currency": "aud",
        "evidence": {},
        "evidence_details": {"due_by": None, "has_evidence": False, "past_due": False, "submission_count": 0},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": intent["id"],
        "reason": "fraudulent",
        "status": state,
    }


def tell(shop: Server, told: Any) -> httpx.Response:
    body = json.dumps(told)
    signed = stripe.WebhookSignature.generate_signature_header(body, WEBHOOK_SECRET, timestamp=int(time.time()))
    answer = shop.http.post("/api/webhooks/stripe", content=body, headers={"stripe-signature": signed})
    assert answer.status_code == 200, answer.text
    return answer


def tell_all(shop: Server, intent: Any, story: Sequence[tuple[str, str]], *, times: int = 1) -> None:
    """Tell it in this order, each so many times, and wait until all of it is processed."""
    dispute_id = f"du_{intent['id']}"
    events = [event(kind, dispute(intent, state, dispute_id)) for kind, state in story]
    for told in events:
        for _ in range(times):
            tell(shop, told)
    for told in events:
        until(lambda told=told: inbox(shop, told)["status"] == "processed")  # type: ignore[misc]


def inbox(shop: Server, told: Any) -> Any:
    listed = shop.call("GET", "/api/webhooks/inbox?limit=500", shop.admin).json()["webhooks"]
    return next(row for row in listed if row["eventId"] == told["id"])


def status(shop: Server, payment: Any) -> Any:
    path = f"/api/payments/{payment['paymentId']}/status"
    return shop.call("GET", path, shop.a.tokens["staff"]).json()


def moved(shop: Server, payment: Any) -> list[int]:
    """What chargebacks of the payment have put on their account in the ledger, oldest first."""
    path = f"/api/{shop.a.slug}/ledger/entries?account=chargebacks&limit=500"
    entries = shop.call("GET", path, shop.a.tokens["manager"]).json()["entries"]
    return [entry["amount"] for entry in reversed(entries) if entry.get("paymentId") == payment["paymentId"]]


@pytest.mark.parametrize("story", list(itertools.permutations(LOST)), ids=lambda s: ">".join(k[15:] for k, _ in s))
def test_a_dispute_counts_once_in_whatever_order_and_however_often_it_is_told(
    shop: Server, provider: Running, story: Any
) -> None:
    payment, intent = paid(shop, provider)
    tell_all(shop, intent, story, times=2)
    assert status(shop, payment)["disputed"] == AMOUNT
    assert moved(shop, payment) == [AMOUNT]


@pytest.mark.parametrize("story", [WON, WON[::-1], (*WON[2:], *WON[:2]), WON[2:], (WON[3],)])
def test_a_dispute_that_is_won_is_undone_in_whatever_order_it_is_told(
    shop: Server, provider: Running, story: Any
) -> None:
    payment, intent = paid(shop, provider)
    tell_all(shop, intent, story, times=2)
    assert "disputed" not in status(shop, payment)
    assert moved(shop, payment) == [AMOUNT, -AMOUNT]


def test_an_inquiry_is_no_dispute_until_it_becomes_one(shop: Server, provider: Running) -> None:
    payment, intent = paid(shop, provider)
    asked = event(CREATED, dispute(intent, "warning_needs_response", f"du_{intent['id']}"))
    tell(shop, asked)
    assert inbox(shop, asked)["status"] == "ignored"
    assert "disputed" not in status(shop, payment)
    tell_all(shop, intent, [(UPDATED, "needs_response")])
    assert status(shop, payment)["disputed"] == AMOUNT


def test_what_is_disputed_elsewhere_is_none_of_ours(shop: Server, provider: Running) -> None:
    theirs = provider.http.post("/v1/payment_intents", data={"amount": 500, "currency": "aud"}).json()
    for intent in (theirs, {"id": "pi_nobody"}):
        told = event(CREATED, dispute(intent, "needs_response", f"du_{intent['id']}"))
        tell(shop, told)
        until(lambda told=told: inbox(shop, told)["status"] == "ignored")  # type: ignore[misc]


def test_a_dispute_comes_home_although_nobody_here_knows_yet_what_stripe_calls_the_payment(
    shop: Server, provider: Running
) -> None:
    provider.http.post("/_config/silence").raise_for_status()  # it makes the intent, and its answer never comes
    try:
        payment = shop.initiate(shop.a, shop.place(shop.a), "stripe_card")
        intent = until(lambda: intent_of(provider, payment))
    finally:
        provider.http.delete("/_config/silence").raise_for_status()
    confirm(provider, intent)
    tell_all(shop, intent, [(CREATED, "needs_response")])
    assert status(shop, payment)["disputed"] == AMOUNT
    assert moved(shop, payment) == [AMOUNT]


def test_a_dispute_that_stripe_did_not_sign_is_turned_away(shop: Server, provider: Running) -> None:
    payment, intent = paid(shop, provider)
    body = json.dumps(event(CREATED, dispute(intent, "needs_response", "du_1")))
    signed = stripe.WebhookSignature.generate_signature_header(body, "whsec_other", timestamp=int(time.time()))
    answer = shop.http.post("/api/webhooks/stripe", content=body, headers={"stripe-signature": signed})
    problem_of(answer, 401, "INVALID_SIGNATURE")
    assert "disputed" not in status(shop, payment)


def test_the_cafe_that_was_disputed_sees_it_in_its_inbox_and_no_other_does(shop: Server, provider: Running) -> None:
    _, intent = paid(shop, provider)
    told = event(CREATED, dispute(intent, "needs_response", f"du_{intent['id']}"))
    tell(shop, told)
    until(lambda: inbox(shop, told)["status"] == "processed")
    seen = {
        cafe.slug: told["id"]
        in {
            row["eventId"]
            for row in shop.call("GET", "/api/webhooks/inbox?limit=500", shop.token("admin", cafe.id)).json()[
                "webhooks"
            ]
        }
        for cafe in (shop.a, shop.b)
    }
    assert seen == {shop.a.slug: True, shop.b.slug: False}
