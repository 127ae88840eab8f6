"""Every status of an order and of a line meets every move and every command: it happens, or it is refused by name.

The tables below are written by hand from spec O3-O5, not taken from the domain's own.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import product
from typing import NamedTuple

import msgspec
import pytest

from tabletap.domain import events as e
from tabletap.domain import order as orders
from tabletap.domain.base import Command, Context, Decision, OrderId, PaymentId, Ref, Wake
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.holding import points_of
from tabletap.domain.messages import Absorb, NoteRefund, Release, Settle, TakeDiscount, Unmerge
from tabletap.domain.order import Accept, Change, InitiatePayment, MergeInto, MoveItem, MoveOrder, MoveTable, Withdraw
from tabletap.domain.payment import Refund
from tabletap.domain.vocabulary import Channel, ItemStatus, Method, OrderStatus

from .world import BANANA, CUSTOMER, SETTINGS, STAFF, TOAST, WATER, World

ILLEGAL, CLOSED, PAID = Code.ILLEGAL_MOVE, Code.ORDER_CLOSED, Code.ORDER_PAID
APPROVING = msgspec.structs.replace(SETTINGS, approval=True)
PREPAY = msgspec.structs.replace(SETTINGS, prepay=(Channel.COUNTER, Channel.TABLE))


def tags(decision: Decision) -> list[str]:
    births = [event for birth in decision.births for event in birth.events]
    return [e.tag_of(event) for event in (*decision.events, *births)]


def standing(status: str, world: World) -> Ref:
    """An order at table 1 with a toast and a banana (1054 cents) that has come to ``status`` in the shortest way."""
    order = world.place(TOAST, BANANA, channel=Channel.TABLE, table="1")
    match status:
        case "payment_pending":
            world.pay(order)
        case "paid":
            world.paid(order)
        case "preparing":
            world.do(order, MoveOrder("start"))
        case "ready":
            world.do(order, MoveOrder("ready"))
        case "completed":
            world.do(order, MoveOrder("ready"))
            world.do(order, MoveOrder("complete"))
        case "cancelled":
            world.do(order, MoveOrder("cancel"))
    world.deliver_all()
    assert world.order(order).status == status
    return order


# -- the order's own moves

ORDER_TABLE: dict[str, dict[str, str | Code]] = {
    "pending": {"start": "preparing", "ready": "ready", "complete": ILLEGAL, "cancel": "cancelled"},
    "payment_pending": {"start": "preparing", "ready": "ready", "complete": ILLEGAL, "cancel": "cancelled"},
    "paid": {"start": "preparing", "ready": "ready", "complete": ILLEGAL, "cancel": PAID},
    "preparing": {"start": "preparing", "ready": "ready", "complete": ILLEGAL, "cancel": "cancelled"},
    "ready": {"start": ILLEGAL, "ready": "ready", "complete": "completed", "cancel": "cancelled"},
    "completed": {"start": ILLEGAL, "ready": ILLEGAL, "complete": "completed", "cancel": ILLEGAL},
    "cancelled": {"start": ILLEGAL, "ready": ILLEGAL, "complete": ILLEGAL, "cancel": "cancelled"},
}


def test_the_tables_of_this_test_know_every_status_and_every_move() -> None:
    assert set(ORDER_TABLE) == set(OrderStatus)
    assert all(set(row) == set(orders.ORDER_MOVES) for row in ORDER_TABLE.values())
    assert set(ITEM_TABLE) == set(ItemStatus)
    assert all(set(row) == set(orders.ITEM_MOVES) for row in ITEM_TABLE.values())


@pytest.mark.parametrize(("status", "move"), [(s, m) for s, row in ORDER_TABLE.items() for m in row])
def test_a_move_of_an_order_happens_or_is_refused_by_name(status: str, move: str) -> None:
    world, expected = World(), ORDER_TABLE[status][move]
    order = standing(status, world)
    before, logged = world.order(order), len(world.log)
    outcome = world.ask(order, MoveOrder(move))
    if isinstance(expected, Code):
        assert isinstance(outcome, Refusal)
        assert outcome.code is expected
        assert expected is not ILLEGAL or (status in outcome.message and move in outcome.message)
    else:
        assert isinstance(outcome, Decision)
        assert bool(outcome.events) == (expected != status)
    if isinstance(expected, Code) or expected == status:
        assert (world.order(order), len(world.log), world.waiting) == (before, logged, [])
    else:
        assert world.order(order).status == expected


@pytest.mark.parametrize("status", ["pending", "payment_pending", "paid"])
@pytest.mark.parametrize("move", ["start", "ready"])
def test_nothing_is_made_before_the_kitchen_has_it(status: str, move: str) -> None:
    world = World(APPROVING)
    order = standing(status, world)
    refused = world.ask(order, MoveOrder(move))
    assert isinstance(refused, Refusal)
    assert refused.code is ILLEGAL
    assert "the kitchen does not have it" in refused.message


def test_a_paid_order_can_be_cancelled_when_everything_was_given_back() -> None:
    world = World()
    order = standing("paid", world)
    payment = world.payments[0].ref
    world.do(payment, Refund())
    world.deliver_all()
    world.do(order, MoveOrder("cancel"))
    assert world.order(order).status == "cancelled"


@pytest.mark.parametrize(
    ("status", "allowed"),
    [("pending", True), ("payment_pending", True), ("preparing", False), ("ready", False)],
)
def test_customers_cancel_and_change_only_what_nobody_has_begun_to_make(status: str, allowed: bool) -> None:
    world = World()
    order = standing(status, world)
    for command in (Change(note="no salt"), MoveOrder("cancel")):
        outcome = world.ask(order, command, CUSTOMER)
        assert isinstance(outcome, Decision if allowed else Refusal)
        assert allowed or (isinstance(outcome, Refusal) and outcome.code is ILLEGAL and "customer" in outcome.message)


# -- the moves of a line

ITEM_TABLE: dict[str, dict[str, str | Code]] = {
    "queued": {
        "start": "started",
        "bump": "ready",
        "recall": ILLEGAL,
        "hold": "held",
        "fire": "queued",
        "void": "voided",
    },
    "held": {"start": ILLEGAL, "bump": ILLEGAL, "recall": ILLEGAL, "hold": "held", "fire": "queued", "void": "voided"},
    "started": {
        "start": "started",
        "bump": "ready",
        "recall": "started",
        "hold": ILLEGAL,
        "fire": ILLEGAL,
        "void": "voided",
    },
    "ready": {
        "start": ILLEGAL,
        "bump": "ready",
        "recall": "started",
        "hold": ILLEGAL,
        "fire": ILLEGAL,
        "void": "voided",
    },
    "served": dict.fromkeys(("start", "bump", "recall", "hold", "fire", "void"), ILLEGAL),
    "voided": {
        "start": ILLEGAL,
        "bump": "voided",
        "recall": ILLEGAL,
        "hold": ILLEGAL,
        "fire": ILLEGAL,
        "void": "voided",
    },
}
CTX = Context(World().now, World().new_id, STAFF)


def with_line(status: str, *, order_status: str = "preparing", released: bool = True) -> orders.Order:
    """An order whose first line stands at ``status`` (and whose second is queued)."""
    world = World()
    state = world.order(world.place(TOAST, BANANA))
    line = msgspec.structs.replace(state.lines[1], status=ItemStatus(status))
    lines = state.lines | {1: line}
    return msgspec.structs.replace(state, lines=lines, status=OrderStatus(order_status), released=released)


def after(state: orders.Order, decision: Decision) -> orders.Order:
    for event in decision.events:
        state = orders.evolve(state, event)
    return state


@pytest.mark.parametrize(("status", "move"), [(s, m) for s, row in ITEM_TABLE.items() for m in row])
def test_a_move_of_a_line_happens_or_is_refused_by_name(status: str, move: str) -> None:
    state, expected = with_line(status), ITEM_TABLE[status][move]
    outcome = orders.decide(state, MoveItem(1, move), CTX)
    if isinstance(expected, Code):
        assert isinstance(outcome, Refusal)
        assert outcome.code is expected
        assert status in outcome.message
        assert move in outcome.message
        return
    assert isinstance(outcome, Decision)
    then = after(state, outcome)
    assert then.lines[1].status == expected
    assert then.lines[2] == state.lines[2]
    acknowledges = (status, move) == ("voided", "bump")
    assert bool(outcome.events) == (expected != status or acknowledges)
    assert then.lines[1].acknowledged == acknowledges


@pytest.mark.parametrize(
    ("status", "move", "closed"), [*product(ItemStatus, orders.ITEM_MOVES, ("completed", "cancelled"))]
)
def test_no_line_of_a_closed_order_moves(status: str, move: str, closed: str) -> None:
    refused = orders.decide(with_line(status, order_status=closed), MoveItem(1, move), CTX)
    assert isinstance(refused, Refusal)
    assert refused.code is ILLEGAL
    assert closed in refused.message


@pytest.mark.parametrize(
    ("status", "move", "to"),
    [
        ("queued", "start", None),
        ("queued", "bump", None),
        ("queued", "hold", "held"),
        ("queued", "void", "voided"),
        ("held", "fire", "queued"),
        ("held", "void", "voided"),
    ],
)
def test_a_line_that_the_kitchen_does_not_have_can_only_be_held_fired_or_voided(
    status: str, move: str, to: str | None
) -> None:
    state = with_line(status, order_status="pending", released=False)
    outcome = orders.decide(state, MoveItem(1, move), CTX)
    if to is None:
        assert isinstance(outcome, Refusal)
        assert outcome.code is ILLEGAL
    else:
        assert isinstance(outcome, Decision)
        assert after(state, outcome).lines[1].status == to


def test_a_line_that_does_not_exist_is_not_found() -> None:
    refused = orders.decide(with_line("queued"), MoveItem(9, "start"), CTX)
    assert isinstance(refused, Refusal)
    assert refused.code is Code.NOT_FOUND


# -- the order follows its lines


def walk(*moves: tuple[int, str]) -> Iterator[str]:
    world = World()
    order = world.place(TOAST, BANANA)
    for line, move in moves:
        world.do(order, MoveItem(line, move))
        yield world.order(order).status


def test_the_first_started_line_makes_the_order_preparing_and_the_last_ready_one_ready() -> None:
    assert list(walk((1, "start"), (1, "bump"), (2, "start"), (2, "bump"))) == [
        "preparing",
        "preparing",
        "preparing",
        "ready",
    ]


def test_a_recall_takes_the_order_back() -> None:
    assert list(walk((1, "bump"), (2, "bump"), (1, "recall"), (1, "bump"))) == [
        "preparing",
        "ready",
        "preparing",
        "ready",
    ]


def test_a_void_of_the_last_line_to_make_makes_the_order_ready() -> None:
    assert list(walk((1, "bump"), (2, "void"))) == ["preparing", "ready"]


def test_a_void_of_the_last_line_cancels_the_order() -> None:
    assert list(walk((1, "void"), (2, "void"))) == ["pending", "cancelled"]


def test_ready_takes_every_line_along_even_held_ones() -> None:
    world = World()
    order = world.place(TOAST, BANANA, WATER)
    world.do(order, MoveItem(1, "hold"))
    world.do(order, MoveItem(2, "void"))
    world.do(order, MoveOrder("ready"))
    assert [line.status for line in world.order(order).lines.values()] == ["ready", "voided", "ready"]


def test_start_leaves_held_lines_held_and_is_refused_where_nothing_waits() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    world.do(order, MoveItem(1, "hold"))
    world.do(order, MoveItem(2, "hold"))
    assert isinstance(world.ask(order, MoveOrder("start")), Refusal)
    world.do(order, MoveItem(2, "fire"))
    world.do(order, MoveOrder("start"))
    assert [line.status for line in world.order(order).lines.values()] == ["held", "started"]


def test_completing_serves_what_is_not_void() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    world.do(order, MoveItem(1, "void"))
    world.do(order, MoveOrder("ready"))
    world.do(order, MoveOrder("complete"))
    assert [line.status for line in world.order(order).lines.values()] == ["voided", "served"]


def test_a_void_that_the_kitchen_never_saw_needs_no_acknowledgement() -> None:
    world = World(APPROVING)
    order = world.place(TOAST, BANANA)
    world.do(order, MoveItem(1, "void"))
    assert world.order(order).lines[1].acknowledged


# -- every other command in every status


class Row(NamedTuple):
    """What a command leads to in each status: the tags of what happens, or the code of the refusal."""

    pending: list[str] | Code
    payment_pending: list[str] | Code
    paid: list[str] | Code
    preparing: list[str] | Code
    ready: list[str] | Code
    completed: list[str] | Code
    cancelled: list[str] | Code


CHANGED, STATUS, SETTLED = "order.changed", "order.status_changed", "order.payment_settled"
MERGED, INITIATED, TABLE = ["order.cancelled"], "payment.initiated", ["order.table_moved"]
DISCOUNTED = ["order.discounted"]
NONE: list[str] = []
STRANGER = PaymentId(World().new_id())


def _absorb(world: World, order: Ref) -> Command:
    source = world.place(WATER)
    line = world.order(source).lines[1]
    into = OrderId(order.id)
    return Absorb(source=OrderId(source.id), into=into, lines=(line.facts,), statuses={1: line.status})


COMMANDS: dict[str, tuple[Callable[[World, Ref], Command], Row]] = {
    "accept": (lambda w, o: Accept(), Row(NONE, NONE, NONE, NONE, NONE, ILLEGAL, ILLEGAL)),
    "add": (
        lambda w, o: Change(add=w.priced(TOAST)),
        Row([CHANGED], [CHANGED], [CHANGED, STATUS], [CHANGED], [CHANGED, STATUS], CLOSED, CLOSED),
    ),
    "note": (
        lambda w, o: Change(note="quick"),
        Row([CHANGED], [CHANGED], [CHANGED], [CHANGED], [CHANGED], CLOSED, CLOSED),
    ),
    "move table": (lambda w, o: MoveTable("2"), Row(TABLE, TABLE, TABLE, TABLE, TABLE, CLOSED, CLOSED)),
    "merge": (
        lambda w, o: MergeInto(OrderId(w.place(channel=Channel.TABLE, table="2").id)),
        Row(MERGED, PAID, PAID, MERGED, MERGED, CLOSED, CLOSED),
    ),
    "absorb": (
        _absorb,
        Row([CHANGED], [CHANGED], [CHANGED], [CHANGED], [CHANGED, STATUS], NONE, NONE),
    ),
    "unmerge": (lambda w, o: Unmerge(OrderId(o.id)), Row(NONE, NONE, NONE, NONE, NONE, NONE, NONE)),
    "initiate payment": (
        lambda w, o: InitiatePayment(Method.CASH),
        Row(
            [STATUS, INITIATED],
            Code.NOTHING_OWED,
            Code.NOTHING_OWED,
            [INITIATED],
            [INITIATED],
            [INITIATED],
            CLOSED,
        ),
    ),
    "settle": (
        lambda w, o: Settle(STRANGER, 1054),
        Row([SETTLED, STATUS], [SETTLED], [SETTLED], [SETTLED], [SETTLED], [SETTLED], [SETTLED]),
    ),
    "release": (lambda w, o: Release(STRANGER), Row(NONE, NONE, NONE, NONE, NONE, NONE, NONE)),
    "note refund": (lambda w, o: NoteRefund(STRANGER, w.new_id(), 1), Row(NONE, NONE, NONE, NONE, NONE, NONE, NONE)),
    "withdraw": (lambda w, o: Withdraw("toast", w.now), Row(NONE, NONE, NONE, NONE, NONE, NONE, NONE)),
    "take discount": (
        lambda w, o: TakeDiscount(w.new_id(), 100, 20, points_of(w.cafe.id, "+61412345678")),
        Row(DISCOUNTED, NONE, NONE, DISCOUNTED, DISCOUNTED, NONE, NONE),
    ),
    "wake": (lambda w, o: Wake(), Row(NONE, NONE, NONE, NONE, NONE, NONE, NONE)),
}


@pytest.mark.parametrize(("name", "status"), [*product(COMMANDS, Row._fields)])
def test_every_other_command_in_every_status_happens_or_is_refused_by_name(name: str, status: str) -> None:
    world = World()
    build, row = COMMANDS[name]
    order, expected = standing(status, world), getattr(row, status)
    command = build(world, order)
    before, logged = world.order(order), len(world.log)
    outcome = world.ask(order, command)
    if isinstance(expected, Code):
        assert isinstance(outcome, Refusal)
        assert outcome.code is expected
        assert status in outcome.message or expected in (PAID, Code.NOTHING_OWED)
    else:
        assert isinstance(outcome, Decision)
        assert tags(outcome) == expected
    if not isinstance(expected, list) or not expected:
        assert (world.order(order), len(world.log)) == (before, logged)


def test_no_command_is_missing_from_the_tables() -> None:
    covered = {type(build(World(), standing("pending", World()))) for build, _ in (COMMANDS[n] for n in _WITHOUT_WORLD)}
    assert covered | {Absorb, MergeInto, Change, NoteRefund, MoveOrder, MoveItem, TakeDiscount} == set(
        orders.OrderCommand.__args__  # type: ignore[attr-defined]
    )


_WITHOUT_WORLD = ("accept", "move table", "unmerge", "initiate payment", "settle", "release", "withdraw", "wake")


# -- acceptance and release to the kitchen


def test_acceptance_gives_the_order_to_the_kitchen_once() -> None:
    world = World(APPROVING)
    order = world.place()
    assert not world.order(order).in_kitchen
    assert tags(world.do(order, Accept())) == ["order.accepted", "order.released"]
    assert world.order(order).in_kitchen
    assert world.do(order, Accept()) == Decision()


def test_a_prepaid_order_reaches_the_kitchen_when_the_last_cent_is_paid() -> None:
    world = World(PREPAY)
    order = world.place(TOAST, BANANA)
    world.paid(order, amount=1000)
    assert not world.order(order).in_kitchen
    world.paid(order)
    assert world.order(order).in_kitchen


def test_a_prepaid_order_whose_unpaid_rest_is_voided_is_paid_and_reaches_the_kitchen() -> None:
    world = World(PREPAY)
    order = world.place(TOAST, BANANA)
    world.paid(order, amount=901)
    world.do(order, MoveItem(2, "void"))
    assert world.order(order).status == "paid"
    assert world.order(order).in_kitchen


def test_a_prepaid_order_whose_unpaid_rest_is_taken_off_is_paid_and_reaches_the_kitchen() -> None:
    world = World(PREPAY)
    order = world.place(TOAST, BANANA)
    world.paid(order, Method.QR_CODE_BANK_TRANSFER, amount=901)
    world.do(order, Change(remove=(2,)))
    assert world.order(order).status == "paid"
    assert world.order(order).in_kitchen


def test_a_prepaid_order_that_was_approved_late_waits_for_both() -> None:
    world = World(msgspec.structs.replace(PREPAY, approval=True))
    order = world.place()
    world.paid(order)
    assert not world.order(order).in_kitchen
    world.do(order, Accept())
    assert world.order(order).in_kitchen


def test_a_free_order_waits_for_no_money() -> None:
    world = World(PREPAY)
    assert world.order(world.place(WATER)).in_kitchen


def test_a_scheduled_order_sleeps_until_it_is_due_and_then_reaches_the_kitchen() -> None:
    world = World()
    order = world.place(scheduled_for=world.now + timedelta(hours=2))
    due = orders.wake_at(world.order(order))
    assert due == world.now + timedelta(hours=2) - timedelta(seconds=300) - timedelta(minutes=5)
    world.now = due - timedelta(seconds=1)
    assert world.do(order, Wake()) == Decision()
    world.now = due
    assert tags(world.do(order, Wake())) == ["order.released"]
    assert (world.order(order).released_at, orders.wake_at(world.order(order))) == (due, None)


def test_a_scheduled_order_that_is_unpaid_when_due_sleeps_on_and_is_released_by_its_payment() -> None:
    world = World(PREPAY)
    order = world.place(scheduled_for=world.now + timedelta(hours=2))
    assert orders.wake_at(world.order(order)) is None
    world.later(hours=3)
    assert world.do(order, Wake()) == Decision()
    world.paid(order)
    assert world.order(order).in_kitchen


# -- changing


def test_added_lines_are_numbered_on_and_marked_once_the_kitchen_has_the_order() -> None:
    world = World()
    order = world.place(TOAST)
    world.do(order, Change(add=world.priced(BANANA, WATER)))
    assert [(n, line.facts.added) for n, line in world.order(order).lines.items()] == [(1, False), (2, True), (3, True)]


def test_lines_added_before_the_kitchen_has_the_order_are_no_additions() -> None:
    world = World(APPROVING)
    order = world.place(TOAST)
    world.do(order, Change(add=world.priced(BANANA)))
    assert not world.order(order).lines[2].facts.added


def test_a_line_is_replaced_in_one_change() -> None:
    world = World()
    order = world.place(TOAST)
    world.do(order, Change(add=world.priced(BANANA), remove=(1,)))
    assert [line.status for line in world.order(order).lines.values()] == ["voided", "queued"]


def test_the_last_queued_line_can_be_taken_off_an_order_whose_others_are_ready() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    world.do(order, MoveItem(1, "bump"))
    world.do(order, Change(remove=(2,)))
    assert world.order(order).status == "ready"


@pytest.mark.parametrize(
    ("remove", "field"), [((9,), "remove.0"), ((3,), "remove.0"), ((1, 1), "remove.1"), ((1, 2), "remove.1")]
)
def test_what_is_not_waiting_and_what_is_last_cannot_be_taken_off(remove: tuple[int, ...], field: str) -> None:
    world = World()
    order = world.place(TOAST, BANANA, WATER)
    world.do(order, MoveItem(3, "void"))
    refused = world.ask(order, Change(remove=remove))
    assert isinstance(refused, Refusal)
    assert [error.field for error in refused.errors] == [field]


def test_a_line_that_is_being_made_cannot_be_taken_off() -> None:
    world = World()
    order = world.place(TOAST, BANANA)
    world.do(order, MoveItem(1, "start"))
    assert isinstance(world.ask(order, Change(remove=(1,))), Refusal)


def test_a_note_is_set_replaced_and_cleared() -> None:
    world = World()
    order = world.place(note="first")
    for note, kept in (("second", "second"), ("", None)):
        world.do(order, Change(note=note))
        assert world.order(order).note == kept
    world.do(order, Change(note="third"))
    world.do(order, Change(add=world.priced(WATER)))
    assert world.order(order).note == "third"


def test_a_prepaid_order_in_the_kitchen_does_not_grow() -> None:
    world = World(PREPAY)
    order = world.place()
    world.do(order, Change(add=world.priced(BANANA)))
    world.paid(order)
    refused = world.ask(order, Change(add=world.priced(BANANA)))
    assert isinstance(refused, Refusal)
    assert refused.code is ILLEGAL


def test_an_order_has_at_most_a_hundred_lines() -> None:
    world = World()
    order = world.place(*[WATER] * 60)
    assert isinstance(world.ask(order, Change(add=world.priced(*[WATER] * 41))), Refusal)
    world.do(order, Change(add=world.priced(*[WATER] * 40)))


def test_only_an_order_at_a_table_moves_tables() -> None:
    world = World()
    refused = world.ask(world.place(), MoveTable("2"))
    assert isinstance(refused, Refusal)
    assert refused.code is ILLEGAL


# -- merging


def merged(world: World, first: Ref, second: Ref) -> None:
    world.do(first, MergeInto(OrderId(second.id)))


def test_a_merged_order_goes_on_in_the_other_one_with_the_state_of_its_lines() -> None:
    world = World()
    one, two = world.place(TOAST, BANANA), world.place(WATER)
    world.do(one, MoveItem(1, "start"))
    merged(world, one, two)
    world.deliver_all()
    assert (world.order(one).status, world.order(one).merged_into) == ("cancelled", two.id)
    assert [line.status for line in world.order(two).lines.values()] == ["queued", "started", "queued"]
    assert world.order(two).status == "preparing"
    assert world.order(two).total == 1054


def test_a_merge_told_twice_brings_the_lines_once() -> None:
    world = World()
    one, two = world.place(), world.place()
    merged(world, one, two)
    assert world.do(one, MergeInto(OrderId(two.id))) == Decision()
    world.deliver(two, twice=True)
    world.deliver_all()
    assert len(world.order(two).lines) == 2


def test_an_order_is_not_merged_into_itself() -> None:
    world = World()
    one = world.place()
    refused = world.ask(one, MergeInto(OrderId(one.id)))
    assert isinstance(refused, Refusal)
    assert refused.errors[0].field == "into"


def test_lines_sent_to_a_cancelled_order_come_back() -> None:
    world = World()
    one, two = world.place(), world.place()
    world.do(one, MoveItem(1, "start"))
    merged(world, one, two)
    world.do(two, MoveOrder("cancel"))
    world.deliver_all()
    assert (world.order(one).status, world.order(one).merged_into) == ("preparing", None)


def test_lines_sent_to_a_merged_order_are_passed_on() -> None:
    world = World()
    one, two, three = world.place(), world.place(), world.place()
    merged(world, one, two)
    merged(world, two, three)
    world.deliver_all()
    assert len(world.order(three).lines) == 3


def test_two_orders_merged_into_each_other_at_the_same_moment_do_not_vanish() -> None:
    world = World()
    one, two = world.place(TOAST), world.place(BANANA)
    merged(world, one, two)
    merged(world, two, one)
    world.deliver_all()
    assert sum(world.order(ref).total for ref in (one, two) if world.order(ref).merged_into is None) == 1054


def test_orders_merged_in_a_circle_do_not_vanish() -> None:
    world = World()
    refs = [world.place(TOAST), world.place(BANANA), world.place(WATER), world.place(TOAST)]
    for one, two in ((0, 1), (1, 2), (2, 3), (3, 1)):
        merged(world, refs[one], refs[two])
    world.deliver_all()
    assert sum(order.total for order in world.orders if order.merged_into is None) == 2 * 901 + 153


def test_a_late_repeat_of_a_refused_merge_does_not_undo_the_next_one() -> None:
    world = World()
    one, gone, two = world.place(), world.place(), world.place()
    merged(world, one, gone)
    world.do(gone, MoveOrder("cancel"))
    world.deliver(gone)
    world.deliver(one, twice=True)
    merged(world, one, two)
    world.deliver_all()
    assert world.order(one).merged_into == two.id
    assert len(world.order(two).lines) == 2


def test_a_completed_order_takes_what_was_served_and_sends_back_what_is_still_to_be_made() -> None:
    for move, taken in (("ready", True), ("start", False)):
        world = World()
        one, two = world.place(), world.place()
        world.do(one, MoveOrder(move))
        world.do(two, MoveOrder("ready"))
        world.do(two, MoveOrder("complete"))
        merged(world, one, two)
        world.deliver_all()
        assert (world.order(one).merged_into is not None) == taken
        assert {line.status for line in world.order(two).lines.values()} == {ItemStatus.SERVED}


def test_lines_that_are_being_made_are_not_lost_in_an_order_that_the_kitchen_does_not_have() -> None:
    world = World()
    one = world.place(channel=Channel.TABLE, table="1")
    later = world.place(scheduled_for=world.now + timedelta(hours=3))
    world.do(one, MoveOrder("start"))
    merged(world, one, later)
    world.deliver_all()
    assert world.order(one).in_kitchen
    assert world.order(one).status == "preparing"
    assert len(world.order(later).lines) == 1


@pytest.mark.parametrize("paid", [False, True])
def test_an_order_that_takes_lines_which_are_being_made_is_preparing_paid_or_not(paid: bool) -> None:
    world = World()
    one, two = world.place(TOAST), world.place(BANANA if paid else WATER)
    if paid:
        world.paid(two)
    world.do(one, MoveItem(1, "bump"))
    merged(world, one, two)
    world.deliver_all()
    assert world.order(two).status == "preparing"
