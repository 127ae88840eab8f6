"""A limit on everything, units in the names."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KindLimits:
    """What one kind of actor does differently; ``None`` means as everyone."""

    mailbox_messages: int | None = None
    mailbox_bytes: int | None = None
    idle_seconds: float | None = None
    coalesces: bool = False  # a told message with a ``coalesce_key`` replaces the waiting one with the same key


@dataclass(frozen=True, slots=True)
class Limits:
    # The mailbox: what may wait for one actor.
    mailbox_messages: int = 1_000
    mailbox_bytes: int = 1 << 20
    retry_after_seconds: float = 1.0

    # Passivation: how many actors may live, and for how long without work.
    idle_seconds: float = 300.0
    active_limit: int = 50_000
    leave_at_once: int = 256  # so that a crowd on its way out does not flood the storage with snapshots

    # Supervision: how often an actor may crash, and what it waits before each new life.
    restarts: int = 5
    restart_window_seconds: float = 60.0
    backoff_seconds: float = 0.1
    backoff_most_seconds: float = 30.0
    backoff_jitter: float = 0.5  # the share of a wait that is left to chance
    quarantine_seconds: float = 60.0

    dead_letters: int = 1_000
    stop_seconds: float = 10.0  # granted when ``async with system`` is left without a ``stop``

    kinds: Mapping[str, KindLimits] = field(default_factory=dict)
