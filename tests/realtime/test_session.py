"""A session sends whole frames or nothing, is bounded in all it holds, and ends whatever its peer does."""

import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache

import pytest
import trio
import trio.lowlevel
import trio.testing
from trio.testing import MockClock
from trio_websocket import ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Pong, TextMessage

from tabletap.realtime.frames import close_frame, ping_frame, pong_frame, text_frame
from tabletap.realtime.limits import SessionLimits
from tabletap.realtime.session import Admission, Refusal, Session, TokenBucket, serve_session
from tabletap.realtime.stream import SessionStream
from tabletap.realtime.writer import raw_socket

LIMITS = SessionLimits()
FRAMES = [text_frame(b"frame %d" % number) for number in range(5)]


def connected_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = trio.socket.socketpair()
    _opened.extend((ours, theirs))
    return trio.SocketStream(ours), trio.SocketStream(theirs)


_opened: list[trio.socket.SocketType] = []


@pytest.fixture(autouse=True)
def no_socket_outlives_its_test() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop()._sock.close()  # type: ignore[attr-defined]


class Trickle:
    """A socket that takes `first` bytes, then nothing, then `step` bytes at a time with a refusal in between."""

    def __init__(self, real: socket.socket, first: int, step: int = 1 << 20) -> None:
        self._real = real
        self._allowance = first
        self._step = step

    def send(self, data: bytes | memoryview) -> int:
        if not self._allowance:
            self._allowance = self._step
            raise BlockingIOError
        sent = self._real.send(data[: self._allowance])
        self._allowance -= sent
        return sent

    def fileno(self) -> int:
        return self._real.fileno()


class Stuck(Trickle):
    """Takes `first` bytes and not one more."""

    def __init__(self, real: socket.socket, first: int) -> None:
        super().__init__(real, first, step=0)
        self.opens_at_next_wait = False

    def fileno(self) -> int:
        if self.opens_at_next_wait:
            self._step = 1 << 20
            return super().fileno()
        return full_pair()[0].fileno()


@cache
def full_pair() -> tuple[socket.socket, socket.socket]:
    """A socket that takes nothing, since its peer, which does not read, has as much as it can hold."""
    never_writable, peer = socket.socketpair()
    never_writable.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            never_writable.send(bytes(65536))
    return never_writable, peer


@pytest.fixture(scope="session", autouse=True)
def full_pair_is_closed() -> Iterator[None]:
    yield
    if full_pair.cache_info().currsize:  # else nobody would close what is made now
        for end in full_pair():
            end.close()


async def read_all(peer: trio.SocketStream) -> bytes:
    received = b""
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in peer:
            received += data
    return received


def parse(data: bytes) -> list:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    return list(client.events())


def whole_texts(data: bytes) -> list[str]:
    """What a client acts on: messages that are complete."""
    texts, text = [], ""
    for event in parse(data):
        assert isinstance(event, TextMessage)
        text += event.data
        if event.message_finished:
            texts.append(text)
            text = ""
    return texts


# --- The stream: one writer, whole frames ---


async def test_a_frame_goes_out_directly_while_nothing_waits(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, LIMITS, nursery)
        assert stream.push(FRAMES[0])
        assert not nursery.child_tasks
        assert (stream.frames_queued, stream.behind) == (0, False)
        assert await theirs.receive_some() == FRAMES[0]


@pytest.mark.parametrize("accepted", range(len(FRAMES[0]) + 1))
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
async def test_wherever_the_socket_stops_the_peer_reads_all_frames_in_order(
    autojump_clock: MockClock, accepted: int, step: int
) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, LIMITS, nursery)
        stream._raw = Trickle(raw_socket(ours), accepted, step)
        assert all(stream.push(frame) for frame in FRAMES)
        await stream.wait_send_all_might_not_block()
        assert not nursery.child_tasks
        assert await theirs.receive_some() == b"".join(FRAMES)
        stream.abort()
    assert stream.caught_up_bytes == sum(map(len, FRAMES)) - accepted
    assert stream.waiting_bytes == 0


