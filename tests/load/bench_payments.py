"""``python -m tests.load.bench_payments --payments 600``: how long a payment takes, and the door of the webhooks.

Server, Postgres, provider (the sandbox) and load share the machine, each as a process of its own, as its users run it.
Orders are placed first and not measured. Then, one after the other:

- ``steady``: payments by card are begun at a fixed rate, whoever waits; the provider approves at once.
- ``crowd``: so many customers at once, each with one payment after the other.
- ``cash``: the same crowd pays cash, for comparison: no provider, no webhook.
- ``storm``: webhooks of payments that wait for them, rightly signed, so many at once.

A payment is complete when a counter's socket says so; its time runs from the start of the request that began it.
``steps`` are the answers on the way: ``webhook`` is taken where the webhook is sent. ``health`` asks ``/health`` five
times a second throughout: what the machine and the load itself add to every figure.
"""

import argparse
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import trio

from tabletap.client import Event
from tabletap.gateways.sandbox.wire import SIGNATURE_HEADER, sign
from tabletap.simulate.baskets import Baskets, Cafe
from tabletap.simulate.line import Line
from tabletap.simulate.report import Latency
from tabletap.simulate.rest import Connection, Rest

from .crash_server import CrashServer
from .payment_figures import Begun, Phase, Result, succeeded
from .sandbox_server import SECRET, SandboxServer, server_and_provider
from .spent import Spent
from .tool import say, until_interrupted

PATIENCE_SECONDS = 60.0
PROBE_SECONDS = 0.2
IDLE_SECONDS = 2.0
WARM_UP = 40
WEBHOOK_MEDIAN_MS = 50.0
"""No more than this under load (spec H1)."""


class _News(msgspec.Struct, rename="camel"):
    payment_id: str
    status: str = ""


class _Order(msgspec.Struct):
    id: str = ""
    total: int = 0


class _Webhook(NamedTuple):
    payment_id: str
    body: bytes


class WentWrong(Exception):  # noqa: N818 - named by what is the case
    """An answer that leaves nothing to measure."""


