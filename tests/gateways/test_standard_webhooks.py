"""Messages on their way out, to a server that really receives them; the official package is the judge of signatures."""

import base64
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import h11
import pytest
import trio
import trustme
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tabletap.actors.webhook_ports import Answer, Outgoing
from tabletap.domain.endpoint import DELAYS_S, address_at_fault, address_in, pause_s, succeeded, url_at_fault
from tabletap.gateways.standard_webhooks import EXCERPT_BYTES, WebhookSender, signature

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
OTHER_KEY = b"k" * 32
OTHER_SECRET = "whsec_" + base64.b64encode(OTHER_KEY).decode()
BODY = b'{"type":"test","timestamp":"2026-01-01T00:00:00Z","data":{}}'
NOW_S = 1_614_265_330

Respond = Callable[[], tuple[int, dict[str, str], bytes] | None]


class Receiver:
    """A server that answers what it is told to; None: it never answers."""

    def __init__(self, scheme: str = "http") -> None:
        self.scheme = scheme
        self.port = 0
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.respond: Respond = lambda: (200, {}, b"thanks")

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}/hook"

    async def serve(self, stream: trio.abc.Stream) -> None:
        wire, target, headers, body = h11.Connection(h11.SERVER), "", dict[str, str](), b""
        try:
            while not isinstance(event := wire.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    wire.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    target = event.target.decode()
                    headers = {name.decode(): value.decode() for name, value in event.headers}
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    return
            self.got.append((target, headers, body))
            answer = self.respond()
            if answer is None:
                await trio.sleep_forever()
                return
            status, more, content = answer
            told = {"content-length": str(len(content)), "connection": "close", **more}
            await stream.send_all(wire.send(h11.Response(status_code=status, headers=list(told.items()))))
            await stream.send_all(wire.send(h11.Data(data=content)))
        except (trio.BrokenResourceError, ssl.SSLError, h11.RemoteProtocolError):
            pass  # the sender has heard enough, or does not trust us
        finally:
            with trio.move_on_after(1):
                await stream.aclose()


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver("https" if tls else "http")

    async def handler(stream: trio.SocketStream) -> None:
        await receiver.serve(trio.SSLStream(stream, tls, server_side=True) if tls else stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        receiver.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        yield receiver
        nursery.cancel_scope.cancel()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


def message(url: str, *keys: bytes) -> Outgoing:
    return Outgoing(
        message_id=UUID(int=7), endpoint_id=UUID(int=8), url=url, body=BODY, keys=keys or (KEY,), attempts=0
    )


async def send(url: str, *keys: bytes, private: bool = True, timeout_s: float = 20.0, **more: Any) -> Answer:
    sender = WebhookSender(timeout_s=timeout_s, private=private, now_s=lambda: NOW_S, **more)
    return await sender.send(message(url, *keys))


# -- signatures


def test_a_signature_is_that_of_the_published_vector() -> None:
    signed = signature(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW_S, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_official_package_signs_as_we_do() -> None:
    theirs = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(NOW_S, UTC), BODY.decode())
    assert theirs == signature(KEY, "msg_1", NOW_S, BODY)


async def test_what_is_sent_verifies_with_the_official_package_for_either_secret_of_a_rotation(
    receiver: Receiver,
) -> None:
    sender = WebhookSender(timeout_s=20, private=True)  # by the clock on the wall, as the package judges it
    await sender.send(message(receiver.url, KEY, OTHER_KEY))
    ((_, headers, body),) = receiver.got
    for secret in (SECRET, OTHER_SECRET):
        assert Webhook(secret).verify(body, headers)["type"] == "test"
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)


# -- on the way


async def test_a_message_arrives_as_it_is_with_its_id_and_the_time_of_the_attempt(receiver: Receiver) -> None:
    answer = await send(receiver.url)
    assert (answer.status, answer.error, answer.excerpt) == (200, None, "thanks")
    assert answer.at == datetime.fromtimestamp(NOW_S, UTC)
    ((target, headers, body),) = receiver.got
    assert (target, body) == ("/hook", BODY)
    assert headers["host"] == f"localhost:{receiver.port}"
    assert headers["webhook-id"] == f"msg_{UUID(int=7).hex}"
    assert headers["webhook-timestamp"] == str(NOW_S)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.respond = lambda: (status, {"location": receiver.url + "/elsewhere"}, b"")
    answer = await send(receiver.url)
    assert answer.status == status
    assert not succeeded(status)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("120", 120.0),
        ("9" * 30, float(DELAYS_S[-1])),
        (format_datetime(datetime.fromtimestamp(NOW_S + 60, UTC), usegmt=True), 60.0),
        (format_datetime(datetime.fromtimestamp(NOW_S - 60, UTC), usegmt=True), 0.0),
        ("soon", None),
        ("-1", None),
    ],
)
async def test_what_a_receiver_says_about_when_to_come_again_is_heard(
    receiver: Receiver, said: str, waits: float | None
) -> None:
    receiver.respond = lambda: (503, {"retry-after": said}, b"")
    answer = await send(receiver.url)
    assert (answer.status, answer.retry_after_s) == (503, waits)


