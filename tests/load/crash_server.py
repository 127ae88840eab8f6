"""A real server that is made to crash: started as its users start it, killed as a power cut would."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from tabletap.client import Server

READY_SECONDS = 180.0
STOP_SECONDS = 12.0
LOG_TAIL_CHARS = 3000


class DidNotStart(Exception):  # noqa: N818 - named by what is the case
    """The server ended or kept silent instead of getting ready."""


class CrashServer:
    """``python -m tabletap demo`` on a state folder of its own. Leaving the block ends all that was started.

    ``port``: the same at every start (0: a free one); ``environment``: settings over those of the demo; ``module``:
    what is run in place of ``tabletap``.
    """

    def __init__(self, port: int = 0, environment: Mapping[str, str] | None = None, module: str = "tabletap") -> None:
        self._port = port
        self._module = module
        self.environment = environment or {}
        # Not in the folder of the tests: as root, Postgres runs as another user, who must reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="tt-crash-"))
        self.folder.chmod(0o755)
        self.state = self.folder / "state"
        self.log = self.folder / "server.log"
        self.server = Server("http://127.0.0.1:1")
        self.demo: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        self.kill_postgres()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def postgres_pid(self) -> int:
        """Of its postmaster, as Postgres says."""
        return int((self.state / "pg" / "postmaster.pid").read_text().split("\n", 1)[0])

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises DidNotStart."""
        self.launch()
        await self.ready()

    def launch(self) -> None:
        """Start it without waiting."""
        environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        (self.folder / "stdout").unlink(missing_ok=True)
        with self.log.open("ab") as log, (self.folder / "stdout").open("wb") as stdout:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, "demo", "--port", str(self._port)],
                env={**environment, **self.environment, "TABLETAP_STATE": str(self.state)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait for the line ``ready URL``."""
        with trio.move_on_after(READY_SECONDS):
            while self.alive:
                # The log may stand on stdout too: only our line counts.
                for line in (self.folder / "stdout").read_text().splitlines():
                    if line.startswith("ready http"):
                        self.server.url = line.removeprefix("ready ").strip()
                        self.demo = json.loads((self.state / "demo.json").read_text())
                        return
                await trio.sleep(0.05)
        raise DidNotStart(self.tail())

    def tail(self) -> str:
        """The end of what it said."""
        return (self.log.read_text(errors="replace") + (self.folder / "stdout").read_text(errors="replace"))[
            -LOG_TAIL_CHARS:
        ]

    def kill(self) -> None:
        """SIGKILL to the server and whatever is in its process group. Its Postgres is in another one and lives on."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def kill_postgres(self) -> bool:
        """SIGKILL to the postmaster; its children notice and end. False: there was none."""
        try:
            pid = self.postgres_pid
            if Path(f"/proc/{pid}/cwd").readlink() != (self.state / "pg").resolve():
                return False  # a stale file, and somebody else's process by now
            os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            return False
        return True

    async def stop(self) -> bool:
        """SIGTERM; whether it ended in time, its Postgres included."""
        assert self._process is not None
        self._process.terminate()
        with trio.move_on_after(STOP_SECONDS):
            while self.alive:  # noqa: ASYNC110 - a process started without trio, to be killed without it
                await trio.sleep(0.05)
        return not self.alive and not (self.state / "pg" / "postmaster.pid").exists()
