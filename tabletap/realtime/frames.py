"""Finished WebSocket frames (RFC 6455), as a server sends them: unmasked, unfragmented, without extensions.

Because a server does not mask, the bytes of a frame depend on its payload alone: one frame is built per event and the
same `bytes` object is handed to every socket of the room.
"""

from struct import Struct

from msgspec import json

_HEAD_16 = Struct("!BBH").pack
_HEAD_64 = Struct("!BBQ").pack
_CODE = Struct("!H").pack

_TEXT = 0x81  # FIN and the opcode: every frame of ours is a whole message
_CLOSE = 0x88
_PING = 0x89
_PONG = 0x8A

MAX_CONTROL_PAYLOAD_BYTES = 125

encode = json.Encoder().encode


def text_frame(payload: bytes) -> bytes:
    """One text message; the payload must be UTF-8."""
    size = len(payload)
    if size <= 125:
        return bytes((_TEXT, size)) + payload
    if size <= 0xFFFF:
        return _HEAD_16(_TEXT, 126, size) + payload
    return _HEAD_64(_TEXT, 127, size) + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """The last frame of a connection. A reason that is too long is cut between characters."""
    text = reason.encode()[: MAX_CONTROL_PAYLOAD_BYTES - 2].decode(errors="ignore").encode()
    return _control_frame(_CLOSE, _CODE(code) + text)


def is_close_frame(frame: bytes) -> bool:
    return frame[:1] == b"\x88"


def ping_frame(payload: bytes = b"") -> bytes:
    return _control_frame(_PING, payload)


def pong_frame(payload: bytes = b"") -> bytes:
    return _control_frame(_PONG, payload)


def event_json(type_: str, room: str, offset: int, event_id: str, timestamp_ms: int, data_json: bytes) -> bytes:
    """An event of a room. `data_json` is encoded already: the payload is the same in all rooms of an event."""
    return b'{"type":%b,"room":%b,"offset":%d,"eventId":%b,"timestamp":%d,"data":%b}' % (
        encode(type_),
        encode(room),
        offset,
        encode(event_id),
        timestamp_ms,
        data_json,
    )


def event_frame(type_: str, room: str, offset: int, event_id: str, timestamp_ms: int, data_json: bytes) -> bytes:
    """The frame of an event."""
    return text_frame(event_json(type_, room, offset, event_id, timestamp_ms, data_json))


def message_frame(message: object) -> bytes:
    """Any other message: whatever msgspec can encode."""
    return text_frame(encode(message))


def _control_frame(head: int, payload: bytes) -> bytes:
    if len(payload) > MAX_CONTROL_PAYLOAD_BYTES:
        raise ValueError("a control frame carries at most 125 bytes")
    return bytes((head, len(payload))) + payload
