"""No truncated frame reaches a client as if it were whole (spec R4): at every byte, by every way out, whatever ends it.

What a peer has received is always whole frames of ours, in order, and then perhaps the beginning of one more, behind
which nothing follows: neither a frame nor a close.
"""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from tabletap.realtime.frames import close_frame, pong_frame, text_frame
from tabletap.realtime.limits import SessionLimits
from tabletap.realtime.rooms import Rooms
from tabletap.realtime.session import Session
from tabletap.realtime.stream import SessionStream
from tabletap.realtime.telling import Batch
from tabletap.realtime.writer import raw_socket

from .test_backlog import moved, queue
from .test_session import Stuck, connected_pair, full_pair_is_closed, no_socket_outlives_its_test, read_all

__all__ = ["full_pair_is_closed", "no_socket_outlives_its_test"]

TOLD = [moved(1), queue(2, 10, 1), moved(3)]
FIRST = text_frame(b"an answer")
LATER = text_frame(b"another")
PONG = pong_frame(b"p")
MUCH = text_frame(b"x" * 300)
LIMITS = SessionLimits(queued_bytes=2000, queued_age_seconds=5, close_grace_seconds=1)
WHOLE = {*(told.frame for told in TOLD), FIRST, LATER, PONG, MUCH}


class Told:
    """The keeper of one session, whose room sends past it for as long as it is free."""

    def __init__(self, stream: SessionStream) -> None:
        self._rooms = Rooms()
        self._session = Session(stream, LIMITS, None)
        stream.keeper = self
        self._rooms.join(self._session, "r")
        assert stream.bare_send is not None

    def tell(self, batch: Batch) -> bool:
        self._rooms.tell("r", batch)
        return True

    def turned(self) -> None:
        self._rooms.turned(self._session)

    def coalesced(self) -> None:
        pass

    def fell_behind(self, lowest: int) -> bool:
        return False

    def gave_up(self, lowest: int | None) -> str:
        return "too slow"


def tell_room(stream: SessionStream, batch: Batch) -> bool:
    """By the room it is in."""
    keeper = stream.keeper or Told(stream)
    assert isinstance(keeper, Told)
    return keeper.tell(batch)


Way = Callable[[SessionStream], bool]
WAYS: dict[str, tuple[Way, bytes]] = {
    "pushed": (lambda stream: stream.push(FIRST), FIRST),
    "told": (lambda stream: stream.tell(Batch(TOLD)), Batch(TOLD).joined),
    "told one": (lambda stream: stream.tell(Batch(TOLD[:1])), TOLD[0].frame),
    "told by its room": (lambda stream: tell_room(stream, Batch(TOLD)), Batch(TOLD).joined),
}
ENDS = ("writer cancelled", "caller cancelled", "aborted", "too old", "too much", "sealed", "hung up", "taken again")


def frames(data: bytes) -> Iterator[bytes]:
    """Frame by frame; what is no frame of ours ends it, and must be the beginning of one and the end of all."""
    while data:
        size = int.from_bytes(data[2:4]) + 4 if data[1:2] == b"\x7e" else data[1] + 2 if len(data) > 1 else 2
        if len(data) < size:
            assert any(frame.startswith(data) for frame in WHOLE), data
            return
        yield data[:size]
        data = data[size:]


def check(received: bytes, sent: bytes) -> None:
    """Whole frames in their order; a close frame is the last of all."""
    found = list(frames(received))
    closes = [frame for frame in found if frame[:1] == b"\x88"]
    assert closes in ([], found[-1:])
    if closes:
        assert received.endswith(closes[0]), "nothing follows a close"
    kept = [frame for frame in found if frame not in closes]
    assert set(kept) <= WHOLE
    assert b"".join(kept).startswith(sent[: len(b"".join(kept))]) or sent.startswith(b"".join(kept))


async def end(how: str, stream: SessionStream, stuck: Stuck, writing: trio.Nursery) -> None:
    """Let it come to an end while the frame is on its way."""
    match how:
        case "writer cancelled":
            writing.cancel_scope.cancel()
        case "caller cancelled":
            with trio.move_on_after(0.01):
                await stream.send_all(PONG)
            stuck.opens_at_next_wait = True
        case "aborted":
            stream.abort()
        case "too old":
            await trio.sleep(6)
        case "too much":
            for _ in range(50):
                stream.push(MUCH)
            stuck.opens_at_next_wait = True
        case "sealed":
            stream.seal(1001)
            stuck.opens_at_next_wait = True
        case "hung up":
            pass
        case "taken again":
            stuck.opens_at_next_wait = True
            stream.push(LATER)


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("way", WAYS)
async def test_wherever_a_send_stops_and_however_it_ends(how: str, way: str, autojump_clock: MockClock) -> None:
    go, sent = WAYS[way]
    for taken in range(len(sent) + 1):
        ours, theirs = connected_pair()
        async with trio.open_nursery() as outer:
            async with trio.open_nursery() as writing:
                stream = SessionStream(ours, LIMITS, writing)
                stuck = stream._raw = Stuck(raw_socket(ours), taken)  # type: ignore[assignment, arg-type]
                assert go(stream)
                await end(how, stream, stuck, writing)
                stream.push(LATER)
                tell_room(stream, Batch(TOLD[2:]))
                outer.start_soon(stream.hang_up)
            received = await read_all(theirs)
        assert len(received) >= taken
        check(received, sent)


class Choking(trio.abc.HalfCloseableStream):
    """A transport without a bare socket, as TLS is: takes some bytes, then blocks for good."""

    def __init__(self, most: int) -> None:
        self.received = b""
        self.closed = False
        self._most = most

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        taken = bytes(data[: self._most])
        self.received += taken
        self._most -= len(taken)
        await trio.lowlevel.checkpoint()
        if len(taken) < len(data):
            await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("how", ["cancelled", "aborted", "too old", "sealed", "hung up"])
async def test_without_a_bare_socket_it_is_the_same(how: str, autojump_clock: MockClock) -> None:
    sent = FIRST + Batch(TOLD).joined
    for taken in range(len(sent) + 1):
        transport = Choking(taken)
        async with trio.open_nursery() as outer, trio.open_nursery() as writing:
            stream = SessionStream(transport, LIMITS, writing)
            stream.push(FIRST)
            stream.tell(Batch(TOLD))
            with trio.move_on_after(0.01):
                await stream.send_all(PONG)
            if how == "cancelled":
                writing.cancel_scope.cancel()
            elif how == "aborted":
                stream.abort()
            elif how == "too old":
                await trio.sleep(6)
                stream.push(LATER)
            elif how == "sealed":
                stream.seal(1001)
            stream.push(LATER)
            outer.start_soon(stream.hang_up)
            with contextlib.suppress(trio.Cancelled):
                await trio.sleep(10)
        check(transport.received, sent + PONG + LATER)
        assert transport.closed


def test_the_check_finds_a_frame_that_was_cut() -> None:
    cut = TOLD[0].frame[:20]
    with pytest.raises(AssertionError):
        check(cut + FIRST, TOLD[0].frame + FIRST)
    with pytest.raises(AssertionError):
        check(cut + close_frame(1000), TOLD[0].frame)
    with pytest.raises(AssertionError):
        check(close_frame(1000) + FIRST, FIRST)
    check(TOLD[0].frame + cut[:1], TOLD[0].frame)
