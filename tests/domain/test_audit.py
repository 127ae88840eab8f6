"""What must match what in the ledger; what of two accounts of a charge is believed; the trail of an order."""

from uuid import UUID

import msgspec
import pytest

from tabletap.domain import audit, cafe, drawer, ledger, tips, trail
from tabletap.domain import events as e
from tabletap.domain import order as orders
from tabletap.domain import payment as payments
from tabletap.domain.audit import Rule
from tabletap.domain.base import Event, Kind, PaymentId, Ref
from tabletap.domain.charge import Standing
from tabletap.domain.messages import ReturnUnapplied
from tabletap.domain.reconciliation import Known, Verdict, compare
from tabletap.domain.vocabulary import AccountKind, ChargeState, Method, PaymentStatus, TipRule

from .world import NOON, World, thaw

ACCOUNT = Ref(Kind.ACCOUNT, UUID(int=7), World().cafe_ref.cafe_id)


def sums_of(world: World, order: Ref, payment: Ref | None = None) -> dict[str, int]:
    """The entries of the events about an order; ``payment``: those that name it."""
    sums: dict[str, int] = {}
    for line in world.log:
        event = thaw(line.event)
        if getattr(event, "order_id", None) == order.id and (
            payment is None or getattr(event, "payment_id", None) == payment.id
        ):
            for account, amount in ledger.postings(event):
                sums[account] = sums.get(account, 0) + amount
    return sums


def judged(
    world: World, order: Ref, payment: Ref, *, held: int = 0, waits: bool = True, **changed: int
) -> audit.Judged:
    """The payment as the rules see it; ``changed``: what the ledger has too much, by account."""
    sums = sums_of(world, order, payment)
    for account, amount in changed.items():
        sums[account] = sums.get(account, 0) + amount
    return audit.of_payment(world.payment(payment), world.order(order), sums, held, waits=waits)


def rules(findings: list[audit.Finding]) -> list[Rule]:
    return [finding.rule for finding in findings]


def test_an_order_owes_what_the_ledger_says_it_owes_at_every_step() -> None:
    world = World()
    order = world.place()
    total = world.order(order).total
    assert audit.of_order(world.order(order), sums_of(world, order)) == []
    (fault,) = audit.of_order(world.order(order), {"receivable": total - 1})
    assert (fault.rule, fault.about) == (Rule.RECEIVABLE, f"order {order.id}")
    payment = world.paid(order, amount=100)
    assert audit.of_order(world.order(order), sums_of(world, order)) == []
    world.do(payment, payments.Refund())
    world.deliver_all()
    assert audit.of_order(world.order(order), sums_of(world, order)) == []
    world.do(order, orders.MoveOrder("cancel"))
    assert audit.of_order(world.order(order), sums_of(world, order)) == []


@pytest.mark.parametrize(
    ("account", "rule"),
    [
        ("cash", Rule.TENDER),
        ("fees", Rule.TENDER),
        ("unapplied", Rule.UNAPPLIED),
        ("refunds_due", Rule.REFUNDS_DUE),
        ("clearing", Rule.CLEARING),
    ],
)
def test_a_cent_that_the_ledger_has_too_much_is_blamed_on_the_right_account(account: str, rule: Rule) -> None:
    world = World()
    order = world.place()
    payment = world.paid(order, tip=50)
    world.do(payment, payments.Refund(amount=100))
    world.deliver_all()
    fine = judged(world, order, payment)
    assert (fine.faults, fine.on_its_way, fine.in_transit) == ([], [], 0)
    assert rules(judged(world, order, payment, **{account: 1}).faults) == [rule]


def test_money_that_is_moving_is_told_while_something_waits_and_blamed_when_nothing_does() -> None:
    world = World()
    order = world.place()
    payment = world.pay(order)
    world.take(payment)
    moving = judged(world, order, payment, waits=True)
    assert (rules(moving.faults), rules(moving.on_its_way)) == ([], [Rule.CLEARING])
    lost = judged(world, order, payment, waits=False)
    assert (rules(lost.faults), rules(lost.on_its_way)) == ([Rule.CLEARING], [])
    world.deliver_all()
    assert judged(world, order, payment, waits=False).faults == []


def test_what_an_order_had_no_use_for_is_owed_back_by_ledger_and_payment_alike() -> None:
    world = World()
    order = world.place()
    payment = world.pay(order, Method.QR_CODE_BANK_TRANSFER)
    world.do(order, orders.MoveOrder("cancel"))
    world.deliver_all()
    world.take(payment)
    world.deliver_all()
    assert judged(world, order, payment, waits=False).faults == []
    assert world.payment(payment).spare > 0
    assert world.do(payment, ReturnUnapplied(1)).events == ()


