"""What is said in a room is heard by whoever belongs there, and by nobody else (spec A2, R2).

Everything happens at a cafe with every kind of room, while those who do not belong there try to listen: at every door,
by asking for its rooms, from now on or from the beginning of its log, and by guessing names. What rooms and doors there
are is compared with the tables of the code: a new one fails here until it has a case.
"""

import uuid
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tabletap.domain.access import CAFE_ROOMS, KINDS
from tabletap.http.sockets.table import DOORS
from tabletap.realtime.catalogue import CATALOGUE, FLOWS, OF_DOORS, Hears

from .server import MENU, ROLES, Server, Socket, new_key

STAFF = frozenset({"staff", "counter", "manager", "owner", "admin"})
CREW = STAFF | {"kitchen"}
KITCHEN = frozenset({"kitchen", "staff", "manager", "owner", "admin"})
MANAGEMENT = frozenset({"manager", "owner", "admin"})

OF_CAFE: Mapping[str, frozenset[str]] = {
    "": CREW,
    ":staff": CREW,
    ":kitchen": KITCHEN,
    ":customers": CREW | {"customer"},
    ":payments": STAFF,
    ":presence": CREW,
    ":alerts": MANAGEMENT,
    ":pos": frozenset(),
    ":station:bar": KITCHEN,
    ":station:kitchen": KITCHEN,
    **{f":role:{role}": MANAGEMENT | {role} for role in ROLES},
    ":role:system": MANAGEMENT,
    ":role:till": MANAGEMENT,
}
"""Who hears the rooms of their own cafe."""

UNASKED = frozenset({Hears.ANNOUNCEMENTS})
"""What nobody can ask for: it comes to those it is for."""

AT_DOORS: Mapping[str, frozenset[str]] = {
    "orders": CREW,
    "kitchen": KITCHEN,
    "counter": STAFF,
    "customers": frozenset({"customer"}),
    "payments": STAFF | {"customer"},
    "admin": MANAGEMENT,
}
"""Who tries to listen, and from where."""

GUESSES = 30
"""As many failed handshakes at a cafe are odd."""


