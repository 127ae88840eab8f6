"""How a call to a provider ends, whatever the network does, and what is tried again."""

import httpx
import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from tabletap.actors.ports import GatewayDown, GatewaySilent
from tabletap.gateways.client import ClientLimits, ProviderClient, Refused

URL = "https://pay.example"
CARD = "4242 4242 4242 4242"


class Fine(msgspec.Struct):
    id: str


def explain(body):
    found = msgspec.json.decode(body, type=dict[str, str])
    return found["code"], found["message"]


class Network:
    """Answers each call with the next of ``answers`` (the last one for good): a response, an error, or a function."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    async def __call__(self, request):
        self.calls.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = await answer()
        if isinstance(answer, Exception):
            raise answer
        return answer


def client_of(network, **limits):
    return ProviderClient(
        "acme",
        URL,
        {"authorization": "Bearer sk_very_secret"},
        explain,
        ClientLimits(**limits),
        httpx.MockTransport(network),
    )


def fine():
    return httpx.Response(200, json={"id": "pay_1"})


def status(number, **headers):
    return httpx.Response(number, json={"code": "NO", "message": "no"}, headers=headers)


async def post(client, key="k1"):
    return await client.post("/v1/payments", Fine, b"{}", "application/json", key)


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("")])
async def test_who_cannot_be_reached_is_down_after_a_few_tries(error, autojump_clock):
    network = Network(error)
    with pytest.raises(GatewayDown):
        await post(client_of(network))
    assert len(network.calls) == 3


@pytest.mark.parametrize(
    "trouble",
    [httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), httpx.WriteError("reset"), status(500), status(502)],
    ids=["reset", "cut", "half sent", "500", "502"],
)
async def test_what_may_have_been_done_is_asked_for_again_under_the_same_key_and_then_unknown(trouble, autojump_clock):
    network = Network(trouble)
    with pytest.raises(GatewaySilent):
        await post(client_of(network))
    assert [call.headers["idempotency-key"] for call in network.calls] == ["k1"] * 3
    assert {call.content for call in network.calls} == {b"{}"}


async def test_a_try_that_may_have_been_carried_out_is_never_forgotten_by_later_ones_that_were_not(autojump_clock):
    network = Network(httpx.ReadError("reset"), httpx.ConnectError("refused"))
    with pytest.raises(GatewaySilent):
        await post(client_of(network))
    assert len(network.calls) == 3


async def test_a_broken_connection_is_mended_by_another_try(autojump_clock):
    network = Network(httpx.RemoteProtocolError("cut"), fine())
    assert await post(client_of(network)) == Fine("pay_1")


async def test_an_answer_that_does_not_come_is_waited_for_once_and_then_unknown(autojump_clock):
    network = Network(trio.sleep_forever)
    began = trio.current_time()
    with pytest.raises(GatewaySilent):
        await post(client_of(network, timeout_s=30))
    assert trio.current_time() - began == pytest.approx(30)
    assert len(network.calls) == 1


async def test_an_answer_that_trickles_is_bounded_by_the_same_time(autojump_clock):
    async def trickle():
        while True:
            yield b" "
            await trio.sleep(1)

    network = Network(httpx.Response(200, content=trickle()))
    began = trio.current_time()
    with pytest.raises(GatewaySilent):
        await post(client_of(network, timeout_s=30))
    assert trio.current_time() - began == pytest.approx(30)


async def test_an_answer_that_does_not_end_is_not_kept(autojump_clock):
    sent = 0

    async def flood():
        nonlocal sent
        while True:
            sent += 1024
            await trio.lowlevel.checkpoint()
            yield b" " * 1024

    network = Network(httpx.Response(200, content=flood()))
    with pytest.raises(GatewaySilent):
        await post(client_of(network, answer_bytes=10_000))
    assert sent < 20_000
    assert len(network.calls) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b""),
        httpx.Response(200, json={"id": 7}),
        httpx.Response(200, content=b'{"id": "\xff"}'),
        httpx.Response(200, content=b'{"x": ' + b"[" * 100_000),
        httpx.Response(200, content=b"{}", headers={"content-encoding": "br"}),
        httpx.Response(302, headers={"location": "https://elsewhere.example"}),
    ],
    ids=["html", "nothing", "other type", "bad text", "deep", "compressed", "redirect"],
)
async def test_an_answer_that_makes_no_sense_is_unknown_and_not_asked_for_again(garbage, autojump_clock):
    network = Network(garbage)
    with pytest.raises(GatewaySilent):
        await post(client_of(network))
    assert len(network.calls) == 1


@pytest.mark.parametrize("number", [400, 402, 404, 422])
async def test_a_refusal_is_the_providers_own_word_and_is_not_argued_with(number, autojump_clock):
    network = Network(status(number))
    with pytest.raises(Refused) as refused:
        await post(client_of(network))
    assert (refused.value.status, refused.value.code, refused.value.reason) == (number, "NO", "no")
    assert len(network.calls) == 1


async def test_a_refusal_without_words_is_one_all_the_same(autojump_clock):
    with pytest.raises(Refused) as refused:
        await post(client_of(Network(httpx.Response(404, content=b"<html>"))))
    assert (refused.value.status, refused.value.code) == (404, "")


@pytest.mark.parametrize("number", [401, 403])
async def test_a_provider_that_does_not_let_us_in_has_done_nothing(number, autojump_clock):
    network = Network(status(number))
    with pytest.raises(GatewayDown):
        await post(client_of(network))
    assert len(network.calls) == 1


@pytest.mark.parametrize(("number", "outcome"), [(429, GatewayDown), (503, GatewaySilent)])
async def test_retry_after_is_kept_to_within_bounds(number, outcome, autojump_clock):
    began = trio.current_time()
    assert await post(client_of(Network(status(number, **{"retry-after": "4"}), fine()))) == Fine("pay_1")
    assert trio.current_time() - began >= 4

    for longer in ("3600", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 400):
        network, began = Network(status(number, **{"retry-after": longer})), trio.current_time()
        with pytest.raises(outcome):
            await post(client_of(network))
        assert (len(network.calls), trio.current_time() - began) == (1, 0)


async def test_the_pauses_between_tries_are_drawn_by_lot_and_bounded(autojump_clock):
    took = set()
    for _ in range(20):
        began = trio.current_time()
        with pytest.raises(GatewayDown):
            await post(client_of(Network(httpx.ConnectError("refused")), attempts=5, pause_s=1, pause_at_most_s=2))
        took.add(trio.current_time() - began)
    assert len(took) > 10
    assert max(took) <= 4 * 2


async def test_whoever_keeps_failing_is_left_alone_and_then_tried_again(autojump_clock, monkeypatch):
    now = 1_000.0
    monkeypatch.setattr("circuitbreaker.monotonic", lambda: now)
    network = Network(httpx.ConnectError("refused"))
    client = client_of(network, failures=3, open_s=10, attempts=1)
    for _ in range(3):
        with pytest.raises(GatewayDown):
            await post(client)
    with pytest.raises(GatewayDown):
        await post(client)
    assert len(network.calls) == 3, "left alone"
    now += 11
    with pytest.raises(GatewayDown):
        await post(client)
    with pytest.raises(GatewayDown):
        await post(client)
    assert len(network.calls) == 4, "tried once, left alone again"
    now += 11
    network.answers = [fine()]
    assert await post(client) == Fine("pay_1")
    assert await post(client) == Fine("pay_1")


async def test_a_refusal_is_a_sign_of_life(autojump_clock):
    network = Network(httpx.ConnectError("1"), httpx.ConnectError("2"), status(422), httpx.ConnectError("3"), fine())
    client = client_of(network, failures=3, attempts=1)
    outcomes = []
    for _ in range(5):
        try:
            outcomes.append(await post(client))
        except (GatewayDown, Refused) as error:
            outcomes.append(type(error))
    assert outcomes == [GatewayDown, GatewayDown, Refused, GatewayDown, Fine("pay_1")]


async def test_who_has_given_up_waiting_hears_nothing_more_and_it_counts_against_the_provider(autojump_clock):
    network = Network(trio.sleep_forever)
    client = client_of(network, failures=2)
    for _ in range(2):
        with trio.move_on_after(1) as waiting:
            await post(client)
        assert waiting.cancelled_caught
    with pytest.raises(GatewayDown):
        await post(client)
    assert len(network.calls) == 2


async def test_our_key_goes_to_the_provider_alone(autojump_clock):
    network = Network(fine())
    client = client_of(network, failures=100)
    assert await client.get(f"{URL}/v1/payments/pay_1?x=1", Fine) == Fine("pay_1")
    for elsewhere in (
        "https://evil.example/v1",
        "http://pay.example/v1",
        "https://pay.example:8443/v1",
        "https://pay.example@evil.example/v1",
        "v1/payments",
        "https://[/",
    ):
        with pytest.raises(GatewaySilent):
            await client.get(elsewhere, Fine)
    await client.get("//evil.example/v1", Fine)
    assert {call.url.host for call in network.calls} == {"pay.example"}
    assert [call.headers["authorization"] for call in network.calls] == ["Bearer sk_very_secret"] * 2


async def test_no_key_no_body_and_no_card_number_reaches_a_log_or_an_error(autojump_clock):
    said = httpx.Response(500, json={"code": CARD, "message": CARD})
    told = []
    with capture_logs() as logs:
        for answer in (said, httpx.Response(200, json={"id": 7, "card": CARD}), httpx.ReadError(CARD), status(401)):
            with pytest.raises((GatewaySilent, GatewayDown)) as error:
                await client_of(Network(answer)).post(
                    f"/v1/cards?number={CARD}", Fine, CARD.encode(), "text/plain", "k"
                )
            told.append(str(error.value))
    assert len(logs) == 4
    for text in (*map(str, logs), *told):
        assert CARD not in text
        assert "secret" not in text


async def test_a_refusals_sentence_is_kept_within_bounds(autojump_clock):
    answer = httpx.Response(400, json={"code": "NO", "message": "x" * 10_000})
    with pytest.raises(Refused) as refused:
        await post(client_of(Network(answer)))
    assert len(refused.value.reason) == 200


async def test_no_more_connections_are_open_than_allowed():
    """Against a real port that counts them."""
    open_now, most = 0, 0

    async def serve(stream):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        async with stream:
            await stream.receive_some(65_536)
            await trio.sleep(0.05)
            body = b'{"id":"x"}'
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )
        open_now -= 1

    async with trio.open_nursery() as nursery:
        (listener, *_) = await nursery.start(trio.serve_tcp, serve, 0)
        port = listener.socket.getsockname()[1]
        client = ProviderClient("acme", f"http://127.0.0.1:{port}", {}, explain, ClientLimits(connections=3))
        async with trio.open_nursery() as calls:
            for _ in range(12):
                calls.start_soon(client.get, "/", Fine)
        await client.aclose()
        nursery.cancel_scope.cancel()
    assert 1 <= most <= 3
