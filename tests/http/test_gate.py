"""How much is let in at the doors, and what of it looks odd."""

from typing import Any
from uuid import UUID

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from tabletap.domain.base import CafeId
from tabletap.domain.errors import Code, Refusal
from tabletap.http.limits import Allowance
from tabletap.http.sockets.depth import deeper_than
from tabletap.http.sockets.gate import Gate, HandshakeLimits, MessageLimits
from tabletap.http.sockets.watch import Watch, WatchSettings
from tabletap.realtime.hub import Hub
from tabletap.realtime.payloads import AlertKind
from tabletap.realtime.sending import Sending
from tests.domain.world import NOON, Ids
from tests.realtime.cafe_log import FakeSession

CAFE = CafeId(UUID(int=1))
MANY: Any = {"address_per_min": 6_000, "address_burst": 100, "user_per_min": 6_000, "user_burst": 100}
MANY |= {"cafe_per_min": 6_000, "cafe_burst": 100}


def gate(**tight: int) -> Gate:
    """Wide open but for what is said: ``knock_...`` of handshakes, ``word_...`` of messages."""
    knocks, words = (
        {name.removeprefix(sort): value for name, value in tight.items() if name.startswith(sort)}
        for sort in ("knock_", "word_")
    )
    failures = {"failed_per_min": 6_000, "failed_burst": 100}
    return Gate(
        HandshakeLimits(**{**MANY, **failures, "keys": 1_000, **knocks}),
        MessageLimits(**{**MANY, "keys": 1_000, **words}),
    )


def wait_of(refusal: Refusal | None) -> int:
    assert refusal is not None
    assert refusal.code is Code.RATE_LIMIT_EXCEEDED
    assert refusal.retry_after_s is not None
    return refusal.retry_after_s


@pytest.mark.parametrize("sort", ["address", "user", "cafe"])
async def test_handshakes_beyond_the_burst_wait_until_there_is_room_again(
    sort: str, autojump_clock: trio.testing.MockClock
) -> None:
    door = gate(**{f"knock_{sort}_per_min": 6, f"knock_{sort}_burst": 3})

    def knock(name: str) -> Refusal | None:
        of = {"address": ("::1", "ann", "c"), "user": ("", "ann", ""), "cafe": ("", "", "c")}[sort]
        address, who, cafe = (part and part + name for part in of)
        return door.knock(address) or door.identified(who or trio.current_time().hex(), cafe or "any")

    assert [knock("1") for _ in range(3)] == [None] * 3
    wait = wait_of(knock("1"))
    assert wait == 10
    assert knock("2") is None, "others are not concerned"
    await trio.sleep(wait)
    assert knock("1") is None
    wait_of(knock("1"))


async def test_whoever_was_turned_away_too_often_is_not_looked_at(autojump_clock: trio.testing.MockClock) -> None:
    door = gate(knock_failed_per_min=6, knock_failed_burst=2)
    for _ in range(2):
        assert door.knock("thief") is None
        door.failed("thief")
    wait = wait_of(door.knock("thief"))
    assert door.knock("honest") is None
    await trio.sleep(wait)
    assert door.knock("thief") is None
    assert door.knock("thief") is None, "to look costs nothing: only a failure does"


async def test_who_floods_alone_is_told_apart_from_what_many_share() -> None:
    door = gate(word_user_burst=2, word_address_burst=3, word_cafe_burst=4)
    assert [door.floods("ann") for _ in range(3)] == [False, False, True]
    assert not door.floods("bob")
    assert [door.message("1.1.1.1", "corner") for _ in range(3)] == [None] * 3
    wait_of(door.message("1.1.1.1", "corner"))
    assert door.message("2.2.2.2", "corner") is None
    wait_of(door.message("3.3.3.3", "corner"))
    assert door.message("3.3.3.3", "plaza") is None


def test_asking_how_long_to_wait_takes_nothing() -> None:
    allowance = Allowance(per_min=60, burst=1, keys=10)
    assert [allowance.wait("a", 0.0) for _ in range(5)] == [0.0] * 5
    assert allowance.take("a", 0.0) == 0.0
    assert allowance.wait("a", 0.0) == allowance.take("a", 0.0) == 1.0
    assert allowance.wait("a", 1.0) == 0.0


# -- what looks odd


