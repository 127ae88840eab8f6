"""Who is connected: told in batches, listed under a lease, and spoken to by role and name."""

from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing

from tabletap.domain.base import CafeId, Role
from tabletap.realtime.hub import Hub
from tabletap.realtime.payloads import Announcement
from tabletap.realtime.presence import Connection, MemoryRoster, Presence, PresenceSettings
from tabletap.realtime.sending import Sending, Whom
from tests.domain.world import Ids

from .cafe_log import CAFE, FakeSession, ident, logged, placed

OTHER = CafeId(ident(2))
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
EVERYBODY = Whom()
ROOM = f"cafe:{CAFE}:presence"
SAID = Announcement(text="closing soon", by="mo", role=Role.MANAGER)


def connection(
    name: str, role: Role = Role.STAFF, user: str | None = None, cafe_id: CafeId = CAFE, **more: Any
) -> Connection:
    return Connection(
        session=name, cafe_id=cafe_id, door="orders", role=role, user=user or name, address="::1", since=NOON, **more
    )


class Node:
    """A node with its doors; several may share a roster."""

    def __init__(self, roster: MemoryRoster | None = None, node: int = 1, changes_per_event: int = 100) -> None:
        self.hub = Hub()
        settings = PresenceSettings(tick_s=0.5, lease_s=15, renew_s=5, changes_per_event=changes_per_event)
        sending = Sending(self.hub, Ids(), lambda: NOON)
        self.roster, self.node = roster or MemoryRoster(), UUID(int=node)
        self.presence = Presence(sending, self.roster, settings, self.node)
        self.listener = FakeSession()
        self.hub.rooms.join(self.listener, ROOM)

    async def listed(self) -> dict[str | None, str | None]:
        """Who is in the list while the node is alive, and by which token."""
        await self.roster.renew(self.node, 15)
        return {one.user: one.token_id for one in await self.presence.connections(CAFE)}

    def enter(self, one: Connection) -> FakeSession:
        session = FakeSession()
        self.presence.enter(session, one)
        return session

    @property
    def told(self) -> list[Any]:
        return self.listener.messages

    def names(self, side: str) -> list[list[str]]:
        return [[who["session"] for who in message["data"].get(side, [])] for message in self.told]


async def test_comings_and_goings_are_told_together_with_who_it_is_and_how_many_there_are() -> None:
    node = Node()
    node.hub.publish(CAFE, logged(placed(1)))
    sam = node.enter(connection("s1", device="till 2", token_id="secret-id"))
    node.enter(connection("s2", Role.KITCHEN))
    node.enter(connection("elsewhere", cafe_id=OTHER))
    assert node.told == []
    await node.presence.tell()
    (joined,) = node.told
    assert (joined["type"], joined["room"], joined["offset"]) == ("presence_updated", ROOM, 1)
    assert joined["eventId"].startswith("evt_")
    assert joined["timestamp"] == int(NOON.timestamp() * 1000)
    sam_told = {"session": "s1", "door": "orders", "role": "staff", "user": "s1", "device": "till 2"}
    assert joined["data"]["joined"][0] == {**sam_told, "since": "2026-03-10T12:00:00Z"}
    assert joined["data"]["connected"] == 2
    assert "secret-id" not in str(joined)
    node.presence.leave(sam, CAFE)
    await node.presence.tell()
    await node.presence.tell()
    assert node.names("left") == [[], ["s1"]]
    assert node.told[-1]["data"]["connected"] == 1


async def test_who_came_and_went_between_two_tellings_was_never_there() -> None:
    node = Node()
    node.presence.leave(node.enter(connection("s1")), CAFE)
    await node.presence.tell()
    assert node.told == []
    assert await node.listed() == {}


async def test_a_fresh_token_is_listed_and_told_to_nobody() -> None:
    node = Node()
    sam, kim = node.enter(connection("sam", token_id="t1")), node.enter(connection("kim"))
    node.presence.renew(kim, CAFE, "t2")
    await node.presence.tell()
    node.presence.renew(sam, CAFE, "t3")
    node.presence.renew(FakeSession(), CAFE, "t4")
    assert await node.listed() == {"sam": "t3", "kim": "t2"}
    assert len(node.told) == 1
    node.presence.renew(sam, CAFE, "t5")
    node.presence.leave(sam, CAFE)
    assert await node.listed() == {"kim": "t2"}
    assert node.names("left") == [[], ["sam"]]


async def test_a_storm_is_told_in_pieces_of_which_none_is_missing() -> None:
    node = Node(changes_per_event=3)
    gone = [node.enter(connection(f"old{number}")) for number in range(4)]
    await node.presence.tell()
    for session in gone:
        node.presence.leave(session, CAFE)
    for number in range(5):
        node.enter(connection(f"new{number}"))
    await node.presence.tell()
    pieces = list(zip(node.names("joined"), node.names("left"), strict=True))
    assert all(len(joined) + len(left) <= 3 for joined, left in pieces)
    joined = [name for piece in node.names("joined") for name in piece]
    left = [name for piece in node.names("left") for name in piece]
    assert joined == [*(f"old{n}" for n in range(4)), *(f"new{n}" for n in range(5))]
    assert left == [f"old{n}" for n in range(4)]


