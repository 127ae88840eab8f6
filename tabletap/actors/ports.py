"""What actors need of the world, as protocols: a journal to live in, readers of it, a publisher, gateways.

The store implements ``Journal`` and ``Reader``; tests implement them in memory; one contract suite runs over both.
Times are aware UTC; ids are UUIDs; bodies are JSON bytes.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from tabletap.domain.access import Subject
from tabletap.domain.account import Account
from tabletap.domain.base import By, CafeId, Event, Job, Message, OrderId, PaymentId, Ref, Task
from tabletap.domain.cafe import Cafe
from tabletap.domain.charge import Charge, Dispute, RefundOrder, RefundStanding, Standing
from tabletap.domain.drawer import Drawer, DrawerView
from tabletap.domain.events import AnyEvent
from tabletap.domain.jobs import DeadLetter, FlowState, QueueDepth
from tabletap.domain.order import Order, OrderView
from tabletap.domain.payment import Payment, PaymentView
from tabletap.domain.tips import TipJar

from .holding_ports import Holdings

State = Cafe | Order | Payment | Drawer | Account | TipJar
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
    """An outbox row: ``message`` (for an entity) or job (for a queue) as it was decided, with its own id."""

    id: UUID
    message: Message | Job
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

    @property
    def holdings(self) -> Holdings: ...

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

    async def unreleased(self, cafe_id: CafeId, sku: str) -> Sequence[OrderId]:
        """The cafe's living orders that contain ``sku`` and that the kitchen does not have, oldest first."""
        ...

    async def payment(self, payment_id: PaymentId) -> PaymentView | None: ...

    async def payments(self, order_id: OrderId) -> Sequence[PaymentView]:
        """Every attempt to pay the order, oldest first."""
        ...

    async def drawers(self, cafe_id: CafeId) -> Sequence[DrawerView]:
        """The cafe's drawers that are open, oldest first."""
        ...

    async def subject(self, kind: str, ident: UUID) -> Subject | None:
        """Whose an ``order``, a ``payment`` or a ``flow`` is."""
        ...

    async def flow(self, flow: UUID) -> FlowState | None:
        """How far a flow of jobs is."""
        ...

    async def log(self, cafe_id: CafeId, after: int, limit: int, order_id: OrderId | None = None) -> Sequence[Recorded]:
        """The cafe's events after an offset; ``order_id``: only those about it, or since it was placed about none."""
        ...

    async def history(self, cafe_id: CafeId, order_ids: Collection[OrderId], before: int) -> Sequence[Recorded]:
        """All events about these orders below an offset, in their order."""
        ...

    async def head(self, cafe_id: CafeId) -> int:
        """The newest offset of the cafe's log (0: empty)."""
        ...

    async def answered(self, scope: str, key: UUID, now: datetime) -> Answered | None:
        """What was answered to a key that has not expired."""
        ...

    async def answered_among(self, scope: str, keys: Sequence[UUID], now: datetime) -> Sequence[Answered]:
        """The same of some keys, in any order."""
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


class CarriedOut(msgspec.Struct, frozen=True):
    """A line of a bank's statement that its payment has counted. ``outcome``: the payment's status after that."""

    line_id: str
    payment_id: PaymentId
    booked_on: date
    amount: int
    outcome: str


class Statements(Protocol):
    """What imported bank statements are compared with, and what became of their lines."""

    async def payments(self, cafe_id: CafeId, references: Collection[str]) -> Mapping[str, PaymentId]:
        """The payments of the cafe among these references."""
        ...

    async def carried_out(self, cafe_id: CafeId, line_ids: Collection[str]) -> Mapping[str, CarriedOut]:
        """Those of these lines that have been carried out."""
        ...

    async def record(self, cafe_id: CafeId, lines: Sequence[CarriedOut], answered: Answered, now: datetime) -> None:
        """Keep what was carried out, and the answer to its import, at once."""
        ...


