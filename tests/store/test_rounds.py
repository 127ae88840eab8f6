from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import pytest
import uuid_utils.compat

from tabletap.actors.audit_ports import Turn
from tabletap.domain import order as orders
from tabletap.domain.base import PaymentId
from tabletap.domain.cafe import Configure
from tabletap.domain.charge import Standing, charge_of
from tabletap.domain.payment import HearCharge
from tabletap.domain.reconciliation import Finding, Run, Sort
from tabletap.domain.vocabulary import Channel, ChargeState, Method, PaymentStatus
from tabletap.store.pool import Database
from tabletap.store.rounds import KEPT, Rounds
from tests.domain.world import NOON, SETTINGS
from tests.store.opened import opened, rows, run
from tests.store.shop import Shop

LATER = NOON + timedelta(hours=1)


def prepaying() -> Shop:
    """A cafe whose kitchen waits for the money."""
    shop = Shop()
    shop.do(shop.cafe_ref, Configure(msgspec.structs.replace(SETTINGS, prepay=frozenset(Channel))))
    return shop


def report(run_id: UUID, at: datetime, *findings: Finding) -> Run:
    return Run(
        run_id=run_id,
        started_at=at,
        finished_at=at + timedelta(seconds=5),
        checked={"charges": 1},
        repaired=0,
        remaining=len(findings),
        findings=findings,
    )


async def begin(rounds: Rounds, at: datetime, not_after: datetime | None = None) -> tuple[UUID, Turn | None]:
    run_id = uuid_utils.compat.uuid7()
    return run_id, await rounds.begin(run_id, at, not_after=not_after)


async def test_a_turn_is_one_nodes_until_it_is_finished_or_has_died(migrated: Database) -> None:
    rounds = Rounds(migrated)
    first, turn = await begin(rounds, NOON)
    assert turn == Turn(None)
    assert (await begin(rounds, NOON + timedelta(minutes=9)))[1] is None
    await rounds.finish(report(first, NOON))
    _, turn = await begin(rounds, NOON + timedelta(minutes=9))
    assert turn == Turn(NOON)
    assert (await begin(rounds, NOON + timedelta(minutes=18)))[1] is None, "it may still be at it"
    _, turn = await begin(rounds, NOON + timedelta(minutes=20))
    assert turn == Turn(NOON), "it has died, and what it looked at counts for nothing"


async def test_a_turn_that_is_not_due_is_not_given(migrated: Database) -> None:
    rounds = Rounds(migrated)
    first, _ = await begin(rounds, NOON)
    await rounds.finish(report(first, NOON))
    soon = NOON + timedelta(minutes=2)
    assert (await begin(rounds, soon, not_after=NOON - timedelta(seconds=1)))[1] is None
    assert (await begin(rounds, soon, not_after=NOON))[1] == Turn(NOON)


async def test_the_newest_finished_run_is_shown_and_very_old_ones_are_forgotten(migrated: Database) -> None:
    rounds = Rounds(migrated)
    assert await rounds.newest() is None
    finding = Finding(sort=Sort.ORDER_STALE, about="order 1", words="nobody", cafe_id=Shop().cafe_ref.cafe_id)
    old, _ = await begin(rounds, NOON)
    await rounds.finish(report(old, NOON))
    late = NOON + KEPT + timedelta(minutes=1)
    new, _ = await begin(rounds, late)
    assert await rounds.newest() == report(old, NOON), "the other is under way"
    await rounds.finish(report(new, late, finding))
    assert await rounds.newest() == report(new, late, finding)
    assert await rows(migrated, "SELECT id FROM reconciliation_runs") == [(new,)]


async def test_payments_under_way_are_those_whose_provider_can_be_asked(migrated: Database) -> None:
    shop, rounds = Shop(), Rounds(migrated)
    cards = [shop.pay(shop.place(), Method.PAYCONIC_CARD) for _ in range(3)]
    cash = shop.pay(shop.place())
    shop.do(cards[0], HearCharge(Standing(state=ChargeState.OPEN, external_id="pay_7")))
    amount = shop.payment(cards[1]).initiated.total
    shop.do(cards[1], HearCharge(Standing(state=ChargeState.SUCCEEDED, external_id="pay_8", amount=amount)))
    async with opened(migrated) as store:
        await store.write(shop)
    assert await rounds.under_way(NOON, 10) == [], "they began a moment ago"
    found = {charge.payment_id: charge for charge in await rounds.under_way(LATER, 10)}
    assert found.keys() == {cards[0].id, cards[2].id}
    expected = charge_of(shop.payment(cards[0]).initiated)
    assert found[PaymentId(cards[0].id)] == msgspec.structs.replace(expected, external_id="pay_7")
    assert len(await rounds.under_way(LATER, 1)) == 1
    known = await rounds.known([PaymentId(ref.id) for ref in (*cards, cash)] + [PaymentId(UUID(int=1))])
    assert known[PaymentId(cards[1].id)].status is PaymentStatus.COMPLETED
    assert known[PaymentId(cards[1].id)].received == amount
    assert known[PaymentId(cash.id)].received == 0
    assert len(known) == 4


