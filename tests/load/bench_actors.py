"""How fast and how small the actor runtime is, next to Pykka in the same run.

    python -m tests.load.bench_actors

Pinned to one core; ours and Pykka's rounds alternate, the best round of each counts (a shared machine only ever makes
a round slower). Every message is counted on both sides. The last line is one JSON object.
"""

import contextlib
import gc
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import trio

from tabletap.actors.runtime import Actor, Address, Asked, Batch, Limits, System

ROUNDS = 11
BURST = 10_000
TELLS = 300_000
ASKS = 20_000
ASKERS = 100
IDLE_ACTORS = 50_000
PYKKA_TELLS = 30_000
PYKKA_ASKS = 3_000


class Counting(Actor):
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    async def receive(self, batch: Batch) -> None:
        count = self.count
        for message in batch:
            if type(message) is Asked:
                message.answer(count)
            else:
                count += message
        self.count = count


async def tells_per_second(system: System, address: Address) -> float:
    """Bursts through ``ref.tell``; the ask behind each burst tells how many the actor has counted."""
    ref = system.ref(address)
    before = await ref.ask(0, timeout=None)
    begin = time.perf_counter()
    for _ in range(TELLS // BURST):
        tell = ref.tell
        for _ in range(BURST):
            tell(1)
        counted = await ref.ask(0, timeout=None)
    seconds = time.perf_counter() - begin
    assert counted - before == TELLS
    return TELLS / seconds


async def asks_per_second(system: System, address: Address, askers: int) -> float:
    ref = system.ref(address)
    answers = 0

    async def ask() -> None:
        nonlocal answers
        for _ in range(ASKS // askers):
            await ref.ask(0, timeout=5)
            answers += 1

    begin = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(askers):
            nursery.start_soon(ask)
    seconds = time.perf_counter() - begin
    assert answers == ASKS
    return ASKS / seconds


async def ours() -> tuple[float, float, float]:
    address = Address("counting", 1)
    async with System({"counting": lambda _: Counting()}, Limits(mailbox_messages=2 * BURST)) as system:
        return (
            await tells_per_second(system, address),
            await asks_per_second(system, address, 1),
            await asks_per_second(system, address, ASKERS),
        )


def pykkas() -> tuple[float, float]:
    import pykka

    class PykkaCounting(pykka.ThreadingActor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def on_receive(self, message: int) -> int:
            self.count += message
            return self.count

    ref = PykkaCounting.start()
    try:
        begin = time.perf_counter()
        for _ in range(PYKKA_TELLS):
            ref.tell(1)
        counted = ref.ask(0)
        tells = PYKKA_TELLS / (time.perf_counter() - begin)
        assert counted == PYKKA_TELLS
        begin = time.perf_counter()
        for _ in range(PYKKA_ASKS):
            ref.ask(0)
        return tells, PYKKA_ASKS / (time.perf_counter() - begin)
    finally:
        ref.stop()


def quietest_core() -> int:
    """The one that others use least: a neighbour's work would be counted as ours."""
    idle = dict.fromkeys(os.sched_getaffinity(0), 0)
    for sign in (-1, 1):
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in idle:
                idle[int(name[3:])] += sign * int(ticks[3])
        time.sleep(0.5)
    return max(idle, key=lambda core: idle[core])


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def bytes_per_idle_actor() -> tuple[float, float]:
    """Resident memory before and after one message to each; addresses exist before, they are the caller's."""
    limits = Limits(active_limit=2 * IDLE_ACTORS, idle_seconds=3600)
    async with System({"counting": lambda _: Counting()}, limits) as system:
        system.tell(Address("counting", 0), 1)
        addresses = [Address("counting", uuid.uuid4()) for _ in range(IDLE_ACTORS)]
        await system.wait_quiet()
        gc.collect()
        before = resident_bytes()
        for address in addresses:
            system.tell(address, 1)
        await system.wait_quiet()
        raw = resident_bytes() - before
        gc.collect()
        collected = resident_bytes() - before
        assert system.live == IDLE_ACTORS + 1
        return raw / IDLE_ACTORS, collected / IDLE_ACTORS


def main() -> None:
    if "--memory" in sys.argv:
        print(json.dumps(trio.run(bytes_per_idle_actor)))
        return
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {quietest_core()})
    # A fresh process: what earlier rounds left free in the allocator would otherwise hide memory.
    command = [sys.executable, "-m", "tests.load.bench_actors", "--memory"]
    raw, collected = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    mine, theirs = [], []
    for _ in range(ROUNDS):
        mine.append(trio.run(ours))
        theirs.append(pykkas())
    tells, sequential, concurrent = (max(column) for column in zip(*mine, strict=True))
    asks = max(sequential, concurrent)
    pykka_tells, pykka_asks = (max(column) for column in zip(*theirs, strict=True))
    print(f"best of {ROUNDS} rounds, ours and Pykka's alternating, pinned to one core")
    print(f"tells in bursts of {BURST:,}:       {tells:>12,.0f}/s    Pykka {pykka_tells:>9,.0f}/s")
    print(f"asks, one asker in sequence:   {sequential:>12,.0f}/s    Pykka {pykka_asks:>9,.0f}/s")
    print(f"asks, {ASKERS} askers at once:      {concurrent:>12,.0f}/s")
    print(f"headline for asks:             {'one asker' if asks == sequential else f'{ASKERS} askers'}")
    print(f"memory, {IDLE_ACTORS:,} idle actors:    {collected:>12,.0f} bytes each ({raw:,.0f} before gc.collect)")
    figures = {
        "tellsPerSecond": round(tells),
        "asksPerSecond": round(asks),
        "bytesPerIdleActor": round(collected),
        "idleActors": IDLE_ACTORS,
        "pykkaTellsPerSecond": round(pykka_tells),
        "pykkaAsksPerSecond": round(pykka_asks),
        "tellsVsPykka": round(tells / pykka_tells, 1),
        "asksVsPykka": round(asks / pykka_asks, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
