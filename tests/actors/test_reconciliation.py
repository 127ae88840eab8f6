"""Reconciliation on real actors: whatever slipped through the nets below is found, mended where it can be, and told."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
import uuid_utils.compat

from tabletap.actors.audit_ports import Stated, StatedPage, Turn
from tabletap.actors.ports import GatewayDown, GatewaySilent
from tabletap.actors.reconciliation import Reconciliation, ReconciliationSettings
from tabletap.domain.base import PaymentId, Ref
from tabletap.domain.charge import Charge, Standing, charge_of
from tabletap.domain.payment import OPEN
from tabletap.domain.reconciliation import Finding, Known, Run, Sort, Stuck, run_of_cafe
from tabletap.domain.tasks import OpenCharge
from tabletap.domain.vocabulary import MANUAL, Channel, ChargeState, Method, OrderStatus, PaymentStatus
from tests.store.memory import MemoryStore

from .corner import NOON, SETTINGS, Corner

CARD = Method.PAYCONIC_CARD
QUICK = ReconciliationSettings(every_s=300, stuck_after_s=600, stale_after_s=900, run_at_most_s=200, most=50)


class MemoryRounds:
    """What ``store.rounds`` finds, from the store in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.runs: dict[UUID, tuple[datetime, Run | None]] = {}
        self.stuck: list[Stuck] = []

    async def begin(self, run_id: UUID, now: datetime, *, not_after: datetime | None) -> Turn | None:
        if any(run is None or (not_after and begun > not_after) for begun, run in self.runs.values()):
            return None
        since = max((begun for begun, _ in self.runs.values()), default=None)
        self.runs[run_id] = (now, None)
        return Turn(since)

    async def finish(self, run: Run) -> None:
        self.runs[run.run_id] = (run.started_at, run)

    async def newest(self) -> Run | None:
        finished = [run for _, run in self.runs.values() if run is not None]
        return max(finished, key=lambda run: run.started_at, default=None)

    async def under_way(self, begun_before: datetime, limit: int) -> Sequence[Charge]:
        return [
            msgspec.structs.replace(charge_of(one.initiated), external_id=one.external_id)
            for one in self.store._payments.values()
            if one.status in OPEN and one.initiated.method not in MANUAL and one.initiated.initiated_at < begun_before
        ][:limit]

    async def known(self, payment_ids: Collection[PaymentId]) -> Mapping[PaymentId, Known]:
        found = [self.store._payments[id_] for id_ in payment_ids if id_ in self.store._payments]
        return {
            one.initiated.payment_id: Known(cafe_id=one.initiated.cafe_id, status=one.status, received=one.received)
            for one in found
        }

    async def overdue_payments(self, expired_before: datetime, limit: int) -> Sequence[Ref]:
        return [
            one.ref
            for one in self.store._payments.values()
            if one.status in OPEN and one.initiated.expires_at < expired_before
        ][:limit]

    async def stuck_messages(self, since: datetime, limit: int) -> Sequence[Stuck]:
        return self.stuck[:limit]

    async def stale_orders(self, placed_before: datetime, limit: int) -> Sequence[tuple[Ref, int]]:
        waiting = (OrderStatus.PENDING, OrderStatus.PAYMENT_PENDING)
        return self._outside(placed_before, *waiting)[:limit]

    async def unreleased_orders(self, paid_before: datetime, limit: int) -> Sequence[tuple[Ref, int]]:
        return self._outside(paid_before, OrderStatus.PAID)[:limit]

    def _outside(self, before: datetime, *statuses: OrderStatus) -> list[tuple[Ref, int]]:
        return [
            (one.ref, one.placed.number)
            for one in self.store._orders.values()
            if one.status in statuses
            and not one.released
            and not one.reserved
            and one.placed.placed_at < before
            and one.ref not in self.store.wakes
        ]


class Till:
    """A provider that says what it is told to say, and counts how often it was asked."""

    provider = "till"
    manual = False

    def __init__(self) -> None:
        self.charges: dict[PaymentId, Standing] = {}
        self.trouble: Exception | None = None
        self.verified = 0

    async def verify(self, charge: Charge) -> Standing:
        self.verified += 1
        if self.trouble is not None:
            raise self.trouble
        return self.charges.get(charge.payment_id, Standing(state=ChargeState.ABSENT))


class ListingTill(Till):
    """The same, with a statement; ``strangers``: charges of somebody else's."""

    def __init__(self) -> None:
        super().__init__()
        self.strangers: dict[str, Standing] = {}
        self.asked_since: list[datetime] = []

    async def changed_since(self, since: datetime, after: str | None, limit: int) -> StatedPage:
        if after is None:
            self.asked_since.append(since)
        everything = [
            Stated(reference=str(id_), payment_id=id_, standing=standing) for id_, standing in self.charges.items()
        ]
        everything += [
            Stated(reference=text, payment_id=None, standing=standing) for text, standing in self.strangers.items()
        ]
        at = int(after or 0)
        return StatedPage(everything[at : at + 1], str(at + 1) if at + 1 < len(everything) else None)


