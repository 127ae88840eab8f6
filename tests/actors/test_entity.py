"""The one receive loop: decide, commit, become, answer."""

import msgspec
import pytest
import trio

from tabletap.actors.cafe import GetCafe
from tabletap.actors.entity import CONFLICTS_AT_MOST, KEEP_ANSWER, KEEP_REFUSAL, Cradle, Newborn
from tabletap.actors.order import GetOrder
from tabletap.actors.payment import GetPayment
from tabletap.actors.ports import Conflict, DuplicateKey, Overloaded
from tabletap.domain import events as e
from tabletap.domain.cafe import Configure, SetAvailability
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.menu import Wish
from tabletap.domain.order import InitiatePayment, MoveOrder, OrderView
from tabletap.domain.vocabulary import Channel, Method, OrderStatus
from tests.domain.world import SETTINGS, comparable

from .corner import Corner, key

UNKNOWN = Wish("caviar", 1)


def code(answer):
    return answer.code if isinstance(answer, Refusal) else None


# -- answered after the commit, and only then


async def test_nothing_is_answered_before_its_commit(corner):
    answered = []

    async def place():
        answered.append(await corner.place())

    async with trio.open_nursery() as nursery:
        with corner.journal.held():
            nursery.start_soon(place)
            await trio.sleep(5)
            assert answered == []
            assert await corner.events(e.OrderPlaced) == []
            assert corner.live(corner.cafe_ref).state.numbers == {}, "the state became before the commit"
    assert len(answered) == 1
    assert len(await corner.events(e.OrderPlaced)) == 1


async def test_a_question_asked_before_the_commit_hears_the_state_of_after_it(corner):
    order = await corner.place()
    heard = []
    async with trio.open_nursery() as nursery:
        with corner.journal.held():
            nursery.start_soon(corner.ask, order, MoveOrder("start"))
            await trio.sleep(1)

            async def look():
                heard.append(await corner.desk.query(order, GetOrder()))

            nursery.start_soon(look)
            await trio.sleep(1)
            assert heard == []
    assert heard[0].status is OrderStatus.PREPARING


async def test_a_crash_before_the_commit_leaves_nothing():
    corner = Corner()
    async with corner.open(), trio.open_nursery() as nursery:
        before = await corner.log()
        corner.journal.gate = trio.Event()
        nursery.start_soon(corner.ask, corner.cafe_ref, corner.placing())
        await trio.sleep(1)
        corner.cut_off()
    corner.journal.gate = None
    async with corner.open():
        assert await corner.log() == before
        assert (await corner.do(corner.cafe_ref, corner.placing())).number == 1


async def test_a_crash_after_the_commit_leaves_everything():
    corner = Corner()
    async with corner.open():
        order = await corner.place()
        payment = await corner.pay(order)
        corner.courier.held = True
        with trio.move_on_after(0.5):
            await corner.take(payment, 900)
        corner.cut_off()
    assert len(corner.store.outbox) == 1
    async with corner.open():
        await corner.settle()
        assert not corner.store.outbox
        paid = await corner.order(order)
        assert (paid.owed, paid.status) == (0, OrderStatus.PAID)
        assert (await corner.do(corner.cafe_ref, corner.placing())).number == 2


async def test_who_goes_away_loses_the_answer_and_never_the_command(corner):
    with corner.journal.held():
        with trio.move_on_after(1):
            await corner.place()
    await corner.settle()
    assert len(await corner.events(e.OrderPlaced)) == 1


# -- conflicts


async def test_a_conflict_loads_and_decides_again(corner):
    order = await corner.place()
    await corner.desk.query(order, GetOrder())
    loads = corner.journal.loads[order]
    corner.store.conflict_next = True
    assert (await corner.do(order, MoveOrder("start"))).status is OrderStatus.PREPARING
    assert corner.journal.loads[order] == loads + 1
    assert len(await corner.events(e.ItemsMoved)) == 1


async def test_what_another_node_wrote_meanwhile_is_what_the_second_decision_sees(corner):
    """The slower node's state is old: the rules see the new one before anything is said."""
    order = await corner.place()
    await corner.desk.query(order, GetOrder())
    stale = corner.live(order)
    before = (stale.state, stale._version)
    await corner.do(order, MoveOrder("cancel"))
    stale.state, stale._version = before
    assert code(await corner.ask(order, InitiatePayment(Method.CASH))) is Code.ORDER_CLOSED
    assert len(await corner.events(e.PaymentInitiated)) == 0


