"""Stripe beyond the contract: its signature in both directions, its own page (Checkout), finding, events, money."""

import json
import time
from urllib.parse import parse_qsl

import httpx
import msgspec
import pytest
import stripe

from tabletap.actors.ports import ForgedWebhook, GatewayDown, GatewaySilent, MalformedWebhook
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.vocabulary import ChargeState, Method, RefundState
from tabletap.gateways import stripe_wire as wire
from tabletap.gateways.stripe import PAGES_AT_MOST, StripeGateway, StripeSettings

from .till import known, new_charge, new_refund
from .till_payconic import return_to
from .till_stripe import KEY, PAGE, WEBHOOK_SECRET, header, settings

URL = "https://api.stripe.example"
NOW_S = 1_800_000_000
EVENT = b'{"id":"evt_1","object":"event","type":"ping","data":{"object":{}}}'
CHARGE = new_charge(Method.STRIPE_CARD)
LABELS = {"payment_id": str(CHARGE.payment_id), "reference": CHARGE.reference}


# -- the signature


def receiving(now_s=NOW_S, **more):
    how = msgspec.structs.replace(settings(URL), **more)
    return StripeGateway(how, return_to, lambda: now_s)


def heard(gateway, signed, body=EVENT):
    return gateway.handle_webhook({"stripe-signature": signed}, body)


def test_the_signature_is_the_published_one():
    body = b'{"id":"evt_1","object":"event"}'
    expected = "7a0685c65fcda9f1dd585b6eaa74ead6d954e5895ecc08263afbd424c5661b46"
    assert wire.signature("whsec_test_secret", 1_614_556_800, body) == expected


def test_stripes_own_package_believes_what_we_sign():
    body = '{"id":"evt_1","object":"event","data":{"object":{"object":"charge","name":"Café 北京"}}}'.encode()
    signed = header(body, int(time.time()))
    assert stripe.Webhook.construct_event(body, signed, WEBHOOK_SECRET).id == "evt_1"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body + b" ", signed, WEBHOOK_SECRET)


def test_we_believe_what_stripes_own_package_signs():
    body = EVENT.decode()
    signed = stripe.WebhookSignature.generate_signature_header(body, WEBHOOK_SECRET, timestamp=NOW_S)
    assert heard(receiving(), signed).event_id == "evt_1"
    wrong = stripe.WebhookSignature.generate_signature_header(body, "whsec_other", timestamp=NOW_S)
    with pytest.raises(ForgedWebhook):
        heard(receiving(), wrong)


@pytest.mark.parametrize("off_s", [-300, -299.5, 0, 299.5, 300])
def test_a_webhook_of_our_time_is_believed(off_s):
    assert heard(receiving(NOW_S + off_s), header(EVENT, NOW_S))


@pytest.mark.parametrize("off_s", [-86_400, -301, -300.5, 300.5, 301, 86_400])
def test_a_webhook_from_long_ago_or_from_the_future_is_not(off_s):
    with pytest.raises(ForgedWebhook):
        heard(receiving(NOW_S + off_s), header(EVENT, NOW_S))


def test_while_the_secret_is_being_changed_any_of_the_signatures_may_be_right():
    right = wire.signature(WEBHOOK_SECRET, NOW_S, EVENT)
    for signed in (
        f"t={NOW_S},v1={'0' * 64},v1={right}",
        f"t={NOW_S},v1={right},v1={'0' * 64}",
        f"v1={right},v0={'0' * 64},t={NOW_S}",
        f"t={NOW_S}, v1={right}",
    ):
        assert heard(receiving(), signed)


@pytest.mark.parametrize(
    "signed",
    [
        "",
        "t={t}",
        "v1={right}",
        "t={t},v0={right}",
        "t={t},v1=",
        "t={t},v1={upper}",
        "t=,v1={right}",
        "t=+{t},v1={right}",
        "t={t}.0,v1={right}",
        "t=\u0661,v1={right}",
        "t={t},t={t},v1={right}",
        "t={huge},v1={right}",
        "t={t},v1=\udcff",
        "{t},{right}",
        "t={t}" + ",v1=00" * 16 + ",v1={right}",
    ],
)
def test_a_header_that_is_not_quite_right_is_forged(signed):
    right = wire.signature(WEBHOOK_SECRET, NOW_S, EVENT)
    said = signed.format(t=NOW_S, right=right, upper=right.upper(), huge="9" * 5_000)
    with pytest.raises(ForgedWebhook):
        heard(receiving(), said)


