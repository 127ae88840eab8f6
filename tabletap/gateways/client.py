"""The one way to talk to a provider over HTTP: bounded in time, size and connections; patient, but never twice blindly.

How a call ends, whoever the provider is:

- an answer that makes sense: it is returned, as the type that was asked for;
- ``Refused``: the provider has understood and said no (4xx);
- ``GatewayDown``: not reached, too busy (429), or it does not let us in (401, 403): it has done nothing;
- ``GatewaySilent``: no answer in time, a broken connection, 5xx, garbage: nobody knows.

Repeated are only calls that are idempotent (all are: a read, a cancel, or a POST under its key), a few times, with
jittered pauses or as long as ``Retry-After`` says, within the time of the one call. Who has waited for all of that time
has none left for another try. As soon as one try may have been carried out, the call can no longer end as "down".
Whoever keeps failing is left alone for a while (circuit breaker). Keys, bodies and messages are never logged.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import httpx
import msgspec
import structlog
import trio
from circuitbreaker import CircuitBreaker
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from tabletap import __version__
from tabletap.actors.ports import GatewayDown, GatewaySilent

log = structlog.get_logger(__name__)

T = TypeVar("T")

REASON_CHARS = 200
"""As much as is kept of what a provider says."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for JSON that is none, is not of the type, is not UTF-8, or is nested beyond measure."""


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """``timeout_s`` is for a whole call with its repetitions; ``failures`` in a row open the breaker for ``open_s``."""

    timeout_s: float = 30.0
    connect_s: float = 5.0
    connections: int = 20
    answer_bytes: int = 4_194_304
    attempts: int = 3
    pause_s: float = 0.2
    pause_at_most_s: float = 5.0
    failures: int = 5
    open_s: float = 10.0


class Refused(Exception):  # noqa: N818  the provider's right
    """The provider says no. ``code`` is its own word for it; ``reason`` its own sentence."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.reason = reason[:REASON_CHARS]


Explain = Callable[[bytes], tuple[str, str]]
"""The code and the sentence in the body of a provider's 4xx; raises one of UNREADABLE where there are none."""


