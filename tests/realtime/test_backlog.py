"""What waits for a slow client: in order, counted, and less when it can be less without saying less."""

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import OrderId
from tabletap.realtime.backlog import Backlog
from tabletap.realtime.ring import Entry
from tabletap.realtime.telling import Batch, Told
from tabletap.realtime.tickets import Ticket

from .cafe_log import CAFE, NOON, ident, payload_of, placed, recorded

KITCHEN = f"cafe:{CAFE}:kitchen"


def told(event: e.AnyEvent, offset: int, room: str = KITCHEN) -> Told:
    found = Entry(recorded(event, offset), {}).told(room)
    assert found is not None
    return found


def queue(offset: int, load: int, *orders: int, position: int = 1) -> Told:
    places = tuple(e.Place(OrderId(ident(order)), position, NOON) for order in orders)
    return told(e.QueueMoved(load=load, active=len(orders), places=places), offset)


def moved(offset: int) -> Told:
    return told(e.OrderTableMoved(OrderId(ident(1)), str(offset)), offset)


def messages(backlog: Backlog) -> list[dict]:
    found = []
    while backlog:
        _, joined = backlog.take(1)
        if joined is not None:
            found.append(msgspec.json.decode(payload_of(joined)))
    assert backlog.size == 0
    return found


def test_what_waits_comes_out_in_order_joined_up_to_a_size() -> None:
    backlog = Backlog()
    for number in range(10):
        backlog.add(float(number), b"%d" % number * 10)
    assert backlog.size == 100
    assert backlog.take(25) == (0.0, b"0" * 10 + b"1" * 10 + b"2" * 10)
    assert backlog.take(1000)[0] == 3.0
    assert not backlog
    assert backlog.take(1000) == (0.0, None)


def test_of_a_state_two_wait_the_first_in_its_turn_and_the_newest_in_its_own() -> None:
    backlog = Backlog()
    backlog.coalesce(1.0, queue(1, 10, 1))
    backlog.coalesce(1.0, moved(2))
    assert not backlog.coalesce(1.0, queue(3, 30))
    backlog.coalesce(1.0, moved(4))
    assert backlog.coalesce(1.0, queue(5, 50))
    assert backlog.coalesce(1.0, queue(6, 60))
    told = [(message["offset"], message["data"].get("load")) for message in messages(backlog)]
    assert told == [(1, 50), (2, None), (4, None), (6, 60)]


def places(message: dict) -> dict[str, int]:
    return {place["orderId"]: place["position"] for place in message["data"]["places"]}


def test_whoever_is_cut_off_between_two_states_has_been_told_all_that_will_not_be_told_again() -> None:
    backlog = Backlog()
    backlog.coalesce(1.0, queue(1, 10, 1))
    backlog.coalesce(1.0, queue(2, 20, 2))
    backlog.coalesce(1.0, queue(3, 30, 1, position=9))
    backlog.coalesce(1.0, queue(4, 40, 4))
    first, last = messages(backlog)
    assert (first["offset"], places(first)) == (1, {str(ident(1)): 9, str(ident(2)): 1})
    assert (last["offset"], places(last)) == (4, {str(ident(1)): 9, str(ident(2)): 1, str(ident(4)): 1})


def test_a_customers_position_is_only_its_latest() -> None:
    backlog = Backlog()
    room = f"order:{ident(1)}"
    for offset in (1, 2, 3):
        place = e.Place(OrderId(ident(1)), offset, NOON)
        backlog.coalesce(1.0, told(e.QueueMoved(load=1, active=1, places=(place,)), offset, room))
    assert [(m["offset"], m["data"]["position"]) for m in messages(backlog)] == [(1, 2), (3, 3)]


def test_states_of_different_rooms_do_not_take_each_others_place() -> None:
    backlog = Backlog()
    news = e.QueueMoved(load=1, active=0, places=())
    for room in (KITCHEN, f"cafe:{CAFE}"):
        for offset in (1, 2):
            assert not backlog.coalesce(1.0, told(news, offset, room))


def test_a_state_that_has_left_is_not_brought_back() -> None:
    backlog = Backlog()
    backlog.coalesce(1.0, queue(1, 10, 1))
    backlog.coalesce(1.0, queue(2, 20, 2))
    backlog.take(1)
    assert not backlog.coalesce(2.0, queue(3, 30, 3))
    assert backlog.coalesce(2.0, queue(4, 40, 4))
    assert [(m["offset"], len(places(m))) for m in messages(backlog)] == [(2, 2), (4, 2)]


def test_sessions_that_are_behind_alike_share_what_was_made_of_two_states() -> None:
    news = [queue(number, number, number) for number in (1, 2, 3)]
    backlogs = [Backlog(), Backlog()]
    for backlog in backlogs:
        for told in news:
            backlog.coalesce(1.0, told)
    (first, last), (other_first, other_last) = [[backlog.take(1)[1] for _ in range(2)] for backlog in backlogs]
    assert first is other_first
    assert last is other_last


def test_dropping_what_rooms_said_keeps_answers_and_tells_from_where_it_is_missing() -> None:
    backlog = Backlog()
    backlog.add(1.0, b"answer")
    backlog.add(1.0, moved(5).frame, moved(5))
    for offset in (6, 7, 8):
        backlog.coalesce(1.0, queue(offset, 1, offset))
    backlog.add(1.0, b"another")
    assert backlog.lowest() == 5
    backlog.drop_told()
    assert (backlog.size, backlog.lowest()) == (13, None)
    assert backlog.take(100)[1] == b"answeranother"


def test_what_has_coalesced_is_missing_from_where_the_first_of_it_was() -> None:
    backlog = Backlog()
    for offset in (6, 7, 9):
        backlog.coalesce(1.0, queue(offset, 1, 1))
    assert backlog.lowest() == 6
    backlog.clear()
    assert (backlog.size, bool(backlog)) == (0, False)


def test_a_batch_of_one_is_that_frame_itself() -> None:
    one = moved(1)
    assert Batch([one]).joined is one.frame
    two = placed(2)
    entry = Entry(recorded(two, 2), {OrderId(ident(2)): Ticket(released_at=0)})
    other = entry.told(KITCHEN)
    assert other is not None
    assert Batch([one, other]).joined == one.frame + other.frame
