"""One run: everybody takes their place, the customers come, all is served, and the server is asked how it ended."""

from collections.abc import Iterable
from random import Random
from typing import Protocol

import msgspec
import trio

from tabletap.client import Server

from .baskets import Baskets, Cafe
from .book import LOOK_SECONDS, Book
from .counter import Counter
from .customers import Customers
from .kitchen import Kitchen
from .line import Line
from .report import Final, Report, judge
from .rest import Rest

PAGE_ORDERS = 500
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
    server, book = Server(options.url), Book(options.orders, options.kitchens)
    rest = Rest(server)
    cafe = await _cafe(rest, options.slug)
    kitchens = [
        Kitchen(server, book, index, options.slug, options.kitchen_token, chance) for index in range(options.kitchens)
    ]
    counter = Counter(server, book, options.slug, options.counter_token)
    customers = Customers(server, rest, book, options.slug, options.counter_token, cafe.tables)
    async with trio.open_nursery() as people:
        people.start_soon(counter.work)
        for kitchen in kitchens:
            people.start_soon(kitchen.work)
        await _welcomed([counter.line, *(kitchen.line for kitchen in kitchens)])
        people.start_soon(_watch, book, progress)
        began = trio.current_time()
        with trio.move_on_after(options.orders / options.rate + options.patience_s):
            await customers.come(Baskets(cafe.menu, chance), options.rate, chance)
            await book.settled()
        seconds = trio.current_time() - began
        people.cancel_scope.cancel()
    _collect(book, rest, counter, kitchens)
    final = await _final(rest, options, book)
    await rest.aclose()
    placing = max((order.acked for order in book.placed.values()), default=began) - began
    return judge(book, final, rate=options.rate, seconds=seconds, placing_seconds=placing), book.notes


async def _cafe(rest: Rest, slug: str) -> Cafe:
    try:
        answer = await rest.request("GET", f"/api/{slug}/menu")
    except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise CannotRun(f"the server does not answer: {error!r}") from error
    if not answer.ok:
        raise CannotRun(f"the menu of {slug!r} cannot be read: {answer.problem.error}")
    return msgspec.json.decode(answer.body, type=Cafe)


async def _welcomed(lines: Iterable[Line]) -> None:
    """Nobody orders before every screen is there."""
    try:
        with trio.fail_after(WELCOME_SECONDS):
            for line in lines:
                await line.welcomed.wait()
    except trio.TooSlowError:
        raise CannotRun(f"not every screen was welcomed within {WELCOME_SECONDS:g} s") from None


async def _watch(book: Book, progress: Progress) -> None:
    while True:
        progress.tell(len(book.placed), book.seen_everywhere, len(book.served))
        await trio.sleep(LOOK_SECONDS)


def _collect(book: Book, rest: Rest, counter: Counter, kitchens: Iterable[Kitchen]) -> None:
    """What the lines have counted, onto the pages of the book."""
    book.repeated = rest.repeated + counter.line.repeated
    book.out_of_order += counter.line.out_of_order
    for screen, kitchen in zip(book.screens, kitchens, strict=True):
        book.repeated += kitchen.line.repeated
        screen.out_of_order = kitchen.line.out_of_order
        screen.resynced = kitchen.line.resynced
        screen.dropped = kitchen.line.dropped.total()


async def _final(rest: Rest, options: Options, book: Book) -> Final:
    """Read the cafe's orders, newest first, until all of ours are found or there are no more."""
    found: dict[str, Row] = {}
    before = ""
    with trio.move_on_after(options.patience_s):
        while len(found) < len(book.placed):
            path = f"/api/{options.slug}/orders?limit={PAGE_ORDERS}{before}"
            answer = await rest.ask("GET", path, token=options.counter_token)
            rows = msgspec.json.decode(answer.body, type=Rows).orders if answer.ok else ()
            if not rows:
                break
            found |= {row.id: row for row in rows if row.id in book.placed}
            before = f"&before={rows[-1].id}"
    return Final(
        found=len(found),
        completed=sum(row.status == "completed" for row in found.values()),
        paid=sum(row.payment_status == "completed" and row.paid == row.total for row in found.values()),
        wrong_total=sum(row.total != book.placed[row.id].total for row in found.values()),
    )
