"""The Payconic sandbox as a process of its own, as anybody meets it: ``python -m tabletap sandbox``.

with running_sandbox() as sandbox:
    sandbox.auto(approveAfterMs=[0, 20])
    ...  # a server with sandbox.environment() in its environment
    sandbox.until_quiet()
    assert sandbox.statement()["payments"] == ...
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

KEY = "key-of-the-merchant"
MERCHANT = "merchant-1"
WEBHOOK_SECRET = "secret-of-the-webhooks"
PATIENCE_S = 30
"""Nothing is waited for any longer; nothing asserts how long it took."""

STOPS_WITHIN_S = 5
POLL_S = 0.02


class Sandbox:
    """A running sandbox. ``http`` speaks as the merchant."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.port = 0
        self.url = ""
        self.http = httpx.Client()
        self.start()

    def start(self) -> None:
        """Start the process and wait for its line; again at the same port, if it has had one."""
        command = [sys.executable, "-m", "tabletap", "sandbox", "--port", str(self.port), "--state", self.state]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TABLETAP_")}
        told = {**kept, **self.environment(url="")}
        self.process = subprocess.Popen(command, env=told, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().decode().split()
        if ready[:1] != ["ready"]:
            self.kill()
            raise RuntimeError("the sandbox did not start: its standard error says why")
        self.url = ready[1]
        self.port = httpx.URL(self.url).port or 0
        headers = {"Authorization": f"Bearer {KEY}", "X-Merchant-ID": MERCHANT}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, trust_env=False)

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def environment(self, url: str | None = None) -> Mapping[str, str]:
        """What makes a server use this sandbox."""
        return {
            "TABLETAP_PAYCONIC_URL": self.url if url is None else url,
            "TABLETAP_PAYCONIC_KEY": KEY,
            "TABLETAP_PAYCONIC_MERCHANT": MERCHANT,
            "TABLETAP_PAYCONIC_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }

    # -- the protocol

    def post(self, path: str, body: Any, *, key: str | None = None, **more: Any) -> httpx.Response:
        """POST with an Idempotency-Key, a new one unless it is given."""
        return self.http.post(path, json=body, headers={"Idempotency-Key": key or str(uuid.uuid4())}, **more)

    def pay(self, callback_url: str, **more: Any) -> Any:
        """A new payment."""
        body = payment_request(callback_url, **more)
        made = self.post("/v1/payments", body, key=body["merchantReference"])
        assert made.status_code == 201, made.text
        return made.json()

    def payment(self, ident: str) -> Any:
        """How it stands."""
        found = self.http.get(f"/v1/payments/{ident}")
        assert found.status_code == 200, found.text
        return found.json()

    # -- control

    def act(self, ident: str, move: str) -> Any:
        """``approve``, ``decline``, ``cancel``, ``expire``, ``dispute`` or ``win-dispute`` a payment."""
        return self._control("POST", f"/control/payments/{ident}/{move}")

    def misbehave(self, **told: Any) -> Any:
        """From now on so, and otherwise well."""
        return self._control("POST", "/control/misbehave", told)

    def auto(self, **told: Any) -> Any:
        """Approve or decline new payments, or (nothing told) leave them alone."""
        return self._control("POST", "/control/auto", told)

    def down(self, seconds: float) -> Any:
        """Be gone for so long."""
        return self._control("POST", "/control/down", {"seconds": seconds})

    def statement(self) -> Any:
        """What it really charged and refunded."""
        return self._control("GET", "/control/statement")

    def quiet(self) -> Any:
        """Whether nothing is outstanding."""
        return self._control("GET", "/control/quiet")

    def until_quiet(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until nothing is outstanding."""
        deadline = time.monotonic() + patience_s
        while not (said := self.quiet())["quiet"]:
            assert time.monotonic() < deadline, said
            time.sleep(POLL_S)

    def _control(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _end(self, number: int) -> int:
        self.http.close()
        self.process.send_signal(number)
        try:
            return self.process.wait(STOPS_WITHIN_S)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()


@contextmanager
def running_sandbox(state: Path | None = None) -> Iterator[Sandbox]:
    """Start it at a free port, ``state`` being its file (None: in memory), and stop it at the end."""
    sandbox = Sandbox(":memory:" if state is None else str(state))
    try:
        yield sandbox
    finally:
        if sandbox.process.poll() is None:
            sandbox.stop()


def payment_request(callback_url: str, **more: Any) -> Any:
    """The body of a request for a new payment."""
    return {
        "merchantReference": str(uuid.uuid4()),
        "amount": 1250,
        "currency": "AUD",
        "method": "card",
        "description": "Order 7 at Test Cafe",
        "reference": "TT-7",
        "expiresAt": in_seconds(1800),
        "callbackUrl": callback_url,
        "returnUrl": "http://127.0.0.1:9/demo?payment=TT-7",
        **more,
    }


def in_seconds(seconds: float) -> str:
    """A moment from now, RFC 3339."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
