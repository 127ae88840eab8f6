"""Accounts of customers and gift cards: each movement once, and never below nothing (spec W1)."""

from collections import Counter
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import account as accounts
from tabletap.domain import events as e
from tabletap.domain.account import (
    ENTRIES_REMEMBERED,
    Account,
    AccountCommand,
    Bar,
    BarSpending,
    Deposit,
    Entry,
    Grant,
    Holding,
    Return,
    Spend,
    Use,
    Withdraw,
    credit_account,
    gift_account,
)
from tabletap.domain.base import INSTALLATION_CAFE, NOTHING, CafeId, Context, Decision, PaymentId, Wake
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.messages import PutOn, TakeBack
from tabletap.domain.vocabulary import AccountKind, Cause, CreditScope

from .world import NOON, Ids, thaw

CAFE, OTHER = CafeId(UUID(int=1)), CafeId(UUID(int=2))
ANNS = Holding(credit_account(CAFE, "ann", CreditScope.CAFE), AccountKind.CREDIT, "AUD", "ann")


GIFT = Holding(gift_account(CAFE, "GIFT"), AccountKind.GIFT_CARD, "AUD", label="GIFT", valid_days=10)


class Wallet:
    """An account and how many cents a bookkeeper would say are on it."""

    def __init__(self, holding: Holding = ANNS) -> None:
        self.holding = holding
        self.state: Account | None = None
        self.new_id = Ids()
        self.events: list[e.Event] = []

    def ask(self, command: AccountCommand) -> Decision | Refusal:
        decision = accounts.decide(self.state, command, Context(NOON, self.new_id))
        for event in decision.events if isinstance(decision, Decision) else ():
            self.events.append(thaw(msgspec.json.encode(event)))
            self.state = (
                accounts.evolve(self.state, event) if self.state else accounts.born(event)  # type: ignore[arg-type]
            )
        return decision

    def refused(self, command: AccountCommand) -> Code:
        before, refusal = self.state, self.ask(command)
        assert isinstance(refusal, Refusal), refusal
        assert self.state is before
        return refusal.code

    def grant(self, amount: int, entry_id: UUID | None = None) -> Decision | Refusal:
        return self.ask(Grant(self.holding, entry_id or self.new_id(), amount, "sorry"))

    def spend(self, amount: int, payment_id: UUID | None = None) -> Decision | Refusal:
        return self.ask(Spend(self.holding, PaymentId(payment_id or self.new_id()), amount))

    @property
    def balance(self) -> int:
        return self.state.balance if self.state else 0


def test_the_first_movement_opens_the_account_and_the_next_does_not() -> None:
    wallet = Wallet()
    wallet.grant(500)
    wallet.grant(100)
    assert [type(event) for event in wallet.events] == [e.AccountOpened, e.AccountCredited, e.AccountCredited]
    opened = wallet.events[0]
    assert isinstance(opened, e.AccountOpened)
    assert (opened.account_id, opened.cafe_id, opened.owner) == (ANNS.ref.id, CAFE, "ann")
    assert wallet.state is not None
    assert wallet.state.ref == ANNS.ref
    assert accounts.view(wallet.state).balance == 600


def test_what_is_not_there_cannot_be_taken_and_opens_nothing() -> None:
    wallet, payment = Wallet(), PaymentId(UUID(int=9))
    assert wallet.refused(Spend(ANNS, payment, 1)) is Code.INSUFFICIENT_FUNDS
    assert wallet.refused(Withdraw(ANNS, payment, 1)) is Code.INSUFFICIENT_FUNDS
    wallet.grant(100)
    assert wallet.refused(Spend(ANNS, payment, 101)) is Code.INSUFFICIENT_FUNDS
    wallet.spend(100)
    assert wallet.balance == 0
    assert wallet.refused(Spend(ANNS, payment, 1)) is Code.INSUFFICIENT_FUNDS


@pytest.mark.parametrize("amount", [0, -1])
def test_less_than_a_cent_moves_nothing(amount: int) -> None:
    wallet, payment = Wallet(), PaymentId(UUID(int=9))
    wallet.grant(100)
    for command in (
        Grant(ANNS, payment, amount),
        Withdraw(ANNS, payment, amount),
        Spend(ANNS, payment, amount),
        Deposit(ANNS, payment, amount, payment),
    ):
        assert wallet.refused(command) is Code.VALIDATION_ERROR


def test_an_account_keeps_its_currency() -> None:
    wallet = Wallet()
    wallet.grant(100)
    euros = msgspec.structs.replace(ANNS, currency="EUR")
    assert wallet.refused(Grant(euros, UUID(int=9), 1)) is Code.VALIDATION_ERROR


