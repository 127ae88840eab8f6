"""Where an actor is in its life; the picture is in ``cell``."""

from enum import Enum


class State(Enum):
    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    BACKOFF = "backoff"
    STOPPING = "stopping"
    QUARANTINED = "quarantined"
    GONE = "gone"
