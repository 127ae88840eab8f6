"""Whole lives of a cafe: every command in any order, messages late, twice and overtaking, against a small model.

The model is plain dicts and knows nothing of states: what each order's lines cost, what came in, what went back. What
a provider has really taken and given back is the provider's own book. The world is rebuilt from its log on the way and
must be the same.
"""

from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tabletap.domain import account as accounts
from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import events as e
from tabletap.domain import kitchen
from tabletap.domain import order as orders
from tabletap.domain import payment as payments
from tabletap.domain.base import SYSTEM, Command, Decision, Kind, OrderId, Ref, Wake
from tabletap.domain.charge import RefundStanding, Standing
from tabletap.domain.errors import Refusal
from tabletap.domain.menu import Choice, Wish
from tabletap.domain.order import (
    ACCOUNT_FIELD,
    Accept,
    ByItem,
    ByShare,
    Change,
    InitiatePayment,
    MergeInto,
    MoveItem,
    MoveOrder,
    MoveTable,
    Split,
)
from tabletap.domain.payment import UNDER_WAY, Cancel, HearRefund, Refund, VerifyCash, VerifyTransfer
from tabletap.domain.settings import CafeSettings, GiftCardRules, LoyaltyRules, ServiceCharge
from tabletap.domain.tasks import WithdrawPayments
from tabletap.domain.vocabulary import (
    MANUAL,
    AccountKind,
    Cause,
    Channel,
    ChargeState,
    ItemStatus,
    Method,
    OrderStatus,
    RefundState,
    RefundStatus,
    RefundTo,
    Surplus,
)

from .world import BANANA, CUSTOMER, FLAT_WHITE, SETTINGS, STAFF, TOAST, WATER, World, comparable, thaw

OAT = Wish("flat-white", 2, (Choice("size", "large"), Choice("milk", "oat"), Choice("brand", "minor")))
PRICES = {"toast": 901, "banana": 153, "water": 0, "flat-white": 450}
WISHES = st.lists(st.sampled_from([TOAST, BANANA, WATER, FLAT_WHITE, OAT]), min_size=1, max_size=3)
WHICH = st.integers(0, 99)
CENTS = st.one_of(st.integers(1, 12), st.integers(1, 2500))
CARDS = st.one_of(st.just([]), st.just([]), st.lists(st.integers(1, 2500), min_size=1, max_size=2))
NUMBERS = ("0412 345 678", "+61 499 000 000")
PHONES = st.one_of(st.none(), st.sampled_from(NUMBERS))
PER_UNIT = 3
CLOSED = {OrderStatus.COMPLETED, OrderStatus.CANCELLED}
UNMADE = {OrderStatus.PENDING, OrderStatus.PAYMENT_PENDING, OrderStatus.PAID}
DONE = {ItemStatus.READY, ItemStatus.SERVED}
SPLITS = st.one_of(
    st.none(),
    st.builds(ByShare, st.integers(2, 3)),
    st.builds(ByItem, st.lists(st.integers(1, 3), min_size=1, max_size=2, unique=True).map(tuple)),
)


def cost(wish: Wish) -> int:
    """What a wish costs by the card on the wall, not by the domain."""
    return 2 * (550 + 70 + 20) if wish == OAT else PRICES[wish.sku]


class Watched(World):
    """A world in which it is noted whom a withdrawal must stop: whoever was paying for what the kitchen has not."""

    def __init__(self, settings: CafeSettings) -> None:
        super().__init__(settings)
        self.stopped: set[Ref] = set()

    def _withdraw(self, task: WithdrawPayments) -> None:
        for order in self.orders:
            has_it = any(line.facts.sku == task.sku and line.live for line in order.lines.values())
            knows = order.sold_out.get(task.sku) == task.at
            if has_it and not knows and not order.released and order.status not in CLOSED:
                self.stopped |= {Ref(Kind.PAYMENT, ident, order.placed.cafe_id) for ident in order.reserved}
        super()._withdraw(task)