async def test_only_the_beginning_of_an_answer_is_kept_and_no_card_number_in_it(receiver: Receiver) -> None:
    receiver.respond = lambda: (400, {}, b"card 4111 1111 1111 1111 \0\xff" + b"x" * 1_000_000)
    answer = await send(receiver.url)
    assert answer.status == 400
    assert answer.excerpt.startswith("card [card]  \ufffdxxx")
    assert len(answer.excerpt) <= EXCERPT_BYTES


async def test_a_receiver_that_does_not_answer_is_left_when_the_time_is_over(receiver: Receiver) -> None:
    receiver.respond = lambda: None
    answer = await send(receiver.url, timeout_s=0.2)
    assert (answer.status, answer.error) == (None, "no answer within 0.2 s")


async def test_nobody_at_home_is_an_answer_too() -> None:
    async with receiving() as gone:
        url = gone.url
    answer = await send(url)
    assert answer.status is None
    assert answer.error


async def test_by_https_the_certificate_must_be_that_of_the_name() -> None:
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    for name, trusted, arrives in (
        ("localhost", True, True),
        ("elsewhere.test", True, False),
        ("localhost", False, False),
    ):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(name).configure_cert(tls)
        async with receiving(tls) as receiver:
            answer = await send(receiver.url, tls=trusting if trusted else ssl.create_default_context())
        assert (answer.status == 200) is arrives, answer
        assert bool(receiver.got) is arrives


# -- where nothing may be sent


class Names(trio.abc.HostnameResolver):
    """A resolver under somebody else's control."""

    def __init__(self, *answers: str) -> None:
        self.answers = answers

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return [(2, 1, 6, "", (address, port)) for address in self.answers]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1", "0.0.0.0"],
)
async def test_a_name_that_leads_into_our_own_network_leads_nowhere(receiver: Receiver, address: str) -> None:
    trio.socket.set_custom_hostname_resolver(Names(address))
    answer = await send(f"https://innocent.example:{receiver.port}/hook", private=False)
    assert answer.status is None
    assert answer.error is not None
    assert answer.error.startswith("the name leads to an address that")
    assert receiver.got == []


async def test_a_name_that_is_resolved_again_is_judged_again_and_only_what_was_judged_is_connected_to(
    receiver: Receiver,
) -> None:
    """The name leads to us when it is looked at, and elsewhere ever after."""
    names = Names("127.0.0.1")
    trio.socket.set_custom_hostname_resolver(names)
    url = f"http://localhost:{receiver.port}/hook"
    assert (await send(url)).status == 200
    names.answers = ("169.254.169.254",)
    assert (await send(url)).status is None
    assert len(receiver.got) == 1


async def test_without_tls_nothing_leaves_this_machine() -> None:
    trio.socket.set_custom_hostname_resolver(Names("192.168.0.1"))
    answer = await send("http://localhost:80/hook")
    assert answer.error == "the URL must be https"


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest",
        "https://user:word@example.org/",
        "https://example.org/#part",
        "https://example.org/\u00e4",
        "https://example.org/a b",
        "https://exam\\ple.org/",
        "https://example.org:0/",
        "https://example.org:70000/",
        "https:///path",
        "example.org",
        "",
    ],
)
async def test_no_endpoint_can_be_there(url: str) -> None:
    assert url_at_fault(url, private=False)
    assert (await send(url, private=False)).status is None


def test_a_demo_on_one_machine_may_send_to_itself_and_its_neighbours_but_not_to_what_is_no_server() -> None:
    for url in ("http://127.0.0.1:1234/x", "http://localhost/x", "https://10.0.0.1/", "https://[::1]:8443/"):
        assert url_at_fault(url, private=True) is None
    assert url_at_fault("http://10.0.0.1/", private=True)
    for address in ("0.0.0.0", "::", "224.0.0.1", "169.254.169.254", "fe80::1"):
        found = address_in(address)
        assert found is not None
        assert address_at_fault(found, private=True)


# -- when again


def test_a_message_is_tried_ten_times_over_three_days() -> None:
    assert [pause_s(failures, None) for failures in range(1, 11)] == [*DELAYS_S[1:], None]
    assert pause_s(1, 60.0) == 60.0
    assert pause_s(3, 60.0) == 30 * 60
    assert pause_s(10, 60.0) is None
