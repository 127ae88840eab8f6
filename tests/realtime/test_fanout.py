"""What is told at once leaves at once: one write per member, the same bytes for all who hear the same."""

from collections.abc import Iterable

from tabletap.domain import events as e
from tabletap.domain.base import OrderId
from tabletap.realtime import fanout
from tabletap.realtime.hub import Hub
from tabletap.realtime.telling import Batch

from .cafe_log import CAFE, FakeSession, Writer, ident, logged, placed, story

KITCHEN = f"cafe:{CAFE}:kitchen"
STAFF = f"cafe:{CAFE}:staff"


class Counted(FakeSession):
    """Keeps what it was given, as it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    def tell(self, batch: Batch) -> bool:
        self.given.append(batch.joined)
        return super().tell(batch)


def member(hub: Hub, *rooms: str) -> Counted:
    session = Counted()
    for room in rooms:
        hub.rooms.join(session, room)
    return session


def offsets(messages: Iterable[dict]) -> list[tuple[int, str]]:
    return [(message["offset"], message["room"]) for message in messages]


def test_what_a_commit_says_to_a_room_leaves_joined_and_shared() -> None:
    hub = Hub()
    one, other = member(hub, KITCHEN), member(hub, KITCHEN)
    hub.publish(CAFE, logged(placed(1), e.OrderTableMoved(OrderId(ident(1)), "7"), placed(2)))
    assert len(one.given) == 1
    assert one.given[0] is other.given[0]
    assert one.given[0] == b"".join(one.frames)
    assert one.heard(KITCHEN) == [1, 2, 3]


def test_a_single_frame_is_not_copied() -> None:
    hub = Hub()
    session = member(hub, KITCHEN)
    hub.publish(CAFE, logged(placed(1)))
    assert session.given[0] is session.sent[0]


def test_who_hears_several_rooms_hears_them_in_the_order_of_the_log() -> None:
    hub, records = Hub(), Writer(7).write(120)
    both, alike, kitchen = member(hub, KITCHEN, STAFF), member(hub, STAFF, KITCHEN), member(hub, KITCHEN)
    for at in range(0, 120, 12):
        hub.publish(CAFE, records[at : at + 12])
    told = story(records)
    assert kitchen.heard(KITCHEN) == [offset for offset, _, _ in told[KITCHEN]]
    expected = sorted((offset, room) for room in (KITCHEN, STAFF) for offset, _, _ in told[room])
    assert sorted(offsets(both.messages)) == expected
    assert [offset for offset, _ in offsets(both.messages)] == [offset for offset, _ in expected]
    assert len(both.given) <= 10
    assert all(one is other for one, other in zip(both.given, alike.given, strict=True))


def test_much_at_once_goes_in_several_writes() -> None:
    hub, records = Hub(), Writer(8).write(1500)
    session = member(hub, KITCHEN)
    hub.publish(CAFE, records)
    assert session.heard(KITCHEN) == [offset for offset, _, _ in story(records)[KITCHEN]]
    assert len(session.given) > 1
    largest = max(map(len, session.frames))
    assert all(len(given) < fanout.BATCH_BYTES + largest for given in session.given)


def test_a_member_that_leaves_on_what_it_is_told_disturbs_nobody() -> None:
    hub = Hub()

    class Leaves(Counted):
        def tell(self, batch: Batch) -> bool:
            hub.rooms.leave_all(self)
            return super().tell(batch)

    leaver = Leaves()
    hub.rooms.join(leaver, KITCHEN)
    stayer = member(hub, KITCHEN)
    hub.publish(CAFE, logged(placed(1)))
    hub.publish(CAFE, logged(placed(1), placed(2))[1:])
    assert (leaver.heard(KITCHEN), stayer.heard(KITCHEN)) == ([1], [1, 2])
