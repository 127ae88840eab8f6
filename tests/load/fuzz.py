"""``make fuzz``: what a hostile peer sends harms nobody but itself.

For a minute the port is given random bytes, half frames, endless fragments, compressed frames, frames that lie about
their length, floods, and handshakes a byte at a time, from many connections at once, while well-behaved clients work.
Then the server must be alive, have served those, and be as it was before: the same tasks, sockets and files.
"""

import argparse
import base64
import contextlib
import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from uuid import UUID

import msgspec
import psutil
import trio

from tabletap.client import Client, Event, Message, Refusal, Server, Unanswered
from tabletap.client.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, frame
from tabletap.simulate.rest import Rest

from .crash_server import CrashServer
from .tool import say, until_interrupted

ATTACKERS = 40
WORKERS = 5
CALM_SECONDS = 30.0
TURN_SECONDS = 3.0
WARM_UP_SECONDS = 3.0
MEMORY_GROWN_AT_MOST_MIB = 64.0
"""Caches fill, and an allocator gives little back; a leak of half of what is sent would be ten times that."""
ORDER_EVERY_SECONDS = 0.5
ORDER = {"channel": "counter", "items": [{"sku": "latte", "quantity": 1}]}


class Result(msgspec.Struct, rename="camel"):
    """``*_left``: more than before, when all attackers have gone."""

    attacks: dict[str, int]
    bytes_sent: int
    commands: int
    commands_failed: int
    command_p50_ms: float
    command_p99_ms: float
    orders: int
    events_missed: int
    workers_dropped: int
    crashed: bool
    tasks_left: int
    sockets_left: int
    files_left: int
    memory_grown_mib: float
    errors_logged: int
    seed: int
    seconds: float

    @property
    def well(self) -> bool:
        left = max(self.tasks_left, self.sockets_left, self.files_left)
        harm = self.commands_failed + self.events_missed + self.workers_dropped + self.errors_logged
        harm += self.memory_grown_mib > MEMORY_GROWN_AT_MOST_MIB
        return not self.crashed and left <= 0 and not harm and self.commands > 0 and bool(self.attacks)


