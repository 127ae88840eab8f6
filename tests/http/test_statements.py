"""Importing a bank's statement: each transfer is counted for its payment, once, however often its line is seen."""

from typing import Any

import pytest

from .server import Cafe, Server, at_once, fields_at_fault, new_key, problem_of

TRANSFER = "qr_code_bank_transfer"
FORMAT = {"amount": "Amount"}
HEAD = "Date,Amount,Description\r\n"


@pytest.fixture
def cafe(server: Server) -> Cafe:
    return server.open_cafe()


def awaited(server: Server, cafe: Cafe) -> Any:
    """A transfer that a customer is about to make, for an order of its own."""
    return server.initiate(cafe, server.place(cafe), TRANSFER)


def row(payment: Any, amount: int | None = None, day: int = 10, text: str = "OSKO {} thanks") -> str:
    cents = payment["totalAmount"] if amount is None else amount
    return f'{day:02}/03/2026,"{cents // 100:,}.{cents % 100:02}",{text.format(payment["reference"])}\r\n'


def send(server: Server, cafe: Cafe, csv: str, *, key: str | None = None, token: str | None = None, **form: Any) -> Any:
    body = {"csv": csv, "format": {**FORMAT, **form}}
    path = f"/api/{cafe.slug}/statements"
    return server.call("POST", path, token or cafe.tokens["manager"], body, key=key or new_key())