def test_the_same_movement_again_changes_nothing_and_another_amount_under_its_id_is_refused() -> None:
    wallet, payment = Wallet(), PaymentId(UUID(int=9))
    wallet.grant(1000, UUID(int=1))
    movements = [
        Grant(ANNS, UUID(int=1), 1000),
        Spend(ANNS, payment, 300),
        Deposit(ANNS, UUID(int=3), 100, payment),
        Withdraw(ANNS, UUID(int=4), 50),
    ]
    for movement in movements:
        wallet.ask(movement)
    assert wallet.balance == 750
    for movement in movements:
        assert wallet.ask(movement) == NOTHING
        assert wallet.refused(msgspec.structs.replace(movement, amount=7)) is Code.IDEMPOTENCY_KEY_REUSED
    # A debit is no repeat of a credit of the same size.
    assert wallet.refused(Withdraw(ANNS, UUID(int=3), 100)) is Code.IDEMPOTENCY_KEY_REUSED
    assert wallet.balance == 750


def test_a_spending_that_was_given_up_takes_nothing_ever() -> None:
    wallet, payment = Wallet(), PaymentId(UUID(int=9))
    assert isinstance(wallet.ask(BarSpending(ANNS, payment, Bar.GIVEN_UP)), Decision)
    wallet.grant(1000)
    assert wallet.refused(Spend(ANNS, payment, 300)) is Code.PAYMENT_FAILED
    assert wallet.ask(BarSpending(ANNS, payment, Bar.REFUSED)) == NOTHING
    assert wallet.state is not None
    assert wallet.state.entries[payment] == Entry(0, Bar.GIVEN_UP)
    assert wallet.balance == 1000


def test_a_spending_that_was_made_cannot_be_barred() -> None:
    wallet, payment = Wallet(), PaymentId(UUID(int=9))
    wallet.grant(1000)
    wallet.spend(300, payment)
    assert wallet.ask(BarSpending(ANNS, payment, Bar.GIVEN_UP)) == NOTHING
    assert wallet.ask(Spend(ANNS, payment, 300)) == NOTHING
    assert wallet.balance == 700


def test_no_more_comes_back_of_a_payment_than_it_took_unless_it_was_made_elsewhere() -> None:
    wallet, payment, by_card = Wallet(), PaymentId(UUID(int=9)), PaymentId(UUID(int=10))
    wallet.grant(1000)
    wallet.spend(300, payment)
    wallet.ask(Deposit(ANNS, UUID(int=1), 200, payment))
    for elsewhere in (False, True):
        too_much = Deposit(ANNS, UUID(int=2), 101, payment, elsewhere)
        assert wallet.refused(too_much) is Code.REFUND_EXCEEDS_ORIGINAL
    assert wallet.ask(Deposit(ANNS, UUID(int=1), 200, payment)) == NOTHING
    wallet.ask(Deposit(ANNS, UUID(int=2), 100, payment))
    assert wallet.refused(Deposit(ANNS, UUID(int=3), 1, payment)) is Code.REFUND_EXCEEDS_ORIGINAL
    assert wallet.refused(Deposit(ANNS, UUID(int=4), 50, by_card)) is Code.REFUND_EXCEEDS_ORIGINAL
    wallet.ask(Deposit(ANNS, UUID(int=4), 50, by_card, elsewhere=True))
    assert wallet.balance == 1050


def test_the_state_is_bounded_and_what_it_may_have_forgotten_is_refused_not_done_twice() -> None:
    wallet = Wallet()
    wallet.grant(1_000_000)
    early, unused = PaymentId(wallet.new_id()), PaymentId(wallet.new_id())
    wallet.spend(1, early)
    for _ in range(ENTRIES_REMEMBERED + 5):
        wallet.spend(1)
    assert wallet.state is not None
    assert len(wallet.state.entries) == ENTRIES_REMEMBERED
    balance = wallet.balance
    for old in (early, unused):
        assert wallet.state.forgot(old)
        assert wallet.refused(Spend(ANNS, old, 1)) is Code.PAYMENT_EXPIRED
        assert wallet.refused(Deposit(ANNS, old, 1, old)) is Code.PAYMENT_EXPIRED
        assert wallet.ask(BarSpending(ANNS, old, Bar.GIVEN_UP)) == NOTHING
    newest = next(reversed(wallet.state.entries))
    assert wallet.ask(Spend(ANNS, PaymentId(newest), 1)) == NOTHING
    assert wallet.balance == balance
    wallet.spend(1)
    wallet.grant(1, uuid4())
    assert wallet.balance == balance


_MOVES = st.lists(
    st.tuples(st.sampled_from(["grant", "withdraw", "spend", "deposit", "bar"]), st.integers(1, 8), st.integers(1, 50)),
    max_size=60,
)


