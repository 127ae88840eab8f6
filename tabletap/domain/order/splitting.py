"""Splitting the bill (spec P7): what one payment of several comes to, and which of them claims what.

A claim is no money: the amount that a payment sets aside is, and no two set the same cent aside, however the bill is
split. A claim only keeps two people from paying for the same line or share by mistake; it lapses with its payment.
"""

from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.money import split

from .commands import ByItem, ByShare, Split
from .state import Claim, Order


def claim_of(state: Order, wanted: Split) -> Claim | Refusal:
    """What a payment that splits the bill so is for."""
    return _lines(state, wanted) if isinstance(wanted, ByItem) else _share(state, wanted)


def _lines(state: Order, wanted: ByItem) -> Claim | Refusal:
    taken = {number: payment_id for payment_id, claim in state.held_claims.items() for number in claim.lines}
    if len(set(wanted.lines)) < len(wanted.lines):
        return invalid("split.lines", "a line stands twice")
    for index, number in enumerate(wanted.lines):
        line = state.lines.get(number)
        if line is None or not line.live:
            return invalid(f"split.lines.{index}", f"the order has no line {number}")
        if number in taken:
            what = "being paid for by somebody" if taken[number] in state.reserved else "paid for"
            return Refusal(Code.LINE_CLAIMED, f"line {number}, {line.facts.name}, is {what} already")
    amount = sum(state.lines[number].facts.due for number in wanted.lines)
    if amount == 0:
        return invalid("split.lines", "these lines cost nothing")
    return Claim(amount, lines=wanted.lines)


def _share(state: Order, wanted: ByShare) -> Claim | Refusal:
    """The next share that nobody has. The last one is what is left, whatever the bill has become meanwhile."""
    taken = {claim.share for claim in state.held_claims.values()}
    free = [number for number in range(1, wanted.of + 1) if (number, wanted.of) not in taken]
    if not free:
        return Refusal(Code.NOTHING_OWED, f"all {wanted.of} shares are paid or being paid: pay the rest as an amount")
    even = split(state.total, [1] * wanted.of)[free[0] - 1]
    amount = state.owed if len(free) == 1 else min(even, state.owed)
    if amount == 0:
        return invalid("split.of", f"a share of {wanted.of} comes to nothing")
    return Claim(amount, share=(free[0], wanted.of))
