"""A cafe on real actors with everything around them in memory: what ``app.py`` wires, without a database or a door.

``Corner.open()`` is one life of the server; several in a row, over the same store, are restarts.
"""

from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import trio
import uuid_utils.compat

from tabletap.actors.cafe import Boards, Kitchen
from tabletap.actors.desk import Desk, address
from tabletap.actors.entity import Cradle, House
from tabletap.actors.nouns import factories, midwife
from tabletap.actors.ports import Commit, Follower, Idempotency, Recorded, Sent, Stored
from tabletap.actors.runtime import Address, DeadLetter, Limits, Outage, RefusedForNow, Stopping, System, Waker
from tabletap.actors.runtime.testing import TrioClock, settle
from tabletap.actors.withdrawing import Withdrawing
from tabletap.domain import events as e
from tabletap.domain.base import By, CafeId, Command, Event, Job, Kind, Ref, Task
from tabletap.domain.cafe import OpenCafe, PlaceOrder
from tabletap.domain.errors import Refusal
from tabletap.domain.menu import Menu, Wish
from tabletap.domain.order import InitiatePayment, OrderView
from tabletap.domain.payment import PaymentView, VerifyCash, VerifyTransfer
from tabletap.domain.settings import CafeSettings
from tabletap.domain.tasks import WithdrawPayments
from tabletap.domain.vocabulary import Channel, Method
from tests.domain.world import MENU, SETTINGS, STAFF, TOAST
from tests.store.memory import MemoryStore

NOON = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)
TICK_S = 0.5


def key(number: int = 1, request: bytes = b"one") -> Idempotency:
    """An idempotency key; ``request`` says what was asked with it."""
    return Idempotency("corner:sam", UUID(int=number), request)


class Crier:
    """The publisher: insists on contiguous offsets and tells followers."""

    def __init__(self) -> None:
        self.heads: Counter[CafeId] = Counter()
        self.followers: dict[CafeId, list[Follower]] = {}

    def publish(self, cafe_id: CafeId, events: Sequence[Recorded]) -> None:
        for event in events:
            self.heads[cafe_id] += 1
            assert event.offset == self.heads[cafe_id], "published with a gap or out of order"
        for follower in tuple(self.followers.get(cafe_id, ())):
            follower(events)

    def follow(self, cafe_id: CafeId, follower: Follower) -> Callable[[], None]:
        followers = self.followers.setdefault(cafe_id, [])
        followers.append(follower)
        return lambda: followers.remove(follower)

    def head(self, cafe_id: CafeId) -> int:
        return self.heads[cafe_id]


class Courier:
    """The relay: what is for one receiver, or of one key, in order, tried again until it is taken. ``held``: nothing
    goes out."""

    def __init__(self, deliver: Callable[[Sent], Any], nursery: trio.Nursery) -> None:
        self._deliver = deliver
        self._nursery = nursery
        self._lines: dict[Ref | str, deque[Sent]] = {}
        self._arrived: dict[UUID, trio.Event] = {}
        self.held = False
        self.twice = False
        self.failures: list[str] = []

    def hand_over(self, sent: Sequence[Sent]) -> None:
        for one in sent:
            self._arrived.setdefault(one.id, trio.Event())
            if self.held:
                continue
            to = one.message.key if isinstance(one.message, Job) else one.message.to
            line = self._lines.get(to)
            if line is not None:
                line.append(one)
            else:
                self._lines[to] = deque([one])
                self._nursery.start_soon(self._serve, to)

    async def _serve(self, to: Ref | str) -> None:
        line = self._lines[to]
        while line:
            for _ in range(2 if self.twice else 1):
                await self._see_through(line[0])
            self._arrived[line.popleft().id].set()
        del self._lines[to]

    async def _see_through(self, sent: Sent) -> None:
        while True:
            try:
                await self._deliver(sent)
            except (Outage, RefusedForNow, Stopping) as trouble:
                self.failures.append(repr(trouble))
                await trio.sleep(0.2)
            else:
                return

    async def delivered(self, ids: tuple[UUID, ...], timeout_s: float) -> bool:
        with trio.move_on_after(timeout_s):
            for id_ in ids:
                await self._arrived.setdefault(id_, trio.Event()).wait()
            return True
        return False


