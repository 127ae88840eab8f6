"""Who takes part in ``bench_fanout``: TableTap by its whole path, and its peers as their users would write them."""

import asyncio
import itertools
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import msgspec
import trio

from tabletap.client.socket import Socket

from .crash_server import CrashServer
from .crowd import CLIENT_CORE, PEERS, SERVER_CORE, Crowd, compiled, family, pin, pinned, realtime_ns
from .spent import Spent

START_SECONDS = 30.0
MODULES = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


class Missing(Exception):  # noqa: N818 - named by what is the case
    """This contestant cannot take part here."""


class Contestant(Protocol):
    """A server with one room. ``emit`` returns when the server has been told, with the moment before that."""

    name: str
    port: int

    @property
    def pids(self) -> list[int]: ...

    def crowd(self) -> Crowd: ...

    async def emit(self, events: int) -> int: ...

    async def settle(self) -> None:
        """Before its memory is read."""


# -- peers


class Piped:
    """A program that is told on its stdin how many events to send, and how large (bytes of JSON)."""

    dialect = "ws"
    path = "/"
    marker = '{"type":"order_updated"'

    def __init__(self, name: str, command: Sequence[str | Path], size: int) -> None:
        self.name = name
        self.port = _free_port()
        self._size = size
        self._process = subprocess.Popen(
            [*command, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PEERS,
            preexec_fn=pinned(SERVER_CORE),  # noqa: PLW1509 - no thread has been started by then
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != b"ready":
            raise Missing(f"{name} did not start")

    @property
    def pids(self) -> list[int]:
        return family(self._process.pid)

    def crowd(self) -> Crowd:
        return Crowd(self.port, dialect=self.dialect, path=self.path, marker=self.marker)

    async def emit(self, events: int) -> int:
        at = realtime_ns()
        self._say(f"emit {events} {self._size}")
        return at

    async def settle(self) -> None:
        await trio.sleep(1)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Node(Piped):
    """A program of ``peers`` on Node."""

    def __init__(self, name: str, size: int) -> None:
        node = shutil.which("node")
        if node is None:
            raise Missing("there is no Node here")
        super().__init__(name, [node, "--expose-gc", f"{name}.js"], size)

    async def settle(self) -> None:
        await trio.sleep(2)

    async def collect(self) -> None:
        """Its garbage, which it would leave for later."""
        self._say("gc")
        await trio.sleep(2)


class SocketIo(Node):
    dialect = "socketio"
    path = "/socket.io/?EIO=4&transport=websocket"
    marker = '42["order_updated"'


class Nchan:
    """nginx with nchan, one worker; events are published by POST on a kept-alive connection, as its users do."""

    name = "nchan"
    marker = '{"type":"order_updated"'

    def __init__(self, size: int) -> None:
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if nginx is None or not MODULES.exists():
            raise Missing("there is no nginx with nchan here")
        self.port = _free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="tt-nchan-"))
        config = self._folder / "nginx.conf"
        text = (PEERS / "nchan.conf").read_text()
        for word, value in (("MODULE", MODULES), ("FOLDER", self._folder), ("PORT", self.port)):
            text = text.replace(word, str(value))
        config.write_text(text)
        self._process = subprocess.Popen(
            [nginx, "-p", self._folder, "-c", config, "-e", self._folder / "error.log"],
            preexec_fn=pinned(SERVER_CORE),  # noqa: PLW1509 - no thread has been started by then
        )
        body = b'{"type":"order_updated","data":"'
        body += b"x" * (size - len(body) - 2) + b'"}'
        head = f"POST /pub HTTP/1.1\r\nHost: nchan\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self._post = head + body
        self._publisher: trio.SocketStream | None = None

    @property
    def pids(self) -> list[int]:
        return family(self._process.pid)

    def crowd(self) -> Crowd:
        return Crowd(self.port, dialect="ws", path="/sub", marker=self.marker)

    async def emit(self, events: int) -> int:
        if self._publisher is None:
            with trio.fail_after(START_SECONDS):
                while self._publisher is None:
                    try:
                        self._publisher = await trio.open_tcp_stream("127.0.0.1", self.port)
                    except OSError:
                        await trio.sleep(0.05)
        at = realtime_ns()
        await self._publisher.send_all(self._post * events)
        answered = 0
        while answered < events:
            data = await self._publisher.receive_some()
            if not data:
                raise Missing("nchan has hung up")
            answered += data.count(b"HTTP/1.1 20")
        return at

    async def settle(self) -> None:
        await trio.sleep(1)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def peer(name: str, size: int) -> Iterator[Contestant]:
    """A peer that runs for as long as the block. Raises Missing."""
    made: Piped | Nchan
    match name:
        case "socketio":
            made = SocketIo(name, size)
        case "ws":
            made = Node(name, size)
        case "nchan":
            made = Nchan(size)
        case _:
            made = Piped(name, [compiled("floor")], size)
    try:
        yield made
    finally:
        made.close()


