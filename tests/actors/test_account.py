"""Accounts as actors, and the gateways that pay from them: whoever asks at once, whatever is lost on the way."""

from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio

from tabletap.actors.account import SNAPSHOT_EVERY, DeskAccounts, GetAccount
from tabletap.actors.entity import Life
from tabletap.actors.nouns import LIVES
from tabletap.actors.ports import GatewayDown, GatewaySilent
from tabletap.domain.account import (
    ENTRIES_REMEMBERED,
    AccountView,
    Grant,
    Holding,
    Spend,
    Withdraw,
    credit_account,
)
from tabletap.domain.base import SYSTEM, Kind, OrderId, PaymentId, Ref
from tabletap.domain.charge import Charge, RefundOrder
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.events import AccountDebited
from tabletap.domain.tips import Distribute, PayOut, Pool, Way, Worker, tip_jar
from tabletap.domain.vocabulary import AccountKind, ChargeState, CreditScope, Method, RefundState
from tabletap.gateways.account import AccountGateway
from tests.domain.world import Ids

from .corner import NOON, Corner, key
from .written import Written


def anns(corner: Corner) -> Holding:
    ref = credit_account(corner.cafe_ref.cafe_id, "ann", CreditScope.CAFE)
    return Holding(ref, AccountKind.CREDIT, "AUD", "ann")


new_id = Ids()
"""Each says that it was made a millisecond after the one before."""


async def loaded(corner: Corner, amount: int) -> Holding:
    holding = anns(corner)
    await corner.do(holding.ref, Grant(holding, new_id(), amount))
    return holding


async def balance(corner: Corner, ref: Ref) -> int:
    found = await corner.desk.query(ref, GetAccount())
    assert isinstance(found, AccountView)
    return found.balance


async def test_100_at_once_never_overdraw_a_wallet_and_lose_no_deduction(corner: Corner) -> None:
    holding = await loaded(corner, 1000)
    asks = [(holding.ref, Spend(holding, PaymentId(new_id()), 30)) for _ in range(100)]
    answers = await corner.at_once(*asks)
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {refusal.code for refusal in refused} == {Code.INSUFFICIENT_FUNDS}
    assert len(answers) - len(refused) == 33
    assert await balance(corner, holding.ref) == 10
    debits = await corner.events(AccountDebited)
    assert sum(debit.amount for debit in debits) == 990
    assert corner.store.balances[corner.cafe_ref.cafe_id, f"credit:{holding.ref.id}", "AUD"] == -10


async def test_a_key_moves_credit_once(corner: Corner) -> None:
    holding = await loaded(corner, 100)
    asks = [(holding.ref, Withdraw(holding, new_id(), 10), key()) for _ in range(20)]
    answers = await corner.at_once(*asks)
    assert await balance(corner, holding.ref) == 90
    assert sum(isinstance(answer, AccountView) for answer in answers) == 1


