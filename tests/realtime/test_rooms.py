"""Rooms know their members, both ways, and give each of them a frame."""

import pytest

from tabletap.realtime.rooms import RoomFull, RoomLimits, Rooms
from tabletap.realtime.telling import Batch


class FakeSession:
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