# -- Stripe, with its lines written down


class Scripted:
    """``answers`` by method and path, each used as often as asked; a list is used up in turn."""

    def __init__(self, answers, page=PAGE):
        self.answers = answers
        self.page = page
        self.calls = []

    async def __call__(self, request):
        self.calls.append(request)
        answer = self.answers[f"{request.method} {request.url.path}"]
        answer = answer.pop(0) if isinstance(answer, list) else answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    def gateway(self):
        return StripeGateway(settings(URL, page=self.page), return_to, lambda: NOW_S, httpx.MockTransport(self))

    def asked(self, number=-1):
        return dict(parse_qsl(self.calls[number].content.decode(), strict_parsing=True))


def no(status, kind, code=None):
    return httpx.Response(status, json={"error": {"type": kind, "code": code, "message": "so sorry"}})


def intent(status="requires_payment_method", **more):
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 1_250,
        "amount_received": 1_250 if status == "succeeded" else 0,
        "created": NOW_S,
        "client_secret": "pi_1_secret_x",
        "currency": "aud",
        "status": status,
        "metadata": LABELS,
        "last_payment_error": None,
        "latest_charge": None,
        **more,
    }


TAKEN = intent("succeeded", latest_charge={"id": "ch_1", "balance_transaction": {"id": "txn_1", "fee": 52}})


def session(status="open", **more):
    return {
        "id": "cs_1",
        "object": "checkout.session",
        "created": NOW_S,
        "status": status,
        "payment_status": "unpaid",
        "url": "https://checkout.stripe.example/c/pay/cs_1" if status == "open" else None,
        "client_reference_id": str(CHARGE.payment_id),
        "metadata": LABELS,
        "payment_intent": None,
        **more,
    }


def listed(*found, more=False):
    return {"object": "list", "data": list(found), "has_more": more}


def named(external_id):
    return known(CHARGE, Standing(state=ChargeState.OPEN, external_id=external_id))


async def test_an_intent_is_asked_for_under_our_id_and_labelled_with_it():
    made = Scripted({"POST /v1/payment_intents": intent()})
    standing = await made.gateway().initiate(CHARGE)
    assert (standing.state, standing.external_id) == (ChargeState.OPEN, "pi_1")
    assert standing.redirect_url == f"{PAGE}?payment={CHARGE.reference}#pi_1_secret_x", (
        "behind the #: no server sees it"
    )
    (call,) = made.calls
    assert call.headers["idempotency-key"] == str(CHARGE.payment_id)
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["stripe-version"] == wire.VERSION
    assert call.headers["content-type"] == "application/x-www-form-urlencoded"
    assert made.asked() == {
        "amount": "1250",
        "currency": "aud",
        "payment_method_types[]": "card",
        "metadata[payment_id]": str(CHARGE.payment_id),
        "metadata[reference]": CHARGE.reference,
    }