async def test_an_account_of_many_movements_is_read_from_its_snapshot_and_remembers_what_it_must() -> None:
    corner = Corner()
    first, latest = PaymentId(new_id()), PaymentId(new_id())
    async with corner.open():
        holding = await loaded(corner, 100_000)
        await corner.do(holding.ref, Spend(holding, first, 1))
        for _ in range(10):
            await corner.at_once(
                *[(holding.ref, Spend(holding, PaymentId(new_id()), 1)) for _ in range(ENTRIES_REMEMBERED // 5)]
            )
        latest = PaymentId(new_id())
        await corner.do(holding.ref, Spend(holding, latest, 1))
    stored = await corner.store.load(holding.ref)
    assert stored.snapshot is not None
    assert len(stored.later) < SNAPSHOT_EVERY + ENTRIES_REMEMBERED // 5
    assert len(stored.snapshot) < 50 * ENTRIES_REMEMBERED
    before = await corner.store.head(corner.cafe_ref.cafe_id)
    async with corner.open():
        view = await corner.do(holding.ref, Spend(holding, latest, 1))
        assert view.balance == 100_000 - 2 * ENTRIES_REMEMBERED - 2
        forgotten = await corner.ask(holding.ref, Spend(holding, first, 1))
        assert isinstance(forgotten, Refusal)
        assert await corner.store.head(corner.cafe_ref.cafe_id) == before


async def test_tips_survive_a_restart_with_their_snapshot() -> None:
    corner = Corner()
    jar = tip_jar(corner.cafe_ref.cafe_id)
    async with corner.open():
        for number in range(SNAPSHOT_EVERY + 3):
            staff = (Worker("sam", "floor"), Worker("kim", "floor"))
            since = NOON.replace(hour=0)
            command = Distribute(
                corner.cafe_ref.cafe_id, "AUD", corner.settings.tips, since, NOON, Pool(2, 0, 9, number), staff
            )
            await corner.do(jar, command)
    assert (await corner.store.load(jar)).snapshot is not None
    async with corner.open():
        paid = await corner.do(jar, PayOut("kim", SNAPSHOT_EVERY, Way.CASH))
        assert paid.owed == 3


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_entity_has_its_life(kind: Kind) -> None:
    assert isinstance(LIVES[kind], Life)


# -- the gateways


def gateway(corner: Corner, kind: AccountKind = AccountKind.CREDIT) -> AccountGateway:
    return AccountGateway(kind, DeskAccounts(corner.desk, Written(corner)))  # type: ignore[arg-type]


def charge_of(corner: Corner, amount: int, account: Ref | None, payment_id: UUID | None = None) -> Charge:
    return Charge(
        payment_id=PaymentId(payment_id or new_id()),
        order_id=OrderId(new_id()),
        cafe_id=corner.cafe_ref.cafe_id,
        order_number=1,
        method=Method.CUSTOMER_CREDIT,
        amount=amount,
        currency="AUD",
        reference="TT1",
        expires_at=NOON,
        customer_id="ann",
        account=account,
    )


async def test_a_charge_takes_the_money_once_however_often_it_is_asked_for(corner: Corner) -> None:
    holding, credit = await loaded(corner, 1000), gateway(corner)
    charge = charge_of(corner, 300, holding.ref)
    assert (await credit.verify(charge)).state is ChargeState.ABSENT
    first = await credit.initiate(charge)
    assert (first.state, first.amount) == (ChargeState.SUCCEEDED, 300)
    assert await credit.initiate(charge) == first
    assert await credit.verify(charge) == first
    assert await credit.cancel(charge) == first
    other = await credit.initiate(msgspec.structs.replace(charge, amount=400))
    assert (other.state, other.amount) == (ChargeState.SUCCEEDED, 300)
    assert await balance(corner, holding.ref) == 700


async def test_a_no_is_a_no_also_when_there_is_money_later(corner: Corner) -> None:
    holding, credit = anns(corner), gateway(corner)
    charge = charge_of(corner, 300, holding.ref)
    refused = await credit.initiate(charge)
    assert (refused.state, refused.reason) == (ChargeState.FAILED, "not enough credit")
    await loaded(corner, 1000)
    assert await credit.initiate(charge) == await credit.verify(charge) == await credit.cancel(charge) == refused
    assert await balance(corner, holding.ref) == 1000


async def test_what_was_given_up_is_never_taken(corner: Corner) -> None:
    holding, credit = await loaded(corner, 1000), gateway(corner)
    charge = charge_of(corner, 300, holding.ref)
    for _ in range(2):
        assert (await credit.cancel(charge)).state is ChargeState.CANCELLED
        assert (await credit.initiate(charge)).state is ChargeState.CANCELLED
    assert await balance(corner, holding.ref) == 1000


async def test_a_charge_that_is_taken_and_given_up_at_once_ends_in_one_way(corner: Corner) -> None:
    holding, credit = await loaded(corner, 1000), gateway(corner)
    for _ in range(5):
        charge = charge_of(corner, 10, holding.ref)
        heard: list[Any] = []

        async def hear(asking: Any, charge: Charge = charge, heard: list[Any] = heard) -> None:
            heard.append(await asking(charge))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear, credit.initiate)
            nursery.start_soon(hear, credit.cancel)
        assert heard[0].state is heard[1].state
    taken = await corner.events(AccountDebited)
    assert await balance(corner, holding.ref) == 1000 - 10 * len(taken)


async def test_a_refund_comes_back_once_and_a_card_payments_refund_may_become_credit(corner: Corner) -> None:
    holding, credit = await loaded(corner, 1000), gateway(corner)
    charge = charge_of(corner, 300, holding.ref)
    await credit.initiate(charge)
    back = RefundOrder(refund_id=new_id(), amount=100)
    assert (await credit.verify_refund(charge, back)).state is RefundState.ABSENT
    for _ in range(2):
        assert (await credit.refund(charge, back)).state is RefundState.SUCCEEDED
    assert (await credit.verify_refund(charge, back)).state is RefundState.SUCCEEDED
    assert await balance(corner, holding.ref) == 800
    by_card = charge_of(corner, 500, None)
    to_credit = RefundOrder(refund_id=new_id(), amount=500, account=holding.ref)
    assert (await credit.refund(by_card, to_credit)).state is RefundState.SUCCEEDED
    assert await balance(corner, holding.ref) == 1300
    assert (await credit.refund(by_card, RefundOrder(refund_id=new_id(), amount=1))).state is RefundState.FAILED


async def test_what_the_account_has_forgotten_is_looked_up_and_never_done_again(
    corner: Corner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tabletap.domain.account.state.ENTRIES_REMEMBERED", 3)
    holding, credit = await loaded(corner, 1000), gateway(corner)
    spent, never = charge_of(corner, 100, holding.ref), charge_of(corner, 100, holding.ref)
    back, lost = (RefundOrder(refund_id=new_id(), amount=50) for _ in range(2))
    await credit.initiate(spent)
    await credit.refund(spent, back)
    for _ in range(4):
        await corner.do(holding.ref, Grant(holding, new_id(), 1))
    assert (await credit.initiate(spent)).state is ChargeState.SUCCEEDED
    assert (await credit.verify(spent)).amount == 100
    assert (await credit.initiate(never)).state is ChargeState.CANCELLED
    assert (await credit.refund(spent, back)).state is RefundState.SUCCEEDED
    assert (await credit.refund(spent, lost)).state is RefundState.FAILED
    assert await balance(corner, holding.ref) == 954


async def test_a_payment_without_an_account_comes_to_nothing(corner: Corner) -> None:
    card = gateway(corner, AccountKind.GIFT_CARD)
    charge = charge_of(corner, 300, None)
    assert (await card.initiate(charge)).state is ChargeState.FAILED
    assert (await card.verify(charge)).state is ChargeState.FAILED
    assert (await card.cancel(charge)).state is ChargeState.CANCELLED


class Refusing:
    """A desk that has an answer ready."""

    def __init__(self, answer: Refusal) -> None:
        self.answer = answer

    async def tell(self, ref: Ref, command: Any, by: Any) -> Refusal:
        assert by == SYSTEM
        return self.answer

    async def query(self, ref: Ref, query: Any) -> Refusal:
        return self.answer


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (Code.NOT_EXECUTED, GatewayDown),
        (Code.OVERLOADED, GatewayDown),
        (Code.UNAVAILABLE, GatewayDown),
        (Code.OUTCOME_UNKNOWN, GatewaySilent),
        (Code.INTERNAL_ERROR, GatewaySilent),
    ],
)
async def test_what_is_in_the_way_of_an_answer_is_told_as_of_any_provider(
    corner: Corner, code: Code, raised: type[Exception]
) -> None:
    accounts = DeskAccounts(Refusing(Refusal(code, "so it is")), Written(corner))  # type: ignore[arg-type]
    credit = AccountGateway(AccountKind.CREDIT, accounts)
    charge = charge_of(corner, 300, anns(corner).ref)
    refund = RefundOrder(refund_id=new_id(), amount=1)
    for ask in (credit.initiate, credit.verify, credit.cancel):
        with pytest.raises(raised):
            await ask(charge)
    for ask_back in (credit.refund, credit.verify_refund):
        with pytest.raises(raised):
            await ask_back(charge, refund)