class Attackers:
    """Ways to misuse a port; each opens a connection of its own and leaves it as it likes."""

    def __init__(self, server: Server, slug: str, token: str, chance: Random) -> None:
        self._server = server
        self._slug = slug
        self._token = token
        self._chance = chance
        self.done: Counter[str] = Counter()
        self.sent = 0
        self._ways: tuple[Callable[[trio.abc.Stream], Awaitable[None]], ...] = (
            self.noise,
            self.noise_after_a_handshake,
            self.half_a_frame,
            self.fragments_without_end,
            self.compressed,
            self.a_lie_about_the_length,
            self.flood_of_commands,
            self.flood_of_pings,
            self.a_handshake_by_the_byte,
            self.a_handshake_that_is_none,
            self.bad_text,
            self.a_close_with_more_after_it,
        )

    async def run(self) -> None:
        """One after the other, until cancelled."""
        while True:
            way = self._chance.choice(self._ways)
            with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                stream = await self._server.dial()
                try:
                    with trio.move_on_after(TURN_SECONDS):
                        await way(stream)
                finally:
                    await trio.aclose_forcefully(stream)
            self.done[way.__name__] += 1

    async def _send(self, stream: trio.abc.Stream, data: bytes) -> None:
        self.sent += len(data)
        await stream.send_all(data)

    async def _enter(self, stream: trio.abc.Stream, *extra: str) -> None:
        """Through the door, as one who may."""
        await self._send(stream, self._head(*extra))
        await stream.receive_some(65_536)

    def _head(self, *extra: str) -> bytes:
        lines = (
            f"GET /ws/kitchen?cafe={self._slug} HTTP/1.1",
            f"Host: {self._server.authority}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
            f"Authorization: Bearer {self._token}",
            *extra,
        )
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def _bytes(self, most: int = 4_096) -> bytes:
        return self._chance.randbytes(self._chance.randint(1, most))

    async def noise(self, stream: trio.abc.Stream) -> None:
        while True:
            await self._send(stream, self._bytes())

    async def noise_after_a_handshake(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream)
        while True:
            await self._send(stream, self._bytes())

    async def half_a_frame(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream)
        whole = frame(TEXT, b'{"op":"ping","id":1}')
        await self._send(stream, whole[: self._chance.randrange(1, len(whole))])
        if self._chance.random() < 0.5:
            await trio.sleep_forever()

    async def fragments_without_end(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream)
        first = bytearray(frame(self._chance.choice((TEXT, BINARY)), b"x" * 100))
        first[0] &= 0x7F
        await self._send(stream, bytes(first))
        while True:
            more = bytearray(frame(CONTINUATION, b"x" * self._chance.randint(0, 2_000)))
            more[0] &= 0x7F
            await self._send(stream, bytes(more))

    async def compressed(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream, "Sec-WebSocket-Extensions: permessage-deflate")
        data = bytearray(frame(TEXT, self._bytes(500)))
        data[0] |= 0x40
        while True:
            await self._send(stream, bytes(data))

    async def a_lie_about_the_length(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream)
        length = self._chance.choice((1 << 16, 1 << 31, (1 << 63) - 1, (1 << 64) - 1))
        await self._send(stream, b"\x81\xff" + length.to_bytes(8, "big") + b"mask")
        while True:
            await self._send(stream, self._bytes())

    async def flood_of_commands(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream)
        message = frame(TEXT, b'{"op":"subscribe","id":1,"room":"order:%d"}' % self._chance.getrandbits(60))
        while True:
            await self._send(stream, message * 20)

    async def flood_of_pings(self, stream: trio.abc.Stream) -> None:
        """And it does not read the pongs."""
        await self._enter(stream)
        while True:
            await self._send(stream, frame(PING, b"x" * 125) * 50)

    async def a_handshake_by_the_byte(self, stream: trio.abc.Stream) -> None:
        for byte in self._head():
            await self._send(stream, bytes([byte]))
            await trio.sleep(0.2)

    async def a_handshake_that_is_none(self, stream: trio.abc.Stream) -> None:
        head = bytearray(self._head())
        for _ in range(self._chance.randint(1, 5)):
            head[self._chance.randrange(len(head))] = self._chance.randrange(256)
        await self._send(stream, bytes(head))
        await stream.receive_some(65_536)

    async def bad_text(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream)
        while True:
            await self._send(stream, frame(TEXT, self._bytes(200)))

    async def a_close_with_more_after_it(self, stream: trio.abc.Stream) -> None:
        await self._enter(stream)
        await self._send(
            stream, frame(CLOSE, self._chance.choice((b"", b"\x03", b"\x03\xe8", b"\x00\x00" + b"\xff" * 50)))
        )
        while True:
            await self._send(stream, self._bytes())


class Workers:
    """Those who only want to work: what they asked and heard, while others misbehaved."""

    def __init__(self, server: Server, slug: str, token: str) -> None:
        self._slug = slug
        self.pausing = False
        self.took: list[float] = []
        self.failed = 0
        self.heard: list[set[str]] = [set() for _ in range(WORKERS)]
        self.clients = [
            Client(server, door="kitchen", cafe=slug, token=token, on_message=self._hear(heard)) for heard in self.heard
        ]

    def _hear(self, heard: set[str]) -> Callable[[Message], None]:
        def on_message(message: Message) -> None:
            if isinstance(message, Event) and message.type == "order_created":
                heard.add(message.read()["order"]["id"])

        return on_message

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for client in self.clients:
                nursery.start_soon(client.run)
                nursery.start_soon(self._ask, client)

    async def _ask(self, client: Client) -> None:
        await client.welcomed.wait()
        while True:
            if self.pausing:
                await trio.sleep(0.05)
                continue
            began = trio.current_time()
            try:
                await client.perform("kitchen.get", {"cafe": self._slug})
            except (Refusal, Unanswered):
                self.failed += 1
            self.took.append(trio.current_time() - began)
            await trio.sleep(0.05)


