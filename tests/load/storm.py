"""``make storm``: every screen loses its connection in one moment, while orders come in, and nobody misses anything.

So many clients of ours (``tabletap.client``) hear one kitchen. All their connections are cut at once, again and again,
under load; each comes back by itself and resumes. In the end what each has heard is held against the room told anew
from the log: every event once, and in order. States that later ones replace (a kitchen's load) may be missing where a
client was behind, and are looked at for their order alone.
"""

import argparse
import contextlib
import resource
import socket
import statistics
import sys
import time
from array import array
from functools import partial
from random import Random
from uuid import UUID

import msgspec
import psutil
import trio

from tabletap.client import Client, Event, Message, Server, State, Status
from tabletap.simulate.baskets import Baskets, Cafe
from tabletap.simulate.rest import Rest

from .crash_server import CrashServer
from .tool import say, until_interrupted

STATES = frozenset({"kitchen_display_updated", "queue_position_updated"})
PATIENCE_SECONDS = 120.0
BETWEEN_CUTS_SECONDS = 5.0
SAMPLE_SECONDS = 0.05
CONNECTING_AT_ONCE = 50
SPARE_FILES = 500


class Result(msgspec.Struct, rename="camel"):
    """``back_*``: from the cut until a client has its connection again and all that was told meanwhile."""

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
    server_memory_after_mib: float
    server_cpu_per_return_ms: float
    seed: int
    seconds: float

    @property
    def well(self) -> bool:
        return self.exact == self.clients and not self.repeated and not self.out_of_order and not self.resyncs


