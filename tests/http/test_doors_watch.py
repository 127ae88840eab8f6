"""What the doors do with the sessions they hold: they look at each every second."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import trio
from trio.testing import MockClock

from tabletap.actors.ports import CafeEntry
from tabletap.domain.access import Principal
from tabletap.domain.base import CafeId, Role
from tabletap.http.sockets.admission import Guest
from tabletap.http.sockets.doors import LOOKED_AT_IN_ONE_GO, Doors
from tabletap.realtime.hub import Hub
from tests.realtime.cafe_log import FakeSession

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
CAFE = CafeEntry(CafeId(UUID(int=1)), "corner", "Corner")


class Watched(FakeSession):
    def __init__(self) -> None:
        super().__init__()
        self.looked_at = 0

    def check_peer(self, now: float) -> None:
        assert trio.current_time() - now < 0.1
        self.looked_at += 1


def guest(expires_at: datetime | None = None) -> Guest:
    principal = Principal(role=Role.KITCHEN, user="kim", cafes=frozenset({CAFE.id}), expires_at=expires_at)
    return Guest(principal=principal, cafe=CAFE, door="kitchen", after=None, address="")


async def test_every_second_each_peer_and_each_token_is_looked_at(autojump_clock: MockClock) -> None:
    nothing = cast("Any", None)
    begun = trio.current_time()
    doors = Doors(
        hub=Hub(),
        reader=nothing,
        auth=nothing,
        admissions=nothing,
        gate=nothing,
        watch=nothing,
        presence=nothing,
        keyring=nothing,
        tills=nothing,
        limits={},
        now=lambda: NOON + timedelta(seconds=trio.current_time() - begun),
    )
    lasting = [Watched() for _ in range(2 * LOOKED_AT_IN_ONE_GO + 1)]
    expiring = Watched()
    for session in lasting:
        doors._sessions[session] = guest()  # type: ignore[index]
    doors._sessions[expiring] = guest(NOON + timedelta(seconds=3))  # type: ignore[index]
    with trio.move_on_after(2.5):
        await doors.run()
    assert {session.looked_at for session in lasting} == {2}
    assert expiring.closed is None
    with trio.move_on_after(1.5):
        await doors.run()
    assert expiring.closed == 4001
