"""The one receive loop: every cafe, order, payment and drawer lives by it.

A batch of messages goes through four steps. *Decide*: the rules turn each command into events, on a state that nobody
else sees yet. *Commit*: everything the batch decided goes to the journal as one commit, with the outbox rows, the
idempotency records and the wake times. *Become*: only now is the new state the state. *Answer*: only now does anybody
hear of it. A crash before the commit means that nothing happened; after it, everything follows from the log.

Refusals are answers. A ``Conflict`` (another node wrote first) loads the entity again and decides again. An ``Outage``
is the runtime's to wait out. Anything else is a bug: the actor crashes, loudly, and lives again from the journal.

An idempotency key is carried out once: a second message of a batch with the same key is refused undecided, and where a
key turns out to have its record (``DuplicateKey``: the first was slow, the client was not) the batch is decided again
without it, so that nobody pays for their neighbour.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

import msgspec

from tabletap.domain.base import SYSTEM, Birth, By, Command, Context, Decision, Event, Ref, utc
from tabletap.domain.base import Wake as WakeCommand
from tabletap.domain.errors import Code, Refusal

from .ports import (
    Answered,
    Commit,
    Conflict,
    DuplicateKey,
    Idempotency,
    Journal,
    New,
    Overloaded,
    Sent,
    SlugTaken,
    State,
)
from .runtime import Actor, Asked, Batch, Wake

S = TypeVar("S")

KEEP_ANSWER = timedelta(hours=24)
KEEP_REFUSAL = timedelta(hours=1)
CONFLICTS_AT_MOST = 5
"""Losing the race for the log this often in a row is no race any more: somebody else owns this cafe."""

NEVER_STORED = frozenset({Code.VALIDATION_ERROR, Code.DUPLICATE_IN_PROGRESS})
"""A request that was wrong in itself may be mended and sent again under its key; so may one that came a moment too
early."""

IN_PROGRESS = Refusal(Code.DUPLICATE_IN_PROGRESS, "a request with this key is under way: ask again", retry_after_s=1)

Key = tuple[str, UUID]
"""An idempotency key within its scope."""


class Envelope(msgspec.Struct, frozen=True):
    """A command on its way to an entity. ``consumes``: the outbox row that carried it."""

    command: Command
    by: By = SYSTEM
    idempotency: Idempotency | None = None
    consumes: UUID | None = None


class Query(msgspec.Struct, frozen=True):
    """A question to an entity: answered from its state, after what was asked of it before; changes nothing."""


class Done(msgspec.Struct, frozen=True):
    """The answer to a command that was carried out. ``sent``, ``jobs``: outbox rows that follow from it."""

    value: Any
    sent: tuple[UUID, ...] = ()
    jobs: tuple[UUID, ...] = ()


class Life(ABC, Generic[S]):
    """A noun's rules as the loop needs them: ``domain`` has them, one file per noun in this package joins them.

    ``snapshot_every`` events a snapshot is taken (0: never, its stream is short); ``pinned``: event types whose latest
    occurrence is read beside the snapshot.
    """

    pinned: tuple[str, ...] = ()
    snapshot_every: int = 0

    @abstractmethod
    def born(self, ref: Ref, event: Event) -> S:
        """The state after the first event."""

    @abstractmethod
    def decide(self, state: S | None, command: Command, ctx: Context) -> Decision | Refusal:
        """By the rules; ``state`` None: the entity does not exist."""

    @abstractmethod
    def evolve(self, state: S, event: Event) -> S:
        """By the rules."""

    @abstractmethod
    def reply(self, state: S, births: Sequence[State], events: Sequence[Event]) -> Any:
        """What a command that was carried out is answered: from what is so now, was born of it, and happened by it."""

    @abstractmethod
    def answer(self, state: S | None, query: Query, now: datetime) -> Any:
        """The answer to a question."""

    def wake_at(self, state: S) -> datetime | None:  # noqa: ARG002
        """When it wants to be woken."""
        return None

    def projected(self, state: S, events: Sequence[Event]) -> Sequence[State]:
        """The states whose rows change with ``events``."""
        return (cast("State", state),) if events else ()

    def snapshot(self, state: S) -> bytes:
        """What of the state is worth keeping."""
        raise NotImplementedError

    def restore(self, ref: Ref, pinned: Sequence[Event], snapshot: bytes) -> S:
        """The state again, from a snapshot and the pinned events."""
        raise NotImplementedError


class Newborn(msgspec.Struct, frozen=True):
    """An entity that a commit has just brought into the world."""

    ref: Ref
    state: State
    version: int
    wake_at: datetime | None


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What every entity has in common. ``midwife`` turns a birth into a state; ``scheduled`` hears of new wake times;
    ``cradle`` holds newborns until their own actor comes for them, so that it need not ask the database; ``answered``
    says what a key was answered, if it was."""

    journal: Journal
    answered: Callable[[str, UUID, datetime], Awaitable[Answered | None]]
    new_id: Callable[[], UUID]
    midwife: Callable[[Birth], Newborn]
    scheduled: Callable[[Ref, datetime | None], None]
    cradle: "Cradle"