@given(_MOVES)
def test_any_life_of_an_account_is_that_of_a_naive_model_and_of_its_log(
    moves: list[tuple[str, int, int]],
) -> None:
    wallet, done, barred = Wallet(), dict[UUID, int](), set[UUID]()
    for kind, number, amount in moves:
        id_ = PaymentId(UUID(int=number))
        commands: dict[str, AccountCommand] = {
            "grant": Grant(ANNS, id_, amount),
            "withdraw": Withdraw(ANNS, id_, amount),
            "spend": Spend(ANNS, id_, amount),
            "deposit": Deposit(ANNS, id_, amount, id_, elsewhere=True),
            "bar": BarSpending(ANNS, id_, Bar.GIVEN_UP),
        }
        signed = amount if kind in ("grant", "deposit") else -amount
        outcome = wallet.ask(commands[kind])
        if kind == "bar":
            assert isinstance(outcome, Decision)
            if id_ not in done:
                barred.add(id_)
        elif id_ in done:
            assert (outcome == NOTHING) == (done[id_] == signed)
        elif (kind == "deposit" and id_ in barred) or id_ in barred or sum(done.values()) + signed < 0:
            assert isinstance(outcome, Refusal)
        else:
            assert isinstance(outcome, Decision)
            done[id_] = signed
        assert wallet.balance == sum(done.values()) >= 0
    if wallet.events:
        first, *later = wallet.events
        again = accounts.born(first)  # type: ignore[arg-type]
        for event in later:
            again = accounts.evolve(again, event)
        assert again == wallet.state


_USES = st.lists(
    st.tuples(
        st.sampled_from(["put on", "use", "return", "take back", "expire"]), st.integers(1, 6), st.integers(1, 60)
    ),
    max_size=60,
)


@given(_USES)
def test_any_life_of_a_card_is_that_of_a_naive_model(moves: list[tuple[str, int, int]]) -> None:
    """``number`` names both a movement and, of what comes back, what was used. Ids are not told apart by kind."""
    card = Wallet(GIFT)
    balance, done, used, back = 0, dict[UUID, int](), dict[UUID, int](), Counter[UUID]()
    for kind, number, amount in moves:
        id_, of = UUID(int=number), UUID(int=100 + number)
        match kind:
            case "put on":
                card.ask(PutOn(GIFT, UUID(int=200 + number), amount, Cause.SOLD))
                signed, known = amount, UUID(int=200 + number)
            case "use":
                outcome = card.ask(Use(GIFT, of, amount))
                wrong = done[of] != -amount if of in done else amount > balance
                assert isinstance(outcome, Refusal) == wrong
                signed, known = -amount if amount <= balance else 0, of
                if signed and of not in done:
                    used[of] = amount
            case "return":
                outcome = card.ask(Return(GIFT, id_, amount, of))
                fits = amount <= used.get(of, 0) - back[of]
                signed, known = amount if fits else 0, id_
                if signed and id_ not in done:
                    back[of] += amount
            case "take back":
                card.ask(TakeBack(GIFT, UUID(int=300 + number), amount, "order"))
                signed, known = -min(amount, balance), UUID(int=300 + number)
            case _:
                assert card.state is None or card.ask(Wake()) == NOTHING  # its time has not come
                continue
        if signed and known not in done:
            done[known] = signed
            balance += signed
        assert card.balance == balance >= 0
    assert all(back[of] <= amount for of, amount in used.items())


# -- which account


def test_credit_is_the_customers_at_one_cafe_or_at_all_of_them() -> None:
    at_cafe, everywhere = CreditScope.CAFE, CreditScope.INSTALLATION
    refs = {credit_account(cafe, customer, at_cafe) for cafe in (CAFE, OTHER) for customer in ("ann", "bob")}
    assert len({ref.id for ref in refs}) == 4
    assert {ref.cafe_id for ref in refs} == {CAFE, OTHER}
    assert credit_account(CAFE, "ann", everywhere) == credit_account(OTHER, "ann", everywhere)
    assert credit_account(CAFE, "ann", everywhere).cafe_id == INSTALLATION_CAFE
    assert credit_account(CAFE, "ann", everywhere) not in refs


def test_a_gift_card_is_found_however_its_code_is_typed_and_never_by_another() -> None:
    ref = gift_account(CAFE, "GIFT-1234-abcd")
    assert gift_account(CAFE, " gift 1234 ABCD ") == ref
    assert gift_account(CAFE, "GIFT-1234-abce") != ref
    assert gift_account(OTHER, "GIFT-1234-abcd") != ref
    assert gift_account(CAFE, "ann") != credit_account(CAFE, "ann", CreditScope.CAFE)
    assert b"1234" not in msgspec.json.encode(gift_account(CAFE, "1234"))