class CutServer(Server):
    """The server, by lines that can be cut."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._lines: set[trio.SocketStream] = set()

    async def dial(self) -> trio.abc.Stream:
        stream = await super().dial()
        assert isinstance(stream, trio.SocketStream)
        self._lines.add(stream)
        return stream

    def cut(self) -> None:
        """All of them, now, without a word."""
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)
        self._lines.clear()


class Screen:
    """One client: the offsets it was told of, and how long it was gone."""

    def __init__(self, server: Server, slug: str, token: str, after: int | None = None) -> None:
        self.told = array("q")  # offsets; of events that later ones replace, negative
        self.types: list[str] = []
        self.resyncs = 0
        self.newest = 0
        self.came_back = trio.Event()
        self.client = Client(
            server,
            door="kitchen",
            cafe=slug,
            token=token,
            after=after,
            on_message=self._hear,
            on_status=self._status,
        )

    def _hear(self, message: Message) -> None:
        if isinstance(message, Event):
            self.told.append(message.offset)
            self.types.append(sys.intern(message.type))
            self.newest = message.offset
        else:
            self.resyncs += 1

    def _status(self, status: Status) -> None:
        if status.state is State.LIVE:
            self.came_back.set()

    async def has(self, offset: int) -> None:
        """Wait until it is there and was told of this offset."""
        await self.came_back.wait()
        while self.newest < offset:  # noqa: ASYNC110 - thousands of them, looked at now and then
            await trio.sleep(0.01)

    @property
    def kept(self) -> list[tuple[int, str]]:
        """What nobody may miss."""
        return [told for told in zip(self.told, self.types, strict=True) if told[1] not in STATES]


class Storm:
    """One run."""

    def __init__(self, crash: CrashServer, clients: int, rate: float, cuts: int, seed: int) -> None:
        self._crash = crash
        self._clients = clients
        self._rate = rate
        self._cuts = cuts
        self._seed = seed
        self._chance = Random(seed)
        self._orders = 0
        self._peak = 0.0
        self._back: list[float] = []
        self._cpu = 0.0

    async def run(self) -> Result:
        began = time.monotonic()
        await self._crash.start()
        demo = self._crash.demo
        server, slug, token = CutServer(demo["url"]), demo["cafe"]["slug"], demo["tokens"]["admin"]
        process = psutil.Process(self._crash.pid)
        rest = Rest(Server(demo["url"]))
        screens = [Screen(server, slug, token, 0) for _ in range(self._clients)]
        async with trio.open_nursery() as nursery:
            await self._connect(nursery, screens)
            before = _memory(process)
            nursery.start_soon(self._sample, process)
            ordering = trio.CancelScope()
            nursery.start_soon(self._order, rest, slug, token, ordering)
            for number in range(self._cuts):
                await trio.sleep(BETWEEN_CUTS_SECONDS)
                await self._cut(number, server, screens, process)
            await trio.sleep(BETWEEN_CUTS_SECONDS)
            ordering.cancel()
            witness = await self._witness(server, slug, token, screens)
            after = _memory(process)
            nursery.cancel_scope.cancel()
        await rest.aclose()
        await self._crash.stop()
        return self._result(screens, witness, (before, after), time.monotonic() - began)

    async def _connect(self, nursery: trio.Nursery, screens: list[Screen]) -> None:
        for at in range(0, len(screens), CONNECTING_AT_ONCE):
            group = screens[at : at + CONNECTING_AT_ONCE]
            for screen in group:
                nursery.start_soon(screen.client.run)
            with trio.fail_after(PATIENCE_SECONDS):
                for screen in group:
                    await screen.came_back.wait()
        say(f"{len(screens)} clients are there")

    async def _order(self, rest: Rest, slug: str, token: str, scope: trio.CancelScope) -> None:
        """At a fixed rate, whoever waits; an order under way is answered before the end."""
        answer = await rest.ask("GET", f"/api/{slug}/menu")
        baskets = Baskets(msgspec.json.decode(answer.body, type=Cafe).menu, self._chance)
        async with trio.open_nursery() as guests:
            with scope:
                due = trio.current_time()
                while True:
                    guests.start_soon(self._place, rest, slug, token, baskets.fill())
                    due += 1 / self._rate
                    await trio.sleep_until(due)

    async def _place(self, rest: Rest, slug: str, token: str, items: object) -> None:
        key = str(UUID(int=self._chance.getrandbits(128), version=4))
        body = {"channel": "counter", "items": items}
        answer = await rest.ask("POST", f"/api/{slug}/orders", token=token, key=key, body=body)
        assert answer.status == 201, answer.problem
        self._orders += 1

    async def _cut(self, number: int, server: CutServer, screens: list[Screen], process: psutil.Process) -> None:
        for screen in screens:
            screen.came_back = trio.Event()
        head = max(screen.newest for screen in screens)
        cpu, began = sum(process.cpu_times()[:2]), trio.current_time()
        server.cut()
        took: list[float] = []

        async def watch(screen: Screen) -> None:
            await screen.has(head)
            took.append(trio.current_time() - began)

        with trio.fail_after(PATIENCE_SECONDS):
            async with trio.open_nursery() as watching:
                for screen in screens:
                    watching.start_soon(watch, screen)
        self._cpu += sum(process.cpu_times()[:2]) - cpu
        self._back += took
        say(f"cut {number + 1}/{self._cuts}: all back after {max(took):.1f} s, {self._orders} orders so far")

    async def _sample(self, process: psutil.Process) -> None:
        while True:
            self._peak = max(self._peak, _memory(process))
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

    def _result(self, screens: list[Screen], witness: Screen, memory: tuple[float, float], seconds: float) -> Result:
        should = witness.kept
        exact = sum(screen.kept == should for screen in screens)
        missed = sum(len(set(should) - set(screen.kept)) for screen in screens)
        repeated = sum(len(screen.kept) - len(set(screen.kept)) for screen in screens)
        unsorted = sum(list(screen.told) != sorted(screen.told) for screen in screens)
        back = sorted(self._back)
        return Result(
            clients=len(screens),
            cuts=self._cuts,
            orders=self._orders,
            events=len(should),
            exact=exact,
            missed=missed,
            repeated=repeated,
            out_of_order=unsorted,
            resyncs=sum(screen.resyncs for screen in screens),
            back_p50_seconds=round(statistics.median(back), 2),
            back_p99_seconds=round(back[int(0.99 * (len(back) - 1))], 2),
            back_all_seconds=round(back[-1], 2),
            server_memory_before_mib=round(memory[0], 1),
            server_memory_peak_mib=round(self._peak, 1),
            server_memory_after_mib=round(memory[1], 1),
            server_cpu_per_return_ms=round(self._cpu / len(back) * 1000, 2),
            seed=self._seed,
            seconds=round(seconds, 1),
        )


def _memory(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / (1 << 20)


def storm(clients: int, rate: float, cuts: int, seed: int) -> Result:
    """Run it; everything that was started has ended afterwards. Raises DidNotStart or trio.TooSlowError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # of the server too, which inherits it
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * clients + SPARE_FILES)), hard))
    with CrashServer() as crash:
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
