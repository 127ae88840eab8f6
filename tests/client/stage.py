"""Where a scene is played: a misbehaving server, and one of the two clients behind its driver."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from . import driver
from .peer import PATIENCE_S, ROOM, Knock, Line, Peer

NODE = shutil.which("node")
KINDS = ("python", "javascript")


class Actor:
    """A client under the script. ``told``: all it has said; ``events``: what its user was told, in order."""

    def __init__(self, kind: str, orders: int, told_by: trio.abc.ReceiveStream) -> None:
        self.kind = kind
        self._orders = orders
        self._told_by = told_by
        self._moved = trio.Event()
        self.told: list[dict[str, Any]] = []

    @property
    def sees_handshakes(self) -> bool:
        """Whether it is told why a door stays closed. WebSockets keep it from JavaScript."""
        return self.kind == "python"

    def do(self, what: str, **more: Any) -> None:
        """One line of the script."""
        os.write(self._orders, json.dumps({"do": what, **more}).encode() + b"\n")

    async def advance(self, ms: float) -> None:
        """Let so much of its time pass."""
        self.do("advance", ms=ms)
        await self.until(lambda told: "advanced" in told, sum("advanced" in told for told in self.told) + 1)

    async def listen(self) -> None:
        """Note what it tells; until it ends."""
        rest = b""
        async for data in self._told_by:
            *lines, rest = (rest + data).split(b"\n")
            self.told += [json.loads(line) for line in lines]
            self._moved.set()
            self._moved = trio.Event()

    async def until(self, wanted: Callable[[dict[str, Any]], Any], count: int = 1) -> dict[str, Any]:
        """Wait until it has told ``count`` such things; the last of them."""
        with trio.move_on_after(PATIENCE_S):
            while True:
                found = [told for told in self.told if wanted(told)]
                if len(found) >= count:
                    return found[count - 1]
                await self._moved.wait()
        raise AssertionError(f"waited in vain; told was {self.told}")

    async def heard(self, *wanted: int | str) -> None:
        """Wait until its user was told exactly this: offsets of events; ``resync 12``; ``left ROOM``."""
        await self.until(lambda told: told.keys() & {"event", "resync", "left"}, len(wanted))
        assert self.events == list(wanted)

    @property
    def events(self) -> list[int | str]:
        found: list[int | str] = []
        for told in self.told:
            if "event" in told:
                found.append(told["event"][1])
            elif "resync" in told:
                found.append(f"resync {told['resync'][1]}")
            elif "left" in told:
                found.append(f"left {told['left'][0]}")
        return found

    async def status(self, state: str, count: int = 1) -> dict[str, Any]:
        """Wait until it is in this state for the ``count``th time."""
        return await self.until(lambda told: told.get("status") == state, count)

    async def settled(self, n: int) -> dict[str, Any]:
        """How a command ended."""
        settled = await self.until(lambda told: told.get("settled") == n)
        return {name: value for name, value in settled.items() if name != "settled"}

    def settled_times(self, n: int) -> int:
        return sum(told.get("settled") == n for told in self.told)

    async def figures(self) -> dict[str, int]:
        """What it has counted."""
        self.do("figures")
        count = sum("figures" in told for told in self.told) + 1
        figures: dict[str, int] = (await self.until(lambda told: "figures" in told, count))["figures"]
        return figures


class Stage:
    """What a scene is given. ``client`` knocks as soon as the scene has said with what it ``begins``."""

    def __init__(self, peer: Peer, client: Actor) -> None:
        self.peer = peer
        self.client = client
        self._comebacks = 0

    def begin(self, *tokens: str, check_every_ms: int | None = None, random: float = 0.5, **more: Any) -> None:
        """Start the client. ``check_every_ms``: as in both clients; ``random``: what its dice say, always."""
        self.client.do(
            "begin",
            url=self.peer.url,
            tokens=tokens or ("token",),
            check_every_ms=check_every_ms,
            random=random,
            **more,
        )

    async def open(self, offset: int = 10, *, heartbeat_ms: int = 5000) -> Line:
        """The next client that knocks, let in and welcomed."""
        line = await (await self.peer.knock()).accept()
        await line.welcome(offset, heartbeat_ms=heartbeat_ms)
        return line

    async def comes_back(self) -> Knock:
        """The client has lost its connection, waits as long as it says, and knocks again."""
        self._comebacks += 1
        waiting = await self.client.status("waiting", self._comebacks)
        await self.client.advance(waiting["pauseMs"] + 1)
        return await self.peer.knock()

    async def goes_on(self, after: int, head: int) -> Line:
        """The client comes back, and goes on from where it was."""
        knock = await self.comes_back()
        assert knock.after == after
        line = await knock.accept()
        await line.welcome(head)
        await line.subscribed(after)
        return line


class Node:
    """The process in which all scenes of the JavaScript client are played."""

    def __init__(self) -> None:
        assert NODE is not None
        command = [NODE, "--experimental-websocket", "--no-warnings", str(Path(__file__).with_name("driver.cjs"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def pipes(self) -> tuple[int, int]:
        """Where orders go in and answers come out, for one scene."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return os.dup(self._process.stdin.fileno()), os.dup(self._process.stdout.fileno())

    def close(self) -> None:
        with self._process:
            self._process.kill()


@asynccontextmanager
async def staged(kind: str, node: Node | None) -> AsyncIterator[Stage]:
    """A stage with one client on it."""
    thread: threading.Thread | None = None
    if node is None:
        to_client, orders = os.pipe()
        answers, from_client = os.pipe()
        thread = driver.in_thread(to_client, from_client)
    else:
        orders, answers = node.pipes()
    peer = Peer()
    await peer.here()
    async with trio.lowlevel.FdStream(answers) as told_by, trio.open_nursery() as nursery:
        client = Actor(kind, orders, told_by)
        nursery.start_soon(client.listen)
        try:
            yield Stage(peer, client)
        finally:
            with trio.CancelScope(shield=True):
                await peer.aclose()
                if thread is None:
                    client.do("end")
                    await client.until(lambda told: "ended" in told)
                os.close(orders)
                if thread is not None:
                    await trio.to_thread.run_sync(thread.join, PATIENCE_S)
            nursery.cancel_scope.cancel()


__all__ = ["KINDS", "NODE", "ROOM", "Actor", "Knock", "Line", "Node", "Stage", "staged"]
