"""What is said on the wire, as a client reads it: the messages of the server, and what is made of them for its user."""

import builtins
from typing import Any, Literal, TypeVar, overload

import msgspec

T = TypeVar("T")

EventType = Literal[
    "order_created",
    "new_order",
    "new_paid_order",
    "paid_order_ready_for_preparation",
    "order_updated",
    "order_status_changed",
    "order_status_updated",
    "order_state_changed",
    "order_in_preparation",
    "kitchen_order_ready",
    "order_ready",
    "queue_position_updated",
    "kitchen_display_updated",
    "payment_initiated",
    "payment_completed",
    "payment_failed",
    "payment_status_updated",
    "payment_update",
    "payment_state_sync",
    "refund_updated",
    "credit_updated",
    "menu_updated",
    "gift_card_purchased",
    "loyalty_updated",
    "orchestration_started",
    "job_started",
    "job_progress",
    "job_completed",
    "job_failed",
    "step_completed",
    "flow_completed",
]
"""The types there are today. A newer server may send others, which are told like these."""

_NOTHING = msgspec.Raw(b"null")


class _Told(msgspec.Struct, frozen=True):
    def _read(self, raw: msgspec.Raw, into: Any) -> Any:
        return msgspec.json.decode(raw, type=into)


class Event(_Told, frozen=True):
    """Something that happened. ``offset``: in its cafe's log; ``timestamp``: milliseconds since the epoch."""

    type: EventType | str
    room: str
    offset: int
    event_id: str
    timestamp: int
    data: msgspec.Raw

    @overload
    def read(self) -> dict[str, Any]: ...
    @overload
    def read(self, into: builtins.type[T]) -> T: ...
    def read(self, into: Any = dict[str, Any]) -> Any:
        """``data`` as any type that msgspec can fill (a Struct, a dataclass). Raises msgspec.ValidationError."""
        return self._read(self.data, into)


class Resync(_Told, frozen=True):
    """Too much was missed to be told: forget what is known of the room, this is how it stood at ``offset``."""

    room: str
    offset: int
    snapshot: msgspec.Raw

    @overload
    def read(self) -> dict[str, Any]: ...
    @overload
    def read(self, into: type[T]) -> T: ...
    def read(self, into: Any = dict[str, Any]) -> Any:
        """``snapshot`` as any type that msgspec can fill. Raises msgspec.ValidationError."""
        return self._read(self.snapshot, into)


class Left(msgspec.Struct, frozen=True):
    """The server lets us hear this room no more, or never did; ``code`` and ``error`` say why."""

    room: str
    code: str
    error: str


Message = Event | Resync | Left


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one field of a command."""

    field: str
    message: str


class Heard(msgspec.Struct, rename="camel"):
    """Any message of the server."""

    type: str
    room: str = ""
    offset: int = -1
    event_id: str = ""
    timestamp: int = 0
    data: msgspec.Raw = _NOTHING
    id: str | int | None = None
    code: str = ""
    error: str = ""
    errors: tuple[Fault, ...] = ()
    snapshot: msgspec.Raw = _NOTHING
    recovered: bool = False
    heartbeat_ms: int = 0
    rooms: tuple[str, ...] = ()

    @property
    def is_event(self) -> bool:
        """Whether it is one: of whatever type."""
        return bool(self.room and self.event_id) and self.offset >= 0


decode = msgspec.json.Decoder(Heard).decode
encode = msgspec.json.Encoder().encode
