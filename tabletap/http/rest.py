"""REST: every line of the table of operations as a route of one Quart app, the health doors, and the pages.

The app holds no rules: it reads a request into ``dispatch.Request`` and writes the answer.
"""

import mimetypes
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from quart import Response, has_request_context, request, websocket
from quart.routing import QuartRule
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from tabletap.actors.runtime import Outage
from tabletap.domain.access import Principal
from tabletap.domain.errors import Code, Refusal

from .auth import Authenticator
from .dispatch import Dispatcher, Performed, Request
from .exchange import Exchange
from .keyring import TENANT, Keyring, Shown
from .operations import OPERATIONS
from .operations.base import Operation
from .problems import STATUS, headers, problem

STATIC = Path(__file__).parent / "static"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
PAGES: Mapping[str, str] = {
    "": "customer.html",
    "kitchen": "kitchen.html",
    "counter": "counter.html",
    "manage": "manage.html",
}

_HTTP_CODES: Mapping[int, Code] = {
    400: Code.MALFORMED,
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    408: Code.MALFORMED,
    413: Code.PAYLOAD_TOO_LARGE,
    414: Code.MALFORMED,
    415: Code.MALFORMED,
}

Report = Callable[[], Awaitable[tuple[int, Any]]]
"""A door of the operator's: status and body."""


class RestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``allowed_origins``: pages of other origins that may call (CORS); ``body_limit_bytes``: of one request."""

    body_limit_bytes: int
    body_timeout_s: float
    response_timeout_s: float
    allowed_origins: tuple[str, ...]


class _App(QuartTrio):
    asgi_http_class = Exchange

    def ensure_async(self, func: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """All here is asynchronous: looking at each function again for each request took a fiftieth of it."""
        return func


def _headers(allowed_origins: tuple[str, ...]) -> Callable[[Response], Awaitable[Response]]:
    """CORS by allow-list, and the headers that every answer carries."""
    allowed = frozenset(allowed_origins)

    async def add(response: Response) -> Response:  # a plain function would be run in a thread
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        origin = request.headers.get("origin")
        if origin is not None and origin in allowed:
            response.headers["access-control-allow-origin"] = origin
            response.headers["vary"] = "Origin"
            if request.method == "OPTIONS":
                response.headers["access-control-allow-headers"] = "authorization, content-type, idempotency-key"
                response.headers["access-control-allow-methods"] = "GET, POST, PUT, PATCH"
                response.headers["access-control-max-age"] = "600"
        return response

    return add


def build(
    dispatcher: Dispatcher,
    auth: Authenticator,
    settings: RestSettings,
    *,
    reports: Mapping[str, Report],
    documents: Mapping[str, Callable[[], bytes]],
    slug_exists: Callable[[str], bool],
) -> QuartTrio:
    """The app. ``reports``: path -> what the operator's doors answer (``/health``, ``/metrics``, ...);
    ``documents``: path -> JSON, which is made when it is first asked for and then stays as it is."""
    app = _App(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.body_limit_bytes
    app.config["BODY_TIMEOUT"] = settings.body_timeout_s
    app.config["RESPONSE_TIMEOUT"] = settings.response_timeout_s
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    for operation in OPERATIONS.values():
        _route(app, operation.path, operation.name, operation.method, _serve(dispatcher, auth, operation))
    for path, report in reports.items():
        _route(app, path, f"report {path}", "GET", _report(report))
    for path, document in documents.items():
        _route(app, path, f"document {path}", "GET", _document(cache(document)))
    _route(app, "/static/<path:name>", "static", "GET", _static)
    for page, file in PAGES.items():
        _route(app, f"/<slug>/{page}".rstrip("/"), f"page {file}", "GET", _page(file, slug_exists))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _internal_error(app))
    app.after_request(_headers(settings.allowed_origins))
    return app


def _route(app: QuartTrio, path: str, endpoint: str, method: str, view: Callable[..., Awaitable[Any]]) -> None:
    """Add a rule. Braces are ours, angle brackets Quart's; operation names carry dots, which blueprints would claim."""
    rule = path.replace("{", "<").replace("}", ">")
    name = f"{method} {rule}".replace(".", "_")
    app.view_functions[name] = view  # add_url_rule would wrap each call once more
    methods = {method, "HEAD", "OPTIONS"} if method == "GET" else {method, "OPTIONS"}
    app.url_map.add(QuartRule(rule, endpoint=name, methods=methods, provide_automatic_options=True))
    del endpoint