def test_credit_that_has_left_an_account_is_on_its_way_only_while_the_payment_may_hear_of_it() -> None:
    world = World()
    order = world.place()
    payment = world.pay(order, Method.PAYCONIC_CARD)
    early = judged(world, order, payment, held=-901)
    assert (rules(early.faults), rules(early.on_its_way), early.in_transit) == ([], [Rule.TRANSIT], -901)
    world.do(payment, payments.HearCharge(Standing(state=ChargeState.FAILED)))
    world.deliver_all()
    stuck = judged(world, order, payment, held=-901)
    assert (rules(stuck.faults), rules(stuck.on_its_way)) == ([Rule.TRANSIT], [])


def test_a_drawer_holds_its_float_its_moves_and_what_payments_put_in() -> None:
    world = World()
    order = world.place()
    ref = world.do(world.cafe_ref, cafe.OpenDrawer("till", 10_000)).births[0].ref
    payment = world.pay(order)
    total = world.payment(payment).initiated.total
    world.do(payment, payments.VerifyCash(tendered=total, drawer_id=ref.id))
    world.deliver_all()
    world.do(ref, drawer.Pay(-500, "milk"))
    world.do(ref, drawer.Count(9_000))
    state = world.states[ref]
    assert isinstance(state, drawer.Drawer)
    taken = [event for event in world.events if isinstance(event, e.DrawerCashTaken)]
    assert state.closed is not None
    own = {"cash": 10_000 - 500 + state.closed.difference}
    assert audit.of_drawer(state, taken, own, {payment.id: frozenset({total})}) == []
    assert rules(audit.of_drawer(state, taken, {"cash": 1}, {payment.id: frozenset({total})})) == [Rule.DRAWER]
    assert rules(audit.of_drawer(state, taken, own, {payment.id: frozenset({-total})})) == [Rule.DRAWER]
    miscounted = msgspec.structs.replace(
        state, closed=msgspec.structs.replace(state.closed, counted=state.closed.counted + 1)
    )
    assert rules(audit.of_drawer(miscounted, [], own, {})) == [Rule.DRAWER]


def moves(*amounts: int, off: int = 0) -> list[e.AccountCredited | e.AccountDebited]:
    made: list[e.AccountCredited | e.AccountDebited] = []
    balance = 0
    for number, amount in enumerate(amounts):
        balance += amount
        kind = e.AccountCredited if amount > 0 else e.AccountDebited
        made.append(
            kind(
                account_id=ACCOUNT.id,
                entry_id=UUID(int=number),
                kind=AccountKind.CREDIT,
                amount=abs(amount),
                balance=balance + off,
            )
        )
    return made


def test_an_account_holds_what_the_ledger_owes_for_it_after_every_move() -> None:
    assert audit.of_held(ACCOUNT, moves(500, -200), {f"credit:{ACCOUNT.id}": -300}) == []
    assert rules(audit.of_held(ACCOUNT, moves(500, -200), {f"credit:{ACCOUNT.id}": -301})) == [Rule.HELD]
    assert rules(audit.of_held(ACCOUNT, moves(500, off=1), {f"credit:{ACCOUNT.id}": -500})) == [Rule.HELD]
    assert audit.of_held(ACCOUNT, [], {}) == []


def test_staff_are_owed_what_the_ledger_says_by_name() -> None:
    distributed = e.TipsDistributed(
        cafe_id=ACCOUNT.cafe_id,
        distribution_id=UUID(int=1),
        since=NOON,
        until=NOON,
        read_offset=1,
        rule=TipRule.EQUAL,
        currency="AUD",
        amount=300,
        charged=0,
        shares=(e.TipShare("kim", "floor", 150), e.TipShare("sam", "floor", 150)),
    )
    jar = tips.TipJar(cafe_id=ACCOUNT.cafe_id, currency="AUD", latest=distributed, owed={"kim": 150, "sam": 0})
    assert audit.of_tips(jar, {"tips:kim": -150, "tips:sam": 0, "tips": 300}) == []
    assert [fault.about for fault in audit.of_tips(jar, {"tips:sam": -1})] == ["tips of kim", "tips of sam"]


@pytest.mark.parametrize(
    ("account", "balance", "fine"),
    [
        ("receivable", -1, False),
        ("receivable", 1, True),
        ("unapplied", 1, False),
        ("refunds_due", 1, False),
        ("credit:7", 1, False),
        ("gift:7", 1, False),
        ("tips:sam", 1, False),
        ("tips", 1, True),
        ("credit:7", -1, True),
        ("cash", -1, True),
    ],
)
def test_a_guarded_account_is_blamed_on_its_wrong_side_only(account: str, balance: int, fine: bool) -> None:
    assert (audit.bound_of(account, balance) is None) is fine


