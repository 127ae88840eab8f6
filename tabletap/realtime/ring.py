"""The newest events of a cafe, kept with their frames: most recoveries end here and never reach the database."""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice

import structlog

from tabletap.actors.ports import Recorded
from tabletap.domain.base import OrderId
from tabletap.domain.order import Order

from .audience import TOLD_TO_TILLS, Cast, audience
from .frames import encode, event_json
from .payloads import Data
from .telling import Told
from .tickets import Ticket

log = structlog.get_logger(__name__)


class Entry:
    """An event and what it says to each room. Built when somebody listens; each room's frame exists once.
    ``order``: as it was after the event, where a till may have to be told."""

    __slots__ = ("_casts", "_payloads", "_told", "order", "recorded", "tickets")

    def __init__(self, recorded: Recorded, tickets: Mapping[OrderId, Ticket], order: Order | None = None) -> None:
        self.recorded = recorded
        self.tickets = tickets
        self.order = order
        self._casts: dict[str, Cast] | None = None
        self._told: dict[str, Told] = {}
        self._payloads: dict[int, tuple[Data, bytes]] = {}

    @property
    def offset(self) -> int:
        return self.recorded.offset

    @property
    def lacks_order(self) -> bool:
        """Whether nobody told a till when this was news, so that only the log knows how the order stood then."""
        return self.order is None and isinstance(self.recorded.event, TOLD_TO_TILLS)

    @property
    def casts(self) -> dict[str, Cast]:
        if self._casts is None:
            try:
                self._casts = {cast.room: cast for cast in audience(self.recorded, self.tickets, self.order)}
            except Exception:
                # A bug in the table must not keep the events behind this one from anybody.
                log.exception("audience_failed", event_id=self.recorded.event_id)
                self._casts = {}
        return self._casts

    def told(self, room: str) -> Told | None:
        """What the event says to the room; None: nothing."""
        told = self._told.get(room)
        if told is None and (cast := self.casts.get(room)) is not None:
            told = self._told[room] = Told(self.recorded, cast, self._encoded(cast.data))
        return told

    def frame(self, room: str) -> bytes | None:
        """The same as bytes."""
        told = self.told(room)
        return None if told is None else told.frame

    def json(self, room: str) -> bytes | None:
        """The same without its frame."""
        cast = self.casts.get(room)
        if cast is None:
            return None
        recorded = self.recorded
        at_ms = int(recorded.at.timestamp() * 1000)
        return event_json(cast.type, room, recorded.offset, recorded.event_id, at_ms, self._encoded(cast.data))

    def _encoded(self, data: Data) -> bytes:
        # By identity: equal payloads of one event are one object. Kept beside it, so that the identity stays its own.
        found = self._payloads.get(id(data))
        if found is None:
            found = self._payloads[id(data)] = (data, encode(data))
        return found[1]


class Ring:
    """The last events of one cafe, without a hole between them."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def first(self) -> int | None:
        """The oldest offset it holds."""
        return self._entries[0].offset if self._entries else None

    def append(self, entry: Entry) -> None:
        self._entries.append(entry)

    def drop_oldest(self) -> None:
        self._entries.popleft()

    def clear(self) -> None:
        self._entries.clear()

    def after(self, offset: int) -> Iterator[Entry]:
        """The entries after an offset that the ring covers. Read them before anything else happens to the ring."""
        first = self.first
        return iter(()) if first is None else islice(self._entries, offset + 1 - first, None)
