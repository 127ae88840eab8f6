"""The verdict: all is well only if everything that was acknowledged was seen once by everybody, made and paid."""

import msgspec
import pytest

from tabletap.simulate.book import Book, Placed, Plan
from tabletap.simulate.report import Final, Latency, Report, judge


def judged(book: Book, final: Final | None = None) -> Report:
    count = len(book.placed)
    final = final or Final(found=count, completed=count, paid=count, wrong_total=0)
    return judge(book, final, rate=1.0, seconds=1.0, placing_seconds=1.0)


@pytest.fixture
def book() -> Book:
    """Two orders, seen by both of two screens."""
    book = Book(orders=2, screens=2)
    for number, order_id in enumerate(("a", "b")):
        book.placed[order_id] = Placed(due=number, sent=number, acked=number + 0.2, total=500)
        for screen in book.screens:
            assert screen.arrived(order_id, number + 0.1)
    return book


def test_a_good_run_is_well(book: Book) -> None:
    report = judged(book)
    assert report.well
    assert report.sent_to_screen == Latency(100.0, 100.0, 100.0, 100.0)
    assert report.answer_to_screen.p50_ms == -100.0
    line = msgspec.json.decode(report.to_json())
    assert (line["lost"], line["outOfOrder"], line["p99ms"], line["maxMs"], line["ok"]) == (0, 0, 100.0, 100.0, True)


def test_an_order_that_one_screen_never_saw_is_lost(book: Book) -> None:
    del book.screens[1].arrivals["b"]
    assert (judged(book).lost, judged(book).well) == (1, False)


def test_an_order_that_the_server_does_not_know_any_more_is_lost(book: Book) -> None:
    report = judged(book, Final(found=1, completed=1, paid=1, wrong_total=0))
    assert (report.lost, report.well) == (1, False)


def test_an_order_seen_twice_is_told(book: Book) -> None:
    assert not book.screens[0].arrived("a", 9.0)
    assert (judged(book).duplicated, judged(book).well) == (1, False)


@pytest.mark.parametrize("final", [Final(2, 1, 2, 0), Final(2, 2, 1, 0), Final(2, 2, 2, 1)])
def test_unfinished_unpaid_or_changed_orders_are_not_well(book: Book, final: Final) -> None:
    assert not judged(book, final).well


def test_failures_are_counted_and_the_first_are_kept(book: Book) -> None:
    for _ in range(20):
        book.fail("wrong change", "0 for 5")
    assert (judged(book).failed, judged(book).failures, len(book.notes)) == (20, {"wrong change": 20}, 10)


def test_nobody_else_s_orders_are_ours(book: Book) -> None:
    assert book.plan(book.note(Plan.TRANSFER)) is Plan.TRANSFER
    assert book.plan("no onions please") is None
    assert book.plan(None) is None


def test_percentiles_are_nearest_rank() -> None:
    assert Latency.of(n / 1000 for n in range(1, 101)) == Latency(50.0, 90.0, 99.0, 100.0)
    assert Latency.of([]) == Latency(0.0, 0.0, 0.0, 0.0)
