"""Durable commits per second through the writer: `python -m tests.load.bench_commits`. The last line is JSON.

Each committer places orders (one event, its postings, its row) or, with `--kind event`, writes one bare event.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import trio

from tabletap.actors.ports import Commit, New
from tabletap.domain import events as e
from tabletap.domain.base import Kind, Ref
from tabletap.store.embedded import EmbeddedPostgres
from tabletap.store.migrate import migrate
from tabletap.store.pool import Database
from tabletap.store.writer import Writer, WriterLimits, WriterStats
from tests.domain.world import STAFF
from tests.store.shop import Shop, Tape


async def committer(writer: Writer, commits: list[Commit], latencies: list[float]) -> None:
    for commit in commits:
        began = time.perf_counter()
        await writer.commit(commit)
        latencies.append(time.perf_counter() - began)


def orders(shop: Shop, count: int) -> list[Commit]:
    for _ in range(count):
        shop.place()
        shop.log.clear()
    return shop.taken()


def bare(shop: Shop, number: int, count: int) -> list[Commit]:
    """Of an entity of its own, so that committers of one cafe do not wait for each other."""
    ref = Ref(Kind.DRAWER, shop.new_id(), shop.cafe_ref.cafe_id)
    event = e.ItemAvailabilityChanged("toast", available=False)
    return [
        Commit(author=ref, version=version - 1, events=[New(ref, version, event, shop.now, STAFF)])
        for version in range(1, count + 1)
    ]


async def measure(arguments: argparse.Namespace, dsn: str) -> dict[str, Any]:
    tape, latencies = Tape(), list[float]()
    async with Database.open(dsn) as database, trio.open_nursery() as nursery:
        await migrate(database)
        writer = Writer(database, tape, limits=WriterLimits(shards=arguments.shards))
        await nursery.start(writer.run)
        shops = [Shop(f"cafe-{number}") for number in range(arguments.cafes)]
        for shop in shops:
            for commit in shop.taken():
                await writer.commit(commit)
        each = arguments.commits // arguments.committers
        per_shop = arguments.committers // arguments.cafes
        work: list[list[Commit]] = []
        for shop in shops:
            if arguments.kind == "order":
                placed = orders(shop, each * per_shop)
                work += [placed[number::per_shop] for number in range(per_shop)]
            else:
                work += [bare(shop, number, each) for number in range(per_shop)]
        before = writer.stats().counters
        cpu, began = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as committers:
            for commits in work:
                committers.start_soon(committer, writer, commits, latencies)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        stats = writer.stats()
        await writer.aclose()
    return report(arguments, seconds, cpu, latencies, before.groups, stats)


def report(
    arguments: argparse.Namespace, seconds: float, cpu: float, latencies: list[float], groups: int, stats: WriterStats
) -> dict[str, Any]:
    done, latencies = len(latencies), sorted(latencies)
    return {
        "kind": arguments.kind,
        "shards": arguments.shards,
        "committers": arguments.committers,
        "cafes": arguments.cafes,
        "commits": done,
        "commits_per_second": round(done / seconds),
        "commits_per_python_cpu_second": round(done / cpu),
        "commits_per_group": round(done / (stats.counters.groups - groups), 1),
        "p50_ms": round(1000 * latencies[done // 2], 2),
        "p99_ms": round(1000 * latencies[done * 99 // 100], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=("order", "event"), default="order")
    parser.add_argument("--committers", type=int, default=50)
    parser.add_argument("--cafes", type=int, default=10)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--commits", type=int, default=10_000)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tabletap-bench-"))
    server = EmbeddedPostgres(folder)
    try:
        dsn = trio.run(server.start)
        result = trio.run(measure, arguments, dsn)
    finally:
        trio.run(server.stop)
        shutil.rmtree(folder)
    print(msgspec.json.encode(result).decode())


if __name__ == "__main__":
    main()
