"""The inbox on a real database: what providers tell us is stored once, before they are answered, and told in order."""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing
import uuid_utils.compat

from tabletap.actors.inbox import InboxWorker
from tabletap.actors.ports import GatewayDown, Heard, Overloaded, PaymentOf
from tabletap.actors.runtime import Outage
from tabletap.actors.webhook_ports import WebhookStatus
from tabletap.domain.base import By, CafeId, Command, PaymentId, Ref
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.jobs import POLICIES, QueuePolicy
from tabletap.domain.payment import HearCharge, HearDispute, HearRefund, VerifyNow
from tabletap.domain.tasks import ProcessWebhook
from tabletap.domain.vocabulary import ChargeState, Queue, RefundState
from tabletap.store.inbox import Inbox, InboxSettings
from tabletap.store.inbox_table import TRIES
from tabletap.store.outbox import Relay, RelayLimits
from tabletap.store.pool import Database, DatabaseDown
from tests.domain.world import NOON
from tests.store.opened import rows, run

CAFE = CafeId(UUID(int=1))
OTHER_CAFE = CafeId(UUID(int=2))
PAYMENT = PaymentId(UUID(int=10))
CHARGE = PaymentId(UUID(int=11))
"""A payment by Stripe."""
PATIENCE_S = 30
LONG_GAP = InboxSettings(gap_s=3600)
QUICK = {queue: QueuePolicy(at_once=4, attempts=3, first_pause_s=0.01, longest_pause_s=0.02) for queue in Queue}


def heard(sequence: int | None = 1, event_id: str | None = None, **more: Any) -> Heard:
    """Something about the payment; the amount tells which."""
    number = sequence or 0
    told: dict[str, Any] = {
        "type": "payment.succeeded",
        "payment_id": PAYMENT,
        "standing": Standing(state=ChargeState.SUCCEEDED, amount=number),
    }
    return Heard(event_id=event_id or f"evt_{number}", sequence=sequence, **{**told, **more})


async def make_payment(
    database: Database, payment_id: UUID = PAYMENT, cafe_id: UUID = CAFE, method: str = "payconic_card"
) -> None:
    await run(
        database,
        """INSERT INTO payments (id, cafe_id, order_id, method, status, total, refunded, currency, reference,
               initiated_at, expires_at, doc)
           VALUES ($1, $2, $3, $4, 'processing', 100, 0, 'AUD', 'R', now(), now(), '{}'::jsonb)""",
        *(payment_id, cafe_id, UUID(int=20), method),
    )


@asynccontextmanager
async def open_inbox(database: Database, settings: InboxSettings = LONG_GAP) -> AsyncIterator[Inbox]:
    inbox = Inbox(database, settings, lambda: None, now=lambda: NOON)
    async with trio.open_nursery() as nursery:
        await nursery.start(inbox.run)
        yield inbox
        nursery.cancel_scope.cancel()


async def stored(database: Database) -> list[tuple[Any, ...]]:
    return await rows(database, "SELECT event_id, status FROM webhook_inbox ORDER BY event_id")


async def given(database: Database) -> list[str]:
    """The keys of the jobs that wait."""
    found = await rows(database, "SELECT key FROM outbox WHERE destination = 'webhook-processing' ORDER BY seq")
    return [row[0] for row in found]


@pytest.fixture
async def paying(migrated: Database) -> Database:
    await make_payment(migrated)
    return migrated


# -- storing


async def test_a_webhook_is_stored_with_its_job_before_its_provider_is_answered(paying: Database) -> None:
    async with open_inbox(paying) as inbox:
        await inbox.take("payconic", heard())
        assert await stored(paying) == [("evt_1", "pending")]
        ((cafe_id, message),) = await rows(paying, "SELECT cafe_id, message FROM outbox")
        ((inbox_id,),) = await rows(paying, "SELECT id FROM webhook_inbox")
        assert cafe_id == CAFE
        assert msgspec.json.decode(message, type=ProcessWebhook) == ProcessWebhook(inbox_id)


async def test_one_event_is_stored_once_however_often_and_however_fast_it_comes(paying: Database) -> None:
    async with open_inbox(paying) as inbox, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(inbox.take, "payconic", heard())
        await inbox.take("payconic", heard())
    assert await stored(paying) == [("evt_1", "pending")]
    assert await given(paying) == [str(PAYMENT)]