def install_peers() -> None:
    """The npm packages of the peers, beside their programs, if they are not there."""
    npm = shutil.which("npm")
    if npm is not None and not (PEERS / "node_modules" / "socket.io").exists():
        subprocess.run([npm, "install", "--silent"], cwd=PEERS, check=True, stdout=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# -- TableTap


class Ordered(msgspec.Struct, frozen=True):
    id: str
    items: list[dict[str, Any]]


class TableTap:
    """The server as its users run it, with its Postgres. An event is a line of an order that is held or fired: one
    command on a crew socket, one commit, one message to the kitchen."""

    name = "tabletap"
    marker = '{"type":"order_updated"'

    def __init__(self, server: CrashServer, orders: int) -> None:
        self._server = server
        self._orders_wanted = orders
        self._toggles: list[tuple[str, Iterator[str]]] = []
        self._ids = itertools.count(1)
        self.base: dict[int, float] = {}  # CPU seconds per event with nobody in the room, by how many come at once
        self._socket: Socket | None = None
        self._answered: trio.MemorySendChannel[dict[str, Any]]
        self._answers: trio.MemoryReceiveChannel[dict[str, Any]]
        self._answered, self._answers = trio.open_memory_channel(10_000)

    @property
    def port(self) -> int:  # type: ignore[override]
        return int(self._server.server.url.rpartition(":")[2])

    @property
    def pids(self) -> list[int]:
        return [self._server.pid]

    @property
    def postgres_cpu_s(self) -> float:
        """CPU seconds so far."""
        return Spent.by(self._server.pid, self._server.postgres_pid).postgres

    async def start(self, nursery: trio.Nursery) -> None:
        """With Postgres noting the moment of each commit; the server on its core, all else on the other."""
        await self._server.start()
        await query(self._server, "ALTER SYSTEM SET track_commit_timestamp = on")
        await self._server.stop()
        await self._server.start()
        pin(family(self._server.pid), CLIENT_CORE)
        pin(family(self._server.postgres_pid), CLIENT_CORE)
        pin(self.pids, SERVER_CORE)
        demo = self._server.demo
        target = f"/ws/counter?cafe={demo['cafe']['slug']}"
        self._socket = socket = await Socket.open(self._server.server, target, demo["tokens"]["counter"])
        nursery.start_soon(socket.write)
        nursery.start_soon(self._listen, socket)
        # Whoever gives the commands must not be one of those who are told.
        room = f"cafe:{demo['cafe']['id']}:staff"
        socket.post(msgspec.json.encode({"op": "unsubscribe", "id": "0", "room": room}))
        for _ in range(self._orders_wanted):
            await self._prepare()

    async def _prepare(self) -> None:
        """An order that is being made, with a line that can wait and go on without anything else being changed."""
        item = {"sku": "cold-brew", "quantity": 1}
        placed = await self.command("orders.place", {"channel": "counter", "items": [item, item]})
        order = msgspec.convert(placed, Ordered)
        first, second = (line["line"] for line in order.items)
        await self.command("items.start", {"orderId": order.id, "line": first})
        moves = itertools.cycle(("items.hold", "items.fire"))
        self._toggles.append((order.id, moves))
        self._line = second

    def crowd(self) -> Crowd:
        demo = self._server.demo
        return Crowd(
            self.port,
            dialect="ws",
            path=f"/ws/kitchen?cafe={demo['cafe']['slug']}",
            marker=self.marker,
            headers=[f"Authorization: Bearer {demo['tokens']['kitchen']}"],
        )

    async def emit(self, events: int) -> int:
        """``events`` commands at once, each about an order of its own; back when all are answered."""
        assert events <= len(self._toggles)
        at = realtime_ns()
        for order_id, moves in self._toggles[:events]:
            self._post(next(moves), {"orderId": order_id, "line": self._line})
        for _ in range(events):
            await self._answer()
        return at

    async def command(self, op: str, data: dict[str, Any]) -> Any:
        self._post(op, data)
        return (await self._answer())["data"]

    def _post(self, op: str, data: dict[str, Any]) -> None:
        assert self._socket is not None
        self._socket.post(msgspec.json.encode({"op": op, "id": str(next(self._ids)), "data": data}))

    async def _answer(self) -> dict[str, Any]:
        with trio.fail_after(START_SECONDS):
            answer = await self._answers.receive()
        assert answer["type"] == "reply", answer
        return answer

    async def _listen(self, socket: Socket) -> None:
        while True:
            for text in await socket.receive():
                if text.startswith((b'{"type":"reply"', b'{"type":"error"')):
                    self._answered.send_nowait(msgspec.json.decode(text))

    async def settle(self) -> None:
        await trio.sleep(1)

    async def head(self) -> int:
        """The newest offset."""
        return int((await query(self._server, 'SELECT max("offset") FROM events'))[0][0])

    async def committed(self, after: int) -> list[int]:
        """The moments at which the kitchen's events after an offset were committed, in their order (ns)."""
        rows = await query(
            self._server,
            """SELECT pg_xact_commit_timestamp(xmin) FROM events
               WHERE "offset" > $1 AND type = 'order.items_moved' ORDER BY "offset\"""",
            after,
        )
        return [int(row[0].timestamp() * 1e6) * 1000 for row in rows]


async def query(server: CrashServer, statement: str, *arguments: object) -> Any:
    """Ask the server's own Postgres."""

    async def fetch() -> Any:
        connection = await asyncpg.connect(host=str(server.state / "run"), user="tabletap", database="postgres")
        try:
            return await connection.fetch(statement, *arguments)
        finally:
            await connection.close()

    return await trio.to_thread.run_sync(lambda: asyncio.run(fetch()))
