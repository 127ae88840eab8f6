"""Out of which account a payment is made, by whose word, and onto whose credit it may be refunded (spec W1, A2)."""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tabletap.domain.access import Principal, Subject
from tabletap.domain.account import Grant, Holding, credit_account, gift_account
from tabletap.domain.base import OrderId, Role
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.vocabulary import AccountKind, CreditScope, Method
from tabletap.http.operations.base import Call
from tabletap.http.operations.payers import Payer, payer_of
from tests.actors.corner import Corner
from tests.domain.world import SETTINGS

CARD, CREDIT, GIFT = Method.PAYCONIC_CARD, Method.CUSTOMER_CREDIT, Method.GIFT_CARD
ORDER = OrderId(UUID(int=1))


@pytest.fixture
async def corner():
    async with Corner().open() as opened:
        yield opened


def a_call(corner, principal, *, owner=None) -> Call:
    cafe_id = corner.cafe_ref.cafe_id
    services: Any = SimpleNamespace(desk=corner.desk)
    return Call(services=services, principal=principal, params={}, subject=Subject(cafe_id, ORDER, owner))


def person(corner, role: Role, user: str) -> Principal:
    return Principal(role=role, user=user, cafes=frozenset({corner.cafe_ref.cafe_id}))


def holding(ref, kind=AccountKind.CREDIT, currency="AUD") -> Holding:
    return Holding(ref, kind, currency, "ada")


async def grant(corner, ref, amount, **facts) -> None:
    await corner.do(ref, Grant(holding(ref, **facts), corner.house.new_id(), amount))


async def test_a_customer_pays_out_of_their_own_credit_and_is_refunded_there(corner):
    own = credit_account(corner.cafe_ref.cafe_id, "ada", CreditScope.CAFE)
    await grant(corner, own, 700)
    call = a_call(corner, person(corner, Role.CUSTOMER, "ada"), owner="ada")
    assert await payer_of(call, CREDIT, None, None, SETTINGS) == Payer("ada", own, 700, own)


async def test_credit_is_held_where_the_cafe_says(corner):
    house = credit_account(corner.cafe_ref.cafe_id, "ada", CreditScope.INSTALLATION)
    await grant(corner, house, 50)
    settings = msgspec.structs.replace(SETTINGS, credit=CreditScope.INSTALLATION)
    call = a_call(corner, person(corner, Role.CUSTOMER, "ada"), owner="ada")
    assert await payer_of(call, CREDIT, None, None, settings) == Payer("ada", house, 50, house)


async def test_who_never_had_credit_has_none(corner):
    call = a_call(corner, person(corner, Role.CUSTOMER, "ada"), owner="ada")
    payer = await payer_of(call, CREDIT, None, None, SETTINGS)
    assert payer.funds == 0


@pytest.mark.parametrize("named", [None, "ada"])
async def test_whoever_holds_an_order_s_token_spends_nobody_s_credit(corner, named):
    call = a_call(corner, Principal(role=Role.CUSTOMER, order_id=ORDER), owner="ada")
    refused = await payer_of(call, CREDIT, named, None, SETTINGS)
    assert isinstance(refused, Refusal)
    assert refused.code is Code.FORBIDDEN


async def test_staff_spend_the_credit_of_whom_they_name(corner):
    hers = credit_account(corner.cafe_ref.cafe_id, "ada", CreditScope.CAFE)
    await grant(corner, hers, 700)
    call = a_call(corner, person(corner, Role.COUNTER, "sam"))
    assert (await payer_of(call, CREDIT, "ada", None, SETTINGS)).account == hers
    assert (await payer_of(call, CREDIT, None, None, SETTINGS)).code is Code.VALIDATION_ERROR


async def test_a_gift_card_pays_for_whoever_knows_its_code(corner):
    card = gift_account(corner.cafe_ref.cafe_id, "GIFT-2345-ABCD")
    await grant(corner, card, 2_000, kind=AccountKind.GIFT_CARD)
    call = a_call(corner, Principal(role=Role.CUSTOMER, order_id=ORDER))
    assert await payer_of(call, GIFT, None, "gift 2345 abcd", SETTINGS) == Payer(None, card, 2_000)
    unknown = await payer_of(call, GIFT, None, "GIFT-2345-ABCE", SETTINGS)
    assert [error.field for error in unknown.errors] == ["giftCard"]


async def test_an_account_in_another_currency_does_not_pay_here(corner):
    card = gift_account(corner.cafe_ref.cafe_id, "EURO")
    await grant(corner, card, 2_000, kind=AccountKind.GIFT_CARD, currency="EUR")
    refused = await payer_of(a_call(corner, person(corner, Role.COUNTER, "sam")), GIFT, None, "EURO", SETTINGS)
    assert [error.field for error in refused.errors] == ["currency"]


@pytest.mark.parametrize(
    ("role", "named", "owner", "whose"),
    [
        (Role.COUNTER, "ada", None, "ada"),
        (Role.COUNTER, None, "bob", "bob"),
        (Role.COUNTER, None, None, None),
        (Role.CUSTOMER, None, "sam", "sam"),
        (Role.CUSTOMER, "ada", "sam", "sam"),
    ],
)
async def test_a_refund_may_go_to_whom_staff_name_or_whose_order_it_is(corner, role, named, owner, whose):
    payer = await payer_of(a_call(corner, person(corner, role, "sam"), owner=owner), CARD, named, None, SETTINGS)
    expected = whose and credit_account(corner.cafe_ref.cafe_id, whose, CreditScope.CAFE)
    assert (payer.credit, payer.account) == (expected, None)