class _Took:
    """What is noted while a phase runs: when each payment began, how long the steps took, how the server felt."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.steps: dict[str, list[float]] = {}
        self.health: list[float] = []

    def step(self, name: str, began: float) -> None:
        self.steps.setdefault(name, []).append(trio.current_time() - began)


class Bench:
    """One run against one cafe. ``rate``: of the steady phase, per second."""

    def __init__(
        self, server: CrashServer, sandbox: SandboxServer, *, payments: int, rate: float, at_once: int, seed: int = 1
    ) -> None:
        self._server = server
        self._sandbox = sandbox
        self._payments = payments
        self._rate = rate
        self._at_once = at_once
        self._chance = Random(seed)
        self._rest = Rest(server.server)
        self._idle: list[Connection] = []
        self._seen: dict[tuple[str, str], float] = {}
        self._awaited: dict[tuple[str, str], trio.Event] = {}
        self._decode = msgspec.json.Decoder(_News).decode

    async def run(self) -> Result:
        began = trio.current_time()
        await self._sandbox.ready()
        await self._server.start()
        slug, token = self._server.demo["cafe"]["slug"], self._server.demo["tokens"]["counter"]
        answer = await self._rest.ask("GET", f"/api/{slug}/menu")
        self._baskets = Baskets(msgspec.json.decode(answer.body, type=Cafe).menu, self._chance)
        self._line = Line(
            self._server.server, door="counter", slug=slug, token=token, on_event=self._heard, at_once=self._at_once
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._line.run)
            await self._line.welcomed.wait()
            result = await self._phases()
            nursery.cancel_scope.cancel()
        await self._rest.aclose()
        for connection in self._idle:
            await connection.aclose()
        await self._server.stop()
        result.seconds = round(trio.current_time() - began, 1)
        return result

    async def _phases(self) -> Result:
        count, crowd = self._payments, self._crowd
        await self._sandbox.ask("POST", "/control/auto", {"approveAfterMs": [0, 0]})
        idle: list[float] = []
        with trio.move_on_after(IDLE_SECONDS):
            await self._probe(idle)
        await self._phase("warm-up", await self._orders(WARM_UP), partial(crowd, self._by_card))
        placing = trio.current_time()
        orders = await self._orders(count)
        orders_per_second = round(count / (trio.current_time() - placing), 1)
        steady = await self._phase("steady", orders, self._steadily)
        crowded = await self._phase("crowd", await self._orders(count), partial(crowd, self._by_card))
        cash = await self._phase("cash", await self._orders(count), partial(crowd, self._by_cash))
        storm = await self._phase("storm", await self._waiting(await self._orders(count)), partial(crowd, self._tell))
        return Result(
            steady_rate_per_second=self._rate,
            at_once=self._at_once,
            orders_per_second=orders_per_second,
            idle_health=Latency.of(idle),
            steady=steady,
            crowd=crowded,
            cash=cash,
            storm=storm,
            crowd_to_cash=round(crowded.server_cpu_ms / (cash.server_cpu_ms or 1.0), 2),
            webhook_median_ms=steady.steps["webhook"].p50_ms,
            incomplete=sum(phase.payments - phase.completed for phase in (steady, crowded, cash, storm)),
            repeated=self._rest.repeated + self._line.repeated,
            seconds=0.0,
        )

    # -- phases

    async def _phase(
        self, name: str, things: Sequence[Any], pay: Callable[[Sequence[Any], _Took], Awaitable[None]]
    ) -> Phase:
        took = _Took()
        delivered = (await self._sandbox.ask("GET", "/control/deliveries"))["answered"]
        before, calls, began = self._spent(), await self._calls(), trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe, took.health)
            await pay(things, took)
            for ident in took.begun:
                await self._until(ident, "completed")
            nursery.cancel_scope.cancel()
        after, calls_after, paid = self._spent(), await self._calls(), len(things)
        ends = {ident: self._seen.get((ident, "completed")) for ident in took.begun}
        completed = [(took.begun[ident], at) for ident, at in ends.items() if at is not None]
        told = await self._sandbox.ask("GET", "/control/deliveries")
        if told["answered"] > delivered:
            took.steps["webhook"] = [ms / 1000 for ms in told["tookMs"][delivered - told["answered"] :]]
        seconds = max((at for _, at in completed), default=began) - began
        phase = Phase(
            payments=paid,
            completed=len(completed),
            per_second=round(len(completed) / seconds, 1) if seconds else 0.0,
            to_completed=Latency.of(at - start for start, at in completed),
            steps={step: Latency.of(times) for step, times in took.steps.items()},
            health=Latency.of(took.health),
            server_cpu_ms=round((after.server - before.server) / paid * 1000, 2),
            postgres_cpu_ms=round((after.postgres - before.postgres) / paid * 1000, 2),
            sandbox_cpu_ms=round((after.beside - before.beside) / paid * 1000, 2),
            database_calls=round((calls_after - calls) / paid, 1),
        )
        say(
            f"{name}: {phase.completed} of {paid} completed, {phase.per_second} per second, "
            f"p50 {phase.to_completed.p50_ms} ms, p99 {phase.to_completed.p99_ms} ms, "
            f"CPU {phase.server_cpu_ms} ms and {phase.database_calls} calls of the database each"
        )
        return phase

    async def _steadily(self, orders: Sequence[str], took: _Took) -> None:
        """At the fixed rate, whoever waits."""
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, order in enumerate(orders):
                await trio.sleep_until(began + number / self._rate)
                nursery.start_soon(self._by_card, order, took)

    async def _crowd(self, pay: Callable[[Any, _Took], Awaitable[None]], things: Sequence[Any], took: _Took) -> None:
        """So many at once, each with one after the other."""
        left = list(reversed(things))

        async def one_after_the_other() -> None:
            while left:
                await pay(left.pop(), took)

        async with trio.open_nursery() as nursery:
            for _ in range(self._at_once):
                nursery.start_soon(one_after_the_other)

    async def _by_card(self, order: str, took: _Took) -> None:
        """Until it is complete: a customer does not leave before."""
        begun = await self._initiate(order, "payconic_card", took)
        await self._until(begun.payment_id, "completed")

    async def _by_cash(self, order: str, took: _Took) -> None:
        begun = await self._initiate(order, "cash", took)
        began = trio.current_time()
        await self._post(f"/api/payments/{begun.payment_id}/verify", {"tendered": begun.total_amount})
        took.step("verify", began)

    async def _tell(self, webhook: "_Webhook", took: _Took) -> None:
        server = self._server.server
        took.begun[webhook.payment_id] = began = trio.current_time()
        connection = self._idle.pop() if self._idle else Connection(await server.dial(), server.authority)
        headers = [("content-type", "application/json"), (SIGNATURE_HEADER, sign(SECRET, webhook.body))]
        answer = await connection.exchange("POST", "/api/webhooks/payconic", headers, webhook.body)
        took.step("webhook", began)
        if answer.status != 200:
            raise WentWrong(f"a webhook was answered {answer.status} {answer.problem}")
        if connection.ready_again():
            self._idle.append(connection)
        else:
            await connection.aclose()

    # -- what they need

    async def _orders(self, count: int) -> list[str]:
        """So many orders that are to be paid."""
        placed: list[str] = []

        async def place(_: int, __: _Took) -> None:
            order = _Order()
            while not order.total:
                basket = {"channel": "counter", "items": self._baskets.fill()}
                order = msgspec.json.decode(await self._line.command("orders.place", basket), type=_Order)
            placed.append(order.id)

        await self._crowd(place, range(count), _Took())
        return placed

    async def _initiate(self, order: str, way: str, took: _Took) -> Begun:
        began = trio.current_time()
        answer = await self._post("/api/payments/initiate", {"orderId": order, "paymentMethod": way})
        took.step("initiate", began)
        begun = msgspec.json.decode(answer, type=Begun)
        took.begun[begun.payment_id] = began
        return begun

    async def _post(self, path: str, body: object) -> bytes:
        key = str(UUID(int=self._chance.getrandbits(128), version=4))
        token = self._server.demo["tokens"]["counter"]
        answer = await self._rest.ask("POST", path, token=token, key=key, body=body)
        if not answer.ok:
            raise WentWrong(f"{path}: {answer.status} {answer.problem}")
        return answer.body

    async def _waiting(self, orders: Sequence[str]) -> list["_Webhook"]:
        """Payments of these orders that the provider has, each with the webhook that will complete it."""
        await self._sandbox.ask("POST", "/control/auto", {})
        begun: list[Begun] = []

        async def begin(order: str, took: _Took) -> None:
            begun.append(await self._initiate(order, "payconic_card", took))
            await self._until(begun[-1].payment_id, "processing")

        await self._crowd(begin, orders, _Took())
        statement = await self._sandbox.ask("GET", "/control/statement")
        ids = {payment["merchantReference"]: payment["id"] for payment in statement["payments"]}
        return [_Webhook(one.payment_id, succeeded(one, ids[one.payment_id])) for one in begun]

    # -- what is seen

    def _heard(self, heard: Event, at: float) -> None:
        if heard.type == "payment_update":
            news = self._decode(heard.data)
            self._seen[news.payment_id, news.status] = at
            waiting = self._awaited.pop((news.payment_id, news.status), None)
            if waiting is not None:
                waiting.set()

    async def _until(self, payment_id: str, status: str) -> None:
        """Wait until the counter has seen it, or has lost patience."""
        if (payment_id, status) not in self._seen:
            event = self._awaited.setdefault((payment_id, status), trio.Event())
            with trio.move_on_after(PATIENCE_SECONDS):
                await event.wait()

    async def _probe(self, took: list[float]) -> None:
        """How long the server takes to say that it lives, asked at a fixed rate."""
        at = trio.current_time()
        while True:
            await trio.sleep_until(at := at + PROBE_SECONDS)
            await self._rest.ask("GET", "/health")
            took.append(trio.current_time() - at)

    async def _calls(self) -> float:
        """Transactions and lone statements of the server, so far."""
        lines = (await self._rest.ask("GET", "/metrics")).body.decode().splitlines()
        wanted = ("tabletap_database_transactions ", "tabletap_database_reads ")
        return sum(float(line.split(" ")[1]) for line in lines if line.startswith(wanted))

    def _spent(self) -> Spent:
        return Spent.by(self._server.pid, self._server.postgres_pid, self._sandbox.pid)


def bench(payments: int, rate: float, at_once: int) -> Result:
    """Run it; everything that was started has ended afterwards. Raises DidNotStart or WentWrong."""
    with server_and_provider() as (server, sandbox):
        try:
            return trio.run(Bench(server, sandbox, payments=payments, rate=rate, at_once=at_once).run)
        except Exception:
            say(server.tail())
            raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.bench_payments", description=__doc__)
    parser.add_argument("--payments", type=int, default=600, help="of each phase")
    parser.add_argument("--rate", type=float, default=15.0, help="payments per second of the steady phase")
    parser.add_argument("--at-once", type=int, default=32, help="customers of the crowd, webhooks of the storm")
    arguments = parser.parse_args()
    result = until_interrupted(lambda: bench(arguments.payments, arguments.rate, arguments.at_once))
    within = "is" if result.webhook_median_ms <= WEBHOOK_MEDIAN_MS else "IS NOT"
    say(f"a webhook is answered in {result.webhook_median_ms} ms (median), which {within} within {WEBHOOK_MEDIAN_MS}")
    print(msgspec.json.encode(result).decode())
    return 0 if result.well else 1


if __name__ == "__main__":
    sys.exit(main())
