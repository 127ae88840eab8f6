"""``python -m tests.load.bench_fanout``: what it costs to tell a kitchen, against what people use today.

Every contestant has one room with 1,000 and then 8,000 sockets, on one core; the same client on the other. Events come
one at a time, each seen by everybody before the next, and in bursts. The cost is the server's own CPU time.

TableTap takes its whole real path: a command on a crew socket, decided, committed to Postgres, published, and told. Its
peers are told to send and send. So two figures are given for it: ``gross``, all that its server spent, and ``net``,
less what the same commands cost with nobody in the room: the path from the commit to the sockets. Against its peers
the verdict is on ``net``, with the ratio of ``gross`` beside it; of 8,000 against 100 sockets it is on ``gross``, since
at 100 nearly all is the command and what is left of it a difference of two large figures. The floor's own cost at each
size says what of that is the kernel's. Postgres (on the client's core) is given apart.
"""

import argparse
import sys
from typing import Any

import msgspec
import trio

from .connection_memory import breakdown
from .contestants import Contestant, Missing, Node, TableTap, install_peers, peer
from .crash_server import CrashServer
from .crowd import Cost, Crowd, percentile, raise_descriptor_limit

PEER_NAMES = ("socketio", "ws", "nchan", "floor")
BURST = 50
ONE_AT_A_TIME = {100: 600, 1000: 300, 8000: 50}
BURSTS = {100: 80, 1000: 12, 8000: 3}
WARM_UP = 20
MEMORY_SOCKETS = 300
JSON_BYTES = 265
"""Of TableTap's event, whose room, offset and ids have their names; its peers send as many."""


class Figures(msgspec.Struct, rename="camel", omit_defaults=True):
    """Of one contestant, one number of sockets and one way. ``net``: without what the commands cost by themselves."""

    events: int
    deliveries_per_core_second: int
    us_per_delivery: float
    p50_ms: float
    p99_ms: float
    net_deliveries_per_core_second: int = 0
    net_us_per_delivery: float = 0
    command_us_per_event: float = 0
    postgres_us_per_event: float = 0


class Row(msgspec.Struct, rename="camel", omit_defaults=True):
    """One contestant with so many sockets. ``collected``: where a collection of garbage was forced before."""

    one_at_a_time: Figures
    bursts: Figures
    kb_per_socket: float
    kb_per_socket_collected: float = 0


class Ways(msgspec.Struct, frozen=True):
    """How often."""

    singles: int
    bursts: int


async def _spend(contestant: Contestant, crowd: Crowd | None, rounds: int, size: int) -> tuple[float, list[float]]:
    """Events in rounds, each heard by everybody before the next: CPU seconds, and how long each round took (ms)."""
    before = Cost.of(contestant.pids)
    waits = []
    first = crowd.heard if crowd else 0
    for number in range(1, rounds + 1):
        at = await contestant.emit(size)
        if crowd is not None:
            waits.append((await crowd.wait(first + number * size) - at) / 1e6)
    return Cost.of(contestant.pids).cpu_s - before.cpu_s, waits


def _figures(sockets: int, events: int, cpu: float, waits: list[float]) -> Figures:
    deliveries = sockets * events
    return Figures(
        events=events,
        deliveries_per_core_second=round(deliveries / cpu),
        us_per_delivery=round(cpu / deliveries * 1e6, 3),
        p50_ms=round(percentile(waits, 0.5), 2),
        p99_ms=round(percentile(waits, 0.99), 2),
    )


async def measure(contestant: Contestant, sizes: list[int]) -> dict[str, Row]:
    """One contestant at each size, the sockets growing."""
    rows: dict[str, Row] = {}
    with contestant.crowd() as crowd:
        await contestant.settle()
        idle = Cost.of(contestant.pids, memory=True).own_bytes
        for sockets in sizes:
            await crowd.connect(sockets)
            await contestant.settle()
            for _ in range(WARM_UP):
                await contestant.emit(1)
            await crowd.wait(WARM_UP)
            await contestant.settle()
            own = Cost.of(contestant.pids, memory=True).own_bytes - idle
            ways = Ways(ONE_AT_A_TIME.get(sockets, 100), BURSTS.get(sockets, 5))
            figures = []
            for rounds, size in ((ways.singles, 1), (ways.bursts, BURST)):
                figures.append(await _measure_way(contestant, crowd, sockets, rounds, size))
            least, most, *_, lost = await crowd.check()
            assert (least, lost) == (most, 0), "somebody has heard less than others"
            rows[str(sockets)] = Row(*figures, round(own / sockets / 1024, 2))
            if sockets == sizes[-1] and isinstance(contestant, Node):
                await contestant.collect()
                own = Cost.of(contestant.pids, memory=True).own_bytes - idle
                rows[str(sockets)].kb_per_socket_collected = round(own / sockets / 1024, 2)
            _say(f"{contestant.name:9} {sockets:5} {msgspec.json.encode(rows[str(sockets)]).decode()}")
    return rows


