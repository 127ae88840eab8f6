"""A line to a door that lasts: it dials again when it is dropped, and nothing is lost by that.

Events go on after the last offset that was heard (``?after=``); commands that were not answered are sent again, which
is safe because those that move money carry their key and the others are moves to where something already stands.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio

from .door import Closed, Refused, Socket
from .server import Server

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
AGAIN_CODES = frozenset(
    {"OVERLOADED", "NOT_EXECUTED", "OUTCOME_UNKNOWN", "UNAVAILABLE", "RATE_LIMIT_EXCEEDED", "DUPLICATE_IN_PROGRESS"}
)

_NOTHING = msgspec.Raw(b"null")


class Heard(msgspec.Struct, rename="camel"):
    """A message of the server: an event (``offset``, ``room``, ``data``), or an answer (``id``)."""

    type: str
    room: str = ""
    offset: int = 0
    event_id: str = ""
    id: str | None = None
    data: msgspec.Raw = _NOTHING
    code: str = ""
    error: str = ""


class Refusal(Exception):  # noqa: N818 - the server said no
    """The server refused a command, for good."""

    def __init__(self, op: str, code: str, message: str) -> None:
        super().__init__(f"{op}: {code} {message}")
        self.op = op
        self.code = code


class _Asked:
    """A command on its way. ``answer``: set with ``answered``."""

    __slots__ = ("answer", "answered", "message")

    def __init__(self, message: bytes) -> None:
        self.message = message
        self.answered = trio.Event()
        self.answer: Heard | None = None


OnEvent = Callable[[Heard, float], None]
"""What is told of each event, with the moment (``trio.current_time``) at which it was received."""


class Line:
    """One person's socket. ``run`` holds it; ``command`` may be called by any task, ``at_once`` of them at a time."""

    def __init__(
        self,
        server: Server,
        *,
        door: str,
        slug: str,
        token: str,
        on_event: OnEvent,
        after: int | None = None,
        at_once: int = 32,
    ) -> None:
        self._server = server
        self._target = f"/ws/{door}?cafe={slug}"
        self._token = token
        self._on_event = on_event
        self._decode = msgspec.json.Decoder(Heard).decode
        self._socket: Socket | None = None
        self._asked: dict[str, _Asked] = {}
        self._ids = itertools.count(1)
        self._at_once = trio.Semaphore(at_once)
        self._offsets: dict[str, int] = {}
        self.after = after
        self.welcomed = trio.Event()
        self.dropped: Counter[int] = Counter()
        self.out_of_order = 0
        self.resynced = 0
        self.repeated = 0

    async def run(self) -> None:
        """Hold the line until cancelled. Raises Refused where the door will not have us at all."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                socket = await Socket.open(self._server, self._here(), self._token)
            except Refused as refused:
                if refused.status < 500 and refused.status != 429:
                    raise
            except (Closed, OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass  # it is being started again
            else:
                pause = FIRST_PAUSE_SECONDS
                await self._hold(socket)
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _here(self) -> str:
        return self._target if self.after is None else f"{self._target}&after={self.after}"

    async def _hold(self, socket: Socket) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(socket.write)
                self._socket = socket
                for asked in self._asked.values():
                    self.repeated += 1
                    socket.post(asked.message)
                try:
                    while True:
                        texts = await socket.receive()
                        now = trio.current_time()
                        for text in texts:
                            self._take(self._decode(text), now)
                except Closed as closed:
                    self.dropped[closed.code] += 1
                nursery.cancel_scope.cancel()
        finally:
            self._socket = None
            await socket.aclose()

    def _take(self, heard: Heard, now: float) -> None:
        match heard.type:
            case "reply" | "error":
                asked = self._asked.pop(heard.id or "", None)
                if asked is not None:
                    asked.answer = heard
                    asked.answered.set()
            case "welcome":
                if self.after is None:
                    self.after = heard.offset
                self.welcomed.set()
            case "heartbeat" | "subscribed" | "unsubscribed":
                pass
            case "resync":
                self.resynced += 1
                self._offsets[heard.room] = self.after = heard.offset
            case _:
                if heard.offset <= self._offsets.get(heard.room, -1):
                    self.out_of_order += 1
                self._offsets[heard.room] = self.after = heard.offset
                self._on_event(heard, now)

    async def command(self, op: str, data: Mapping[str, Any], *, key: str | None = None) -> msgspec.Raw:
        """Have an operation carried out; its reply. ``key``: under which it is done once. Raises Refusal."""
        message: dict[str, Any] = {"op": op, "data": data}
        if key is not None:
            message["idempotencyKey"] = key
        pause = FIRST_PAUSE_SECONDS
        async with self._at_once:
            while True:
                heard = await self._ask(message)
                if heard.type == "reply":
                    return heard.data
                if heard.code not in AGAIN_CODES:
                    raise Refusal(op, heard.code, heard.error)
                self.repeated += 1
                await trio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _ask(self, message: dict[str, Any]) -> Heard:
        ident = str(next(self._ids))
        asked = _Asked(msgspec.json.encode({**message, "id": ident}))
        self._asked[ident] = asked
        try:
            if self._socket is not None:
                self._socket.post(asked.message)
            await asked.answered.wait()
        finally:
            self._asked.pop(ident, None)
        assert asked.answer is not None
        return asked.answer
