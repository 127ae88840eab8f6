"""Reports (spec S2, S4, S5): a till's report of a day beside ours, X at any time, Z to close the day."""

import csv
import io
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tabletap.domain.base import business_day

from .server import Cafe, Server, at_once, fields_at_fault, new_key, problem_of

ZONE = "Australia/Sydney"
OLD: Mapping[str, Any] = {
    "reportDate": "2026-01-31",
    "totalSales": 10_000,
    "totalOrders": 10,
    "cashSales": 4_000,
    "cardSales": 3_000,
    "giftCardSales": 1_000,
    "onlineSales": 2_000,
    "discounts": 500,
    "refunds": 300,
    "netSales": 9_200,
    "topItems": [{"sku": "toast", "quantity": 3}],
    "busyHours": [{"hour": 8, "orders": 4}],
    "staffShifts": [{"name": "Sam", "from": "06:00", "to": "14:00"}],
    "notes": "wet",
}


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe(prepay=[])


def today() -> str:
    return business_day(datetime.now(UTC), ZONE).isoformat()


def x(server: Server, cafe: Cafe) -> Any:
    found = server.call("GET", f"/api/{cafe.slug}/reports/x", cafe.tokens["staff"])
    assert found.status_code == 200, found.text
    return found.json()


def close(server: Server, cafe: Cafe, role: str = "manager", key: str | None = None, **body: Any) -> httpx.Response:
    return server.call("POST", f"/api/{cafe.slug}/reports/z", cafe.tokens[role], body, key=key or new_key())


def balanced(counted: Any) -> Any:
    one = counted["identity"]
    assert one["orders"] == one["carriedIn"] + one["charged"]
    assert one["orders"] == one["tenders"] + one["rounding"] + one["refunds"] + one["open"]
    assert one["difference"] == 0
    return one


def drawer(server: Server, cafe: Cafe, name: str = "Front") -> Any:
    body = {"name": name, "floatAmount": 10_000}
    opened = server.call("POST", f"/api/{cafe.slug}/drawers", cafe.tokens["counter"], body, key=new_key())
    assert opened.status_code == 201, opened.text
    return opened.json()


def a_day(server: Server, cafe: Cafe) -> Any:
    """Cash with rounding, a split with a tip, a refund, one cancelled, and one still open: that one."""
    server.pay(cafe, server.place(cafe, cafe.tokens["counter"], channel="counter"))
    split = server.place(cafe)
    server.verify(cafe, server.initiate(cafe, split, "qr_code_bank_transfer", amount=500, tipAmount=100), received=600)
    paid = server.pay(cafe, split)
    back = {"amount": 200, "reason": "cold"}
    refunded = server.call(
        "POST", f"/api/payments/{paid['paymentId']}/refund", cafe.tokens["counter"], back, key=new_key()
    )
    assert refunded.status_code == 200, refunded.text
    gone = server.place(cafe)
    assert server.call("POST", f"/api/orders/{gone['id']}/cancel", cafe.tokens["staff"]).status_code == 200
    return server.place(cafe, items=[{"sku": "beans", "quantity": 1}])


# -- X


def test_x_counts_what_has_been_since_the_last_closing_and_changes_nothing(server: Server, cafe: Cafe) -> None:
    a_day(server, cafe)
    before = server.footprint_at_rest(cafe)
    report = x(server, cafe)
    one = balanced(report["counted"])
    # 14.46 in cash (14.45), 5.00 by transfer and 9.46 in cash (9.45), of which 2.00 went back, 16.00 open
    assert one == {
        "carriedIn": 0,
        "charged": 4_492,
        "orders": 4_492,
        "tenders": 1_445 + 500 + 945 - 200,
        "rounding": 2,
        "refunds": 200,
        "open": 1_600,
        "difference": 0,
    }
    counted = report["counted"]
    assert (counted["placed"], counted["cancelled"]) == (4, 1)
    assert (counted["sales"]["gross"], counted["sales"]["voids"], counted["sales"]["net"]) == (5_938, 1_446, 4_292)
    tenders = {tender["method"]: tender for tender in counted["tenders"]}
    assert (tenders["cash"]["received"], tenders["cash"]["refunded"]) == (2_390, 200)
    assert (tenders["qr_code_bank_transfer"]["received"], tenders["qr_code_bank_transfer"]["tips"]) == (600, 100)
    assert counted["tips"]["undistributed"] == 100
    assert [(item["sku"], item["quantity"]) for item in counted["topItems"]] == [("toast", 4), ("beans", 1)]
    assert sum(hour["orders"] for hour in counted["busyHours"]) == counted["takings"]["totalOrders"] == 3
    assert report["from"] is None
    assert server.footprint(cafe) == before
    assert x(server, cafe)["counted"] == counted