class Fuzz:
    """One run."""

    def __init__(self, crash: CrashServer, lasting_s: float, seed: int) -> None:
        self._crash = crash
        self._lasting_s = lasting_s
        self._seed = seed
        self._orders: set[str] = set()

    async def run(self) -> Result:
        began = time.monotonic()
        await self._crash.start()
        demo, process = self._crash.demo, psutil.Process(self._crash.pid)
        slug, token = demo["cafe"]["slug"], demo["tokens"]["admin"]
        server = Server(demo["url"])
        attackers = Attackers(server, slug, token, Random(self._seed))
        workers = Workers(server, slug, token)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workers.run)
            for client in workers.clients:
                await client.welcomed.wait()
            await self._order_for(WARM_UP_SECONDS, server, slug, token)
            workers.pausing = True  # their commands are tasks, too
            await trio.sleep(1.0)
            before, memory = await self._figures(), process.memory_info().rss
            workers.pausing = False
            async with trio.open_nursery() as attacking:
                attacking.cancel_scope.deadline = trio.current_time() + self._lasting_s
                for _ in range(ATTACKERS):
                    attacking.start_soon(attackers.run)
                with trio.CancelScope(shield=True):
                    await self._order_for(self._lasting_s, server, slug, token)
            say(f"{attackers.done.total()} attacks with {attackers.sent} bytes; waiting for calm")
            workers.pausing = True
            after = await self._calm(before) if self._crash.alive else before
            grown = process.memory_info().rss - memory if self._crash.alive else 0
            await trio.sleep(1.0)
            nursery.cancel_scope.cancel()
        crashed = not self._crash.alive
        await self._crash.stop()
        took = sorted(workers.took)
        return Result(
            attacks=dict(attackers.done),
            bytes_sent=attackers.sent,
            commands=len(took),
            commands_failed=workers.failed,
            command_p50_ms=round(took[len(took) // 2] * 1000, 2),
            command_p99_ms=round(took[int(0.99 * (len(took) - 1))] * 1000, 2),
            orders=len(self._orders),
            events_missed=sum(len(self._orders - heard) for heard in workers.heard),
            workers_dropped=sum(client.dropped.total() for client in workers.clients),
            crashed=crashed,
            tasks_left=after["tasks"] - before["tasks"],
            sockets_left=after["sockets"] - before["sockets"],
            files_left=after["files"] - before["files"],
            memory_grown_mib=round(grown / (1 << 20), 1),
            errors_logged=len(re.findall(r"\[(?:error|critical)|Traceback", self._crash.log.read_text())),
            seed=self._seed,
            seconds=round(time.monotonic() - began, 1),
        )

    async def _order_for(self, seconds: float, server: Server, slug: str, token: str) -> None:
        """Now and then, for so long; its connections are closed then."""
        rest, until = Rest(server), trio.current_time() + seconds
        while trio.current_time() < until:
            key = str(UUID(int=secrets.randbits(128), version=4))
            answer = await rest.ask("POST", f"/api/{slug}/orders", token=token, key=key, body=ORDER)
            assert answer.status == 201, answer.problem
            self._orders.add(msgspec.json.decode(answer.body)["id"])
            await trio.sleep(ORDER_EVERY_SECONDS)
        await rest.aclose()

    async def _calm(self, before: dict[str, int]) -> dict[str, int]:
        """As it is when what was left open has been given up, or will not be."""
        figures = before
        with trio.move_on_after(CALM_SECONDS):
            while True:
                await trio.sleep(1.0)
                figures = await self._figures()
                if all(figures[name] <= before[name] for name in before):
                    break
        return figures

    async def _figures(self) -> dict[str, int]:
        rest = Rest(Server(self._crash.demo["url"]))
        text = (await rest.ask("GET", "/metrics")).body.decode()
        await rest.aclose()
        found = dict(re.findall(r"^tabletap_(tasks|sockets|database_connections) (\S+)$", text, re.MULTILINE))
        tasks, sockets, pooled = (int(float(found[name])) for name in ("tasks", "sockets", "database_connections"))
        files = psutil.Process(self._crash.pid).num_fds()
        return {"tasks": tasks - pooled, "sockets": sockets, "files": files - pooled}  # a pool may keep what it has


def fuzz(lasting_s: float, seed: int) -> Result:
    """Run it; everything that was started has ended afterwards. Raises DidNotStart."""
    with CrashServer() as crash:
        try:
            return trio.run(Fuzz(crash, lasting_s, seed).run)
        except Exception:
            say(crash.tail())
            raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    arguments = parser.parse_args()
    result = until_interrupted(lambda: fuzz(arguments.seconds, arguments.seed))
    print("all is well" if result.well else "NOT WELL")
    print(msgspec.json.encode(result).decode())
    return 0 if result.well else 1


if __name__ == "__main__":
    sys.exit(main())
