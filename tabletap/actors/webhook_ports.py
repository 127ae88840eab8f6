"""What webhooks need of the world, as protocols: an inbox for those that come, endpoints for those that go.

The store implements them; the doors and the worker of the inbox use them. Every method of theirs that reads or writes
raises ``actors.runtime.Outage`` when the database cannot be reached.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from tabletap.domain.base import CafeId, PaymentId

from .ports import Heard

# -- the inbox


class WebhookStatus(StrEnum):
    """``pending``: to be processed; ``waiting``: for its predecessor; ``ignored``: about no payment of ours."""

    PENDING = "pending"
    WAITING = "waiting"
    PROCESSED = "processed"
    DEAD = "dead"
    IGNORED = "ignored"


class WebhookView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """A row of the inbox, as it is shown. ``attempts``: those that failed."""

    webhook_id: UUID
    provider: str
    event_id: str
    type: str
    status: WebhookStatus
    attempts: int
    received_at: datetime
    payment_id: PaymentId | None = None
    cafe_id: CafeId | None = None
    sequence: int | None = None
    last_error: str | None = None
    processed_at: datetime | None = None


class Rejection(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A webhook that was turned away: forged, or not to be read. ``body_sha256``: in hex, to compare with a log of the
    provider's; the body itself is kept nowhere."""

    provider: str
    at: datetime
    reason: str
    body_bytes: int
    body_sha256: str


class Inbox(Protocol):
    """What doors need."""

    async def take(self, provider: str, heard: Heard) -> None:
        """Return when it is stored with its job, or was before. Raises Outage, and Overloaded when too many wait."""
        ...

    def reject(self, provider: str, reason: str, body: bytes) -> None:
        """Note that it was turned away; what cannot be noted soon is only counted."""
        ...

    async def listed(
        self, status: WebhookStatus | None, cafes: Collection[CafeId] | None, before: UUID | None, limit: int
    ) -> Sequence[WebhookView]:
        """Newest first. ``cafes`` None: of all of them, and what is of none."""
        ...

    async def rejections(self, limit: int) -> Sequence[Rejection]:
        """Newest first."""
        ...

    async def replay(self, webhook_id: UUID, cafes: Collection[CafeId] | None) -> WebhookView | None:
        """Give a dead one another life, in which it is told whatever came before it. It as it is now (another status
        than ``pending``: it was not dead); None: there is none of these cafes."""
        ...


GAP_KEY = "gap:"
"""How the key of the job begins that comes back for a webhook that waits. It is not the payment's: what rests in a line
holds up all that is behind it."""


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the inbox, as its worker needs it. ``told``: the last of its payment's sequence that is over and done
    with. ``overdue``: it has waited for its predecessor long enough."""

    id: UUID
    payment_id: PaymentId
    cafe_id: CafeId
    status: WebhookStatus
    out_of_turn: bool
    overdue: bool
    told: int
    heard: Heard


class Unplaced(msgspec.Struct, frozen=True, kw_only=True):
    """A row of which only the provider's name of its charge is known. ``overdue``: whose that is has been asked for
    long enough."""

    id: UUID
    provider: str
    charge_id: str
    overdue: bool


class Arrivals(Protocol):
    """What the worker of the inbox needs."""

    async def look_up(self, webhook_id: UUID) -> Arrived | Unplaced | None:
        """The row; None: there is none, or it is about no payment of ours."""
        ...

    async def place(self, webhook_id: UUID, payment_id: PaymentId | None) -> None:
        """It is about this payment, in whose line it goes on; or about none of ours, and that is all of it."""
        ...

    async def hold(self, webhook_id: UUID) -> None:
        """Let it wait for its predecessor; a job comes back for it when that takes too long."""
        ...

    async def settle(self, webhook_id: UUID) -> None:
        """It has been told; its successor, where that waits, is next."""
        ...

    async def close_gap(self, webhook_id: UUID) -> None:
        """What it waits for is given up: it and all that wait before it go now, in their order."""
        ...

    async def note_failure(self, webhook_id: UUID, words: str) -> None:
        """An attempt has failed; after the last of them it is dead, and its successor is next."""
        ...


# -- endpoints


class EndpointView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """Where a cafe's events are sent. ``types`` empty: all of them. ``secret``: only in the answer that made it."""

    endpoint_id: UUID
    url: str
    types: tuple[str, ...]
    enabled: bool
    created_at: datetime
    description: str = ""
    disabled_reason: str | None = None
    secret: str | None = None


class AttemptView(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """One try at delivering a message. ``status``: of HTTP, left out where there was no answer; ``message_status``:
    where the message stands now; ``excerpt``: the beginning of the answer."""

    attempt_id: int
    message_id: UUID
    type: str
    message_status: str
    attempt: int
    at: datetime
    duration_ms: int
    status: int | None = None
    error: str | None = None
    excerpt: str = ""


class Endpoints(Protocol):
    """What doors need. Everything is None (or empty) where the cafe has no such endpoint."""

    private_networks: bool
    """Whether endpoints may be in networks that the internet does not reach."""

    async def create(self, cafe_id: CafeId, url: str, types: Sequence[str], description: str) -> EndpointView | None:
        """With its secret; None: the cafe has as many as it may have."""
        ...

    async def listed(self, cafe_id: CafeId) -> Sequence[EndpointView]:
        """Oldest first."""
        ...

    async def change(
        self,
        cafe_id: CafeId,
        endpoint_id: UUID,
        *,
        url: str | None = None,
        types: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> EndpointView | None:
        """What is not None is changed."""
        ...

    async def delete(self, cafe_id: CafeId, endpoint_id: UUID) -> bool:
        """With its messages and their log."""
        ...

    async def rotate(self, cafe_id: CafeId, endpoint_id: UUID) -> EndpointView | None:
        """A new secret; for a day both sign."""
        ...

    async def attempts(
        self, cafe_id: CafeId, endpoint_id: UUID, before: int | None, limit: int
    ) -> Sequence[AttemptView] | None:
        """Newest first."""
        ...

    async def replay(self, cafe_id: CafeId, endpoint_id: UUID, message_id: UUID) -> bool | None:
        """Send it once more, under the id it had. False: it is on its way, or the endpoint is disabled."""
        ...

    async def test(self, cafe_id: CafeId, endpoint_id: UUID) -> UUID | None:
        """Send a message of type ``test``, if the endpoint is enabled; its id."""
        ...


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be sent now. ``keys``: it is signed by each of them; ``attempts``: so many failed before."""

    message_id: UUID
    endpoint_id: UUID
    url: str
    body: bytes
    keys: tuple[bytes, ...]
    attempts: int

    @property
    def webhook_id(self) -> str:
        """The same on every attempt: receivers tell a repeat by it."""
        return f"msg_{self.message_id.hex}"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. ``status`` None: nothing did, and ``error`` says why."""

    at: datetime
    duration_ms: int
    status: int | None = None
    error: str | None = None
    excerpt: str = ""
    retry_after_s: float | None = None


class Sender(Protocol):
    """Who carries messages out of the house."""

    async def send(self, outgoing: Outgoing) -> Answer:
        """Send it once. Does not raise, and takes no longer than it was told to."""
        ...
