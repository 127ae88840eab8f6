"""``python -m tests.load.bench_pos``: how soon tills know of an order and what it costs, by socket and by polling.

The same orders, at the same pace, are placed over HTTP at cafes with several tills each; one way after the other, each
at cafes of its own on the one server: nobody listens (twice, before and after: what the orders themselves cost), every
till has a socket, every till asks every 5 s, every 30 s. Its wait is from the order's HTTP answer to the till's having
it. CPU time is the server's (and its Postgres') own over as many seconds, less what the orders cost; requests and bytes
are those of all tills in that time.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import trio

from tabletap.simulate.report import Latency
from tabletap.simulate.rest import Rest

from .crash_server import CrashServer
from .crowd import CLIENT_CORE, SERVER_CORE, family, pin, pinned
from .spent import Spent
from .tills import PollingTill, PushedTill, Till, Wire
from .tool import say, until_interrupted

SETTLE_SECONDS = 2.0
POLLS_SECONDS = (5.0, 30.0)
FASTER_AT_LEAST = 50
LEAST_WAIT_MS = 1.0
"""Below it two waits have no ratio; a till by socket may know before the customer does."""
LEAST_CPU_S = 0.01
"""The tick by which the kernel counts."""

MENU = {
    "currency": "AUD",
    "stations": ["bar"],
    "taxClasses": {"gst": 1000},
    "categories": [{"id": "all", "name": "All"}],
    "groups": [],
    "items": [
        {
            "sku": "flat-white",
            "name": "Flat white",
            "category": "all",
            "price": 450,
            "station": "bar",
            "taxClass": "gst",
            "prepSeconds": 60,
        }
    ],
}
SETTINGS = {"name": "Bench", "tables": [], "prepay": []}
ORDER = {"channel": "online", "items": [{"sku": "flat-white", "quantity": 2, "note": "one of them hot"}]}


class Cpu(msgspec.Struct, frozen=True, rename="camel"):
    """Seconds."""

    server: float
    postgres: float

    def less(self, other: "Cpu") -> "Cpu":
        return Cpu(round(self.server - other.server, 2), round(self.postgres - other.postgres, 2))


class Way(msgspec.Struct, frozen=True, rename="camel"):
    """One way of telling tills. ``delay``: of every order at every till of its cafe; ``requests``: of HTTP, handshakes
    too; ``messages``: of WebSockets, both ways; ``cpu``: over what the orders alone cost; ``missed``: orders that a
    till never had; ``twice``: events that it was told again."""

    delay: Latency
    requests: int
    messages: int
    bytes_to_server: int
    bytes_from_server: int
    cpu: Cpu
    missed: int
    twice: int


class Phase(NamedTuple):
    """What one phase came to; ``spent``: the orders' own cost included."""

    waits: list[float]
    wire: Wire
    spent: Cpu
    missed: int
    twice: int

    def less(self, orders: Cpu) -> Way:
        return Way(
            delay=Latency.of(self.waits),
            requests=self.wire.requests,
            messages=self.wire.messages,
            bytes_to_server=self.wire.to_server,
            bytes_from_server=self.wire.from_server,
            cpu=self.spent.less(orders),
            missed=self.missed,
            twice=self.twice,
        )


Make = Callable[[str, str, str, Wire], Till]
"""A till of a cafe (its slug), with a key, under a name."""