async def _measure_way(contestant: Contestant, crowd: Crowd, sockets: int, rounds: int, size: int) -> Figures:
    if not isinstance(contestant, TableTap):
        cpu, waits = await _spend(contestant, crowd, rounds, size)
        return _figures(sockets, rounds * size, cpu, waits)
    base = contestant.base[size]
    head, heard = await contestant.head(), crowd.heard
    postgres = contestant.postgres_cpu_s
    cpu, _ = await _spend(contestant, crowd, rounds, size)
    postgres_us = (contestant.postgres_cpu_s - postgres) / (rounds * size) * 1e6
    commits = await contestant.committed(head)
    waits = [(await crowd.wait(heard + number) - at) / 1e6 for number, at in enumerate(commits, start=1)]
    figures = _figures(sockets, rounds * size, cpu, waits)
    net = cpu - base * rounds * size
    figures.net_deliveries_per_core_second = round(sockets * figures.events / net)
    figures.net_us_per_delivery = round(net / sockets / figures.events * 1e6, 3)
    figures.command_us_per_event = round(base * 1e6, 1)
    figures.postgres_us_per_event = round(postgres_us, 1)
    return figures


async def _tabletap(sizes: list[int]) -> dict[str, Row]:
    with CrashServer() as server:
        async with trio.open_nursery() as nursery:
            contestant = TableTap(server, BURST)
            await contestant.start(nursery)
            for _ in range(10):
                await contestant.emit(BURST)  # code that is warm, prepared statements
            for rounds, size in ((800, 1), (60, BURST)):
                cpu, _ = await _spend(contestant, None, rounds, size)
                contestant.base[size] = cpu / rounds / size
            rows = await measure(contestant, sizes)
            nursery.cancel_scope.cancel()
    return rows


def _verdicts(results: dict[str, dict[str, Row]]) -> dict[str, Any]:
    """Each target of the house: the ratio, of what, and whether it holds."""
    ours = results["tabletap"]
    found: dict[str, Any] = {}

    def judge(name: str, gross: float, net: float, wanted: float) -> None:
        found[name] = {"gross": round(gross, 2), "net": round(net, 2), "wanted": wanted, "holds": net >= wanted}

    for name, way, wanted in (
        ("socketio", "one_at_a_time", 1.5),
        ("socketio", "bursts", 5.0),
        ("nchan", "bursts", 2.0),
        ("floor", "bursts", 1.0),
    ):
        if name in results and "1000" in ours:
            mine, theirs = getattr(ours["1000"], way), getattr(results[name]["1000"], way)
            base = theirs.deliveries_per_core_second
            gross, net = mine.deliveries_per_core_second / base, mine.net_deliveries_per_core_second / base
            judge(f"{way}_against_{name}", gross, net, wanted)
    if {"100", "8000"} <= ours.keys():
        for way in ("one_at_a_time", "bursts"):
            few, many = getattr(ours["100"], way), getattr(ours["8000"], way)
            gross, net = many.us_per_delivery / few.us_per_delivery, many.net_us_per_delivery / few.net_us_per_delivery
            found[f"{way}_8000_to_100"] = {
                "gross": round(gross, 2),
                "net": round(net, 2),
                "wantedAtMost": 1.5,
                "holds": gross <= 1.5,
            }
    for sockets, theirs in results.get("socketio", {}).items():
        ratio = ours[sockets].kb_per_socket / theirs.kb_per_socket
        found[f"memory_to_socketio_{sockets}"] = {
            "ratio": round(ratio, 2),
            "wantedAtMost": 1.0,
            "holds": ratio <= 1.0,
        }
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def run(names: list[str], sizes: list[int]) -> dict[str, Any]:
    """Everybody in turn."""
    results: dict[str, dict[str, Row]] = {}
    missing: dict[str, str] = {}
    if "tabletap" in names:
        results["tabletap"] = await _tabletap(sizes)
    for name in PEER_NAMES:
        if name in names:
            try:
                with peer(name, JSON_BYTES) as contestant:
                    chosen = sizes if name == "floor" else [size for size in sizes if size >= 1000] or sizes
                    results[name] = await measure(contestant, chosen)
            except Missing as reason:
                missing[name] = str(reason)
                _say(f"{name}: skipped, {reason}")
    verdicts = _verdicts(results) if "tabletap" in results else {}
    made_of = await breakdown(MEMORY_SOCKETS) if "tabletap" in names else {}
    return {
        "benchmark": "fanout",
        "burst": BURST,
        "results": results,
        "skipped": missing,
        "connectionKbMadeOf": made_of,
        "verdicts": verdicts,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.bench_fanout", description=__doc__)
    parser.add_argument("--sockets", default="100,1000,8000", help="how many, growing")
    parser.add_argument("--contestants", default=",".join(("tabletap", *PEER_NAMES)))
    arguments = parser.parse_args()
    raise_descriptor_limit()
    names = arguments.contestants.split(",")
    if {"socketio", "ws"} & set(names):
        install_peers()
    result = trio.run(run, names, sorted(int(size) for size in arguments.sockets.split(",")))
    print(msgspec.json.encode(result).decode())
    return 0 if all(verdict["holds"] for verdict in result["verdicts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
