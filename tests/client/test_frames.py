"""The client's frames are those of RFC 6455: checked against wsproto, in whatever pieces they arrive."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from tabletap.client.frames import BINARY, CLOSE, PING, TEXT, FrameReader, ProtocolViolation, frame

SIZES = st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 100_000])


@given(sizes=st.lists(SIZES, max_size=6), cuts=st.integers(0, 2**32))
def test_what_a_server_sends_is_read_in_any_pieces(sizes: list[int], cuts: int) -> None:
    server = Connection(ConnectionType.SERVER)
    sent = b"".join(server.send(TextMessage(data="x" * size)) for size in sizes)
    sent += server.send(Ping(payload=b"are you there"))
    chance, reader, found = Random(cuts), FrameReader(), []
    while sent:
        size = chance.choice([1, 2, 3, 7, 1000, 70_000])
        found += reader.feed(sent[:size])
        sent = sent[size:]
    assert found == [*((TEXT, b"x" * size) for size in sizes), (PING, b"are you there")]


def test_fragments_become_one_message_with_control_frames_between() -> None:
    server = Connection(ConnectionType.SERVER)
    sent = server.send(TextMessage(data="ab", message_finished=False)) + server.send(Ping(payload=b"!"))
    sent += server.send(TextMessage(data="cd", message_finished=True))
    sent += server.send(BytesMessage(data=b"\0\1"))
    assert FrameReader().feed(sent) == [(PING, b"!"), (TEXT, b"abcd"), (BINARY, b"\0\1")]


@given(size=SIZES)
def test_what_the_client_sends_is_read_by_a_server(size: int) -> None:
    server = Connection(ConnectionType.SERVER)
    server.receive_data(frame(TEXT, b"y" * size) + frame(CLOSE, int(CloseReason.GOING_AWAY).to_bytes(2) + b"bye"))
    *texts, close = server.events()
    assert "".join(event.data for event in texts if isinstance(event, TextMessage)) == "y" * size
    assert close == CloseConnection(code=CloseReason.GOING_AWAY, reason="bye")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x81\x80....",  # masked
        b"\xc1\x00",  # a reserved bit
        b"\x80\x00",  # a continuation of nothing
        b"\x01\x01a\x81\x01b",  # a message within another
        b"\x09\x00",  # a control frame in pieces
        b"\x8b\x00",  # an opcode that does not exist
        b"\x81\x7f" + (1 << 40).to_bytes(8),  # a terabyte
        b"\x81\x01\xff",  # not UTF-8
        b"\x01\x01\xc3\x80\x01a",  # the same in pieces
        b"\x88\x01\x03",  # half a close code
        b"\x88\x02\x03\xed",  # 1005, which says that there was none
        b"\x88\x03\x03\xe8\xff",  # a reason that is not UTF-8
    ],
)
def test_what_is_forbidden_is_refused(sent: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        FrameReader().feed(sent)