async def test_it_is_told_by_itself_once_a_tick(autojump_clock: trio.testing.MockClock) -> None:
    node = Node()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.presence.run)
        await trio.sleep(0.1)
        for number in range(3):
            node.enter(connection(f"s{number}"))
        await trio.sleep(0.5)
        assert node.names("joined") == [["s0", "s1", "s2"]]
        nursery.cancel_scope.cancel()


async def test_a_node_that_dies_leaves_nobody_behind(autojump_clock: trio.testing.MockClock) -> None:
    roster = MemoryRoster()
    alive, dying = Node(roster, 1), Node(roster, 2)
    async with trio.open_nursery() as nursery:
        dies = trio.CancelScope()

        async def die() -> None:
            with dies:
                await dying.presence.run()

        nursery.start_soon(alive.presence.run)
        nursery.start_soon(die)
        await trio.testing.wait_all_tasks_blocked()
        alive.enter(connection("here"))
        dying.enter(connection("there"))
        await trio.sleep(60)
        assert {one.session for one in await alive.presence.connections(CAFE)} == {"here", "there"}
        dies.cancel()
        await trio.sleep(16)
        assert {one.session for one in await alive.presence.connections(CAFE)} == {"here"}
        assert {one.session for one in await alive.presence.connections(None)} == {"here"}
        assert roster._nodes.keys() == {UUID(int=1)}, "the memory is given back"
        nursery.cancel_scope.cancel()


# -- speaking to people


def heard(node: Node, whom: Whom, **who: tuple[Role, str]) -> set[str]:
    sessions = {name: node.enter(connection(name, role, user)) for name, (role, user) in who.items()}
    node.presence.say(CAFE, "r", "announcement", SAID, whom)
    return {name for name, session in sessions.items() if session.messages}


PEOPLE = {
    "ann": (Role.CUSTOMER, "ann"),
    "bob": (Role.CUSTOMER, "bob"),
    "sam": (Role.STAFF, "sam"),
    "kim": (Role.KITCHEN, "kim"),
}


@pytest.mark.parametrize(
    ("whom", "expected"),
    [
        (EVERYBODY, {"ann", "bob", "sam", "kim"}),
        (Whom(include_roles=frozenset({Role.STAFF, Role.KITCHEN})), {"sam", "kim"}),
        (Whom(include_users=frozenset({"ann"})), {"ann"}),
        (Whom(include_roles=frozenset({Role.STAFF}), include_users=frozenset({"ann"})), {"ann", "sam"}),
        (Whom(exclude_roles=frozenset({Role.CUSTOMER})), {"sam", "kim"}),
        (Whom(exclude_users=frozenset({"bob", "kim"})), {"ann", "sam"}),
        (Whom(include_roles=frozenset({Role.CUSTOMER}), exclude_users=frozenset({"bob"})), {"ann"}),
        (Whom(include_users=frozenset({"sam"}), exclude_roles=frozenset({Role.STAFF})), set()),
    ],
)
def test_what_is_said_reaches_whom_it_includes_and_does_not_exclude(whom: Whom, expected: set[str]) -> None:
    assert heard(Node(), whom, **PEOPLE) == expected


@pytest.mark.parametrize(("role", "user"), [*product((Role.STAFF, Role.KITCHEN), ("sam", None))])
def test_whoever_is_excluded_is_so_whatever_includes_them(role: Role, user: str | None) -> None:
    roles, users = frozenset({Role.STAFF, Role.KITCHEN}), frozenset({"sam"})
    assert not Whom(include_roles=roles, include_users=users, exclude_roles=roles).takes(role, user)


def test_it_is_heard_at_its_cafe_alone_and_counted() -> None:
    node = Node()
    here, elsewhere = node.enter(connection("here")), node.enter(connection("elsewhere", cafe_id=OTHER))
    deaf = FakeSession(takes=False)
    node.presence.enter(deaf, connection("deaf"))
    assert node.presence.say(CAFE, "r", "announcement", SAID, EVERYBODY) == 1
    (message,) = here.messages
    assert message["data"] == {"text": "closing soon", "by": "mo", "role": "manager"}
    assert elsewhere.messages == []


def test_nobody_is_led_to_believe_that_they_have_heard_more_of_the_log_than_they_have() -> None:
    """A client goes on from any offset it has seen: whoever is on the way into a room is told how far it is."""
    node = Node()
    node.hub.publish(CAFE, logged(placed(1), placed(2)))
    late, there = node.enter(connection("late")), node.enter(connection("there"))
    node.hub.seats.take(late, f"cafe:{CAFE}:staff", CAFE, 1)
    node.presence.say(CAFE, "r", "announcement", SAID, EVERYBODY)
    assert [session.messages[0]["offset"] for session in (late, there)] == [1, 2]
    assert late.messages[0]["eventId"] == there.messages[0]["eventId"]
