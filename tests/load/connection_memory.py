"""``python -m tests.load.connection_memory``: what a connection's memory is made of, by whose code asked for it."""

import argparse
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import trio

from .contestants import TableTap
from .crash_server import CrashServer
from .crowd import raise_descriptor_limit

PARTS = ("trio_websocket", "wsproto", "h11", "trio", "tabletap/realtime", "tabletap/http", "tabletap", "python3")


async def held(pid: int, told: Path) -> Counter[str]:
    """Bytes by part of the house, of a server that counts."""
    there = trio.Path(told)
    await there.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    while not await there.exists():  # noqa: ASYNC110 - another process writes it
        await trio.sleep(0.1)
    found: Counter[str] = Counter()
    for name, size in json.loads(await there.read_text()).items():
        part = next((part for part in PARTS if f"/{part}/" in name.replace("site-packages/", "")), "python")
        found["python" if part == "python3" else part] += size
    return found


async def breakdown(sockets: int) -> dict[str, float]:
    """KB per connection, by part. Needs no quiet machine: it counts, it does not measure."""
    with CrashServer(module="tests.load.traced_server") as server:
        told = server.folder / "traced.json"
        server.environment = {"TRACED": str(told)}
        async with trio.open_nursery() as nursery:
            contestant = TableTap(server, 1)
            await contestant.start(nursery)
            with contestant.crowd() as crowd:
                await crowd.connect(10)  # whatever is made once is there
                await trio.sleep(2)
                before = await held(server.pid, told)
                await crowd.connect(sockets + 10)
                await trio.sleep(2)
                after = await held(server.pid, told)
            nursery.cancel_scope.cancel()
    grown = {part: (after[part] - before[part]) / sockets / 1024 for part in after}
    return {part: round(kb, 2) for part, kb in sorted(grown.items(), key=lambda item: -item[1]) if kb >= 0.05}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.connection_memory", description=__doc__)
    parser.add_argument("--sockets", type=int, default=500)
    raise_descriptor_limit()
    print(json.dumps(trio.run(breakdown, parser.parse_args().sockets)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
