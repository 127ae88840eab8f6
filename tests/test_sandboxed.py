"""The sandbox at a demo's side lives as long as the demo does, and finds its books again."""

import json
import os
import signal
import stat
import subprocess
import sys
import time

import httpx
import msgspec

from tabletap.gateways.payconic import PayconicSettings
from tabletap.sandboxed import sandboxed
from tabletap.settings import load

PATIENCE_S = 30
POLL_S = 0.02
SERVER = """
import signal
from tabletap.sandboxed import sandboxed
from tabletap.settings import load
with sandboxed(load()) as loaded:
    print(loaded.payconic.url, flush=True)
    signal.pause()
"""


def statement(settings):
    """What the sandbox says it charged."""
    headers = {"Authorization": f"Bearer {settings.payconic.key}"}
    answer = httpx.get(f"{settings.payconic.url}/control/statement", headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


def answers(settings):
    """Whether anybody is there."""
    try:
        return statement(settings) is not None
    except httpx.TransportError:
        return False


def pay(settings):
    """Make a payment."""
    body = {
        "merchantReference": "a-payment",
        "amount": 500,
        "currency": "AUD",
        "method": "card",
        "description": "",
        "reference": "",
        "expiresAt": "2100-01-01T00:00:00Z",
        "callbackUrl": "http://127.0.0.1:9/",
        "returnUrl": "http://127.0.0.1:9/",
    }
    headers = {
        "Authorization": f"Bearer {settings.payconic.key}",
        "X-Merchant-ID": settings.payconic.merchant_id,
        "Idempotency-Key": "a-payment",
    }
    made = httpx.post(f"{settings.payconic.url}/v1/payments", json=body, headers=headers, trust_env=False)
    assert made.status_code == 201, made.text


def test_a_sandbox_ends_with_its_server_even_by_sigkill_and_the_next_one_goes_on_with_its_books(tmp_path):
    state = tmp_path / "state"
    settings = load("demo", {"TABLETAP_STATE": str(state)})
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TABLETAP_")}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], env=kept | {"TABLETAP_STATE": str(state)}, stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        agreed = json.loads((state / "sandbox.json").read_text())
        told = PayconicSettings(**agreed, url=url, timeout_s=settings.payconic.timeout_s)
        first = msgspec.structs.replace(settings, payconic=told)
        pay(first)
        before = statement(first)
        server.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while answers(first):
        assert time.monotonic() < deadline
        time.sleep(POLL_S)

    with sandboxed(settings) as second:
        assert second.payconic == told, "links that were given out are still good, and so is the key"
        assert statement(second) == before
    assert not answers(second)
    assert stat.S_IMODE((state / "sandbox.json").stat().st_mode) == 0o600


def test_a_server_that_has_a_provider_gets_no_sandbox(tmp_path):
    state = tmp_path / "state"
    told = {"URL": "https://provider.example", "KEY": "k", "MERCHANT": "m", "WEBHOOK_SECRET": "s"}
    environment = {f"TABLETAP_PAYCONIC_{name}": value for name, value in told.items()}
    settings = load("demo", environment | {"TABLETAP_STATE": str(state)})
    with sandboxed(settings) as same:
        assert same is settings
    assert not state.exists()
