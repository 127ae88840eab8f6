"""``python -m tests.load.bench_latency``: how soon every kitchen knows of an order, with and without stalled clients.

2,000 kitchen sockets, 100 orders a second (open loop: an order is sent when it is due, whatever became of the others).
Measured from the order's HTTP answer to the moment at which the last of the sockets has it; below zero, the kitchens
knew before the customer did. Then the same with 1 % of the sockets reading nothing at all, which must trouble nobody:
they are closed (4008), and what they then resume after is whole. Beside it, the machine's own noise: an empty echo.
"""

import argparse
import json
import socket
import sys
from typing import Any

import msgspec
import psutil
import trio

from tabletap.client.socket import Closed, Socket
from tabletap.simulate.rest import Rest

from .contestants import query
from .crash_server import CrashServer
from .crowd import CLIENT_CORE, SERVER_CORE, Cost, Crowd, family, percentile, pin, pinned, raise_descriptor_limit
from .crowd import realtime_ns as now_ns

MARKER = '{"type":"order_created"'
STALLED_SHARE = 0.01
SETTLE_SECONDS = 3.0
DRAIN_SECONDS = 60.0
MB = 1024 * 1024
PER_STALLED_MB = 1.5
"""What may wait for one of them (``queued_bytes``) and what belongs to it."""

_ECHO = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection, _ = listener.accept()
while data := connection.recv(4096):
    connection.sendall(data)
"""


class Waits(msgspec.Struct, rename="camel"):
    """Milliseconds."""

    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, values_ns: list[int]) -> "Waits":
        """Of nanoseconds."""
        return cls(*(round(percentile(values_ns, share) / 1e6, 2) for share in (0.5, 0.99, 1.0)))


class Run(msgspec.Struct, rename="camel", omit_defaults=True):
    """One load. ``after_answer``: to the last socket, ``after_request``: the same from when the order was due."""

    orders: int
    unanswered: int
    sockets: int
    stalled: int
    after_answer: Waits
    after_request: Waits
    answered: Waits
    server_cpu: float
    memory_before_mb: float
    memory_peak_mb: float
    closed_4008: int = 0
    closed_otherwise: int = 0
    resumed_exactly: int = 0


class Stalled:
    """A kitchen that stops reading, and comes back when all is over."""

    def __init__(self, server: CrashServer) -> None:
        self._server = server
        self._socket: Socket | None = None
        self.offsets: list[int] = []
        self.after = 0
        self.code = 0

    async def open(self, after: int | None = None) -> None:
        demo = self._server.demo
        target = f"/ws/kitchen?cafe={demo['cafe']['slug']}" + ("" if after is None else f"&after={after}")
        self._socket = await Socket.open(self._server.server, target, demo["tokens"]["kitchen"])

    async def read(self, until: int) -> None:
        """Until an event at or after an offset, or the end of the connection."""
        assert self._socket is not None
        try:
            while self.after < until:
                for text in await self._socket.receive():
                    message = json.loads(text)
                    if "eventId" in message:
                        self.after = message["offset"]
                        if message["type"] == "order_created":
                            self.offsets.append(self.after)
                    elif message["type"] == "welcome" and not self.after:
                        self.after = message["offset"]
        except Closed as closed:
            self.code = closed.code
        await self._socket.aclose()


class Load:
    """One server under one load."""

    def __init__(self, server: CrashServer, arguments: argparse.Namespace) -> None:
        self._server = server
        self._rate: float = arguments.rate
        self._orders = int(arguments.rate * arguments.seconds)
        self._sockets: int = arguments.sockets
        self._due: dict[int, int] = {}
        self._answered: dict[int, int] = {}
        self._unanswered = 0
        self._peak = 0

    async def run(self, stalled: int) -> Run:
        demo, pid = self._server.demo, self._server.pid
        crowd = Crowd(
            int(self._server.server.url.rpartition(":")[2]),
            dialect="ws",
            path=f"/ws/kitchen?cafe={demo['cafe']['slug']}",
            marker=MARKER,
            headers=[f"Authorization: Bearer {demo['tokens']['kitchen']}"],
        )
        sleepers = [Stalled(self._server) for _ in range(stalled)]
        with crowd:
            await crowd.connect(self._sockets - stalled)
            for sleeper in sleepers:
                await sleeper.open()
            await trio.sleep(SETTLE_SECONDS)
            head = await self._head()
            before, cpu = psutil.Process(pid).memory_info().rss, Cost.of([pid]).cpu_s
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, pid)
                nursery.start_soon(crowd.listen)
                async with trio.open_nursery() as load:
                    load.start_soon(self._place_all, load)
                nursery.cancel_scope.cancel()
            # The first of a fresh cafe's orders has the number 1, and every kitchen hears of each.
            await crowd.wait(max(self._answered), DRAIN_SECONDS)
            cpu = Cost.of([pid]).cpu_s - cpu
            told = {number: await crowd.wait(number) for number in self._answered}
        result = Run(
            orders=self._orders,
            unanswered=self._unanswered,
            sockets=self._sockets,
            stalled=stalled,
            after_answer=Waits.of([told[number] - at for number, at in self._answered.items()]),
            after_request=Waits.of([told[number] - at for number, at in self._due.items()]),
            answered=Waits.of([at - self._due[number] for number, at in self._answered.items()]),
            server_cpu=round(cpu * self._rate / self._orders, 3),
            memory_before_mb=round(before / MB, 1),
            memory_peak_mb=round(self._peak / MB, 1),
        )
        if sleepers:
            await self._wake(sleepers, head, result)
        return result

    async def _place_all(self, nursery: trio.Nursery) -> None:
        rest = Rest(self._server.server)
        begun = trio.current_time()
        for number in range(self._orders):
            await trio.sleep_until(begun + number / self._rate)
            nursery.start_soon(self._place, rest)

    async def _place(self, rest: Rest) -> None:
        demo, due = self._server.demo, now_ns()
        try:
            answer = await rest.request(
                "POST",
                f"/api/{demo['cafe']['slug']}/orders",
                token=demo["tokens"]["counter"],
                body={"channel": "counter", "items": [{"sku": "cold-brew", "quantity": 1}]},
            )
        except trio.TooSlowError:
            self._unanswered += 1  # more was asked of this machine than it can do
            return
        at = now_ns()
        assert answer.status == 201, answer.body
        number = json.loads(answer.body)["number"]
        self._due[number], self._answered[number] = due, at

    async def _watch(self, pid: int) -> None:
        process = psutil.Process(pid)
        while True:
            self._peak = max(self._peak, process.memory_info().rss)
            await trio.sleep(0.1)

    async def _head(self) -> int:
        return int((await query(self._server, 'SELECT max("offset") FROM events'))[0][0])

    async def _wake(self, sleepers: list[Stalled], head: int, result: Run) -> None:
        """They read what was on its way, find themselves closed, and come back."""
        rows = await query(
            self._server,
            """SELECT "offset" FROM events WHERE "offset" > $1 AND type = 'order.placed' ORDER BY "offset\"""",
            head,
        )
        expected = [row[0] for row in rows]
        for sleeper in sleepers:
            with trio.move_on_after(DRAIN_SECONDS):
                await sleeper.read(until=1 << 62)
            result.closed_4008 += sleeper.code == 4008
            result.closed_otherwise += sleeper.code != 4008
            await sleeper.open(sleeper.after)
            with trio.move_on_after(DRAIN_SECONDS):
                await sleeper.read(until=expected[-1])
            result.resumed_exactly += sleeper.offsets == expected


