"""A load that does not give up: every request is sent again, under its key, until the server has answered it."""

from random import Random
from typing import Any
from uuid import UUID

import msgspec
import trio

from tabletap.client import Refusal
from tabletap.simulate.baskets import Baskets
from tabletap.simulate.line import Line
from tabletap.simulate.rest import Rest

from .crash_record import Order, Record

PATHS = {
    "orders.start": "/api/orders/{orderId}/start",
    "orders.ready": "/api/orders/{orderId}/ready",
    "orders.complete": "/api/orders/{orderId}/complete",
    "orders.cancel": "/api/orders/{orderId}/cancel",
    "items.bump": "/api/orders/{orderId}/items/{line}/bump",
    "payments.initiate": "/api/payments/initiate",
    "payments.verify": "/api/payments/{paymentId}/verify",
    "payments.refund": "/api/payments/{paymentId}/refund",
}
IN_PATH = ("orderId", "paymentId", "line")
PAUSE_SECONDS = 0.2
UNDER_WAY = {"pending", "processing"}
TENDERED_MORE = 1_000


class Staff:
    """Who works at one cafe: every operation goes over REST or a socket, as chance will have it."""

    def __init__(self, rest: Rest, line: Line, slug: str, token: str, record: Record, chance: Random) -> None:
        self._rest = rest
        self._line = line
        self._slug = slug
        self._token = token
        self._record = record
        self._chance = chance

    def key(self) -> str:
        """A key of the client's choice, the same for the same seed."""
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    async def place(self, body: dict[str, Any], key: str, *, over_socket: bool) -> dict[str, Any]:
        """An order placed, once for the same key and door."""
        if over_socket:
            return await self._over_socket("orders.place", body, key)
        return await self._over_rest("orders.place", f"/api/{self._slug}/orders", body, key)

    async def do(self, op: str, **data: Any) -> dict[str, Any]:
        """An operation done, once. Raises Refusal."""
        key = self.key()
        if self._chance.random() < 0.5:
            return await self._over_socket(op, data, key)
        body = {name: value for name, value in data.items() if name not in IN_PATH or op == "payments.initiate"}
        return await self._over_rest(op, PATHS[op].format(**data), body or None, key)

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """How it stands."""
        while True:
            answer = await self._rest.ask("GET", f"/api/payments/{payment_id}/status", token=self._token)
            if answer.ok:
                return msgspec.json.decode(answer.body, type=dict[str, Any])
            await trio.sleep(PAUSE_SECONDS)

    async def _over_socket(self, op: str, data: dict[str, Any], key: str) -> dict[str, Any]:
        while True:
            try:
                answer = msgspec.json.decode(await self._line.command(op, data, key=key), type=dict[str, Any])
            except Refusal as refusal:
                if refusal.code != "INTERNAL_ERROR":
                    raise
                self._record.surprise(f"socket {op}: {refusal.code}")
                await trio.sleep(PAUSE_SECONDS)
                continue
            self._record.acked += 1
            return answer

    async def _over_rest(self, op: str, path: str, body: dict[str, Any] | None, key: str) -> dict[str, Any]:
        while True:
            answer = await self._rest.ask("POST", path, token=self._token, key=key, body=body)
            if answer.ok:
                self._record.acked += 1
                return msgspec.json.decode(answer.body, type=dict[str, Any])
            if answer.status < 500:
                raise Refusal(op, answer.problem.code, answer.problem.error)
            self._record.surprise(f"REST {op}: {answer.status} {answer.problem.code}")
            await trio.sleep(PAUSE_SECONDS)


