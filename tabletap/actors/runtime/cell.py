"""A cell: the place of one address. It outlives incarnations, so there is never more than one of these.

Its life, all in one task; messages may arrive at any moment of it::

    starting --> busy <--> idle --> stopping --> gone
       ^  ^       |                    |
       |  +-------|--------------------+  a message arrived while it stopped: the next incarnation, same cell
       |          | crash or outage
       +--backoff<+--> quarantined --> gone
"""

from collections.abc import Iterable
from typing import Any

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task

from .actor import Actor, Context
from .address import Address
from .batch import Asked, Batch
from .errors import ActorError, ActorFailed, Outage, OutcomeUnknown, Quarantined, Stopping
from .house import House
from .kind import Kind
from .mailbox import Mailbox
from .state import State
from .supervision import Trouble, Verdict


class Cell(Mailbox):
    __slots__ = ("actor", "after", "batch", "before", "leaving", "state", "task", "trouble", "used")

    def __init__(self, address: Address, kind: Kind, house: House) -> None:
        super().__init__(address, kind, house)
        self.state = State.STARTING
        self.actor: Actor | None = None
        self.task: Task | None = None  # set only while parked
        self.batch: Batch | None = None  # in hand
        self.leaving = False
        self.used = 0.0
        self.before: Cell | None = None  # its neighbours among those at rest
        self.after: Cell | None = None
        self.trouble: Trouble | None = None

    def admit(self) -> None:
        if self.house.stopping:
            self.house.admit(self.address)
        if self.state is State.QUARANTINED:
            assert self.trouble is not None
            rest = max(self.trouble.released - trio.current_time(), 0.0)
            self.house.counters.refused += 1
            raise Quarantined(self.address, "is quarantined after too many crashes", rest)

    def depth(self) -> int:
        return len(self.waiting) + (0 if self.trouble is None else len(self.trouble.suspects))

    def oldest(self) -> float | None:
        """When the oldest message arrived that is not done."""
        if self.batch is not None:
            return self.batch.since
        if self.trouble is not None and self.trouble.suspects:
            return self.trouble.since
        return self.since if self.waiting else None

    # Being woken and sent away, by others.

    def wake(self) -> None:
        task = self.task
        if task is None:
            return
        self.task = None
        self.kind.rouse(self)
        self.house.busy += 1
        trio.lowlevel.reschedule(task)

    def remind(self, context: Context, message: Any) -> None:
        """A note of an incarnation to itself; no later one hears of it."""
        if self.actor is not None and self.actor.context is context and self.state is not State.STOPPING:
            self.deliver(message)

    def depart(self) -> None:
        """Leave, unless a message comes first."""
        self.leaving = True
        self.house.departing += 1
        self.wake()

    # The one task.

    async def live(self) -> None:
        try:
            while True:
                wait: float | None = None
                try:
                    actor = self.actor
                    if actor is None:
                        actor = self._born()
                        await actor.started()
                    if (batch := self._take()) is not None:
                        self.state = State.BUSY
                        await actor.receive(batch)
                        del batch  # a parked task must not pin what it last did
                        if self._settled():
                            await trio.lowlevel.checkpoint()  # more to do, but others live here too
                    elif self._goes():
                        await actor.stopped()
                        if self._left():
                            return
                    else:
                        self._park()
                        await trio.lowlevel.wait_task_rescheduled(self._unpark)
                except Exception as trouble:  # noqa: BLE001 - the supervisor: every failure gets its due in _failed
                    wait = self._failed(trouble)
                    if wait is None:
                        return
                if wait is not None:
                    await trio.sleep(wait)
        finally:
            if self.state is not State.GONE and self.state is not State.QUARANTINED:
                self._cut_off()

    def _born(self) -> Actor:
        self.state = State.STARTING
        self.house.counters.activations += 1
        self.actor = actor = self.kind.factory(self.address)
        actor.context = Context(self.address, self.house)
        return actor

    def _take(self) -> Batch | None:
        """Everything that waits; after a crash, one of those that were there."""
        trouble = self.trouble
        batch = self._next_suspect(trouble) if trouble is not None and trouble.suspects else None
        if batch is None and self.waiting:
            batch = self.drain()
        self.batch = batch
        if batch is not None:
            if self.leaving:
                self._stay()
            if trouble is not None and trouble.outages:
                self.held = len(batch)
                self.open()
        return batch

    def _next_suspect(self, trouble: Trouble) -> Batch | None:
        now = trio.current_time()
        while trouble.suspects:
            message = trouble.suspects.popleft()
            if type(message) is not Asked or message.take(now):
                return Batch([message], since=trouble.since, on_trial=True)
        return None

    def _settled(self) -> bool:
        """The batch has had its effect. Is there more?"""
        self.batch = None
        trouble = self.trouble
        if trouble is None:
            return bool(self.waiting)
        trouble.outages = self.held = 0
        self.open()
        return bool(self.waiting or trouble.suspects)

    # Rest and leave.

    def _park(self) -> None:
        house, kind = self.house, self.kind
        self.state = State.IDLE
        self.task = trio.lowlevel.current_task()
        self.used = trio.current_time()
        kind.rest(self)
        if kind.sweep is None:
            house.watch(kind, kind.idle_seconds)
        house.rested()

    def _unpark(self, _: RaiseCancelT) -> Abort:
        self.task = None
        self.kind.rouse(self)
        self.house.busy += 1
        return Abort.SUCCEEDED

    def _goes(self) -> bool:
        """Nothing waits. Is it time to leave?"""
        house = self.house
        if not self.leaving:
            # With too many live, somebody who rested longer goes, or else this one.
            if not self.kind.dismissed and (not house.crowded() or house.evict() or not house.willing(self)):
                return False
            self.leaving = True
            house.departing += 1
        self.state = State.STOPPING
        return True

    def _stay(self) -> None:
        if self.leaving:
            self.leaving = False
            self.house.departing -= 1

    def _left(self) -> bool:
        """No checkpoint may come between the look into the mailbox and the end: this is the race, and it is here."""
        self._stay()
        self.actor = None
        self.house.counters.passivations += 1
        if self.waiting:
            return False
        self._end(State.GONE)
        return True

    def _end(self, state: State) -> None:
        self._stay()
        self.state = state
        self.actor = None
        self.room = 0  # a Ref that still knows this cell finds the door closed and asks the registry
        self.house.ended(self)

    # Trouble.

    def _failed(self, problem: Exception) -> float | None:
        """Seconds to wait before the next incarnation, or ``None``: there will be none for now."""
        house = self.house
        batch, self.batch = self.batch, None
        self.actor = None
        if self.state is State.STOPPING:  # its messages are done, so nothing is to be repeated
            house.report_crash(self.address, problem)
            return None if self._left() else 0.0
        trouble = self.trouble
        if trouble is None:
            trouble = self.trouble = Trouble()
        self.held = 0
        self.open()
        if batch is not None and batch.settled:
            _lose(batch.messages, OutcomeUnknown(self.address, "failed after the effect, before the answer"), problem)
        if is_outage(problem):
            trouble.outages += 1
            house.counters.outages += 1
            if batch is not None and batch.on_trial:
                trouble.suspects.extendleft(batch.unsettled())
            elif batch is not None:
                self.put_back(batch)
        else:
            trouble.outages = 0
            house.report_crash(self.address, problem)
            self._blame(batch, trouble, problem)
            if trouble.crashed(trio.current_time(), house.limits) is Verdict.QUARANTINE:
                self._quarantine(trouble, problem)
                return None
            house.counters.restarts += 1
        self.state = State.BACKOFF
        return trouble.backoff_seconds(house.limits, house.rng)

    def _blame(self, batch: Batch | None, trouble: Trouble, problem: Exception) -> None:
        if batch is None:
            return
        messages = batch.unsettled()
        if not batch.on_trial:
            trouble.suspects.extend(messages)
            trouble.since = batch.since
            return
        for message in messages:
            _lose([message], ActorFailed(self.address, "crashed on it, twice"), problem)
            self.house.bury(self.address, _bare(message), f"poison: crashed its actor twice, {problem!r}"[:200])

    def _quarantine(self, trouble: Trouble, problem: Exception) -> None:
        house = self.house
        trouble.released = trio.current_time() + house.limits.quarantine_seconds
        messages = [*trouble.suspects, *self.emptied()]
        trouble.suspects.clear()
        self._end(State.QUARANTINED)
        _lose(messages, ActorFailed(self.address, "crashed too often and is quarantined"), problem)
        for message in messages:
            if type(message) is not Asked:
                house.bury(self.address, message, "quarantined: crashed too often")
        house.timers.after(house.limits.quarantine_seconds, self._released)
        house.report_escalation(self.address, problem)

    def _released(self) -> None:
        if self.state is State.QUARANTINED:
            self.state = State.GONE
            del self.house.cells[self.address]

    def _cut_off(self) -> None:
        """Cancelled: the deadline of ``stop`` has passed, or the world ends. Everyone is told what is known."""
        in_hand = [] if self.batch is None else self.batch.unsettled()
        suspects = [] if self.trouble is None else list(self.trouble.suspects)
        waiting = self.emptied()
        if self.batch is not None:
            _lose(self.batch.messages, OutcomeUnknown(self.address, "was cut off at work"))
        self.batch = None
        self._end(State.GONE)
        _lose(suspects, OutcomeUnknown(self.address, "was cut off before it tried again"))
        for message in waiting:
            if type(message) is Asked and message.taken:
                message.lose(OutcomeUnknown(self.address, "was cut off before it tried again"))
        _lose(waiting, Stopping(self.address, "was cut off before it took the message"))
        for message in (*in_hand, *suspects, *waiting):
            if type(message) is not Asked:
                self.house.bury(self.address, message, "cut off: the system stopped")


def is_outage(problem: Exception) -> bool:
    """Also when nurseries wrapped it, provided nothing else is in the group."""
    if isinstance(problem, ExceptionGroup):
        return problem.split(Outage)[1] is None
    return isinstance(problem, Outage)


def _lose(messages: Iterable[Any], error: ActorError, cause: Exception | None = None) -> None:
    error.__cause__ = cause
    for message in messages:
        if type(message) is Asked:
            message.lose(error)


def _bare(message: Any) -> Any:
    return message.message if type(message) is Asked else message
