"""A token that is taken back opens no door, and the sockets it had opened close at once (spec A1).

``test_revoked`` says how soon other nodes do the same.
"""

import os
import subprocess
import sys
from typing import Any

import jwt
import pytest
import trio

from tests.store.conftest import temporary_folder

from .server import Cafe, Server, problem_of, running, until


def claims(token: str) -> Any:
    return jwt.decode(token, options={"verify_signature": False})


def revoke(server: Server, cafe: Cafe, by: str, **what: str) -> Any:
    answer = server.call("POST", f"/api/{cafe.slug}/tokens/revoke", by, what)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("door", ["orders", "kitchen", "admin", "payments"])
async def test_the_sockets_of_a_token_close_and_no_door_opens_to_it_again(door: str, server: Server) -> None:
    cafe = server.open_cafe()
    stolen, other = (server.token("manager", cafe.id, user="mo") for _ in range(2))
    ident = claims(stolen)["jti"]
    async with server.socket(door, cafe, stolen) as thief, server.socket(door, cafe, other) as honest:
        told = revoke(server, cafe, cafe.tokens["owner"], tokenId=ident)
        assert told["tokenId"] == ident
        assert await thief.close_code() == 4001
        assert (await honest.say("ping"))["data"] == {"pong": True}
        assert (await honest.say("auth", token=stolen))["code"] == "INVALID_TOKEN"
    problem_of(server.knock(door, cafe, stolen), 401, "INVALID_TOKEN")
    problem_of(server.call("GET", f"/api/{cafe.slug}/orders", stolen), 401, "INVALID_TOKEN")
    problem_of(server.call("GET", f"/api/{cafe.slug}/menu", stolen), 401, "INVALID_TOKEN")
    assert server.call("GET", f"/api/{cafe.slug}/orders", other).status_code == 200
    listed = server.call("GET", f"/api/{cafe.slug}/tokens/revoked", cafe.tokens["owner"]).json()["revoked"]
    assert [one["tokenId"] for one in listed] == [ident]


async def test_who_is_connected_is_listed_with_what_it_takes_to_shut_them_out(server: Server) -> None:
    cafe = server.open_cafe()
    token, ann = server.token("staff", cafe.id, user="sam"), server.place(cafe)["trackingToken"]
    path, owner = f"/api/{cafe.slug}/connections", cafe.tokens["owner"]
    async with (
        server.socket("counter", cafe, token, device="Till 2") as sam,
        server.socket("customers", None, ann) as customer,
        server.socket("admin", cafe, owner) as admin,
    ):
        listed = server.call("GET", path, owner).json()
        assert listed["total"] == 3
        by_session = {one["session"]: one for one in listed["connections"]}
        assert by_session.keys() == {socket.welcome["session"] for socket in (sam, customer, admin)}
        there = by_session[sam.welcome["session"]]
        assert (there["user"], there["role"], there["door"], there["device"]) == ("sam", "staff", "counter", "Till 2")
        assert "user" not in by_session[customer.welcome["session"]]
        assert len(server.call("GET", f"{path}?limit=2", owner).json()["connections"]) == 2
        counted = server.call("GET", "/api/admin/connections", server.admin).json()
        assert {"cafeId": cafe.id, "connected": 3} in counted["byCafe"]
        scoped = server.call("GET", "/api/admin/connections", cafe.tokens["admin"]).json()
        assert scoped["total"] == 3
        assert scoped["byDoor"] == {"counter": 1, "customers": 1, "admin": 1}
        assert scoped["byRole"] == {"staff": 1, "customer": 1, "owner": 1}
        revoke(server, cafe, owner, tokenId=there["tokenId"])
        assert await sam.close_code() == 4001
        until(lambda: server.call("GET", path, owner).json()["total"] == 2)
    metrics = server.call("GET", "/metrics").text
    assert "tabletap_sockets_at_admin " in metrics
    assert "tabletap_doors_alerts_flood " in metrics


async def test_a_person_is_shut_out_of_the_cafe_and_of_no_other(server: Server) -> None:
    here, there = server.open_cafe(), server.open_cafe()
    token = server.token("staff", here.id, there.id, user="sam")
    async with server.socket("orders", here, token) as inside, server.socket("orders", there, token) as elsewhere:
        async with server.socket("orders", here, here.tokens["manager"]) as manager:
            answer = await manager.perform("tokens.revoke", {"user": "sam"})
            assert answer["data"]["user"] == "sam"
        assert await inside.close_code() == 4001
        assert (await elsewhere.say("ping"))["data"] == {"pong": True}
    problem_of(server.knock("orders", here, token), 403, "FORBIDDEN")
    assert server.call("GET", f"/api/{there.slug}/orders", token).status_code == 200
    fresh = server.token("staff", here.id, user="sam")
    assert server.call("GET", f"/api/{here.slug}/orders", fresh).status_code == 200


async def test_a_manager_cannot_shut_out_the_owner_and_the_admin_can_everywhere(server: Server) -> None:
    cafe, owner = server.open_cafe(), server.token("owner", server.a.id, user="ola")
    here = server.token("owner", cafe.id, user="ola")
    async with server.socket("admin", cafe, here) as at_cafe, server.socket("admin", server.a, owner) as at_a:
        revoke(server, cafe, cafe.tokens["manager"], user="ola")
        assert (await at_cafe.say("ping"))["data"] == {"pong": True}
        answer = server.call("POST", "/api/admin/tokens/revoke", server.admin, {"user": "ola"})
        assert answer.status_code == 200, answer.text
        assert await at_cafe.close_code() == 4001
        assert await at_a.close_code() == 4001


def test_one_says_which_token_or_which_person(server: Server) -> None:
    path = f"/api/{server.a.slug}/tokens/revoke"
    for body in ({}, {"tokenId": "x", "user": "y"}, {"tokenId": ""}, {"tokenId": "x" * 201}, {"user": 1}):
        problem_of(server.call("POST", path, server.a.tokens["owner"], body), 400, "VALIDATION_ERROR")


async def test_the_command_line_takes_tokens_back_beside_a_server_at_work_and_for_good() -> None:
    with temporary_folder() as folder:
        with running(TABLETAP_STATE=str(folder)) as server:
            cafe, token = server.a, server.token("staff", server.a.id, user="sam")
            async with server.socket("orders", cafe, token) as socket:
                command = [sys.executable, "-m", "tabletap", "token", "--revoke", claims(token)["jti"]]
                ran = await trio.run_process(
                    command,
                    env={**os.environ, "TABLETAP_STATE": str(folder)},
                    capture_stdout=True,
                    stderr=subprocess.DEVNULL,
                )
                assert ran.stdout.decode().startswith("revoked ")
                assert await socket.close_code() == 4001
        with running(TABLETAP_STATE=str(folder)) as again:
            problem_of(again.call("GET", f"/api/{cafe.slug}/orders", token), 401, "INVALID_TOKEN")
            other = again.token("staff", cafe.id, user="sam")
            assert again.call("GET", f"/api/{cafe.slug}/orders", other).status_code == 200
