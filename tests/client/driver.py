"""The Python client under the shared script: told what to do by lines of JSON, telling what it met by others.

Its clock stands still but for ``advance``, so that no scene waits and nothing depends on how fast the machine is.
``driver.cjs`` is the same for the JavaScript client.
"""

import contextlib
import json
import math
import os
import threading
from collections.abc import Callable
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tabletap.client import Client, Denied, Event, Left, Message, Pauses, Refusal, Resync, Status, Unanswered

EPOCH_S = 1_700_000_000


class Driver:
    def __init__(self, clock: MockClock, tell: Callable[[dict[str, Any]], None], nursery: trio.Nursery) -> None:
        self._clock = clock
        self._tell = tell
        self._nursery = nursery
        self._client: Client
        self._began = trio.current_time()

    def do(self, order: dict[str, Any]) -> None:
        """One line of the script."""
        getattr(self, order.pop("do"))(**order)

    def begin(self, *, url: str, tokens: list[str], check_every_ms: int | None, random: float, **more: Any) -> None:
        rest = iter(tokens)

        async def source() -> str:
            await trio.lowlevel.checkpoint()
            return next(rest)

        self._client = Client(
            url,
            door="kitchen",
            cafe="demo",
            token=source if len(tokens) > 1 else tokens[0],
            on_message=self._message,
            on_status=self._status,
            check_every_s=None if check_every_ms is None else check_every_ms / 1000,
            pauses=Pauses(random=lambda: random),
            now=lambda: EPOCH_S + trio.current_time() - self._began,
            max_message_bytes=more.get("max_message", 1 << 20),
            after=more.get("after"),
        )
        self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            await self._client.run()
        except Denied as denied:
            self._tell({"denied": denied.code})

    def advance(self, *, ms: float) -> None:
        self._clock.jump(ms / 1000)
        self._tell({"advanced": ms})

    def perform(self, *, n: int, op: str, timeout_ms: float | None, **more: Any) -> None:
        self._nursery.start_soon(self._perform, n, op, math.inf if timeout_ms is None else timeout_ms / 1000, more)

    async def _perform(self, n: int, op: str, timeout_s: float, more: dict[str, Any]) -> None:
        try:
            self._tell({"settled": n, "ok": await self._client.perform(op, timeout_s=timeout_s, **more)})
        except Refusal as refusal:
            self._tell({"settled": n, "refused": refusal.code})
        except Unanswered as unanswered:
            self._tell({"settled": n, "unanswered": unanswered.sent})
        except Denied as denied:
            self._tell({"settled": n, "denied": denied.code})

    def subscribe(self, *, room: str, after: int | None = None) -> None:
        self._nursery.start_soon(self._subscribe, room, after)

    async def _subscribe(self, room: str, after: int | None) -> None:
        try:
            await self._client.subscribe(room, after=after)
            self._tell({"subscribed": room})
        except Refusal as refusal:
            self._tell({"subscribed": room, "refused": refusal.code})

    def unsubscribe(self, *, room: str) -> None:
        self._client.unsubscribe(room)

    def ack(self, *, offset: int) -> None:
        self._client.ack(offset)

    def figures(self) -> None:
        figures = self._client.figures
        names = ("repeated", "late", "resyncs", "checks")
        self._tell({"figures": {name: getattr(figures, name) for name in names}})

    def _message(self, message: Message) -> None:
        match message:
            case Event():
                self._tell({"event": [message.room, message.offset, message.type, message.read()]})
            case Resync():
                self._tell({"resync": [message.room, message.offset, message.read()]})
            case Left():
                self._tell({"left": [message.room, message.code]})

    def _status(self, status: Status) -> None:
        told = {"status": str(status.state), "code": status.code, "tries": status.tries}
        self._tell({**told, "pauseMs": round(status.pause_s * 1000)})


async def drive(read_from: int, write_to: int, clock: MockClock) -> None:
    """Until the input ends."""
    rest = b""

    def tell(what: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # at the end nobody listens any more
            os.write(write_to, json.dumps(what).encode() + b"\n")

    try:
        async with trio.lowlevel.FdStream(read_from) as orders, trio.open_nursery() as nursery:
            driver = Driver(clock, tell, nursery)
            async for data in orders:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    await wait_all_tasks_blocked()  # what has come is dealt with before time passes, and after
                    driver.do(json.loads(line))
                    await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    finally:
        os.close(write_to)


def in_thread(read_from: int, write_to: int) -> threading.Thread:
    """The driver beside the tests, with a clock of its own."""
    clock = MockClock()

    def run() -> None:
        trio.run(drive, read_from, write_to, clock, clock=clock)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
