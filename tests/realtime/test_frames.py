"""Frames are what any WebSocket client reads back."""

import json

import pytest
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from tabletap.realtime import frames


def read_back(data: bytes) -> list:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    return list(client.events())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_text_of_any_length_is_read_back_whole(size: int) -> None:
    payload = b"x" * size
    [event] = read_back(frames.text_frame(payload))
    assert isinstance(event, TextMessage)
    assert event.message_finished
    assert event.data.encode() == payload


def test_joined_frames_are_read_back_one_by_one() -> None:
    joined = b"".join([frames.text_frame(b"a"), frames.ping_frame(b"p"), frames.text_frame(b"b" * 70_000)])
    assert [type(event) for event in read_back(joined)] == [TextMessage, Ping, TextMessage]


def test_control_frames_carry_their_payload() -> None:
    ping, pong, close = read_back(frames.ping_frame(b"1") + frames.pong_frame(b"2") + frames.close_frame(4008, "slow"))
    assert isinstance(ping, Ping)
    assert isinstance(pong, Pong)
    assert isinstance(close, CloseConnection)
    assert (ping.payload, pong.payload, close.code, close.reason) == (b"1", b"2", 4008, "slow")


def test_a_control_frame_never_exceeds_125_bytes() -> None:
    with pytest.raises(ValueError, match="125"):
        frames.ping_frame(b"x" * 126)


def test_a_long_close_reason_is_cut_between_characters() -> None:
    [close] = read_back(frames.close_frame(1008, "é" * 100))
    assert close.reason == "é" * 61


def test_an_event_is_the_envelope_of_the_protocol_around_encoded_data() -> None:
    frame = frames.event_frame("order_created", 'cafe:"1":kitchen', 1042, "evt_1", 1732200000123, b'{"order":{"n":1}}')
    [event] = read_back(frame)
    assert json.loads(event.data) == {
        "type": "order_created",
        "room": 'cafe:"1":kitchen',
        "offset": 1042,
        "eventId": "evt_1",
        "timestamp": 1732200000123,
        "data": {"order": {"n": 1}},
    }


def test_any_other_message_is_encoded_as_it_is() -> None:
    [event] = read_back(frames.message_frame({"type": "heartbeat", "offset": 7}))
    assert json.loads(event.data) == {"type": "heartbeat", "offset": 7}


def test_a_close_frame_is_told_from_all_others() -> None:
    assert frames.is_close_frame(frames.close_frame(1000))
    assert not any(map(frames.is_close_frame, [frames.text_frame(b"x"), frames.ping_frame(), frames.pong_frame(), b""]))