async def test_losing_every_race_is_told_as_unavailable(corner):
    order = await corner.place()
    corner.journal.trouble = [Conflict() for _ in range(CONFLICTS_AT_MOST)]
    assert code(await corner.ask(order, MoveOrder("start"))) is Code.UNAVAILABLE
    assert (await corner.do(order, MoveOrder("start"))).status is OrderStatus.PREPARING


async def test_a_full_writer_is_told_as_overloaded_and_changes_nothing(corner):
    corner.journal.trouble = [Overloaded(3)]
    refusal = await corner.ask(corner.cafe_ref, corner.placing())
    assert (code(refusal), refusal.retry_after_s) == (Code.OVERLOADED, 3)
    assert (await corner.do(corner.cafe_ref, corner.placing())).number == 1


# -- batches


async def test_many_orders_of_one_batch_get_contiguous_numbers_in_one_commit(corner):
    before = len(corner.journal.commits)
    placed = await corner.at_once(*[(corner.cafe_ref, corner.placing()) for _ in range(40)])
    assert sorted(order.number for order in placed) == list(range(1, 41))
    commits = corner.journal.commits[before:]
    assert len(commits) == 1
    assert len(commits[0].events) == 40
    assert len({order.id for order in placed}) == 40


async def test_each_message_of_a_batch_is_decided_on_what_the_one_before_it_left(corner):
    await corner.do(corner.cafe_ref, SetAvailability("toast", available=True, remaining=2))
    answers = await corner.at_once(*[(corner.cafe_ref, corner.placing()) for _ in range(3)])
    assert sorted(str(code(answer)) for answer in answers) == ["ITEM_UNAVAILABLE", "None", "None"]


async def test_a_refusal_in_a_batch_harms_no_neighbour(corner):
    answers = await corner.in_turn(
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing(UNKNOWN), key()),
        (corner.cafe_ref, corner.placing()),
    )
    assert [getattr(answer, "number", None) for answer in answers] == [1, 2, None, 3]


async def test_a_batch_without_an_effect_is_not_committed(corner):
    order = await corner.place()
    await corner.do(order, MoveOrder("start"))
    before = len(corner.journal.commits)
    assert (await corner.do(order, MoveOrder("start"))).status is OrderStatus.PREPARING
    await corner.ask(order, MoveOrder("complete"))
    await corner.desk.query(order, GetOrder())
    assert len(corner.journal.commits) == before


async def test_refusals_without_a_key_write_nothing(corner):
    commits, log = len(corner.journal.commits), await corner.log()
    order = await corner.place()
    await corner.do(order, MoveOrder("cancel"))
    commits, log = len(corner.journal.commits), await corner.log()
    assert code(await corner.ask(order, MoveOrder("start"))) is Code.ILLEGAL_MOVE
    assert (len(corner.journal.commits), await corner.log()) == (commits, log)


# -- idempotency keys


async def recorded(corner, idempotency):
    return await corner.store.answered(idempotency.scope, idempotency.key, corner.clock.now())


async def test_an_answer_is_kept_in_the_commit_of_its_effect(corner):
    placed = await corner.do(corner.cafe_ref, corner.placing(), key())
    last = corner.journal.commits[-1]
    assert [type(new.event) for new in last.events] == [e.OrderPlaced]
    (kept,) = last.answered
    assert (kept.ok, kept.idempotency) == (True, key())
    assert msgspec.json.decode(kept.body, type=OrderView) == placed
    assert kept.expires_at - corner.clock.now() == pytest.approx(KEEP_ANSWER, abs=KEEP_ANSWER / 1000)
    assert await recorded(corner, key()) == kept


async def test_a_refusal_is_kept_for_its_key_and_for_less_long(corner):
    await corner.do(corner.cafe_ref, SetAvailability("toast", available=False))
    refusal = await corner.ask(corner.cafe_ref, corner.placing(), key())
    last = corner.journal.commits[-1]
    assert last.events == []
    (kept,) = last.answered
    assert not kept.ok
    assert msgspec.json.decode(kept.body, type=Refusal) == refusal
    assert kept.expires_at - corner.clock.now() == pytest.approx(KEEP_REFUSAL, abs=KEEP_REFUSAL / 1000)