@pytest.mark.parametrize("path", ["x", "z/1"])
def test_a_report_is_had_as_a_table_by_its_query_or_by_accept(server: Server, cafe: Cafe, path: str) -> None:
    opened = drawer(server, cafe, "=cmd|' /C calc'!A0")
    a_day(server, cafe)
    assert close(server, cafe, force=True).status_code == 201 or path == "x"
    url, token = f"/api/{cafe.slug}/reports/{path}", cafe.tokens["staff"]
    told = server.call("GET", url, token).json()
    for asked in (
        server.call("GET", url, token, params={"format": "csv"}),
        server.call("GET", url, token, headers={"accept": "text/csv"}),
    ):
        assert asked.status_code == 200, asked.text
        assert asked.headers["content-type"] == "text/csv; charset=utf-8"
        table = dict(csv.reader(io.StringIO(asked.text)))
        assert table["line"] == "value"
        for name, cents in told["counted"]["identity"].items():
            assert table[f"counted.identity.{name}"] == str(cents)
        assert opened["name"] not in table.values(), "no formula for a spreadsheet"
        for tender in told["counted"]["tenders"]:
            assert table[f"counted.tenders.{tender['method']}.taken"] == str(tender["taken"])
    for accept in ("application/json", "*/*", "text/html"):
        assert server.call("GET", url, token, headers={"accept": accept}).headers["content-type"] == "application/json"
    problem_of(server.call("GET", url, token, params={"format": "xml"}), 400, "VALIDATION_ERROR")


# -- Z


def test_a_z_ends_the_day_keeps_what_is_open_and_can_be_printed_again_to_the_cent(server: Server, cafe: Cafe) -> None:
    open_order = a_day(server, cafe)
    server.settle()
    expected = x(server, cafe)["counted"]
    first = close(server, cafe)
    assert first.status_code == 201, first.text
    report = first.json()
    assert (report["number"], report["businessDay"], report["from"]) == (1, today(), None)
    assert report["counted"] == expected
    assert report["closedBy"]["role"] == "manager"
    server.pay(cafe, open_order)
    server.settle()
    second = close(server, cafe, "staff").json()
    one = balanced(second["counted"])
    assert (one["carriedIn"], one["charged"], one["open"]) == (1_600, 0, 0)
    assert (second["number"], second["from"], second["afterOffset"]) == (2, report["to"], report["offset"])
    for number, printed in ((1, report), (2, second)):
        again = server.call("GET", f"/api/{cafe.slug}/reports/z/{number}", cafe.tokens["staff"])
        assert again.json() == printed
    listed = server.call("GET", f"/api/{cafe.slug}/reports/z", cafe.tokens["staff"]).json()["reports"]
    assert [(line["number"], line["to"]) for line in listed] == [(2, second["to"]), (1, report["to"])]
    paged = server.call("GET", f"/api/{cafe.slug}/reports/z?before=2&limit=1", cafe.tokens["staff"]).json()["reports"]
    assert [line["number"] for line in paged] == [1]


