"""The line to a door: connections, one after another, and the pauses between them."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import NoReturn, Protocol

import msgspec
import trio

from .errors import Denied
from .pauses import Pauses
from .rooms import Muddled
from .server import Server
from .socket import Closed, Refused, Socket
from .tokens import Tokens
from .wire import Heard, decode

WELCOME_S = 10.0
SILENT_BEATS = 2.5
"""A server that is silent for so many heartbeats is gone, whatever TCP believes."""

STEADY_S = 5.0
"""A connection that lasted this long makes the next pause short again."""

UNAUTHORISED, TOO_MANY_REQUESTS = 401, 429
ABNORMAL, TOO_BIG, TOKEN_EXPIRED, TOO_MANY_MESSAGES = 1006, 1009, 4001, 4029
FOR_GOOD = frozenset({1008, 4003})
"""Close codes after which the same token would be turned away again."""


class State(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    WAITING = "waiting"
    STOPPED = "stopped"


class Status(msgspec.Struct, frozen=True):
    """``code``: what the last connection ended with (a close code, an HTTP status; 0: there was none yet);
    ``pause_s``: how long is waited before attempt ``tries``.
    """

    state: State
    code: int = 0
    pause_s: float = 0.0
    tries: int = 0


class Talk(Protocol):
    """What is done on a connection."""

    def target(self) -> str:
        """Where to knock: the path and query of the door."""

    def welcome(self, heard: Heard, socket: Socket, nursery: trio.Nursery) -> None:
        """The server has let us in. The nursery lives as long as the connection."""

    def take(self, heard: Heard) -> None:
        """It says something. Raises Muddled to have the connection begun anew."""

    def lost(self, code: int) -> None:
        """The connection has ended."""


class Line:
    """``tell``: hears of every change. ``dropped``: how often a connection ended with which code."""

    def __init__(
        self,
        server: Server,
        talk: Talk,
        tokens: Tokens,
        pauses: Pauses,
        tell: Callable[[Status], None],
        max_message_bytes: int,
    ) -> None:
        self._server = server
        self._talk = talk
        self._tokens = tokens
        self._pauses = pauses
        self._tell = tell
        self._max_message_bytes = max_message_bytes
        self._steady = False
        self.dropped: Counter[int] = Counter()

    async def run(self) -> NoReturn:
        """Hold the line until cancelled. Raises Denied where the door will not have us at all."""
        tries, code = 0, 0
        while True:
            self._tell(Status(State.CONNECTING, code, tries=tries))
            was, (code, leave_alone_s) = code, await self._attempt()
            if self._is_for_good(code, was):
                raise Denied(code, "the door stays closed")
            tries = (0 if self._steady else tries) + (4 if code == TOO_MANY_MESSAGES else 0)
            pause_s = self._pauses.before(tries, leave_alone_s)
            tries += 1
            self._tell(Status(State.WAITING, code, pause_s, tries))
            await trio.sleep(pause_s)

    def _is_for_good(self, code: int, was: int) -> bool:
        """Whether another attempt would end like this one. An old token is not an end where there are fresh ones."""
        if code in (UNAUTHORISED, TOKEN_EXPIRED):
            return not self._tokens.drop() or was == code == UNAUTHORISED
        return code in FOR_GOOD or (400 <= code < 500 and code != TOO_MANY_REQUESTS)

    async def _attempt(self) -> tuple[int, float]:
        """Connect and hold the connection. How it ended, and how long the server wants to be left alone (seconds)."""
        self._steady = False
        try:
            token = await self._tokens.current()
            socket = await Socket.open(self._server, self._talk.target(), token, self._max_message_bytes)
        except Refused as refused:
            return refused.status, refused.retry_after_s
        except Closed as closed:
            return closed.code, closed.retry_after_s
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return ABNORMAL, 0.0
        code, leave_alone_s, began = ABNORMAL, 0.0, trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(socket.write)
                try:
                    await self._hold(socket, nursery)
                except Closed as closed:
                    code, leave_alone_s = closed.code, closed.retry_after_s
                except Muddled:
                    pass
                nursery.cancel_scope.cancel()
        finally:
            self._talk.lost(code)
            await socket.aclose()
        self.dropped[code] += 1
        self._steady = trio.current_time() - began >= STEADY_S
        return code, leave_alone_s

    async def _hold(self, socket: Socket, nursery: trio.Nursery) -> NoReturn:
        """Take what comes until the connection ends. Raises Closed or Muddled."""
        silent_s, welcomed = WELCOME_S, False
        while True:
            with trio.move_on_after(silent_s) as patience:
                texts = await socket.receive()
            if patience.cancelled_caught:
                raise Closed(ABNORMAL, "the server is silent")
            for text in texts:
                try:
                    heard = decode(text)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    # What it was nobody knows; it may have been an event.
                    raise Muddled("a message that is none") from error
                if welcomed:
                    self._talk.take(heard)
                elif heard.type == "welcome":
                    welcomed, silent_s = True, SILENT_BEATS * max(1.0, heard.heartbeat_ms / 1000)
                    self._talk.welcome(heard, socket, nursery)