def test_entries_are_compared_to_the_last_field_and_told_in_words() -> None:
    payment = UUID(int=5)
    entry = ("cash", "AUD", 901, None, payment)
    assert audit.entries_of_event([entry], [entry]) is None
    words = audit.entries_of_event([entry], [(*entry[:2], 900, *entry[3:])])
    assert (
        words == f"the log posts cash 9.01 AUD of payment {payment}, the ledger has cash 9.00 AUD of payment {payment}"
    )
    assert (
        audit.entries_of_event([entry], [])
        == f"the log posts cash 9.01 AUD of payment {payment}, the ledger has nothing"
    )
    assert audit.entries_of_event([entry], [(*entry[:4], None)]) is not None


# -- reconciliation

S, P = ChargeState, PaymentStatus
ALL_STATES = list(S)


def verdict(status: PaymentStatus | None, state: ChargeState, *, received: int = 0, amount: int = 0) -> Verdict:
    known = None if status is None else Known(cafe_id=ACCOUNT.cafe_id, status=status, received=received)
    return compare(known, Standing(state=state, amount=amount))


@pytest.mark.parametrize("state", ALL_STATES)
def test_money_is_believed_wherever_it_is_and_never_taken_back_by_a_listing(state: ChargeState) -> None:
    with_provider = state in (S.OPEN, S.PROCESSING)
    agrees, tells = Verdict.AGREE, Verdict.TELL
    assert verdict(P.PROCESSING, state) is (agrees if with_provider else tells)
    assert verdict(P.PENDING, state) is tells
    for closed in (P.FAILED, P.CANCELLED, P.EXPIRED):
        assert verdict(closed, state) is (tells if state is S.SUCCEEDED else agrees)
    for has in (P.COMPLETED, P.PARTIALLY_REFUNDED, P.REFUNDED):
        same = verdict(has, state, received=5, amount=5)
        assert same is (agrees if state is S.SUCCEEDED else Verdict.CONTRADICTION)
        assert verdict(has, state, received=5, amount=4) is Verdict.CONTRADICTION
    unknown = state in (S.OPEN, S.PROCESSING, S.SUCCEEDED)
    assert verdict(None, state) is (Verdict.UNKNOWN if unknown else agrees)


# -- the trail


def trail_of(world: World) -> list[tuple[Event, tuple[trail.Change, ...], str | None]]:
    follower = trail.Follower()
    lines = []
    for line in world.log:
        event = thaw(line.event)
        changes = follower.follow(line.ref, line.author, event)
        lines.append((event, changes, trail.why(event, changes)))
    return lines


def test_a_trail_tells_from_to_and_why_of_every_state() -> None:
    world = World()
    order = world.place()
    payment = world.paid(order)
    world.do(payment, payments.Refund(amount=100, reason="cold"))
    world.deliver_all()
    lines = trail_of(world)
    told = {(change.what, change.was, change.to): why for _, changes, why in lines for change in changes}
    assert told["order.status", None, "pending"] is None
    assert ("line.1", None, "queued") in told
    assert told["payment.status", "pending", "completed"] == "money is here"
    assert ("order.paymentStatus", "pending", "processing") in told
    assert ("order.paymentStatus", "processing", "completed") in told
    assert told["payment.status", "completed", "partially_refunded"] == "cold"
    (refund,) = world.payment(payment).refunds
    assert any(what == f"refund.{refund}" for what, _, _ in told)


def test_a_trail_leads_to_the_state_that_stands_whatever_happened() -> None:
    world = World()
    first, second = world.place(), world.place()
    world.paid(first, amount=300)
    world.do(second, orders.MergeInto(first.id))  # type: ignore[arg-type]
    world.deliver_all()
    gone = world.pay(first, Method.PAYCONIC_CARD)
    world.do(gone, payments.Cancel("changed my mind"))
    world.deliver_all()
    world.do(first, orders.MoveItem(line=1, move="start"))
    world.do(first, orders.MoveItem(line=2, move="void"))
    world.deliver_all()
    stands: dict[tuple[PaymentId | UUID, str], str | None] = {}
    follower = trail.Follower()
    for line in world.log:
        for change in follower.follow(line.ref, line.author, thaw(line.event)):
            whose = line.ref if change.what.split(".")[0] in ("payment", "refund", "dispute") else _order(line, world)
            before = stands.get((whose.id, change.what))
            assert before == change.was, "a change begins where the last one ended"
            stands[whose.id, change.what] = change.to
    for state in (*world.orders, *world.payments):
        whole = trail.standing_of_order(state) if isinstance(state, orders.Order) else trail.standing_of_payment(state)
        assert {what: to for (id_, what), to in stands.items() if id_ == state.ref.id} == whole


def _order(line: object, world: World) -> Ref:
    """Whose order an event has changed: the one it is about, or the one that decided it."""
    ref, author = line.ref, line.author  # type: ignore[attr-defined]
    return ref if ref.kind is Kind.ORDER else author