class Lives(RuleBasedStateMachine):
    world: Watched

    @initialize(
        approval=st.booleans(),
        rate=st.sampled_from([0, 0, 1_000, 777]),
        surplus=st.sampled_from(Surplus),
        credit=st.booleans(),
        loyal=st.booleans(),
        prepay=st.sampled_from([(), (), (Channel.COUNTER,), (Channel.ONLINE, Channel.TABLE)]),
        baskets=st.lists(st.tuples(WISHES, st.sampled_from(Channel)), min_size=2, max_size=4),
    )
    def open(
        self,
        approval: bool,
        rate: int,
        surplus: Surplus,
        credit: bool,
        loyal: bool,
        prepay: tuple[Channel, ...],
        baskets: list[tuple[list[Wish], Channel]],
    ) -> None:
        charge = ServiceCharge(rate=rate, tax_class="gst") if rate else None
        self.world = Watched(
            CafeSettings(
                name="Corner",
                tables=SETTINGS.tables,
                approval=approval,
                prepay=prepay,
                bank=SETTINGS.bank,
                service_charge=charge,
                gift_cards=GiftCardRules(min_value=1, valid_days=1),
                loyalty=LoyaltyRules(points_per_unit=PER_UNIT if loyal else 0),
            )
        )
        self.rate, self.surplus, self.credit = rate, surplus, credit
        self.world.tick = timedelta(milliseconds=1)
        self.board = kitchen.Board()
        self.heard = 0
        self.sold: dict[Ref, int] = {}  # order -> what its lines cost as ordered
        self.received: dict[Ref, int] = {}  # payment -> money in
        self.returned: Counter[Ref] = Counter()  # payment -> money back, from hand to hand
        self.wished: dict[Ref, int] = {}  # payment -> amount it was to pay of its order
        self.tips: dict[Ref, int] = {}
        self.drawer_cash = 0
        self.drawer: Ref | None = None
        for wishes, channel in baskets:
            self.place(wishes, channel, None, quick=False, cards=[], phone=NUMBERS[0])

    # -- what is there

    def refs(self, kind: Kind) -> list[Ref]:
        return [ref for ref in self.world.states if ref.kind is kind]

    def pick(self, kind: Kind, which: int) -> Ref | None:
        """One of them, the newest ones first."""
        refs = self.refs(kind)[::-1]
        return refs[which % min(len(refs), 6)] if refs else None

    def ask(self, ref: Ref, command: Command, by: object = STAFF) -> Decision | Refusal:
        """A command; a refusal changes nothing at all."""
        world = self.world
        before = comparable(world.states[ref]), len(world.log), dict(world.balances), len(world.states)
        queued = [{to: list(queue) for to, queue in waiting.items()} for waiting in (world.queues, world.jobs)]  # type: ignore[attr-defined]
        outcome = world.ask(ref, command, by)  # type: ignore[arg-type]
        if isinstance(outcome, Refusal):
            after = comparable(world.states[ref]), len(world.log), dict(world.balances), len(world.states)
            assert after == before
            assert [
                {to: list(queue) for to, queue in waiting.items()}
                for waiting in (world.queues, world.jobs)  # type: ignore[attr-defined]
            ] == queued
            assert outcome.message
        return outcome

    def with_service(self, cents: int) -> int:
        return cents + (cents * self.rate + 5_000) // 10_000

    # -- the cafe

    @rule(
        wishes=WISHES,
        channel=st.sampled_from(Channel),
        ahead=st.one_of(st.none(), st.none(), st.integers(1, 90)),
        quick=st.booleans(),
        cards=CARDS,
        phone=PHONES,
    )
    def place(
        self,
        wishes: list[Wish],
        channel: Channel,
        ahead: int | None,
        quick: bool,
        cards: list[int],
        phone: str | None,
    ) -> None:
        command = cafes.PlaceOrder(
            channel=channel,
            wishes=tuple(wishes),
            table="1" if channel is Channel.TABLE else None,
            scheduled_for=None if ahead is None else self.world.now + timedelta(minutes=ahead),
            customer=e.Customer(phone=phone) if phone else None,
            gift_cards=tuple(self.new_card(value) for value in cards),
        )
        outcome = self.ask(self.world.cafe_ref, command)
        gone = self.world.cafe.sold_out
        if isinstance(outcome, Decision):
            ref = outcome.births[0].ref
            self.sold[ref] = self.with_service(sum(map(cost, wishes))) + sum(cards)
            assert self.world.order(ref).total == self.sold[ref]
            if quick:
                self.ask(ref, Accept())
                self.pay(0, Method.QR_CODE_BANK_TRANSFER, None, 0, at_once=True)
        else:
            assert any(wish.sku in gone for wish in wishes)

    def new_card(self, value: int) -> cafes.GiftWish:
        serial = self.world.new_id()
        return cafes.GiftWish(value, Ref(Kind.ACCOUNT, serial, self.world.cafe.id), serial, "RC3R")

    @rule(values=st.lists(st.integers(1, 2500), min_size=1, max_size=2), phone=PHONES, quick=st.booleans())
    def buy_cards(self, values: list[int], phone: str | None, quick: bool) -> None:
        self.place([], Channel.ONLINE, None, quick=quick, cards=values, phone=phone)

    @rule(
        sku=st.sampled_from(sorted(PRICES)), available=st.booleans(), minutes=st.one_of(st.none(), st.integers(1, 90))
    )
    def sold_out(self, sku: str, available: bool, minutes: int | None) -> None:
        until = None if minutes is None or available else self.world.now + timedelta(minutes=minutes)
        command = cafes.SetAvailability(sku, available, until, remaining=minutes if available else None)
        self.ask(self.world.cafe_ref, command)
        assert self.ask(self.world.cafe_ref, command) == Decision()

    @rule(minutes=st.sampled_from([0, 1, 10, 20, 60, 14 * 60]))
    def time_passes(self, minutes: int) -> None:
        """The waker wakes everybody whose time has come."""
        self.world.later(minutes=minutes)
        for ref, state in list(self.world.states.items()):
            nouns = {Kind.CAFE: cafes, Kind.ORDER: orders, Kind.PAYMENT: payments, Kind.ACCOUNT: accounts}
            noun = nouns.get(ref.kind)
            due = noun.wake_at(state) if noun else None  # type: ignore[attr-defined]
            if due is not None and due <= self.world.now:
                self.world.do(ref, Wake(), SYSTEM)
                again = noun.wake_at(self.world.states[ref])  # type: ignore[union-attr]
                assert again is None or again > self.world.now, "woken for nothing, again and again"

    # -- orders

    @rule(
        which=WHICH,
        move=st.sampled_from(["start", "ready", "complete", "cancel"]),
        customer=st.booleans(),
    )
    def move_order(self, which: int, move: str, customer: bool) -> None:
        if order := self.pick(Kind.ORDER, which):
            outcome = self.ask(order, MoveOrder(move), CUSTOMER if customer and move == "cancel" else STAFF)
            if isinstance(outcome, Decision):
                assert self.ask(order, MoveOrder(move)) == Decision()

    @rule(
        which=WHICH,
        line=st.integers(1, 5),
        move=st.sampled_from(["start", "bump", "recall", "hold", "fire", "void"]),
    )
    def move_item(self, which: int, line: int, move: str) -> None:
        if order := self.pick(Kind.ORDER, which):
            self.ask(order, MoveItem(line, move))

    @rule(which=WHICH)
    def accept(self, which: int) -> None:
        if order := self.pick(Kind.ORDER, which):
            self.ask(order, Accept())

    @rule(which=WHICH, wishes=st.one_of(st.just([]), WISHES), remove=st.lists(st.integers(1, 4), max_size=2))
    def change(self, which: int, wishes: list[Wish], remove: list[int]) -> None:
        if order := self.pick(Kind.ORDER, which):
            before = self.world.order(order)
            outcome = self.ask(order, Change(add=self.world.priced(*wishes), remove=tuple(remove)))
            if isinstance(outcome, Decision):
                taken = sum(before.lines[n].facts.due for n in remove if n in before.lines)
                taken += sum(
                    line.facts.due
                    for n, line in self.world.order(order).lines.items()
                    if n in remove and n not in before.lines
                )
                added = self.with_service(sum(map(cost, wishes)))
                assert self.world.order(order).total == before.total + added - taken

    @rule(which=WHICH, table=st.sampled_from(["1", "2"]))
    def move_table(self, which: int, table: str) -> None:
        if order := self.pick(Kind.ORDER, which):
            self.ask(order, MoveTable(table))

    @rule(which=WHICH, into=WHICH)
    def merge(self, which: int, into: int) -> None:
        one, two = self.pick(Kind.ORDER, which), self.pick(Kind.ORDER, into)
        if one and two:
            self.ask(one, MergeInto(OrderId(two.id)))

    # -- money

    @rule(
        which=WHICH,
        method=st.sampled_from(Method),
        amount=st.one_of(st.none(), CENTS),
        split=SPLITS,
        tip=st.integers(0, 9),
        at_once=st.booleans(),
    )
    def pay(
        self, which: int, method: Method, amount: int | None, tip: int, *, at_once: bool, split: Split | None = None
    ) -> None:
        if order := self.pick(Kind.ORDER, which):
            before, account = self.world.order(order), self.world.account
            command = InitiatePayment(
                method=method,
                amount=None if split else amount,
                split=split,
                tip=tip,
                account=account if method in ACCOUNT_FIELD else None,
                credit=account if self.credit else None,
                surplus=self.surplus,
            )
            outcome = self.ask(order, command)
            if isinstance(outcome, Decision):
                payment = outcome.births[0].ref
                wished = self.world.payment(payment).initiated.amount
                match split:
                    case ByItem():
                        assert wished == sum(before.lines[number].facts.due for number in split.lines)
                    case ByShare():
                        assert wished >= min(before.owed, before.total // split.of)
                    case None:
                        assert wished == (amount or before.owed)
                self.wished[payment], self.tips[payment] = wished, tip
                assert 0 < wished <= before.owed
                assert self.world.order(order).owed == before.owed - wished
                if at_once:
                    self.money_comes(0, 0, heard=True)

    @precondition(lambda self: self.refs(Kind.PAYMENT))
    @rule(which=WHICH, extra=st.one_of(st.just(0), st.integers(-300, 300)), heard=st.booleans())
    def money_comes(self, which: int, extra: int, heard: bool) -> None:
        payment = self.pick(Kind.PAYMENT, which)
        assert payment is not None
        started = self.world.payment(payment).initiated
        money = started.total + extra
        if started.method not in MANUAL:
            while self.world.jobs.get(str(payment.id)):
                self.world.work(str(payment.id))
            if money > 0 and self.provider_says(payment, Standing(state=ChargeState.SUCCEEDED, amount=money)) and heard:
                self.world.hear(payment)
                self.read_the_provider_s_book()
            return
        cash = started.method is Method.CASH
        drawer_id = self.drawer.id if self.drawer else None
        outcome = self.ask(payment, VerifyCash(money, drawer_id) if cash else VerifyTransfer(money))
        if isinstance(outcome, Decision):
            assert payment not in self.received, "the same money twice"
            self.received[payment] = started.total if cash else money

    def provider_says(self, payment: Ref, standing: Standing) -> bool:
        """Somebody approves or declines, if the provider has been asked and nothing is final there."""
        provider, ident = self.world.provider, self.world.payment(payment).initiated.payment_id
        known = provider.charges.get(ident)
        if known is None or known.state is not ChargeState.OPEN:
            return False
        provider.says(ident, standing)
        return True

    @precondition(lambda self: self.refs(Kind.PAYMENT))
    @rule(which=WHICH)
    def declined(self, which: int) -> None:
        payment = self.pick(Kind.PAYMENT, which)
        assert payment is not None
        if self.provider_says(payment, Standing(state=ChargeState.FAILED, reason="declined")):
            self.world.hear(payment)

    @rule(loses=st.integers(0, 2), down=st.integers(0, 2), refunds=st.sampled_from(RefundState))
    def the_provider_misbehaves(self, loses: int, down: int, refunds: RefundState) -> None:
        provider = self.world.provider
        provider.loses, provider.down = loses, down
        provider.refunds_become = RefundState.SUCCEEDED if refunds is RefundState.ABSENT else refunds

    @precondition(lambda self: self.refs(Kind.PAYMENT))
    @rule(which=WHICH)
    def give_up(self, which: int) -> None:
        payment = self.pick(Kind.PAYMENT, which)
        assert payment is not None
        assert isinstance(self.ask(payment, Cancel()), Refusal) or payment not in self.received

    @precondition(lambda self: self.received)
    @rule(which=WHICH, amount=st.one_of(st.none(), CENTS), to=st.sampled_from(RefundTo))
    def refund(self, which: int, amount: int | None, to: RefundTo = RefundTo.ORIGINAL) -> None:
        paid = list(self.received)[::-1]
        payment = paid[which % len(paid)]
        state = self.world.payment(payment)
        left = self.received[payment] - sum(asked.amount for asked in state.standing_refunds)
        drawer_id = self.drawer.id if self.drawer else None
        outcome = self.ask(payment, Refund(amount, drawer_id=drawer_id, to=to))
        back = left if amount is None else amount
        no_credit = to is RefundTo.CREDIT and not self.credit
        assert isinstance(outcome, Decision) or back > left or left == 0 or no_credit
        if isinstance(outcome, Decision):
            assert back <= left
            if state.manual and to is RefundTo.ORIGINAL:
                self.returned[payment] += back

    @rule(which=WHICH, method=st.sampled_from(Method), back=st.one_of(st.none(), CENTS), refunded=st.booleans())
    def race(self, which: int, method: Method, back: int | None, refunded: bool) -> None:
        """Money comes, the order is cancelled before it hears of it, and perhaps staff refund before both know."""
        self.pay(which, method, None, 0, at_once=True)
        self.move_order(which, "cancel", customer=False)
        if refunded and self.received:
            self.refund(0, back)

    @rule(which=WHICH, method=st.sampled_from(Method), money_first=st.booleans(), back_again=st.booleans())
    def race_with_the_last_one(self, which: int, method: Method, money_first: bool, back_again: bool) -> None:
        """Something sells out while the customer pays for it: the money is quicker than the word of it, or slower."""
        waiting = [one.ref for one in self.world.orders if not one.released and one.owed and one.status not in CLOSED]
        if not waiting:
            return
        order = waiting[which % len(waiting)]
        self.pay(self.refs(Kind.ORDER)[::-1].index(order), method, None, 0, at_once=money_first)
        line = next(line.facts for line in self.world.order(order).lines.values() if line.live)
        self.ask(self.world.cafe_ref, cafes.SetAvailability(line.sku, available=False))
        for key in self.world.waiting_jobs:
            if key.endswith(line.sku):
                self.world.work(key)
        if back_again:
            self.ask(self.world.cafe_ref, cafes.SetAvailability(line.sku, available=True))
        if not money_first:
            self.money_comes(0, 0, heard=True)

    # -- the drawer

    @rule(cents=st.integers(0, 100_00))
    def open_drawer(self, cents: int) -> None:
        outcome = self.ask(self.world.cafe_ref, cafes.OpenDrawer("till", cents))
        assert isinstance(outcome, Decision)
        self.drawer = outcome.births[0].ref
        self.drawer_cash += cents

    @precondition(lambda self: self.drawer is not None)
    @rule(cents=st.integers(-50_00, 50_00))
    def move_drawer(self, cents: int) -> None:
        assert self.drawer is not None
        if isinstance(self.ask(self.drawer, drawers.Pay(cents, "milk")), Decision):
            self.drawer_cash += cents

    # -- messages, jobs and restarts

    @precondition(lambda self: self.world.waiting)
    @rule(which=WHICH, repeat=st.booleans())
    def deliver_one(self, which: int, repeat: bool) -> None:
        waiting = self.world.waiting
        to = waiting[which % len(waiting)]
        self.world.deliver(to, twice=repeat)

    @precondition(lambda self: self.world.waiting_jobs)
    @rule(which=WHICH, repeat=st.booleans())
    def work_one(self, which: int, repeat: bool) -> None:
        waiting = self.world.waiting_jobs
        self.world.work(waiting[which % len(waiting)], twice=repeat)

    @precondition(lambda self: self.world.waiting or self.world.waiting_jobs)
    @rule()
    def deliver_all(self) -> None:
        self.world.deliver_all()
        self.at_rest()

    @rule()
    def restart(self) -> None:
        before = {ref: comparable(state) for ref, state in self.world.states.items()}
        self.world.restart()
        assert {ref: comparable(state) for ref, state in self.world.states.items()} == before

    # -- cards and points

    def held(self, kind: AccountKind) -> list[accounts.Account]:
        states = self.world.states.values()
        return [one for one in states if isinstance(one, accounts.Account) and one.opened.kind is kind]

    @rule(which=WHICH, amount=st.integers(1, 3000), back=st.one_of(st.none(), st.integers(1, 3000)))
    def a_till_takes_from_a_card(self, which: int, amount: int, back: int | None) -> None:
        if cards := self.held(AccountKind.GIFT_CARD):
            card = cards[which % len(cards)]
            holding, used = accounts.Holding(card.ref, AccountKind.GIFT_CARD, "AUD"), self.world.new_id()
            outcome = self.ask(card.ref, accounts.Use(holding, used, amount))
            assert isinstance(outcome, Decision) == (card.balance >= amount and not card.expired(self.world.now))
            if isinstance(outcome, Decision) and back is not None:
                returned = self.ask(card.ref, accounts.Return(holding, self.world.new_id(), back, used))
                assert isinstance(returned, Decision) == (back <= amount)

    @rule(number=st.sampled_from(["+61412345678", "+61499000000"]), points=st.integers(1, 500))
    def points_are_added(self, number: str, points: int) -> None:
        holding = accounts.points_of(self.world.cafe.id, number)
        self.world.do(holding.ref, accounts.Grant(holding, self.world.new_id(), points))

    @rule(which=WHICH, number=st.sampled_from(["+61412345678", "+61499000000"]), points=st.integers(1, 500))
    def points_are_redeemed(self, which: int, number: str, points: int) -> None:
        if order := self.pick(Kind.ORDER, which):
            holding = accounts.points_of(self.world.cafe.id, number)
            discount = accounts.Discount(order, points)
            known = self.world.states.get(holding.ref)
            if known is not None:
                self.ask(holding.ref, accounts.Use(holding, self.world.new_id(), points, discount=discount))

    # -- what must hold after every step

    @invariant()
    def what_is_held_is_what_the_ledger_owes_and_never_less_than_nothing(self) -> None:
        balances = self.world.balances
        for kind, prefix in ((AccountKind.GIFT_CARD, "gift"), (AccountKind.LOYALTY, "loyalty")):
            for account in self.held(kind):
                assert account.balance >= 0
                assert balances[f"{prefix}:{account.ref.id}"] == -account.balance
        assert balances["points"] == sum(account.balance for account in self.held(AccountKind.LOYALTY))
        assert balances["gift_sold"] <= 0 <= balances["discounts"]

    @invariant()
    def read_the_provider_s_book(self) -> None:
        """What a payment says it has received from a provider is what the provider took, once."""
        for state in self.world.payments:
            if state.completed is None or state.manual:
                continue
            charge = self.world.provider.charges[state.initiated.payment_id]
            assert (charge.state, charge.amount) == (ChargeState.SUCCEEDED, state.completed.received)
            self.received[state.ref] = charge.amount

    @invariant()
    def nobody_pays_for_what_has_sold_out_before_the_kitchen_had_it(self) -> None:
        for payment in self.world.stopped:
            order = self.world.order(self.world.payment(payment).order_ref)
            assert not order.applied.get(payment.id, 0)  # type: ignore[call-overload]

    @invariant()
    def a_line_and_a_share_have_one_payer(self) -> None:
        for order in self.world.orders:
            held = [claim for ident, claim in order.held_claims.items() if ident in order.reserved]
            lines = [number for claim in held for number in claim.lines]
            assert len(lines) == len(set(lines))
            shares = [claim.share for claim in held if claim.share]
            assert len(shares) == len(set(shares))

    @invariant()
    def numbers_have_no_gaps_and_no_repeats(self) -> None:
        days: dict[object, list[int]] = {}
        for order in self.world.orders:
            days.setdefault(order.placed.business_day, []).append(order.placed.number)
        for numbers in days.values():
            assert sorted(numbers) == list(range(1, len(numbers) + 1))

    @invariant()
    def the_ledger_sums_to_nothing_and_its_guards_hold(self) -> None:
        balances = self.world.balances
        assert sum(balances.values()) == 0
        assert balances["receivable"] >= 0
        assert balances["unapplied"] <= 0
        assert balances["refunds_due"] <= 0

    @invariant()
    def an_order_s_money_adds_up(self) -> None:
        for order in self.world.orders:
            reserved = sum(order.reserved.values())
            assert 0 <= order.kept <= order.total or order.status is OrderStatus.CANCELLED, order
            assert order.refunded <= order.paid
            if order.status is not OrderStatus.CANCELLED:
                assert reserved <= order.unsettled
                assert (
                    order.unsettled == reserved + order.owed == order.total - order.paid + order.reversed_from_refunds
                )
            else:
                assert order.kept == 0

    @invariant()
    def the_receivable_is_what_the_orders_owe(self) -> None:
        assert self.world.balances["receivable"] == sum(order.unsettled for order in self.world.orders)

    @invariant()
    def cash_and_bank_hold_what_came_less_what_went(self) -> None:
        balances = self.world.balances
        held = balances["cash"] + balances["bank"]
        counted = sum(money for payment, money in self.received.items() if self.world.payment(payment).manual)
        assert held == counted - self.returned.total() + self.drawer_cash

    @invariant()
    def an_order_stands_where_its_lines_stand(self) -> None:
        for order in self.world.orders:
            live = [line.status for line in order.lines.values() if line.to_make]
            begun = [status for status in live if status in DONE or status is ItemStatus.STARTED]
            match order.status:
                case OrderStatus.READY:
                    assert set(live) <= DONE
                case OrderStatus.PREPARING:
                    assert not set(live) <= DONE
                    assert order.released
                case OrderStatus.COMPLETED:
                    assert set(live) <= {ItemStatus.SERVED}
                case OrderStatus.PAID:
                    assert order.unsettled == 0
                case OrderStatus.PAYMENT_PENDING:
                    assert order.reserved
                case OrderStatus.CANCELLED:
                    continue
            assert live or order.cards
            assert not begun or order.status not in UNMADE
            assert not begun or order.released

    @invariant()
    def an_order_that_could_be_in_the_kitchen_is(self) -> None:
        for order in self.world.orders:
            if order.status in CLOSED or order.released or not order.accepted or not order.makes_something:
                continue
            unpaid = order.placed.prepay and order.unsettled > 0
            wakes = orders.wake_at(order)
            assert unpaid or (wakes is not None and order.placed.release_at == wakes), order

    @invariant()
    def the_kitchen_s_board_is_what_a_new_one_would_be(self) -> None:
        for line in self.world.log[self.heard :]:
            self.board.apply(thaw(line.event), line.at)
        self.heard = len(self.world.log)
        fresh = kitchen.Board()
        fresh.adopt([orders.view(order) for order in self.world.orders], self.world.now)
        now = self.world.now
        assert {place.order_id: place.position for place in self.board.places(now).values()} == {
            place.order_id: place.position for place in fresh.places(now).values()
        }
        assert self.board.active == fresh.active

    def reconcile(self) -> None:
        """The provider is well again, and is asked for all it knows."""
        world = self.world
        world.provider.loses = world.provider.down = 0
        world.provider.refunds_become = RefundState.SUCCEEDED
        for _ in range(2):  # what is heard of a charge may ask for a refund
            for state in world.payments:
                if state.initiated.payment_id in world.provider.charges:
                    world.hear(state.ref)
                for refund in state.refunds.values():
                    ident = refund.requested.refund_id
                    known = world.provider.refunds.get(ident, RefundStanding(state=RefundState.ABSENT))
                    if known.state is RefundState.PENDING:
                        world.provider.says_of_refund(ident, RefundState.SUCCEEDED)
                        known = world.provider.refunds[ident]
                    if refund.status in UNDER_WAY:
                        world.do(state.ref, HearRefund(ident, known), SYSTEM)
            world.deliver_all()
        self.read_the_provider_s_book()

    def at_rest(self) -> None:
        """All messages have arrived: what orders, payments and the provider say of each other agrees."""
        world, balances = self.world, self.world.balances
        self.reconcile()
        assert balances["clearing"] == 0
        assert balances["refunds_due"] == 0
        transit = balances["credit_transit"] + balances["gift_transit"]
        at_provider = sum(cents for account, cents in balances.items() if account.startswith("provider:"))
        assert at_provider + transit == world.provider.taken - sum(world.provider.given_back.values())
        for payment in world.stopped:
            assert world.payment(payment).status not in payments.OPEN
        owed_back = 0
        for payment, money in self.received.items():
            order = world.order(world.payment(payment).order_ref)
            applied = order.applied.get(payment.id, 0)  # type: ignore[call-overload]
            state = world.payment(payment)
            started = state.initiated
            tip = (
                started.tip if started.method is Method.CASH else min(max(0, money - self.wished[payment]), started.tip)
            )
            spare = money - applied - tip - started.rounding
            for_sale = sum(amount for ident, amount in order.refunds.values() if ident == payment.id)
            back = self.returned[payment] + sum(world.provider.given_back.get(ident, 0) for ident in state.refunds)
            assert 0 <= applied <= self.wished[payment]
            done = [refund.requested for refund in state.refunds.values() if refund.status is RefundStatus.COMPLETED]
            assert back == sum(asked.amount for asked in done)
            if done and back == money:  # a cent in cash is rounded away: no money, and nothing of it back
                assert for_sale == applied
            else:
                owed_back += spare - (back - for_sale - sum(asked.from_tip + asked.from_rounding for asked in done))
        assert -balances["unapplied"] == owed_back
        living = sum(order.total for order in world.orders if order.status is not OrderStatus.CANCELLED)
        taxes = sum(cents for account, cents in balances.items() if account.startswith("tax:"))
        cards = [(order, line) for order in world.orders for line in order.cards]
        of_cards = sum(line.facts.total for order, line in cards if order.status is not OrderStatus.CANCELLED)
        income = balances["sales"] + balances["service_charge"] + balances["discounts"] + taxes
        assert -income == living - of_cards
        loaded = Counter[object]()
        for event in world.events:
            if isinstance(event, e.AccountCredited) and event.cause is Cause.SOLD:
                loaded[event.account_id] += event.amount
        for order, line in cards:
            assert order.cards_good == (order.paid_up and order.status is not OrderStatus.CANCELLED) or order.cards_good
            assert line.facts.gift is not None
            assert loaded[line.facts.gift.ref.id] == (line.facts.total if order.cards_good else 0)
        waiting = sum(
            line.facts.total
            for order, line in cards
            if not order.cards_good and order.status is not OrderStatus.CANCELLED
        )
        assert -balances["gift_sold"] == waiting
        for order in world.orders:
            if order.placed.loyalty is not None and order.paid_up:
                spent = order.kept - sum(line.facts.total for line in order.cards)
                assert order.points == max(0, spent) // 100 * PER_UNIT
        for order in world.orders:
            assert not order.reserved or all(
                world.payment(Ref(Kind.PAYMENT, ident, order.placed.cafe_id)).status in payments.OPEN
                for ident in order.reserved
            )
            if order.merged_into is not None:
                assert sum(order.placed.order_id in other.absorbed for other in world.orders) == 1

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.deliver_all()
        self.numbers_have_no_gaps_and_no_repeats()
        self.the_receivable_is_what_the_orders_owe()
        self.an_order_stands_where_its_lines_stand()
        self.at_rest()
        self.restart()


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a whole cafe takes minutes: ask for it by hand
)
