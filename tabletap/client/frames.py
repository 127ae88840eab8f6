"""WebSocket frames (RFC 6455) as a client reads and writes them.

A kitchen screen reads thousands of small frames a second while the server shares the machine; a general library costs
ten times what the server spends on sending them, and would measure itself. No extensions, which nobody asks for.
"""

import secrets

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_FRAGMENTS = 65_536
_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class ProtocolViolation(Exception):  # noqa: N818 - named by whose fault it is
    """The server sent what RFC 6455 forbids, or more than we take. ``code``: what to close with."""

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


class FrameReader:
    """Bytes in any pieces in, whole messages out: text and binary joined from their fragments, control frames alone.

    ``violation``: what came after the last message; whatever else comes cannot be read.
    """

    def __init__(self, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_message_bytes
        self._rest = b""
        self._fragments: list[bytes] = []
        self._fragments_bytes = 0
        self._kind = CONTINUATION
        self.violation: ProtocolViolation | None = None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that ``data`` completes, as (opcode, payload). Raises ProtocolViolation if there are none."""
        found: list[tuple[int, bytes]] = []
        try:
            self._read(self._rest + data if self._rest else data, found)
        except ProtocolViolation as violation:
            self.violation = violation
            if not found:
                raise
        return found

    def _read(self, buffer: bytes, found: list[tuple[int, bytes]]) -> None:
        at, end = 0, len(buffer)
        while end - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size > 125:
                if size > 127:
                    raise ProtocolViolation("a masked frame")
                width = 2 if size == 126 else 8
                start += width
                if start > end:
                    break
                size = int.from_bytes(buffer[start - width : start])
                if size > self._max_bytes:
                    raise ProtocolViolation(f"a frame of {size} bytes", 1009)
            if start + size > end:
                break
            head, at = buffer[at], start + size
            if head == 0x81 and self._kind == CONTINUATION:  # a whole text message: nearly always
                found.append((TEXT, _text(buffer[start:at])))
            else:
                self._take(head, buffer[start:at], found)
        self._rest = buffer[at:]

    def _take(self, head: int, payload: bytes, found: list[tuple[int, bytes]]) -> None:
        opcode, final = head & 0x0F, bool(head & 0x80)
        if head & 0x70:
            raise ProtocolViolation("a reserved bit is set")
        if opcode >= CLOSE:
            if not final or len(payload) > 125 or opcode > PONG:
                raise ProtocolViolation("a malformed control frame")
            found.append((opcode, _goodbye(payload) if opcode == CLOSE else payload))
            return
        if (opcode == CONTINUATION) is (self._kind == CONTINUATION) or opcode > BINARY:
            raise ProtocolViolation("a fragment out of place")
        if opcode != CONTINUATION:
            self._kind = opcode
        self._fragments.append(payload)
        self._fragments_bytes += len(payload)
        if self._fragments_bytes > self._max_bytes or len(self._fragments) > MAX_FRAGMENTS:
            raise ProtocolViolation("a message that does not end", 1009)
        if final:
            whole = b"".join(self._fragments)
            found.append((self._kind, _text(whole) if self._kind == TEXT else whole))
            self._fragments, self._fragments_bytes, self._kind = [], 0, CONTINUATION


def _text(payload: bytes) -> bytes:
    """It must be UTF-8, and nearly always is plain ASCII."""
    if not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise ProtocolViolation("a text that is not UTF-8", 1007) from error
    return payload


def _goodbye(payload: bytes) -> bytes:
    """Nothing, or a code that may be sent and a reason."""
    if payload:
        code = int.from_bytes(payload[:2])
        if len(payload) < 2 or not (code in _CODES or 3000 <= code <= 4999):
            raise ProtocolViolation("a close frame without a proper code")
        _text(payload[2:])
    return payload


def frame(opcode: int, payload: bytes) -> bytes:
    """One whole message, masked as a client must."""
    size = len(payload)
    if size <= 125:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size <= 0xFFFF:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8)
    mask = secrets.token_bytes(4)
    pad = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(size)
