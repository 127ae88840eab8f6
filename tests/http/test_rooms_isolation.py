"""What is said in a room is heard by whoever belongs there, and by nobody else (spec A2, R2).

Everything happens at a cafe with every kind of room, while those who do not belong there try to listen: by asking for
its rooms, from now on or from the beginning of its log, and by guessing names.
"""

import uuid
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from .server import MENU, ROLES, Cafe, Server, Socket, new_key

STAFF = frozenset({"staff", "counter", "manager", "owner", "admin"})
CREW = STAFF | {"kitchen"}
KITCHEN = frozenset({"kitchen", "staff", "manager", "owner", "admin"})
MANAGEMENT = frozenset({"manager", "owner", "admin"})

OF_CAFE: Mapping[str, frozenset[str]] = {
    "": CREW,
    ":staff": CREW,
    ":kitchen": KITCHEN,
    ":customers": CREW | {"customer"},
    ":station:bar": KITCHEN,
    ":station:kitchen": KITCHEN,
    **{f":role:{role}": MANAGEMENT | {role} for role in ROLES},
    ":role:system": MANAGEMENT,
}
"""Who hears the rooms of their own cafe."""


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
        return [*self.rooms_of_cafe, *self.own_rooms, f"user:{self.ann}"]

    def act(self) -> None:
        """Say something in every room."""
        server, cafe = self.server, self.cafe
        owner = cafe.tokens["owner"]
        server.verify(cafe, self.payment, tendered=100)
        for move in ("start", "ready"):
            assert server.call("POST", f"/api/orders/{self.order['id']}/{move}", owner).status_code == 200
        server.place(cafe)
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
        scene.server.socket("orders", scene.cafe, scene.cafe.tokens["owner"], after=0)
    )


async def told_everything(owner: Socket, cafe: Cafe) -> None:
    """Wait until the cafe's rooms have heard of the menu, which is changed last."""
    room = f"cafe:{cafe.id}:staff"
    await owner.until(lambda message: message["type"] == "menu_updated" and message["room"] == room)


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_of_another_cafe_hears_anything(role: str, server: Server) -> None:
    scene, door = Scene(server), "customers" if role == "customer" else "orders"
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        stranger = await stack.enter_async_context(server.socket(door, server.b, server.b.tokens[role], after=0))
        await forbidden(stranger, scene.rooms)
        scene.act()
        await told_everything(owner, scene.cafe)
        assert scene.mentioned_in(await stranger.silence()) == []


async def test_the_admin_of_all_cafes_hears_at_a_door_only_the_cafe_of_the_door(server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        admin = await stack.enter_async_context(server.socket("orders", server.b, server.admin, after=0))
        await forbidden(admin, scene.rooms)
        scene.act()
        await told_everything(owner, scene.cafe)
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
        scene.act()
        await told_everything(owner, scene.cafe)
        assert scene.mentioned_in(await here.silence())
        assert scene.mentioned_in(await there.silence()) == []
        server.place(server.b, both)
        created = await there.until(lambda message: message["type"] == "order_created")
        assert created["room"] == f"user:{scene.ann}"


@pytest.mark.parametrize("who", ["a tracking token", "another customer"])
async def test_customers_hear_nothing_of_other_orders_of_their_cafe(who: str, server: Server) -> None:
    scene = Scene(server)
    other = server.place(scene.cafe)
    token = other["trackingToken"] if who == "a tracking token" else server.token("customer", scene.cafe.id)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        socket = await stack.enter_async_context(server.socket("customers", scene.cafe, token, after=0))
        everybodys = {f"cafe:{scene.cafe.id}:customers", f"cafe:{scene.cafe.id}:role:customer"}
        theirs = everybodys if who == "another customer" else set()
        await forbidden(socket, (room for room in scene.rooms if room not in theirs))
        scene.act()
        await told_everything(owner, scene.cafe)
        heard = str(await socket.silence())
        assert all(ident not in heard for ident in (scene.order["id"], scene.payment["paymentId"], scene.ann))


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_hears_the_rooms_it_has_business_in_and_no_others(role: str, server: Server) -> None:
    scene, door = Scene(server), "customers" if role == "customer" else "orders"
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        somebody = await stack.enter_async_context(server.socket(door, scene.cafe, scene.cafe.tokens[role]))
        may = {f"cafe:{scene.cafe.id}{part}" for part, roles in OF_CAFE.items() if role in roles}
        may |= set(scene.own_rooms) if role in CREW else set()
        await forbidden(somebody, (room for room in scene.rooms if room not in may))
        for room in sorted(may):
            assert (await somebody.say("subscribe", room=room, after=0))["type"] in {"subscribed", "resync"}
        scene.act()
        await told_everything(owner, scene.cafe)
        rooms = {message["room"] for message in await somebody.silence() if "eventId" in message}
        default = {f"cafe:{scene.cafe.id}:staff"} & may
        assert rooms <= may
        assert default <= rooms
        assert len(rooms) > 1 or role == "customer"


async def test_the_owner_of_an_order_hears_it_and_what_is_paid_for_it(server: Server) -> None:
    scene = Scene(server)
    async with AsyncExitStack() as stack:
        owner = await heard_by_owner(scene, stack)
        ann = await stack.enter_async_context(server.socket("customers", scene.cafe, scene.anns))
        tracker = await stack.enter_async_context(server.socket("customers", None, scene.order["trackingToken"]))
        for socket in (ann, tracker):
            for room in scene.own_rooms:
                assert (await socket.say("subscribe", room=room, after=0))["recovered"] is True
        scene.act()
        await told_everything(owner, scene.cafe)
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