class Guest:
    """One customer after another, each served whole: placed, paid in some way, made, handed over; some refunded."""

    def __init__(self, staff: Staff, cafe_id: str, baskets: Baskets, record: Record, chance: Random) -> None:
        self._staff = staff
        self._cafe_id = cafe_id
        self._baskets = baskets
        self._record = record
        self._chance = chance

    async def come(self, closing: trio.Event) -> None:
        """Until closing time; the last one is served."""
        while not closing.is_set():
            try:
                await self._one()
            except Refusal as refusal:
                self._record.surprise(f"refused: {refusal.op} {refusal.code}")
                await trio.sleep(PAUSE_SECONDS)

    async def _one(self) -> None:
        staff, chance = self._staff, self._chance
        body = {"channel": chance.choice(["online", "counter"]), "items": self._baskets.fill()}
        key, over_socket = staff.key(), chance.random() < 0.4
        placed = await staff.place(body, key, over_socket=over_socket)
        order_id = placed["id"]
        order = Order(self._cafe_id, placed["number"], placed["total"])
        if order_id in self._record.orders:
            self._record.surprise("two keys gave the same order")
        self._record.orders[order_id] = order
        if chance.random() < 0.1:
            await staff.do("orders.cancel", orderId=order_id)
            order.end = "cancelled"
        else:
            await self._pay(order_id, order)
            await self._make(order_id, placed, order)
        if chance.random() < 0.15:
            await self._again(body, key, over_socket=over_socket, order_id=order_id)

    async def _again(self, body: dict[str, Any], key: str, *, over_socket: bool, order_id: str) -> None:
        """The same request under the same key, perhaps a crash later, must be the same order."""
        again = await self._staff.place(body, key, over_socket=over_socket)
        self._record.replays += 1
        if again["id"] != order_id:
            self._record.duplicated += 1

    # -- money

    async def _pay(self, order_id: str, order: Order) -> None:
        if order.total == 0:
            return
        how = self._chance.random()
        if how < 0.2:
            await self._cash(order_id, order, None)
        elif how < 0.4:
            await self._transfer(order_id, order)
        elif how < 0.65:
            await self._card(order_id, order)
        elif how < 0.85:
            await self._cash(order_id, order, max(1, order.total // 3))
            await self._cash(order_id, order, None)
        else:
            await self._race(order_id, order)
        if order.paid != order.total:
            self._record.surprise("acknowledged payments do not sum to the order")

    async def _begin(self, order_id: str, method: str, amount: int | None) -> dict[str, Any]:
        part: dict[str, Any] = {} if amount is None else {"amount": amount}
        begun = await self._staff.do("payments.initiate", orderId=order_id, paymentMethod=method, **part)
        self._record.initiated[begun["paymentId"]] = order_id
        return begun

    def _took(self, order: Order, payment: dict[str, Any]) -> None:
        self._record.completed[payment["paymentId"]] = payment["amount"]
        order.paid += payment["amount"]

    async def _cash(self, order_id: str, order: Order, amount: int | None) -> None:
        begun = await self._begin(order_id, "cash", amount)
        tendered = max(1, begun["totalAmount"] + self._chance.randrange(TENDERED_MORE))
        taken = await self._staff.do("payments.verify", paymentId=begun["paymentId"], tendered=tendered)
        if taken["change"] != tendered - begun["totalAmount"]:
            self._record.surprise("wrong change")
        self._took(order, taken)
        if self._chance.random() < 0.15:
            back = self._chance.randint(1, max(1, begun["amount"] // 2))
            await self._staff.do("payments.refund", paymentId=begun["paymentId"], amount=back)
            self._record.refunds[begun["paymentId"]] += 1
            order.refunded += back

    async def _transfer(self, order_id: str, order: Order) -> None:
        begun = await self._begin(order_id, "qr_code_bank_transfer", None)
        seen = await self._staff.do("payments.verify", paymentId=begun["paymentId"], received=begun["totalAmount"])
        self._took(order, seen)

    async def _card(self, order_id: str, order: Order) -> None:
        """At a provider, which goes on while we crash. What it declines is paid in cash."""
        begun = await self._begin(order_id, "payconic_card", None)
        paid = await self._at_rest(begun["paymentId"])
        self._record.at_provider += 1
        if paid["status"] != "completed":
            self._record.declined += 1
            await self._cash(order_id, order, None)
            return
        self._took(order, paid)
        if self._chance.random() < 0.3:
            back = self._chance.randint(1, max(1, begun["amount"] // 2))
            await self._staff.do("payments.refund", paymentId=begun["paymentId"], amount=back)
            self._record.refunds[begun["paymentId"]] += 1
            order.refunded += back
            await self._at_rest(begun["paymentId"])

    async def _at_rest(self, payment_id: str) -> dict[str, Any]:
        """The payment when neither it nor a refund of it is under way."""
        while True:
            payment = await self._staff.payment(payment_id)
            if not {payment["status"], *(refund["status"] for refund in payment.get("refunds", ()))} & UNDER_WAY:
                return payment
            await trio.sleep(PAUSE_SECONDS)

    async def _race(self, order_id: str, order: Order) -> None:
        """Three want to pay the whole: one may, the others are told that nothing is owed."""
        begun: list[dict[str, Any]] = []

        async def try_to_pay() -> None:
            try:
                begun.append(await self._begin(order_id, "cash", order.total))
            except Refusal as refusal:
                if refusal.code not in ("NOTHING_OWED", "AMOUNT_EXCEEDS_OWED"):
                    self._record.surprise(f"race: {refusal.code}")

        async with trio.open_nursery() as racers:
            for _ in range(3):
                racers.start_soon(try_to_pay)
        if len(begun) != 1:
            self._record.surprise(f"{len(begun)} of 3 racing payments were admitted")
        for payment in begun:
            paid = await self._staff.do(
                "payments.verify", paymentId=payment["paymentId"], tendered=payment["totalAmount"] or 1
            )
            self._took(order, paid)

    # -- the kitchen

    async def _make(self, order_id: str, placed: dict[str, Any], order: Order) -> None:
        if self._chance.random() < 0.5:
            for item in placed["items"]:
                await self._staff.do("items.bump", orderId=order_id, line=item["line"])
                self._record.lines_bumped.add((order_id, item["line"]))
        else:
            await self._staff.do("orders.start", orderId=order_id)
            await self._staff.do("orders.ready", orderId=order_id)
        order.end = "ready"
        await self._staff.do("orders.complete", orderId=order_id)
        order.end = "completed"
