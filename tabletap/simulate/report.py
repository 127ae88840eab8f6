"""What a run comes to: the check, the figures, and how they are shown."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from .book import Book


class Latency(msgspec.Struct, frozen=True, rename="camel"):
    """Percentiles in milliseconds, by nearest rank."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Latency":
        ordered = sorted(seconds)
        if not ordered:
            return cls(0.0, 0.0, 0.0, 0.0)

        def rank(share: float) -> float:
            return round(ordered[math.ceil(len(ordered) * share) - 1] * 1000, 2)

        return cls(rank(0.5), rank(0.9), rank(0.99), rank(1.0))


class Final(msgspec.Struct, frozen=True):
    """How the server says that our orders ended."""

    found: int
    completed: int
    paid: int
    wrong_total: int


class Report(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Everything that is printed. ``p50Ms`` and so on: from the sending of an order to each kitchen screen."""

    orders: int
    acked: int
    lost: int
    duplicated: int
    out_of_order: int
    completed: int
    paid: int
    failed: int
    kitchens: int
    rate: float
    seconds: float
    placing_seconds: float
    orders_per_second: float
    sent_to_screen: Latency
    answer_to_screen: Latency
    rest: Latency
    client_lag: Latency
    commands: int
    repeated: int
    resynced: int
    dropped: int
    followed: int
    follow_missed: int
    follow_repeated: int
    wrong_total: int
    methods: dict[str, int]
    channels: dict[str, int]
    failures: dict[str, int]

    @property
    def well(self) -> bool:
        """Whether everything is as it must be."""
        wrong = (
            self.lost,
            self.duplicated,
            self.out_of_order,
            self.failed,
            self.follow_missed,
            self.follow_repeated,
            self.wrong_total,
        )
        return not any(wrong) and self.acked == self.completed == self.paid == self.orders

    def to_json(self) -> str:
        """One line, with the percentiles to the screen under the names that outside checks read."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        shown = self.sent_to_screen
        flat = {"p50ms": shown.p50_ms, "p90ms": shown.p90_ms, "p99ms": shown.p99_ms, "maxMs": shown.max_ms}
        return msgspec.json.encode({**fields, **flat, "ok": self.well}).decode()


def judge(book: Book, final: Final, *, rate: float, seconds: float, placing_seconds: float) -> Report:
    """Join what everybody wrote down with how the server says it ended."""
    screens, placed = book.screens, book.placed
    pairs = [
        (order, screen.arrivals[order_id])
        for screen in screens
        for order_id, order in placed.items()
        if order_id in screen.arrivals
    ]
    return Report(
        orders=book.orders,
        acked=len(placed),
        lost=book.unseen + len(placed) - final.found,
        duplicated=sum(screen.duplicated for screen in screens),
        out_of_order=book.out_of_order + sum(screen.out_of_order for screen in screens),
        completed=final.completed,
        paid=final.paid,
        failed=sum(book.failures.values()),
        kitchens=len(screens),
        rate=rate,
        seconds=round(seconds, 2),
        placing_seconds=round(placing_seconds, 2),
        orders_per_second=round(len(placed) / placing_seconds, 1) if placing_seconds else 0.0,
        sent_to_screen=Latency.of(at - order.sent for order, at in pairs),
        answer_to_screen=Latency.of(at - order.acked for order, at in pairs),
        rest=Latency.of(book.rest_seconds),
        client_lag=Latency.of(order.sent - order.due for order in placed.values()),
        commands=book.commands,
        repeated=book.repeated,
        resynced=sum(screen.resynced for screen in screens),
        dropped=sum(screen.dropped for screen in screens),
        followed=book.followed,
        follow_missed=book.followed - book.followed_whole,
        follow_repeated=book.follow_repeated,
        wrong_total=final.wrong_total,
        methods=dict(book.methods),
        channels=dict(book.channels),
        failures=dict(book.failures),
    )


def show(report: Report, notes: Sequence[str], console: Console) -> None:
    """For people."""
    latencies = Table("from ... to ...", "p50", "p90", "p99", "max", title="milliseconds")
    for name, latency in (
        ("order sent to kitchen screen", report.sent_to_screen),
        ("answer to kitchen screen", report.answer_to_screen),
        ("REST request to answer", report.rest),
        ("due to sent (our own lag)", report.client_lag),
    ):
        latencies.add_row(name, *(f"{figure:.1f}" for figure in msgspec.structs.astuple(latency)))
    console.print(latencies)
    counts = Table("what", "count", title=f"{report.kitchens} screens, {report.rate:g} orders/s asked")
    for name in ("orders", "acked", "completed", "paid", "lost", "duplicated", "out_of_order", "failed", "followed"):
        counts.add_row(name.replace("_", " "), str(getattr(report, name)))
    for name in ("follow_missed", "follow_repeated", "commands", "repeated", "resynced", "dropped", "seconds"):
        counts.add_row(name.replace("_", " "), str(getattr(report, name)))
    console.print(counts)
    for note in notes:
        console.print(note, style="red", markup=False)
    console.print("all is well" if report.well else "NOT WELL", style="green" if report.well else "bold red")