async def test_a_visit_to_stripes_own_page_is_asked_for_under_our_id_and_labels_its_money_too():
    made = Scripted({"POST /v1/checkout/sessions": session()}, page="")
    standing = await made.gateway().initiate(CHARGE)
    assert standing == Standing(
        state=ChargeState.OPEN, external_id="cs_1", redirect_url="https://checkout.stripe.example/c/pay/cs_1"
    )
    assert made.calls[0].headers["idempotency-key"] == str(CHARGE.payment_id)
    assert made.asked() == {
        "mode": "payment",
        "payment_method_types[]": "card",
        "client_reference_id": str(CHARGE.payment_id),
        "line_items[0][quantity]": "1",
        "line_items[0][price_data][currency]": "aud",
        "line_items[0][price_data][unit_amount]": "1250",
        "line_items[0][price_data][product_data][name]": "Order 7",
        "success_url": return_to(CHARGE),
        "cancel_url": return_to(CHARGE),
        "metadata[payment_id]": str(CHARGE.payment_id),
        "metadata[reference]": CHARGE.reference,
        "payment_intent_data[metadata][payment_id]": str(CHARGE.payment_id),
        "payment_intent_data[metadata][reference]": CHARGE.reference,
    }


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("requires_payment_method", ChargeState.OPEN),
        ("requires_confirmation", ChargeState.OPEN),
        ("requires_action", ChargeState.OPEN),
        ("processing", ChargeState.PROCESSING),
        ("requires_capture", ChargeState.PROCESSING),
        ("succeeded", ChargeState.SUCCEEDED),
        ("canceled", ChargeState.CANCELLED),
    ],
)
async def test_each_status_of_an_intent_has_a_meaning(status, state):
    standing = await Scripted({"GET /v1/payment_intents/pi_1": intent(status)}).gateway().verify(named("pi_1"))
    assert standing.state is state
    assert standing.amount == (1_250 if state is ChargeState.SUCCEEDED else 0)
    assert (standing.redirect_url is not None) is (state is ChargeState.OPEN)


def test_no_status_is_without_a_meaning():
    assert set(wire.INTENT_STATES) == set(wire.IntentStatus)
    assert set(wire.SESSION_STATES) == set(wire.SessionStatus)


async def test_what_was_really_received_counts_and_the_fee_is_told():
    asked = Scripted({"GET /v1/payment_intents/pi_1": {**TAKEN, "amount_received": 1_000}})
    standing = await asked.gateway().verify(named("pi_1"))
    assert (standing.amount, standing.fee) == (1_000, 52)
    assert dict(asked.calls[0].url.params) == {"expand[]": "latest_charge.balance_transaction"}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (session(), (ChargeState.OPEN, "cs_1", 0)),
        (session("expired"), (ChargeState.EXPIRED, "cs_1", 0)),
        (session("complete", payment_intent=TAKEN), (ChargeState.SUCCEEDED, "pi_1", 1_250)),
        (session("complete", payment_intent=intent("processing")), (ChargeState.PROCESSING, "pi_1", 0)),
        (session("complete", payment_intent="pi_1"), (ChargeState.PROCESSING, "cs_1", 0)),
        (session("open", payment_intent=intent()), (ChargeState.OPEN, "cs_1", 0)),
        (session("expired", payment_intent=intent("canceled")), (ChargeState.EXPIRED, "cs_1", 0)),
        (session("expired", payment_intent=TAKEN), (ChargeState.SUCCEEDED, "pi_1", 1_250)),
    ],
)
async def test_a_visit_stands_as_its_money_does_once_there_is_any(found, expected):
    asked = Scripted({"GET /v1/checkout/sessions/cs_1": found}, page="")
    standing = await asked.gateway().verify(named("cs_1"))
    assert (standing.state, standing.external_id, standing.amount) == expected
    assert (standing.redirect_url is not None) is (standing.state is ChargeState.OPEN)
    assert standing.fee == (52 if standing.amount else 0)
    assert dict(asked.calls[0].url.params) == {"expand[]": "payment_intent.latest_charge.balance_transaction"}


async def test_a_visit_that_is_given_up_is_ended_at_stripe():
    ended = Scripted(
        {
            "GET /v1/checkout/sessions/cs_1": [session(), session("expired")],
            "POST /v1/checkout/sessions/cs_1/expire": session("expired"),
        },
        page="",
    )
    assert (await ended.gateway().cancel(named("cs_1"))).state is ChargeState.EXPIRED
    assert "idempotency-key" not in ended.calls[1].headers


@pytest.mark.parametrize("page", ["", PAGE])
async def test_giving_up_when_the_customer_was_faster_tells_how_it_stands(page):
    late = Scripted(
        {
            "GET /v1/checkout/sessions/cs_1": [session(), session("complete", payment_intent=TAKEN)],
            "POST /v1/checkout/sessions/cs_1/expire": no(400, "invalid_request_error"),
            "GET /v1/payment_intents/pi_1": [intent(), TAKEN],
            "POST /v1/payment_intents/pi_1/cancel": no(400, "invalid_request_error", "payment_intent_unexpected_state"),
        },
        page=page,
    )
    assert (await late.gateway().cancel(named("pi_1" if page else "cs_1"))).state is ChargeState.SUCCEEDED


