"""``make storm``: every screen loses its connection in one moment, while orders come in, and nobody misses anything.

So many clients of ours (``tabletap.client``) hear one kitchen. All their connections are cut at once, again and again,
under load, and at last the server is killed and started again, so that all of them are told from the log; each comes
back by itself and resumes. In the end what each has heard is held against the room told anew from the log: every event
once, and in order. States that later ones replace (a kitchen's load) may be missing where a client was behind, and are
looked at for their order alone. All the while somebody else asks by REST (``probe``), and must be answered.
"""

import argparse
import contextlib
import resource
import socket
import statistics
import sys
import time
from collections.abc import Mapping
from functools import partial
from random import Random
from typing import Any, Self

import msgspec
import psutil
import trio

from tabletap.client import Server
from tabletap.simulate.rest import Rest

from .crash_server import CrashServer
from .crowd import percentile
from .probe import Answer, Probe
from .storm_parts import CutServer, Orders, Screen
from .tool import say, until_interrupted

PATIENCE_SECONDS = 120.0
BETWEEN_CUTS_SECONDS = 5.0
SAMPLE_SECONDS = 0.05
SETTLED_AFTER_SECONDS = 2.0
CONNECTING_AT_ONCE = 50
SPARE_FILES = 500


class Answered(msgspec.Struct, rename="camel"):
    """Milliseconds."""

    asked: int
    failed: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, answers: list[Answer]) -> Self:
        """Of what the probe has found."""
        took = [answer.took_s * 1000 for answer in answers]
        return cls(
            asked=len(answers),
            failed=sum(not answer.fine for answer in answers),
            p50=round(percentile(took, 0.5), 1),
            p99=round(percentile(took, 0.99), 1),
            longest=round(max(took), 1),
        )


class Result(msgspec.Struct, rename="camel"):
    """``back_*``: from the cut until a client has its connection again and all that was told meanwhile; ``restart_*``:
    from when the restarted server was ready. ``rest_*``: how long a GET took while all was calm, and from each cut
    until all were back."""

    clients: int
    cuts: int
    orders: int
    events: int
    exact: int
    missed: int
    repeated: int
    out_of_order: int
    resyncs: int
    back_p50_seconds: float
    back_p99_seconds: float
    back_all_seconds: float
    server_memory_before_mib: float
    server_memory_peak_mib: float
    server_cpu_per_return_ms: float
    restart_back_all_seconds: float
    restart_cpu_per_return_ms: float
    rest_calm_ms: Answered
    rest_storm_ms: Answered
    handshakes_turned_away: int
    recoveries_turned_away: int
    log_stretches_asked_for: int
    log_stretches_read: int
    seed: int
    seconds: float

    @property
    def well(self) -> bool:
        fine = self.exact == self.clients and not self.repeated and not self.out_of_order and not self.resyncs
        return fine and not self.rest_storm_ms.failed


