"""Autobahn's cases, as kosoku runs them, find no failure: in what we serve, and in how our client reads frames.

Left out are sections 12 and 13, on compression, which we do not offer.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from tabletap.client import Server
from tabletap.client.frames import BINARY, CLOSE, PING, PONG, TEXT, ProtocolViolation, frame
from tabletap.client.socket import Socket

KOSOKU = Path(sys.executable).with_name("kosoku")
WITHOUT = ("-x", "12.*", "-x", "13.*")
PATIENCE_S = 300
AGENT = "tabletap"

pytestmark = pytest.mark.skipif(not KOSOKU.exists(), reason="no conformance suite: pip install kosoku")


def ended_otherwise(report: Path, cases_at_least: int) -> dict[str, str]:
    """The cases that did not end well, and how they ended."""
    ((_, cases),) = json.loads((report / "index.json").read_text()).items()
    assert len(cases) >= cases_at_least
    ends = {case: f"{found['behavior']}, {found['behaviorClose']}" for case, found in cases.items()}
    return {case: end for case, end in ends.items() if end not in ("OK, OK", "INFORMATIONAL, INFORMATIONAL")}


@contextmanager
def started(*command: str | Path, said_on: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process, and the first line that it has said there."""
    process = subprocess.Popen(command, text=True, **{said_on: subprocess.PIPE})  # type: ignore[call-overload]
    try:
        yield process, getattr(process, said_on).readline()
    finally:
        process.terminate()
        process.wait(10)
        getattr(process, said_on).close()


def test_what_we_serve_is_websocket(tmp_path: Path) -> None:
    with started(sys.executable, "-m", "tests.load.echo", said_on="stdout") as (_, ready):
        url = ready.split()[1]
        command = [KOSOKU, "-p", "2", *WITHOUT, "-o", tmp_path, url]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended_otherwise(tmp_path, 300) == {}
    assert ran.returncode == 0, ran.stdout


async def test_our_client_reads_and_writes_websocket(tmp_path: Path) -> None:
    command = (KOSOKU, "-m", "fuzzingserver", *WITHOUT, "-x", "9.*", "-o", str(tmp_path), "127.0.0.1:0")
    with started(*command, said_on="stderr") as (process, said):
        server = Server("http" + said.split("ws", 1)[1].strip())
        with trio.fail_after(PATIENCE_S):
            (count,) = await _talk(server, "/getCaseCount")
            for case in range(1, int(count) + 1):
                await _talk(server, f"/runCase?case={case}&agent={AGENT}")
            await _talk(server, f"/updateReports?agent={AGENT}")
            await trio.to_thread.run_sync(process.wait)
    # A text that is not UTF-8 is refused at its end and not within, which is allowed.
    assert ended_otherwise(tmp_path, 240) == dict.fromkeys(("6.4.1", "6.4.2", "6.4.3", "6.4.4"), "NON-STRICT, OK")


async def _talk(server: Server, target: str) -> list[bytes]:
    """Answer every message with itself until the connection ends; what was heard."""
    socket = await Socket.open(server, target, "token", 17 * 1024 * 1024)
    stream, reader = socket._stream, socket._reader
    heard, data = [], socket._first
    farewell: bytes | None = None
    try:
        while True:
            for opcode, payload in reader.feed(data):
                if opcode in (TEXT, BINARY):
                    heard.append(payload)
                    await stream.send_all(frame(opcode, payload))
                elif opcode == PING:
                    await stream.send_all(frame(PONG, payload))
                elif opcode == CLOSE and farewell is None:
                    farewell = payload
                    await stream.send_all(frame(CLOSE, payload[:2]))
            if reader.violation is not None:
                raise reader.violation
            data = bytes(await stream.receive_some())
            if not data:
                break
    except ProtocolViolation as violation:
        await stream.send_all(frame(CLOSE, violation.code.to_bytes(2)))
    except trio.BrokenResourceError:
        pass
    finally:
        await trio.aclose_forcefully(stream)
    return heard