async def test_the_money_of_a_visit_is_given_back_from_its_intent():
    order = new_refund(100)
    made = Scripted(
        {
            "GET /v1/checkout/sessions/cs_1": session("complete", payment_intent=TAKEN),
            "GET /v1/refunds": listed(),
            "POST /v1/refunds": {"id": "re_1", "amount": 100, "status": "pending", "metadata": {}},
        },
        page="",
    )
    standing = await made.gateway().refund(named("cs_1"), order)
    assert standing == RefundStanding(state=RefundState.PENDING, external_id="re_1")
    assert made.calls[-1].headers["idempotency-key"] == str(order.refund_id)
    assert made.asked() == {
        "payment_intent": "pi_1",
        "amount": "100",
        "metadata[refund_id]": str(order.refund_id),
        "metadata[payment_id]": str(CHARGE.payment_id),
        "metadata[reason]": "cold coffee",
    }


async def test_a_refund_that_failed_leaves_its_money_to_be_given_back_again():
    failed = {"id": "re_0", "amount": 1_250, "status": "failed", "metadata": None}
    made = Scripted(
        {
            "GET /v1/payment_intents/pi_1": TAKEN,
            "GET /v1/refunds": listed(failed),
            "POST /v1/refunds": {"id": "re_1", "amount": 1_250, "status": "succeeded", "metadata": {}},
        }
    )
    assert (await made.gateway().refund(named("pi_1"), new_refund(1_250))).state is RefundState.SUCCEEDED


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", RefundState.PENDING),
        ("requires_action", RefundState.PENDING),
        ("succeeded", RefundState.SUCCEEDED),
        ("failed", RefundState.FAILED),
        ("canceled", RefundState.FAILED),
        ("something_new", RefundState.PENDING),
        (None, RefundState.PENDING),
    ],
)
async def test_each_status_of_a_refund_has_a_meaning(status, state):
    order = new_refund(100)
    labels = {"refund_id": str(order.refund_id)}
    found = {"id": "re_1", "amount": 100, "status": status, "metadata": labels, "failure_reason": "lost"}
    asked = Scripted({"GET /v1/payment_intents/pi_1": TAKEN, "GET /v1/refunds": listed(found)})
    standing = await asked.gateway().verify_refund(named("pi_1"), order)
    assert standing == RefundStanding(state=state, external_id="re_1", reason="lost")


async def test_a_no_is_a_failure_with_its_reason():
    refused = Scripted({"POST /v1/payment_intents": no(400, "invalid_request_error", "amount_too_small")})
    assert await refused.gateway().initiate(CHARGE) == Standing(state=ChargeState.FAILED, reason="so sorry")


async def test_a_charge_that_was_asked_for_in_other_words_is_looked_up():
    again = Scripted(
        {
            "POST /v1/checkout/sessions": no(400, "idempotency_error"),
            "GET /v1/checkout/sessions": listed(session()),
            "GET /v1/checkout/sessions/cs_1": session(),
        },
        page="",
    )
    assert (await again.gateway().initiate(CHARGE)).external_id == "cs_1"


async def test_a_wrong_key_is_nobodys_failed_payment():
    with pytest.raises(GatewayDown):
        await Scripted({"POST /v1/payment_intents": no(401, "invalid_request_error")}).gateway().initiate(CHARGE)


async def test_another_intent_than_the_one_asked_for_is_not_believed():
    for labels in ({}, None, {"payment_id": "not ours"}, {"payment_id": str(new_charge(CHARGE.method).payment_id)}):
        other = Scripted({"GET /v1/payment_intents/pi_1": intent(metadata=labels)})
        with pytest.raises(GatewaySilent):
            await other.gateway().verify(named("pi_1"))


# -- finding what has no name