class Watch:
    """A corner cafe, its provider, and who goes round."""

    def __init__(self, corner: Corner, till: Till, rounds: MemoryRounds) -> None:
        self.corner, self.till, self.rounds = corner, till, rounds
        self.woken = 0
        self.reconciliation = Reconciliation(
            rounds=rounds,
            desk=corner.desk,
            gateways={CARD: till},  # type: ignore[dict-item]
            wake_outbox=self._wake,
            clock=corner.clock.now,
            new_id=uuid_utils.compat.uuid7,
            settings=QUICK,
        )

    def _wake(self) -> None:
        self.woken += 1

    async def round(self) -> Run:
        run = await self.reconciliation.go_round(not_after=None)
        assert run is not None
        await self.corner.settle()
        return run

    async def status(self, payment: Ref) -> PaymentStatus:
        view = await self.corner.store.payment(PaymentId(payment.id))
        assert view is not None
        return view.status


@asynccontextmanager
async def watched(till: Till, corner: Corner | None = None) -> AsyncIterator[Watch]:
    async with (corner or Corner()).open() as opened:
        yield Watch(opened, till, MemoryRounds(opened.store))


def told(run: Run) -> list[tuple[Sort, str, bool]]:
    return [(finding.sort, finding.about, finding.repaired) for finding in run.findings]


def taken(amount: int) -> Standing:
    return Standing(state=ChargeState.SUCCEEDED, external_id="pay_1", amount=amount)


async def a_minute() -> None:
    await trio.sleep(61)


@pytest.mark.parametrize("till", [Till, ListingTill])
async def test_money_that_a_provider_has_and_we_have_not_heard_of_is_taken_once(till: Any) -> None:
    async with watched(till()) as watch:
        order = await watch.corner.place()
        payment = await watch.corner.pay(order, CARD)
        watch.till.charges[PaymentId(payment.id)] = taken(901)
        await a_minute()
        run = await watch.round()
        assert told(run) == [(Sort.CHARGE_DIFFERS, f"payment {payment.id}", True)]
        assert (run.repaired, run.remaining) == (1, 0)
        assert "it is pending here, succeeded with 901 cents at its provider" in run.findings[0].words
        assert await watch.status(payment) is PaymentStatus.COMPLETED
        assert (await watch.corner.order(order)).paid == 901
        commits = watch.corner.store.commits
        again = await watch.round()
        assert (told(again), again.repaired) == ([], 0)
        assert watch.corner.store.commits == commits, "nothing was repaired twice"


async def test_a_payment_that_was_declined_there_is_given_up_here() -> None:
    async with watched(Till()) as watch:
        payment = await watch.corner.pay(await watch.corner.place(), CARD)
        watch.till.charges[PaymentId(payment.id)] = Standing(state=ChargeState.FAILED, reason="no money")
        await a_minute()
        assert told(await watch.round()) == [(Sort.CHARGE_DIFFERS, f"payment {payment.id}", True)]
        assert await watch.status(payment) is PaymentStatus.FAILED
        assert told(await watch.round()) == []


async def test_late_money_in_a_statement_completes_what_had_expired() -> None:
    till = ListingTill()
    async with watched(till) as watch:
        payment = await watch.corner.pay(await watch.corner.place(), CARD)
        await trio.sleep(3_600)
        assert await watch.status(payment) is PaymentStatus.EXPIRED
        till.charges[PaymentId(payment.id)] = taken(901)
        assert told(await watch.round()) == [(Sort.CHARGE_DIFFERS, f"payment {payment.id}", True)]
        assert await watch.status(payment) is PaymentStatus.COMPLETED
        assert told(await watch.round()) == []


async def test_a_charge_that_never_reached_its_provider_is_asked_for_again() -> None:
    async with watched(Till()) as watch:
        payment = await watch.corner.pay(await watch.corner.place(), CARD)
        await a_minute()
        watch.corner.asked.clear()
        assert told(await watch.round()) == [(Sort.CHARGE_DIFFERS, f"payment {payment.id}", True)]
        assert [task for task in watch.corner.asked if isinstance(task, OpenCharge)]
        watch.till.charges[PaymentId(payment.id)] = Standing(state=ChargeState.OPEN, external_id="pay_1")
        await watch.round()
        assert await watch.status(payment) is PaymentStatus.PROCESSING
        assert told(await watch.round()) == []