@pytest.mark.parametrize("accepted", range(len(FRAMES[0]) + 3))
@pytest.mark.parametrize("how", ["writer cancelled", "caller cancelled", "aborted"])
async def test_a_cut_frame_is_never_followed_by_other_bytes(autojump_clock: MockClock, accepted: int, how: str) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            stream = SessionStream(ours, LIMITS, nursery)
            stream._raw = Stuck(raw_socket(ours), accepted)
            stream.push(FRAMES[0])
            with trio.move_on_after(1 if how == "caller cancelled" else 0.001):
                await stream.send_all(FRAMES[1])
            if how == "caller cancelled":
                stream._raw = raw_socket(ours)  # the socket takes bytes again
                nursery.cancel_scope.deadline = trio.current_time() + 1
                outer.start_soon(stream.hang_up)
            elif how == "aborted":
                stream.abort()
            else:
                nursery.cancel_scope.cancel()
        stream.push(FRAMES[2])
        received = await read_all(theirs)
    assert b"".join(FRAMES[:2]).startswith(received)
    assert whole_texts(received) == ["frame 0", "frame 1"][: len(whole_texts(received))]


async def test_a_cancelled_caller_leaves_its_frame_whole(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, LIMITS, nursery)
        stream._raw = Trickle(raw_socket(ours), 3, step=1)
        stream.push(FRAMES[0])
        with trio.CancelScope() as scope:
            nursery.start_soon(_cancel_after_a_tick, scope)
            await stream.send_all(FRAMES[1])
        assert scope.cancelled_caught
        assert stream.push(FRAMES[2])
        await stream.hang_up()
    assert whole_texts(await read_all(theirs)) == ["frame 0", "frame 1", "frame 2"]


async def _cancel_after_a_tick(scope: trio.CancelScope) -> None:
    await trio.lowlevel.checkpoint()
    scope.cancel()


@pytest.mark.parametrize("accepted", range(12))
async def test_pongs_and_the_close_frame_keep_their_place_between_pushed_frames(
    autojump_clock: MockClock, accepted: int
) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, LIMITS, nursery)
        stream._raw = Trickle(raw_socket(ours), accepted, step=2)
        stream.push(text_frame(b"one"))
        nursery.start_soon(stream.send_all, pong_frame(b"p"))
        await trio.testing.wait_all_tasks_blocked()
        stream.push(text_frame(b"two"))
        await stream.send_all(close_frame(1000))
        assert not stream.push(text_frame(b"late"))
        await stream.send_all(pong_frame(b"late"))
        await stream.hang_up()
        events = parse(await read_all(theirs))
    assert [type(event) for event in events] == [TextMessage, Pong, TextMessage, CloseConnection]


async def test_a_queue_beyond_its_bytes_is_dropped_and_closed_with_4008(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    limits = SessionLimits(queued_bytes=1000)
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, limits, nursery)
        frame = text_frame(b"x" * 90)
        taken = 0
        while stream.push(frame):
            taken += 1
        assert stream.overran
        assert stream.waiting_bytes < 1000
        assert not stream.push(frame)
        nursery.start_soon(stream.hang_up)
        *events, last = parse(await read_all(theirs))
    assert isinstance(last, CloseConnection)
    assert last.code == 4008
    assert 0 < len(events) <= taken
    assert "".join(event.data for event in events) == "x" * 90 * sum(event.message_finished for event in events)


async def test_a_frame_that_waits_too_long_is_closed_with_4008(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, SessionLimits(queued_age_seconds=5, close_grace_seconds=3), nursery)
        stuck = stream._raw = Stuck(raw_socket(ours), 4)
        stream.push(FRAMES[0])
        stream.push(FRAMES[1])
        await trio.sleep(4.9)
        assert not stream.overran
        assert stream.push(FRAMES[2])
        stuck.opens_at_next_wait = True
        await trio.sleep(0.2)
        assert stream.overran
        assert not stream.push(FRAMES[3])
        nursery.start_soon(stream.hang_up)
        received = await read_all(theirs)
    assert received == FRAMES[0] + FRAMES[1] + close_frame(4008, "too slow")


