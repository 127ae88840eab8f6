"""What waits for one actor: a list with bounds by count and by bytes.

The list is taken whole and replaced by an empty one: draining costs the same for one message and for thousands,
and an idle actor holds no memory for messages. An empty list also means that nobody has woken the actor yet, so
whoever puts the first message there does. The senders' fast path (``tell`` in ``system``) therefore is: neither
empty nor full, append. ``room`` is the bound it looks at; 0 sends every message down the careful path below.
"""

from typing import Any

import trio

from .address import Address
from .batch import Asked, Batch
from .errors import MailboxFull
from .house import House
from .kind import Kind


class Mailbox:
    __slots__ = ("address", "asks", "held", "house", "keys", "kind", "room", "since", "size", "waiting")

    def __init__(self, address: Address, kind: Kind, house: House) -> None:
        self.address = address
        self.kind = kind
        self.house = house
        self.waiting: list[Any] = []
        self.room = 0 if house.stopping else kind.room
        self.size = 0
        self.asks = 0  # how many of those waiting are Asked
        self.held = 0  # in hand and likely to come back: counted against the bound, so that outages stay bounded
        self.since = 0.0  # when the oldest arrived, on trio's clock
        self.keys: dict[Any, tuple[int, int]] | None = None  # coalesce_key -> place and size of the waiting message

    def admit(self) -> None:
        """Raise if the address takes no messages at all."""
        raise NotImplementedError

    def wake(self) -> None:
        """The first message is there. Does nothing if the actor is awake."""
        raise NotImplementedError

    def post(self, message: Any, size: int = 0) -> None:
        """The careful path: every rule a sender is held to."""
        self.admit()
        if self.kind.coalesces and self._coalesced(message, size):
            return
        if self._full(size) and not self._swept(size):
            house = self.house
            house.counters.refused += 1
            raise MailboxFull(self.address, "has a full mailbox", house.limits.retry_after_seconds)
        self.deliver(message, size)
        if type(message) is Asked:
            self.asks += 1

    def deliver(self, message: Any, size: int = 0) -> None:
        """Past every rule: for the system's own messages, which are never dropped."""
        self.size += size
        if self.waiting:
            self.waiting.append(message)
            return
        self.since = trio.current_time()
        self.waiting.append(message)
        self.wake()

    def drain(self) -> Batch | None:
        """Everything that waits, without the asks whose deadline passed."""
        messages, self.waiting = self.waiting, []
        size, self.size = self.size, 0
        asks, self.asks = self.asks, 0
        self.keys = None
        counters = self.house.counters
        counters.told += len(messages) - asks
        if asks:
            now, before = trio.current_time(), len(messages)
            messages = [message for message in messages if type(message) is not Asked or message.take(now)]
            counters.expired += before - len(messages)
        return Batch(messages, size=size, since=self.since) if messages else None

    def put_back(self, batch: Batch) -> None:
        """First in line again, and past the bounds: they were admitted once."""
        messages = batch.unsettled()
        if not messages:
            return
        asks = sum(type(message) is Asked for message in messages)
        self.house.counters.told -= len(messages) - asks
        self.waiting[:0] = messages
        self.asks += asks
        self.size += batch.size
        self.since = batch.since
        self.keys = None

    def emptied(self) -> list[Any]:
        messages, self.waiting = self.waiting, []
        self.size = self.asks = 0
        self.keys = None
        return messages

    def open(self) -> None:
        self.room = 0 if self.held or self.house.stopping else self.kind.room

    def _full(self, size: int) -> bool:
        kind = self.kind
        return len(self.waiting) + self.held >= kind.mailbox_messages or self.size + size > kind.mailbox_bytes

    def _swept(self, size: int) -> bool:
        """Asks whose deadline passed keep their place until the actor comes by, or until it is needed."""
        if not self.asks:
            return False
        kept = [message for message in self.waiting if type(message) is not Asked or not message.expired]
        gone = len(self.waiting) - len(kept)
        self.waiting[:] = kept
        self.asks -= gone
        self.house.counters.expired += gone
        self.keys = None
        return not self._full(size)

    def _coalesced(self, message: Any, size: int) -> bool:
        key = None if type(message) is Asked else getattr(message, "coalesce_key", None)
        if key is None:
            return False
        keys = self.keys
        if keys is None:
            keys = self.keys = {}
        place, former = keys.get(key, (-1, 0))
        if place < 0:
            if not self._full(size):
                keys[key] = (len(self.waiting), size)
            return False
        if self.size - former + size > self.kind.mailbox_bytes:
            return False  # the careful path refuses it
        self.waiting[place] = message
        self.size += size - former
        keys[key] = (place, size)
        self.house.counters.coalesced += 1
        return True