@pytest.mark.parametrize(
    "standing",
    [taken(900), Standing(state=ChargeState.FAILED), Standing(state=ChargeState.OPEN)],
    ids=["another amount", "failed", "open"],
)
async def test_where_both_sides_have_made_up_their_minds_people_are_told_and_nothing_changes(standing: Any) -> None:
    till = ListingTill()
    async with watched(till) as watch:
        payment = await watch.corner.pay(await watch.corner.place(), CARD)
        till.charges[PaymentId(payment.id)] = taken(901)
        await a_minute()
        await watch.round()
        till.charges[PaymentId(payment.id)] = standing
        commits = watch.corner.store.commits
        for _ in range(2):
            run = await watch.round()
            assert told(run) == [(Sort.CHARGE_DIFFERS, f"payment {payment.id}", False)]
            assert (run.repaired, run.remaining) == (0, 1)
        assert watch.corner.store.commits == commits


async def test_charges_that_nobody_here_knows_are_told_where_money_is_in_them() -> None:
    till = ListingTill()
    async with watched(till) as watch:
        stranger = PaymentId(uuid_utils.compat.uuid7())
        till.charges[stranger] = taken(100)
        till.strangers = {"till-7": taken(5), "till-8": Standing(state=ChargeState.CANCELLED)}
        run = await watch.round()
        assert told(run) == [
            (Sort.CHARGE_UNKNOWN, f"charge {stranger}", False),
            (Sort.CHARGE_UNKNOWN, "charge till-7", False),
        ]
        assert run.checked["charges"] == 3


async def test_a_statement_is_asked_from_a_little_before_the_last_run_on() -> None:
    till = ListingTill()
    async with watched(till) as watch:
        await watch.round()
        await trio.sleep(300)
        await watch.round()
        first, second = till.asked_since
        assert first < watch.corner.clock.now() - timedelta(hours=23)
        assert timedelta(0) < NOON - second < timedelta(minutes=11)


@pytest.mark.parametrize("trouble", [GatewayDown("refused"), GatewaySilent("no answer")])
async def test_a_provider_that_does_not_answer_is_asked_once_and_told_and_changes_nothing(trouble: Any) -> None:
    async with watched(Till()) as watch:
        for _ in range(3):
            await watch.corner.pay(await watch.corner.place(), CARD)
        await a_minute()
        watch.till.trouble = trouble
        run = await watch.round()
        assert told(run) == [(Sort.PROVIDER_SILENT, "till", False)]
        assert watch.till.verified == 1


async def test_a_payment_whose_end_was_slept_through_is_ended() -> None:
    corner = Corner()
    async with watched(Till(), corner) as watch:
        payment = await corner.pay(await corner.place(), Method.CASH)
    corner.store.wakes.clear()
    await trio.sleep(3_600)
    async with watched(Till(), corner) as watch:
        assert await watch.status(payment) is PaymentStatus.PENDING
        run = await watch.round()
        assert (Sort.PAYMENT_OVERDUE, f"payment {payment.id}", True) in told(run)
        assert await watch.status(payment) is PaymentStatus.EXPIRED
        assert Sort.PAYMENT_OVERDUE not in {finding.sort for finding in (await watch.round()).findings}


async def test_a_paid_order_that_missed_its_hour_reaches_the_kitchen() -> None:
    corner = Corner(settings=msgspec.structs.replace(SETTINGS, prepay=frozenset({Channel.ONLINE})))
    async with watched(Till(), corner):
        order = await corner.place(channel=Channel.ONLINE, scheduled_for=corner.clock.now() + timedelta(hours=2))
        await corner.take(await corner.pay(order), 100_000)
        assert not (await corner.order(order)).in_kitchen
    corner.store.wakes.clear()
    await trio.sleep(3 * 3_600)
    async with watched(Till(), corner) as watch:
        run = await watch.round()
        assert [(finding.sort, finding.repaired) for finding in run.findings] == [(Sort.ORDER_NOT_IN_KITCHEN, True)]
        assert (await corner.order(order)).in_kitchen
        assert told(await watch.round()) == []


async def test_a_paid_order_that_nobody_has_accepted_is_told_until_somebody_does() -> None:
    settings = msgspec.structs.replace(SETTINGS, prepay=frozenset({Channel.ONLINE}), approval=True)
    async with watched(Till(), Corner(settings=settings)) as watch:
        order = await watch.corner.place(channel=Channel.ONLINE)
        await watch.corner.take(await watch.corner.pay(order), 100_000)
        await a_minute()
        for _ in range(2):
            (finding,) = (await watch.round()).findings
            assert (finding.sort, finding.repaired) == (Sort.ORDER_NOT_IN_KITCHEN, False)
            assert finding.words == "is paid, and not made: nobody has accepted it"


