"""For those who test actors: time and chance under control, no sleeps.

With pytest-trio's ``autojump_clock`` the clock jumps whenever nothing else can happen::

    async def test_a_reminder_comes_after_an_hour(autojump_clock):
        probes = Probes()
        async with System({"probe": probes}, clock=TrioClock()) as system:
            ...
            await settle(system)
"""

import os
import random
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trio
import trio.testing

from .actor import Actor
from .address import Address
from .batch import Asked, Batch
from .system import System

SEED_VARIABLE = "TABLETAP_SEED"


class TrioClock:
    """Wall time that follows trio's clock, and so jumps with it."""

    __slots__ = ("_begin", "_epoch")

    def __init__(self, epoch: datetime = datetime(2030, 1, 1, 8, tzinfo=UTC)) -> None:
        self._epoch = epoch
        self._begin: float | None = None

    def now(self) -> datetime:
        current = trio.current_time()
        if self._begin is None:  # made outside of trio, read inside: its time begins with the first look
            self._begin = current
        return self._epoch + timedelta(seconds=current - self._begin)


@contextmanager
def seeded(seed: int | None = None) -> Iterator[random.Random]:
    """Chance that can be repeated: a failure inside names the seed, ``TABLETAP_SEED`` sets it."""
    if seed is None:
        seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbits(32))
    try:
        yield random.Random(seed)  # noqa: S311 - repeatable on purpose
    except BaseException as failure:
        failure.add_note(f"seed {seed}: repeat with {SEED_VARIABLE}={seed}")
        raise


async def settle(system: System) -> None:
    """Until every mailbox is empty, every actor at rest, and no other task could change that without time passing."""
    while True:
        await system.wait_quiet()
        before = (system.counters.told, system.counters.asked, system.counters.activations)
        await trio.testing.wait_all_tasks_blocked()
        if system.quiet and before == (system.counters.told, system.counters.asked, system.counters.activations):
            return


class Probes:
    """A factory of actors that write down what happens to them, and a place to read it.

    ``on_message`` is called with each message; what it returns answers an ask, what it raises crashes the actor.
    It fails the test, loudly, should one address ever have two incarnations.
    """

    def __init__(self, on_message: Callable[[Address, Any], Any] | None = None) -> None:
        self.on_message = on_message
        self.on_started: Callable[[Address], Awaitable[None]] | None = None
        self.on_stopped: Callable[[Address], Awaitable[None]] | None = None
        self.gate: trio.Event | None = None  # if set, receive waits for it
        self.seen: dict[Address, list[Any]] = defaultdict(list)  # processed to the end, in order
        self.batches: list[list[Any]] = []
        self.births: dict[Address, int] = defaultdict(int)
        self.ends: dict[Address, int] = defaultdict(int)
        self.willing = True
        self.alive: dict[Address, Probe] = {}

    def __call__(self, _: Address) -> "Probe":
        return Probe(self)

    def last(self, address: Address) -> "Probe":
        return self.alive[address]


class Probe(Actor):
    def __init__(self, book: Probes) -> None:
        self.book = book

    async def started(self) -> None:
        book, address = self.book, self.context.address
        book.births[address] += 1
        if book.on_started is not None:
            await book.on_started(address)
        book.alive[address] = self

    async def receive(self, batch: Batch) -> None:
        book, address = self.book, self.context.address
        assert book.alive[address] is self, f"two incarnations of {address}"
        book.batches.append([_bare(item) for item in batch])
        if book.gate is not None:
            await book.gate.wait()
        for item in batch:
            message = _bare(item)
            answer = None if book.on_message is None else book.on_message(address, message)
            if isinstance(answer, Awaitable):
                answer = await answer
            book.seen[address].append(message)
            if isinstance(item, Asked):
                item.answer(answer)

    async def stopped(self) -> None:
        book, address = self.book, self.context.address
        assert book.alive[address] is self, f"two incarnations of {address}"
        if book.on_stopped is not None:
            await book.on_stopped(address)
        book.ends[address] += 1
        del book.alive[address]

    def idle(self) -> bool:
        return self.book.willing


def _bare(item: Any) -> Any:
    return item.message if isinstance(item, Asked) else item
