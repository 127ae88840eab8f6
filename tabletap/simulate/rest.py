"""A small HTTP/1.1 client: kept-alive connections, one request at a time on each, repeats that are safe.

A request that may be repeated (a GET, or whatever carries an ``Idempotency-Key``) is repeated with the same key until
it is answered: through broken connections, a restarting server, 429, 503 and 504. That is what a good client does.
"""

import contextlib
from collections.abc import Mapping

import h11
import msgspec
import trio

from tabletap.client import Server

ANSWER_SECONDS = 30.0
IDLE_AT_MOST = 64
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
RECEIVE_BYTES = 64 * 1024
AGAIN_STATUS = frozenset({429, 503, 504})
"""Too much, not now, or nobody knows: the same request may be sent again."""

_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.RemoteProtocolError)


class Problem(msgspec.Struct, frozen=True):
    """An error as the server words it (spec Q1)."""

    error: str = ""
    code: str = ""


class Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes
    headers: Mapping[bytes, bytes]

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def problem(self) -> Problem:
        """What went wrong, as far as the body says."""
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode(self.body, type=Problem)
        return Problem(error=f"status {self.status}")


class Connection:
    """One kept-alive connection."""

    def __init__(self, stream: trio.abc.Stream, authority: str) -> None:
        self._stream = stream
        self._authority = authority
        self._http = h11.Connection(h11.CLIENT)

    async def exchange(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """One request and its answer. Whatever it raises, the connection is of no use afterwards."""
        named = [("host", self._authority), ("content-length", str(len(body))), *headers]
        head = h11.Request(method=method, target=path, headers=named)
        http = self._http
        await self._stream.send_all(
            http.send(head) + (http.send(h11.Data(data=body)) if body else b"") + http.send(h11.EndOfMessage())
        )
        status, fields, parts = 0, {}, []
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await self._stream.receive_some(RECEIVE_BYTES)))
            elif isinstance(event, h11.Response):
                status, fields = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, b"".join(parts), fields)
            elif isinstance(event, h11.ConnectionClosed):
                raise trio.BrokenResourceError

    def ready_again(self) -> bool:
        """Whether another request may follow."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


class Rest:
    """The pool. Requests never wait for one another: who finds no idle connection dials a new one."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle: list[Connection] = []
        self.repeated = 0

    async def request(
        self, method: str, path: str, *, token: str | None = None, key: str | None = None, body: object = None
    ) -> Answer:
        """Ask once. Raises OSError or trio's errors of a broken stream; then nobody knows whether it was done."""
        headers = [("content-type", "application/json")] if body is not None else []
        if token is not None:
            headers.append(("authorization", f"Bearer {token}"))
        if key is not None:
            headers.append(("idempotency-key", key))
        payload = b"" if body is None else msgspec.json.encode(body)
        with trio.fail_after(ANSWER_SECONDS):
            connection = self._idle.pop() if self._idle else await self._dial()
            try:
                answer = await connection.exchange(method, path, headers, payload)
            except BaseException:
                await connection.aclose()
                raise
        if len(self._idle) < IDLE_AT_MOST and connection.ready_again():
            self._idle.append(connection)
        else:
            await connection.aclose()
        return answer

    async def ask(
        self, method: str, path: str, *, token: str | None = None, key: str | None = None, body: object = None
    ) -> Answer:
        """Ask until there is an answer that stands. Only for what may be repeated. Ends with its cancel scope."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            with contextlib.suppress(*_BROKEN):
                answer = await self.request(method, path, token=token, key=key, body=body)
                in_progress = answer.status == 409 and answer.problem.code == "DUPLICATE_IN_PROGRESS"
                if not in_progress and answer.status not in AGAIN_STATUS:
                    return answer
            self.repeated += 1
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _dial(self) -> Connection:
        return Connection(await self._server.dial(), self._server.authority)

    async def aclose(self) -> None:
        """Drop the idle connections."""
        while self._idle:
            await self._idle.pop().aclose()
