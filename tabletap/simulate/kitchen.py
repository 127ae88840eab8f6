"""Kitchen screens: each sees every order, and each cooks its share of them."""

from random import Random

import msgspec
import trio

from tabletap.client import Event, Refusal, Server

from .book import Book, Screen
from .line import Line

APPEARS = frozenset({"order_created", "new_order", "new_paid_order"})
"""Events with which an order appears on a kitchen's screen."""

THINK_SECONDS = 0.3
"""Longest pause before the next touch of the screen. Real cooks take minutes, which would test nothing more."""

BUMPED_SHARE = 0.25
STARTED_SHARE = 0.6


class Dish(msgspec.Struct, frozen=True):
    """A line of an order, as far as a cook must know it."""

    line: int


class Ticket(msgspec.Struct, frozen=True):
    """An order, as far as a cook must know it."""

    items: tuple[Dish, ...]
    note: str | None = None


class Appeared(msgspec.Struct, frozen=True, rename="camel"):
    """What an event says with which an order appears."""

    order_id: str
    order: Ticket


class Kitchen:
    """One screen: what it sees goes into its page of the book; its share of the orders is cooked here."""

    def __init__(self, server: Server, book: Book, index: int, slug: str, token: str, chance: Random) -> None:
        self._book = book
        self._screen: Screen = book.screens[index]
        self._index = index
        self._chance = chance
        self._cooks: trio.Nursery | None = None
        self._decode = msgspec.json.Decoder(Appeared).decode
        self.line = Line(server, door="kitchen", slug=slug, token=token, on_event=self._heard)

    async def work(self) -> None:
        """Watch and cook until cancelled."""
        async with trio.open_nursery() as self._cooks:
            await self.line.run()

    def _heard(self, heard: Event, at: float) -> None:
        if heard.type not in APPEARS:
            return
        appeared = self._decode(heard.data)
        if self._book.plan(appeared.order.note) is None or not self._screen.arrived(appeared.order_id, at):
            return
        if self._cooks is not None and self._is_ours(appeared.order_id):
            self._cooks.start_soon(self._cook, appeared)

    def _is_ours(self, order_id: str) -> bool:
        """Every order has one cook: which, its id says."""
        return int(order_id[-6:], 16) % len(self._book.screens) == self._index

    async def _cook(self, appeared: Appeared) -> None:
        order_id, chance = appeared.order_id, self._chance
        how = chance.random()
        try:
            await trio.sleep(chance.uniform(0, THINK_SECONDS))
            if how < BUMPED_SHARE:
                for dish in appeared.order.items:
                    await self._touch("items.bump", {"orderId": order_id, "line": dish.line})
                return
            if how < STARTED_SHARE:
                await self._touch("orders.start", {"orderId": order_id})
                await trio.sleep(chance.uniform(0, THINK_SECONDS))
            await self._touch("orders.ready", {"orderId": order_id})
        except Refusal as refusal:
            self._book.fail(f"{refusal.op} {refusal.code}", str(refusal))

    async def _touch(self, op: str, data: dict[str, str | int]) -> None:
        self._book.commands += 1
        await self.line.command(op, data)