class Cradle:
    """States of entities just born, a bounded number of them: forgotten ones are read from the journal instead."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._newborns: dict[Ref, Newborn] = {}

    def lay(self, newborn: Newborn) -> None:
        """Keep it until it is taken or too many came after it."""
        self._newborns[newborn.ref] = newborn
        if len(self._newborns) > self._limit:
            del self._newborns[next(iter(self._newborns))]

    def take(self, ref: Ref) -> Newborn | None:
        """The newborn, once."""
        return self._newborns.pop(ref, None)


class _Outcome:
    """What a batch has decided so far, on a state that nobody else sees yet. ``used``: keys that have their answer."""

    __slots__ = ("answered", "births", "consumed", "events", "replies", "sent", "state", "used", "version")

    def __init__(self, state: Any, version: int, used: Collection[Key] = ()) -> None:
        self.state = state
        self.version = version
        self.used = set(used)
        self.events: list[New] = []
        self.births: list[Newborn] = []
        self.sent: list[Sent] = []
        self.consumed: list[UUID] = []
        self.answered: list[Answered] = []
        self.replies: list[tuple[Asked, Any]] = []

    @property
    def writes(self) -> bool:
        return bool(self.events or self.sent or self.consumed or self.answered)


def _key_of(idempotency: Idempotency) -> Key:
    return (idempotency.scope, idempotency.key)


class Entity(Actor, Generic[S]):
    """One live entity: its state, its place in the log, and the loop."""

    __slots__ = ("_ref", "_since_snapshot", "_version", "_wake_at", "house", "life", "state")

    def __init__(self, ref: Ref, life: Life[S], house: House) -> None:
        self._ref = ref
        self.life = life
        self.house = house
        self.state: S | None = None
        self._version = 0
        self._since_snapshot = 0
        self._wake_at: datetime | None = None

    async def started(self) -> None:
        """Take the state from the cradle or from the journal."""
        newborn = self.house.cradle.take(self._ref)
        if newborn is not None:
            self.state, self._version, self._wake_at = newborn.state, newborn.version, newborn.wake_at  # type: ignore[assignment]
        else:
            await self._load()

    async def _load(self) -> None:
        life, ref = self.life, self._ref
        stored = await self.house.journal.load(ref, life.pinned)
        later = [recorded.event for recorded in stored.later]
        state: S | None = None
        if stored.snapshot is not None:
            state = life.restore(ref, [recorded.event for recorded in stored.pinned], stored.snapshot)
        elif later:
            state = life.born(ref, later.pop(0))
        for event in later:
            assert state is not None
            state = life.evolve(state, event)
        self.state, self._version, self._since_snapshot = state, stored.version, len(stored.later)
        self._wake_at = None if state is None else life.wake_at(state)

    async def receive(self, batch: Batch) -> None:
        """Decide, commit, become, answer."""
        used: set[Key] = set()
        for _ in range(CONFLICTS_AT_MOST):
            outcome = self._decide_all(batch, used)
            if not outcome.writes:
                break
            try:
                await self._commit(outcome)
            except Conflict:
                await self._load()
                continue
            except Overloaded as full:
                refusal = Refusal(Code.OVERLOADED, "too much waits to be written", retry_after_s=full.retry_after_s)
                outcome = self._refuse_all(batch, refusal)
            except SlugTaken:
                outcome = self._refuse_all(batch, Refusal(Code.SLUG_TAKEN, "there is a cafe of that slug"))
            except DuplicateKey:
                used |= await self._with_record(outcome)
                continue
            else:
                self._become(outcome)
            break
        else:
            outcome = self._refuse_all(batch, Refusal(Code.UNAVAILABLE, "another node is serving this cafe"))
        batch.settle()
        for asked, reply in outcome.replies:
            asked.answer(reply)

    async def _with_record(self, outcome: _Outcome) -> set[Key]:
        """Which of the keys of this outcome have their record already; all of them, where nobody knows which."""
        now = utc(self.context.now())
        keys = {_key_of(answer.idempotency) for answer in outcome.answered}
        return {key for key in keys if await self.house.answered(*key, now)} or keys

    def _refuse_all(self, batch: Batch, refusal: Refusal) -> _Outcome:
        outcome = _Outcome(self.state, self._version)
        outcome.replies = [(message, refusal) for message in batch if isinstance(message, Asked)]
        return outcome

    # -- decide

    def _decide_all(self, batch: Batch, used: Collection[Key]) -> _Outcome:
        now = utc(self.context.now())
        outcome = _Outcome(self.state, self._version, used)
        for message in batch:
            asked = message if isinstance(message, Asked) else None
            content = asked.message if asked else message
            if isinstance(content, Query):
                reply: Any = self.life.answer(outcome.state, content, now)
            else:
                envelope = self.open(content, now)
                reply = self._decide(outcome, envelope, now) if envelope else None
            if asked:
                outcome.replies.append((asked, reply))
        return outcome

    def open(self, content: Any, now: datetime) -> Envelope | None:  # noqa: ARG002  a noun may need the time
        """The command in a message. A noun overrides it for messages of its own."""
        if isinstance(content, Wake):
            return Envelope(WakeCommand())
        assert isinstance(content, Envelope), content
        return content

    def _decide(self, outcome: _Outcome, envelope: Envelope, now: datetime) -> Done | Refusal:
        house, life = self.house, self.life
        if envelope.idempotency is not None and _key_of(envelope.idempotency) in outcome.used:
            return IN_PROGRESS
        ctx = Context(now=now, new_id=house.new_id, by=envelope.by)
        decision = life.decide(outcome.state, envelope.command, ctx)
        if isinstance(decision, Refusal):
            if decision.code not in NEVER_STORED:
                self._remember(outcome, envelope, decision, ok=False, until=now + KEEP_REFUSAL)
            return decision
        for event in decision.events:
            outcome.version += 1
            outcome.events.append(New(self._ref, outcome.version, event, now, envelope.by))
            outcome.state = life.born(self._ref, event) if outcome.state is None else life.evolve(outcome.state, event)
        births = [house.midwife(birth) for birth in decision.births]
        for birth in decision.births:
            for version, event in enumerate(birth.events, start=1):
                outcome.events.append(New(birth.ref, version, event, now, envelope.by))
                outcome.state = life.evolve(outcome.state, event)
        outcome.births += births
        sent = [Sent(house.new_id(), message, envelope.by) for message in decision.messages]
        jobs = [Sent(job.id or house.new_id(), job, envelope.by) for job in decision.jobs]
        outcome.sent += [*sent, *jobs]
        if envelope.consumes is not None:
            outcome.consumed.append(envelope.consumes)
        value = life.reply(outcome.state, [newborn.state for newborn in births], decision.events)
        self._remember(outcome, envelope, value, ok=True, until=now + KEEP_ANSWER)
        return Done(value, tuple(row.id for row in sent), tuple(row.id for row in jobs))

    @staticmethod
    def _remember(outcome: _Outcome, envelope: Envelope, answer: Any, *, ok: bool, until: datetime) -> None:
        """Keep the answer with the effect, in the same commit: a crash between the two cannot happen."""
        if envelope.idempotency is not None:
            body = msgspec.json.encode(answer)
            outcome.answered.append(Answered(envelope.idempotency, ok, body, until))
            outcome.used.add(_key_of(envelope.idempotency))

    # -- commit

    async def _commit(self, outcome: _Outcome) -> None:
        own = [new.event for new in outcome.events]
        wake_at = self.life.wake_at(outcome.state) if outcome.state is not None else None
        wakes: list[tuple[Ref, datetime | None]] = [
            (newborn.ref, newborn.wake_at) for newborn in outcome.births if newborn.wake_at is not None
        ]
        if wake_at != self._wake_at:
            wakes.append((self._ref, wake_at))
        snapshot = None
        if self.life.snapshot_every and self._since_snapshot + len(own) >= self.life.snapshot_every:
            snapshot = self.life.snapshot(outcome.state)
        projected = self.life.projected(outcome.state, own) if outcome.state is not None else ()
        await self.house.journal.commit(
            Commit(
                author=self._ref,
                version=self._version,
                events=outcome.events,
                states=[*projected, *(newborn.state for newborn in outcome.births)],
                sent=outcome.sent,
                consumed=outcome.consumed,
                answered=outcome.answered,
                wakes=wakes,
                snapshot=snapshot,
            )
        )
        self._since_snapshot = 0 if snapshot is not None else self._since_snapshot + len(own)
        for ref, at in wakes:
            self.house.scheduled(ref, at)

    def _become(self, outcome: _Outcome) -> None:
        self.state, self._version = outcome.state, outcome.version
        self._wake_at = self.life.wake_at(outcome.state) if outcome.state is not None else None
        for newborn in outcome.births:
            self.house.cradle.lay(newborn)
