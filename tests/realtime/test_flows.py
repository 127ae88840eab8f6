"""The room of a flow: how far its jobs are, told live, and as a whole to whoever comes in."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import trio

from tabletap.domain.base import CafeId
from tabletap.domain.jobs import FlowNews, FlowState
from tabletap.domain.vocabulary import Queue
from tabletap.realtime.catalogue import FLOWS
from tabletap.realtime.hub import Hub
from tabletap.realtime.rooms import RoomFull, RoomLimits

from .cafe_log import CAFE, FakeSession, ident, logged, placed

FLOW = UUID(int=77)
ROOM = f"flow:{FLOW}"
AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def state(done: int) -> FlowState:
    return FlowState(flow_id=FLOW, cafe_id=CafeId(CAFE), total=3, done=done, dead=0)


def news(type_: str = "job_started", number: int = 1, **more: Any) -> FlowNews:
    return FlowNews(id=UUID(int=number), type=type_, at=AT, flow=FLOW, cafe_id=CafeId(CAFE), **more)


async def now() -> tuple[int, Any]:
    return 5, {"flow": "as it stands"}


async def test_whoever_comes_in_is_given_the_flow_as_it_stands_and_then_hears_what_happens() -> None:
    hub, session = Hub(), FakeSession()
    hub.publish(CAFE, logged(placed(1)))
    hub.flows.tell(news())
    await hub.flows.subscribe(session, ROOM, "me", now)
    hub.flows.tell(
        news("job_failed", 2, job_id=ident(9), queue=Queue.PAYMENTS, what="OpenCharge", attempt=1, final=False)
    )
    hub.flows.tell(news("job_progress", 3, job_id=ident(9), queue=Queue.PAYMENTS, what="OpenCharge", state=state(2)))
    resync, failed, progress = session.messages
    assert resync == {
        "type": "resync", "id": "me", "room": ROOM, "offset": 5, "snapshot": {"flow": "as it stands"}
    }  # fmt: skip
    assert (failed["type"], failed["room"], failed["offset"]) == ("job_failed", ROOM, 1)
    assert failed["timestamp"] == int(AT.timestamp() * 1000)
    about = {"flowId": str(FLOW), "jobId": str(ident(9)), "queue": "payment-processing", "task": "OpenCharge"}
    assert failed["data"] == {**about, "attempt": 1, "final": False}
    assert progress["data"] == {**about, "total": 3, "done": 2, "dead": 0, "progress": 66}
    assert failed["eventId"] != progress["eventId"]


async def test_a_snapshot_that_is_older_than_what_was_just_told_is_taken_again() -> None:
    hub, session = Hub(), FakeSession()
    done, reading, go_on = 0, trio.Event(), trio.Event()

    async def slowly() -> tuple[int, Any]:
        seen = done
        reading.set()
        await go_on.wait()
        return 0, {"done": seen}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hub.flows.subscribe, session, ROOM, None, slowly)
        await reading.wait()
        done = 1
        hub.flows.tell(news("job_progress", state=state(1)))
        go_on.set()
    assert [message["type"] for message in session.messages] == ["job_progress", "resync"]
    assert session.messages[-1]["snapshot"] == {"done": 1}


async def test_nobody_hears_a_flow_whose_room_they_have_left_or_never_entered() -> None:
    hub, gone, other = Hub(), FakeSession(), FakeSession()
    await hub.flows.subscribe(gone, ROOM, None, now)
    await hub.flows.subscribe(other, f"flow:{UUID(int=78)}", None, now)
    hub.leave(gone, ROOM)
    hub.flows.tell(news())
    assert [message["type"] for message in (*gone.messages, *other.messages)] == ["resync", "resync"]


async def test_a_session_that_is_in_too_many_rooms_is_refused() -> None:
    hub, session = Hub(room_limits=RoomLimits(rooms_per_session=1)), FakeSession()
    await hub.flows.subscribe(session, ROOM, None, now)
    await hub.flows.subscribe(session, ROOM, None, now)
    with pytest.raises(RoomFull):
        await hub.flows.subscribe(session, f"flow:{UUID(int=78)}", None, now)


def test_the_catalogue_knows_every_wire_type_of_a_flow() -> None:
    assert set(FLOWS) == {
        "orchestration_started",
        "job_started",
        "job_progress",
        "job_completed",
        "job_failed",
        "step_completed",
        "flow_completed",
    }
