"""Tips through the doors (spec W2): what customers gave, shared out once and to the cent, and handed over."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .server import PREPAY, Cafe, Server, at_once, fields_at_fault, new_key, problem_of

ROLES = {"bar": 2_000, "kitchen": 3_000, "floor": 5_000}
TEAM = [
    {"user": "bea", "role": "bar", "hours": 8},
    {"user": "kim", "role": "kitchen", "hours": 7.5},
    {"user": "flo", "role": "floor", "hours": 4},
]


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe(prepay=PREPAY, tips={"rule": "role_percent", "rolePercent": ROLES, "presets": [500, 1000]})


def shift(**more: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    ends = {"from": (now - timedelta(hours=8)).isoformat(), "to": (now + timedelta(hours=8)).isoformat()}
    return {**ends, "staff": TEAM, **more}


def tip(server: Server, cafe: Cafe, cents: int) -> Any:
    payment = server.initiate(cafe, server.place(cafe), tipAmount=cents)
    return server.verify(cafe, payment, tendered=100_000)


def distribute(server: Server, cafe: Cafe, **more: Any) -> Any:
    fields = {"cafe": cafe.slug, **shift(**more)}
    return server.perform("tips.distribute", fields, cafe.tokens["manager"], key=new_key())


def pay_out(server: Server, cafe: Cafe, user: str, amount: int, way: str = "cash") -> Any:
    fields = {"cafe": cafe.slug, "user": user, "amount": amount, "way": way}
    return server.perform("tips.payout", fields, cafe.tokens["owner"], key=new_key())


def tips(server: Server, cafe: Cafe, **query: Any) -> Any:
    found = server.perform("tips.get", {"cafe": cafe.slug, **query}, cafe.tokens["kitchen"])
    assert found.status_code == 200, found.text
    return found.json()


def test_a_shifts_tips_are_shared_by_the_cafes_rule_and_handed_over(server: Server, cafe: Cafe) -> None:
    for cents in (50_00, 25_00):
        tip(server, cafe, cents)
    before = tips(server, cafe)
    assert (before["pool"], before["presets"], before["rule"]) == (75_00, [500, 1000], "role_percent")
    assert server.call("GET", f"/api/{cafe.slug}/menu").json()["tipPresets"] == [500, 1000]
    done = distribute(server, cafe)
    assert done.status_code == 201, done.text
    assert [share["amount"] for share in done.json()["shares"]] == [15_00, 22_50, 37_50]
    assert pay_out(server, cafe, "flo", 37_50).json()["owed"] == 0
    assert pay_out(server, cafe, "kim", 20_00, "bank").json()["owed"] == 2_50
    problem_of(pay_out(server, cafe, "kim", 2_51), 400, "INSUFFICIENT_FUNDS")
    after = tips(server, cafe)
    assert after["pool"] == 0
    assert after["owed"] == [{"user": "bea", "amount": 15_00}, {"user": "kim", "amount": 2_50}]
    assert after["distributions"] == [done.json()]
    problem_of(distribute(server, cafe), 400, "INSUFFICIENT_FUNDS")


def test_20_who_share_out_at_once_share_out_once(server: Server, cafe: Cafe) -> None:
    tip(server, cafe, 10_01)
    answers = at_once(20, lambda _: distribute(server, cafe))
    assert sum(answer.status_code == 201 for answer in answers) == 1
    assert {answer.status_code for answer in answers} <= {201, 400, 409}
    assert sum(one["amount"] for one in tips(server, cafe)["owed"]) == 10_01


def test_20_payouts_at_once_hand_over_no_more_than_is_owed(server: Server, cafe: Cafe) -> None:
    tip(server, cafe, 20_00)
    distribute(server, cafe)
    answers = at_once(20, lambda _: pay_out(server, cafe, "flo", 3_00))
    assert sum(answer.status_code == 201 for answer in answers) == 3
    assert {one["user"]: one["amount"] for one in tips(server, cafe)["owed"]}["flo"] == 1_00


def test_a_repeat_under_its_key_shares_out_nothing_more(server: Server, cafe: Cafe) -> None:
    tip(server, cafe, 10_00)
    fields, key = {"cafe": cafe.slug, **shift()}, new_key()
    first, again = (server.perform("tips.distribute", fields, cafe.tokens["manager"], key=key) for _ in range(2))
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(tips(server, cafe)["distributions"]) == 1


def test_a_refunded_tip_is_not_shared_out(server: Server, cafe: Cafe) -> None:
    payment = tip(server, cafe, 10_00)
    tip(server, cafe, 4_00)
    path = f"/api/payments/{payment['paymentId']}/refund"
    assert server.call("POST", path, cafe.tokens["manager"], key=new_key()).status_code == 200
    assert tips(server, cafe)["pool"] == 4_00
    assert distribute(server, cafe).json()["amount"] == 4_00


def test_the_pool_of_a_time_is_that_of_its_tips(server: Server, cafe: Cafe) -> None:
    tip(server, cafe, 10_00)
    now = datetime.now(UTC)
    later = {"from": (now + timedelta(hours=1)).isoformat(), "to": (now + timedelta(hours=2)).isoformat()}
    assert tips(server, cafe, **later)["pool"] == 0
    problem_of(distribute(server, cafe, **later), 400, "INSUFFICIENT_FUNDS")
    assert tips(server, cafe)["pool"] == 10_00


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("from", {"from": "2026-01-01T00:00:00"}),
        ("to", {"to": "2020-01-01T00:00:00Z"}),
        ("staff", {"staff": []}),
        ("staff", {"staff": [TEAM[0], TEAM[0]]}),
        ("staff.1.role", {"staff": [TEAM[0], {**TEAM[1], "role": "owner"}]}),
        ("staff.0.hours", {"staff": [{**TEAM[0], "hours": -1}]}),
        ("staff.0.points", {"staff": [{**TEAM[0], "points": 1.5}]}),
    ],
)
def test_a_shift_that_makes_no_sense_is_refused_by_its_field(
    server: Server, cafe: Cafe, field: str, wrong: dict[str, Any]
) -> None:
    tip(server, cafe, 1)
    assert fields_at_fault(problem_of(distribute(server, cafe, **wrong), 400, "VALIDATION_ERROR")) == {field}
    assert tips(server, cafe)["pool"] == 1
