"""A commit on its way: encoded when it comes in, on its sender's account; given its offsets when its turn comes."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import trio

from tabletap.actors.ports import Answered, Commit, New, Recorded, Sent, State
from tabletap.domain.base import CafeId, Job, Message
from tabletap.domain.events import order_of, tag_of
from tabletap.store import codec, projections, tables
from tabletap.store.batch import Batch, Change
from tabletap.store.projections import ledger

ROW_BYTES = 256
"""What a row takes besides its variable part, roughly: the bound on waiting bytes need not be exact."""

TO_ACTORS = "actor"
"""The destination of messages from entity to entity."""

Row = tuple[object, ...]


class Fact:
    """A new event with all that its rows need but the offset."""

    __slots__ = ("by", "data", "id", "lines", "new")

    def __init__(self, id_: UUID, new: New, lines: list[ledger.Line]) -> None:
        self.id = id_
        self.new = new
        self.data = codec.encode(new.event)
        self.by = codec.encode(new.by)
        self.lines = lines


class Pending:
    """A commit and its sender, who waits for ``done``."""

    __slots__ = ("answers", "commit", "done", "error", "facts", "first", "recorded", "rows", "sent", "size", "unsure")

    def __init__(self, commit: Commit, new_id: Callable[[], UUID], now: datetime, node: int) -> None:
        cafe_id = commit.author.cafe_id
        if any(new.ref.cafe_id != cafe_id for new in commit.events):
            raise ValueError(f"a commit of {commit.author} has events for the log of another cafe")
        states: dict[UUID, State] = {state.ref.id: state for state in commit.states}
        self.commit = commit
        self.facts = [Fact(new_id(), new, ledger.lines(new.event, states.get(new.ref.id))) for new in commit.events]
        self.rows = projections.of_states(commit.states, (new.event for new in commit.events))
        self.sent = outbox_rows(commit.sent, node)
        self.answers = [
            ((one.idempotency.scope, one.idempotency.key), _answer_row(one, now)) for one in commit.answered
        ]
        self.size = (
            sum(len(fact.data) + ROW_BYTES for fact in self.facts)
            + sum(len(answer.body) + ROW_BYTES for answer in commit.answered)
            + ROW_BYTES * (len(self.rows) + len(self.sent) + len(commit.consumed) + len(commit.wakes))
            + len(commit.snapshot or b"")
        )
        self.first = 0  # the offset of the first event, or the newest offset there was if it has none
        self.unsure = False  # it was sent to the database, which did not say what became of it
        self.recorded: Sequence[Recorded] = ()
        self.error: BaseException | None = None
        self.done = trio.Event()

    @property
    def cafe_id(self) -> CafeId:
        return self.commit.author.cafe_id

    @property
    def last(self) -> int:
        """The newest offset of the cafe once this is written."""
        return self.first + len(self.facts) - 1 if self.facts else self.first

    def write_into(self, batch: Batch, now: datetime) -> None:
        """Add all rows of this commit, whose ``first`` offset is known now."""
        commit, cafe_id, author = self.commit, self.cafe_id, self.commit.author
        for offset, fact in enumerate(self.facts, start=self.first):
            new = fact.new
            names = (fact.id, new.ref.id, author.id, order_of(new.event), new.ref.kind.value, author.kind.value)
            row = (cafe_id, offset, new.version, new.at, *names, tag_of(new.event), fact.data, fact.by)
            batch.put(tables.EVENTS, (cafe_id, offset), row)
            projections.put_places(batch, new.event)
            projections.put_movements(batch, cafe_id, offset, new.at, new.event)
            projections.put_entries(batch, cafe_id, offset, new.at, fact.lines)
        for change, key, values in self.rows:
            batch.put(change, key, values)
        for change, id_, values in self.sent:
            batch.put(change, id_, values)
        for id_ in commit.consumed:
            batch.put(tables.CONSUME, id_, (id_,))
        for scope_key, values in self.answers:
            batch.put(tables.ANSWERS, scope_key, values)
        for ref, at in commit.wakes:
            if at is None:
                batch.swap(tables.SLEEP_ON, tables.WAKES, ref.id, (ref.id,))
            else:
                batch.swap(tables.WAKES, tables.SLEEP_ON, ref.id, (ref.id, ref.kind.value, ref.cafe_id, at))
        if commit.snapshot is not None:
            version = max((new.version for new in commit.events if new.ref == author), default=commit.version)
            kept = (author.id, author.kind.value, version, self.last, commit.snapshot, now)
            batch.put(tables.SNAPSHOTS, author.id, kept)

    def record(self) -> Sequence[Recorded]:
        """The events as the log holds them now."""
        author = self.commit.author
        self.recorded = tuple(
            Recorded(
                cafe_id=self.cafe_id,
                offset=offset,
                id=fact.id,
                ref=fact.new.ref,
                version=fact.new.version,
                author=author,
                order_id=order_of(fact.new.event),
                at=fact.new.at,
                by=fact.new.by,
                event=fact.new.event,  # type: ignore[arg-type]  # every Event is one of AnyEvent
            )
            for offset, fact in enumerate(self.facts, start=self.first)
        )
        return self.recorded

    def refuse(self, error: BaseException) -> None:
        self.error = error
        self.done.set()


def outbox_rows(sent: Sequence[Sent], node: int) -> list[tuple[Change, UUID, Row]]:
    """The rows of messages and jobs. A job comes after its children: in the order of a key it must not hold them up."""
    parents = {one.id: one.message.parent for one in sent if isinstance(one.message, Job)}
    if any(parents.values()):
        sent = sorted(sent, key=lambda one: -_generation(one.id, parents))
    return [_outbox_row(one, node) for one in sent]


def _generation(id_: UUID, parents: Mapping[UUID, UUID | None]) -> int:
    """How many of these jobs come after this one."""
    generation = 0
    while (above := parents.get(id_)) is not None and generation < len(parents):
        id_, generation = above, generation + 1
    return generation


def _outbox_row(sent: Sent, node: int) -> tuple[Change, UUID, Row]:
    match sent.message:
        case Message(to=to, command=command):
            to_entity = (str(to.id), to.kind.value, to.id, codec.encode(command), codec.encode(sent.by), node)
            return tables.MESSAGES, sent.id, (sent.id, to.cafe_id, TO_ACTORS, *to_entity)
        case Job() as job:
            what = (job.key, codec.encode(job.task), codec.encode(sent.by))
            when = (job.priority, job.parent, job.flow, job.delay_s)
            return tables.JOBS, sent.id, (sent.id, job.cafe_id, job.queue.value, *what, *when)


def _answer_row(one: Answered, now: datetime) -> tuple[object, ...]:
    key = one.idempotency
    return (key.scope, key.key, key.request, one.ok, one.body, one.expires_at, now)
