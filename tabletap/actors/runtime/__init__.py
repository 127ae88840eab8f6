"""The actor runtime: one task per live address, mailboxes with bounds, supervision, durable wakes. Knows no cafes.

Who owns what
    ``System`` owns the nursery, the registry and the way out. A ``Cell`` owns one address: its mailbox, its task, its
    current incarnation, its record of trouble. An ``Actor`` owns its state and nothing else; the sender of an ask owns
    only its wish for a reply. ``Waker`` owns no wake times: they are data of their source, it holds a window of them.

What must hold
    1. Never two incarnations of one address. A cell outlives its incarnations, and between its last look into the
       mailbox and its end there is no checkpoint, so a message meets either this cell or the next one.
    2. A message that was accepted is delivered, or becomes a dead letter with a reason, or (asked) its sender is told.
       Delivered again only after a crash or an outage, only if unsettled and unanswered; to one sender, in order.
    3. Sending never waits. Whatever can grow has a limit in ``Limits``; at the limit the sender is told at once.
    4. Three troubles, never mixed: refusals are answers, an ``Outage`` is waited out, a crash is a bug and loud.
    5. Nothing reads the ambient wall clock or ambient randomness: both are passed in. Durations are on trio's clock.

Reading order: ``errors`` (what a sender may be told), ``actor``, ``batch``, ``mailbox``, ``cell`` (a life, as a
picture), ``supervision``, ``house`` (what cells share), ``timers``, ``system``, ``wakes``; ``testing`` for authors.
"""

from .actor import Actor, Context
from .address import Address
from .batch import Asked, Batch
from .clock import Clock, WallClock
from .errors import (
    ActorError,
    ActorFailed,
    AskTimeout,
    MailboxFull,
    NotExecuted,
    NotRunning,
    Outage,
    OutcomeUnknown,
    Quarantined,
    RefusedForNow,
    Stopping,
)
from .house import Counters
from .letters import DeadLetter, DeadLetters
from .limits import KindLimits, Limits
from .system import Live, Ref, System
from .timers import Timer
from .wakes import Wake, Waker, WakeSource

__all__ = [
    "Actor",
    "ActorError",
    "ActorFailed",
    "Address",
    "AskTimeout",
    "Asked",
    "Batch",
    "Clock",
    "Context",
    "Counters",
    "DeadLetter",
    "DeadLetters",
    "KindLimits",
    "Limits",
    "Live",
    "MailboxFull",
    "NotExecuted",
    "NotRunning",
    "Outage",
    "OutcomeUnknown",
    "Quarantined",
    "Ref",
    "RefusedForNow",
    "Stopping",
    "System",
    "Timer",
    "Wake",
    "WakeSource",
    "Waker",
    "WallClock",
]
