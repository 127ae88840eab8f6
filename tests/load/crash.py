"""``python -m tests.load.crash --rounds 20``: what was acknowledged survives SIGKILL at any moment.

A real server with its own Postgres is under a load of orders and payments, over REST and sockets, at several cafes;
a good part of the money goes by a provider, which is not killed and goes on charging meanwhile.
At random moments the server is killed, or its Postgres, or both, or the server again while it starts; it is started on
the same state, and the load goes on, repeating what was not answered. In the end every acknowledgement is looked for.
"""

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import msgspec
import trio

from tabletap.simulate.baskets import Baskets, Cafe
from tabletap.simulate.line import Line
from tabletap.simulate.rest import Rest

from .crash_check import Findings, check
from .crash_load import Guest, Staff
from .crash_record import Record
from .crash_server import CrashServer, DidNotStart
from .crash_watch import Watch
from .sandbox_server import SandboxServer, server_and_provider
from .tool import say, until_interrupted

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo"
MORE_CAFES = 2
GUESTS_PER_CAFE = 4
LOAD_SECONDS = (0.5, 3.0)
COMES_BACK_SECONDS = 30.0
CLOSING_SECONDS = 90.0
KILLS = ("server",) * 5 + ("postgres",) * 2 + ("both",) * 2 + ("while starting",)
ACKS_SINCE = 40
"""So many answers after a kill cannot be those that were on their way: the server is back."""

AUTO = {"approveAfterMs": [20, 800], "decline": 0.1}
MISCHIEF = {"timeoutAfterCharging": 0.05, "duplicate": 0.2, "reorder": 0.2}
"""Of the provider, which outlives every kill; ``make chaos-payments`` is the whole of it."""

PROVIDER_TIMEOUT_S = 5.0
"""An answer that never comes is given up after this, so that what hangs on it is settled soon after closing time."""

APPEARS = frozenset({"order_created", "new_order", "new_paid_order"})


class Result(msgspec.Struct, rename="camel"):
    rounds: int
    acked: int
    lost: int
    duplicated: int
    gaps: int
    ledger_sum: int
    overpaid: int
    outbox_left: int
    resume_missed: int
    resume_repeated: int
    resume_differed: int
    out_of_order: int
    surprises: dict[str, int]
    orders: int
    payments: int
    at_provider: int
    declined: int
    replays: int
    kills: dict[str, int]
    restart_seconds: float
    stopped_cleanly: bool
    seed: int
    seconds: float

    @property
    def well(self) -> bool:
        wrong = (self.lost, self.duplicated, self.gaps, self.ledger_sum, self.overpaid, self.outbox_left)
        resumed = (self.resume_missed, self.resume_repeated, self.resume_differed, self.out_of_order)
        return not any((*wrong, *resumed, *self.surprises.values())) and self.acked > 0 and self.stopped_cleanly


class Place:
    """One cafe under load."""

    def __init__(self, crash: CrashServer, cafe_id: str, slug: str, token: str) -> None:
        self.cafe_id = cafe_id
        self.slug = slug
        self.token = token
        self.watch = Watch(crash.server, slug, token)
        # A till that hears nothing: what it must not miss, the watch checks.
        self.till = Line(crash.server, door="kitchen", slug=slug, token=token, on_event=lambda heard, at: None)


