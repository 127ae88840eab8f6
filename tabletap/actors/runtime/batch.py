"""What an actor is handed: a batch, and within it the questions somebody waits for.

An ask is a row in the batch with a parked task behind it. Its life::

    waiting --taken by the actor--> taken --answer / fail--> answered
       |                              |
       | deadline                     | deadline, or the actor ended
       v                              v
    NotExecuted, skipped           OutcomeUnknown; a later answer goes nowhere
"""

from collections.abc import Iterator, Sequence
from operator import length_hint
from typing import Any

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

from .address import Address
from .errors import NotExecuted, OutcomeUnknown
from .timers import Bucket, Timers


class Asked:
    """A message whose sender waits. It may be answered later than ``receive`` returns, and from any task."""

    __slots__ = ("_asker", "_bucket", "_error", "_taken", "_value", "address", "answered", "deadline", "message")

    def __init__(self, address: Address, message: Any, deadline: float) -> None:
        self.address = address
        self.message = message
        self.deadline = deadline  # on trio's clock; pass on what is left of it to those asked downstream
        self.answered = False
        self._taken = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._asker: Task | None = None
        self._bucket: Bucket | None = None

    def answer(self, value: Any = None) -> None:
        """The first answer counts; later ones, and those to an asker that went away, go nowhere."""
        if not self.answered:
            self.answered = True
            self._value = value
            self._wake()

    def fail(self, error: BaseException) -> None:
        """Answer by raising ``error`` at the asker."""
        if not self.answered:
            self.answered = True
            self._error = self._error or error
            self._wake()

    @property
    def expired(self) -> bool:
        """Its asker has been told that time is up: working on it serves nobody."""
        return not self.answered and (self._error is not None or trio.current_time() >= self.deadline)

    # The rest is the runtime's.

    async def reply(self, timers: Timers) -> Any:
        self._asker = trio.lowlevel.current_task()
        self._bucket = timers.add(self, self.deadline)
        await trio.lowlevel.wait_task_rescheduled(self._abandon)
        if self._error is not None:
            raise self._error
        return self._value

    def take(self, now: float) -> bool:
        """May it still be delivered? From here on nobody can say that it was not executed."""
        if self._error is not None:
            return False
        if now >= self.deadline:
            self.expire()
            return False
        self._taken = True
        return True

    def expire(self) -> None:
        if self._taken:
            self.lose(OutcomeUnknown(self.address, "had taken the message when its deadline passed"))
        else:
            self.lose(NotExecuted(self.address, "did not take the message before its deadline"))

    def lose(self, error: BaseException) -> None:
        """Tell the asker that no answer will come, and why."""
        if not self.answered and self._error is None:
            self._error = error
            self._wake()

    @property
    def taken(self) -> bool:
        return self._taken

    def _wake(self) -> None:
        asker = self._asker
        if asker is not None:
            self._forget()
            trio.lowlevel.reschedule(asker)

    def _abandon(self, _: RaiseCancelT) -> Abort:
        self._forget()  # a cancelled asker loses its reply, never the command
        return Abort.SUCCEEDED

    def _forget(self) -> None:
        self._asker = None
        bucket, self._bucket = self._bucket, None
        if bucket is not None:
            bucket.drop(self)


class Batch:
    """All messages that waited, in the order they arrived: told ones bare, asked ones as an ``Asked``."""

    __slots__ = ("_cursor", "_messages", "on_trial", "settled", "since", "size")

    def __init__(self, messages: list[Any], *, size: int = 0, since: float = 0.0, on_trial: bool = False) -> None:
        self._messages = messages
        self._cursor: Iterator[Any] | None = None
        self.size = size  # what its messages weighed in the mailbox
        self.since = since  # when the oldest arrived, on trio's clock
        self.on_trial = on_trial  # a single message that was there at a crash
        self.settled = False

    def settle(self) -> None:
        """All of it has had its effect: never deliver it again, even if ``receive`` raises from here on."""
        self.settled = True

    def __iter__(self) -> Iterator[Any]:
        self._cursor = cursor = iter(self._messages)
        return cursor

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def messages(self) -> Sequence[Any]:
        return self._messages

    def unsettled(self) -> list[Any]:
        """What must be delivered again after a crash. An answer given is an effect had."""
        if self.settled:
            return []
        return [m for m in self._messages if type(m) is not Asked or not (m.answered or m.expired)]

    def current(self) -> str:
        """The type of the message in work, read off the iterator's own position: costs the loop nothing."""
        ahead = len(self) if self._cursor is None else length_hint(self._cursor)
        at = len(self) - 1 - ahead
        message = self._messages[max(at, 0)]
        return type(message.message if type(message) is Asked else message).__name__