async def test_two_providers_may_give_the_same_id_to_different_events(paying: Database) -> None:
    await make_payment(paying, CHARGE, method="stripe_card")
    async with open_inbox(paying) as inbox:
        await inbox.take("payconic", heard())
        await inbox.take("stripe", heard(payment_id=CHARGE))
    assert await given(paying) == [str(PAYMENT), str(CHARGE)]


async def test_a_provider_has_no_say_about_a_payment_of_another(paying: Database) -> None:
    async with open_inbox(paying) as inbox:
        await inbox.take("stripe", heard())
    assert await stored(paying) == [("evt_1", "ignored")]
    assert await given(paying) == []


@pytest.mark.parametrize("payment_id", [None, PaymentId(UUID(int=99))])
async def test_what_is_about_no_payment_of_ours_is_kept_and_nothing_is_done_about_it(
    paying: Database, payment_id: PaymentId | None
) -> None:
    async with open_inbox(paying) as inbox:
        await inbox.take("payconic", heard(payment_id=payment_id))
    assert await stored(paying) == [("evt_1", "ignored")]
    assert await given(paying) == []


async def test_webhooks_that_wait_at_once_are_written_together(paying: Database) -> None:
    async with open_inbox(paying) as inbox:
        async with trio.open_nursery() as nursery:
            for number in range(1, 101):
                nursery.start_soon(inbox.take, "payconic", heard(number))
        stats = inbox.stats()
    assert stats.taken == 100
    assert stats.groups <= 3
    assert len(await given(paying)) == 100


async def test_a_provider_that_goes_away_before_its_answer_finds_its_webhook_stored_when_it_comes_again(
    paying: Database,
) -> None:
    async with open_inbox(paying) as inbox:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inbox.take, "payconic", heard())
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await inbox.take("payconic", heard())
    assert await stored(paying) == [("evt_1", "pending")]
    assert await given(paying) == [str(PAYMENT)]


async def test_a_row_that_no_table_takes_is_refused_alone(paying: Database) -> None:
    outcomes: list[type[BaseException] | None] = []

    async def take(inbox: Inbox, one: Heard) -> None:
        try:
            await inbox.take("payconic", one)
        except Exception as error:  # noqa: BLE001  whichever it is
            outcomes.append(type(error))
        else:
            outcomes.append(None)

    async with open_inbox(paying) as inbox, trio.open_nursery() as nursery:
        for number in range(1, 6):
            event_id = "nul \0" if number == 3 else None
            nursery.start_soon(take, inbox, heard(number, event_id))
    assert sorted(outcome is None for outcome in outcomes) == [False, True, True, True, True]
    assert [event_id for event_id, _ in await stored(paying)] == ["evt_1", "evt_2", "evt_4", "evt_5"]


class Stuck:
    """A database that answers nothing until it is told what."""

    def __init__(self) -> None:
        self.goes_on = trio.Event()

    async def read(self, _work: Any) -> Any:
        await self.goes_on.wait()
        raise DatabaseDown("gone")


async def test_more_than_may_wait_are_refused_for_now_and_an_outage_is_told_to_those_who_waited() -> None:
    stuck = Stuck()
    settings = InboxSettings(waiting_webhooks=2, group_webhooks=1)
    outages = 0

    async def take(inbox: Inbox, number: int) -> None:
        nonlocal outages
        with pytest.raises(Outage):
            await inbox.take("payconic", heard(number))
        outages += 1

    async with open_inbox(stuck, settings) as inbox, trio.open_nursery() as nursery:  # type: ignore[arg-type]
        for number in range(1, 4):
            nursery.start_soon(take, inbox, number)
            await trio.testing.wait_all_tasks_blocked()  # the first is being written, two wait
        with pytest.raises(Overloaded):
            await inbox.take("payconic", heard(4))
        stuck.goes_on.set()
    assert outages == 3
    assert inbox.stats().refused == 1


async def test_an_inbox_that_is_closed_takes_nothing(paying: Database) -> None:
    async with open_inbox(paying) as inbox:
        pass
    with pytest.raises(Outage):
        await inbox.take("payconic", heard())


