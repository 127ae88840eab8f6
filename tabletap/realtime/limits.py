"""What a session may take, and the codes with which it is closed."""

import msgspec

GOING_AWAY = 1001
PROTOCOL_ERROR = 1002
TOO_BIG = 1009
INTERNAL_ERROR = 1011
TRY_AGAIN_LATER = 1013
TOO_SLOW = 4008
TOO_MANY_MESSAGES = 4029


class SessionLimits(msgspec.Struct, frozen=True, kw_only=True):
    handshake_seconds: float = 10
    max_message_bytes: int = 64 * 1024
    messages_per_second: float = 20
    message_burst: int = 60
    commands_in_flight: int = 16
    # What waits for a client that does not keep up, by bytes and by the age of the oldest: from here on its states
    # are coalesced; from here on it gets a snapshot instead (not again within `snapshot_pause_seconds`); and beyond
    # this it is closed.
    coalesce_bytes: int = 128 * 1024
    coalesce_age_seconds: float = 1
    snapshot_bytes: int = 512 * 1024
    snapshot_age_seconds: float = 5
    snapshot_pause_seconds: float = 15
    queued_bytes: int = 1024 * 1024
    queued_age_seconds: float = 10
    # The kernel's share per socket. Left to itself it grows to megabytes for a client that does not read.
    socket_buffer_bytes: int = 128 * 1024
    ping_after_seconds: float = 25
    pong_within_seconds: float = 15
    # For the close frame to leave, the peer to answer it, and what it still sends to be read away.
    close_grace_seconds: float = 3
