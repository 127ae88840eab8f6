"""Orders and payments as actors that talk to each other: reservations, settlement, expiry, schedules."""

from collections import Counter
from datetime import timedelta

import msgspec
import pytest
import trio

from tabletap.actors.desk import address
from tabletap.actors.runtime import Wake
from tabletap.domain import events as e
from tabletap.domain.base import By, Kind, Ref, Role
from tabletap.domain.cafe import SetAvailability
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.order import ByShare, InitiatePayment, MoveOrder
from tabletap.domain.payment import Cancel, Refund, VerifyCash, VerifyTransfer
from tabletap.domain.tasks import OpenCharge
from tabletap.domain.vocabulary import Channel, Method, OrderStatus, PaymentStatus
from tests.domain.world import BANANA, CUSTOMER, SETTINGS, TOAST

from .corner import Corner, key

TRANSFER = Method.QR_CODE_BANK_TRANSFER
QUARTER_S = 15 * 60
PREPAID = msgspec.structs.replace(SETTINGS, prepay=(Channel.COUNTER,))


@pytest.fixture
async def prepaying():
    """A cafe whose kitchen sees an order when it is paid."""
    opened = Corner(settings=PREPAID)
    async with opened.open():
        yield opened
    assert opened.crashes == []


def books(corner):
    """Every account's balance; they sum to nothing."""
    balances = {account: amount for (_, account, _), amount in corner.store.balances.items() if amount}
    assert sum(balances.values()) == 0
    return balances


async def test_the_answer_to_a_payment_waits_until_its_order_is_settled(corner):
    order = await corner.place()
    payment = await corner.pay(order)
    assert (await corner.order(order)).status is OrderStatus.PAYMENT_PENDING
    taken = await corner.take(payment, 1_000)
    assert (taken.status, taken.change) == (PaymentStatus.COMPLETED, 100)
    settled = await corner.order(order)
    assert (settled.status, settled.owed, settled.paid) == (OrderStatus.PAID, 0, 901)
    assert corner.store.outbox == {}


async def test_the_answer_to_a_payment_does_not_wait_for_ever(corner):
    payment = await corner.pay(await corner.place())
    corner.courier.held = True
    begun = trio.current_time()
    assert (await corner.take(payment, 900)).status is PaymentStatus.COMPLETED
    assert trio.current_time() - begun == pytest.approx(2.0)
    assert len(corner.store.outbox) == 1


async def test_a_message_delivered_twice_changes_nothing_and_consumes_its_row(corner):
    corner.courier.twice = True
    order = await corner.place()
    payment = await corner.pay(order)
    await corner.take(payment, 900)
    assert len(await corner.events(e.PaymentSettled)) == 1
    assert corner.store.outbox == {}
    commits = len(corner.journal.commits)
    (sent,) = (sent for commit in corner.journal.commits for sent in commit.sent)
    corner.store.outbox[sent.id] = sent  # as if the row had survived
    await corner.desk.deliver(sent)
    last = corner.journal.commits[-1]
    assert len(corner.journal.commits) == commits + 1
    assert (list(last.events), list(last.consumed)) == ([], [sent.id])
    assert corner.store.outbox == {}
    assert len(await corner.events(e.PaymentSettled)) == 1


async def test_a_message_is_consumed_in_the_commit_of_its_effect(corner):
    await corner.take(await corner.pay(await corner.place()), 900)
    (settling,) = (c for c in corner.journal.commits if any(isinstance(n.event, e.PaymentSettled) for n in c.events))
    (completing,) = (
        c for c in corner.journal.commits if any(isinstance(n.event, e.PaymentCompleted) for n in c.events)
    )
    assert [sent.id for sent in completing.sent] == list(settling.consumed)


async def test_messages_wait_while_the_store_is_away_and_arrive_when_it_is_back(corner):
    order = await corner.place()
    payment = await corner.pay(order)
    corner.courier.held = True
    await corner.take(payment, 900)
    corner.courier.held = False
    async with trio.open_nursery() as nursery:
        with corner.store.outage():
            nursery.start_soon(corner.desk.deliver, *corner.store.outbox.values())
            await trio.sleep(3)
            assert len(corner.store.outbox) == 1
    assert corner.store.outbox == {}
    assert (await corner.order(order)).status is OrderStatus.PAID


async def test_cancelling_an_order_closes_its_payments_and_late_money_is_kept_apart(corner):
    order = await corner.place()
    payment = await corner.pay(order, TRANSFER)
    await corner.do(order, MoveOrder("cancel"))
    assert (await corner.store.payment(payment.id)).status is PaymentStatus.CANCELLED
    late = await corner.take(payment, 901)
    assert late.status is PaymentStatus.COMPLETED
    await corner.settle()
    assert (await corner.store.payment(payment.id)).surplus == 901
    assert (await corner.order(order)).status is OrderStatus.CANCELLED
    books(corner)
    await corner.do(payment, Refund())
    assert not any(amount for account, amount in books(corner).items() if "unapplied" in account)