class Scene:
    def __init__(self, **settings: Any) -> None:
        told: Any = {"window_s": 60.0, "failed_handshakes": 3, "wrong_keys": 3, "floods": 2, "places": 3, "keys": 100}
        hub = Hub()
        self.watch = Watch(Sending(hub, Ids(), lambda: NOON), WatchSettings(**{**told, **settings}))
        self.admin = FakeSession()
        hub.rooms.join(self.admin, f"cafe:{CAFE}:alerts")

    @property
    def alerts(self) -> list[Any]:
        assert all(message["type"] == "alert_raised" for message in self.admin.messages)
        return [message["data"] for message in self.admin.messages]

    def counted(self, name: str) -> float:
        return self.watch.figures()[f"doors_{name}"]


async def test_an_address_that_fails_again_and_again_is_told_once_in_a_window(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scene = Scene()
    with capture_logs() as logs:
        for _ in range(10):
            scene.watch.turned_away("6.6.6.6", CAFE)
    of_address, of_cafe = scene.alerts
    assert of_address == {"kind": "failed_handshakes", "count": 3, "windowS": 60.0, "address": "6.6.6.6"}
    assert of_cafe == {"kind": "failed_handshakes", "count": 3, "windowS": 60.0}
    assert [entry["event"] for entry in logs] == ["odd_pattern"] * 2
    assert scene.counted("handshakes_refused") == 10
    assert scene.counted("alerts_failed_handshakes") == 2
    await trio.sleep(60)
    for _ in range(3):
        scene.watch.turned_away("6.6.6.6", CAFE)
    assert len(scene.alerts) == 4


async def test_what_fails_from_many_addresses_is_told_of_the_cafe_alone() -> None:
    scene = Scene()
    for number in range(9):
        scene.watch.turned_away(f"6.6.6.{number}", CAFE)
    assert [alert.get("address") for alert in scene.alerts] == [None]


async def test_what_concerns_no_cafe_is_counted_and_logged() -> None:
    scene = Scene()
    with capture_logs() as logs:
        for _ in range(3):
            scene.watch.turned_away("6.6.6.6", None)
    assert scene.alerts == []
    assert [entry["address"] for entry in logs] == ["6.6.6.6"]


async def test_a_flood_that_comes_again_is_told() -> None:
    scene = Scene()
    for _ in range(3):
        scene.watch.flooded(CAFE, "6.6.6.6", "sam")
    assert scene.alerts == [{"kind": "flood", "count": 2, "windowS": 60.0, "address": "6.6.6.6", "user": "sam"}]


async def test_one_token_in_many_places_is_told_and_many_sockets_in_one_place_are_not() -> None:
    scene = Scene()
    for _ in range(10):
        scene.watch.entered(CAFE, "1.1.1.1", "sam", "t1")
    for number in range(10):
        scene.watch.entered(CAFE, f"1.1.1.{number}", None, None)
    assert scene.alerts == []
    for number in range(10):
        scene.watch.entered(CAFE, f"1.1.1.{number}", "sam", "t1")
    told = {"kind": "token_in_many_places", "count": 3, "windowS": 60.0, "user": "sam", "tokenId": "t1"}
    assert scene.alerts == [told]


async def test_what_is_kept_in_mind_is_bounded() -> None:
    scene = Scene(keys=5)
    for number in range(1_000):
        scene.watch.turned_away(f"addr-{number}", None)
    assert len(scene.watch._seen) == 5
    scene.watch.entered(CAFE, "1.1.1.1", "sam", "t1")
    for number in range(1_000):
        scene.watch.entered(CAFE, f"1.1.1.{number}", "sam", "t1")
    assert len(scene.watch._seen[AlertKind.TOKEN_IN_MANY_PLACES, "t1"].addresses) == 3


# -- deep messages


@pytest.mark.parametrize(
    ("message", "deep"),
    [
        (b'{"a":[[[1]]]}', 4),
        (b"[]", 1),
        (b"1", 0),
        (b'{"a":{},"b":{},"c":[],"d":[{}]}', 3),
        (b'{"a":"[[[[[[[["}', 1),
        (b'{"a":"\\"[[[[","b":"\\\\","c":[]}', 2),
        (b"[" * 1_000, 1_000),
        (b'"[[[[', 0),
    ],
)
def test_a_message_is_as_deep_as_its_brackets_stand_in_each_other(message: bytes, deep: int) -> None:
    assert not deeper_than(deep, message)
    assert deep == 0 or deeper_than(deep - 1, message)
