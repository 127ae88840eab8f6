"""What all doors share: who may come in, how a request is read, and how a refusal is answered."""

import hmac
import secrets
from typing import Any, TypeVar

import msgspec
import structlog
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from .book import Book
from .clockwork import Clockwork
from .lines import Lines
from .wire import BODY_BYTES, Problem, Refused

BODY_WITHIN_S = 10

log = structlog.get_logger(__name__)

_Asked = TypeVar("_Asked")

_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 413: "PAYLOAD_TOO_LARGE"}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Of the one merchant."""

    key: str
    merchant_id: str
    webhook_secret: str


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that the doors lead to."""

    credentials: Credentials
    book: Book
    clockwork: Clockwork
    lines: Lines


def open_app() -> QuartTrio:
    """An app without routes that answers every error as the wire tells it."""
    app = QuartTrio(__name__, static_folder=None, template_folder="static")
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.config["BODY_TIMEOUT"] = BODY_WITHIN_S
    app.url_map.strict_slashes = False
    app.register_error_handler(Refused, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _broken)
    app.after_request(_headers)
    return app


def answer(body: Any, status: int = 200) -> Response:
    """JSON."""
    return Response(msgspec.json.encode(body), status, content_type="application/json")


async def read(kind: type[_Asked]) -> _Asked:
    """The request's body. Raises Refused."""
    body = await request.get_data()
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(400, "INVALID_REQUEST", str(error)) from None


def let_in(credentials: Credentials, *, merchant: bool) -> None:
    """Check the bearer key and, where the protocol wants it, the merchant. Raises Refused."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not _equal(key.strip(), credentials.key):
        raise Refused(401, "UNAUTHORIZED", "the key is not right")
    if merchant and not _equal(request.headers.get("x-merchant-id", ""), credentials.merchant_id):
        raise Refused(401, "UNAUTHORIZED", "the merchant is not right")


def idempotency_key() -> str:
    """The key of a POST. Raises Refused."""
    key = request.headers.get("idempotency-key", "")
    if not key or len(key) > 255:
        raise Refused(400, "IDEMPOTENCY_KEY_MISSING", "a POST needs an Idempotency-Key of at most 255 characters")
    return key


def _equal(told: str, known: str) -> bool:
    return hmac.compare_digest(told.encode(), known.encode())


def _problem(status: int, code: str, message: str) -> Response:
    problem = Problem(code=code, message=message, trace_id=secrets.token_hex(16), span_id=secrets.token_hex(8))
    return answer(problem, status)


async def _refused(refused: Refused) -> Response:
    return _problem(refused.status, refused.code, refused.message)


async def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    response = _problem(status, _CODES.get(status, "INVALID_REQUEST"), error.description or error.name)
    if request.method not in {"GET", "HEAD", "OPTIONS"}:
        response.headers["connection"] = "close"  # its body may not have been read, and will not be
    return response


async def _broken(error: Exception) -> Response:
    log.error("request_failed", exc_info=error)
    return _problem(500, "INTERNAL_ERROR", "something went wrong here")


async def _headers(response: Response) -> Response:
    response.headers["x-content-type-options"] = "nosniff"
    response.headers["referrer-policy"] = "no-referrer"
    response.headers["cache-control"] = "no-store"
    return response