class _Failed(Exception):  # noqa: N818  one try, not yet the outcome
    """One try came to nothing. ``done``: it may have been carried out; ``again``: another may help, after a pause."""

    def __init__(self, reason: str, *, done: bool, again: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.done = done
        self.again = again
        self.pause_s = pause_s


class _Call(NamedTuple):
    method: str
    url: str
    params: Mapping[str, str | int] | None = None
    content: bytes | None = None
    headers: Mapping[str, str] | None = None


class ProviderClient:
    """``headers`` go with every call (who we are). ``transport``: tests put a stand-in for the network there."""

    def __init__(
        self,
        provider: str,
        url: str,
        headers: Mapping[str, str],
        explain: Explain,
        limits: ClientLimits,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._provider = provider
        self._url = httpx.URL(url.rstrip("/"))
        self._explain = explain
        self._limits = limits
        self._http = httpx.AsyncClient(
            # No compression: what is counted is what comes over the wire.
            headers={**headers, "user-agent": f"tabletap/{__version__}", "accept-encoding": "identity"},
            timeout=httpx.Timeout(None, connect=limits.connect_s, pool=limits.connect_s),
            limits=httpx.Limits(max_connections=limits.connections, max_keepalive_connections=limits.connections),
            follow_redirects=False,
            trust_env=False,  # the way that money takes is in the settings alone
            transport=transport,
        )
        # A cancelled call had not been answered: it must not pass for a success.
        self._breaker = CircuitBreaker(
            failure_threshold=limits.failures,
            recovery_timeout=limits.open_s,
            expected_exception=(GatewayDown, GatewaySilent, trio.Cancelled),
            name=provider,
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def get(self, url: str, answer: type[T], params: Mapping[str, str | int] | None = None) -> T:
        return await self._call(_Call("GET", url, params=params), answer)

    async def delete(self, url: str, answer: type[T]) -> T:
        return await self._call(_Call("DELETE", url), answer)

    async def post(self, url: str, answer: type[T], content: bytes, content_type: str, key: str | None) -> T:
        """``key``: under which the provider does it once (``Idempotency-Key``); None where twice is as good as once."""
        headers = {"content-type": content_type} | ({"idempotency-key": key} if key else {})
        return await self._call(_Call("POST", url, content=content, headers=headers), answer)

    async def _call(self, call: _Call, answer: type[T]) -> T:
        if self._breaker.opened:
            raise GatewayDown(f"{self._provider} has kept failing and is left alone for a while")
        with self._breaker:
            body = await self._answer(call)
            try:
                return msgspec.json.decode(body, type=answer)
            except UNREADABLE as error:
                self._log(call, "its answer makes no sense")
                raise GatewaySilent(f"the answer of {self._provider} makes no sense") from error

    async def _answer(self, call: _Call) -> bytes:
        done = False
        try:
            with trio.fail_after(self._limits.timeout_s):
                async for attempt in self._attempts():
                    with attempt:
                        try:
                            return await self._once(call)
                        except _Failed as failed:
                            done |= failed.done
                            raise
            raise AssertionError("the last attempt returns or raises")
        except trio.TooSlowError as slow:
            self._log(call, "no answer in time")
            raise GatewaySilent(f"{self._provider} did not answer within {self._limits.timeout_s} s") from slow
        except _Failed as failed:
            self._log(call, str(failed))
            outcome = GatewaySilent if done else GatewayDown
            raise outcome(f"{self._provider}: {failed}") from failed

    def _attempts(self) -> AsyncRetrying:
        limits = self._limits
        pause = wait_random_exponential(multiplier=limits.pause_s, max=limits.pause_at_most_s)

        def wait(state: RetryCallState) -> float:
            failed = state.outcome.exception() if state.outcome else None
            asked = failed.pause_s if isinstance(failed, _Failed) else 0.0
            return max(asked, pause(state))

        return AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Failed) and error.again),
            stop=stop_after_attempt(limits.attempts),
            wait=wait,
            sleep=trio.sleep,
            reraise=True,
        )

    async def _once(self, call: _Call) -> bytes:
        try:
            async with self._http.stream(
                call.method, self._own(call.url), params=call.params, content=call.content, headers=call.headers
            ) as response:
                body = await self._read(response)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _Failed(f"not reached ({type(error).__name__})", done=False, again=True) from error
        except httpx.RequestError as error:
            raise _Failed(f"the connection broke ({type(error).__name__})", done=True, again=True) from error
        return self._judged(response, body)

    def _own(self, url: str) -> httpx.URL:
        """The provider's own address for ``url``, a path or a link it gave: our key goes nowhere else."""
        if url.startswith("/"):
            return httpx.URL(f"{self._url}{url}")
        try:
            link = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise _Failed("it gave a link that leads nowhere", done=True) from error
        ours = self._url
        if (link.scheme, link.host, link.port) != (ours.scheme, ours.host, ours.port):
            raise _Failed("it gave a link that leads elsewhere", done=True)
        return link

    async def _read(self, response: httpx.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _Failed("its answer is compressed, which was not asked for", done=True)
        body = bytearray()
        # Cancelled rather than left: that unwinds the generators below, which are httpx's to close.
        with trio.CancelScope() as too_long:
            async for part in response.aiter_bytes():
                body += part
                if len(body) > self._limits.answer_bytes:
                    too_long.cancel()
        if too_long.cancel_called:
            raise _Failed("its answer is too long", done=True)
        return bytes(body)

    def _judged(self, response: httpx.Response, body: bytes) -> bytes:
        """The body of a yes; raises Refused for a no, and _Failed for everything that is neither."""
        status = response.status_code
        if response.is_success:
            return body
        if status in (401, 403):
            raise _Failed(f"it does not let us in ({status})", done=False)
        if status == 429:
            raise self._asked_to_wait(response, done=False)
        # 408: it gave up reading; 409: it is at it under the same key.
        if status in (408, 409, 503):
            raise self._asked_to_wait(response, done=True)
        if status >= 500:
            raise _Failed(f"it failed ({status})", done=True, again=True)
        if status < 400:
            raise _Failed(f"it leads elsewhere ({status})", done=True)
        try:
            code, reason = self._explain(body)
        except UNREADABLE:
            code, reason = "", f"{self._provider} refused ({status})"
        raise Refused(status, code, reason)

    def _asked_to_wait(self, response: httpx.Response, *, done: bool) -> _Failed:
        """``Retry-After`` in seconds is kept to; whoever asks for more than we wait for is not asked again."""
        asked = response.headers.get("retry-after", "0")
        pause_s = float(asked) if asked.isascii() and asked.isdigit() else float("inf")
        return _Failed(
            f"it asks to wait ({response.status_code})",
            done=done,
            again=pause_s <= self._limits.pause_at_most_s,
            pause_s=pause_s,
        )

    def _log(self, call: _Call, reason: str) -> None:
        # The path, without what may follow it.
        path = httpx.URL(call.url).path
        log.warning("provider_failed", provider=self._provider, call=f"{call.method} {path}", reason=reason)