class Scene:
    """A cafe in which something of everything happens, and the rooms in which it is told."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cafe = server.open_cafe()
        self.ann = f"ann-{new_key()}"
        self.anns = server.token("customer", self.cafe.id, user=self.ann)
        self.order = server.place(self.cafe, self.anns, channel="table", table="1")
        self.payment = server.initiate(self.cafe, self.order, amount=100)

    @property
    def rooms_of_cafe(self) -> list[str]:
        return [f"cafe:{self.cafe.id}{part}" for part in OF_CAFE]

    @property
    def own_rooms(self) -> list[str]:
        return [f"order:{self.order['id']}", f"payment:{self.payment['paymentId']}"]

    @property
    def rooms(self) -> list[str]:
        """All that can be asked for, and a flow (of which ``test_flow_rooms`` has real ones)."""
        return [*self.rooms_of_cafe, *self.own_rooms, f"user:{self.ann}", f"flow:{self.order['id']}"]

    def act(self) -> None:
        """Say something in every room."""
        server, cafe = self.server, self.cafe
        owner = cafe.tokens["owner"]
        server.verify(cafe, self.payment, tendered=100)
        for move in ("start", "ready"):
            assert server.call("POST", f"/api/orders/{self.order['id']}/{move}", owner).status_code == 200
        server.place(cafe, items=[{"sku": "toast", "quantity": 1}, {"sku": "beans", "quantity": 1}])
        said = server.call("POST", f"/api/{cafe.slug}/announcements", owner, {"text": f"hear, {self.ann}"})
        assert said.json()["heard"] > 0
        for _ in range(GUESSES):
            assert server.knock("orders", cafe, "guess").status_code == 401
        menu = {**MENU, "items": MENU["items"][:2]}
        assert server.call("PUT", f"/api/{cafe.slug}/menu", owner, menu).status_code == 200

    def mentioned_in(self, messages: Iterable[Any]) -> list[Any]:
        """Which of the messages are about this cafe."""
        ours = (self.cafe.id, self.order["id"], self.payment["paymentId"])
        return [message for message in messages if any(word in str(message) for word in ours)]


async def forbidden(socket: Socket, rooms: Iterable[str]) -> None:
    """None of the rooms may be heard: not from now on, not from the beginning of the log, not from its end."""
    for room in rooms:
        for more in ({}, {"after": 0}, {"after": 1 << 40}):
            answer = await socket.say("subscribe", room=room, **more)
            assert (room, answer["type"], answer.get("code")) == (room, "error", "FORBIDDEN")


async def heard_by_owner(scene: Scene, stack: AsyncExitStack) -> Socket:
    """Somebody who may, and who tells us when everything has been told."""
    return await stack.enter_async_context(
        scene.server.socket("admin", scene.cafe, scene.cafe.tokens["owner"], after=0)
    )


async def everything_happens(scene: Scene, owner: Socket, stack: AsyncExitStack) -> None:
    """Act, and wait until it has been told: of the menu, which is changed last, and of what is in no log."""
    scene.act()
    late = await stack.enter_async_context(scene.server.socket("counter", scene.cafe, scene.cafe.tokens["owner"]))
    await owner.until(lambda message: message["type"] == "menu_updated")
    await owner.until(lambda message: message["type"] == "alert_raised")
    await owner.until(lambda message: message["type"] == "announcement")
    await owner.until(
        lambda message: message["type"] == "presence_updated" and late.welcome["session"] in str(message["data"])
    )


# -- the tables


def test_every_room_and_every_door_has_a_case_here() -> None:
    """Else somebody has made one without saying who may hear it."""
    fixed = {part.removeprefix(":") for part in OF_CAFE if part.count(":") < 2}
    assert fixed == CAFE_ROOMS.keys()
    of_people = {door: entrance for door, entrance in DOORS.items() if not entrance.till}
    assert {door: frozenset(role.value for role in entrance.roles) for door, entrance in of_people.items()} == AT_DOORS
    patterns = {f"cafe:{{id}}{part}" for part in OF_CAFE if ":role:" not in part and ":station:" not in part}
    patterns |= {"cafe:{id}:station:{name}", *(f"{kind}:{{id}}" for kind in KINDS)}
    assert patterns == set(Hears) - UNASKED
    assert {room for door in DOORS.values() for room in door.patterns} <= patterns
    heard_in = {room for wire in (CATALOGUE | FLOWS | OF_DOORS).values() for room in wire.rooms}
    assert heard_in == set(Hears), "every room has something to hear"


def test_the_scene_has_every_kind_of_room(server: Server) -> None:
    kinds = {room.partition(":")[0] for room in Scene(server).rooms}
    assert kinds == set(KINDS)


# -- strangers


@pytest.mark.parametrize("door", AT_DOORS)
async def test_nobody_of_another_cafe_hears_anything_at_any_door(door: str, server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        strangers = [
            await stack.enter_async_context(server.socket(door, server.b, server.b.tokens[role], after=0))
            for role in sorted(AT_DOORS[door])
        ]
        for stranger in strangers:
            await forbidden(stranger, scene.rooms)
        await everything_happens(scene, owner, stack)
        for stranger in strangers:
            assert scene.mentioned_in(await stranger.silence()) == []


@pytest.mark.parametrize("door", [door for door, entrance in DOORS.items() if entrance.tracking])
async def test_a_tracking_token_of_another_cafe_hears_nothing_at_the_doors_it_opens(door: str, server: Server) -> None:
    scene, theirs = Scene(server), server.place(server.b)["trackingToken"]
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        stranger = await stack.enter_async_context(server.socket(door, None, theirs, after=0))
        await forbidden(stranger, scene.rooms)
        await everything_happens(scene, owner, stack)
        assert scene.mentioned_in(await stranger.silence()) == []


async def test_the_admin_of_all_cafes_hears_at_a_door_only_the_cafe_of_the_door(server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        doors = [door for door, roles in AT_DOORS.items() if "admin" in roles]
        admins = [
            await stack.enter_async_context(server.socket(door, server.b, server.admin, after=0)) for door in doors
        ]
        for admin in admins:
            await forbidden(admin, scene.rooms)
        await everything_happens(scene, owner, stack)
        for admin in admins:
            assert scene.mentioned_in(await admin.silence()) == []


async def test_a_customer_of_two_cafes_hears_in_each_only_that_one(server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        both = server.token("customer", scene.cafe.id, server.b.id, user=scene.ann)
        here = await stack.enter_async_context(server.socket("customers", scene.cafe, both))
        only_there = server.token("customer", server.b.id, user=scene.ann)
        for token in (both, only_there):
            there = await stack.enter_async_context(server.socket("customers", server.b, token, after=0))
            await forbidden(there, scene.own_rooms + scene.rooms_of_cafe)
        await everything_happens(scene, owner, stack)
        assert scene.mentioned_in(await here.silence())
        assert scene.mentioned_in(await there.silence()) == []
        server.place(server.b, both)
        created = await there.until(lambda message: message["type"] == "order_created")
        assert created["room"] == f"user:{scene.ann}"


async def test_a_till_hears_the_room_of_its_cafes_tills_and_no_other(server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        key, theirs = server.key(scene.cafe)["key"], server.key(server.b)["key"]
        till = await stack.enter_async_context(server.till(scene.cafe, key))
        stranger = await stack.enter_async_context(server.till(server.b, theirs))
        own = f"cafe:{scene.cafe.id}:pos"
        await forbidden(till, (room for room in scene.rooms if room != own))
        await forbidden(stranger, scene.rooms)
        await everything_happens(scene, owner, stack)
        heard = [message for message in await till.silence() if "eventId" in message]
        assert {message["room"] for message in heard} == {own}
        assert {message["type"] for message in heard} == {"new_order", "order_updated"}
        assert scene.mentioned_in(await stranger.silence()) == []


# -- people of the cafe itself


@pytest.mark.parametrize("door", [door for door, entrance in DOORS.items() if entrance.tracking])
@pytest.mark.parametrize("who", ["a tracking token", "another customer"])
async def test_customers_hear_nothing_of_other_orders_of_their_cafe(who: str, door: str, server: Server) -> None:
    scene = Scene(server)
    other = server.place(scene.cafe)
    token = other["trackingToken"] if who == "a tracking token" else server.token("customer", scene.cafe.id)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        socket = await stack.enter_async_context(server.socket(door, scene.cafe, token, after=0))
        everybodys = {f"cafe:{scene.cafe.id}:customers", f"cafe:{scene.cafe.id}:role:customer"}
        theirs = everybodys if who == "another customer" else set()
        await forbidden(socket, (room for room in scene.rooms if room not in theirs))
        await everything_happens(scene, owner, stack)
        heard = [message for message in await socket.silence() if message["type"] != "announcement"]
        assert all(ident not in str(heard) for ident in (scene.order["id"], scene.payment["paymentId"], scene.ann))


@pytest.mark.parametrize("door", AT_DOORS)
async def test_a_role_hears_the_rooms_it_has_business_in_and_no_others(door: str, server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        people: dict[str, tuple[Socket, set[str]]] = {}
        for role in sorted(AT_DOORS[door]):
            socket = await stack.enter_async_context(server.socket(door, scene.cafe, scene.cafe.tokens[role]))
            may = {f"cafe:{scene.cafe.id}{part}" for part, roles in OF_CAFE.items() if role in roles}
            may |= set(scene.own_rooms) if role in CREW else set()
            await forbidden(socket, (room for room in scene.rooms if room not in may))
            for room in sorted(may):
                assert (await socket.say("subscribe", room=room, after=0))["type"] in {"subscribed", "resync"}
            people[role] = socket, may
        await everything_happens(scene, owner, stack)
        for role, (socket, may) in people.items():
            rooms = {message["room"] for message in await socket.silence() if "eventId" in message}
            everybodys = {f"cafe:{scene.cafe.id}:announcements"}
            assert everybodys <= rooms <= may | everybodys
            if role != "customer":
                assert set(socket.welcome["rooms"]) <= rooms, "a door's own rooms are heard there"
                unspoken = {":role:system", ":role:till"} | ({":role:customer"} if role not in MANAGEMENT else set())
                assert {f"cafe:{scene.cafe.id}{part}" for part in OF_CAFE if part not in unspoken} & may <= rooms


async def test_what_is_said_to_some_is_not_heard_by_others(server: Server) -> None:
    cafe = server.open_cafe()
    async with AsyncExitStack() as stack:
        people = {
            role: await stack.enter_async_context(server.socket(door, cafe, cafe.tokens[role]))
            for role, door in (("customer", "customers"), ("kitchen", "kitchen"), ("counter", "counter"))
        }
        elsewhere = await stack.enter_async_context(server.socket("orders", server.b, server.b.tokens["staff"]))
        manager = await stack.enter_async_context(server.socket("admin", cafe, cafe.tokens["manager"]))
        for include, exclude, hearers in (
            (["kitchen", "counter"], [], {"kitchen", "counter"}),
            ([], ["customer", "kitchen"], {"counter"}),
            (["kitchen"], ["kitchen"], set()),
        ):
            text = new_key()
            said = {"text": text, "includeRoles": include, "excludeRoles": exclude}
            assert (await manager.perform("cafes.announce", said))["type"] == "reply"
            heard = {role for role, socket in people.items() if text in str(await socket.silence())}
            assert heard == hearers
        assert await elsewhere.silence() == []


async def test_the_owner_of_an_order_hears_it_and_what_is_paid_for_it(server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        ann = await stack.enter_async_context(server.socket("customers", scene.cafe, scene.anns))
        tracker = await stack.enter_async_context(server.socket("customers", None, scene.order["trackingToken"]))
        for socket in (ann, tracker):
            for room in scene.own_rooms:
                assert (await socket.say("subscribe", room=room, after=0))["recovered"] is True
        await everything_happens(scene, owner, stack)
        for socket in (ann, tracker):
            heard = [message for message in await socket.silence() if "eventId" in message]
            assert {message["room"] for message in heard} >= set(scene.own_rooms)
            for room in scene.own_rooms:
                offsets = [message["offset"] for message in heard if message["room"] == room]
                assert offsets == sorted(set(offsets))
                assert offsets


async def test_rooms_that_do_not_exist_cannot_be_entered_by_guessing(server: Server) -> None:
    cafe = server.a
    async with server.socket("orders", cafe, cafe.tokens["owner"]) as owner:
        for kind in ("order", "payment", "flow", "cafe"):
            await forbidden(owner, [f"{kind}:{uuid.uuid4()}"])
        for room in (
            None,
            "",
            ":",
            "cafe",
            "cafe:",
            "cafe:*",
            "cafe:%",
            f"cafe:{cafe.id}:",
            f"cafe:{cafe.id}:everything",
            f"cafe:{cafe.id}:announcements",
            f"cafe:{cafe.id}:role:",
            f"cafe:{cafe.id}:role:emperor",
            f"cafe:{cafe.id}:station:",
            f"cafe:{cafe.id}:station:../bar",
            f"cafe:{cafe.id.upper()}:staff",
            f"cafe:{{{cafe.id}}}",
            f" cafe:{cafe.id}",
            f"cafe:{cafe.slug}",
            "order:1",
            "order:",
            "payment:' OR 1=1 --",
            "user:",
            "user:a:b",
            "system:all",
            "\u0000",
            "x" * 5_000,
        ):
            answer = await owner.say("subscribe", room=room)
            assert (room, answer.get("code")) == (room, "VALIDATION_ERROR")
            assert answer["errors"][0]["field"] == "room"
        assert (await owner.say("unsubscribe", room="order:whatever"))["type"] == "unsubscribed"
        assert (await owner.say("unsubscribe"))["code"] == "VALIDATION_ERROR"