# -- turned away


async def until_noted(database: Database, reason: str) -> None:
    with trio.fail_after(PATIENCE_S):
        while not await rows(database, "SELECT FROM webhook_rejections WHERE reason = $1", reason):  # noqa: ASYNC110
            await trio.sleep(0.005)


async def test_what_was_turned_away_is_noted_without_its_body_and_only_so_much_of_it(paying: Database) -> None:
    async with open_inbox(paying, InboxSettings(kept_rejections=5, waiting_rejections=3)) as inbox:
        for number in range(10):
            inbox.reject("payconic", f"forged {number}", b"secret")
            inbox.reject("payconic", f"forged {number}", b"secret")
            await until_noted(paying, f"forged {number}")
        noted = await inbox.rejections(100)
    assert noted[0].reason == "forged 9"  # the other of them may wait for the next group
    assert len(noted) <= 5 + 3
    assert {one.body_bytes for one in noted} == {6}
    assert all(len(one.body_sha256) == 64 for one in noted)


async def test_a_flood_of_forged_ones_is_counted_where_it_cannot_be_noted() -> None:
    async with open_inbox(Stuck(), InboxSettings(waiting_rejections=3)) as inbox:  # type: ignore[arg-type]
        for _ in range(10):
            inbox.reject("payconic", "forged", b"")
        assert (inbox.stats().rejected, inbox.stats().unnoted) == (10, 7)


# -- telling


class Payments:
    """A desk that notes what payments are told. ``refuse``: what they do not want to hear, so many times."""

    def __init__(self) -> None:
        self.told: list[Command] = []
        self.refuse: dict[int, int] = {}

    async def tell(self, ref: Ref, command: Command, by: By) -> Any:
        assert ref.cafe_id == CAFE
        await trio.lowlevel.checkpoint()
        amount = command.standing.amount if isinstance(command, HearCharge) else 0
        if self.refuse.get(amount, 0) > 0:
            self.refuse[amount] -= 1
            return Refusal(Code.ILLEGAL_MOVE, "not this")
        self.told.append(command)
        return None

    ask = tell

    @property
    def amounts(self) -> list[int]:
        return [command.standing.amount for command in self.told if isinstance(command, HearCharge)]


@asynccontextmanager
async def processing(
    database: Database,
    payments: Payments,
    settings: InboxSettings,
    *,
    now: datetime = NOON,
    lease_s: float = 10,
    **payment_of: PaymentOf,
) -> AsyncIterator[Inbox]:
    """A whole inbox: the writer, the queues and the worker. ``lease_s``: so long a job is kept for who was killed."""

    async def deliver(_: Any) -> None:
        raise AssertionError

    inbox = Inbox(database, settings, lambda: relay.wake(), now=lambda: now)  # noqa: PLW0108  relay comes later
    worker = InboxWorker(inbox, payments, payment_of)  # type: ignore[arg-type]
    limits = RelayLimits(net_seconds=0.05, lease_seconds=lease_s)
    relay = Relay(database, deliver, limits, workers={ProcessWebhook: worker.process}, policies=QUICK)
    async with trio.open_nursery() as nursery:
        await nursery.start(inbox.run)
        await nursery.start(relay.run)
        yield inbox
        nursery.cancel_scope.cancel()


async def until_none_is(database: Database, *statuses: str) -> None:
    with trio.fail_after(PATIENCE_S):
        while await rows(  # noqa: ASYNC110  what is waited for comes out of the database
            database, "SELECT FROM webhook_inbox WHERE status = ANY ($1::text[])", list(statuses)
        ):
            await trio.sleep(0.005)


async def until_all_are(database: Database, status: str) -> None:
    await until_none_is(database, *(set(WebhookStatus) - {status}))


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3, 4))))
async def test_in_whatever_order_webhooks_come_they_are_told_in_their_own(
    paying: Database, order: Sequence[int]
) -> None:
    payments = Payments()
    async with processing(paying, payments, LONG_GAP) as inbox:
        for number in order:
            await inbox.take("payconic", heard(number))
            await inbox.take("payconic", heard(number))
        await until_all_are(paying, "processed")
    assert payments.told == [HearCharge(Standing(state=ChargeState.SUCCEEDED, amount=n)) for n in (1, 2, 3, 4)]