class Storm:
    """One run."""

    def __init__(self, crash: CrashServer, clients: int, rate: float, cuts: int, seed: int) -> None:
        self._crash = crash
        self._clients = clients
        self._rate = rate
        self._cuts = cuts
        self._seed = seed
        self._chance = Random(seed)
        self._peak = 0.0
        self._back: list[float] = []
        self._cpu = 0.0
        self._calms: list[tuple[float, float]] = []
        self._storms: list[tuple[float, float]] = []

    async def run(self) -> Result:
        began = time.monotonic()
        await self._crash.start()
        demo = self._crash.demo
        self._process = psutil.Process(self._crash.pid)
        server, slug, token = CutServer(demo["url"]), demo["cafe"]["slug"], demo["tokens"]["admin"]
        rest = Rest(Server(demo["url"]))
        orders = Orders(rest, slug, token, self._chance)
        self._door = slug, token
        screens = [Screen(server, slug, token, 0) for _ in range(self._clients)]
        with Probe(f"{demo['url']}/api/{slug}/menu") as self._probe:
            async with trio.open_nursery() as nursery:
                await self._connect(nursery, screens)
                before = _memory(self._process)
                nursery.start_soon(self._sample)
                async with orders.coming(self._rate):
                    for number in range(self._cuts):
                        await self._calm()
                        await self._cut(number, server, screens)
                    await self._calm()
                peak = self._peak
                figures = await _figures(rest)
                restart = await self._restart(server, screens, orders)
                figures = {name: value + figures[name] for name, value in (await _figures(rest)).items()}
                witness = await self._witness(server, slug, token, screens)
                nursery.cancel_scope.cancel()
        await rest.aclose()
        await self._crash.stop()
        return self._result(
            screens,
            witness,
            figures,
            orders=orders.placed,
            server_memory_before_mib=round(before, 1),
            server_memory_peak_mib=round(peak, 1),
            restart_back_all_seconds=round(restart[0], 2),
            restart_cpu_per_return_ms=round(restart[1] / len(screens) * 1000, 2),
            seconds=round(time.monotonic() - began, 1),
        )

    async def _calm(self) -> None:
        began = time.monotonic()
        await trio.sleep(BETWEEN_CUTS_SECONDS)
        self._calms.append((began + SETTLED_AFTER_SECONDS, time.monotonic()))

    async def _connect(self, nursery: trio.Nursery, screens: list[Screen]) -> None:
        for at in range(0, len(screens), CONNECTING_AT_ONCE):
            group = screens[at : at + CONNECTING_AT_ONCE]
            for screen in group:
                nursery.start_soon(screen.client.run)
            with trio.fail_after(PATIENCE_SECONDS):
                for screen in group:
                    await screen.came_back.wait()
        say(f"{len(screens)} clients are there")

    async def _cut(self, number: int, server: CutServer, screens: list[Screen]) -> None:
        head = _gone(screens)
        cpu, began = _cpu(self._process), time.monotonic()
        server.cut()
        took = await self._all_back(screens, head)
        self._cpu += _cpu(self._process) - cpu
        self._back += took
        self._storms.append((began, time.monotonic()))
        say(f"cut {number + 1}/{self._cuts}: all back after {max(took):.1f} s")

    async def _restart(self, server: CutServer, screens: list[Screen], orders: Orders) -> tuple[float, float]:
        """What all have missed is in the log alone, as the server begins anew. From when it was ready until all were
        back (seconds), and what that has cost it (CPU seconds)."""
        head = _gone(screens)
        server.cut(and_stay_away=True)
        witness = Screen(Server(server.url), *self._door, head)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(witness.client.run)
            async with orders.coming(self._rate):
                await trio.sleep(BETWEEN_CUTS_SECONDS)
            await trio.sleep(1)
            head = witness.newest
            nursery.cancel_scope.cancel()
        self._crash.kill()
        self._crash.launch()
        await self._crash.ready()
        self._process = psutil.Process(self._crash.pid)
        cpu, began = _cpu(self._process), time.monotonic()
        server.shut = False
        took = await self._all_back(screens, head)
        self._storms.append((began, time.monotonic()))
        say(f"restart: all back after {max(took):.1f} s, {orders.placed} orders")
        return max(took), _cpu(self._process) - cpu

    async def _all_back(self, screens: list[Screen], head: int) -> list[float]:
        took, began = list[float](), trio.current_time()

        async def watch(screen: Screen) -> None:
            await screen.has(head)
            took.append(trio.current_time() - began)

        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as watching:
                for screen in screens:
                    watching.start_soon(watch, screen)
        return took

    async def _sample(self) -> None:
        while True:
            with contextlib.suppress(psutil.NoSuchProcess):  # while it is started again
                self._peak = max(self._peak, _memory(self._process))
            await trio.sleep(SAMPLE_SECONDS)

    async def _witness(self, server: Server, slug: str, token: str, screens: list[Screen]) -> Screen:
        """A client that was never cut, told all of the room from the log; then all others have as much."""
        await trio.sleep(2.0)  # the news of the queue gather for half a second
        head = max(screen.newest for screen in screens)
        witness = Screen(server, slug, token, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(witness.client.run)
            with trio.fail_after(PATIENCE_SECONDS):
                await witness.has(head)
                for screen in screens:
                    await screen.has(head)
            nursery.cancel_scope.cancel()
        return witness

    def _result(self, screens: list[Screen], witness: Screen, figures: Mapping[str, float], **measured: Any) -> Result:
        should = witness.kept
        exact = sum(screen.kept == should for screen in screens)
        missed = sum(len(set(should) - set(screen.kept)) for screen in screens)
        repeated = sum(len(screen.kept) - len(set(screen.kept)) for screen in screens)
        unsorted = sum(list(screen.told) != sorted(screen.told) for screen in screens)
        back = sorted(self._back)
        return Result(
            clients=len(screens),
            cuts=self._cuts,
            events=len(should),
            exact=exact,
            missed=missed,
            repeated=repeated,
            out_of_order=unsorted,
            resyncs=sum(screen.resyncs for screen in screens),
            back_p50_seconds=round(statistics.median(back), 2),
            back_p99_seconds=round(back[int(0.99 * (len(back) - 1))], 2),
            back_all_seconds=round(back[-1], 2),
            server_cpu_per_return_ms=round(self._cpu / len(back) * 1000, 2),
            rest_calm_ms=self._answered(self._calms),
            rest_storm_ms=self._answered(self._storms),
            handshakes_turned_away=int(figures["handshakes_turned_away"]),
            recoveries_turned_away=int(figures["recoveries_turned_away"]),
            log_stretches_asked_for=int(figures["recovery_log_asked_for"]),
            log_stretches_read=int(figures["recovery_log_reads"]),
            seed=self._seed,
            **measured,
        )

    def _answered(self, times: list[tuple[float, float]]) -> Answered:
        return Answered.of([answer for began, ended in times for answer in self._probe.between(began, ended)])


def _gone(screens: list[Screen]) -> int:
    """All are about to lose their connection; what the one that was told most has been told of."""
    for screen in screens:
        screen.came_back = trio.Event()
    return max(screen.newest for screen in screens)


async def _figures(rest: Rest) -> dict[str, float]:
    """What the server counts of a storm; 0 where it does not."""
    text = (await rest.ask("GET", "/metrics")).body.decode()
    names = ("handshakes_turned_away", "recoveries_turned_away", "recovery_log_asked_for", "recovery_log_reads")
    told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("tabletap_"))
    return {name: float(told.get(f"tabletap_{name}", 0)) for name in names}


def _cpu(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _memory(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / (1 << 20)


def storm(clients: int, rate: float, cuts: int, seed: int) -> Result:
    """Run it; everything that was started has ended afterwards. Raises DidNotStart or trio.TooSlowError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # of the server too, which inherits it
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * clients + SPARE_FILES)), hard))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # the same after its restart
    with CrashServer(port) as crash:
        try:
            return trio.run(partial(Storm(crash, clients, rate, cuts, seed).run))
        except Exception:
            say(crash.tail())
            raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.storm", description=__doc__)
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=5.0, help="orders per second")
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    result = until_interrupted(lambda: storm(arguments.clients, arguments.rate, arguments.cuts, arguments.seed))
    print("all is well" if result.well else "NOT WELL")
    print(msgspec.json.encode(result).decode())
    return 0 if result.well else 1


if __name__ == "__main__":
    sys.exit(main())
