"""A real server with its demo cafe, as `make demo PORT=0` starts it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

STOP_WITHIN_S = 10


class Demo:
    """The running server, and REST with a role's token."""

    def __init__(self, state: Path, process: subprocess.Popen[str], url: str) -> None:
        self.state = state
        self.process = process
        self.url = url
        self.told: dict[str, Any] = json.loads((state / "demo.json").read_text())

    def call(self, role: str, path: str, body: Any = None, *, method: str | None = None) -> Any:
        """POST ``body`` (or GET, without one; or as ``method`` says) as ``role``; the answer's JSON."""
        headers = {"Authorization": f"Bearer {self.told['tokens'][role]}", "Content-Type": "application/json"}
        if body is not None:
            headers["Idempotency-Key"] = str(uuid4())
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)


@contextmanager
def running_demo(state: Path) -> Iterator[Demo]:
    """Start it on a free port, wait for its line, stop it by SIGTERM."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TABLETAP_", "DATABASE_"))}
    log = state.parent / "demo.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tabletap", "demo", "--port", "0"],
            env=environment | {"TABLETAP_STATE": str(state)},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()  # ends with the process, whose own limits on starting are shorter than ours
        assert line.startswith("ready http://"), (line, log.read_text())
        yield Demo(state, process, line.split()[1])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_WITHIN_S)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
