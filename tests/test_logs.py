"""What must never reach a line of the log: tokens, secrets, people's numbers, card numbers."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from uuid import UUID

import pytest
import structlog

from tabletap import logs
from tabletap.domain import cardlike
from tabletap.domain.base import OrderId, Role
from tabletap.http.auth import Authenticator, AuthSettings

AUTH = Authenticator(AuthSettings(secret=b"s" * 32, token_lifetime_s=60, leeway_s=0))
ORDER = OrderId(UUID("01990000-0000-7000-8000-000000000001"))
TOKENS = (
    AUTH.issue(user="sam", role=Role.STAFF, cafes=None, token_id=ORDER),
    AUTH.tracking_token(ORDER),
)
CARDS = ("4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009", "6011000990139424")
SECRETS = (*TOKENS, *CARDS)

Lines = Callable[[], str]


@contextmanager
def logging_as(*, as_json: bool) -> Iterator[Lines]:
    """The log as it is configured for a server; what it wrote since the last time."""
    root = logging.getLogger()
    handlers, level, stream = root.handlers[:], root.level, io.StringIO()

    def written() -> str:
        text = stream.getvalue()
        stream.seek(0)
        stream.truncate()
        return text

    with redirect_stderr(stream):
        logs.configure(as_json=as_json)
    try:
        yield written
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


@pytest.fixture(params=[True, False], ids=["json", "console"])
def lines(request: pytest.FixtureRequest) -> Iterator[Lines]:
    with logging_as(as_json=request.param) as written:
        yield written


class Thing:
    """Something whose repr says too much."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return f"Thing({self.secret!r})"


def boom(secret: str) -> None:
    raise RuntimeError(f"cannot use {secret}")


WAYS: dict[str, Callable[[str], None]] = {
    "message": lambda secret: structlog.get_logger().warning(f"heard {secret} today"),
    "field": lambda secret: structlog.get_logger().warning("heard", words=secret),
    "argument": lambda secret: structlog.get_logger().warning("heard %s", secret),
    "nested": lambda secret: structlog.get_logger().warning("heard", a={"b": [("c", {"d": secret})]}),
    "bytes": lambda secret: structlog.get_logger().warning("heard", words=secret.encode()),
    "object": lambda secret: structlog.get_logger().warning("heard", thing=Thing(secret), things=[Thing(secret)]),
    "bound": lambda secret: structlog.get_logger().bind(words=secret).warning("heard"),
    "standard message": lambda secret: logging.getLogger("lib").warning("heard " + secret),  # noqa: G003
    "standard argument": lambda secret: logging.getLogger("lib").warning("heard %s and %r", secret, Thing(secret)),
    "standard extra": lambda secret: logging.getLogger("lib").warning("heard", extra={"words": secret}),
}


@pytest.mark.parametrize("way", WAYS)
def test_neither_a_token_nor_a_card_number_is_written_down_by_any_way(lines, way):
    for secret in SECRETS:
        WAYS[way](secret)
        written = lines()
        assert "heard" in written
        assert (cardlike.MASK if secret in CARDS else logs.HIDDEN) in written
        assert secret not in written
        assert secret.split(".")[-1] not in written


@pytest.mark.parametrize("way", WAYS)
def test_neither_the_code_of_a_gift_card_nor_a_phone_number_is_written_down_by_any_way(lines, way):
    for secret, told in (("7K2Q-0XWM-4T9B-RC3R", "****-****-****-RC3R"), ("+61412345678", "[phone]")):
        WAYS[way](f"/api/demo/{secret}/balance")
        written = lines()
        assert told in written
        assert secret not in written


@pytest.mark.parametrize("log", ["structlog", "standard"])
def test_nor_is_it_written_down_by_the_trace_of_an_error(lines, log):
    for secret in SECRETS:
        try:
            boom(secret)
        except RuntimeError:
            if log == "structlog":
                structlog.get_logger().exception("heard")
            else:
                logging.getLogger("lib").exception("heard")
        written = lines()
        assert "RuntimeError" in written
        assert secret not in written


def test_what_is_bound_to_the_context_is_hidden_as_well(lines):
    with structlog.contextvars.bound_contextvars(words=TOKENS[0]):
        structlog.get_logger().warning("heard")
        logging.getLogger("lib").warning("heard")
    assert TOKENS[0] not in lines()


@pytest.mark.parametrize("key", ["token", "trackingToken", "Authorization", "api_key", "apiKey", "password", "phone"])
def test_whatever_stands_under_a_telling_name_is_hidden(lines, key):
    structlog.get_logger().warning("heard", **{key: "0400 000 000"})
    logging.getLogger("lib").warning("heard", extra={key: "0400 000 000"})
    assert "0400 000" not in lines()


@pytest.mark.parametrize("number", [4111111111111111, -4111111111111111, 4111111111111111.0])
def test_a_card_number_that_is_a_number_is_hidden(lines, number):
    structlog.get_logger().warning("heard", words=number, more={"inner": [number]})
    logging.getLogger("lib").warning("heard %s", number)
    written = lines()
    assert "4111111111111111" not in written
    assert written.count(cardlike.MASK) == 3


def test_a_card_number_that_is_a_name_is_hidden(lines):
    structlog.get_logger().warning("heard", words={"4111111111111111": 1}, **{"4111 1111 1111 1111": 2})
    written = lines()
    assert "1111" not in written
    assert written.count(cardlike.MASK) == 2


def test_a_chain_of_errors_is_hidden_to_its_cause(lines):
    try:
        try:
            boom(CARDS[0])
        except RuntimeError as error:
            error.add_note(f"it was {CARDS[1]}")
            raise ValueError(CARDS[2]) from error
    except ValueError:
        structlog.get_logger().exception("heard")
    written = lines()
    assert "RuntimeError" in written
    assert not [card for card in CARDS if card in written]


def test_what_only_looks_like_a_card_number_is_written(lines):
    structlog.get_logger().warning("heard", order=str(ORDER), wrong="4111111111111112", cents=901, offset=1042)
    written = lines()
    for harmless in (str(ORDER), "4111111111111112", "901", "1042"):
        assert harmless in written


def test_a_line_of_json_is_one_object_with_time_and_level():
    with logging_as(as_json=True) as lines:
        structlog.get_logger().warning("heard", words="two\nlines")
        logging.getLogger("lib").error("heard")
        logging.getLogger("lib").debug("too quiet")
        written = [json.loads(line) for line in lines().splitlines()]
    assert [(line["event"], line["level"]) for line in written] == [("heard", "warning"), ("heard", "error")]
    assert all("timestamp" in line for line in written)