class Watched:
    """The journal on its way to the store: counts, keeps the commits, and holds them back while ``gate`` is shut."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.gate: trio.Event | None = None
        self.trouble: list[Exception] = []
        self.commits: list[Commit] = []
        self.loads: Counter[Ref] = Counter()

    async def load(self, ref: Ref, pinned: Sequence[str] = ()) -> Stored:
        self.loads[ref] += 1
        return await self.store.load(ref, pinned)

    async def commit(self, commit: Commit) -> Sequence[Recorded]:
        if self.gate is not None:
            await self.gate.wait()
        if self.trouble:
            raise self.trouble.pop(0)
        recorded = await self.store.commit(commit)
        self.commits.append(commit)
        return recorded

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing becomes durable as long as the block runs."""
        self.gate = trio.Event()
        try:
            yield
        finally:
            self.gate.set()
            self.gate = None


class Corner:
    """One cafe, and a way to ask it."""

    def __init__(self, *, settings: CafeSettings = SETTINGS, menu: Menu = MENU, **limits: Any) -> None:
        self.clock = TrioClock(NOON)
        self.cradle = limits.pop("cradle", 1_000)
        self.ask_timeout_s = limits.pop("ask_timeout_s", 10.0)
        self.limits = Limits(**limits)
        self.settings, self.menu = settings, menu
        self.crier = Crier()
        self.store = MemoryStore(self.crier, now=self.clock.now)
        self.journal = Watched(self.store)
        cafe_id = CafeId(uuid_utils.compat.uuid7())
        self.cafe_ref = Ref(Kind.CAFE, cafe_id, cafe_id)
        self.asked: list[Task] = []
        """What was to be asked of providers."""
        self.crashes: list[Exception] = []
        self.letters: list[DeadLetter] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Corner"]:
        """One life of the server. Leaving it stops it; leaving it by ``cut_off`` is a crash."""
        self.crier.followers.clear()
        self.boards = Boards()
        self.house = House(
            journal=self.journal,
            answered=self.store.answered,
            new_id=uuid_utils.compat.uuid7,
            midwife=midwife,
            scheduled=lambda ref, at: self.waker.schedule(address(ref), at),
            cradle=Cradle(self.cradle),
        )
        kitchen = Kitchen(self.store, self.crier, self.boards, TICK_S)
        self.system = System(
            factories(self.house, kitchen),
            self.limits,
            self.clock,
            self.letters.append,
            on_crash=lambda _, error: self.crashes.append(error),
            on_escalate=lambda *_: None,
            rng=Random(1),
        )
        self.waker = Waker(self.system, self.store, self.clock, horizon_seconds=100_000)
        with trio.CancelScope() as self._scope:
            async with self.system, trio.open_nursery() as nursery:
                self.courier = Courier(self._deliver, nursery)
                self.store.handed_over = self.courier.hand_over
                self.desk = Desk(self.system, self.courier, ask_timeout_s=self.ask_timeout_s, follow_s=2.0)
                await nursery.start(self.waker.run)
                self.courier.hand_over(tuple(self.store.outbox.values()))
                if not await self.store.head(self.cafe_ref.cafe_id):
                    await self.do(self.cafe_ref, OpenCafe("corner", self.settings, self.menu))
                yield self
                nursery.cancel_scope.cancel()

    async def _deliver(self, sent: Sent) -> None:
        if not isinstance(sent.message, Job):
            await self.desk.deliver(sent)
            return
        task = sent.message.task
        if isinstance(task, WithdrawPayments):
            await Withdrawing(self.store, self.desk).withdraw(task, sent)
        else:
            self.asked.append(task)  # the providers of this corner never answer
        self.store.outbox.pop(sent.id, None)

    def cut_off(self) -> None:
        """The process dies here: no goodbye."""
        self._scope.cancel()

    # -- asking

    async def ask(self, ref: Ref, command: Command, idempotency: Idempotency | None = None, by: By = STAFF) -> Any:
        return await self.desk.ask(ref, command, by, idempotency)

    async def do(self, ref: Ref, command: Command, idempotency: Idempotency | None = None) -> Any:
        """``ask`` for what the test takes to be legal."""
        answer = await self.ask(ref, command, idempotency)
        assert not isinstance(answer, Refusal), answer
        return answer

    async def at_once(self, *asks: tuple[Any, ...]) -> list[Any]:
        """Ask all of these in one tick, so that those of one entity are one batch: in this order, or turned round (trio
        tosses a coin). The answers stand as the questions did."""
        answers: list[Any] = [None] * len(asks)

        async def one(place: int) -> None:
            answers[place] = await self.ask(*asks[place])

        async with trio.open_nursery() as nursery:
            for place in range(len(asks)):
                nursery.start_soon(one, place)
        return answers

    async def in_turn(self, first: tuple[Any, ...], *asks: tuple[Any, ...]) -> list[Any]:
        """Ask the first, and while it is being committed the others, in this order: they are the next batch."""
        answers: list[Any] = [None] * (1 + len(asks))

        async def one(place: int, *what: Any) -> None:
            answers[place] = await self.ask(*what)

        async with trio.open_nursery() as nursery:
            with self.journal.held():
                for place, what in enumerate((first, *asks)):
                    nursery.start_soon(one, place, *what)
                    await trio.sleep(0.01)
        return answers

    async def settle(self) -> None:
        await settle(self.system)

    async def rest(self) -> None:
        """Until every actor has been passivated."""
        with trio.fail_after(2 * self.limits.idle_seconds + 60):
            while self.system.live:  # noqa: ASYNC110  nobody tells
                await trio.sleep(1)

    def forget(self) -> None:
        """Empty the cradle."""
        self.house.cradle._newborns.clear()

    def live(self, ref: Ref) -> Any:
        """The actor of an entity, if it lives."""
        cell = self.system._cells.get(Address(ref.kind.value, ref))
        return None if cell is None else cell.actor

    async def log(self) -> Sequence[Recorded]:
        return await self.store.log(self.cafe_ref.cafe_id, 0, 100_000)

    async def events(self, kind: type[Event] = Event) -> list[Any]:
        """The events of the log, of one type; queue news only when asked for."""
        quiet = (e.QueueMoved,) if kind is Event else ()
        return [
            one.event for one in await self.log() if isinstance(one.event, kind) and not isinstance(one.event, quiet)
        ]

    # -- what most tests begin with

    def placing(self, *wishes: Wish, channel: Channel = Channel.COUNTER, **facts: Any) -> PlaceOrder:
        return PlaceOrder(channel=channel, wishes=wishes or (TOAST,), **facts)

    async def place(self, *wishes: Wish, **facts: Any) -> Ref:
        placed = await self.do(self.cafe_ref, self.placing(*wishes, **facts))
        assert isinstance(placed, OrderView)
        return Ref(Kind.ORDER, placed.id, self.cafe_ref.cafe_id)

    async def pay(self, order: Ref, method: Method = Method.CASH, amount: int | None = None) -> Ref:
        begun = await self.do(order, InitiatePayment(method=method, amount=amount))
        assert isinstance(begun, PaymentView)
        return Ref(Kind.PAYMENT, begun.payment_id, self.cafe_ref.cafe_id)

    async def take(self, payment: Ref, money: int) -> PaymentView:
        view = await self.store.payment(payment.id)
        assert view is not None
        cash = view.payment_method is Method.CASH
        taken: PaymentView = await self.do(payment, VerifyCash(money) if cash else VerifyTransfer(money))
        return taken

    async def order(self, ref: Ref) -> OrderView:
        view = await self.store.order(ref.id)
        assert view is not None
        return view
