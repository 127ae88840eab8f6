"""``python -m tests.load.chaos_payments``: money is counted once, whatever providers, networks and power cuts do.

Orders are paid in every way while the provider times out after it has charged, sends its webhooks twice, in the wrong
order and forged, goes away for a while, and the server is killed again and again. When all is quiet, what the provider
says it has taken and given back must be what TableTap says, payment by payment.
"""

import argparse
import sys
import time
from random import Random, SystemRandom
from typing import Any
from uuid import UUID

import httpx
import msgspec
import trio

from tabletap.simulate.baskets import Baskets, Cafe
from tabletap.simulate.rest import Rest

from .chaos_check import Verdict, judge, left_over
from .crash_server import CrashServer, DidNotStart
from .sandbox_server import SandboxServer, server_and_provider
from .tool import say, until_interrupted

MISCHIEF = {"timeoutAfterCharging": 0.2, "duplicate": 0.3, "reorder": 0.3, "forge": 0.05, "delayMs": [0, 300]}
AUTO = {"approveAfterMs": [20, 800], "decline": 0.1}
WAYS = (
    ("payconic_card",) * 5
    + ("payconic_digital_wallet",) * 2
    + ("payconic_bank_transfer", "cash", "qr_code_bank_transfer", "customer_credit", "customer_credit")
)
DOWN_SECONDS = 20.0
KILL_WITHIN_SECONDS = 3.0
GUESTS = 12
FINAL_SECONDS = 180.0
QUIET_SECONDS = 240.0
CREDIT_OF_EACH = 200_00
CUSTOMERS = 20
UNDER_WAY = ("pending", "processing")


class Result(msgspec.Struct, rename="camel"):
    """All of it, as printed."""

    orders: int
    payments: int
    charged: int
    recorded: int
    mismatches: int
    double_charges: int
    ledger_sum: int
    stuck: int
    dead_letters: int
    forged: int
    rejected: int
    audit_complaints: int
    kills: int
    declined: int
    refunds: int
    surprises: dict[str, int]
    seed: int
    seconds: float

    @property
    def well(self) -> bool:
        wrong = (self.mismatches, self.double_charges, self.ledger_sum, self.stuck, self.dead_letters)
        return not any((*wrong, self.audit_complaints, *self.surprises.values())) and self.charged == self.recorded > 0


