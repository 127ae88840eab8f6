"""Cents are whole, rounding is half-up, and what is shared out sums to what was there."""

import doctest
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tabletap.domain import money
from tabletap.domain.money import cash_rounding, divide_half_up, percent_of, split, tax_within

AMOUNTS = st.integers(-10_000_000_00, 10_000_000_00)
RATES = st.integers(0, 10_000)
WEIGHTS = st.lists(st.integers(0, 1_000_000), min_size=1, max_size=12).filter(any)


def half_up(value: Fraction) -> int:
    """An independent judge: decimal's own rounding, on enough digits to be exact about halves."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def test_the_examples_in_the_documentation_are_true() -> None:
    result = doctest.testmod(money)
    assert result.attempted >= 5
    assert result.failed == 0


@given(AMOUNTS, WEIGHTS)
def test_a_split_sums_to_its_whole_and_each_share_is_within_a_cent_of_its_proportion(
    amount: int, weights: list[int]
) -> None:
    shares = split(amount, weights)
    assert sum(shares) == amount
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(amount * weight, sum(weights))) < 1


@given(AMOUNTS, WEIGHTS)
def test_a_split_gives_nothing_for_no_weight_and_never_the_other_sign(amount: int, weights: list[int]) -> None:
    for share, weight in zip(split(amount, weights), weights, strict=True):
        assert weight or share == 0
        assert share * amount >= 0


@given(AMOUNTS, WEIGHTS)
def test_a_larger_weight_never_gets_less(amount: int, weights: list[int]) -> None:
    pairs = sorted(zip(weights, split(abs(amount), weights), strict=True))
    shares = [share for _, share in pairs]
    for (lighter, less), (heavier, more) in pairwise(pairs):
        assert lighter == heavier or less <= more, shares


@given(AMOUNTS, WEIGHTS)
def test_a_split_of_a_debt_mirrors_the_split_of_a_credit(amount: int, weights: list[int]) -> None:
    assert split(-amount, weights) == [-share for share in split(amount, weights)]


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [1, -1], [2, -1]])
def test_a_split_without_a_whole_is_a_bug_of_the_caller(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(100, weights)


def test_the_tip_pool_of_the_conventions_comes_out_to_the_cent() -> None:
    assert split(75_00, [20, 30, 50]) == [15_00, 22_50, 37_50]


@given(AMOUNTS, st.integers(1, 1_000_000))
def test_division_rounds_halves_away_from_zero(numerator: int, denominator: int) -> None:
    assert divide_half_up(numerator, denominator) == half_up(Fraction(numerator, denominator))


@given(AMOUNTS, RATES)
def test_a_percentage_is_rounded_half_up_to_the_cent(amount: int, rate: int) -> None:
    assert percent_of(amount, rate) == half_up(Fraction(amount * rate, 10_000))


@given(st.integers(0, 10_000_000_00), RATES)
def test_the_tax_within_an_amount_is_rounded_half_up_and_never_more_than_it(amount: int, rate: int) -> None:
    tax = tax_within(amount, rate)
    assert tax == half_up(Fraction(amount * rate, 10_000 + rate))
    assert 0 <= tax <= amount


@given(st.integers(0, 10_000_000_00), RATES)
def test_tax_added_to_a_net_price_is_found_within_the_gross_price(net: int, rate: int) -> None:
    gross = net + percent_of(net, rate)
    assert abs(tax_within(gross, rate) - percent_of(net, rate)) <= 1


@pytest.mark.parametrize(
    ("amount", "to_pay"),
    [
        *((100 + cents, 100) for cents in (0, 1, 2)),
        *((100 + cents, 105) for cents in (3, 4, 5, 6, 7)),
        *((100 + cents, 110) for cents in (8, 9)),
        (1, 0),
        (2, 0),
        (3, 5),
    ],
)
def test_australian_cash_is_rounded_to_five_cents(amount: int, to_pay: int) -> None:
    assert amount + cash_rounding(amount, "AUD") == to_pay


@given(AMOUNTS)
def test_cash_rounding_moves_at_most_two_cents_and_lands_on_a_coin(amount: int) -> None:
    rounding = cash_rounding(amount, "AUD")
    assert abs(rounding) <= 2
    assert (amount + rounding) % 5 == 0


@given(AMOUNTS, st.sampled_from(["EUR", "USD", "NZD", "aud", ""]))
def test_other_currencies_round_no_cash(amount: int, currency: str) -> None:
    assume(currency != "AUD")
    assert cash_rounding(amount, currency) == 0