def stranger(number, created):
    return intent(id=f"pi_x{number}", metadata={}, created=created)


def born_s():
    return (CHARGE.payment_id.int >> 80) // 1000


async def test_it_is_looked_for_page_by_page():
    found = Scripted(
        {
            "GET /v1/payment_intents": [
                listed(stranger(1, born_s() + 9), stranger(2, born_s() + 8), more=True),
                listed(stranger(3, born_s() + 7), intent(created=born_s()), more=True),
            ],
            "GET /v1/payment_intents/pi_1": intent(),
        }
    )
    assert (await found.gateway().verify(CHARGE)).external_id == "pi_1"
    assert [dict(call.url.params) for call in found.calls[:2]] == [
        {"limit": "100"},
        {"limit": "100", "starting_after": "pi_x2"},
    ]


async def test_nobody_looks_back_further_than_to_when_it_was_made():
    asked = Scripted({"GET /v1/payment_intents": [listed(stranger(1, born_s() - 3_600), more=True)]})
    assert (await asked.gateway().verify(CHARGE)).state is ChargeState.ABSENT
    assert len(asked.calls) == 1


async def test_where_there_is_too_much_to_look_through_nobody_says_it_is_absent():
    endless = Scripted({"GET /v1/payment_intents": listed(stranger(1, born_s() + 9), more=True)})
    with pytest.raises(GatewaySilent):
        await endless.gateway().verify(CHARGE)
    assert len(endless.calls) == PAGES_AT_MOST


@pytest.mark.parametrize("status", [400, 404])
async def test_a_list_that_is_refused_says_nothing_of_what_is_in_it(status):
    refused = Scripted({"GET /v1/payment_intents": no(status, "invalid_request_error")})
    with pytest.raises(GatewaySilent):
        await refused.gateway().verify(CHARGE)


async def test_more_refunds_than_can_be_looked_through_are_not_added_to():
    many = listed({"id": "re_1", "amount": 1, "status": "succeeded", "metadata": {}}, more=True)
    asked = Scripted({"GET /v1/payment_intents/pi_1": TAKEN, "GET /v1/refunds": many})
    with pytest.raises(GatewaySilent):
        await asked.gateway().refund(named("pi_1"), new_refund(1))


async def test_whose_a_disputed_charge_is_can_be_asked():
    theirs = intent(id="pi_2", metadata={"shop": "another"})
    answers = {
        "GET /v1/payment_intents/pi_1": TAKEN,
        "GET /v1/payment_intents/pi_2": theirs,
        "GET /v1/payment_intents/pi_3": no(404, "invalid_request_error", "resource_missing"),
        "GET /v1/charges/ch_1": {"id": "ch_1", "object": "charge", "metadata": LABELS},
    }
    gateway = Scripted(answers).gateway()
    assert [await gateway.payment_of(f"pi_{number}") for number in (1, 2, 3)] == [CHARGE.payment_id, None, None]
    assert await gateway.payment_of("ch_1") == CHARGE.payment_id


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_a_provider_that_does_not_say_whose_a_charge_is_has_not_said_that_it_is_nobodys(status):
    with pytest.raises((GatewaySilent, GatewayDown)):
        await Scripted({"GET /v1/payment_intents/pi_1": no(status, "api_error")}).gateway().payment_of("pi_1")


# -- events


def told(kind, thing):
    body = json.dumps({"id": "evt_9", "object": "event", "type": kind, "data": {"object": thing}}).encode()
    return heard(receiving(), header(body, NOW_S), body)


@pytest.mark.parametrize(
    ("kind", "status", "state"),
    [
        ("payment_intent.succeeded", "succeeded", ChargeState.SUCCEEDED),
        ("payment_intent.processing", "processing", ChargeState.PROCESSING),
        ("payment_intent.canceled", "canceled", ChargeState.CANCELLED),
        ("payment_intent.payment_failed", "requires_payment_method", ChargeState.OPEN),
    ],
)
def test_what_is_told_of_an_intent(kind, status, state):
    event = told(kind, intent(status, last_payment_error={"message": "Your card was declined."}))
    assert (event.event_id, event.type, event.payment_id, event.sequence) == ("evt_9", kind, CHARGE.payment_id, None)
    assert (event.standing.state, event.standing.external_id) == (state, "pi_1")
    assert event.standing.reason == "Your card was declined."
    assert event.standing.redirect_url is None