async def test_an_order_that_nobody_pays_is_told_and_left_alone() -> None:
    settings = msgspec.structs.replace(SETTINGS, prepay=frozenset({Channel.ONLINE}))
    async with watched(Till(), Corner(settings=settings)) as watch:
        order = await watch.corner.place(channel=Channel.ONLINE)
        paying = await watch.corner.place(channel=Channel.ONLINE)
        await trio.sleep(900)
        await watch.corner.pay(paying)
        await trio.sleep(1)
        (finding,) = (await watch.round()).findings
        assert finding.sort is Sort.ORDER_STALE
        assert str(order.id) in finding.about
        assert finding.cafe_id == watch.corner.cafe_ref.cafe_id
        assert (await watch.corner.order(order)).status is OrderStatus.PENDING


async def test_messages_that_wait_too_long_are_looked_for_at_once_and_told() -> None:
    async with watched(Till()) as watch:
        await watch.round()
        assert watch.woken == 0
        watch.rounds.stuck = [
            Stuck(
                cafe_id=watch.corner.cafe_ref.cafe_id,
                receiver="order 1",
                waiting=2,
                oldest=watch.corner.clock.now() - timedelta(minutes=12),
                last_error=None,
            )
        ]
        run = await watch.round()
        assert watch.woken == 1
        assert told(run) == [(Sort.MESSAGE_STUCK, "order 1", False)]
        assert run.findings[0].words == "2 wait, the oldest for 12 minutes: never tried"
        assert run.checked["messages"] == 2


async def test_one_goes_round_at_a_time_and_not_before_it_is_due() -> None:
    async with watched(Till()) as watch:
        twin = watch.reconciliation
        await watch.rounds.begin(UUID(int=1), watch.corner.clock.now(), not_after=None)
        assert await twin.go_round(not_after=None) is None, "another node is at it"
        watch.rounds.runs.clear()
        await watch.round()
        assert await twin.go_round(not_after=watch.corner.clock.now() - timedelta(seconds=150)) is None
        await trio.sleep(151)
        assert await twin.go_round(not_after=watch.corner.clock.now() - timedelta(seconds=150)) is not None


async def test_it_goes_round_by_itself_and_at_once_when_asked() -> None:
    async with watched(Till()) as watch, trio.open_nursery() as nursery:
        nursery.start_soon(watch.reconciliation.run)
        await trio.sleep(301)
        assert len(watch.rounds.runs) == 1
        watch.reconciliation.hurry()
        await trio.sleep(1)
        assert len(watch.rounds.runs) == 2
        assert watch.reconciliation.figures()["reconciliation_runs"] == 2
        nursery.cancel_scope.cancel()


async def test_a_bug_in_it_ends_neither_it_nor_the_house() -> None:
    async with watched(Till()) as watch, trio.open_nursery() as nursery:
        await watch.corner.pay(await watch.corner.place(), CARD)
        watch.till.trouble = ZeroDivisionError()
        nursery.start_soon(watch.reconciliation.run)
        await trio.sleep(301)
        watch.rounds.runs.clear()
        watch.till.trouble = None
        await trio.sleep(301)
        assert await watch.reconciliation.newest() is not None
        nursery.cancel_scope.cancel()


async def test_a_run_that_takes_too_long_tells_what_it_has_found() -> None:
    class Endless(Till):
        async def verify(self, charge: Charge) -> Standing:
            await trio.sleep_forever()
            raise AssertionError

    async with watched(Endless()) as watch:
        watch.rounds.stuck = [
            Stuck(cafe_id=watch.corner.cafe_ref.cafe_id, receiver="x", waiting=1, oldest=NOON, last_error="no")
        ]
        await watch.corner.pay(await watch.corner.place(), CARD)
        await a_minute()
        run = await watch.round()
        assert run.finished_at - run.started_at == timedelta(seconds=QUICK.run_at_most_s)
        assert [finding.sort for finding in run.findings] == [Sort.MESSAGE_STUCK]


def test_a_cafe_is_shown_its_own_findings_only() -> None:
    a, b = (Corner().cafe_ref.cafe_id for _ in "ab")
    findings = tuple(
        Finding(sort=Sort.ORDER_STALE, about="x", words="y", repaired=repaired, cafe_id=cafe)
        for cafe, repaired in ((a, True), (a, False), (b, False), (None, False))
    )
    run = Run(
        run_id=UUID(int=1),
        started_at=NOON,
        finished_at=NOON,
        checked={},
        repaired=1,
        remaining=3,
        findings=findings,
    )
    own = run_of_cafe(run, a)
    assert (own.repaired, own.remaining, own.findings) == (1, 1, findings[:2])
