"""A client that lasts: it comes back when it is dropped, and tells each event once and in order.

Three things go on at once: events (``rooms``), commands (``commands``) and tokens. ``line`` holds one connection after
another; when one ends, all three are told and go on with the next. A user who cannot keep up holds up nothing: beyond
``queue_max`` messages the client leaves its rooms, and comes back to them, by offset, when half of the queue is read.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType, TracebackType
from typing import Any, NoReturn, Self, TypeVar, overload
from urllib.parse import quote

import msgspec
import trio

from .commands import Commands, Limits
from .errors import Denied, Unanswered
from .line import Line, State, Status
from .pauses import Pauses
from .queue import Queue
from .rooms import Figures, Rooms
from .server import Server
from .talk import Talk
from .tokens import Tokens, TokenSource
from .wire import Message

T = TypeVar("T")

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def _nobody(status: Status) -> None:
    del status


class Client:
    """One door of a cafe: ``async with Client(...) as client: async for message in client: ...``

    ``token``: a token, or what gives fresh ones. ``after``: the last offset heard in an earlier life. ``on_message`` is
    called with each message at once, in place of the queue that ``async for`` reads, and must not wait. ``on_status``
    hears of every change. ``check_every_s``: see ``rooms``.
    """

    def __init__(
        self,
        server: Server | str,
        *,
        door: str,
        cafe: str,
        token: str | TokenSource,
        after: int | None = None,
        on_message: Callable[[Message], None] | None = None,
        on_status: Callable[[Status], None] = _nobody,
        check_every_s: float | None = 60.0,
        pauses: Pauses | None = None,
        limits: Limits | None = None,
        queue_max: int = 1000,
        max_message_bytes: int = 16 * 1024 * 1024,
        now: Callable[[], float] = time.time,
    ) -> None:
        pauses = pauses or Pauses()
        self._rooms = Rooms(after, check_every_s, trio.current_time, pauses.random)
        self._commands = Commands(limits or Limits(), pauses)
        self._queue = Queue(queue_max, self._rooms.pause, self._rooms.go_on)
        tokens = Tokens(token, now)
        self._talk = Talk(
            f"/ws/{quote(door)}?cafe={quote(cafe)}",
            self._rooms,
            self._commands,
            self._queue,
            tokens,
            on_message,
            self._live,
        )
        server = Server(server) if isinstance(server, str) else server
        self._line = Line(server, self._talk, tokens, pauses, self._tell, max_message_bytes)
        self._on_status = on_status
        self._denied: Denied | None = None
        self._nursery: trio.Nursery | None = None
        self._manager: Any = None
        self.status = Status(State.CONNECTING)
        self.welcomed = trio.Event()

    # -- being there

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._run_quietly)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(None, None, None)  # what the block raised is raised as it is

    async def _run_quietly(self) -> None:
        with contextlib.suppress(Denied):  # who reads or asks is told
            await self.run()

    async def run(self) -> NoReturn:
        """Hold the line until cancelled: for who has a nursery already. Raises Denied where we are not let in."""
        try:
            await self._line.run()
        except Denied as denied:
            self._denied = denied
            raise
        finally:
            reason = self._denied or Unanswered("client", "it was stopped", sent=True)
            self._commands.end(reason)
            self._rooms.end(reason)
            self._queue.end(self._denied)
            self._tell(Status(State.STOPPED, self._denied.code if self._denied else 0))

    def _live(self) -> None:
        self._tell(Status(State.LIVE))
        self.welcomed.set()

    def _tell(self, status: Status) -> None:
        self.status = status
        self._on_status(status)

    # -- what a user does

    @property
    def figures(self) -> Figures:
        """What was met in the rooms so far."""
        return self._rooms.figures

    @property
    def dropped(self) -> Counter[int]:
        """How often a connection ended with which close code."""
        return self._line.dropped

    @property
    def commands_repeated(self) -> int:
        """How often a command was sent again."""
        return self._commands.repeated

    @property
    def resume_after(self) -> int | None:
        """What to give as ``after`` to another client that is to go on from here."""
        return self._rooms.resume_after

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        return await self._queue.get()

    async def subscribe(self, room: str, *, after: int | None = None) -> None:
        """Hear another room, from now on or from after an offset. Raises Refusal or Denied."""
        wish = self._rooms.subscribe(room, after)
        await wish.settled.wait()
        if wish.failure is not None:
            raise wish.failure

    def unsubscribe(self, room: str) -> None:
        """Hear it no more."""
        self._rooms.unsubscribe(room)

    def ack(self, offset: int) -> None:
        """Everything up to here is done with: the server need not keep it for us. Said again after a reconnect."""
        self._talk.ack(offset)

    async def renew(self, token: str) -> None:
        """Go on with another token of the same person. Raises Refusal, Unanswered or Denied."""
        await self._talk.renew(token)

    @overload
    async def perform(
        self,
        op: str,
        data: Mapping[str, Any] = ...,
        *,
        key: str | None = ...,
        repeatable: bool = ...,
        timeout_s: float = ...,
    ) -> Any: ...
    @overload
    async def perform(
        self,
        op: str,
        data: Mapping[str, Any] = ...,
        *,
        into: type[T],
        key: str | None = ...,
        repeatable: bool = ...,
        timeout_s: float = ...,
    ) -> T: ...
    async def perform(
        self,
        op: str,
        data: Mapping[str, Any] = _EMPTY,
        *,
        into: Any = Any,
        key: str | None = None,
        repeatable: bool = False,
        timeout_s: float = 30.0,
    ) -> Any:
        """Have an operation carried out; its reply, as ``into``. Waits for a connection if there is none.

        With a ``key`` (a UUID; operations on money want one) it is carried out once, however often it has to be sent.
        Without one it is sent again only if ``repeatable``. Raises Refusal, Unanswered or Denied.
        """
        message: dict[str, Any] = {"op": op, "data": dict(data)}
        if key is not None:
            message["idempotencyKey"] = key
        answer = await self._commands.perform(message, repeatable=repeatable or key is not None, timeout_s=timeout_s)
        return msgspec.json.decode(answer, type=into)