async def echo(seconds: float, rate: float) -> Waits:
    """A byte there and back between the two cores, as often as there will be orders: what the machine itself adds."""
    process = await trio.lowlevel.open_process([sys.executable, "-c", _ECHO], stdout=-1, preexec_fn=pinned(SERVER_CORE))
    assert process.stdout is not None
    port = int(bytes(await process.stdout.receive_some()).split()[0])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waits = []
    for _ in range(int(seconds * rate)):
        await trio.sleep(1 / rate)
        at = now_ns()
        await stream.send_all(b"x")
        await stream.receive_some()
        waits.append(now_ns() - at)
    await stream.aclose()
    await process.wait()
    return Waits.of(waits)


async def _load(arguments: argparse.Namespace, stalled: int) -> Run:
    with CrashServer() as server:
        await server.start()
        pin(family(server.pid), CLIENT_CORE)
        pin(family(server.postgres_pid), CLIENT_CORE)
        pin([server.pid], SERVER_CORE)
        result = await Load(server, arguments).run(stalled)
    print(msgspec.json.encode(result).decode(), file=sys.stderr, flush=True)
    return result


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The echo, the load, the load with clients that stall."""
    noise = await echo(10, arguments.rate)
    alone = await _load(arguments, 0)
    stalled = max(1, round(arguments.sockets * STALLED_SHARE))
    beside = await _load(arguments, stalled)
    grown = beside.memory_peak_mb - beside.memory_before_mb - (alone.memory_peak_mb - alone.memory_before_mb)
    # A p99 below what an echo takes is measured as that: two of them have no ratio.
    one, two = (max(each.after_answer.p99_ms, noise.p99_ms) for each in (alone, beside))
    verdicts = {
        "unanswered": {
            "figure": alone.unanswered + beside.unanswered,
            "wanted": 0,
            "holds": not alone.unanswered and not beside.unanswered,
        },
        "p99_ms": {"figure": alone.after_answer.p99_ms, "wantedAtMost": 50, "holds": alone.after_answer.p99_ms <= 50},
        "p99_with_stalled": {"ratio": round(two / one, 2), "wantedAtMost": 1.3, "holds": two <= 1.3 * one},
        "memory_for_stalled_mb": {
            "figure": round(grown, 1),
            "wantedAtMost": round(PER_STALLED_MB * stalled, 1),
            "holds": grown <= PER_STALLED_MB * stalled,
        },
        "stalled_closed_4008": {
            "figure": beside.closed_4008,
            "wanted": stalled,
            "holds": beside.closed_4008 == stalled,
        },
        "stalled_resumed_exactly": {
            "figure": beside.resumed_exactly,
            "wanted": stalled,
            "holds": beside.resumed_exactly == stalled,
        },
    }
    return {"benchmark": "latency", "echo": noise, "alone": alone, "withStalled": beside, "verdicts": verdicts}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.bench_latency", description=__doc__)
    parser.add_argument("--sockets", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=100.0, help="orders per second")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    raise_descriptor_limit()
    pinned(CLIENT_CORE)()
    result = trio.run(run, arguments)
    print(msgspec.json.encode(result).decode())
    return 0 if all(verdict["holds"] for verdict in result["verdicts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
