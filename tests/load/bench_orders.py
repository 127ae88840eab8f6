"""``python -m tests.load.bench_orders --orders 100000``: a cafe's memory and cost per order stay flat over its life.

The server runs as its users run it, in its own process; orders are placed, made and handed over by socket commands, so
that what is measured is the server's CPU time and memory and not a client's. The first tenth is compared with the last.
"""

import argparse
import itertools
import sys
import time
from random import Random

import msgspec
import psutil
import trio
from rich.console import Console
from rich.progress import Progress

from tabletap.simulate.baskets import Baskets, Cafe
from tabletap.simulate.line import Line
from tabletap.simulate.rest import Rest

from .crash_server import CrashServer
from .spent import Spent

AT_ONCE = 48
TENTHS = 10
MB = 1024 * 1024


class Sample(msgspec.Struct):
    """Where the server stood after so many orders."""

    orders: int
    wall: float
    server_cpu: float
    postgres_cpu: float
    rss_mb: float


class Result(msgspec.Struct, rename="camel"):
    """``ratio``: CPU time per order at the end against the start, server and Postgres together."""

    orders: int
    rss_start_mb: float
    rss_end_mb: float
    cost_start_us: float
    cost_end_us: float
    ratio: float
    server_start_us: float
    server_end_us: float
    postgres_start_us: float
    postgres_end_us: float
    rss_by_tenth_mb: list[float]
    cost_by_tenth_us: list[float]
    orders_per_second: float
    seconds: float


class Ordered(msgspec.Struct, frozen=True):
    id: str


class Bench:
    """One run against one cafe."""

    def __init__(self, server: CrashServer, orders: int, bar: Progress) -> None:
        self._server = server
        self._orders = orders
        self._bar = bar
        self._task = bar.add_task("orders", total=orders)
        self._begun = 0
        self._done = 0
        self._samples: list[Sample] = []

    async def run(self) -> Result:
        await self._server.start()
        slug, token = self._server.demo["cafe"]["slug"], self._server.demo["tokens"]["counter"]
        rest = Rest(self._server.server)
        answer = await rest.ask("GET", f"/api/{slug}/menu")
        await rest.aclose()
        baskets = Baskets(msgspec.json.decode(answer.body, type=Cafe).menu, Random(1))
        staff = Line(
            self._server.server,
            door="counter",
            slug=slug,
            token=token,
            on_event=lambda heard, at: None,
            at_once=AT_ONCE,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(staff.run)
            await staff.welcomed.wait()
            self._sample()
            async with trio.open_nursery() as people:
                for _ in range(AT_ONCE):
                    people.start_soon(self._serve, staff, baskets)
            nursery.cancel_scope.cancel()
        return self._result()

    async def _serve(self, staff: Line, baskets: Baskets) -> None:
        """One order after the other, each placed, made and handed over."""
        while self._begun < self._orders:
            self._begun += 1
            placed = await staff.command("orders.place", {"channel": "online", "items": baskets.fill()})
            order_id = msgspec.json.decode(placed, type=Ordered).id
            await staff.command("orders.ready", {"orderId": order_id})
            await staff.command("orders.complete", {"orderId": order_id})
            self._done += 1
            self._bar.update(self._task, completed=self._done)
            if self._done % (self._orders // TENTHS) == 0:
                self._sample()

    def _sample(self) -> None:
        spent = Spent.by(self._server.pid, self._server.postgres_pid)
        rss_mb = psutil.Process(self._server.pid).memory_info().rss / MB
        self._samples.append(Sample(self._done, time.monotonic(), spent.server, spent.postgres, rss_mb))

    def _result(self) -> Result:
        samples = self._samples
        tenths = list(itertools.pairwise(samples))
        servers = [_each(one.server_cpu, two.server_cpu, one, two) for one, two in tenths]
        postgres = [_each(one.postgres_cpu, two.postgres_cpu, one, two) for one, two in tenths]
        costs = [round(one + two, 1) for one, two in zip(servers, postgres, strict=True)]
        seconds = samples[-1].wall - samples[0].wall
        return Result(
            orders=self._done,
            rss_start_mb=round(samples[1].rss_mb, 1),
            rss_end_mb=round(samples[-1].rss_mb, 1),
            cost_start_us=costs[0],
            cost_end_us=costs[-1],
            ratio=round(costs[-1] / costs[0], 3),
            server_start_us=servers[0],
            server_end_us=servers[-1],
            postgres_start_us=postgres[0],
            postgres_end_us=postgres[-1],
            rss_by_tenth_mb=[round(sample.rss_mb, 1) for sample in samples],
            cost_by_tenth_us=costs,
            orders_per_second=round(self._done / seconds, 1),
            seconds=round(seconds, 1),
        )


def _each(before: float, after: float, one: Sample, two: Sample) -> float:
    """Microseconds per order between two samples."""
    return round((after - before) / (two.orders - one.orders) * 1e6, 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.bench_orders", description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    orders = max(TENTHS, parser.parse_args().orders // TENTHS * TENTHS)
    console = Console(stderr=True)
    with CrashServer() as server, Progress(console=console, disable=not console.is_terminal) as bar:
        result = trio.run(Bench(server, orders, bar).run)
    print(msgspec.json.encode(result).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
