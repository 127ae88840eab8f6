"""Days that are closed while the server is killed: every closing that was asked for is there once, and no cent is lost.

Closers and cashiers go on through a SIGKILL, each repeating with its own key what it has no answer to.
"""

import json
from typing import Any
from uuid import uuid4

import trio

from tabletap.simulate.rest import Rest
from tests.load.crash_server import CrashServer

PATIENCE_S = 120
CASHIERS = 4
CLOSERS = 3
ROUNDS = 12
KILL_AT = 10
"""So many closings have been answered when the server dies, with others under way."""

ORDER = {
    "channel": "counter",
    "items": [{"sku": "flat-white", "quantity": 1, "modifiers": [{"group": "milk", "option": "full-cream"}]}],
}


class Evening:
    """``closed``: the answers to closings, by key; ``billed``: what was paid for."""

    def __init__(self, crash: CrashServer) -> None:
        self.crash = crash
        self.rest = Rest(crash.server)
        self.closed: dict[str, Any] = {}
        self.billed = 0
        self.begun = trio.Event()

    async def ask(self, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
        token = self.crash.demo["tokens"]["owner"]
        answer = await self.rest.ask(method, path, token=token, key=key, body=body)
        assert answer.ok, answer.body
        return json.loads(answer.body)

    async def sell(self) -> None:
        for _ in range(ROUNDS):
            order = await self.ask("POST", "/api/demo/orders", ORDER, str(uuid4()))
            begin = {"orderId": order["id"], "paymentMethod": "cash"}
            begun = await self.ask("POST", "/api/payments/initiate", begin, str(uuid4()))
            path = f"/api/payments/{begun['paymentId']}/verify"
            await self.ask("POST", path, {"tendered": 10_000}, str(uuid4()))
            self.billed += order["total"]

    async def close(self) -> None:
        for _ in range(ROUNDS):
            key = str(uuid4())
            self.closed[key] = await self.ask("POST", "/api/demo/reports/z", {"force": True}, key)
            if len(self.closed) == KILL_AT:
                self.begun.set()

    async def die(self) -> None:
        await self.begun.wait()
        self.crash.kill()
        await self.crash.start()


async def test_closings_outlive_a_kill_each_with_one_number_and_all_money_in_one_of_them() -> None:
    with trio.fail_after(PATIENCE_S), CrashServer() as crash:
        await crash.start()
        evening = Evening(crash)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(evening.die)
            for _ in range(CASHIERS):
                nursery.start_soon(evening.sell)
            for _ in range(CLOSERS):
                nursery.start_soon(evening.close)
        last = await evening.ask("POST", "/api/demo/reports/z", {"force": True}, str(uuid4()))
        answered = {report["number"]: report for report in [*evening.closed.values(), last]}
        assert sorted(answered) == list(range(1, CLOSERS * ROUNDS + 2)), "one number for each, without a gap"
        charged, before = 0, {"offset": 0, "counted": {"identity": {"open": 0}}}
        for number in sorted(answered):
            report = await evening.ask("GET", f"/api/demo/reports/z/{number}")
            assert report == answered[number], "printed again as it was answered"
            one = report["counted"]["identity"]
            assert one["orders"] == one["tenders"] + one["rounding"] + one["refunds"] + one["open"]
            assert one["carriedIn"] == before["counted"]["identity"]["open"]  # type: ignore[index]
            assert report["afterOffset"] == before["offset"]
            charged, before = charged + one["charged"], report
        assert charged == evening.billed
        assert last["counted"]["identity"]["open"] == 0
        await evening.rest.aclose()
