"""Rooms of flows: how far a flow of jobs is, told while it happens (spec H6).

What happens in a flow is not in the log of its cafe: it is work, and nothing follows from it. So nothing is replayed
here. Whoever comes into the room, for the first time or again, is given the flow as it stands (``resync``), and hears
what happens from then on. Offsets are those of the cafe's log, and stand still while only jobs move.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tabletap.domain.base import CafeId
from tabletap.domain.jobs import FlowNews

from .frames import encode, event_frame, message_frame
from .payloads import FlowUpdate
from .rooms import Rooms
from .seats import Listener
from .snapshots import Resync, Snapshot


class Flows:
    """``tell`` is for whoever does the jobs. It never waits."""

    def __init__(self, rooms: Rooms, head: Callable[[CafeId], int]) -> None:
        self._rooms = rooms
        self._head = head
        self._joining: Counter[str] = Counter()  # sessions that wait for the snapshot
        self._told: Counter[str] = Counter()  # while there are such

    def tell(self, news: FlowNews) -> None:
        """Say it to everybody in the flow's room."""
        room = f"flow:{news.flow}"
        if room in self._joining:
            self._told[room] += 1
        if self._rooms.member_count(room):
            at_ms = int(news.at.timestamp() * 1000)
            offset, event_id = self._head(news.cafe_id), f"evt_{news.id.hex}"
            self._rooms.broadcast(room, event_frame(news.type, room, offset, event_id, at_ms, encode(_update(news))))

    async def subscribe(self, session: Listener, room: str, request_id: Any, snapshot: Snapshot) -> None:
        """Into the room, with the flow as it stands. Raises RoomFull."""
        self._rooms.join(session, room)
        self._joining[room] += 1
        try:
            while True:
                told = self._told[room]
                offset, state = await snapshot()
                if told == self._told[room]:  # else it may be older than what the session has just heard
                    session.send(message_frame(Resync(id=request_id, room=room, offset=offset, snapshot=state)))
                    return
        finally:
            self._joining[room] -= 1
            if not self._joining[room]:
                del self._joining[room]
                self._told.pop(room, None)


def _update(news: FlowNews) -> FlowUpdate:
    state = news.state
    return FlowUpdate(
        flow_id=news.flow,
        job_id=news.job_id,
        queue=news.queue,
        task=news.what,
        attempt=news.attempt,
        final=news.final,
        total=state.total if state else news.total,
        done=state.done if state else None,
        dead=state.dead if state else None,
        progress=100 * state.done // state.total if state and state.total else None,
    )