async def test_without_a_bare_socket_the_next_push_notices_the_age(autojump_clock: MockClock) -> None:
    ours, _theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, SessionLimits(queued_age_seconds=5, close_grace_seconds=3), nursery)
        stream.push(FRAMES[0])
        await trio.sleep(5.1)
        assert not stream.push(FRAMES[1])
        assert stream.overran
        await trio.sleep(3.1)
        assert not stream.behind


async def test_the_close_frame_of_an_overrun_follows_the_frame_in_flight(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, LIMITS, nursery)
        stream._raw = Trickle(raw_socket(ours), 4, step=3)
        stream.push(FRAMES[0])
        stream.push(FRAMES[1])
        stream._overrun()
        await stream.hang_up()
        text, close = parse(await read_all(theirs))
    assert (text.data, close.code) == ("frame 0", 4008)


async def test_an_overrun_session_that_reads_nothing_is_aborted_after_the_grace(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, SessionLimits(queued_age_seconds=5, close_grace_seconds=3), nursery)
        stream._raw = Stuck(raw_socket(ours), 4)
        started = trio.current_time()
        stream.push(FRAMES[0])
        await stream.wait_send_all_might_not_block()
    assert trio.current_time() - started == pytest.approx(8)
    assert ours.socket.fileno() == -1
    assert await read_all(theirs) == FRAMES[0][:4]


async def test_a_frame_larger_than_the_queue_reaches_a_client_that_reads(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    frame = text_frame(b"x" * 2_000_000)
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, SessionLimits(queued_bytes=1000), nursery)
        assert stream.push(frame)
        assert stream.behind
        nursery.start_soon(stream.hang_up)
        assert await read_all(theirs) == frame


async def test_what_waits_is_written_joined(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, LIMITS, nursery)
        sizes: list[int] = []

        class Counted(Trickle):
            def send(self, data: bytes | memoryview) -> int:
                sent = super().send(data)
                sizes.append(sent)
                return sent

        stream._raw = Counted(raw_socket(ours), 0)
        for frame in FRAMES:
            stream.push(frame)
        await stream.wait_send_all_might_not_block()
        assert sizes == [sum(map(len, FRAMES))]
        assert await theirs.receive_some() == b"".join(FRAMES)


async def test_a_stream_without_a_bare_socket_goes_the_slower_way(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        stream = SessionStream(ours, LIMITS, nursery)
        for frame in FRAMES:
            stream.push(frame)
        await stream.send_all(ping_frame())
        stream.seal(1001)
        nursery.start_soon(stream.hang_up)
        received = b""
        async for data in theirs:
            received += data
            if close_frame(1001) in received:
                await theirs.send_eof()
    assert received == b"".join(FRAMES) + ping_frame() + close_frame(1001)
    assert stream.frames_queued > 0


async def test_tls_is_never_bypassed(autojump_clock: MockClock) -> None:
    ours, _theirs = connected_pair()
    assert raw_socket(trio.SSLStream(ours, ssl.create_default_context(), server_side=False)) is None


# --- The session: a whole conversation ---


class FakeDoor:
    def __init__(
        self,
        on_message: Callable[[Session, str | bytes], Awaitable[None]] | None = None,
        answer: Admission | Refusal | None = None,
    ) -> None:
        self.answer = answer or Admission(principal="somebody")
        self.on_message = on_message
        self.messages: list[str | bytes] = []
        self.turned_away: list[str | bytes] = []
        self.session: Session | None = None
        self.ended = trio.Event()
        self.closings = 0

    async def admit(self, request: object, remote: str) -> Admission | Refusal:
        await trio.lowlevel.checkpoint()
        return self.answer

    async def opened(self, session: Session) -> None:
        await trio.lowlevel.checkpoint()
        self.session = session
        session.send(text_frame(b"welcome"))

    async def message(self, session: Session, message: str | bytes) -> None:
        self.messages.append(message)
        if self.on_message is not None:
            await self.on_message(session, message)

    def busy(self, session: Session, message: str | bytes) -> None:
        self.turned_away.append(message)

    def closed(self, session: Session) -> None:
        self.closings += 1
        self.ended.set()


@contextlib.asynccontextmanager
async def conversation(door: FakeDoor, limits: SessionLimits = LIMITS) -> AsyncIterator[WebSocketConnection]:
    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, limits, nursery)
        client = await wrap_client_stream(nursery, theirs, "tabletap", "/ws/orders?cafe=x")
        assert await client.get_message() == "welcome"
        yield client
        with trio.move_on_after(30):
            await client.aclose()
        await door.ended.wait()
    assert door.closings == 1
    assert ours.socket.fileno() == -1


