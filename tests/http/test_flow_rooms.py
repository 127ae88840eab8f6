"""The room of a flow at the door: its own cafe's crew gets the flow as it stands, and nobody else anything."""

from typing import Any, cast
from uuid import UUID

import msgspec
import pytest
import trio

from tabletap.actors.ports import CafeEntry, Sent
from tabletap.domain.access import Principal
from tabletap.domain.base import SYSTEM, CafeId, Job, Role
from tabletap.domain.tasks import ProcessWebhook
from tabletap.domain.vocabulary import Queue
from tabletap.http.sockets.admission import Guest
from tabletap.http.sockets.commands import Commands
from tabletap.http.sockets.doors import Doors
from tabletap.realtime.hub import Hub
from tests.realtime.cafe_log import FakeSession
from tests.store.memory import MemoryStore
from tests.store.shop import Tape

CAFE, OTHER = CafeId(UUID(int=1)), CafeId(UUID(int=2))
FLOW, STRANGE = UUID(int=7), UUID(int=8)


def guest(role: Role, cafe: CafeId) -> Guest:
    principal = Principal(role=role, user="sam", cafes=frozenset({cafe}))
    return Guest(principal=principal, cafe=CafeEntry(cafe, "corner", "Corner"), door="orders", after=None, address="")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore(Tape())
    for number in (1, 2):
        job = Job(Queue.WEBHOOKS, "key", CAFE, ProcessWebhook(UUID(int=number)), flow=FLOW)
        store.outbox[UUID(int=number)] = Sent(UUID(int=number), job, SYSTEM)
    return store


async def subscribe(store: MemoryStore, who: Guest, flow: UUID, **more: Any) -> tuple[Hub, FakeSession]:
    hub, session, nothing = Hub(), FakeSession(), cast("Any", None)
    doors = Doors(
        hub=hub,
        reader=store,
        auth=nothing,
        admissions=nothing,
        gate=nothing,
        watch=nothing,
        presence=nothing,
        keyring=nothing,
        tills=nothing,
        limits={},
        now=nothing,
    )
    commands = Commands(
        dispatcher=nothing, hub=hub, reader=store, auth=nothing, doors=doors, tills=nothing, message_depth=32
    )
    said = {"op": "subscribe", "id": 1, "room": f"flow:{flow}", **more}
    with trio.fail_after(10):
        await commands.answer(cast("Any", session), who, msgspec.json.encode(said))
    return hub, session


@pytest.mark.parametrize("more", [{}, {"after": 0}, {"after": 1 << 40}])
async def test_the_crew_is_given_the_flow_as_it_stands_wherever_it_left_off(
    store: MemoryStore, more: dict[str, int]
) -> None:
    hub, session = await subscribe(store, guest(Role.STAFF, CAFE), FLOW, **more)
    (answer,) = session.messages
    assert (answer["type"], answer["id"], answer["room"]) == ("resync", 1, f"flow:{FLOW}")
    state = {"flowId": str(FLOW), "cafeId": str(CAFE), "total": 2, "done": 0, "dead": 0}
    assert answer["snapshot"] == {"flow": state}
    assert hub.rooms.member_count(f"flow:{FLOW}") == 1


@pytest.mark.parametrize(
    ("who", "flow"),
    [
        (guest(Role.OWNER, OTHER), FLOW),
        (guest(Role.CUSTOMER, CAFE), FLOW),
        (guest(Role.OWNER, CAFE), STRANGE),
    ],
)
async def test_nobody_else_hears_it_nor_anybody_one_that_is_not(store: MemoryStore, who: Guest, flow: UUID) -> None:
    hub, session = await subscribe(store, who, flow)
    assert [(message["type"], message["code"]) for message in session.messages] == [("error", "FORBIDDEN")]
    assert hub.rooms.member_count(f"flow:{flow}") == 0