async def test_a_validation_error_is_not_kept_so_that_it_can_be_mended_under_the_same_key(corner):
    order = await corner.place()
    before = len(corner.journal.commits)
    wrong = InitiatePayment(Method.CASH, currency="NZD")
    assert code(await corner.ask(order, wrong, key())) is Code.VALIDATION_ERROR
    assert len(corner.journal.commits) == before
    assert (await corner.do(order, InitiatePayment(Method.CASH), key())).amount == 901


async def test_the_second_of_a_key_in_one_batch_is_refused_undecided_and_its_neighbours_are_carried_out(corner):
    answers = await corner.in_turn(
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing(), key(1)),
        (corner.cafe_ref, corner.placing(), key(2)),
        (corner.cafe_ref, corner.placing(), key(1)),
        (corner.cafe_ref, corner.placing()),
    )
    assert [code(answer) for answer in answers] == [None, None, None, Code.DUPLICATE_IN_PROGRESS, None]
    assert answers[3].retry_after_s == 1
    assert [order.number for order in answers if code(order) is None] == [1, 2, 3, 4]
    assert len(corner.journal.commits[-1].answered) == 2


async def test_a_key_after_a_validation_error_in_the_same_batch_may_still_be_used(corner):
    order = await corner.place()
    wrong = InitiatePayment(Method.CASH, currency="NZD")
    answers = await corner.in_turn(
        (order, MoveOrder("start")), (order, wrong, key()), (order, InitiatePayment(Method.CASH), key())
    )
    assert [code(answer) for answer in answers] == [None, Code.VALIDATION_ERROR, None]


async def test_a_key_that_has_its_record_costs_its_neighbours_nothing(corner):
    first = await corner.do(corner.cafe_ref, corner.placing(), key(1))
    answers = await corner.in_turn(
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing(), key(1)),
        (corner.cafe_ref, corner.placing(), key(2)),
    )
    assert [code(answer) for answer in answers] == [None, None, Code.DUPLICATE_IN_PROGRESS, None]
    assert [first.number, *(answers[n].number for n in (0, 1, 3))] == [1, 2, 3, 4]
    assert len(await corner.events(e.OrderPlaced)) == 4
    assert (await recorded(corner, key(2))).ok


async def test_a_retry_that_meets_its_slow_first_attempt_is_not_carried_out_twice(corner):
    """The client times out and asks again while the first attempt waits for its commit."""
    answers = []
    async with trio.open_nursery() as nursery:
        with corner.journal.held():
            for _ in range(2):

                async def ask():
                    answers.append(await corner.ask(corner.cafe_ref, corner.placing(), key()))

                nursery.start_soon(ask)
                await trio.sleep(1)
    assert sorted(str(code(answer)) for answer in answers) == ["DUPLICATE_IN_PROGRESS", "None"]
    assert len(await corner.events(e.OrderPlaced)) == 1


async def test_a_stored_refusal_that_meets_its_own_record_is_no_trouble_either(corner):
    order = await corner.place()
    await corner.do(order, MoveOrder("cancel"))
    answers = [await corner.ask(order, MoveOrder("start"), key()) for _ in range(2)]
    assert [code(answer) for answer in answers] == [Code.ILLEGAL_MOVE, Code.DUPLICATE_IN_PROGRESS]


async def test_a_duplicate_that_nobody_can_name_is_told_to_all_with_a_key_and_to_nobody_else(corner):
    corner.journal.trouble = [DuplicateKey()]
    answers = await corner.at_once(
        (corner.cafe_ref, corner.placing(), key(1)),
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing(), key(2)),
    )
    assert [code(answer) for answer in answers] == [Code.DUPLICATE_IN_PROGRESS, None, Code.DUPLICATE_IN_PROGRESS]
    assert answers[1].number == 1


async def test_a_key_can_be_used_again_when_its_record_has_expired(corner):
    await corner.do(corner.cafe_ref, corner.placing(), key())
    await trio.sleep(KEEP_ANSWER.total_seconds() + 1)
    assert (await corner.do(corner.cafe_ref, corner.placing(), key())).number == 1  # of the next business day


