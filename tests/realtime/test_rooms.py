"""Rooms know their members, both ways, and give each of them a frame."""

from collections.abc import Callable
from typing import Self

import pytest

from tabletap.realtime.rooms import RoomFull, RoomLimits, Rooms
from tabletap.realtime.telling import Batch


class FakeSession:
    free = False
    bare_send: Callable[[bytes], int] | None = None

    def __init__(self, *, takes: bool = True) -> None:
        self.rooms: set[str] = set()
        self.received: list[bytes] = []
        self.takes = takes

    def send(self, frame: bytes) -> bool:
        if self.takes:
            self.received.append(frame)
        return self.takes

    def tell(self, batch: Batch) -> bool:
        return self.send(batch.joined)

    def sent_short(self, data: bytes, sent: int | None) -> None:
        raise AssertionError("it has no bare socket")


class Free(FakeSession):
    """One with a bare socket, which takes so many bytes of a batch, or raises."""

    def __init__(self, socket_takes: int | Exception | None = None) -> None:
        super().__init__()
        self.free = True
        self.bare_send = self._bare_send
        self.sent: list[bytes] = []
        self.short: list[int | None] = []
        self._socket_takes = socket_takes

    def _bare_send(self, data: bytes) -> int:
        assert self.free, "nothing is sent past what waits"
        self.sent.append(data)
        if isinstance(self._socket_takes, Exception):
            raise self._socket_takes
        return len(data) if self._socket_takes is None else self._socket_takes

    def turn(self, rooms: Rooms, *, free: bool) -> None:
        self.free = free
        rooms.turned(self)

    def sent_short(self, data: bytes, sent: int | None) -> None:
        self.short.append(sent)
        self.turn(self._all, free=False)

    def join(self, rooms: Rooms, *names: str) -> Self:
        self._all = rooms
        for name in names:
            rooms.join(self, name)
        return self


class Said(Batch):
    def __init__(self, joined: bytes) -> None:
        self.joined = joined
        self.told = ()


BATCH = Said(b"whole frames")


def test_a_broadcast_reaches_the_members_of_the_room_and_nobody_else() -> None:
    rooms = Rooms()
    kitchen, counter = FakeSession(), FakeSession()
    rooms.join(kitchen, "kitchen")
    rooms.join(counter, "counter")
    assert rooms.broadcast("kitchen", b"frame") == 1
    assert (kitchen.received, counter.received) == ([b"frame"], [])


def test_every_member_is_given_the_same_object() -> None:
    rooms = Rooms()
    sessions = [FakeSession() for _ in range(3)]
    for session in sessions:
        rooms.join(session, "r")
    frame = bytes(range(50))
    rooms.broadcast("r", frame)
    assert all(session.received[0] is frame for session in sessions)


def test_a_session_that_overran_is_skipped_and_not_counted() -> None:
    rooms = Rooms()
    quick, slow = FakeSession(), FakeSession(takes=False)
    rooms.join(quick, "r")
    rooms.join(slow, "r")
    assert rooms.broadcast("r", b"f") == 1


def test_joining_twice_delivers_once() -> None:
    rooms = Rooms()
    session = FakeSession()
    assert rooms.join(session, "r")
    assert not rooms.join(session, "r")
    assert rooms.broadcast("r", b"f") == 1


def test_leaving_ends_delivery_and_an_empty_room_is_gone() -> None:
    rooms = Rooms()
    session = FakeSession()
    rooms.join(session, "r")
    assert rooms.leave(session, "r")
    assert not rooms.leave(session, "r")
    assert rooms.broadcast("r", b"f") == 0
    assert len(rooms) == 0
    assert session.rooms == set()


def test_leaving_all_leaves_nothing_behind() -> None:
    rooms = Rooms()
    session, other = FakeSession(), FakeSession()
    for room in ("a", "b", "c"):
        rooms.join(session, room)
    rooms.join(other, "b")
    rooms.leave_all(session)
    assert list(rooms) == ["b"]
    assert rooms.members("b") == (other,)
    assert rooms.member_count("a") == 0