async def test_a_refund_reaches_the_order_before_it_is_answered(corner):
    order = await corner.place()
    payment = await corner.pay(order)
    await corner.take(payment, 900)
    await corner.do(payment, Refund(amount=300))
    seen = await corner.order(order)
    assert (seen.refunded, seen.payment_status) == (300, PaymentStatus.PARTIALLY_REFUNDED)


# -- providers, and what sells out while somebody pays


async def test_a_card_payment_asks_its_provider_once_and_cash_asks_nobody(corner):
    order = await corner.place(TOAST, BANANA)
    await corner.pay(order, amount=100)
    card = await corner.pay(order, Method.PAYCONIC_CARD, amount=200)
    (asked,) = corner.asked
    assert isinstance(asked, OpenCharge)
    assert (asked.charge.payment_id, asked.charge.amount) == (card.id, 200)
    assert corner.store.outbox == {}


async def test_what_sells_out_is_not_paid_for_by_whoever_was_about_to(prepaying):
    order = await prepaying.place(TOAST, BANANA)
    other = await prepaying.place(BANANA)
    payment, spared = await prepaying.pay(order, TRANSFER), await prepaying.pay(other, TRANSFER)
    await prepaying.do(prepaying.cafe_ref, SetAvailability("toast", available=False))
    await prepaying.settle()
    stopped = await prepaying.store.payment(payment.id)
    assert (stopped.status, stopped.reason) == (PaymentStatus.CANCELLED, "Toast has sold out")
    assert (await prepaying.order(order)).status is OrderStatus.PENDING
    assert (await prepaying.store.payment(spared.id)).status is PaymentStatus.PENDING
    late = await prepaying.take(payment, 1054)
    await prepaying.settle()
    assert (late.status, (await prepaying.store.payment(payment.id)).surplus) == (PaymentStatus.COMPLETED, 1054)
    assert not (await prepaying.order(order)).in_kitchen
    books(prepaying)


async def test_a_withdrawal_that_a_crash_has_interrupted_is_carried_out_in_the_next_life():
    corner = Corner(settings=PREPAID)
    async with corner.open():
        payment = await corner.pay(await corner.place(), TRANSFER)
        corner.courier.held = True
        await corner.do(corner.cafe_ref, SetAvailability("toast", available=False))
        assert (await corner.store.payment(payment.id)).status is PaymentStatus.PENDING
        corner.cut_off()
    async with corner.open():
        await corner.settle()
        assert (await corner.store.payment(payment.id)).status is PaymentStatus.CANCELLED
        assert corner.store.outbox == {}


async def test_fifty_people_who_split_by_share_pay_the_whole_and_no_more(corner):
    order = await corner.place(TOAST, BANANA)

    async def payer(number):
        begun = await corner.ask(order, InitiatePayment(TRANSFER, split=ByShare(7)), key(number))
        if isinstance(begun, Refusal):
            assert begun.code is Code.NOTHING_OWED
            return
        await corner.take(Ref(Kind.PAYMENT, begun.payment_id, order.cafe_id), begun.total_amount)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(payer, number)
    await corner.settle()
    taken = sorted(one.received for one in await corner.events(e.PaymentCompleted))
    assert taken == [150, 150, 150, 151, 151, 151, 151]
    assert (await corner.order(order)).payment_status is PaymentStatus.COMPLETED
    books(corner)


# -- wakes


async def test_a_payment_that_is_not_made_in_time_releases_what_it_had_set_aside(corner):
    order = await corner.place()
    payment = await corner.pay(order, TRANSFER)
    assert corner.store.wakes == {payment: corner.clock.now() + timedelta(seconds=QUARTER_S)}
    assert (await corner.ask(order, InitiatePayment(TRANSFER))).code is Code.NOTHING_OWED
    await trio.sleep(QUARTER_S - 1)
    assert (await corner.store.payment(payment.id)).status is PaymentStatus.PENDING
    await trio.sleep(2)
    assert (await corner.store.payment(payment.id)).status is PaymentStatus.EXPIRED
    assert (await corner.order(order)).status is OrderStatus.PENDING
    assert corner.store.wakes == {}
    await corner.pay(order, TRANSFER)


async def test_a_payment_that_is_made_in_time_is_woken_by_nobody(corner):
    payment = await corner.pay(await corner.place(), TRANSFER)
    await corner.take(payment, 901)
    assert corner.store.wakes == {}
    before = len(corner.journal.commits)
    await trio.sleep(2 * QUARTER_S)
    assert [type(new.event) for commit in corner.journal.commits[before:] for new in commit.events] in (
        [],
        [e.QueueMoved],
    )


async def test_an_expiry_survives_a_restart_and_also_one_that_was_due_meanwhile():
    corner = Corner()
    async with corner.open():
        order = await corner.place(TOAST, BANANA)
        soon = await corner.pay(order, TRANSFER, amount=100)
        await trio.sleep(600)
        later = await corner.pay(order, TRANSFER, amount=200)
        corner.cut_off()
    await trio.sleep(QUARTER_S - 600 + 10)
    async with corner.open():
        await corner.settle()
        statuses = [(await corner.store.payment(ref.id)).status for ref in (soon, later)]
        assert statuses == [PaymentStatus.EXPIRED, PaymentStatus.PENDING]
        assert (await corner.do(order, InitiatePayment(TRANSFER))).amount == 901 + 153 - 200
        await trio.sleep(600)
        assert (await corner.store.payment(later.id)).status is PaymentStatus.EXPIRED