def test_an_open_drawer_refuses_the_close_and_only_management_can_force_it(server: Server, cafe: Cafe) -> None:
    opened = drawer(server, cafe)
    for role in ("staff", "manager"):
        refused = problem_of(close(server, cafe, role), 409, "DRAWERS_OPEN")
        assert fields_at_fault(refused) == {"force"}
        assert "Front" in refused["error"]
    assert fields_at_fault(problem_of(close(server, cafe, "staff", force=True), 403, "FORBIDDEN")) == {"force"}
    assert server.call("GET", f"/api/{cafe.slug}/reports/z", server.admin).json()["reports"] == []
    forced = close(server, cafe, force=True).json()
    assert (forced["number"], forced["forcedOver"]) == (1, ["Front"])
    (shown,) = forced["counted"]["drawers"]
    assert (shown["floatAmount"], shown["expected"], shown["counted"]) == (10_000, 10_000, None)
    path = f"/api/{cafe.slug}/drawers/{opened['drawerId']}/count"
    assert server.call("POST", path, cafe.tokens["counter"], {"counted": 9_900}, key=new_key()).status_code == 200
    (shown,) = close(server, cafe, "staff").json()["counted"]["drawers"]
    assert (shown["carried"], shown["floatAmount"], shown["counted"], shown["difference"]) == (10_000, 0, 9_900, -100)


@pytest.mark.parametrize(("day", "fields"), [("2126-01-01", {"businessDay"}), ("nonsense", {"businessDay"})])
def test_a_day_that_has_not_begun_is_not_closed(server: Server, cafe: Cafe, day: str, fields: set[str]) -> None:
    refused = problem_of(close(server, cafe, businessDay=day), 400, "VALIDATION_ERROR")
    assert fields_at_fault(refused) == fields
    assert close(server, cafe, businessDay=today()).json()["businessDay"] == today()
    refused = problem_of(close(server, cafe, businessDay="2026-01-01"), 400, "VALIDATION_ERROR")
    assert fields_at_fault(refused) == fields


def test_a_z_of_one_key_is_one_however_often_it_is_asked_for(server: Server, cafe: Cafe) -> None:
    key = new_key()
    answers = at_once(12, lambda _: close(server, cafe, key=key))
    for answer in answers:
        if answer.status_code == 201:
            assert answer.json()["number"] == 1
        else:
            problem_of(answer, 409, "DUPLICATE_IN_PROGRESS")
    again = close(server, cafe, key=key)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    problem_of(close(server, cafe, key=key, force=True), 422, "IDEMPOTENCY_KEY_REUSED")
    assert len(server.call("GET", f"/api/{cafe.slug}/reports/z", server.admin).json()["reports"]) == 1


def test_many_who_close_at_once_amid_sales_make_one_number_each_and_no_cent_is_in_two(
    server: Server, cafe: Cafe
) -> None:
    def work(index: int) -> Any:
        if index % 2:
            return server.pay(cafe, server.place(cafe, cafe.tokens["counter"], channel="counter"))
        return close(server, cafe)

    answers = at_once(24, work)
    closed = sorted((answer.json() for answer in answers[::2]), key=lambda report: report["number"])
    assert [report["number"] for report in closed] == list(range(1, 13))
    server.settle()
    closed.append(close(server, cafe).json())
    assert closed[0]["afterOffset"] == 0
    carried = 0
    for before, report in zip([None, *closed], closed, strict=False):
        assert before is None or report["afterOffset"] == before["offset"] < report["offset"]
        one = balanced(report["counted"])
        assert one["carriedIn"] == carried
        carried = one["open"]
    assert carried == 0
    assert sum(report["counted"]["identity"]["charged"] for report in closed) == 12 * 1_446
    assert sum(report["counted"]["identity"]["tenders"] for report in closed) == 12 * 1_445
    assert sum(report["counted"]["placed"] for report in closed) == 12


@pytest.mark.parametrize("number", ["0", "2", "999999999999", "-1", "one", "1.0"])
def test_there_is_no_z_of_another_number(server: Server, cafe: Cafe, number: str) -> None:
    assert close(server, cafe).status_code == 201
    problem_of(server.call("GET", f"/api/{cafe.slug}/reports/z/{number}", server.admin), 404, "NOT_FOUND")