async def test_a_gap_that_does_not_close_makes_the_payment_ask_and_the_rest_goes_on(paying: Database) -> None:
    payments = Payments()
    async with processing(paying, payments, InboxSettings(gap_s=0.05)) as inbox:
        await inbox.take("payconic", heard(1))
        await inbox.take("payconic", heard(3))
        await inbox.take("payconic", heard(4))
        await until_all_are(paying, "processed")
    assert payments.amounts == [1, 3, 4]
    assert VerifyNow() in payments.told
    assert payments.told.index(VerifyNow()) < payments.told.index(
        HearCharge(Standing(state=ChargeState.SUCCEEDED, amount=3))
    )


async def test_what_comes_after_its_gap_was_given_up_says_nothing_new_of_the_charge(paying: Database) -> None:
    payments = Payments()
    async with processing(paying, payments, InboxSettings(gap_s=0.01)) as inbox:
        await inbox.take("payconic", heard(2))
        await until_all_are(paying, "processed")
        await inbox.take("payconic", heard(1))
        await until_all_are(paying, "processed")
    assert payments.amounts == [2]


async def test_a_dispute_is_passed_on_however_late_it_comes(paying: Database) -> None:
    payments = Payments()
    opened, won = (Dispute(dispute_id="d", amount=5, won=won) for won in (False, True))
    async with processing(paying, payments, InboxSettings(gap_s=0.01)) as inbox:
        await inbox.take("payconic", heard(1))
        await inbox.take("payconic", heard(3, type="dispute.won", standing=None, dispute=won))
        await until_all_are(paying, "processed")
        await inbox.take("payconic", heard(2, type="dispute.opened", standing=None, dispute=opened))
        await until_all_are(paying, "processed")
    assert payments.told[-2:] == [HearDispute(won), HearDispute(opened)]  # the payment makes sense of any order


# -- whose it is


DISPUTED = {"payment_id": None, "charge_id": "pi_1", "standing": None}


class Stripe:
    """Says whose a charge is. ``away``: how many times it does not answer before."""

    def __init__(self, whose: PaymentId | None = CHARGE, away: int = 0) -> None:
        self.whose, self.away = whose, away
        self.asked: list[str] = []

    async def payment_of(self, charge_id: str) -> PaymentId | None:
        await trio.lowlevel.checkpoint()
        self.asked.append(charge_id)
        if len(self.asked) <= self.away:
            raise GatewayDown("away")
        return self.whose


async def test_what_names_its_charge_alone_is_told_to_the_payment_that_its_provider_names(paying: Database) -> None:
    await make_payment(paying, CHARGE, method="stripe_card")
    payments, stripe = Payments(), Stripe()
    opened = Dispute(dispute_id="d", amount=5)
    async with processing(paying, payments, LONG_GAP, stripe=stripe.payment_of) as inbox:
        for _ in range(2):
            await inbox.take("stripe", heard(None, "evt_d", type="charge.dispute.created", dispute=opened, **DISPUTED))
        await until_all_are(paying, "processed")
        (row,) = await inbox.listed(None, {CAFE}, None, 10)
    assert payments.told == [VerifyNow(), HearDispute(opened)]
    assert (row.payment_id, row.cafe_id, row.attempts, stripe.asked) == (CHARGE, CAFE, 0, ["pi_1"])


async def test_its_provider_is_asked_by_the_worker_and_not_by_the_door(paying: Database) -> None:
    async with open_inbox(paying) as inbox:
        await inbox.take("stripe", heard(None, "evt_d", **DISPUTED))
        ((webhook_id, cafe_id),) = await rows(paying, "SELECT id, cafe_id FROM webhook_inbox")
    assert (await stored(paying), cafe_id) == ([("evt_d", "pending")], None)
    assert await given(paying) == [str(webhook_id)]