class Presentation(msgspec.Struct, frozen=True):
    """How a customer pays: a page to go to, or a QR code to scan."""

    redirect_url: str | None = None
    payment_url: str | None = None
    qr_code_data: str | None = None


class GatewayDown(Exception):  # noqa: N818  nobody's mistake
    """The provider was not reached, so it has done nothing: ask it again later."""


class GatewaySilent(Exception):  # noqa: N818  nobody's mistake
    """The answer never came, or made no sense: whether it was done is unknown, and only ``verify`` can tell."""


class ForgedWebhook(Exception):  # noqa: N818  what it is
    """The signature is not the provider's (or too old): nothing of it is believed."""


class MalformedWebhook(Exception):  # noqa: N818  what it is
    """Rightly signed, but not what we can read."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook, understood. ``event_id``: the provider's own, the same on every delivery.

    ``payment_id`` None: nothing of ours, or (with a ``charge_id``, which is the provider's own) whose it is has to be
    asked. ``sequence``: its place among the events of its payment, from 1 without gaps; None: the provider does not
    number them, and what it says of a charge is only a reason to ask (``VerifyCharge``).
    """

    event_id: str
    type: str
    payment_id: PaymentId | None
    charge_id: str | None = None
    sequence: int | None = None
    standing: Standing | None = None
    refund: tuple[UUID, RefundStanding] | None = None
    dispute: Dispute | None = None


PaymentOf = Callable[[str], Awaitable[PaymentId | None]]
"""Asks a provider whose a charge is, by its own name of that; None: not ours. Raises GatewayDown, GatewaySilent."""


class Gateway(Protocol):
    """One way of paying (spec P1), however its money is really taken.

    Everything is idempotent by ``charge.payment_id`` and ``refund.refund_id``. The asynchronous methods raise
    GatewayDown (nothing was done) and GatewaySilent (unknown); a provider's no is a standing, not an exception.
    """

    provider: str
    """Whose webhooks are ours: the name in ``/api/webhooks/{provider}``; empty where there are none."""

    manual: bool
    """Whether staff say when the money is here (cash, transfer): nothing to ask anybody."""

    async def initiate(self, charge: Charge) -> Standing:
        """Begin to take the money."""
        ...

    async def verify(self, charge: Charge) -> Standing:
        """How the charge stands; ``ABSENT`` where it was never made."""
        ...

    async def cancel(self, charge: Charge) -> Standing:
        """Give the charge up if that is still possible; how it stands after that."""
        ...

    async def refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        """Give (part of) it back."""
        ...

    async def verify_refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        """How a refund stands; ``ABSENT`` where it was never made."""
        ...

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> Heard:
        """Check and read a webhook; header names are in lower case. Raises ForgedWebhook, MalformedWebhook."""
        ...

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:
        """What to show for a payment that is to be made."""
        ...


Worker = Callable[[Any, Sent], Awaitable[None]]
Workers = Mapping[type[Task], Worker]
"""Who does which task. A worker is given the task and its outbox row, and returns when it is done: at least once. It is
asked again after whatever it raises, as often as its queue's policy says; an ``Outage`` does not count."""


class Later(Exception):  # noqa: N818  no error: not yet
    """Raised by a worker: not now, and nobody's failure. Try again in so many seconds."""

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds = seconds


class GiveUp(Exception):  # noqa: N818  a decision
    """Raised by a worker: no further attempt can help. It is a dead letter at once."""


class JobBoard(Protocol):
    """What is in the queues, for those who operate them. ``cafes`` None: of all of them."""

    async def queues(self, cafes: Collection[CafeId] | None = None) -> Sequence[QueueDepth]:
        """What is in each queue now."""
        ...

    async def dead_letters(
        self, cafes: Collection[CafeId] | None = None, *, before: UUID | None = None, limit: int = 100
    ) -> Sequence[DeadLetter]:
        """What was given up, the latest first. ``before``: paging."""
        ...

    async def replay(self, id_: UUID, cafes: Collection[CafeId] | None = None) -> bool:
        """Try it again from the beginning. False: there is none such."""
        ...
