"""The crowd: thousands of sockets in one small C program (``peers/crowd.c``), and what processes cost while it listens.

One client for every contestant, cheap enough to be no part of the figure: it counts events and says when the last
socket has the K-th.
"""

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import psutil
import trio

PEERS = Path(__file__).parent / "peers"
BUILT = PEERS / "built"
SERVER_CORE, CLIENT_CORE = 0, 1
DESCRIPTORS = 20_000
CONNECT_SECONDS = 120.0
EVENT_SECONDS = 60.0


class Lost(Exception):  # noqa: N818 - named by what is the case
    """A socket has ended, or the crowd itself."""


def compiled(name: str) -> Path:
    """A program of ``peers``, built when its source is newer. Needs a C compiler."""
    source, program = PEERS / f"{name}.c", BUILT / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise SystemExit(f"{source.name} needs a C compiler (gcc)")
        BUILT.mkdir(exist_ok=True)
        subprocess.run([compiler, "-O2", "-Wall", "-o", program, source], check=True)
    return program


def raise_descriptor_limit() -> None:
    """Here and, by inheritance, in everything started from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        hard = DESCRIPTORS  # as root it may be raised; else this says plainly that it may not
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def pin(pids: Iterable[int], core: int) -> None:
    """Every thread of these processes. Where the machine has one core only, there is nothing to choose."""
    core %= os.cpu_count() or 1
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):  # it has just ended
            for thread in psutil.Process(pid).threads():
                os.sched_setaffinity(thread.id, {core})


def pinned(core: int) -> Callable[[], None]:
    """The same for a process that is about to be started (``preexec_fn``)."""
    core %= os.cpu_count() or 1
    return lambda: os.sched_setaffinity(0, {core})


class Cost(msgspec.Struct, frozen=True):
    """Of some processes: CPU seconds so far, and the memory that is theirs alone (bytes)."""

    cpu_s: float
    own_bytes: int

    @classmethod
    def of(cls, pids: Iterable[int], *, memory: bool = False) -> "Cost":
        """Now. Reading the memory takes a while."""
        processes = [psutil.Process(pid) for pid in pids]
        spent = [process.cpu_times() for process in processes]
        own = sum(process.memory_full_info().uss for process in processes) if memory else 0
        return cls(sum(times.user + times.system for times in spent), own)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


class Crowd:
    """``connect`` as many as are wanted, make something happen, ``wait`` for the moment at which the last has heard."""

    def __init__(self, port: int, *, dialect: str, path: str, marker: str, headers: Sequence[str] = ()) -> None:
        self._process = subprocess.Popen(
            [compiled("crowd"), str(port), dialect, path, marker, *headers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=pinned(CLIENT_CORE),  # noqa: PLW1509 - no thread has been started by then
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands = self._process.stdin
        self._said = trio.lowlevel.FdStream(os.dup(self._process.stdout.fileno()))
        self._rest = b""
        self._all_at: list[int] = []  # by event, from the first: when the last socket had it (ns of the realtime clock)
        self._answers: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def heard(self) -> int:
        """The events that every socket has."""
        return len(self._all_at)

    async def connect(self, sockets: int) -> None:
        """Open sockets until there are so many. Counting begins anew."""
        await self._ask(f"connect {sockets}", "connected", CONNECT_SECONDS)
        self._all_at.clear()

    async def wait(self, events: int, seconds: float = EVENT_SECONDS) -> int:
        """Until every socket has so many events; when the last one had the last of them. Raises Lost."""
        with trio.move_on_after(seconds):
            while len(self._all_at) < events:
                await self._read()
        if len(self._all_at) < events:
            raise Lost(f"only {len(self._all_at)} of {events} events have reached everybody: {await self.check()}")
        return self._all_at[events - 1]

    async def listen(self) -> None:
        """Take in what it says, until cancelled; for as long as nobody waits."""
        while True:
            await self._read()

    async def check(self) -> tuple[int, ...]:
        """Fewest and most events of a socket, fewest and most bytes, sockets lost."""
        return tuple(int(word) for word in await self._ask("check", "check", EVENT_SECONDS))

    async def _ask(self, command: str, answer: str, seconds: float) -> list[str]:
        self._answers.pop(answer, None)
        self._commands.write(f"{command}\n".encode())
        self._commands.flush()
        with trio.fail_after(seconds):
            while answer not in self._answers:
                await self._read()
        return self._answers.pop(answer)

    async def _read(self) -> None:
        data = await self._said.receive_some()
        if not data:
            raise Lost("the crowd has gone")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            match line.decode().split():
                case ["all", number, at]:
                    assert int(number) == len(self._all_at) + 1, "an event has come before the one before it"
                    self._all_at.append(int(at))
                case ["lost", count]:
                    raise Lost(f"{count} sockets have ended")
                case [answer, *words]:
                    self._answers[answer] = words


def percentile(values: Sequence[float], share: float) -> float:
    """Of unsorted values; nearest rank."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]


def realtime_ns() -> int:
    """The clock of the crowd and of Postgres."""
    return time.time_ns()