def imported(server: Server, cafe: Cafe, *rows: str, head: str = HEAD, **more: Any) -> Any:
    """What became of a statement."""
    answer = send(server, cafe, head + "".join(rows), **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def status(server: Server, payment: Any) -> Any:
    return server.call("GET", f"/api/payments/{payment['paymentId']}/status", server.admin).json()


def test_transfers_on_a_statement_complete_their_payments(server: Server, cafe: Cafe) -> None:
    first, second = awaited(server, cafe), awaited(server, cafe)
    spelled = second["reference"].lower().replace("0", "o")
    rows = (row(first), row(second, text=f"tfr {spelled[:6]} {spelled[6:]}"), "09/03/2026,-5.00,Fee\r\n")
    report = imported(server, cafe, *rows, "09/03/2026,7.00,from Jo for lunch\r\n")
    assert (report["lines"], report["outgoing"], report["repeated"], report["errors"]) == (3, 1, 0, [])
    assert [(line["line"], line["paymentId"], line["outcome"]) for line in report["matched"]] == [
        (2, first["paymentId"], "completed"),
        (3, second["paymentId"], "completed"),
    ]
    assert report["unmatched"] == [
        {"line": 5, "bookedOn": "2026-03-09", "amount": 700, "description": "from Jo for lunch"}
    ]
    for payment in (first, second):
        assert status(server, payment)["status"] == "completed"
        order = server.call("GET", f"/api/orders/{payment['orderId']}", server.admin).json()
        assert order["paid"] == order["total"]


def test_what_is_on_it_twice_in_an_overlapping_one_or_in_the_same_again_is_counted_once(
    server: Server, cafe: Cafe
) -> None:
    first, second = awaited(server, cafe), awaited(server, cafe)
    assert imported(server, cafe, row(first))["repeated"] == 0
    again = imported(server, cafe, row(first))
    assert (again["repeated"], again["matched"]) == (1, [])
    overlapping = imported(server, cafe, row(second, day=11), row(first))
    assert (overlapping["repeated"], len(overlapping["matched"])) == (1, 1)
    for payment in (first, second):
        assert status(server, payment)["received"] == payment["totalAmount"]
        assert "surplus" not in status(server, payment)


def test_two_imports_at_once_count_it_once(server: Server, cafe: Cafe) -> None:
    payments = [awaited(server, cafe) for _ in range(5)]
    csv = HEAD + "".join(map(row, payments))
    answers = at_once(6, lambda _: send(server, cafe, csv))
    assert {answer.status_code for answer in answers} == {200}
    for payment in payments:
        assert status(server, payment)["received"] == payment["totalAmount"]


def test_a_repeat_under_its_key_has_the_same_answer_and_the_key_is_good_for_nothing_else(
    server: Server, cafe: Cafe
) -> None:
    payment, key = awaited(server, cafe), new_key()
    csv = HEAD + row(payment)
    first, again = (send(server, cafe, csv, key=key, token=cafe.tokens["owner"]) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = send(server, cafe, csv + "10/03/2026,1.00,more\r\n", key=key, token=cafe.tokens["owner"])
    problem_of(other, 422, "IDEMPOTENCY_KEY_REUSED")


def test_too_little_and_too_much_are_counted_as_what_they_are(server: Server, cafe: Cafe) -> None:
    short, long = awaited(server, cafe), awaited(server, cafe)
    imported(server, cafe, row(short, short["totalAmount"] - 100), row(long, long["totalAmount"] + 100))
    assert status(server, short)["received"] == short["totalAmount"] - 100
    assert status(server, long)["received"] == long["totalAmount"] + 100


def test_money_that_comes_twice_is_counted_twice(server: Server, cafe: Cafe) -> None:
    payment = awaited(server, cafe)
    report = imported(server, cafe, row(payment), row(payment))
    assert len(report["matched"]) == 2
    assert status(server, payment)["received"] == 2 * payment["totalAmount"]


def test_the_banks_own_ids_tell_lines_apart_and_one_that_means_two_lines_means_none(server: Server, cafe: Cafe) -> None:
    first, second = awaited(server, cafe), awaited(server, cafe)
    head, wanted = "Date,Amount,Description,Id\r\n", {"id": "Id"}
    rows = [row(payment).replace("\r\n", ",N-1\r\n") for payment in (first, second)]
    assert len(imported(server, cafe, rows[0], head=head, **wanted)["matched"]) == 1
    report = imported(server, cafe, row(second, 1).replace("\r\n", ",N-1\r\n"), head=head, **wanted)
    assert (report["repeated"], report["matched"]) == (0, [])
    assert [error["line"] for error in report["errors"]] == [2]
    assert status(server, second)["status"] == "pending"


def test_a_reference_of_another_cafe_is_nobodys(server: Server, cafe: Cafe) -> None:
    theirs = awaited(server, server.b)
    report = imported(server, cafe, row(theirs))
    assert (report["matched"], len(report["unmatched"])) == ([], 1)
    assert status(server, theirs)["status"] == "pending"


def test_a_line_that_names_two_payments_is_left_to_staff(server: Server, cafe: Cafe) -> None:
    first, second = awaited(server, cafe), awaited(server, cafe)
    report = imported(server, cafe, row(first, text=f"{{}} and {second['reference']}"))
    assert report["matched"] == []
    assert [error["line"] for error in report["errors"]] == [2]


def test_a_payment_that_is_none_of_a_bank_says_so(server: Server, cafe: Cafe) -> None:
    cash = server.initiate(cafe, server.place(cafe), amount=100)
    report = imported(server, cafe, row(cash))
    assert [line["outcome"] for line in report["matched"]] == ["VALIDATION_ERROR"]
    assert imported(server, cafe, row(cash))["repeated"] == 0
    assert status(server, cash)["status"] == "pending"


def test_a_line_with_a_card_number_stops_no_other(server: Server, cafe: Cafe) -> None:
    payment, card = awaited(server, cafe), "4111 1111 1111 1111"
    answer = send(server, cafe, HEAD + f"10/03/2026,5.00,VISA {card}\r\n" + row(payment))
    assert answer.status_code == 200
    assert card not in answer.text
    assert [error["line"] for error in answer.json()["errors"]] == [2]
    assert status(server, payment)["status"] == "completed"
    problem_of(send(server, cafe, HEAD, description=[card]), 400, "CARD_DATA_REFUSED")


def test_a_file_that_cannot_be_read_is_refused_by_its_field_and_its_key_may_be_used_again(
    server: Server, cafe: Cafe
) -> None:
    key, payment = new_key(), awaited(server, cafe)
    for csv, form, field in (
        ("\r\n", {}, "csv"),
        (HEAD, {"amount": "Sum"}, "format.amount"),
        (HEAD + "10/03/2026,1.00,x\r\n" * 5_001, {}, "csv"),
        (HEAD, {"unknown": 1}, "format"),
        ("", {}, "csv"),
    ):
        answer = send(server, cafe, csv, key=key, **form)
        assert fields_at_fault(problem_of(answer, 400, "VALIDATION_ERROR")) == {field}
    assert len(imported(server, cafe, row(payment), key=key)["matched"]) == 1


async def test_a_socket_imports_as_well(server: Server, cafe: Cafe) -> None:
    payment = awaited(server, cafe)
    async with server.socket("orders", cafe, cafe.tokens["manager"]) as client:
        fields = {"csv": HEAD + row(payment) + "10/03/2026,1.00,4111111111111111\r\n", "format": FORMAT}
        answer = await client.perform("statements.import", fields, key=new_key())
    assert answer["data"]["matched"][0]["outcome"] == "completed"
    assert len(answer["data"]["errors"]) == 1