async def test_overdue_payments_are_open_ones_whose_time_is_over(migrated: Database) -> None:
    shop, rounds = Shop(), Rounds(migrated)
    waiting, paid = shop.pay(shop.place()), shop.paid(shop.place())
    async with opened(migrated) as store:
        await store.write(shop)
    expires_at = shop.payment(waiting).initiated.expires_at
    assert expires_at == shop.payment(paid).initiated.expires_at
    assert await rounds.overdue_payments(expires_at, 10) == []
    assert await rounds.overdue_payments(expires_at + timedelta(seconds=1), 10) == [waiting]


async def test_a_message_is_stuck_by_its_age_and_a_job_by_its_hour(migrated: Database) -> None:
    shop, rounds = Shop(), Rounds(migrated)
    shop.take(shop.pay(shop.place()))
    card = shop.pay(shop.place(), Method.PAYCONIC_CARD)
    async with opened(migrated) as store:
        await store.write(shop)
    await run(migrated, "UPDATE outbox SET created_at = $1, next_at = $2", NOON, LATER)
    destinations = dict(await rows(migrated, "SELECT destination, key FROM outbox"))
    assert await rounds.stuck_messages(NOON, 10) == []
    (message,) = await rounds.stuck_messages(NOON + timedelta(seconds=1), 10)
    assert message.receiver.startswith("order ")
    assert (message.waiting, message.oldest, message.cafe_id) == (1, NOON, shop.cafe_ref.cafe_id)
    if "payment-processing" in destinations:
        found = await rounds.stuck_messages(LATER + timedelta(seconds=1), 10)
        assert {one.receiver for one in found} == {message.receiver, f"payment-processing {card.id}"}


async def test_stale_orders_are_those_that_nobody_pays_and_the_kitchen_does_not_have(migrated: Database) -> None:
    shop, rounds = prepaying(), Rounds(migrated)
    stale = shop.place(channel=Channel.ONLINE)
    paying = shop.place(channel=Channel.ONLINE)
    shop.pay(paying)
    shop.paid(shop.place(channel=Channel.ONLINE))
    shop.do(shop.place(channel=Channel.ONLINE), orders.MoveOrder("cancel"))
    shop.place(channel=Channel.ONLINE, scheduled_for=NOON + timedelta(hours=3))
    tab = Shop("tab")
    tab.place()
    async with opened(migrated) as store:
        await store.write(shop)
        await store.write(tab)
    scheduled = await rounds.stale_orders(NOON + timedelta(minutes=15), 10)
    assert [ref for ref, _ in scheduled] == [stale]
    assert scheduled[0][1] == shop.order(stale).placed.number
    assert await rounds.stale_orders(NOON, 10) == []


async def test_paid_orders_outside_the_kitchen_are_found_unless_their_hour_is_to_come(migrated: Database) -> None:
    shop, rounds = prepaying(), Rounds(migrated)
    lost = shop.place(channel=Channel.ONLINE, scheduled_for=NOON + timedelta(hours=3))
    shop.paid(lost)
    shop.paid(shop.place(channel=Channel.ONLINE))
    async with opened(migrated) as store:
        await store.write(shop)
    assert await rounds.unreleased_orders(NOON + timedelta(minutes=1), 10) == []
    due = await rounds.unreleased_orders(NOON + timedelta(hours=3), 10)
    assert [ref for ref, _ in due] == [lost], "its hour has come and gone"
    await run(migrated, "DELETE FROM wakes")
    lost_wake = await rounds.unreleased_orders(NOON + timedelta(minutes=1), 10)
    assert [ref for ref, _ in lost_wake] == [lost], "nothing will wake it"


@pytest.mark.parametrize("limit", [1, 2])
async def test_no_list_is_longer_than_asked_for(migrated: Database, limit: int) -> None:
    shop, rounds = prepaying(), Rounds(migrated)
    for _ in range(3):
        shop.place(channel=Channel.ONLINE)
    async with opened(migrated) as store:
        await store.write(shop)
    assert len(await rounds.stale_orders(LATER, limit)) == limit
