"""A cafe and all that lives in it, driven by hand: what actors, journal and outbox do, without any of them.

``World.ask`` puts one command to one entity: it decides, the author follows its own events and its births, births come
into the world, and messages wait in the queue of whom they are for until ``deliver`` or ``deliver_all``. Jobs wait the
same way, by their key, until ``work`` or ``deliver_all``; those for a payment's gateway are ``world.provider``'s, which
does what the test tells it. Events, messages and tasks rest as JSON between the one who wrote them and the one who
reads them, as they do in the tables.
"""

from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from tabletap.domain import account as accounts
from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import ledger, tips
from tabletap.domain import order as orders
from tabletap.domain import payment as payments
from tabletap.domain.base import (
    INSTALLATION_CAFE,
    SYSTEM,
    By,
    CafeId,
    Command,
    Context,
    Decision,
    Event,
    Kind,
    Ref,
    Role,
)
from tabletap.domain.charge import Standing
from tabletap.domain.errors import Refusal
from tabletap.domain.menu import Category, Choice, Group, Item, Menu, Option, Size, Wish
from tabletap.domain.messages import Absorb, AnyMessage, Unmerge
from tabletap.domain.settings import BankDetails, CafeSettings
from tabletap.domain.tasks import AnyTask, WithdrawPayments
from tabletap.domain.vocabulary import MANUAL, Channel, ChargeState, Method

from .provider import Provider

State = cafes.Cafe | orders.Order | payments.Payment | drawers.Drawer | accounts.Account | tips.TipJar

NOON = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)
"""Noon in Sydney, on a day without a change of clocks."""

STAFF = By(Role.STAFF, "sam", "till-1")
CUSTOMER = By(Role.CUSTOMER)

MENU = Menu(
    currency="AUD",
    stations=("bar", "kitchen"),
    tax_classes={"gst": 1000, "free": 0},
    categories=(Category("coffee", "Coffee"), Category("food", "Food")),
    groups=(
        Group("milk", "Milk", (Option("full", "Full cream"), Option("oat", "Oat", 70, ("brand",))), min=1, max=1),
        Group("brand", "Brand", (Option("minor", "Minor", 20), Option("oatly", "Oatly", 30)), min=1, max=2),
        Group("extra", "Extra", (Option("shot", "Shot", 50), Option("less", "Less", -1_000)), max=3),
    ),
    items=(
        Item(
            sku="flat-white",
            name="Flat white",
            category="coffee",
            price=0,
            station="bar",
            tax_class="gst",
            sizes=(Size("small", "Small", 450), Size("large", "Large", 550)),
            groups=("milk", "extra"),
            prep_seconds=60,
        ),
        Item(
            sku="toast",
            name="Toast",
            category="food",
            price=901,
            station="kitchen",
            tax_class="gst",
            prep_seconds=300,
        ),
        Item(
            sku="banana", name="Banana", category="food", price=153, station="kitchen", tax_class="free", prep_seconds=0
        ),
        Item(sku="water", name="Water", category="food", price=0, station="bar", tax_class="free", prep_seconds=10),
    ),
)

SETTINGS = CafeSettings(
    name="Corner", tables=("1", "2", "3"), bank=BankDetails(account_name="Corner", bsb="062-000", account_number="123")
)

TOAST, BANANA, WATER = Wish("toast", 1), Wish("banana", 1), Wish("water", 1)
FLAT_WHITE = Wish("flat-white", 1, (Choice("milk", "full"),))


class Logged(NamedTuple):
    """One line of the log: ``author`` decided it, it is about ``ref``."""

    ref: Ref
    author: Ref
    event: bytes
    at: datetime


def thaw(event: bytes) -> Event:
    """An event as the log gives it back."""
    read: Event = msgspec.json.decode(event, type=e.AnyEvent)
    return read


def born(ref: Ref, event: Any) -> State:
    """An entity from the event that brought it into the world."""
    match ref.kind:
        case Kind.CAFE:
            return cafes.born(ref.cafe_id, event)
        case Kind.ORDER:
            return orders.born(event)
        case Kind.PAYMENT:
            return payments.born(event)
        case Kind.DRAWER:
            return drawers.born(event)
        case Kind.ACCOUNT:
            return accounts.born(event)
        case Kind.TIPS:
            return tips.born(event)


_NOUNS: dict[Kind, Any] = {
    Kind.CAFE: cafes,
    Kind.ORDER: orders,
    Kind.PAYMENT: payments,
    Kind.DRAWER: drawers,
    Kind.ACCOUNT: accounts,
    Kind.TIPS: tips,
}
MADE_BY_ASKING = (Kind.ACCOUNT, Kind.TIPS)
"""Nobody brings these into the world but the first command that is put to them."""