async def test_a_scheduled_order_is_released_when_it_is_due_also_after_a_restart():
    corner = Corner()
    async with corner.open():
        at = corner.clock.now() + timedelta(hours=2)
        placed = await corner.do(corner.cafe_ref, corner.placing(channel=Channel.ONLINE, scheduled_for=at))
        assert not placed.in_kitchen
        ((ref, due),) = corner.store.wakes.items()
        assert (ref.id, due) == (placed.id, at - timedelta(minutes=10))
        assert (await corner.ask(ref, MoveOrder("start"))).code is Code.ILLEGAL_MOVE
        await corner.rest()
    async with corner.open():
        await trio.sleep((due - corner.clock.now()).total_seconds() - 1)
        assert not (await corner.order(ref)).in_kitchen
        await trio.sleep(2)
        seen = await corner.order(ref)
        assert (seen.in_kitchen, seen.released_at) == (True, due)
        assert corner.store.wakes == {}


async def test_a_scheduled_order_that_is_cancelled_is_woken_no_more(corner):
    at = corner.clock.now() + timedelta(hours=2)
    order = await corner.place(channel=Channel.ONLINE, scheduled_for=at)
    assert order in corner.store.wakes
    await corner.do(order, MoveOrder("cancel"))
    assert corner.store.wakes == {}
    await trio.sleep(3 * 3600)
    assert await corner.events(e.OrderReleased) == []


async def test_a_wake_that_comes_too_early_or_twice_changes_nothing(corner):
    payment = await corner.pay(await corner.place(), TRANSFER)
    due = corner.store.wakes[payment]
    before = await corner.log()
    corner.system.tell(address(payment), Wake(due))
    await corner.settle()
    assert await corner.log() == before
    await trio.sleep(QUARTER_S + 1)
    closed = len(await corner.events(e.PaymentClosed))
    corner.system.tell(address(payment), Wake(due))
    await corner.settle()
    assert len(await corner.events(e.PaymentClosed)) == closed == 1


# -- races


@pytest.mark.parametrize("cents", [1, 7, 901])
async def test_fifty_payments_racing_for_the_last_cents_take_exactly_what_is_owed(corner, cents):
    """Each payer takes a few cents at a time, verified and given up in the same moment, until nothing is left."""
    order = await corner.place()
    if cents < 901:
        await corner.take(await corner.pay(order, TRANSFER, amount=901 - cents), 901 - cents)
    refused = Counter()

    async def payer(number):
        for attempt in range(100):
            wanted = InitiatePayment(TRANSFER, amount=min(cents, 20))
            begun = await corner.ask(order, wanted, key(1_000 * number + attempt))
            if isinstance(begun, Refusal):
                refused[begun.code] += 1
                return
            payment = Ref(Kind.PAYMENT, begun.payment_id, order.cafe_id)
            await corner.at_once((payment, VerifyTransfer(begun.total_amount)), (payment, Cancel()))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(payer, number)
    await corner.settle()
    assert set(refused) <= {Code.AMOUNT_EXCEEDS_OWED, Code.NOTHING_OWED}
    assert refused.total() == 50
    rest = (await corner.order(order)).owed
    assert rest < 20
    if rest:
        await corner.take(await corner.pay(order, TRANSFER), rest)
    seen = await corner.order(order)
    assert (seen.owed, seen.paid, seen.payment_status) == (0, 901, PaymentStatus.COMPLETED)
    received = sum(one.received for one in await corner.events(e.PaymentCompleted))
    spare = sum(one.amount for one in await corner.events(e.PaymentUnapplied))
    assert received == 901 + spare
    assert corner.store.outbox == {}
    books(corner)


async def test_two_tills_that_count_the_same_cash_complete_it_once(corner):
    payment = await corner.pay(await corner.place())
    answers = await corner.at_once(*[(payment, VerifyCash(1_000), key(n)) for n in range(5)])
    assert Counter(answer.code if isinstance(answer, Refusal) else "done" for answer in answers) == {
        "done": 1,
        Code.ILLEGAL_MOVE: 4,
    }
    assert len(await corner.events(e.PaymentCompleted)) == 1


async def test_who_caused_it_follows_the_money_through_both_entities(corner):
    sam = By(Role.STAFF, "sam", "till-9")
    order = await corner.place()
    payment = await corner.pay(order)
    await corner.ask(payment, VerifyCash(900), None, sam)
    by = {type(one.event): one.by for one in await corner.log()}
    assert by[e.PaymentCompleted] == by[e.PaymentSettled] == sam
    assert (await corner.ask(order, MoveOrder("cancel"), None, CUSTOMER)).code is Code.ORDER_PAID
