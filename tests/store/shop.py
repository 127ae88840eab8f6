"""A world of the domain whose every decision is a commit as well, to be written by the test."""

from collections import Counter, deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat

from tabletap.actors.ports import Commit, New, Recorded, Sent
from tabletap.domain import account as accounts
from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import order as orders
from tabletap.domain import payment as payments
from tabletap.domain import tips
from tabletap.domain.base import By, CafeId, Command, Decision, Event, Kind, Ref, Wake
from tabletap.domain.errors import Refusal
from tabletap.domain.vocabulary import AccountKind, CreditScope
from tests.domain.world import STAFF, World

_WAKE_AT: Any = {
    cafes.Cafe: cafes.wake_at,
    orders.Order: orders.wake_at,
    payments.Payment: payments.wake_at,
    drawers.Drawer: lambda state: None,
    accounts.Account: accounts.wake_at,
    tips.TipJar: lambda state: None,
}


class Shop(World):
    """``commits``: what has been decided and not been taken by the test yet."""

    def __init__(self, slug: str = "corner") -> None:
        self.commits: list[Commit] = []
        self.outbox: dict[Ref, deque[Sent]] = {}
        self._news: list[New] = []
        self._versions: Counter[Ref] = Counter()
        self._wakes: dict[Ref, object] = {}
        super().__init__()
        self.new_id = uuid_utils.compat.uuid7  # type: ignore[assignment]
        self._rename(slug)
        self._commit(self.cafe_ref, 0, (), ())

    def _rename(self, slug: str) -> None:
        """Give the cafe an id and a slug of its own, so that many can live in one database."""
        cafe_id = CafeId(uuid_utils.compat.uuid7())
        opened = self._news[0].event
        assert isinstance(opened, e.CafeOpened)
        self.cafe_ref = Ref(self.cafe_ref.kind, cafe_id, cafe_id)
        self._news, self.log, self.states = [], [], {}
        self._versions.clear()
        self._happen(self.cafe_ref, self.cafe_ref, e.CafeOpened(slug, opened.settings, opened.menu))

    def ask(self, ref: Ref, command: Command, by: By = STAFF, consumed: Sequence[UUID] = ()) -> Decision | Refusal:
        version, self._news = self._versions[ref], []
        decision = super().ask(ref, command, by)
        if isinstance(decision, Decision):
            sent = [Sent(uuid_utils.compat.uuid7(), message, by) for message in decision.messages]
            for one in sent:
                self.outbox.setdefault(one.message.to, deque()).append(one)
            self._commit(ref, version, sent, consumed)
        return decision

    def deliver(self, to: Ref, *, twice: bool = False) -> None:
        self.queues[to].popleft()
        sent = self.outbox[to].popleft()
        decision = self.ask(to, sent.message.command, consumed=(sent.id,))
        assert isinstance(decision, Decision), decision

    def taken(self) -> list[Commit]:
        """The commits since the last time."""
        commits, self.commits = self.commits, []
        return commits

    def _happen(self, ref: Ref, author: Ref, event: Event) -> None:
        self._versions[ref] += 1
        self._news.append(New(ref, self._versions[ref], event, self.now, STAFF))
        super()._happen(ref, author, event)

    def _commit(self, author: Ref, version: int, sent: Sequence[Sent], consumed: Sequence[UUID]) -> None:
        touched = dict.fromkeys([*(new.ref for new in self._news), author])
        wakes: list[Any] = []
        for ref in touched:
            state = self.states[ref]
            at = _WAKE_AT[type(state)](state)
            if at != self._wakes.get(ref):
                self._wakes[ref] = at
                wakes.append((ref, at))
        self.commits.append(
            Commit(
                author=author,
                version=version,
                events=self._news,
                states=[self.states[ref] for ref in touched],
                sent=sent,
                consumed=consumed,
                wakes=wakes,
            )
        )
        self._news = []

    def busy(self) -> None:
        """An evening: orders, payments, refunds, a merge, a void, a drawer, tips, credit, and the queue moving on."""
        first, second, third = self.place(), self.place(), self.place()
        drawer = self.do(self.cafe_ref, cafes.OpenDrawer("till", 10_000)).births[0].ref
        paid = self.paid(first, tip=100)
        self.do(paid, payments.Refund(amount=200, drawer_id=drawer.id))
        self.deliver_all()
        self.do(second, orders.MergeInto(third.id))  # type: ignore[arg-type]
        self.deliver_all()
        self.move_queue(first, third)
        self.do(third, orders.MoveItem(line=1, move="start"))
        self.do(first, orders.MoveOrder("ready"))
        self.do(first, orders.MoveOrder("complete"))
        self.pay(third)
        self.do(drawer, drawers.Count(9_000))
        gone = self.place()
        self.do(gone, orders.MoveOrder("cancel"))
        self.share_tips(100, "sam", "kim")
        self.credit("ann", 500)

    def share_tips(self, amount: int, *users: str) -> None:
        """Distribute, evenly, and pay the first of them out."""
        jar, staff = tips.tip_jar(self.cafe.id), tuple(tips.Worker(user, "floor") for user in users)
        pool = tips.Pool(amount=amount, charged=0, offset=len(self.log), distributions=0)
        settings, since = self.cafe.settings, self.now - timedelta(hours=8)
        until = self.now + timedelta(hours=1)
        self.do(jar, tips.Distribute(self.cafe.id, settings.currency, settings.tips, since, until, pool, staff))
        self.do(jar, tips.PayOut(users[0], 1, tips.Way.CASH))

    def credit(self, customer: str, amount: int) -> None:
        """Give it, and take half of it back."""
        ref = accounts.credit_account(self.cafe.id, customer, CreditScope.CAFE)
        holding = accounts.Holding(ref, AccountKind.CREDIT, self.cafe.settings.currency, customer)
        self.do(ref, accounts.Grant(holding, self.new_id(), amount, "sorry"))
        self.do(ref, accounts.Withdraw(holding, self.new_id(), amount // 2))

    def reward(self, number: str) -> None:
        """A gift card is bought, used in part, and expires; points become a discount and come back."""
        card = Ref(Kind.ACCOUNT, self.new_id(), self.cafe.id)
        order = self.place(gift_cards=(cafes.GiftWish(5_000, card, card.id, "RC3R"),))
        self.paid(order)
        gift = accounts.Holding(card, AccountKind.GIFT_CARD, self.cafe.settings.currency)
        self.do(card, accounts.Use(gift, used := self.new_id(), 1_200, reference="R-7"))
        self.do(card, accounts.Return(gift, self.new_id(), 200, used))
        now, self.now = self.now, self.now + timedelta(days=2_000)
        self.do(card, Wake())
        self.now = now
        points, lowered = accounts.points_of(self.cafe.id, number), self.place()
        self.do(points.ref, accounts.Grant(points, self.new_id(), 100, "birthday"))
        discount = accounts.Discount(lowered, 100)
        self.do(points.ref, accounts.Use(points, self.new_id(), 100, discount=discount))
        self.deliver_all()
        self.do(lowered, orders.MoveOrder("cancel"))
        self.deliver_all()

    def move_queue(self, *refs: Ref) -> None:
        """The kitchen's board has these orders in this order."""
        places = tuple(
            e.Place(ref.id, position, self.now)  # type: ignore[arg-type]
            for position, ref in enumerate(refs, start=1)
        )
        self.do(self.cafe_ref, cafes.MoveQueue(e.QueueMoved(load=10, active=len(refs), places=places)))


class Tape:
    """A publisher that remembers, and insists on contiguous offsets."""

    def __init__(self) -> None:
        self.events: dict[CafeId, list[Recorded]] = {}
        self.batches = 0

    def publish(self, cafe_id: CafeId, events: Sequence[Recorded]) -> None:
        before = self.events.setdefault(cafe_id, [])
        self.batches += 1
        for event in events:
            assert event.cafe_id == cafe_id
            assert not before or event.offset == before[-1].offset + 1, "published with a gap or out of order"
            before.append(event)

    def follow(self, cafe_id: CafeId, follower: Any) -> Any:
        raise NotImplementedError

    def head(self, cafe_id: CafeId) -> int:
        events = self.events.get(cafe_id)
        return events[-1].offset if events else 0
