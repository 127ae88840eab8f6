"""Money is an integer of minor units (cents). Percentages are basis points (1 % = 100). Rounding is half-up."""

from collections.abc import Sequence
from typing import NewType

Cents = NewType("Cents", int)
BasisPoints = NewType("BasisPoints", int)

WHOLE = 10_000
"""100 % in basis points."""


def divide_half_up(numerator: int, denominator: int) -> int:
    """Divide and round half away from zero.

    >>> divide_half_up(5, 10), divide_half_up(-5, 10), divide_half_up(4, 10)
    (1, -1, 0)
    """
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient


def percent_of(amount: int, rate: int) -> int:
    """``rate`` basis points of ``amount`` cents.

    >>> percent_of(1050, 700)
    74
    """
    return divide_half_up(amount * rate, WHOLE)


def tax_within(amount: int, rate: int) -> int:
    """The tax that a tax-inclusive ``amount`` contains: ``amount * rate / (100 % + rate)``.

    >>> tax_within(1100, 1000)
    100
    """
    return divide_half_up(amount * rate, WHOLE + rate)


def split(amount: int, weights: Sequence[int]) -> list[int]:
    """Share ``amount`` in proportion to ``weights``; the shares sum to it exactly (largest remainder, first wins ties).

    >>> split(100, [1, 1, 1])
    [34, 33, 33]
    """
    whole = sum(weights)
    if whole <= 0 or any(weight < 0 for weight in weights):
        raise ValueError("weights must be non-negative and not all zero")
    sign = 1 if amount >= 0 else -1
    shares, remainders = [], []
    for weight in weights:
        share, remainder = divmod(abs(amount) * weight, whole)
        shares.append(share)
        remainders.append(remainder)
    missing = abs(amount) - sum(shares)
    by_remainder = sorted(range(len(shares)), key=lambda index: (-remainders[index], index))
    for index in by_remainder[:missing]:
        shares[index] += 1
    return [sign * share for share in shares]


def cash_rounding(amount: int, currency: str) -> int:
    """What to add to ``amount`` so that it can be paid in coins: AUD has no coin below 5 c, others round nothing.

    1-2 down, 3-4 up, 6-7 down, 8-9 up (Australian Treasury, Royal Australian Mint guidance on rounding).

    >>> [cash_rounding(1000 + cents, "AUD") for cents in range(10)]
    [0, -1, -2, 2, 1, 0, -1, -2, 2, 1]
    """
    if currency != "AUD":
        return 0
    return divide_half_up(amount, 5) * 5 - amount