class Crash:
    """One run."""

    def __init__(self, crash: CrashServer, sandbox: SandboxServer, rounds: int, seed: int) -> None:
        self._server = crash
        self._sandbox = sandbox
        self._rounds = rounds
        self._seed = seed
        self._chance = Random(seed)
        self._record = Record()
        self._rest = Rest(crash.server)
        self._places: list[Place] = []
        self._kills: dict[str, int] = {}
        self._restarts: list[float] = []

    async def run(self) -> Result:
        began = time.monotonic()
        await self._sandbox.ready()
        await self._sandbox.ask("POST", "/control/auto", AUTO)
        await self._sandbox.ask("POST", "/control/misbehave", {**MISCHIEF, "seed": self._seed})
        await self._server.start()
        say(f"up after {time.monotonic() - began:.1f} s")
        await self._open_cafes()
        async with trio.open_nursery() as lines:
            for place in self._places:
                lines.start_soon(place.watch.line.run)
                lines.start_soon(place.till.run)
            closing = trio.Event()
            async with trio.open_nursery() as guests:
                await self._invite(guests, closing)
                for number in range(self._rounds):
                    await self._round(number)
                await trio.sleep(0.5)
                closing.set()
                guests.cancel_scope.deadline = trio.current_time() + CLOSING_SECONDS
            if guests.cancel_scope.cancelled_caught:
                self._record.surprise("guests were not served at closing time")
            findings = await self._judge()
            lines.cancel_scope.cancel()
        await self._rest.aclose()
        stopped = await self._server.stop()
        return self._result(findings, stopped, time.monotonic() - began)

    async def _open_cafes(self) -> None:
        demo = self._server.demo
        admin = demo["tokens"]["admin"]
        self._places.append(Place(self._server, demo["cafe"]["id"], demo["cafe"]["slug"], admin))
        settings = tomllib.loads((DEMO / "cafe.toml").read_text())["settings"]
        menu = tomllib.loads((DEMO / "menu.toml").read_text())
        for number in range(MORE_CAFES):
            slug = f"crash-{number + 1}"
            body = {"slug": slug, "settings": settings, "menu": menu}
            answer = await self._rest.request("POST", "/api/cafes", token=admin, body=body)
            if answer.status != 201:
                raise DidNotStart(f"no second cafe: {answer.status} {answer.problem}")
            opened: dict[str, Any] = msgspec.json.decode(answer.body)
            self._places.append(Place(self._server, opened["cafeId"], slug, admin))

    async def _invite(self, guests: trio.Nursery, closing: trio.Event) -> None:
        for place in self._places:
            answer = await self._rest.ask("GET", f"/api/{place.slug}/menu")
            baskets = Baskets(msgspec.json.decode(answer.body, type=Cafe).menu, self._chance)
            staff = Staff(self._rest, place.till, place.slug, place.token, self._record, self._chance)
            for _ in range(GUESTS_PER_CAFE):
                guests.start_soon(Guest(staff, place.cafe_id, baskets, self._record, self._chance).come, closing)

    async def _round(self, number: int) -> None:
        await trio.sleep(self._chance.uniform(*LOAD_SECONDS))
        what = self._chance.choice(KILLS)
        self._kills[what] = self._kills.get(what, 0) + 1
        acked = self._record.acked
        began = time.monotonic()
        if not self._server.alive:
            raise DidNotStart(f"the server ended by itself:\n{self._server.tail()}")
        if what in ("postgres", "both") and not self._server.kill_postgres():
            self._record.surprise("no postmaster to kill")
        if what != "postgres":
            self._server.kill()
            self._server.launch()
            if what == "while starting":
                await trio.sleep(self._chance.uniform(0.1, 1.5))
                self._server.kill()
                self._server.launch()
            await self._server.ready()
        was = self._record.acked
        with trio.move_on_after(COMES_BACK_SECONDS) as patience:
            while self._record.acked < was + ACKS_SINCE:  # noqa: ASYNC110 - twelve guests, no one place to wait at
                await trio.sleep(0.02)
        if patience.cancelled_caught:
            self._record.surprise(f"no answer {COMES_BACK_SECONDS:g} s after the kill of {what}")
        if not self._server.alive:
            raise DidNotStart(f"the server did not survive the kill of {what}:\n{self._server.tail()}")
        self._restarts.append(time.monotonic() - began)
        for place in self._places:
            await place.watch.compare()
        say(f"round {number + 1}/{self._rounds}: {what:>14}, {acked} acked, back in {self._restarts[-1]:.1f} s")

    async def _judge(self) -> Findings:
        for place in self._places:
            await self._watch_caught_up(place)
            await place.watch.compare()
        appeared = {
            place.cafe_id: [offset for offset, _, type_, _ in place.watch.heard if type_ in APPEARS]
            for place in self._places
        }
        statement = await self._sandbox.ask("GET", "/control/statement")
        return await trio.to_thread.run_sync(check, self._server.state, self._record, appeared, statement)

    async def _watch_caught_up(self, place: Place) -> None:
        """Its client hears the last order completed."""
        ours = {ident for ident, order in self._record.orders.items() if order.cafe_id == place.cafe_id}
        with trio.move_on_after(COMES_BACK_SECONDS):
            while True:
                seen = {json.loads(data).get("orderId") for _, _, type_, data in place.watch.heard if type_ in APPEARS}
                if ours <= seen:
                    break
                await trio.sleep(0.2)
        await trio.sleep(1.0)  # the news of the queue gather for half a second

    def _result(self, findings: Findings, stopped: bool, seconds: float) -> Result:
        for note in findings.notes:
            say(f"  {note}")
        record, watches = self._record, [place.watch for place in self._places]
        return Result(
            rounds=self._rounds,
            acked=record.acked,
            lost=findings.lost + record.lost,
            duplicated=findings.duplicated + record.duplicated,
            gaps=findings.gaps,
            ledger_sum=findings.ledger_sum,
            overpaid=findings.overpaid,
            outbox_left=findings.outbox_left,
            resume_missed=sum(watch.missed for watch in watches),
            resume_repeated=sum(watch.repeated for watch in watches),
            resume_differed=sum(watch.differed for watch in watches),
            out_of_order=sum(watch.line.out_of_order for watch in watches),
            surprises=dict(record.surprises),
            orders=len(record.orders),
            payments=len(record.completed),
            at_provider=record.at_provider,
            declined=record.declined,
            replays=record.replays,
            kills=self._kills,
            restart_seconds=round(sum(self._restarts) / max(1, len(self._restarts)), 2),
            stopped_cleanly=stopped,
            seed=self._seed,
            seconds=round(seconds, 1),
        )


def crash(rounds: int, seed: int) -> Result:
    """Run it; everything that was started has ended afterwards. Raises DidNotStart."""
    with server_and_provider() as (server, sandbox):
        server.environment = {**server.environment, "TABLETAP_PAYCONIC_TIMEOUT_S": str(PROVIDER_TIMEOUT_S)}
        try:
            return trio.run(Crash(server, sandbox, rounds, seed).run)
        except Exception:
            say(server.tail())
            raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.load.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000))
    arguments = parser.parse_args()
    result = until_interrupted(lambda: crash(arguments.rounds, arguments.seed))
    for what, count in msgspec.to_builtins(result).items():
        print(f"{what:>16}  {count}")
    print("all is well" if result.well else "NOT WELL")
    print(msgspec.json.encode(result).decode())
    return 0 if result.well else 1


if __name__ == "__main__":
    sys.exit(main())