# -- birth


async def test_a_newborn_is_taken_from_the_cradle_without_a_read(corner):
    order = await corner.place()
    payment = await corner.pay(order)
    await corner.take(payment, 900)
    assert corner.journal.loads[order] == corner.journal.loads[payment] == 0
    assert (await corner.order(order)).status is OrderStatus.PAID


async def test_a_forgotten_newborn_comes_from_the_journal_and_is_the_same():
    async with Corner(cradle=0).open() as corner:
        order = await corner.place()
        assert (await corner.do(order, MoveOrder("start"))).status is OrderStatus.PREPARING
        assert corner.journal.loads[order] == 1


def test_a_cradle_keeps_the_last_born_and_each_is_taken_once():
    cradle = Cradle(2)
    names = "abc"
    for name in names:
        cradle.lay(Newborn(name, name, 1, None))
    assert [cradle.take(name) and cradle.take(name) for name in names] == [None, None, None]
    for name in names:
        cradle.lay(Newborn(name, name, 1, None))
    assert [getattr(cradle.take(name), "state", None) for name in names] == [None, "b", "c"]


async def test_a_birth_and_its_authors_state_are_one_commit(corner):
    order = await corner.place()
    await corner.pay(order)
    commit = corner.journal.commits[-1]
    assert {type(new.event) for new in commit.events} == {e.PaymentInitiated, e.OrderStatusChanged}
    assert len(commit.states) == 2
    assert corner.live(order).state.reserved


# -- trouble


async def test_a_bug_is_an_internal_error_and_the_next_message_works(corner, monkeypatch):
    order = await corner.place()
    life = type(corner.live(corner.cafe_ref).life)
    honest = life.decide

    def broken(self, state, command, ctx):
        if command == corner.placing(note="boom"):
            raise ZeroDivisionError
        return honest(self, state, command, ctx)

    monkeypatch.setattr(life, "decide", broken)
    answers = await corner.in_turn(
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing()),
        (corner.cafe_ref, corner.placing(note="boom")),
        (corner.cafe_ref, corner.placing()),
    )
    assert [code(answer) for answer in answers] == [None, None, Code.INTERNAL_ERROR, None]
    assert [answers[n].number for n in (0, 1, 3)] == [2, 3, 4]
    assert all(isinstance(crash, ZeroDivisionError) for crash in corner.crashes)
    corner.crashes.clear()
    assert (await corner.order(order)).number == 1


async def test_an_outage_is_waited_out_and_the_command_is_carried_out_once(corner):
    corner.store.fail_before = True
    assert (await corner.do(corner.cafe_ref, corner.placing())).number == 1
    assert corner.system.counters.outages == 1
    assert len(await corner.events(e.OrderPlaced)) == 1


async def test_a_keyed_command_is_carried_out_once_even_where_an_outage_hid_its_commit(corner):
    corner.store.fail_after = True
    answer = await corner.ask(corner.cafe_ref, corner.placing(), key())
    assert code(answer) is Code.DUPLICATE_IN_PROGRESS
    assert len(await corner.events(e.OrderPlaced)) == 1
    assert (await recorded(corner, key())).ok, "asked again, the client gets its answer"


async def test_passivated_entities_come_back_equal():
    async with Corner(idle_seconds=30).open() as corner:
        order = await corner.place(table="2", channel=Channel.TABLE)
        payment = await corner.pay(order, amount=500)
        await corner.do(corner.cafe_ref, Configure(msgspec.structs.replace(SETTINGS, tables=("2", "9"))))
        await corner.take(payment, 500)
        await corner.do(order, MoveOrder("ready"))
        await corner.do(order, MoveOrder("complete"))
        refs = (order, payment, corner.cafe_ref)
        before = [comparable(corner.live(ref).state) for ref in refs]
        versions = [corner.live(ref)._version for ref in refs]
        await corner.rest()
        for ref, question in zip(refs, (GetOrder(), GetPayment(), GetCafe()), strict=True):
            await corner.desk.query(ref, question)
        assert [comparable(corner.live(ref).state) for ref in refs] == before
        assert [corner.live(ref)._version for ref in refs] == versions