def bearer(authorization: str | None) -> str | None:
    """The token of an Authorization header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


async def _principal(auth: Authenticator, keyring: Keyring, slug: str | None) -> Principal | Refusal | None:
    """Who asks: a till by its key, a person by their token, or nobody."""
    if key := request.headers.get("x-api-key"):
        shown = Shown(
            key.strip(),
            request.headers.get(TENANT),
            slug,
            request.args.get("till"),
            request.remote_addr or "",
        )
        try:
            return await keyring.principal(shown, tenant_needed=True)
        except Outage:
            return Refusal(Code.UNAVAILABLE, "the database cannot be reached", retry_after_s=1)
    header = request.headers.get("authorization")
    token = bearer(header)
    if header is None and TENANT in request.headers:
        return Refusal(Code.AUTH_REQUIRED, "a till shows its key: X-API-Key")
    if token is None:
        return Refusal(Code.INVALID_TOKEN, "the Authorization header holds no bearer token") if header else None
    return auth.principal(token)


def _serve(dispatcher: Dispatcher, auth: Authenticator, operation: Operation) -> Callable[..., Awaitable[Response]]:
    async def view(**params: str) -> Response:
        # First, whoever asks: an answer to a request that was not read to its end would have to end the connection.
        body = await request.get_data(cache=False)
        principal = await _principal(auth, dispatcher.services.keyring, params.get("cafe"))
        if isinstance(principal, Refusal):
            return refuse(principal)
        performed = await dispatcher.perform(
            Request(
                operation=operation,
                principal=principal,
                params=params,
                body=body if isinstance(body, bytes) else body.encode(),
                query=_query(operation),
                key=request.headers.get("idempotency-key"),
                headers=_plain(request.headers) if operation.signed_bytes else {},
                address=request.remote_addr or "",
            )
        )
        return _answer(performed)

    return view


def _query(operation: Operation) -> dict[str, str]:
    """What was asked for; a table, too, where the client would rather have that."""
    query: dict[str, str] = request.args.to_dict()
    kinds = ("application/json", "text/csv")
    if operation.csv and request.accept_mimetypes.best_match(kinds, "application/json") == "text/csv":
        query.setdefault("format", "csv")
    return query


def _plain(headers: Headers) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _answer(performed: Performed) -> Response:
    if performed.refusal is not None:
        response = refuse(performed.refusal)
    else:
        response = Response(performed.body, performed.status, content_type=performed.content_type)
    if performed.replayed:
        response.headers["idempotency-replayed"] = "true"
    response.headers["cache-control"] = "no-store"
    return response


def refuse(refusal: Refusal) -> Response:
    """A refusal as an HTTP answer; also to an upgrade that is not for a door, or not the first on its connection."""
    path = request.path if has_request_context() else websocket.path
    body = msgspec.json.encode(problem(refusal, path))
    return Response(body, STATUS[refusal.code], headers=headers(refusal))


async def _http_error(error: HTTPException) -> Response:
    code = _HTTP_CODES.get(error.code or 500, Code.INTERNAL_ERROR)
    response = refuse(Refusal(code, error.description or error.name))
    response.status_code = error.code or 500
    if has_request_context() and request.method not in {"GET", "HEAD", "OPTIONS"}:
        response.headers["connection"] = "close"  # its body may not have been read, and will not be
    if error.code == 405 and (allowed := getattr(error, "valid_methods", None)):
        response.headers["allow"] = ", ".join(sorted(allowed))
    return response


def _internal_error(app: QuartTrio) -> Callable[[Exception], Awaitable[Response]]:
    async def handle(error: Exception) -> Response:
        app.logger.error("request failed", exc_info=error)
        return refuse(Refusal(Code.INTERNAL_ERROR, "something went wrong here"))

    return handle


def _report(report: Report) -> Callable[..., Awaitable[Response]]:
    async def view() -> Response:
        status, body = await report()
        if isinstance(body, bytes):
            return Response(body, status, content_type="text/plain; version=0.0.4; charset=utf-8")
        return Response(msgspec.json.encode(body), status, content_type="application/json")

    return view


def _document(document: Callable[[], bytes]) -> Callable[..., Awaitable[Response]]:
    async def view() -> Response:
        return Response(document(), content_type="application/json")

    return view


def _file(name: str) -> Response:
    path = (STATIC / name.replace("\0", "?")).resolve()
    if not path.is_relative_to(STATIC) or not path.is_file():
        return refuse(Refusal(Code.NOT_FOUND, "there is no such file"))
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    response = Response(path.read_bytes(), content_type=f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
    response.headers["content-security-policy"] = CONTENT_SECURITY_POLICY
    response.headers["cache-control"] = "no-cache"
    return response


async def _static(name: str) -> Response:
    return _file(name)


def _page(file: str, slug_exists: Callable[[str], bool]) -> Callable[..., Awaitable[Response]]:
    async def view(slug: str) -> Response:
        if not slug_exists(slug):
            return refuse(Refusal(Code.NOT_FOUND, f"there is no cafe {slug!r}"))
        return _file(file)

    return view
