"""The counter: hears of every order and payment, takes cash, sees transfers arrive, and hands over what is ready."""

from typing import Any
from uuid import uuid4

import msgspec
import trio

from tabletap.client import Event, Refusal, Server

from .book import Book, Plan
from .line import Line

NOTES_CENTS = 500
"""People pay with notes: what they tender is a multiple of the smallest one."""

COMMANDS_AT_ONCE = 64


class Ordered(msgspec.Struct, frozen=True, rename="camel"):
    """An order, as far as a till must know it."""

    accepted: bool = True
    in_kitchen: bool = True
    note: str | None = None


class News(msgspec.Struct, frozen=True, rename="camel"):
    """What the staff's room says of orders and payments, as far as it matters here."""

    order_id: str = ""
    order: Ordered | None = None
    status: str | None = None
    owed: int | None = None
    payment_id: str | None = None
    payment_method: str | None = None
    total_amount: int | None = None


class Payment(msgspec.Struct, frozen=True, rename="camel"):
    """A payment as the till is answered."""

    payment_id: str
    status: str
    total_amount: int
    change: int | None = None
    received: int | None = None


class Tab:
    """One order on its way over the counter."""

    __slots__ = ("paid", "ready")

    def __init__(self) -> None:
        self.ready = trio.Event()
        self.paid = trio.Event()


class Counter:
    """A counter with one till, which everybody there works at."""

    def __init__(self, server: Server, book: Book, slug: str, token: str) -> None:
        self._book = book
        self._tabs: dict[str, Tab] = {}
        self._people: trio.Nursery | None = None
        self._decode = msgspec.json.Decoder(News).decode
        self.line = Line(server, door="counter", slug=slug, token=token, on_event=self._heard, at_once=COMMANDS_AT_ONCE)

    async def work(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as self._people:
            await self.line.run()

    # -- what is heard

    def _heard(self, heard: Event, at: float) -> None:
        del at
        news = self._decode(heard.data)
        if heard.type == "order_created" and news.order is not None:
            self._greet(news.order_id, news.order)
            return
        tab = self._tabs.get(news.order_id)
        if tab is None:
            return
        if heard.type == "kitchen_order_ready":
            tab.ready.set()
        elif heard.type == "payment_update":
            self._payment(news)
        elif news.owed == 0:
            tab.paid.set()

    def _greet(self, order_id: str, order: Ordered) -> None:
        plan = self._book.plan(order.note)
        if plan is None or order_id in self._tabs or self._people is None:
            return
        self._tabs[order_id] = tab = Tab()
        self._people.start_soon(self._serve, order_id, order, plan, tab)

    def _payment(self, news: News) -> None:
        """A transfer that its customer has begun."""
        begun = news.status == "pending" and news.payment_method == "qr_code_bank_transfer"
        if begun and news.payment_id is not None and news.total_amount is not None and self._people is not None:
            payment = Payment(news.payment_id, "pending", news.total_amount)
            self._people.start_soon(self._see_transfer, payment)

    # -- what is done

    async def _serve(self, order_id: str, order: Ordered, plan: Plan, tab: Tab) -> None:
        """One order from its first appearance to the hand-over."""
        try:
            if not order.accepted:
                await self._do("orders.accept", {"orderId": order_id})
            if plan is Plan.CASH_LATER and order.in_kitchen:
                await tab.ready.wait()
            if plan is not Plan.TRANSFER:
                await self._take_cash(order_id)
            await tab.paid.wait()
            await tab.ready.wait()
            await self._do("orders.complete", {"orderId": order_id})
        except Refusal as refusal:
            self._book.fail(f"{refusal.op} {refusal.code}", str(refusal))
        else:
            self._book.served.add(order_id)
        finally:
            del self._tabs[order_id]

    async def _take_cash(self, order_id: str) -> None:
        begun = await self._pay("payments.initiate", {"orderId": order_id, "paymentMethod": "cash"})
        tendered = -(-max(1, begun.total_amount) // NOTES_CENTS) * NOTES_CENTS
        taken = await self._pay("payments.verify", {"paymentId": begun.payment_id, "tendered": tendered})
        if taken.status != "completed" or taken.change != tendered - begun.total_amount:
            self._book.fail("wrong change", f"{tendered} for {begun.total_amount} gave {taken.change}, {taken.status}")

    async def _see_transfer(self, payment: Payment) -> None:
        data = {"paymentId": payment.payment_id, "received": payment.total_amount}
        try:
            seen = await self._pay("payments.verify", data)
        except Refusal as refusal:
            self._book.fail(f"{refusal.op} {refusal.code}", str(refusal))
            return
        if seen.status != "completed" or seen.received != payment.total_amount:
            self._book.fail("transfer not taken", f"{payment.total_amount}: {seen.status}")

    async def _pay(self, op: str, data: dict[str, Any]) -> Payment:
        self._book.commands += 1
        return msgspec.json.decode(await self.line.command(op, data, key=str(uuid4())), type=Payment)

    async def _do(self, op: str, data: dict[str, Any]) -> None:
        self._book.commands += 1
        await self.line.command(op, data)