class Chaos:
    """One run."""

    def __init__(self, server: CrashServer, sandbox: SandboxServer, orders: int, kills: int, seed: int) -> None:
        self._server = server
        self._sandbox = sandbox
        self._orders = orders
        self._kills = kills
        self._chance = Random(seed)
        self._seed = seed
        self._rest = Rest(server.server)
        self._baskets: Baskets | None = None
        self._left = orders
        self._placed = 0
        self._declined = 0
        self._refunds = 0
        self._surprises: dict[str, int] = {}
        self._forged = 0

    async def run(self) -> Result:
        began = time.monotonic()
        await self._sandbox.ready()
        await self._sandbox.ask("POST", "/control/auto", AUTO)
        await self._sandbox.ask("POST", "/control/misbehave", {**MISCHIEF, "seed": self._seed})
        await self._server.start()
        await self._prepare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_again_and_again)
            nursery.start_soon(self._go_down)
            async with trio.open_nursery() as guests:
                for _ in range(GUESTS):
                    guests.start_soon(self._guest)
        say(f"{self._placed} orders served after {time.monotonic() - began:.0f} s; waiting for quiet")
        await self._sandbox.ask("POST", "/control/misbehave", {})
        await self._quiet()
        statement = await self._sandbox.ask("GET", "/control/statement")
        verdict = await trio.to_thread.run_sync(judge, self._server.state, statement)
        await self._rest.aclose()
        await self._server.stop()
        return self._result(verdict, time.monotonic() - began)

    # -- guests

    async def _prepare(self) -> None:
        slug = self._server.demo["cafe"]["slug"]
        answer = await self._rest.ask("GET", f"/api/{slug}/menu")
        self._baskets = Baskets(msgspec.json.decode(answer.body, type=Cafe).menu, self._chance)
        for number in range(CUSTOMERS):
            body = {"cafe": slug, "customerId": f"guest-{number}", "amount": CREDIT_OF_EACH, "reason": "welcome"}
            answer = await self._rest.ask("POST", "/api/credits/add", token=self._token, key=self._key(), body=body)
            if not answer.ok:
                raise DidNotStart(f"no credit: {answer.status} {answer.problem}")

    @property
    def _token(self) -> str:
        return str(self._server.demo["tokens"]["admin"])

    def _key(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    async def _guest(self) -> None:
        while self._left > 0:
            self._left -= 1
            await self._one()
            self._placed += 1

    async def _one(self) -> None:
        """One order, tried in one way after the other until it is paid; some of it given back."""
        assert self._baskets is not None
        slug = self._server.demo["cafe"]["slug"]
        basket = {"channel": "counter", "items": self._baskets.fill()}
        order = await self._do(f"/api/{slug}/orders", basket)
        if order is None or order["total"] == 0:
            return
        for _ in range(6):
            owed = (await self._get(f"/api/orders/{order['id']}"))["owed"]
            if owed == 0:
                break
            payment = await self._pay(order["id"], self._chance.choice(WAYS), owed)
            if payment and self._chance.random() < 0.2 and payment["status"] == "completed":
                await self._give_back(payment)
                return

    async def _pay(self, order_id: str, way: str, owed: int) -> dict[str, Any] | None:
        body: dict[str, Any] = {"orderId": order_id, "paymentMethod": way}
        if self._chance.random() < 0.3 and owed > 1:
            body["amount"] = owed // 2
        if way != "customer_credit" and self._chance.random() < 0.3:
            body["tipAmount"] = 100
        body["customerId"] = f"guest-{self._chance.randrange(CUSTOMERS)}"
        begun = await self._do("/api/payments/initiate", body, refused=("NOTHING_OWED", "INSUFFICIENT_FUNDS"))
        if begun is None:
            return None
        path = f"/api/payments/{begun['paymentId']}"
        if way == "cash":
            return await self._do(f"{path}/verify", {"tendered": begun["totalAmount"] + 100})
        if way == "qr_code_bank_transfer":
            return await self._do(f"{path}/verify", {"received": begun["totalAmount"]})
        if self._chance.random() < 0.05:
            await self._do(f"{path}/cancel", {}, refused=("ILLEGAL_MOVE",))
        with trio.move_on_after(FINAL_SECONDS):
            while True:
                payment: dict[str, Any] = await self._get(f"{path}/status")
                if payment["status"] not in UNDER_WAY:
                    self._declined += payment["status"] == "failed"
                    return payment
                await trio.sleep(0.2)
        self._surprise(f"{way} was not final in time")
        return None

    async def _give_back(self, payment: dict[str, Any]) -> None:
        amount = self._chance.randint(1, max(1, payment["amount"]))
        to = self._chance.choice(("original", "credit"))
        asked = await self._do(
            f"/api/payments/{payment['paymentId']}/refund",
            {"amount": amount, "to": to, "reason": "chaos"},
            refused=("REFUND_EXCEEDS_ORIGINAL", "ILLEGAL_MOVE"),
        )
        self._refunds += asked is not None

    async def _do(self, path: str, body: object, refused: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """Asked until it is answered, under one key; None: refused as it may be."""
        key = self._key()
        while True:
            answer = await self._rest.ask("POST", path, token=self._token, key=key, body=body)
            if answer.ok:
                return msgspec.json.decode(answer.body, type=dict[str, Any])
            code = answer.problem.code
            if answer.status < 500:
                if code not in refused:
                    self._surprise(f"{path.rsplit('/', 1)[-1]}: {code}")
                return None
            await trio.sleep(0.2)

    async def _get(self, path: str) -> Any:
        answer = await self._rest.ask("GET", path, token=self._token)
        return msgspec.json.decode(answer.body)

    def _surprise(self, what: str) -> None:
        self._surprises[what] = self._surprises.get(what, 0) + 1

    # -- what goes wrong

    async def _kill_again_and_again(self) -> None:
        """Spread over the run: each when a further part of the orders is served."""
        for number in range(self._kills):
            while self._placed < self._orders * (number + 0.5) / self._kills:  # noqa: ASYNC110 - twelve guests tell nobody
                await trio.sleep(0.1)
            await trio.sleep(self._chance.uniform(0.0, KILL_WITHIN_SECONDS))
            self._server.kill()
            self._server.launch()
            await self._server.ready()
            say(f"kill {number + 1}/{self._kills}: {self._placed} orders so far")

    async def _go_down(self) -> None:
        await trio.sleep(self._chance.uniform(3.0, 10.0))
        await self._sandbox.ask("POST", "/control/down", {"seconds": DOWN_SECONDS})
        say(f"the provider is away for {DOWN_SECONDS:.0f} s")

    async def _quiet(self) -> None:
        """Until nothing is under way, at the provider or here; what still is then, is stuck."""
        with trio.move_on_after(QUIET_SECONDS):
            while True:
                try:
                    told = await self._sandbox.ask("GET", "/control/quiet")
                except httpx.TransportError:
                    told = {"quiet": False}
                waiting = await trio.to_thread.run_sync(left_over, self._server.state)
                if told["quiet"] and not waiting:
                    return
                await trio.sleep(1.0)

    def _result(self, verdict: Verdict, seconds: float) -> Result:
        for note in verdict.notes:
            say(f"  {note}")
        return Result(
            orders=self._placed,
            payments=verdict.payments,
            charged=verdict.charged,
            recorded=verdict.recorded,
            mismatches=verdict.mismatches,
            double_charges=verdict.double_charges,
            ledger_sum=verdict.ledger_sum,
            stuck=verdict.stuck,
            dead_letters=verdict.dead_letters,
            forged=verdict.forged,
            rejected=verdict.rejected,
            audit_complaints=verdict.audit_complaints,
            kills=self._kills,
            declined=self._declined,
            refunds=self._refunds,
            surprises=self._surprises,
            seed=self._seed,
            seconds=round(seconds, 1),
        )


def chaos(orders: int, kills: int, seed: int) -> Result:
    """Run it; everything that was started has ended afterwards. Raises DidNotStart."""
    with server_and_provider() as (server, sandbox):
        try:
            return trio.run(Chaos(server, sandbox, orders, kills, seed).run)
        except Exception:
            say(server.tail())
            raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.chaos_payments", description=__doc__)
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000))
    arguments = parser.parse_args()
    result = until_interrupted(lambda: chaos(arguments.orders, arguments.kills, arguments.seed))
    print("all is well" if result.well else "NOT WELL")
    print(msgspec.json.encode(result).decode())
    return 0 if result.well else 1


if __name__ == "__main__":
    sys.exit(main())
