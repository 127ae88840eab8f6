"""Payconic, line by line of its wire format: against scripted answers, and against the sandbox where that says more."""

import json
from uuid import UUID

import httpx
import msgspec
import pytest

from tabletap.actors.ports import GatewayDown, GatewaySilent, MalformedWebhook
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.vocabulary import ChargeState, Method, RefundState
from tabletap.gateways import payconic_wire as wire
from tabletap.gateways.payconic import PayconicGateway, PayconicSettings

from .sandbox_process import KEY, MERCHANT, WEBHOOK_SECRET, running_sandbox
from .till import known, new_charge, new_refund, paid, until_refunded
from .till_payconic import PayconicTill, Running, return_to, settings
from .webhook_receiver import Receiver

URL = "https://pay.example"
CHECKOUT = "https://pay.example/checkout/1"


@pytest.fixture(scope="module")
def running():
    with running_sandbox() as sandbox, Receiver().serving() as receiver:
        yield Running(sandbox, receiver)


@pytest.fixture
async def till(running):
    till = PayconicTill(Method.PAYCONIC_CARD, running)
    yield till
    await till.gateway.aclose()


CHARGE = new_charge(Method.PAYCONIC_CARD)
REFUND = new_refund(100)


class Scripted:
    """Payconic with its lines written down: ``answers`` by method and path, each used as often as asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.calls = []

    async def __call__(self, request):
        self.calls.append(request)
        answer = self.answers[f"{request.method} {request.url.path}"]
        return answer.pop(0) if isinstance(answer, list) else answer

    def gateway(self):
        return PayconicGateway(settings(URL), lambda: "https://cafe.example", return_to, httpx.MockTransport(self))


def payment(status="PENDING", links=("checkout", "cancel"), **more):
    """A payment on the wire, with links that nobody could have guessed."""
    return {
        "id": "pay_1",
        "merchantReference": str(CHARGE.payment_id),
        "status": status,
        "amount": 1_250,
        "currency": "AUD",
        "method": "card",
        "capturedAmount": 0,
        "refundedAmount": 0,
        "fee": 0,
        "failureReason": None,
        "createdAt": "2026-03-10T01:00:00Z",
        "expiresAt": "2026-03-10T01:30:00Z",
        "sequence": 0,
        "_links": {"self": {"href": f"{URL}/here/1"}} | {name: {"href": f"{URL}/{name}/1"} for name in links},
        **more,
    }


def refund(status="SUCCEEDED"):
    return {
        "id": "ref_1",
        "paymentId": "pay_1",
        "merchantReference": str(REFUND.refund_id),
        "status": status,
        "amount": 100,
        "failureReason": None,
        "createdAt": "2026-03-10T01:00:00Z",
    }


def fine(body):
    return httpx.Response(200, json=body)


def no(status, code):
    return httpx.Response(status, json={"code": code, "message": "so sorry", "traceId": "t", "spanId": "s"})


NAMED = known(CHARGE, Standing(state=ChargeState.OPEN, external_id="pay_1"))


async def test_a_payment_is_asked_for_as_the_wire_format_says():
    payconic = Scripted(**{"POST /v1/payments": fine(payment())})
    standing = await payconic.gateway().initiate(CHARGE)
    assert standing == Standing(state=ChargeState.OPEN, external_id="pay_1", redirect_url=CHECKOUT)
    (call,) = payconic.calls
    names = ("authorization", "x-merchant-id", "idempotency-key", "content-type")
    assert [call.headers[name] for name in names] == [
        f"Bearer {KEY}",
        MERCHANT,
        str(CHARGE.payment_id),
        "application/json",
    ]
    assert json.loads(call.content) == {
        "merchantReference": str(CHARGE.payment_id),
        "amount": 1_250,
        "currency": "AUD",
        "method": "card",
        "description": "Order 7",
        "reference": CHARGE.reference,
        "expiresAt": "2099-03-10T01:30:00Z",
        "callbackUrl": "https://cafe.example/api/webhooks/payconic",
        "returnUrl": return_to(CHARGE),
    }


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("PENDING", ChargeState.OPEN),
        ("IDENTIFIED", ChargeState.OPEN),
        ("AUTHORIZED", ChargeState.PROCESSING),
        ("SUCCEEDED", ChargeState.SUCCEEDED),
        ("FAILED", ChargeState.FAILED),
        ("CANCELLED", ChargeState.CANCELLED),
        ("EXPIRED", ChargeState.EXPIRED),
    ],
)
async def test_each_of_its_statuses_has_a_meaning(status, state):
    answer = payment(status, capturedAmount=1_200, fee=36, failureReason="why")
    standing = await Scripted(**{"GET /v1/payments/pay_1": fine(answer)}).gateway().verify(NAMED)
    assert standing == Standing(
        state=state,
        external_id="pay_1",
        amount=1_200,
        fee=36,
        reason="why",
        redirect_url=CHECKOUT if state is ChargeState.OPEN else None,
    )


def test_no_status_is_without_a_meaning():
    assert set(wire.STATES) == set(wire.Status)
    assert set(wire.REFUND_STATES) == set(wire.RefundStatus)
    assert set(wire.METHODS) == {method for method in Method if method.startswith("payconic")}


async def test_a_status_that_nobody_has_heard_of_is_not_guessed_at():
    with pytest.raises(GatewaySilent):
        await Scripted(**{"GET /v1/payments/pay_1": fine(payment("REVERSED"))}).gateway().verify(NAMED)


async def test_a_no_is_a_failure_with_its_reason():
    standing = await Scripted(**{"POST /v1/payments": no(422, "AMOUNT_TOO_SMALL")}).gateway().initiate(CHARGE)
    assert standing == Standing(state=ChargeState.FAILED, reason="so sorry")


async def test_a_charge_that_was_asked_for_in_other_words_is_looked_up(till):
    """Our own address has changed between the two (a new public URL)."""
    charge = till.charge()
    first = await till.gateway.initiate(charge)
    till.public_url = lambda: "https://moved.example"
    till.gateway._public_url = till.public_url
    assert await till.gateway.initiate(charge) == first


async def test_a_refund_that_was_asked_for_in_other_words_is_looked_up(till):
    charge, order = await paid(till), till.refund(100)
    first = await till.gateway.refund(charge, order)
    again = await till.gateway.refund(charge, msgspec.structs.replace(order, reason="another reason"))
    assert again.external_id == first.external_id
    assert await till.given_back(charge) == [100]


async def test_the_key_or_the_merchant_being_wrong_is_nobodys_failed_payment(till):
    for wrong in ({"key": "stolen"}, {"merchant_id": "somebody-else"}):
        gateway = till.made(msgspec.structs.replace(settings(till.sandbox.url), **wrong))
        with pytest.raises(GatewayDown):
            await gateway.initiate(till.charge())
        await gateway.aclose()


async def test_another_payment_than_the_one_asked_for_is_not_believed():
    other = payment(merchantReference=str(UUID(int=1)))
    for ask, answers in (
        ("initiate", {"POST /v1/payments": fine(other)}),
        ("verify", {"GET /v1/payments": fine({"payments": [other]})}),
        ("cancel", {"GET /v1/payments": fine({"payments": [payment()]}), "DELETE /cancel/1": fine(other)}),
    ):
        with pytest.raises(GatewaySilent):
            await getattr(Scripted(**answers).gateway(), ask)(CHARGE)


@pytest.mark.parametrize("answer", [httpx.Response(404, content=b"<h1>nginx</h1>"), no(404, "NOT_FOUND"), no(400, "X")])
async def test_only_its_own_word_for_it_makes_a_payment_absent(answer):
    for charge, path in ((NAMED, "GET /v1/payments/pay_1"), (CHARGE, "GET /v1/payments")):
        with pytest.raises(GatewaySilent):
            await Scripted(**{path: answer}).gateway().verify(charge)
    gone = Scripted(**{"GET /v1/payments/pay_1": no(404, "PAYMENT_NOT_FOUND")}).gateway()
    assert (await gone.verify(NAMED)).state is ChargeState.ABSENT


async def test_giving_up_follows_the_link_and_is_not_tried_without_one():
    payconic = Scripted(
        **{"GET /v1/payments/pay_1": fine(payment()), "DELETE /cancel/1": fine(payment("CANCELLED", ()))}
    )
    assert (await payconic.gateway().cancel(NAMED)).state is ChargeState.CANCELLED
    linkless = Scripted(**{"GET /v1/payments/pay_1": fine(payment("AUTHORIZED", ("checkout",)))})
    assert (await linkless.gateway().cancel(NAMED)).state is ChargeState.PROCESSING


async def test_giving_up_what_was_approved_meanwhile_tells_how_it_stands():
    payconic = Scripted(
        **{
            "GET /v1/payments/pay_1": [fine(payment()), fine(payment("SUCCEEDED", ("refund",), capturedAmount=1_250))],
            "DELETE /cancel/1": no(422, "PAYMENT_NOT_PENDING"),
        }
    )
    standing = await payconic.gateway().cancel(NAMED)
    assert (standing.state, standing.amount) == (ChargeState.SUCCEEDED, 1_250)


async def test_a_refund_follows_the_link_with_its_own_key():
    payconic = Scripted(
        **{
            "GET /v1/payments/pay_1": fine(payment("SUCCEEDED", ("refund",))),
            "POST /refund/1": httpx.Response(201, json=refund("PENDING")),
        }
    )
    assert await payconic.gateway().refund(NAMED, REFUND) == RefundStanding(
        state=RefundState.PENDING, external_id="ref_1"
    )
    call = payconic.calls[-1]
    assert call.headers["idempotency-key"] == str(REFUND.refund_id)
    assert json.loads(call.content) == {
        "merchantReference": str(REFUND.refund_id),
        "amount": 100,
        "reason": "cold coffee",
    }


async def test_a_refund_without_a_link_is_looked_up_and_not_asked_for():
    answers = {"GET /v1/payments/pay_1": fine(payment("SUCCEEDED", ()))}
    listed = {"GET /v1/payments/pay_1/refunds": fine({"refunds": [refund()]})}
    assert (await Scripted(**answers, **listed).gateway().refund(NAMED, REFUND)).external_id == "ref_1"
    listed = {"GET /v1/payments/pay_1/refunds": fine({"refunds": []})}
    assert (await Scripted(**answers, **listed).gateway().refund(NAMED, REFUND)).state is RefundState.FAILED


async def test_a_link_that_leads_elsewhere_is_not_followed():
    stolen = payment(_links={"cancel": {"href": "https://evil.example/cancel/1"}})
    payconic = Scripted(**{"GET /v1/payments/pay_1": fine(stolen)})
    with pytest.raises(GatewaySilent):
        await payconic.gateway().cancel(NAMED)
    assert {call.url.host for call in payconic.calls} == {"pay.example"}


async def test_an_id_of_theirs_cannot_lead_astray():
    payconic = Scripted(**{"GET /v1/payments/../x?y=#z": fine(payment())})
    await payconic.gateway().verify(msgspec.structs.replace(CHARGE, external_id="../x?y=#z"))
    assert payconic.calls[0].url.raw_path == b"/v1/payments/..%2Fx%3Fy%3D%23z"


# -- webhooks


async def test_all_that_the_provider_tells_of_a_payments_life_is_understood_in_its_order(till):
    charge, order = await paid(till), till.refund(100)
    await till.gateway.refund(charge, order)
    await until_refunded(till, charge, order)
    for move in ("dispute", "win-dispute"):
        till.sandbox.act(charge.external_id, move)
    told = sorted(
        (till.gateway.handle_webhook(*webhook) for webhook in await till.webhooks(4)),
        key=lambda heard: heard.sequence,
    )
    assert [(heard.sequence, heard.type) for heard in told] == [
        (1, "payment.succeeded"),
        (2, "refund.succeeded"),
        (3, "dispute.opened"),
        (4, "dispute.won"),
    ]
    assert {heard.payment_id for heard in told} == {charge.payment_id}
    assert len({heard.event_id for heard in told}) == 4
    paid_, refunded, lost, won = told
    assert paid_.standing == await till.gateway.verify(charge)
    assert refunded.refund == (order.refund_id, await till.gateway.verify_refund(charge, order))
    assert (lost.dispute.won, won.dispute.won) == (False, True)
    assert lost.dispute.dispute_id == won.dispute.dispute_id
    assert lost.dispute.amount > 0
    assert [heard.standing for heard in told[1:]] == [None] * 3


@pytest.mark.parametrize(
    ("move", "kind", "state"),
    [
        ("decline", "payment.failed", ChargeState.FAILED),
        ("cancel", "payment.cancelled", ChargeState.CANCELLED),
        ("expire", "payment.cancelled", ChargeState.EXPIRED),
    ],
)
async def test_a_payment_that_comes_to_nothing_is_told(till, move, kind, state):
    charge = till.charge()
    charge = known(charge, await till.gateway.initiate(charge))
    till.sandbox.act(charge.external_id, move)
    ((headers, body),) = await till.webhooks(1)
    heard = till.gateway.handle_webhook(headers, body)
    assert (heard.type, heard.sequence, heard.standing.state, heard.standing.amount) == (kind, 1, state, 0)
    assert heard.standing == await till.gateway.verify(charge)


def heard_of(till, **more):
    event = {"id": "evt_1", "eventType": "payment.succeeded", "sequence": 1, "data": {"payment": payment()}, **more}
    body = json.dumps(event).encode()
    return till.gateway.handle_webhook(till.signed(body), body)


async def test_a_payment_of_somebody_elses_till_is_nothing_of_ours(till):
    heard = heard_of(till, data={"payment": payment(merchantReference="till-3/receipt-9")})
    assert (heard.payment_id, heard.event_id) == (None, "evt_1")
    heard = heard_of(till, data={"payment": payment(), "refund": refund() | {"merchantReference": "by hand"}})
    assert heard.refund is None


async def test_an_event_of_a_kind_that_is_new_keeps_its_place_and_says_nothing(till):
    heard = heard_of(till, eventType="payout.paid", sequence=5)
    assert (heard.type, heard.sequence) == ("payout.paid", 5)
    assert (heard.standing, heard.refund, heard.dispute) == (None, None, None)


async def test_a_dispute_carries_what_it_takes(till):
    dispute = {"id": "dsp_1", "amount": 1_250, "fee": 2_500, "reason": "never ordered"}
    heard = heard_of(till, eventType="dispute.opened", data={"payment": payment(), "dispute": dispute})
    assert heard.dispute == Dispute(dispute_id="dsp_1", amount=1_250, fee=2_500, reason="never ordered")


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": 0},
        {"sequence": None},
        {"id": None},
        {"data": {"payment": payment("REVERSED")}},
        {"data": {"payment": payment(capturedAmount=-1)}},
        {"data": {"payment": payment(capturedAmount="12.50")}},
    ],
)
async def test_what_contradicts_the_wire_format_is_malformed(till, wrong):
    with pytest.raises(MalformedWebhook):
        heard_of(till, **wrong)


@pytest.mark.parametrize("missing", ["key", "merchant_id", "webhook_secret"])
def test_it_is_not_set_up_by_halves(missing):
    said = {"url": URL, "key": "k", "merchant_id": "m", "webhook_secret": WEBHOOK_SECRET, "timeout_s": 30.0}
    msgspec.convert(said, PayconicSettings)
    with pytest.raises(msgspec.ValidationError, match="webhook_secret"):
        msgspec.convert(said | {missing: ""}, PayconicSettings)
