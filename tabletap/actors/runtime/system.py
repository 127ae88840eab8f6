"""The front of the runtime: one nursery for all actors, the registry, telling and asking, the way out."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import trio

from .actor import Actor
from .address import Address
from .batch import Asked
from .cell import Cell
from .clock import Clock, WallClock
from .errors import NotExecuted, NotRunning, OutcomeUnknown, Stopping
from .house import Counters, House, inside
from .kind import Kind
from .letters import DeadLetter, DeadLetters
from .limits import Limits

UP_SECONDS = 1.0
"""Asked again after so long, a system that did not run yet should."""


@dataclass(frozen=True, slots=True)
class Live:
    """One line of the tree: what an actor is up to."""

    address: Address
    state: str
    depth: int  # messages waiting
    bytes: int
    oldest_seconds: float  # age of the oldest message, waiting or in hand
    restarts: int
    doing: str | None  # the type of the message in work


class System:
    """Activates actors by address and carries messages to them. Use ``async with``, or ``start(system.run)``.

    While stopping, ``stopped()`` runs kind by kind, the last of ``factories`` first: list those that others lean on
    (the storage) before those that lean on them.
    """

    def __init__(
        self,
        factories: Mapping[str, Callable[[Address], Actor]],
        limits: Limits | None = None,
        clock: Clock | None = None,
        on_dead_letter: Callable[[DeadLetter], None] | None = None,
        *,
        on_crash: Callable[[Address, Exception], None] | None = None,
        on_escalate: Callable[[Address, Exception], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.limits = limits = limits or Limits()
        self.clock = clock = clock or WallClock()
        self.dead_letters = DeadLetters(clock, limits.dead_letters, on_dead_letter)
        kinds = {name: Kind(name, factory, limits) for name, factory in factories.items()}
        rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._house = House(
            kinds=kinds,
            limits=limits,
            clock=clock,
            letters=self.dead_letters,
            rng=rng,
            on_crash=on_crash,
            on_escalate=on_escalate,
        )
        self._cells = self._house.cells
        self._nursery: trio.Nursery | None = None
        self._nobody = Cell(Address("", None), Kind("", _nobody, limits), self._house)
        self._context = Context()
        self._stopped = trio.Event()

    # Sending.

    def tell(self, address: Address, message: Any, size: int = 0) -> None:
        """Put a message into a mailbox, now. Raises MailboxFull, Quarantined, NotRunning or Stopping; never waits."""
        cell = self._cells.get(address)
        if cell is None:
            cell = self._activate(address)
        waiting = cell.waiting
        if waiting and not size and len(waiting) < cell.room:
            waiting.append(message)
        else:
            cell.post(message, size)

    async def ask(self, address: Address, message: Any, *, timeout: float | None, size: int = 0) -> Any:  # noqa: ASYNC109 - it travels with the message, a cancel scope could not
        """Send and wait for the answer.

        A caller that is cancelled before it gets here sends nothing; later it loses its reply, never the command.
        Without a timeout, only ask actors that answer before ``receive`` returns.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        deadline = math.inf
        if timeout is not None:
            if timeout <= 0:
                raise NotExecuted(address, "was asked when no time was left")
            deadline = trio.current_time() + timeout
        cell = self._cells.get(address)
        if cell is None:
            cell = self._activate(address)
        asked = Asked(address, message, deadline)
        cell.post(asked, size)
        house = self._house
        house.counters.asked += 1
        return await asked.reply(house.timers)

    def ref(self, address: Address) -> Ref:
        """An address with its cell at hand, for senders that send much. Stays good across passivation."""
        return Ref(self, address)

    def insist(self, address: Address, message: Any) -> None:
        """For the runtime's own messages: past the mailbox's bounds. Still raises Quarantined and Stopping."""
        cell = self._cells.get(address)
        if cell is None:
            cell = self._activate(address)
        cell.admit()
        cell.deliver(message)

    # Looking.

    @property
    def live(self) -> int:
        return self._house.live

    @property
    def counters(self) -> Counters:
        return self._house.counters

    def tree(self) -> Iterator[Live]:
        """Every actor there is, the quarantined included. Lazy, so that a page of it costs a page."""
        now = trio.current_time()
        for address, cell in list(self._cells.items()):
            oldest = cell.oldest()
            yield Live(
                address=address,
                state=cell.state.value,
                depth=cell.depth(),
                bytes=cell.size,
                oldest_seconds=0.0 if oldest is None else now - oldest,
                restarts=0 if cell.trouble is None else cell.trouble.restarts,
                doing=None if cell.batch is None else cell.batch.current(),
            )

    @property
    def quiet(self) -> bool:
        return self._house.busy == 0

    async def wait_quiet(self) -> None:
        """Until no actor has anything waiting or in hand."""
        await self._house.wait_quiet()

    # Life.

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[Self]:
        assert self._nursery is None, "a system runs once"
        house = self._house
        body: BaseException | None = None
        try:
            async with trio.open_nursery() as outer:
                await outer.start(self._keep)
                try:
                    yield self
                    await self.stop(self.limits.stop_seconds)
                except BaseException as error:
                    body = error
                    raise
                finally:
                    self._close()
        except BaseExceptionGroup as group:
            if body is not None and group.exceptions == (body,):
                raise body from body.__cause__  # the nursery is our own business, so is its wrapping
            raise
        finally:
            house.lose_asks(_end_of_ask)

    async def _keep(self, *, task_status: trio.TaskStatus[None]) -> None:
        """The nursery of all actors, in a task of its own: ending them must not cancel the body of ``async with``."""
        async with trio.open_nursery() as self._nursery:
            # Actors must not inherit what belongs to whoever sent their first message: a request's id, a loop.
            self._context = copy_context()
            self._context.run(inside.set, self._house)
            self._spawn(self._house.timers.run, "timers")
            task_status.started()
            await trio.sleep_forever()

    async def __aenter__(self) -> Self:
        self._life = self._running()
        return await self._life.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._life.__aexit__(kind, error, trace)

    async def run(self, *, task_status: trio.TaskStatus[System] = trio.TASK_STATUS_IGNORED) -> None:
        """Until ``stop`` is called or this task is cancelled."""
        async with self:
            task_status.started(self)
            await self._stopped.wait()

    async def stop(self, deadline_seconds: float) -> None:
        """Refuse new work, drain the mailboxes, let every actor stop; at the deadline, cancel what is left."""
        house = self._house
        house.stopping = True
        for kind in house.kinds.values():
            kind.room = 0
        for cell in self._cells.values():
            cell.room = 0
        try:
            with trio.move_on_after(deadline_seconds):
                await self._drain()
        finally:
            self._close()
        await house.wait_quiet()
        self._stopped.set()

    async def _drain(self) -> None:
        house = self._house
        await house.wait_quiet()
        while house.live:
            for kind in reversed(house.kinds.values()):
                kind.dismissed = True
                while kind.first is not None:
                    house.dismiss(kind)
                    await house.wait_quiet()

    def _close(self) -> None:
        assert self._nursery is not None
        self._house.stopping = self._house.closed = True
        self._nursery.cancel_scope.cancel()

    def _spawn(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        nursery = self._nursery
        assert nursery is not None
        self._context.run(lambda: nursery.start_soon(work, name=name))

    def _activate(self, address: Address) -> Cell:
        house = self._house
        kind = house.kinds.get(address.kind)
        if kind is None:
            raise LookupError(f"no kind of actor is called {address.kind!r}")
        if house.stopping:
            house.admit(address)
        if self._nursery is None:
            raise NotRunning(address, "is asked before the system runs", UP_SECONDS)
        cell = Cell(address, kind, house)
        self._spawn(cell.live, kind.name)
        self._cells[address] = cell
        house.live += 1
        house.busy += 1
        if house.crowded():
            house.evict()
        return cell


class Ref:
    __slots__ = ("_cell", "_system", "address")

    def __init__(self, system: System, address: Address) -> None:
        self.address = address
        self._system = system
        self._cell = system._nobody  # noqa: SLF001 - a cell whose mailbox is always full, until the first message

    def tell(self, message: Any, size: int = 0) -> None:
        cell = self._cell
        waiting = cell.waiting
        if waiting and not size and len(waiting) < cell.room:
            waiting.append(message)
        else:
            self._system.tell(self.address, message, size)
            self._cell = self._system._cells[self.address]  # noqa: SLF001 - two halves of one thing

    def ask(self, message: Any, *, timeout: float | None, size: int = 0) -> Coroutine[Any, Any, Any]:
        return self._system.ask(self.address, message, timeout=timeout, size=size)

    def __repr__(self) -> str:
        return f"<Ref {self.address}>"


def _nobody(address: Address) -> Actor:
    raise AssertionError(f"{address} is nobody")


def _end_of_ask(asked: Any) -> BaseException:
    if asked.taken:
        return OutcomeUnknown(asked.address, "ended with the system, before the answer")
    return Stopping(asked.address, "ended with the system, before it took the message")
