"""Commands on their way: each is settled exactly once, whatever the connection does in between.

A command with a key may be sent again: the server carries it out once. One without is sent again only if that cannot
hurt (``repeatable``: a read, or a move to where something may stand already), else whoever asked is told that nobody
knows. A repeated, late or unknown answer finds nobody waiting and changes nothing.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio

from .errors import Refusal, Unanswered
from .pauses import Pauses
from .wire import Heard, encode

NOT_DONE = frozenset({"OVERLOADED", "NOT_EXECUTED", "RATE_LIMIT_EXCEEDED"})
"""Refusals that promise that nothing was done, and may not be repeated."""

PERHAPS_DONE = frozenset({"OUTCOME_UNKNOWN", "UNAVAILABLE", "DUPLICATE_IN_PROGRESS"})
"""Refusals after which only the same command under its key tells."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``in_flight``: sent and not answered (a server answers OVERLOADED beyond 16); ``waiting``: for their turn."""

    in_flight: int = 16
    waiting: int = 1024
    message_bytes: int = 64 * 1024


class _Asked:
    """A command on its way. ``settled`` is set with one of ``answer`` and ``failure``."""

    __slots__ = ("answer", "failure", "message", "op", "repeatable", "sent", "settled")

    def __init__(self, op: str, message: bytes, *, repeatable: bool) -> None:
        self.op = op
        self.message = message
        self.repeatable = repeatable
        self.sent = False
        self.settled = trio.Event()
        self.answer: Heard | None = None
        self.failure: Exception | None = None


class Commands:
    """``post``: how to send while there is a connection (``connected``, ``disconnected``)."""

    def __init__(self, limits: Limits, pauses: Pauses) -> None:
        self._limits = limits
        self._pauses = pauses
        self._turns = trio.Semaphore(limits.in_flight)
        self._waiting = 0
        self._ids = itertools.count(1)
        self._asked: dict[str, _Asked] = {}
        self._post: Callable[[bytes], None] | None = None
        self._ended: Exception | None = None
        self.repeated = 0

    # -- what the connection does

    def connected(self, post: Callable[[bytes], None]) -> None:
        """Send what waits, and again what was not answered."""
        self._post = post
        for asked in tuple(self._asked.values()):
            self.repeated += asked.sent
            self._send(asked)

    def disconnected(self, *, too_big: bool = False) -> None:
        """What was sent and may not be sent again is settled. ``too_big``: what was sent would end the next one too."""
        self._post = None
        for ident, asked in tuple(self._asked.items()):
            if asked.sent and (too_big or not asked.repeatable):
                why = "the server would not take so much" if too_big else "the connection ended"
                self._fail(ident, Unanswered(asked.op, why, sent=True))

    def end(self, reason: Exception) -> None:
        """There will be no other connection."""
        self._post = None
        self._ended = reason
        for ident in tuple(self._asked):
            self._fail(ident, reason)

    def heard(self, heard: Heard) -> bool:
        """An answer. Whether anybody waited for it."""
        asked = self._asked.pop(heard.id, None) if isinstance(heard.id, str) else None
        if asked is None:
            return False
        asked.answer = heard
        asked.settled.set()
        return True

    # -- what the user does

    async def perform(self, message: Mapping[str, Any], *, repeatable: bool, timeout_s: float) -> msgspec.Raw:
        """The reply's data. Raises Refusal, Unanswered, or why there is no connection any more."""
        op = str(message["op"])
        if self._waiting >= self._limits.waiting:
            raise Unanswered(op, "too many commands wait already", sent=False)
        if len(encode(message)) > self._limits.message_bytes:
            raise Unanswered(op, f"a message has at most {self._limits.message_bytes} bytes", sent=False)
        progress = _Progress()
        with trio.move_on_after(timeout_s):
            self._waiting += 1
            try:
                await self._turns.acquire()
            finally:
                self._waiting -= 1
            try:
                return await self._until_it_stands(op, message, progress, repeatable=repeatable)
            finally:
                self._turns.release()
        raise progress.refusal or Unanswered(op, f"no answer within {timeout_s:g} s", sent=progress.sent)

    async def _until_it_stands(
        self, op: str, message: Mapping[str, Any], progress: "_Progress", *, repeatable: bool
    ) -> msgspec.Raw:
        for tries in itertools.count():
            heard = await self._ask(op, message, progress, repeatable=repeatable)
            if heard.type == "reply":
                return heard.data
            refusal = Refusal(op, heard.code, heard.error, heard.errors)
            if heard.code in PERHAPS_DONE:
                progress.refusal = None
                if not repeatable:
                    raise Unanswered(op, heard.code, sent=True) from refusal
            elif heard.code in NOT_DONE:
                progress.refusal = refusal
            else:
                raise refusal
            self.repeated += 1
            await trio.sleep(self._pauses.before(tries))
        raise AssertionError

    async def _ask(self, op: str, message: Mapping[str, Any], progress: "_Progress", *, repeatable: bool) -> Heard:
        if self._ended is not None:
            raise self._ended
        ident = f"c{next(self._ids)}"
        asked = _Asked(op, encode({**message, "id": ident}), repeatable=repeatable)
        self._asked[ident] = asked
        try:
            self._send(asked)
            await asked.settled.wait()
        finally:
            self._asked.pop(ident, None)
            progress.sent |= asked.sent
        if asked.failure is not None:
            raise asked.failure
        assert asked.answer is not None
        return asked.answer

    def _send(self, asked: _Asked) -> None:
        if self._post is not None:
            asked.sent = True
            self._post(asked.message)

    def _fail(self, ident: str, failure: Exception) -> None:
        asked = self._asked.pop(ident, None)
        if asked is not None:
            asked.failure = failure
            asked.settled.set()


class _Progress:
    """How far a command has come when its time is over."""

    def __init__(self) -> None:
        self.sent = False
        self.refusal: Refusal | None = None