async def test_a_z_is_closed_over_a_socket_too(server: Server, cafe: Cafe) -> None:
    async with server.socket("counter", cafe, cafe.tokens["manager"]) as screen:
        told = await screen.perform("reports.close", {"force": True}, key=new_key())
        assert told["data"]["number"] == 1
        assert (await screen.perform("reports.z", {"number": "1"}))["data"] == told["data"]
        assert (await screen.perform("reports.x", {}))["data"]["afterOffset"] == told["data"]["offset"]


# -- a till's report


def test_a_report_is_stored_replaced_and_says_where_it_differs(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe)["key"]
    first = server.ask(cafe, key, "reports/daily", dict(OLD)).json()
    assert not first["replaced"]
    told = {one["field"]: (one["reported"], one["counted"]) for one in first["differences"]}
    assert told["totalSales"] == (10_000, 0)
    assert told["topItems.toast.quantity"] == (3, 0)
    assert told["busyHours.8.orders"] == (4, 0)
    assert len(told) == 11
    second = server.ask(cafe, key, "reports/daily", {**OLD, "notes": None}).json()
    assert (second["reportId"], second["replaced"]) == (first["reportId"], True)
    (kept,) = server.ask(cafe, key, "reports/daily", **{"from": "2026-01-01", "to": "2026-02-01"}).json()["reports"]
    assert kept["report"] == {**OLD, "notes": None}
    assert (kept["uploads"], kept["by"]["role"]) == (2, "till")
    other = server.open_cafe()
    elsewhere = server.ask(
        other, server.key(other)["key"], "reports/daily", **{"from": "2026-01-31", "to": "2026-01-31"}
    )
    assert elsewhere.json() == {"reports": []}


def test_a_till_that_tells_what_we_counted_differs_in_nothing(server: Server, cafe: Cafe) -> None:
    a_day(server, cafe)
    server.settle()
    key = server.key(cafe)["key"]
    path = f"reports/daily/{today()}"
    shown = server.ask(cafe, key, path).json()
    assert (shown["reported"], shown["differences"]) == (None, [])
    counted = shown["counted"]
    assert counted == {
        "totalSales": 2_892,
        "totalOrders": 3,
        "cashSales": 2_392,
        "cardSales": 0,
        "giftCardSales": 0,
        "onlineSales": 500,
        "otherSales": 0,
        "discounts": 0,
        "refunds": 200,
        "netSales": 2_692,
    }
    lists = {"topItems": shown["topItems"], "busyHours": shown["busyHours"]}
    same = {name: cents for name, cents in counted.items() if name != "otherSales"}
    uploaded = server.ask(cafe, key, "reports/daily", {"reportDate": today(), **same, **lists}).json()
    assert uploaded["differences"] == []
    off = {**same, "cashSales": same["cashSales"] - 100, "onlineSales": same["onlineSales"] + 100}
    told = server.ask(cafe, key, "reports/daily", {"reportDate": today(), **off}).json()["differences"]
    assert told == [
        {"field": "cashSales", "reported": 2_292, "counted": 2_392},
        {"field": "onlineSales", "reported": 600, "counted": 500},
    ]
    day = server.call("GET", f"/api/{cafe.slug}/{path}", cafe.tokens["manager"]).json()
    assert (day["differences"], day["counted"]) == (told, counted)
    assert day["reported"]["report"]["cashSales"] == 2_292


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ({"totalSales": 9_999}, {"totalSales", "netSales", "cashSales", "cardSales", "giftCardSales", "onlineSales"}),
        ({"netSales": 1}, {"netSales", "totalSales", "discounts", "refunds"}),
        ({"cashSales": 4_001}, {"totalSales", "cashSales", "cardSales", "giftCardSales", "onlineSales"}),
        ({"busyHours": [{"hour": 8, "orders": 11}]}, {"busyHours", "totalOrders"}),
        ({"reportDate": "0001-01-01"}, {"reportDate"}),
        ({"cashSales": -1}, {"cashSales"}),
        ({"cashSales": "4000"}, {"cashSales"}),
        ({"cardSales": 30.5}, {"cardSales"}),
        ({"reportDate": "2126-01-01"}, {"reportDate"}),
        ({"reportDate": "31/01/2026"}, {"reportDate"}),
        ({"notes": "x" * 2_001}, {"notes"}),
        ({"staffShifts": [1] * 201}, {"staffShifts"}),
    ],
)
def test_a_report_that_disagrees_with_itself_is_refused_and_nothing_is_stored(
    server: Server, cafe: Cafe, wrong: Mapping[str, Any], fields: set[str]
) -> None:
    key = server.key(cafe)["key"]
    refused = server.ask(cafe, key, "reports/daily", {**OLD, **wrong})
    assert fields_at_fault(problem_of(refused, 400, "VALIDATION_ERROR")) >= fields
    everything = {"from": "2025-12-01", "to": "2026-02-15"}
    assert server.ask(cafe, key, "reports/daily", **everything).json() == {"reports": []}


