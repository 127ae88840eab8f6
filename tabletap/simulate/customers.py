"""Customers: they come when they come, order, perhaps pay by transfer, and some follow their order to the end.

The load is open: arrivals keep their schedule whatever the server does, so that waiting is counted and not hidden.
"""

from collections.abc import Mapping
from random import Random
from typing import Any
from uuid import uuid4

import msgspec
import trio

from tabletap.client import Client, Event, Server

from .baskets import Baskets
from .book import Book, Placed, Plan
from .line import PAUSES
from .rest import Answer, Rest

CHANNELS = ("online",) * 11 + ("table",) * 7 + ("counter",) * 2
PLANS = (Plan.CASH,) * 9 + (Plan.CASH_LATER,) * 7 + (Plan.TRANSFER,) * 4
TIPS = (0, 0, 0, 0, 100, 250)
FOLLOWED_SHARE = 0.05


class Ordered(msgspec.Struct, frozen=True, rename="camel"):
    """What a customer reads of the answer."""

    id: str
    number: int
    total: int
    tracking_token: str


class News(msgspec.Struct, frozen=True):
    """What a follower reads of an event."""

    status: str | None = None


class Customers:
    """All of them. ``staff_token``: of whoever rings up counter orders."""

    def __init__(
        self, server: Server, rest: Rest, book: Book, slug: str, staff_token: str, tables: tuple[str, ...]
    ) -> None:
        self._server = server
        self._rest = rest
        self._book = book
        self._slug = slug
        self._staff_token = staff_token
        self._tables = tables

    async def come(self, baskets: Baskets, rate: float, chance: Random) -> None:
        """All orders, ``rate`` a second, at random intervals; returns when each is answered and each follower done."""
        due = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(self._book.orders):
                due += chance.expovariate(rate)
                await trio.sleep_until(due)
                plan = chance.choice(PLANS)
                request = self._request(baskets, chance, plan)
                tip = chance.choice(TIPS) if plan is Plan.TRANSFER else 0
                follow_in = nursery if chance.random() < FOLLOWED_SHARE else None
                nursery.start_soon(self._one, request, plan, due, tip, follow_in)

    def _request(self, baskets: Baskets, chance: Random, plan: Plan) -> dict[str, Any]:
        channel = chance.choice(CHANNELS)
        if channel == "table" and not self._tables:
            channel = "online"
        body: dict[str, Any] = {"channel": channel, "items": baskets.fill(), "note": self._book.note(plan)}
        if channel == "table":
            body["table"] = chance.choice(self._tables)
        elif channel == "online":
            body["customer"] = {"name": f"Guest {chance.randrange(1000)}"}
        return body

    async def _one(
        self, request: Mapping[str, Any], plan: Plan, due: float, tip: int, follow_in: trio.Nursery | None
    ) -> None:
        book = self._book
        sent = trio.current_time()
        token = self._staff_token if request["channel"] == "counter" else None
        answer = await self._rest.ask("POST", f"/api/{self._slug}/orders", token=token, key=str(uuid4()), body=request)
        acked = trio.current_time()
        book.rest_seconds.append(acked - sent)
        if answer.status != 201:
            book.refused += 1
            _blame(book, "order refused", answer)
            return
        order = msgspec.json.decode(answer.body, type=Ordered)
        book.placed[order.id] = Placed(due, sent, acked, order.total)
        book.channels[request["channel"]] += 1
        book.methods[plan.value] += 1
        if follow_in is not None:
            follow_in.start_soon(self._follow, order)
        if plan is Plan.TRANSFER:
            await self._transfer(order, tip)

    async def _transfer(self, order: Ordered, tip: int) -> None:
        """Begin to pay by bank transfer, as the customer's page does with the tracking token."""
        body = {"orderId": order.id, "paymentMethod": "qr_code_bank_transfer", "tipAmount": tip}
        began = trio.current_time()
        answer = await self._rest.ask(
            "POST", "/api/payments/initiate", token=order.tracking_token, key=str(uuid4()), body=body
        )
        self._book.rest_seconds.append(trio.current_time() - began)
        if answer.status != 201:
            _blame(self._book, "transfer refused", answer)
        elif b"data:image/png;base64," not in answer.body:
            self._book.fail("transfer without a code to scan")

    async def _follow(self, order: Ordered) -> None:
        """Watch the own order until it is handed over, as the customer's page does: every step once, in order."""
        book = self._book
        book.followed += 1
        steps: list[str] = []
        async with Client(
            self._server,
            door="customers",
            cafe=self._slug,
            token=order.tracking_token,
            check_every_s=None,
            pauses=PAUSES,
        ) as client:
            await client.welcomed.wait()
            steps.append(await self._as_it_stands(order))
            while "completed" not in steps:
                message = await anext(client)
                if isinstance(message, Event):
                    self._step(message, steps)
            book.out_of_order += client.figures.repeated + client.figures.late
        book.followed_whole += 1

    async def _as_it_stands(self, order: Ordered) -> str:
        """The order's status: what happened before the socket was there."""
        answer = await self._rest.ask("GET", f"/api/orders/{order.id}", token=order.tracking_token)
        if not answer.ok:
            _blame(self._book, "order not shown to its customer", answer)
            return ""
        return msgspec.json.decode(answer.body, type=News).status or ""

    def _step(self, heard: Event, steps: list[str]) -> None:
        """A status the order has moved to. Only the first may be what the order itself has told already."""
        status = msgspec.json.decode(heard.data, type=News).status
        if not heard.type.startswith("order_") or status is None:
            return
        if status == steps[-1] and len(steps) > 1:
            self._book.follow_repeated += 1
        steps.append(status)


def _blame(book: Book, what: str, answer: Answer) -> None:
    problem = answer.problem
    book.fail(f"{what} ({answer.status} {problem.code})", problem.error)