async def test_messages_reach_the_door_and_frames_the_client(autojump_clock: MockClock) -> None:
    async def echo(session: Session, message: str | bytes) -> None:
        assert isinstance(message, str)
        await trio.lowlevel.checkpoint()
        session.send(text_frame(message.upper().encode()))

    async with conversation(FakeDoor(echo)) as client:
        await client.send_message("flat white")
        assert await client.get_message() == "FLAT WHITE"


async def test_a_refused_client_gets_a_status_and_a_body(autojump_clock: MockClock) -> None:
    body = json.dumps({"code": "FORBIDDEN"}).encode()
    ours, theirs = connected_pair()
    with pytest.RaisesGroup(pytest.RaisesExc(ConnectionRejected)) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_session, ours, FakeDoor(answer=Refusal(status=403, body=body)), LIMITS, nursery)
            await wrap_client_stream(nursery, theirs, "tabletap", "/ws/orders")
    rejected = caught.value.exceptions[0]
    assert isinstance(rejected, ConnectionRejected)
    assert (rejected.status_code, rejected.body) == (403, body)
    assert (b"content-type", b"application/json") in rejected.headers


UPGRADE = (
    b"GET /ws/orders HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: %b\r\nSec-WebSocket-Key: %b\r\n\r\n"
)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


async def shake_hands(peer: trio.SocketStream) -> None:
    await peer.send_all(UPGRADE % (b"t", b"13", KEY))
    received = b""
    while not received.endswith(text_frame(b"welcome")):
        received += await peer.receive_some()
    assert received.startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (UPGRADE % (b"t", b"8", KEY), b"426"),
        (UPGRADE.replace(b"Sec-WebSocket-Key", b"X-Key") % (b"t", b"13", KEY), b"400"),
        (UPGRADE % (b"xn--\xff..", b"13", KEY), b"400"),
        (b"GET /ws/orders\r\n\r\n", b"400"),
    ],
)
async def test_a_malformed_upgrade_is_answered_with_a_status(
    autojump_clock: MockClock, head: bytes, status: bytes
) -> None:
    ours, theirs = connected_pair()
    door = FakeDoor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        await theirs.send_all(head)
        answer = await read_all(theirs)
        await theirs.aclose()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert door.closings == 0