def test_without_its_sums_or_its_date_it_is_no_report(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe)["key"]
    for name in ("reportDate", "totalSales", "totalOrders", "cashSales", "cardSales", "netSales"):
        body = {field: value for field, value in OLD.items() if field != name}
        refused = server.ask(cafe, key, "reports/daily", body)
        assert name in problem_of(refused, 400, "VALIDATION_ERROR")["error"]


def test_one_at_once_from_each_of_ten_tills_is_one_report(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe)["key"]
    answers = at_once(10, lambda _: server.ask(cafe, key, "reports/daily", dict(OLD)).json())
    assert Counter(answer["replaced"] for answer in answers) == {False: 1, True: 9}
    assert len({answer["reportId"] for answer in answers}) == 1


def test_days_are_asked_for_within_bounds(server: Server, cafe: Cafe) -> None:
    path, token = f"/api/{cafe.slug}/reports/daily", cafe.tokens["manager"]
    assert server.call("GET", path, token).json() == {"reports": []}
    for first, last in (("2026-02-01", "2026-01-31"), ("2025-01-01", "2026-01-01")):
        refused = server.call("GET", path, token, params={"from": first, "to": last})
        assert fields_at_fault(problem_of(refused, 400, "VALIDATION_ERROR")) == {"from"}
    for day in ("yesterday", "2026-02-30", "0001-01-01", "1999-12-31", "9999-12-31"):
        problem_of(server.call("GET", f"{path}/{day}", token), 404, "NOT_FOUND")
    assert server.call("GET", f"{path}/2000-01-01", token).json()["counted"]["totalOrders"] == 0
    refused = server.call("GET", path, token, params={"from": "monday"})
    assert fields_at_fault(problem_of(refused, 400, "VALIDATION_ERROR")) == {"from"}


def test_what_tills_upload_and_ask_is_in_the_log_of_tills(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe, name="Front")["key"]
    server.ask(cafe, key, "reports/daily", dict(OLD))
    server.ask(cafe, key, "reports/daily", {**OLD, "netSales": 1})
    server.ask(cafe, key, "reports/x")
    reader = server.key(cafe, "read")["key"]
    problem_of(server.ask(cafe, reader, "reports/daily", dict(OLD)), 403, "FORBIDDEN")
    lines = server.call("GET", f"/api/{cafe.slug}/pos-logs", server.admin).json()["lines"]
    told = [(line["what"], line["status"]) for line in lines if line["kind"] == "call"]
    assert told == [
        ("reports.upload", 403),
        ("reports.x", 200),
        ("reports.upload", 400),
        ("reports.upload", 200),
    ]


def test_a_card_number_in_the_notes_is_refused(server: Server, cafe: Cafe) -> None:
    key = server.key(cafe)["key"]
    body = {**OLD, "notes": "paid with 4111 1111 1111 1111"}
    problem_of(server.ask(cafe, key, "reports/daily", body), 400, "CARD_DATA_REFUSED")
