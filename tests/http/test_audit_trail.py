"""What management and the installation's admin can see of the past: trails, the ledger, reconciliation."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .server import PATIENCE_S, Cafe, Server, new_key, problem_of


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe()


def seen(server: Server, name: str, token: str, **fields: Any) -> Any:
    answer = server.perform(name, fields, token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refunded(server: Server, cafe: Cafe) -> tuple[Any, Any]:
    """An order that was paid in cash and half given back."""
    order = server.place(cafe)
    payment = server.pay(cafe, order)
    body = {"amount": 100, "reason": "cold"}
    path = f"/api/payments/{payment['paymentId']}/refund"
    assert server.call("POST", path, cafe.tokens["counter"], body, key=new_key()).status_code == 200
    return order, payment


def test_the_trail_of_an_order_says_who_when_from_to_and_why(server: Server, cafe: Cafe) -> None:
    order, payment = refunded(server, cafe)
    lines = seen(server, "orders.audit", cafe.tokens["manager"], orderId=order["id"])["lines"]
    assert [line["offset"] for line in lines] == sorted({line["offset"] for line in lines})
    assert lines[0]["event"] == "order.placed"
    assert {"what": "order.status", "from": None, "to": "pending"} in lines[0]["changes"]
    (completed,) = [line for line in lines if line["event"] == "payment.completed"]
    assert completed["id"] == payment["paymentId"]
    assert completed["about"] == "payment"
    assert completed["by"]["role"] == "counter"
    assert completed["by"]["user"].startswith("counter-")
    assert {"what": "payment.status", "from": "pending", "to": "completed"} in completed["changes"]
    assert completed["reason"] == "money is here"
    assert datetime.fromisoformat(completed["at"]) <= datetime.now(UTC)
    (asked,) = [line for line in lines if line["event"] == "payment.refund_requested"]
    assert asked["reason"] == "cold"
    statuses = [change["to"] for line in lines for change in line["changes"] if change["what"] == "order.paymentStatus"]
    assert statuses == ["pending", "processing", "completed", "partially_refunded"]


def test_the_trail_of_a_payment_is_what_concerns_it(server: Server, cafe: Cafe) -> None:
    order = server.place(cafe)
    other = server.initiate(cafe, order, amount=100)
    payment = server.pay(cafe, order)
    lines = seen(server, "payments.audit", cafe.tokens["owner"], paymentId=payment["paymentId"])["lines"]
    events = [line["event"] for line in lines]
    assert events[0] == "payment.initiated"
    assert "order.payment_settled" in events
    assert "order.placed" not in events
    assert other["paymentId"] not in {line["id"] for line in lines}


def test_a_trail_comes_page_by_page_with_the_same_lines(server: Server, cafe: Cafe) -> None:
    order, _ = refunded(server, cafe)
    whole = seen(server, "orders.audit", cafe.tokens["manager"], orderId=order["id"])
    assert whole["next"] is None
    paged: list[Any] = []
    after = 0
    while after is not None:
        page = seen(server, "orders.audit", cafe.tokens["manager"], orderId=order["id"], after=after, limit=3)
        assert len(page["lines"]) <= 3
        paged += page["lines"]
        after = page["next"]
    assert paged == whole["lines"]


def test_the_ledger_of_a_cafe_sums_to_nothing_now_and_then(server: Server, cafe: Cafe) -> None:
    token = cafe.tokens["manager"]
    before = datetime.now(UTC) - timedelta(days=1)
    refunded(server, cafe)
    now = seen(server, "ledger.balances", token, cafe=cafe.slug)["balances"]
    assert sum(one["balance"] for one in now) == 0
    by_account = {one["account"]: one["balance"] for one in now}
    entries = seen(server, "ledger.entries", token, cafe=cafe.slug, limit=500)
    assert entries["next"] is None
    summed: dict[str, int] = {}
    for entry in entries["entries"]:
        summed[entry["account"]] = summed.get(entry["account"], 0) + entry["amount"]
    assert summed == by_account
    then = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert seen(server, "ledger.balances", token, cafe=cafe.slug, at=then)["balances"] == now
    assert seen(server, "ledger.balances", token, cafe=cafe.slug, at=before.isoformat())["balances"] == []


def test_the_ledger_comes_page_by_page(server: Server, cafe: Cafe) -> None:
    token = cafe.tokens["manager"]
    refunded(server, cafe)
    for name, cursor, field in (("ledger.balances", "after", "balances"), ("ledger.entries", "before", "entries")):
        whole = seen(server, name, token, cafe=cafe.slug, limit=500)[field]
        paged: list[Any] = []
        more: dict[str, Any] = {}
        while more is not None:
            page = seen(server, name, token, cafe=cafe.slug, limit=2, **more)
            paged += page[field]
            more = {cursor: page["next"]} if page["next"] else None  # type: ignore[assignment]
        assert paged == whole
        assert len(whole) > 2


@pytest.mark.parametrize(
    ("name", "fields", "blamed"),
    [
        ("ledger.balances", {"at": "2026-03-10T12:00:00"}, "at"),
        ("ledger.balances", {"at": "yesterday"}, "at"),
        ("ledger.balances", {"after": "cash"}, "after"),
        ("ledger.balances", {"limit": 0}, "limit"),
        ("ledger.entries", {"before": "7"}, "before"),
        ("ledger.entries", {"before": f"{10**19}-1"}, "before"),
        ("ledger.entries", {"account": "a\0b"}, "account"),
        ("ledger.entries", {"limit": 501}, "limit"),
    ],
)
def test_a_question_that_makes_no_sense_names_its_field(
    server: Server, name: str, fields: dict[str, Any], blamed: str
) -> None:
    answer = server.perform(name, {"cafe": server.a.slug, **fields}, server.a.tokens["manager"])
    problem = problem_of(answer, 400, "VALIDATION_ERROR")
    assert [error["field"] for error in problem["errors"]] == [blamed]


def test_the_ledger_of_a_server_at_work_is_proven_from_beside_it(server: Server, cafe: Cafe) -> None:
    refunded(server, cafe)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TABLETAP_")}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "tabletap", "audit", "--cafe", cafe.slug, "--json"]
    told = subprocess.run(
        command,
        env={**environment, "TABLETAP_STATE": str(server.state)},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    report = json.loads(told.stdout.splitlines()[-1])
    assert (report["faults"], report["sums"]) == ([], {"AUD": 0})
    assert report["checked"]["payments"] == 1


def test_reconciliation_goes_round_when_asked_and_shows_what_it_found(server: Server, cafe: Cafe) -> None:
    asked = datetime.now(UTC)
    told = server.perform("reconciliation.run", {}, server.admin)
    assert told.status_code == 202, told.text
    deadline = time.monotonic() + PATIENCE_S
    while True:
        run = seen(server, "reconciliation.newest", server.admin)["run"]
        if run is not None and datetime.fromisoformat(run["startedAt"]) >= asked - timedelta(milliseconds=1):
            break
        assert time.monotonic() < deadline, run
        time.sleep(0.05)
    assert run["checked"].keys() >= {"messages", "charges", "payments", "orders"}
    assert run["remaining"] + run["repaired"] == len(run["findings"])
    own = seen(server, "reconciliation.get", cafe.tokens["manager"], cafe=cafe.slug)["run"]
    assert own["runId"] == run["runId"]
    assert own["findings"] == []
    assert "tabletap_reconciliation_runs" in server.call("GET", "/metrics").text