async def test_a_provider_that_is_away_is_asked_until_it_is_back_and_nothing_is_lost(
    paying: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabletap.actors.inbox.ASKED_AGAIN_S", 0.01)
    await make_payment(paying, CHARGE, method="stripe_card")
    payments, stripe = Payments(), Stripe(away=TRIES + 2)
    opened = Dispute(dispute_id="d", amount=5)
    now = datetime.now(UTC)
    async with processing(paying, payments, LONG_GAP, now=now, stripe=stripe.payment_of) as inbox:
        await inbox.take("stripe", heard(None, "evt_d", dispute=opened, **DISPUTED))
        await until_all_are(paying, "processed")
    assert payments.told == [VerifyNow(), HearDispute(opened)]


async def test_one_whose_provider_has_not_answered_for_days_is_a_dead_letter_and_can_be_replayed(
    paying: Database,
) -> None:
    await make_payment(paying, CHARGE, method="stripe_card")
    payments, stripe = Payments(), Stripe(away=TRIES)
    async with processing(paying, payments, LONG_GAP, stripe=stripe.payment_of) as inbox:  # at NOON, which is long ago
        await inbox.take("stripe", heard(None, "evt_d", **DISPUTED))
        await until_all_are(paying, "dead")
        (dead,) = await inbox.listed(WebhookStatus.DEAD, None, None, 10)
        assert dead.last_error == "nobody says whose pi_1 is: away"
        replayed = await inbox.replay(dead.webhook_id, None)
        assert replayed is not None
        await until_all_are(paying, "processed")
    assert payments.told == [VerifyNow()]


@pytest.mark.parametrize("whose", [None, PaymentId(UUID(int=99)), PAYMENT])
async def test_a_charge_that_is_none_of_ours_or_of_another_provider_is_ignored(
    paying: Database, whose: PaymentId | None
) -> None:
    payments, stripe = Payments(), Stripe(whose)
    async with processing(paying, payments, LONG_GAP, stripe=stripe.payment_of) as inbox:
        await inbox.take("stripe", heard(None, "evt_d", **DISPUTED))
        await until_all_are(paying, "ignored")
    assert payments.told == []


async def test_another_event_under_a_number_that_was_told_is_late(paying: Database) -> None:
    payments = Payments()
    async with processing(paying, payments, LONG_GAP) as inbox:
        await inbox.take("payconic", heard(1))
        await inbox.take("payconic", heard(1, "evt_other"))
        await until_all_are(paying, "processed")
    assert payments.amounts == [1]


async def test_a_provider_that_does_not_number_its_webhooks_is_asked_and_not_believed_about_the_charge(
    paying: Database,
) -> None:
    await make_payment(paying, CHARGE, method="stripe_card")
    payments = Payments()
    refund = (UUID(int=5), RefundStanding(state=RefundState.SUCCEEDED))
    async with processing(paying, payments, LONG_GAP) as inbox:
        about = {"payment_id": CHARGE, "standing": None}
        await inbox.take("stripe", heard(None, "evt_a", **about))
        await inbox.take("stripe", heard(None, "evt_b", type="refund.updated", refund=refund, **about))
        await until_all_are(paying, "processed")
    assert payments.told == [VerifyNow(), VerifyNow(), HearRefund(*refund)]


async def test_a_webhook_that_its_payment_refuses_is_tried_three_times_and_told_then(paying: Database) -> None:
    payments = Payments()
    payments.refuse[1] = TRIES - 1
    async with processing(paying, payments, LONG_GAP) as inbox:
        await inbox.take("payconic", heard(1))
        await until_all_are(paying, "processed")
    assert payments.amounts == [1]


async def test_one_that_is_refused_to_the_end_is_a_dead_letter_and_holds_up_nobody(paying: Database) -> None:
    payments = Payments()
    payments.refuse[1] = TRIES
    async with processing(paying, payments, LONG_GAP) as inbox:
        await inbox.take("payconic", heard(2))
        await inbox.take("payconic", heard(1))
        await until_none_is(paying, "pending", "waiting")
        (dead,) = await inbox.listed(WebhookStatus.DEAD, None, None, 10)
        assert (dead.event_id, dead.attempts) == ("evt_1", TRIES)
        assert dead.last_error == "HearCharge: ILLEGAL_MOVE: not this"
        assert payments.amounts == [2]
        with trio.fail_after(PATIENCE_S):
            while not await rows(paying, "SELECT FROM outbox_dead"):  # noqa: ASYNC110  the queue writes it down
                await trio.sleep(0.005)

        replayed = await inbox.replay(dead.webhook_id, None)
        assert replayed is not None
        assert replayed.status is WebhookStatus.PENDING
        await until_all_are(paying, "processed")
    assert payments.amounts == [2, 1]
    assert await rows(paying, "SELECT FROM outbox_dead") == []


def test_the_queue_gives_a_webhook_as_many_tries_as_the_inbox_counts() -> None:
    assert POLICIES[Queue.WEBHOOKS].attempts == TRIES
    assert POLICIES[Queue.WEBHOOKS].first_pause_s == 2.0


async def test_what_was_under_way_when_the_server_was_killed_is_told_by_the_next_one(paying: Database) -> None:
    first, second = Payments(), Payments()
    async with open_inbox(paying) as inbox:  # and no queue: it was killed before
        for number in (3, 1, 2):
            await inbox.take("payconic", heard(number))
    for number in (1, 2, 3):  # killed at every step
        async with processing(paying, first, LONG_GAP, lease_s=0.5):
            with trio.fail_after(PATIENCE_S):
                while len(first.told) < number:
                    await trio.lowlevel.checkpoint()
    async with processing(paying, second, LONG_GAP, lease_s=0.5):
        await until_all_are(paying, "processed")
    heard_in_all = first.amounts + second.amounts
    assert [amount for amount, _ in itertools.groupby(heard_in_all)] == [1, 2, 3]


# -- for people


async def test_the_inbox_is_listed_newest_first_page_by_page_and_to_each_what_is_theirs(paying: Database) -> None:
    other = PaymentId(UUID(int=11))
    await make_payment(paying, other, OTHER_CAFE)
    async with open_inbox(paying) as inbox:
        for number in range(1, 5):
            await inbox.take("payconic", heard(number, payment_id=PAYMENT if number % 2 else other))
        await inbox.take("payconic", heard(5, payment_id=None))
        everything = await inbox.listed(None, None, None, 10)
        assert [one.sequence for one in everything] == [5, 4, 3, 2, 1]
        page = await inbox.listed(None, None, everything[1].webhook_id, 2)
        assert [one.sequence for one in page] == [3, 2]
        assert [one.sequence for one in await inbox.listed(None, {CAFE}, None, 10)] == [3, 1]
        assert [one.sequence for one in await inbox.listed(WebhookStatus.IGNORED, None, None, 10)] == [5]


async def test_only_a_dead_one_is_replayed_and_only_by_who_may_see_it(paying: Database) -> None:
    async with open_inbox(paying) as inbox:
        await inbox.take("payconic", heard(1))
        (one,) = await inbox.listed(None, None, None, 10)
        for _ in range(TRIES):
            await inbox.note_failure(one.webhook_id, "no")
        assert await inbox.replay(one.webhook_id, {OTHER_CAFE}) is None
        assert await inbox.replay(uuid_utils.compat.uuid7(), None) is None
        replayed = await inbox.replay(one.webhook_id, {CAFE})
        assert replayed is not None
        assert len(await given(paying)) == 2
        await inbox.settle(one.webhook_id)
        again = await inbox.replay(one.webhook_id, {CAFE})
        assert again is not None
        assert again.status is WebhookStatus.PROCESSED
        assert len(await given(paying)) == 2


async def test_the_sweep_takes_what_is_old_and_leaves_what_still_has_to_be_done(paying: Database) -> None:
    async with open_inbox(paying) as inbox:
        for number in range(1, 6):
            await inbox.take("payconic", heard(number))
        await inbox.take("payconic", heard(6))
        inbox.reject("payconic", "forged", b"")
        await until_noted(paying, "forged")
        for number, status in ((1, "processed"), (2, "ignored"), (3, "waiting"), (4, "dead")):
            await run(paying, "UPDATE webhook_inbox SET status = $2 WHERE sequence = $1", number, status)
        old = NOON - timedelta(days=31)
        await run(paying, "UPDATE webhook_inbox SET received_at = $1 WHERE sequence < 6", old)
        await run(paying, "UPDATE webhook_rejections SET at = $1", NOON - timedelta(days=8))
        await inbox.sweep()
        assert [event_id for event_id, _ in await stored(paying)] == ["evt_3", "evt_4", "evt_5", "evt_6"]
        assert await inbox.rejections(10) == []