def test_what_is_told_of_a_visit():
    assert told("checkout.session.expired", session("expired")).standing.state is ChargeState.EXPIRED
    done = told("checkout.session.completed", session("complete", payment_intent="pi_1"))
    assert (done.payment_id, done.standing.state) == (CHARGE.payment_id, ChargeState.PROCESSING)


@pytest.mark.parametrize("kind", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
def test_what_is_told_of_a_refund(kind):
    order = new_refund(100)
    labels = {"refund_id": str(order.refund_id), "payment_id": str(CHARGE.payment_id)}
    made = {
        "id": "re_1",
        "amount": 100,
        "status": "failed",
        "failure_reason": "lost_or_stolen_card",
        "metadata": labels,
    }
    event = told(kind, made)
    assert event.payment_id == CHARGE.payment_id
    assert event.refund == (
        order.refund_id,
        RefundStanding(state=RefundState.FAILED, external_id="re_1", reason="lost_or_stolen_card"),
    )
    assert told(kind, made | {"metadata": {}}).refund is None


def test_that_a_charge_was_refunded_is_a_reason_to_ask_and_no_more():
    event = told("charge.refunded", {"id": "ch_1", "metadata": LABELS, "amount_refunded": 100})
    assert (event.payment_id, event.standing, event.refund) == (CHARGE.payment_id, None, None)


@pytest.mark.parametrize(
    ("kind", "status", "won"),
    [
        ("charge.dispute.created", "needs_response", False),
        ("charge.dispute.updated", "under_review", False),
        ("charge.dispute.funds_withdrawn", "needs_response", False),
        ("charge.dispute.funds_reinstated", "won", True),
        ("charge.dispute.closed", "lost", False),
        ("charge.dispute.closed", "won", True),
    ],
)
def test_what_is_told_of_a_dispute_names_the_charge_alone(kind, status, won):
    thing = {
        "id": "dp_1",
        "amount": 1_250,
        "status": status,
        "reason": "fraudulent",
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "metadata": {},
        "balance_transactions": [{"fee": 2_500}, {"fee": -2_500}] if won else [{"fee": 2_500}],
    }
    event = told(kind, thing)
    assert event.payment_id is None
    assert (event.charge_id, event.standing) == ("pi_1", None)
    assert event.dispute == Dispute(dispute_id="dp_1", amount=1_250, fee=2_500, won=won, reason="fraudulent")
    assert told(kind, thing | {"payment_intent": None}).charge_id == "ch_1"


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed", "prevented"])
def test_an_inquiry_moves_no_money_and_is_no_dispute(status):
    asked = {"id": "dp_1", "amount": 1, "status": status, "payment_intent": "pi_1", "balance_transactions": []}
    event = told("charge.dispute.created", asked)
    assert (event.dispute, event.charge_id) == (None, None)


@pytest.mark.parametrize("kind", ["account.updated", "payout.paid", "customer.created"])
@pytest.mark.parametrize("thing", [{}, {"metadata": None}, {"metadata": []}, {"id": 7}])
def test_what_is_no_matter_of_ours_is_understood_as_that(kind, thing):
    event = told(kind, thing)
    assert (event.payment_id, event.standing, event.refund, event.dispute) == (None, None, None, None)


@pytest.mark.parametrize("thing", [{}, None, intent("reversed"), intent(amount="12.50"), {"metadata": 7}])
def test_what_contradicts_stripes_shapes_is_malformed(thing):
    with pytest.raises(MalformedWebhook):
        told("payment_intent.succeeded", thing)


def test_it_is_not_set_up_by_halves():
    with pytest.raises(msgspec.ValidationError, match="webhook_secret"):
        msgspec.convert(msgspec.structs.asdict(settings(URL)) | {"webhook_secret": ""}, StripeSettings)
