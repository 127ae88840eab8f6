"""The front desk: what those outside are told when something is in the way, and that no two troubles are mixed."""

import pytest
import trio

from tabletap.actors.desk import DeliveryRefused, address
from tabletap.actors.entity import Envelope
from tabletap.actors.order import GetOrder
from tabletap.actors.ports import Sent
from tabletap.domain import events as e
from tabletap.domain.base import SYSTEM, Kind, Message, OrderId, PaymentId, Ref
from tabletap.domain.errors import Code
from tabletap.domain.messages import Settle
from tabletap.domain.order import MoveOrder
from tabletap.domain.vocabulary import OrderStatus

from .corner import Corner, key


def somebody(corner, kind):
    return Ref(kind, corner.house.new_id(), corner.cafe_ref.cafe_id)


async def asked(corner, *what):
    """The answer to one question, and how long it took."""
    begun = trio.current_time()
    answer = await corner.ask(*what)
    return answer, trio.current_time() - begun


async def test_what_does_not_exist_is_not_found(corner):
    for kind in (Kind.ORDER, Kind.PAYMENT, Kind.DRAWER):
        assert (await corner.ask(somebody(corner, kind), MoveOrder("start"))).code is Code.NOT_FOUND
    assert (await corner.desk.query(somebody(corner, Kind.ORDER), GetOrder())).code is Code.NOT_FOUND


async def test_a_full_mailbox_is_overloaded_and_says_when_to_ask_again():
    async with Corner(mailbox_messages=3).open() as corner:
        async with trio.open_nursery() as nursery:
            with corner.journal.held():
                for _ in range(4):
                    nursery.start_soon(corner.ask, corner.cafe_ref, corner.placing())
                    await trio.sleep(0.1)
                refusal, took = await asked(corner, corner.cafe_ref, corner.placing())
                assert (refusal.code, refusal.retry_after_s, took) == (Code.OVERLOADED, 1, 0)
        assert len(await corner.events(e.OrderPlaced)) == 4


async def test_a_deadline_that_passes_in_the_mailbox_is_not_executed_and_stays_so():
    async with Corner(ask_timeout_s=5).open() as corner:
        async with trio.open_nursery() as nursery:
            with corner.journal.held():
                nursery.start_soon(corner.ask, corner.cafe_ref, corner.placing(note="first"))
                await trio.sleep(0.1)
                refusal, took = await asked(corner, corner.cafe_ref, corner.placing(note="second"))
        assert (refusal.code, refusal.retry_after_s) == (Code.NOT_EXECUTED, 1)
        assert took == pytest.approx(5, abs=0.1)
        await corner.settle()
        assert [placed.note for placed in await corner.events(e.OrderPlaced)] == ["first"]


async def test_a_deadline_that_passes_during_the_commit_has_an_unknown_outcome():
    async with Corner(ask_timeout_s=5).open() as corner:
        with corner.journal.held():
            refusal, _ = await asked(corner, corner.cafe_ref, corner.placing())
            assert refusal.code is Code.OUTCOME_UNKNOWN
            assert refusal.retry_after_s is None, "asking again might order twice"
        await corner.settle()
        assert len(await corner.events(e.OrderPlaced)) == 1


async def test_who_asks_again_with_the_key_after_an_unknown_outcome_gets_it_once():
    async with Corner(ask_timeout_s=5).open() as corner:
        with corner.journal.held():
            refusal, _ = await asked(corner, corner.cafe_ref, corner.placing(), key())
            assert refusal.code is Code.OUTCOME_UNKNOWN
            again, _ = await asked(corner, corner.cafe_ref, corner.placing(), key())
            assert again.code is Code.NOT_EXECUTED
        assert (await corner.ask(corner.cafe_ref, corner.placing(), key())).code is Code.DUPLICATE_IN_PROGRESS
        assert len(await corner.events(e.OrderPlaced)) == 1
        assert await corner.store.answered(key().scope, key().key, corner.clock.now())


async def test_an_outage_shorter_than_the_deadline_is_only_slow(corner):
    order = await corner.place()
    answers = []

    async def ask():
        answers.append(await corner.ask(order, MoveOrder("start")))

    async with trio.open_nursery() as nursery:
        with corner.store.outage():
            nursery.start_soon(ask)
            await trio.sleep(4)
            assert answers == []
    assert answers[0].status is OrderStatus.PREPARING


async def test_an_outage_longer_than_the_deadline_never_claims_to_know(corner):
    order = await corner.place()
    with corner.store.outage():
        at_work, _ = await asked(corner, corner.cafe_ref, corner.placing())
        corner.forget()
        unloaded, _ = await asked(corner, order, MoveOrder("start"))
    assert at_work.code is Code.OUTCOME_UNKNOWN
    assert unloaded.code is Code.NOT_EXECUTED
    await trio.sleep(60)
    assert (await corner.order(order)).status is OrderStatus.PENDING
    assert (await corner.do(order, MoveOrder("start"))).status is OrderStatus.PREPARING
    assert corner.system.counters.quarantines == 0


async def test_an_entity_that_keeps_crashing_is_unavailable_for_a_while(corner, monkeypatch):
    order = await corner.place()
    life = type(corner.live(corner.cafe_ref).life)
    with monkeypatch.context() as patch:
        patch.setattr(life, "decide", lambda *_: 1 / 0)
        codes = [(await corner.ask(corner.cafe_ref, corner.placing())).code for _ in range(5)]
        assert codes[0] is Code.INTERNAL_ERROR
        assert codes[-1] is Code.UNAVAILABLE
        refusal = await corner.ask(corner.cafe_ref, corner.placing())
        assert 1 <= refusal.retry_after_s <= 60
        assert (await corner.do(order, MoveOrder("start"))).status is OrderStatus.PREPARING, "the others live on"
    await trio.sleep(61)
    assert (await corner.do(corner.cafe_ref, corner.placing())).number == 2
    corner.crashes.clear()


async def test_a_server_that_goes_down_takes_nothing_new(corner):
    async with trio.open_nursery() as nursery:
        with corner.journal.held():
            nursery.start_soon(corner.do, corner.cafe_ref, corner.placing())
            await trio.sleep(0.1)
            nursery.start_soon(corner.system.stop, 5)
            await trio.sleep(0.1)
            assert (await corner.ask(corner.cafe_ref, corner.placing())).code is Code.UNAVAILABLE
            corner.desk.nudge(corner.cafe_ref, GetOrder())  # never minds
    assert len(await corner.events(e.OrderPlaced)) == 1, "what was under way is finished"


async def test_a_message_that_its_receiver_refuses_is_a_failure_of_its_delivery(corner):
    order = await corner.place()
    await corner.do(order, MoveOrder("cancel"))
    sent = Sent(corner.house.new_id(), Message(order, MoveOrder("start")), SYSTEM)
    with pytest.raises(DeliveryRefused, match="ILLEGAL_MOVE"):
        await corner.desk.deliver(sent)
    nobody = Ref(Kind.ORDER, OrderId(corner.house.new_id()), corner.cafe_ref.cafe_id)
    settle = Settle(PaymentId(corner.house.new_id()), 100)
    with pytest.raises(DeliveryRefused, match="NOT_FOUND"):
        await corner.desk.deliver(Sent(corner.house.new_id(), Message(nobody, settle), SYSTEM))


async def test_a_command_that_was_told_is_carried_out_without_an_answer(corner):
    order = await corner.place()
    corner.system.tell(address(order), Envelope(MoveOrder("start")))
    await corner.settle()
    assert (await corner.order(order)).status is OrderStatus.PREPARING
