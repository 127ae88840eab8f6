"""What follows from being paid, beside the kitchen: gift cards become good, points are earned and used.

Cards and points live in accounts of their own (``domain.account``), which are told by messages: each movement has an id
that is made here once, so that a message that comes twice moves nothing twice.
"""

from collections import Counter

import msgspec

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Context, Decision, Event, Message
from tabletap.domain.messages import PutOn, TakeBack, TakeDiscount
from tabletap.domain.money import divide_half_up, split
from tabletap.domain.vocabulary import Cause

from .following import follow_money
from .state import CLOSED, Order, S, evolve

UNIT = 100
"""Cents of one whole unit of a currency."""


def with_rewards(state: Order, decision: Decision, ctx: Context) -> Decision:
    """The decision with what follows from it for the gift cards on the order and the points it earns."""
    if not state.cards and state.placed.loyalty is None:
        return decision
    after = state
    for event in decision.events:
        after = evolve(after, event)
    cards, told_cards = _cards(after, ctx)
    points, told_points = _points(after, ctx)
    back = _cards_back(state, after, ctx)
    return msgspec.structs.replace(
        decision,
        events=(*decision.events, *cards, *points),
        messages=(*decision.messages, *told_cards, *back, *told_points),
    )


def _cards(state: Order, ctx: Context) -> tuple[tuple[Event, ...], tuple[Message, ...]]:
    """The cards of an order that has just been paid in full."""
    if not state.cards or state.cards_good or not state.paid_up or state.status is S.CANCELLED:
        return (), ()
    reference = str(state.placed.order_id)
    loads = tuple(
        Message(card.ref, PutOn(card, ctx.new_id(), line.facts.total, Cause.SOLD, reference))
        for line in state.cards
        if (card := line.facts.gift) is not None
    )
    return (e.CardsSold(state.placed.order_id),), loads


def _cards_back(before: Order, after: Order, ctx: Context) -> tuple[Message, ...]:
    """All that was paid has been given back: so is what the cards still have."""
    if not before.cards_good or before.kept == 0 or after.kept > 0:
        return ()
    return tuple(
        Message(card.ref, TakeBack(card, ctx.new_id(), line.facts.total, str(after.placed.order_id)))
        for line in after.cards
        if (card := line.facts.gift) is not None
    )


def _points(state: Order, ctx: Context) -> tuple[tuple[Event, ...], tuple[Message, ...]]:
    """What has been paid and kept is worth points once the order is paid; no card that is sold earns any."""
    terms = state.placed.loyalty
    if terms is None or not (state.paid_up or state.points):
        return (), ()
    spent = max(0, state.kept - sum(line.facts.total for line in state.cards))
    points = spent // UNIT * terms.points_per_unit
    if points == state.points:
        return (), ()
    more, reference = points - state.points, str(state.placed.order_id)
    told = (
        PutOn(terms.holding, ctx.new_id(), more, Cause.EARNED, reference)
        if more > 0
        else TakeBack(terms.holding, ctx.new_id(), -more, reference)
    )
    return (e.PointsCounted(state.placed.order_id, points),), (Message(terms.holding.ref, told),)


def take_discount(state: Order, command: TakeDiscount, ctx: Context) -> Decision:
    """Owe so much less; or give the points back, where so much is not owed any more."""
    if command.discount_id in state.discounts:
        return NOTHING
    if state.status in CLOSED or command.amount > state.owed:
        return Decision(messages=(_points_back(command, state, ctx),))
    discounted = e.OrderDiscounted(
        order_id=state.placed.order_id,
        discount_id=command.discount_id,
        amount=command.amount,
        tax=_tax_of(state, command.amount),
        points=command.points,
        holding=command.holding,
        owed=state.unsettled - command.amount,
    )
    return Decision((discounted, *follow_money(evolve(state, discounted), ctx)))


def _tax_of(state: Order, amount: int) -> dict[str, int]:
    """The tax that ``amount`` of the order contains, by class: of each line, in proportion to what is paid for it."""
    live = [line.facts for line in state.lines.values() if line.live]
    tax = Counter[str]()
    for share, facts in zip(split(amount, [facts.due for facts in live]), live, strict=True):
        for tax_class, contained in facts.taxes.items():
            if facts.due and contained:
                tax[tax_class] += divide_half_up(contained * share, facts.due)
    return {tax_class: cents for tax_class, cents in tax.items() if cents}


def return_discounts(state: Order, ctx: Context) -> tuple[tuple[e.DiscountReturned, ...], tuple[Message, ...]]:
    """The order is cancelled: what its points took off is owed no less, and the points are back."""
    returned = tuple(
        e.DiscountReturned(order_id=one.order_id, discount_id=one.discount_id, amount=one.amount, tax=one.tax)
        for one in state.discounts.values()
    )
    back = tuple(_points_back(one, state, ctx) for one in state.discounts.values())
    return returned, back


def _points_back(given: TakeDiscount | e.OrderDiscounted, state: Order, ctx: Context) -> Message:
    reference = str(state.placed.order_id)
    put = PutOn(given.holding, ctx.new_id(), given.points, Cause.RETURNED, reference, returns=given.discount_id)
    return Message(given.holding.ref, put)
