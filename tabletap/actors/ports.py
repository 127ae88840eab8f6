"""What actors need of the world, as protocols: a journal to live in, readers of it, a publisher, gateways.

The store implements ``Journal`` and ``Reader``; tests implement them in memory; one contract suite runs over both.
Times are aware UTC; ids are UUIDs; bodies are JSON bytes.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from tabletap.domain.access import Subject
from tabletap.domain.base import By, CafeId, Event, Message, OrderId, PaymentId, Ref
from tabletap.domain.cafe import Cafe
from tabletap.domain.drawer import Drawer
from tabletap.domain.events import AnyEvent
from tabletap.domain.order import Order, OrderView
from tabletap.domain.payment import Payment, PaymentView

State = Cafe | Order | Payment | Drawer
"""The states that are projected into rows when they change."""


class Conflict(Exception):  # noqa: N818  no error: the other writer was first
    """Somebody else has written since this entity was loaded: load it again and decide again. Nothing was written."""


class DuplicateKey(Exception):  # noqa: N818  no error: it has been answered
    """The idempotency key has its record already, written by another node: nothing was written."""


class SlugTaken(Exception):  # noqa: N818  no error: the other cafe was first
    """Another cafe has the slug: nothing was written."""


class Overloaded(Exception):  # noqa: N818  no error: the bound was reached
    """Too much waits to be written: nothing was. ``retry_after_s``: when asking again may help (seconds)."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"too much waits to be written, retry in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Recorded(msgspec.Struct, frozen=True):
    """An event as the log holds it. ``offset`` is contiguous per cafe from 1; ``version`` per entity from 1.

    ``ref`` is the entity the event is about, ``author`` the one that decided it (a cafe for the orders it admits).
    """

    cafe_id: CafeId
    offset: int
    id: UUID
    ref: Ref
    version: int
    author: Ref
    order_id: OrderId | None
    at: datetime
    by: By
    event: AnyEvent

    @property
    def event_id(self) -> str:
        """The id on the wire."""
        return f"evt_{self.id.hex}"


class Stored(msgspec.Struct, frozen=True):
    """An entity as the journal has it. ``version`` 0: it does not exist.

    ``pinned``: the latest event of each pinned type up to the snapshot, oldest first. ``later``: every event about or
    by the entity after the snapshot (all of them, without one), oldest first.
    """

    version: int
    snapshot: bytes | None
    pinned: Sequence[Recorded]
    later: Sequence[Recorded]


class New(msgspec.Struct, frozen=True):
    """An event to be written, about ``ref`` as its ``version``; decided ``at``, caused ``by``."""

    ref: Ref
    version: int
    event: Event
    at: datetime
    by: By


class Sent(msgspec.Struct, frozen=True):
    """An outbox row: ``message`` as it was decided, with its own id."""

    id: UUID
    message: Message
    by: By


class Idempotency(msgspec.Struct, frozen=True):
    """Whose key it is and what was asked: ``scope`` is tenant and user, ``request`` a digest of operation and body."""

    scope: str
    key: UUID
    request: bytes


class Answered(msgspec.Struct, frozen=True):
    """What a keyed request was answered: the reply's JSON, or the refusal's."""

    idempotency: Idempotency
    ok: bool
    body: bytes
    expires_at: datetime


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """All that one entity's decisions change, written in one transaction or not at all.

    ``author``/``version``: who decided, and the version it had before. ``states``: the entities after it, for the
    projections. ``consumed``: outbox rows this commit has handled. ``wakes``: next wake times (None: sleep on).
    ``snapshot``: the author's state after these events. A commit may have no events (a repeat, a stored refusal).
    """

    author: Ref
    version: int
    events: Sequence[New] = ()
    states: Sequence[State] = ()
    sent: Sequence[Sent] = ()
    consumed: Sequence[UUID] = ()
    answered: Sequence[Answered] = ()
    wakes: Sequence[tuple[Ref, datetime | None]] = ()
    snapshot: bytes | None = None


class Journal(Protocol):
    """Where entities live. Raises ``actors.runtime.Outage`` when it cannot be reached: nothing is known then."""

    async def load(self, ref: Ref, pinned: Sequence[str] = ()) -> Stored:
        """The entity ``ref`` with its latest snapshot."""
        ...

    async def commit(self, commit: Commit) -> Sequence[Recorded]:
        """Write it durably, publish its events in offset order, then answer. Raises Conflict, DuplicateKey, Outage."""
        ...


class CafeEntry(msgspec.Struct, frozen=True):
    """A line of the directory of cafes."""

    id: CafeId
    slug: str
    name: str


class Reader(Protocol):
    """Questions answered from the projections and the log. Every answer is as new as the last commit."""

    async def cafes(self) -> Sequence[CafeEntry]:
        """Every cafe of the installation."""
        ...

    async def order(self, order_id: OrderId) -> OrderView | None: ...

    async def orders(
        self, cafe_id: CafeId, *, active: bool = False, before: OrderId | None = None, limit: int = 100
    ) -> Sequence[OrderView]:
        """Newest first; ``active``: only what is neither completed nor cancelled, oldest first. ``before``: paging."""
        ...

    async def orders_with_offset(self, cafe_id: CafeId) -> tuple[int, Sequence[OrderView]]:
        """The active orders (oldest first) and the offset of the log at which they were so."""
        ...

    async def payment(self, payment_id: PaymentId) -> PaymentView | None: ...

    async def subject(self, kind: str, ident: UUID) -> Subject | None:
        """Whose an ``order`` or a ``payment`` is."""
        ...

    async def log(self, cafe_id: CafeId, after: int, limit: int, order_id: OrderId | None = None) -> Sequence[Recorded]:
        """The cafe's events after an offset; ``order_id``: only those about it, or since it was placed about none."""
        ...

    async def head(self, cafe_id: CafeId) -> int:
        """The newest offset of the cafe's log (0: empty)."""
        ...

    async def answered(self, scope: str, key: UUID, now: datetime) -> Answered | None:
        """What was answered to a key that has not expired."""
        ...


Follower = Callable[[Sequence[Recorded]], None]
"""Called with each commit's events of a cafe, in offset order, after the commit. Must not block or raise."""


class Publisher(Protocol):
    """The one place from which committed events go out, in offset order."""

    def publish(self, cafe_id: CafeId, events: Sequence[Recorded]) -> None: ...

    def follow(self, cafe_id: CafeId, follower: Follower) -> Callable[[], None]:
        """Hear every commit of a cafe from now on; returns what ends it."""
        ...

    def head(self, cafe_id: CafeId) -> int:
        """The newest offset published for the cafe in this process (0: none yet)."""
        ...


class Presentation(msgspec.Struct, frozen=True):
    """How a customer pays: a page to go to, or a QR code to scan."""

    redirect_url: str | None = None
    payment_url: str | None = None
    qr_code_data: str | None = None


class Gateway(Protocol):
    """One way of paying (spec P1)."""

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:
        """What to show for a payment that is to be made."""
        ...
