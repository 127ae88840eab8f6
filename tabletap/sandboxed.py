"""A server with a Payconic sandbox at its side, as a child process: for `make demo`.

The sandbox lives exactly as long as the server. Its standard input is a pipe that only the server holds; the kernel
closes it however the server ends, SIGKILL included. What the two must agree upon is made at the first start and kept in
the state folder (``sandbox.json``, readable by its owner only), beside the sandbox's own books (``sandbox.sqlite``).
"""

import os
import secrets
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tabletap.gateways.payconic import PayconicSettings
from tabletap.gateways.sandbox.process import SandboxFailed
from tabletap.settings import Settings

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 1.5
"""Then it is killed, and loses nothing: the server and this together must end in ten seconds."""

MERCHANT = "tabletap-demo"


class _Agreed(msgspec.Struct, frozen=True, kw_only=True):
    key: str
    merchant_id: str
    webhook_secret: str


@contextmanager
def sandboxed(settings: Settings) -> Iterator[Settings]:
    """Settings that lead to a sandbox, which runs until the end of the block; or as they are, if they name a provider.

    Raises SandboxFailed.
    """
    if settings.payconic.url:
        yield settings
        return
    agreed = _agreed(settings.state)
    process = _started(settings, agreed)
    try:
        payconic = PayconicSettings(
            url=_ready(process),
            key=agreed.key,
            merchant_id=agreed.merchant_id,
            webhook_secret=agreed.webhook_secret,
            timeout_s=settings.payconic.timeout_s,
        )
        yield msgspec.structs.replace(settings, payconic=payconic)
    finally:
        _stop(process)


def _started(settings: Settings, agreed: _Agreed) -> subprocess.Popen[bytes]:
    told = {
        "TABLETAP_PAYCONIC_KEY": agreed.key,
        "TABLETAP_PAYCONIC_MERCHANT": agreed.merchant_id,
        "TABLETAP_PAYCONIC_WEBHOOK_SECRET": agreed.webhook_secret,
    }
    state = str(settings.state / "sandbox.sqlite")
    command = [sys.executable, "-m", "tabletap", "sandbox", "--port", "0", "--state", state, "--until-stdin-closes"]
    # A session of its own: Ctrl-C is for the server, which still needs it while it ends.
    return subprocess.Popen(  # noqa: S603  ourselves
        command, env=os.environ | told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )


def _ready(process: subprocess.Popen[bytes]) -> str:
    """The URL, once it answers."""
    assert process.stdout is not None
    if select.select([process.stdout], [], [], READY_WITHIN_S)[0]:
        word, _, url = process.stdout.readline().decode().strip().partition(" ")
        if word == "ready":
            return url
    raise SandboxFailed("the Payconic sandbox did not start")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _agreed(state: Path) -> _Agreed:
    path = state / "sandbox.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Agreed)
    except FileNotFoundError:
        made = _Agreed(key=secrets.token_hex(24), merchant_id=MERCHANT, webhook_secret=secrets.token_hex(24))
    state.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"sandbox.json.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(made))
    fresh.replace(path)
    return made