def comparable(state: State | None) -> object:
    """A state as something that can be compared (a priced menu has no equality of its own)."""
    if isinstance(state, cafes.Cafe):
        return (state.slug, state.settings, state.menu.menu, state.sold_out, state.numbers, state.slots, state.closed)
    return state


class Ids:
    """New UUIDv7s: they grow, and their random part is of this source alone."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)
        self._count = 0

    def __call__(self) -> UUID:
        self._count += 1
        return UUID(int=self._count << 80 | 7 << 76 | 2 << 62 | self._random.getrandbits(62))


class World:
    def __init__(self, settings: CafeSettings = SETTINGS, menu: Menu = MENU, now: datetime = NOON) -> None:
        self.now = now
        self.tick = timedelta(0)
        self.balances: Counter[str] = Counter()
        """The ledger: account -> cents, debit positive."""
        self.new_id = Ids()
        self.log: list[Logged] = []
        self.states: dict[Ref, State] = {}
        self.queues: dict[Ref, deque[bytes]] = {}
        self.jobs: dict[str, deque[bytes]] = {}
        self.provider = Provider()
        self.account = Ref(Kind.ACCOUNT, self.new_id(), INSTALLATION_CAFE)
        """The account that pays where a payment out of one is begun without naming it."""
        cafe_id = CafeId(self.new_id())
        self.cafe_ref = Ref(Kind.CAFE, cafe_id, cafe_id)
        opened = cafes.open_cafe(cafes.OpenCafe("corner", settings, menu))
        assert isinstance(opened, Decision), opened
        for event in opened.events:
            self._happen(self.cafe_ref, self.cafe_ref, event)

    # -- asking

    def ask(self, ref: Ref, command: Command, by: By = STAFF) -> Decision | Refusal:
        """Put a command to an entity, a ``tick`` after the last one. A refusal changes nothing at all."""
        self.now += self.tick
        state = self.states.get(ref) if ref.kind in MADE_BY_ASKING else self.states[ref]
        before = comparable(state)
        decision: Decision | Refusal = _NOUNS[ref.kind].decide(state, command, Context(self.now, self.new_id, by))
        assert comparable(state) == before, "decide changed the state it was shown"
        if isinstance(decision, Decision):
            for event in decision.events:
                self._happen(ref, ref, event)
            for birth in decision.births:
                for event in birth.events:
                    self._happen(birth.ref, ref, event)
            for message in decision.messages:
                self.queues.setdefault(message.to, deque()).append(msgspec.json.encode(message.command))
            for job in decision.jobs:
                self.jobs.setdefault(job.key, deque()).append(msgspec.json.encode(job.task))
        return decision

    def do(self, ref: Ref, command: Command, by: By = STAFF) -> Decision:
        """``ask`` for what the test takes to be legal."""
        decision = self.ask(ref, command, by)
        assert isinstance(decision, Decision), decision
        return decision

    def deliver(self, to: Ref, *, twice: bool = False) -> None:
        """Hand the oldest waiting message to its receiver; ``twice``: once more, after all that waits behind it.

        Lines on their way between two orders are repeated at once: the outbox forgets a row in the commit that
        handled it, and no later merge of the same orders can come between.
        """
        raw = self.queues[to].popleft()
        command = msgspec.json.decode(raw, type=AnyMessage)
        if twice and isinstance(command, Absorb | Unmerge):
            self.queues[to].appendleft(raw)
        elif twice:
            self.queues[to].append(raw)
        self.do(to, command)

    def work(self, key: str, *, twice: bool = False) -> None:
        """Do the oldest waiting job of a key; ``twice``: the first time was forgotten in a crash."""
        task = msgspec.json.decode(self.jobs[key].popleft(), type=AnyTask)
        for _ in range(2 if twice else 1):
            if isinstance(task, WithdrawPayments):
                self._withdraw(task)
            else:
                payment = Ref(Kind.PAYMENT, task.charge.payment_id, task.charge.cafe_id)
                self.do(payment, self.provider.asked(task), SYSTEM)

    def _withdraw(self, task: WithdrawPayments) -> None:
        for order in self.orders:
            if not order.released and any(line.facts.sku == task.sku for line in order.lines.values()):
                self.do(order.ref, orders.Withdraw(task.sku, task.at), SYSTEM)

    def deliver_all(self) -> None:
        """Hand over every message and do every job, and those that follow from them."""
        for _ in range(10_000):
            if self.waiting:
                self.deliver(self.waiting[0])
            elif self.waiting_jobs:
                self.work(self.waiting_jobs[0])
            else:
                return
        raise AssertionError("messages without end")

    @property
    def waiting_jobs(self) -> list[str]:
        """The keys that have jobs waiting."""
        return [key for key, queue in self.jobs.items() if queue]

    @property
    def waiting(self) -> list[Ref]:
        """Who has messages waiting."""
        return [ref for ref, queue in self.queues.items() if queue]

    def _happen(self, ref: Ref, author: Ref, event: Event) -> None:
        self.log.append(Logged(ref, author, msgspec.json.encode(event), self.now))
        for account, amount in ledger.postings(thaw(self.log[-1].event)):
            self.balances[account] += amount
        _follow(self.states, ref, author, event)

    # -- looking

    def rebuilt(self) -> dict[Ref, State]:
        """Every state as a restart would find it: from the log alone."""
        states: dict[Ref, State] = {}
        for line in self.log:
            _follow(states, line.ref, line.author, thaw(line.event))
        return states

    def restart(self) -> None:
        """Forget every state and read it back."""
        self.states = self.rebuilt()

    @property
    def events(self) -> list[Event]:
        return [thaw(line.event) for line in self.log]

    @property
    def cafe(self) -> cafes.Cafe:
        state = self.states[self.cafe_ref]
        assert isinstance(state, cafes.Cafe)
        return state

    def order(self, ref: Ref) -> orders.Order:
        state = self.states[ref]
        assert isinstance(state, orders.Order)
        return state

    def payment(self, ref: Ref) -> payments.Payment:
        state = self.states[ref]
        assert isinstance(state, payments.Payment)
        return state

    @property
    def orders(self) -> list[orders.Order]:
        return [state for state in self.states.values() if isinstance(state, orders.Order)]

    @property
    def payments(self) -> list[payments.Payment]:
        return [state for state in self.states.values() if isinstance(state, payments.Payment)]

    # -- what most tests begin with

    def later(self, **ago: float) -> None:
        self.now += timedelta(**ago)

    def place(self, *wishes: Wish, channel: Channel = Channel.COUNTER, **facts: Any) -> Ref:
        """An order of ``wishes`` (left out: one toast)."""
        command = cafes.PlaceOrder(channel=channel, wishes=wishes or (TOAST,), **facts)
        return self.do(self.cafe_ref, command).births[0].ref

    def pay(
        self, order: Ref, method: Method = Method.CASH, amount: int | None = None, tip: int = 0, **facts: Any
    ) -> Ref:
        """A payment that has been initiated."""
        account = self.account if method in orders.ACCOUNT_FIELD else None
        command = orders.InitiatePayment(method=method, amount=amount, tip=tip, account=account, **facts)
        return self.do(order, command).births[0].ref

    def take(self, payment: Ref, money: int | None = None) -> Decision:
        """Money comes in (left out: exactly what was asked for)."""
        started = self.payment(payment).initiated
        money = started.total if money is None else money
        if started.method is Method.CASH:
            return self.do(payment, payments.VerifyCash(tendered=money))
        if started.method in MANUAL:
            return self.do(payment, payments.VerifyTransfer(received=money))
        self.provider.says(started.payment_id, Standing(state=ChargeState.SUCCEEDED, amount=money))
        return self.hear(payment)

    def hear(self, payment: Ref) -> Decision:
        """The provider tells the payment how it stands (a webhook)."""
        standing = self.provider.charges[self.payment(payment).initiated.payment_id]
        return self.do(payment, payments.HearCharge(standing), SYSTEM)

    def paid(self, order: Ref, method: Method = Method.CASH, amount: int | None = None, tip: int = 0) -> Ref:
        """A payment that has been made, and noted everywhere."""
        payment = self.pay(order, method, amount, tip)
        self.take(payment)
        self.deliver_all()
        return payment

    def priced(self, *wishes: Wish) -> Any:
        """Wishes with the facts of the menu, for ``order.Change``."""
        priced = self.cafe.menu.price(wishes)
        assert not isinstance(priced, Refusal), priced
        return priced


def _follow(states: dict[Ref, State], ref: Ref, author: Ref, event: Event) -> None:
    """What one line of the log does to whom it is about, and to its author."""
    known = states.get(ref)
    states[ref] = born(ref, event) if known is None else _NOUNS[ref.kind].evolve(known, event)
    if author != ref:
        states[author] = _NOUNS[author.kind].evolve(states[author], event)