def test_who_is_free_is_told_by_its_bare_socket_and_the_others_are_asked() -> None:
    rooms = Rooms()
    free, other = Free().join(rooms, "r"), FakeSession()
    rooms.join(other, "r")
    assert set(rooms.members("r")) == {free, other}
    rooms.tell("r", BATCH)
    rooms.tell("elsewhere", BATCH)
    assert (free.sent, free.received) == ([BATCH.joined], [])
    assert other.received == [BATCH.joined]


def test_who_is_no_longer_free_is_asked_in_all_its_rooms_until_it_is_free_again() -> None:
    rooms = Rooms()
    session = Free().join(rooms, "a", "b")
    session.turn(rooms, free=False)
    rooms.tell("a", BATCH)
    rooms.tell("b", BATCH)
    assert (session.sent, session.received) == ([], [BATCH.joined] * 2)
    session.turn(rooms, free=True)
    session.turn(rooms, free=True)
    rooms.tell("b", BATCH)
    assert (session.sent, len(session.received)) == ([BATCH.joined], 2)
    assert rooms.member_count("a") == rooms.member_count("b") == 1


@pytest.mark.parametrize(
    ("takes", "took"), [(0, 0), (5, 5), (BlockingIOError(), 0), (ConnectionResetError(), None), (OSError("bad"), None)]
)
def test_a_socket_that_takes_less_is_told_of_once_and_disturbs_nobody(takes: int | Exception, took: int | None) -> None:
    rooms = Rooms()
    sessions = [Free(takes if number % 3 == 1 else None).join(rooms, "r") for number in range(8)]
    asked = FakeSession()
    rooms.join(asked, "r")
    rooms.tell("r", BATCH)
    assert [session.sent for session in sessions] == [[BATCH.joined]] * 8
    assert [session.short for session in sessions] == [[took] if number % 3 == 1 else [] for number in range(8)]
    assert not any(session.received for session in sessions), "what is left of it is not told a second time"
    rooms.tell("r", BATCH)
    assert [len(session.sent) for session in sessions] == [1 if number % 3 == 1 else 2 for number in range(8)]
    assert [len(session.received) for session in sessions] == [1 if number % 3 == 1 else 0 for number in range(8)]
    assert asked.received == [BATCH.joined] * 2


def test_who_leaves_is_told_no_more_whether_it_was_free_or_not() -> None:
    rooms = Rooms()
    for free in (True, False):
        session = Free().join(rooms, "r", "s")
        session.turn(rooms, free=free)
        rooms.leave(session, "r")
        rooms.tell("r", BATCH)
        assert (session.sent, session.received) == ([], [])
        rooms.leave_all(session)
    assert len(rooms) == 0


def test_a_member_may_leave_while_it_is_being_told() -> None:
    rooms = Rooms()

    class Leaver(FakeSession):
        def send(self, frame: bytes) -> bool:
            rooms.leave_all(self)
            return super().send(frame)

    for _ in range(3):
        rooms.join(Leaver(), "r")
    assert rooms.broadcast("r", b"f") == 3
    assert len(rooms) == 0


def test_a_session_joins_no_more_rooms_than_it_may() -> None:
    rooms = Rooms(RoomLimits(rooms_per_session=2))
    session = FakeSession()
    rooms.join(session, "a")
    rooms.join(session, "b")
    with pytest.raises(RoomFull):
        rooms.join(session, "c")
    assert session.rooms == {"a", "b"}
    assert len(rooms) == 2


def test_a_room_takes_no_more_members_than_it_may() -> None:
    rooms = Rooms(RoomLimits(members_per_room=1))
    rooms.join(FakeSession(), "r")
    late = FakeSession()
    with pytest.raises(RoomFull):
        rooms.join(late, "r")
    assert late.rooms == set()
    assert rooms.member_count("r") == 1
