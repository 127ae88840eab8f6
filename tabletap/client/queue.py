"""Messages between the connection and a user who reads with ``async for``: bounded, and in nobody's way."""

from collections import deque
from collections.abc import Callable

import trio

from .wire import Message


class Queue:
    """Holds ``most`` messages. ``full`` is called when there is no space for another, ``drained`` when half of it is
    free again; what comes in between is not taken, and told again from the log later.
    """

    def __init__(self, most: int, full: Callable[[], None], drained: Callable[[], None]) -> None:
        self._most = most
        self._full = full
        self._drained = drained
        self._messages: deque[Message] = deque()
        self._arrived = trio.lowlevel.ParkingLot()
        self._ended: Exception | None = None
        self._over = False
        self._behind = False

    @property
    def has_space(self) -> bool:
        """Whether another message would be taken. Says so to ``full`` if not."""
        if not self._behind and len(self._messages) >= self._most:
            self._behind = True
            self._full()
        return not self._behind

    def put(self, message: Message) -> None:
        """A message for the user."""
        self._messages.append(message)
        self._arrived.unpark()

    def end(self, reason: Exception | None) -> None:
        """Nothing more will come. ``reason``: what the reader is to be told after the last message."""
        self._over = True
        self._ended = reason
        self._arrived.unpark_all()

    async def get(self) -> Message:
        """The next message. Raises StopAsyncIteration, or the reason of the end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._messages:
            if self._ended is not None:
                raise self._ended
            if self._over:
                raise StopAsyncIteration
            await self._arrived.park()
        message = self._messages.popleft()
        if self._behind and len(self._messages) <= self._most // 2:
            self._behind = False
            self._drained()
        return message
