"""One run: everybody takes their place, the customers come, all is served, and the server is asked how it ended."""

from collections.abc import Callable, Iterable
from random import Random
from typing import Protocol

import msgspec
import trio

from .baskets import Baskets, Cafe
from .book import Book
from .counter import Counter
from .customers import Customers
from .kitchen import Kitchen
from .line import Line
from .report import Final, Report, judge
from .rest import Rest
from .server import Server

PAGE_ORDERS = 500
LOOK_SECONDS = 0.1
WELCOME_SECONDS = 20.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """``patience_s``: how long after the last arrival everything may take to be served."""

    url: str
    slug: str
    kitchen_token: str
    counter_token: str
    orders: int
    rate: float
    kitchens: int
    seed: int
    patience_s: float


class Progress(Protocol):
    def tell(self, placed: int, seen: int, served: int) -> None:
        """How far everything has come."""


class CannotRun(Exception):  # noqa: N818 - read as a sentence
    """There is nothing to run against; the message says why."""


class Row(msgspec.Struct, frozen=True, rename="camel"):
    """An order in the cafe's list, as far as the check needs it."""

    id: str
    status: str
    payment_status: str
    total: int
    paid: int
    note: str | None = None


class Rows(msgspec.Struct, frozen=True):
    orders: tuple[Row, ...]


async def run(options: Options, progress: Progress) -> tuple[Report, list[str]]:
    """Carry one run out. Returns what it came to, and a few words on what went wrong."""
    chance = Random(options.seed)  # noqa: S311 - baskets and pauses, nothing secret
    server = Server(options.url)
    rest = Rest(server)
    book = Book(options.orders, options.kitchens)
    cafe = await _cafe(rest, options.slug)
    kitchens = [
        Kitchen(server, book, index, options.slug, options.kitchen_token, chance) for index in range(options.kitchens)
    ]
    counter = Counter(server, book, options.slug, options.counter_token)
    customers = Customers(server, rest, book, options.slug, options.counter_token, cafe.tables)
    lines = [counter.line, *(kitchen.line for kitchen in kitchens)]
    began = trio.current_time()
    async with trio.open_nursery() as people:
        people.start_soon(counter.work)
        for kitchen in kitchens:
            people.start_soon(kitchen.work)
        await _all_welcomed(lines)
        people.start_soon(_watch, book, progress)
        began = trio.current_time()
        with trio.CancelScope() as patience:
            async with trio.open_nursery() as crowd:
                crowd.start_soon(customers.come, Baskets(cafe.menu, chance), options.rate, chance)
                crowd.start_soon(_be_patient, customers.all_came, patience, options.patience_s)
                await _served(book)
                crowd.cancel_scope.cancel() if patience.cancel_called else None
        ended = trio.current_time()
        people.cancel_scope.cancel()
    _collect(book, counter.line, [kitchen.line for kitchen in kitchens], rest)
    final = await _final(rest, options, book)
    await rest.aclose()
    placing = max((order.acked for order in book.placed.values()), default=began) - began
    report = judge(book, final, rate=options.rate, seconds=ended - began, placing_seconds=placing)
    return report, book.notes
