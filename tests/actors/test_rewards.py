"""Gift cards and points on real actors: at once, twice, across a restart, and never below nothing (spec W3, W4)."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import trio
from uuid_utils.compat import uuid7 as new_id

from tabletap.actors.account import GetAccount
from tabletap.actors.order import GetRewards
from tabletap.actors.runtime.testing import settle
from tabletap.domain import events as e
from tabletap.domain.account import AccountView, Discount, Grant, Holding, Use, points_of
from tabletap.domain.base import Kind, Ref
from tabletap.domain.cafe import GiftWish, PlaceOrder
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.settings import GiftCardRules, LoyaltyRules
from tabletap.domain.vocabulary import AccountKind, Cause, Channel, Method
from tests.domain.world import BANANA, SETTINGS, TOAST

from .corner import Corner, key

NUMBER = "+61412345678"
LOYAL = msgspec.structs.replace(
    SETTINGS, loyalty=LoyaltyRules(points_per_unit=2), gift_cards=GiftCardRules(valid_days=1)
)
DAY_S = 24 * 3600


@pytest.fixture
async def corner(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Corner]:
    corner = Corner(settings=LOYAL)
    async with corner.open():
        yield corner
    assert corner.crashes == []


def a_card(corner: Corner) -> Holding:
    cafe_id, ident = corner.cafe_ref.cafe_id, new_id()
    return Holding(Ref(Kind.ACCOUNT, ident, cafe_id), AccountKind.GIFT_CARD, "AUD", label="RC3R", serial=ident)


async def loaded(corner: Corner, holding: Holding, amount: int) -> Holding:
    await corner.do(holding.ref, Grant(holding, new_id(), amount))
    return holding


async def balance(corner: Corner, ref: Ref) -> int:
    found = await corner.desk.query(ref, GetAccount())
    assert isinstance(found, AccountView)
    return found.balance


@pytest.mark.parametrize("kind", ["a card", "a number"])
async def test_200_at_once_never_overdraw_and_each_that_was_taken_is_in_the_log_once(corner: Corner, kind: str) -> None:
    holding = a_card(corner) if kind == "a card" else points_of(corner.cafe_ref.cafe_id, NUMBER)
    await loaded(corner, holding, 1_000)
    uses = [Use(holding, new_id(), 7) for _ in range(200)]
    answers = await corner.at_once(*[(holding.ref, use) for use in uses])
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {refusal.code for refusal in refused} == {Code.INSUFFICIENT_FUNDS}
    assert len(answers) - len(refused) == 142
    assert await balance(corner, holding.ref) == 1_000 - 142 * 7
    logged = [debit.entry_id for debit in await corner.events(e.AccountDebited)]
    taken = [answer.transaction_id for answer in answers if isinstance(answer, AccountView)]
    assert len(set(logged)) == len(logged)
    assert set(logged) == set(taken)
    assert len(taken) == len(set(taken)), "an answer names the movement of somebody else"
    assert sum(corner.store.balances.values()) == 0


@pytest.mark.parametrize("kind", ["a card", "a number"])
async def test_a_key_50_at_once_takes_once(corner: Corner, kind: str) -> None:
    holding = a_card(corner) if kind == "a card" else points_of(corner.cafe_ref.cafe_id, NUMBER)
    await loaded(corner, holding, 1_000)
    answers = await corner.at_once(*[(holding.ref, Use(holding, new_id(), 10), key()) for _ in range(50)])
    assert sum(isinstance(answer, AccountView) for answer in answers) == 1
    assert await balance(corner, holding.ref) == 990


async def bought(corner: Corner, card: Holding, value: int, *wishes: Any, **facts: Any) -> tuple[Ref, Ref]:
    """An order with a card, and the transfer that is to pay it."""
    assert card.serial is not None
    wish = GiftWish(value, card.ref, card.serial, "RC3R")
    placed = await corner.do(
        corner.cafe_ref, PlaceOrder(channel=Channel.ONLINE, wishes=wishes, gift_cards=(wish,), **facts)
    )
    order = Ref(Kind.ORDER, placed.id, corner.cafe_ref.cafe_id)
    return order, await corner.pay(order, Method.QR_CODE_BANK_TRANSFER)


async def test_a_card_and_its_points_are_there_when_the_payment_is_complete_and_told_once(corner: Corner) -> None:
    corner.courier.twice = True
    card, ann = a_card(corner), e.Customer(phone="0412 345 678")
    order, payment = await bought(corner, card, 5_000, TOAST, customer=ann)
    await corner.take(payment, 5_901)
    await corner.settle()
    assert await balance(corner, card.ref) == 5_000
    assert await balance(corner, points_of(corner.cafe_ref.cafe_id, NUMBER).ref) == 18
    causes = [credit.cause for credit in await corner.events(e.AccountCredited)]
    assert causes.count(Cause.SOLD) == causes.count(Cause.EARNED) == 1
    rewards = await corner.desk.query(order, GetRewards())
    assert (len(rewards.cards), rewards.points) == (1, 18)


async def test_what_was_paid_before_a_crash_is_good_after_it() -> None:
    corner = Corner(settings=LOYAL)
    async with corner.open():
        card = a_card(corner)
        _, payment = await bought(corner, card, 5_000)
        corner.courier.held = True
        with trio.move_on_after(1):
            await corner.take(payment, 5_000)
        corner.cut_off()
    async with corner.open():
        await corner.settle()
        await settle(corner.system)
        assert await balance(corner, card.ref) == 5_000
    assert corner.store.balances[corner.cafe_ref.cafe_id, "gift_sold", "AUD"] == 0


async def test_a_card_expires_by_itself_also_when_the_server_was_down() -> None:
    corner = Corner(settings=LOYAL)
    async with corner.open():
        sold, other = a_card(corner), a_card(corner)
        for card in (sold, other):
            _, payment = await bought(corner, card, 5_000)
            await corner.take(payment, 5_000)
        await corner.settle()
        await corner.do(sold.ref, Use(sold, new_id(), 1_500))
    await trio.sleep(2 * DAY_S)
    async with corner.open():
        await trio.sleep(1)
        await corner.settle()
        assert await balance(corner, sold.ref) == await balance(corner, other.ref) == 0
    assert corner.store.balances[corner.cafe_ref.cafe_id, "breakage", "AUD"] == -8_500


async def test_redeemed_at_once_an_order_takes_no_more_than_it_owes_and_the_rest_comes_back(corner: Corner) -> None:
    order = await corner.place(BANANA)
    holding = await loaded(corner, points_of(corner.cafe_ref.cafe_id, NUMBER), 1_000)
    uses = [(holding.ref, Use(holding, new_id(), 50, discount=Discount(order, 50))) for _ in range(20)]
    answers = await corner.at_once(*uses)
    assert not [answer for answer in answers if isinstance(answer, Refusal)]
    await corner.settle()
    view = await corner.order(order)
    assert (view.discount, view.owed) == (150, 3)
    assert await balance(corner, holding.ref) == 850
    assert corner.store.balances[corner.cafe_ref.cafe_id, "receivable", "AUD"] == 3


async def test_the_ledger_keeps_points_and_money_apart(corner: Corner) -> None:
    order = await corner.place(TOAST)
    holding = await loaded(corner, points_of(corner.cafe_ref.cafe_id, NUMBER), 1_000)
    await corner.do(holding.ref, Use(holding, new_id(), 100, discount=Discount(order, 100)))
    await corner.settle()
    by_unit: dict[str, int] = {}
    for (_, account, unit), amount in corner.store.balances.items():
        by_unit[unit] = by_unit.get(unit, 0) + amount
        assert account.startswith(("points", "loyalty:")) == (unit == "PTS")
    assert by_unit == {"AUD": 0, "PTS": 0}