class Bench:
    """All phases against one server. ``polls``: seconds between two questions of a till, by way."""

    def __init__(self, server: CrashServer, *, cafes: int, tills: int, rate: float, seconds: float) -> None:
        self._server = server
        self._cafes = cafes
        self._tills = tills
        self._rate = rate
        self._seconds = seconds
        self._rest = Rest(server.server)
        self._opened = 0

    async def run(self, polls: Sequence[float] = POLLS_SECONDS) -> dict[str, Any]:
        server = self._server.server
        ways: dict[str, Make | None] = {"alone": None, "push": partial(PushedTill, server)}
        for every_s in polls:
            ways[f"poll{every_s:g}"] = partial(_polling, self._server, every_s, Random(int(every_s)))
        ways["aloneAgain"] = None
        await self._phase("warm-up", None, min(SETTLE_SECONDS, self._seconds))
        phases = {name: await self._phase(name, make, self._seconds) for name, make in ways.items()}
        before, after = phases.pop("alone").spent, phases.pop("aloneAgain").spent
        orders = Cpu((before.server + after.server) / 2, (before.postgres + after.postgres) / 2)
        told = {name: phase.less(orders) for name, phase in phases.items()}
        await self._rest.aclose()
        return {
            "benchmark": "pos",
            "cafes": self._cafes,
            "tills": self._cafes * self._tills,
            "orders": int(self._rate * self._seconds),
            "seconds": self._seconds,
            "ordersAlone": {"cpu": orders.less(Cpu(0, 0)), "before": before, "after": after},
            **told,
            "ratios": {f"push:{name}": _ratios(told["push"], way) for name, way in told.items() if name != "push"},
            "verdicts": _verdicts(told, f"poll{polls[0]:g}"),
        }

    async def _phase(self, name: str, make: Make | None, seconds: float) -> Phase:
        """The same orders each time; only who listens differs."""
        venues = [await self._open() for _ in range(self._cafes)]
        wire, answered = Wire(), dict[str, tuple[str, float]]()
        tills = [
            make(slug, key, f"till {number}", wire)
            for slug, key in venues
            for number in range(self._tills if make is not None else 0)
        ]
        async with trio.open_nursery() as nursery:
            for till in tills:
                nursery.start_soon(till.run)
            for till in tills:
                await till.ready.wait()
            await trio.sleep(min(SETTLE_SECONDS, seconds / 2))
            before, spent = vars(wire).copy(), self._spent()
            begun = trio.current_time()
            async with trio.open_nursery() as load:
                for number in range(int(self._rate * seconds)):
                    await trio.sleep_until(begun + number / self._rate)
                    load.start_soon(self._place, venues[number % len(venues)][0], answered)
            await trio.sleep_until(begun + seconds)
            took = self._spent().less(spent)
            within = {what: count - before[what] for what, count in vars(wire).items()}
            await _until_all_know(tills, answered)
            nursery.cancel_scope.cancel()
        for till in tills:
            await till.aclose()
        waits = [
            till.known[order] - at
            for till in tills
            for order, (slug, at) in answered.items()
            if slug == till.slug and order in till.known
        ]
        expected = sum(slug == till.slug for till in tills for slug, _ in answered.values())
        phase = Phase(waits, Wire(**within), took, expected - len(waits), sum(till.twice for till in tills))
        say(f"{name}: {msgspec.json.encode(phase.less(Cpu(0, 0))).decode()}")
        return phase

    async def _open(self) -> tuple[str, str]:
        """A cafe of this phase: its slug, and a key for its tills."""
        self._opened += 1
        slug = f"bench-{self._opened}"
        admin = self._server.demo["tokens"]["admin"]
        opened = await self._rest.request(
            "POST", "/api/cafes", token=admin, body={"slug": slug, "settings": SETTINGS, "menu": MENU}
        )
        assert opened.ok, opened.body
        made = await self._rest.request("POST", f"/api/{slug}/pos-keys", token=admin, body={"name": "Bench"})
        assert made.ok, made.body
        return slug, str(msgspec.json.decode(made.body)["key"])

    async def _place(self, slug: str, answered: dict[str, tuple[str, float]]) -> None:
        answer = await self._rest.request("POST", f"/api/{slug}/orders", key=str(uuid4()), body=ORDER)
        at = trio.current_time()
        assert answer.status == 201, answer.body
        answered[msgspec.json.decode(answer.body)["id"]] = slug, at

    def _spent(self) -> Cpu:
        spent = Spent.by(self._server.pid, self._server.postgres_pid)
        return Cpu(spent.server, spent.postgres)


def _polling(server: CrashServer, every_s: float, chance: Random, slug: str, key: str, name: str, wire: Wire) -> Till:
    return PollingTill(server.server, slug, key, name, wire, every_s, chance)


async def _until_all_know(tills: Sequence[Till], answered: dict[str, tuple[str, float]]) -> None:
    """What is on its way arrives; whoever never hears of an order is counted as having missed it."""
    with trio.move_on_after(max(POLLS_SECONDS) + SETTLE_SECONDS):
        for till in tills:
            theirs = {order for order, (slug, _) in answered.items() if slug == till.slug}
            while not theirs <= till.known.keys():  # noqa: ASYNC110 - nothing is measured any more
                await trio.sleep(0.1)


def _ratios(push: Way, poll: Way) -> dict[str, float]:
    """How many times as much as by socket."""
    return {
        "delayP50": round(max(poll.delay.p50_ms, LEAST_WAIT_MS) / max(push.delay.p50_ms, LEAST_WAIT_MS), 1),
        "delayP99": round(max(poll.delay.p99_ms, LEAST_WAIT_MS) / max(push.delay.p99_ms, LEAST_WAIT_MS), 1),
        "serverCpu": round(max(poll.cpu.server, LEAST_CPU_S) / max(push.cpu.server, LEAST_CPU_S), 2),
        "requests": round(poll.requests / max(push.requests, 1), 1),
        "bytes": round(
            (poll.bytes_to_server + poll.bytes_from_server) / (push.bytes_to_server + push.bytes_from_server), 2
        ),
    }


def _verdicts(told: dict[str, Way], often: str) -> dict[str, Any]:
    push, poll = told["push"], told[often]
    faster = _ratios(push, poll)["delayP50"]
    lost = {name: way.missed for name, way in told.items()}
    return {
        "push_is_faster": {"ratio": faster, "wantedAtLeast": FASTER_AT_LEAST, "holds": faster >= FASTER_AT_LEAST},
        "push_costs_less_cpu": {
            "push": push.cpu.server,
            often: poll.cpu.server,
            "holds": push.cpu.server < poll.cpu.server,
        },
        "nothing_is_missed": {"missed": lost, "holds": not any(lost.values())},
    }


async def bench(
    *, cafes: int, tills: int, rate: float, seconds: float, polls: Sequence[float] = POLLS_SECONDS
) -> dict[str, Any]:
    """One server, all ways."""
    with CrashServer() as server:
        await server.start()
        pin(family(server.postgres_pid), CLIENT_CORE)
        pin([server.pid], SERVER_CORE)
        return await Bench(server, cafes=cafes, tills=tills, rate=rate, seconds=seconds).run(polls)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.bench_pos", description=__doc__)
    parser.add_argument("--cafes", type=int, default=20)
    parser.add_argument("--tills", type=int, default=3, help="of each cafe")
    parser.add_argument("--rate", type=float, default=2.0, help="orders per second, of all cafes together")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each way")
    arguments = vars(parser.parse_args())
    pinned(CLIENT_CORE)()
    result = until_interrupted(lambda: trio.run(partial(bench, **arguments)))
    print(msgspec.json.encode(result).decode())
    return 0 if all(verdict["holds"] for verdict in result["verdicts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
