"""The sandbox of Payconic as a process of its own, for loads that outlive the server."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import trio

from .crash_server import CrashServer

KEY, MERCHANT, SECRET = "sandbox-key-of-the-load", "merchant-of-the-load", "webhook-secret-of-the-load"
READY_SECONDS = 30.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class SandboxServer:
    """``python -m tabletap sandbox`` on a state file in ``folder``. Leaving the block ends it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "TABLETAP_PAYCONIC_URL": self.url,
            "TABLETAP_PAYCONIC_KEY": KEY,
            "TABLETAP_PAYCONIC_MERCHANT": MERCHANT,
            "TABLETAP_PAYCONIC_WEBHOOK_SECRET": SECRET,
        }
        self.log = folder / "sandbox.log"
        self._state = folder / "sandbox.sqlite"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tabletap", "sandbox", "--port", str(self.port), "--state", str(self._state)],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    async def ready(self) -> None:
        """Wait until it answers."""
        with trio.fail_after(READY_SECONDS):
            while True:
                try:
                    await self.ask("GET", "/control/quiet")
                except httpx.TransportError:
                    await trio.sleep(0.05)
                else:
                    return

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """A word with its control. Raises httpx.HTTPError."""
        async with httpx.AsyncClient(base_url=self.url, timeout=10.0, trust_env=False) as client:
            answer = await client.request(method, path, json=body, headers={"authorization": f"Bearer {KEY}"})
            answer.raise_for_status()
            return answer.json()


@contextmanager
def server_and_provider() -> Iterator[tuple[CrashServer, SandboxServer]]:
    """A server, still to be started, that is paid by way of this provider, which outlives it."""
    port = free_port()  # the same after each kill: the provider keeps telling it there
    with CrashServer(port) as server, SandboxServer(server.folder) as sandbox:
        server.environment = {**sandbox.environment, "TABLETAP_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        yield server, sandbox