async def test_a_door_that_takes_too_long_answers_503(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()

    class SlowDoor(FakeDoor):
        async def admit(self, request: object, remote: str) -> Admission | Refusal:
            await trio.sleep_forever()
            raise AssertionError

    door = SlowDoor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        await theirs.send_all(UPGRADE % (b"t", b"13", KEY))
        assert (await read_all(theirs)).startswith(b"HTTP/1.1 503")
        await theirs.aclose()


async def test_a_door_that_fails_answers_500_and_harms_nobody(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    door = FakeDoor()
    door.answer = None  # type: ignore[assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        await theirs.send_all(UPGRADE % (b"t", b"13", KEY))
        assert b"HTTP/1.1" in await read_all(theirs)
        await theirs.aclose()


async def test_closing_tells_the_code_after_all_that_waits(autojump_clock: MockClock) -> None:
    door = FakeDoor()
    async with conversation(door) as client:
        assert door.session is not None
        door.session.send(FRAMES[0])
        door.session.close(1001, "going away")
        assert await client.get_message() == "frame 0"
        with pytest.raises(ConnectionClosed) as caught:
            await client.get_message()
        assert caught.value.reason.code == 1001


async def test_a_client_that_never_answers_a_close_is_cut_off(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    door = FakeDoor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        await theirs.send_all(UPGRADE % (b"t", b"13", KEY))
        await trio.testing.wait_all_tasks_blocked()
        assert door.session is not None
        door.session.close(1001)
        with trio.fail_after(2 * LIMITS.close_grace_seconds + 0.1):
            await door.ended.wait()
    assert ours.socket.fileno() == -1


async def test_a_flood_of_messages_is_closed_with_4029(autojump_clock: MockClock) -> None:
    door = FakeDoor()
    async with conversation(door, SessionLimits(message_burst=5, messages_per_second=1)) as client:
        with contextlib.suppress(ConnectionClosed):
            for number in range(100):
                await client.send_message(str(number))
        with pytest.raises(ConnectionClosed) as caught:
            await client.get_message()
        assert caught.value.reason.code == 4029
    assert door.messages == ["0", "1", "2", "3", "4"]


async def test_a_bucket_refills_with_time_up_to_its_burst(autojump_clock: MockClock) -> None:
    bucket = TokenBucket(per_second=2, burst=4)
    taken = []
    for pause in (0, 1, 0, 60):
        await trio.sleep(pause)
        taken.append(sum(bucket.take() for _ in range(10)))
    assert taken == [4, 2, 0, 4]


@pytest.mark.parametrize("fragment", [10_000_000, 100_000])
async def test_a_message_of_10_mb_is_closed_with_1009_and_never_held(autojump_clock: MockClock, fragment: int) -> None:
    ours, theirs = connected_pair()
    door = FakeDoor()
    received = bytearray()

    async def read() -> None:
        received.extend(await read_all(theirs))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        await shake_hands(theirs)
        nursery.start_soon(read)
        opcode = 0x01
        for sent in range(0, 10_000_000, fragment):
            final = 0x80 if sent + fragment >= 10_000_000 else 0
            await theirs.send_all(bytes((final | opcode, 0xFF)) + fragment.to_bytes(8, "big") + bytes(4))
            await theirs.send_all(b"x" * fragment)
            opcode = 0
        await theirs.send_eof()
    assert [event.code for event in parse(bytes(received))] == [1009]
    assert door.session is not None
    assert door.messages == []
    # Read on by trio-websocket for no more than it needed to find out: the rest was read away, not kept.
    assert door.session.stream.received_bytes < 3 * LIMITS.max_message_bytes


async def test_a_message_of_endless_empty_fragments_is_closed(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    door = FakeDoor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        await shake_hands(theirs)
        await theirs.send_all(bytes((0x01, 0x80, 0, 0, 0, 0)))
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(100):
                await theirs.send_all(bytes((0x00, 0x80, 0, 0, 0, 0)) * 2000)
        await theirs.send_eof()
        [close] = parse(await read_all(theirs))
    assert close.code == 1009
    assert door.closings == 1


async def test_a_broken_frame_is_answered_with_1002(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    door = FakeDoor()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        await shake_hands(theirs)
        await theirs.send_all(b"\x83\x80\x00\x00\x00\x00")
        [close] = parse(await read_all(theirs))
        await theirs.aclose()
    assert close.code == 1002


async def test_what_is_sent_before_the_handshake_is_over_is_bounded(autojump_clock: MockClock) -> None:
    class SlowDoor(FakeDoor):
        async def admit(self, request: object, remote: str) -> Admission | Refusal:
            await trio.sleep(5)
            return self.answer

    ours, theirs = connected_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, SlowDoor(), LIMITS, nursery)
        await theirs.send_all(UPGRADE % (b"t", b"13", KEY))
        with trio.fail_after(4), contextlib.suppress(trio.BrokenResourceError):
            await theirs.send_all(bytes(10_000_000))
        await theirs.send_eof()
        assert (await read_all(theirs)).startswith(b"HTTP/1.1 400")


async def look_after(door: FakeDoor) -> None:
    while not door.ended.is_set():  # as a door does
        await trio.sleep(1)
        if door.session is not None:
            door.session.check_peer(trio.current_time())


async def test_a_silent_peer_is_pinged_and_lives_by_its_pong(autojump_clock: MockClock) -> None:
    door = FakeDoor()
    async with conversation(door) as client, trio.open_nursery() as nursery:
        nursery.start_soon(look_after, door)
        assert door.session is not None
        heard = door.session.stream.received_bytes
        await trio.sleep(10.5 * LIMITS.ping_after_seconds)
        assert client.closed is None
        assert door.session.stream.received_bytes > heard + 5 * len(pong_frame())
        nursery.cancel_scope.cancel()


async def test_a_peer_that_answers_no_ping_is_aborted(autojump_clock: MockClock) -> None:
    ours, theirs = connected_pair()
    door = FakeDoor()
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, LIMITS, nursery)
        nursery.start_soon(look_after, door)
        await theirs.send_all(UPGRADE % (b"t", b"13", KEY))
        received = await read_all(theirs)
    assert received.endswith(ping_frame())
    lived = trio.current_time() - started
    assert 0 <= lived - LIMITS.ping_after_seconds - LIMITS.pong_within_seconds <= 3
    assert door.closings == 1


async def test_pings_are_answered_while_commands_are_stuck(autojump_clock: MockClock) -> None:
    async def stuck(session: Session, message: str | bytes) -> None:
        await trio.sleep_forever()

    door = FakeDoor(stuck)
    async with conversation(door, SessionLimits(commands_in_flight=3)) as client:
        for number in range(40):
            await client.send_message(str(number))
        with trio.fail_after(1):
            await client.ping()
    assert door.messages == ["0", "1", "2"]
    assert door.turned_away == [str(number) for number in range(3, 40)]


async def test_commands_start_in_the_order_they_came(autojump_clock: MockClock) -> None:
    async def slow(session: Session, message: str | bytes) -> None:
        await trio.sleep(1)

    door = FakeDoor(slow)
    numbers = [str(number) for number in range(16)]
    async with conversation(door) as client:
        for number in numbers:
            await client.send_message(number)
        await trio.sleep(5)
    assert door.messages == numbers


async def test_a_command_that_crashes_closes_its_session_with_1011(autojump_clock: MockClock) -> None:
    async def crash(session: Session, message: str | bytes) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug")

    async with conversation(FakeDoor(crash)) as client:
        await client.send_message("x")
        with pytest.raises(ConnectionClosed) as caught:
            await client.get_message()
        assert caught.value.reason.code == 1011


async def test_a_message_sent_just_before_leaving_still_counts(autojump_clock: MockClock) -> None:
    door = FakeDoor()
    async with conversation(door) as client:
        for number in range(10):
            await client.send_message(str(number))
    assert door.messages == [str(number) for number in range(10)]


async def test_a_stalled_client_among_many_is_closed_alone(autojump_clock: MockClock) -> None:
    door = FakeDoor()
    ours, theirs = connected_pair()
    async with conversation(FakeDoor()) as quick, trio.open_nursery() as nursery:
        nursery.start_soon(serve_session, ours, door, SessionLimits(queued_bytes=100_000), nursery)
        await theirs.send_all(UPGRADE % (b"t", b"13", KEY))
        await trio.testing.wait_all_tasks_blocked()
        assert door.session is not None
        frame = text_frame(b"x" * 5000)
        while door.session.send(frame):
            pass
        assert door.session.overran
        await door.ended.wait()
        assert quick.closed is None
