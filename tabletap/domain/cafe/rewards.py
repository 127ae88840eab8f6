"""Gift cards that an order buys, and whose points it earns, by the cafe's rules of this moment."""

from tabletap.domain import events as e
from tabletap.domain import phone
from tabletap.domain.errors import Refusal, invalid
from tabletap.domain.giftcode import masked
from tabletap.domain.holding import Holding, points_of
from tabletap.domain.vocabulary import AccountKind

from .commands import GiftWish
from .state import Cafe

CARDS_AT_MOST = 20
"""On one order."""

GIFT_SKU = "gift-card"
"""What the line of a card is called where lines have names of the menu. It is no item of any menu."""


def gift_lines(state: Cafe, wishes: tuple[GiftWish, ...], first: int) -> tuple[e.Numbered, ...] | Refusal:
    """The cards as lines of a ticket, from the number ``first`` on: no tax (it is due on what they will buy), no charge
    for service, nothing to make."""
    rules = state.settings.gift_cards
    if wishes and not rules.sold:
        return invalid("giftCards", "this cafe sells none")
    if len(wishes) > CARDS_AT_MOST:
        return invalid("giftCards", f"at most {CARDS_AT_MOST} at once")
    for index, wish in enumerate(wishes):
        if not rules.min_value <= wish.value <= rules.max_value:
            return invalid(f"giftCards.{index}.value", f"must be {rules.min_value} to {rules.max_value} cents")
    return tuple(
        e.Numbered(
            line=first + index,
            sku=GIFT_SKU,
            name=f"Gift card {masked(wish.last_four)}",
            quantity=1,
            unit_price=wish.value,
            total=wish.value,
            tax=0,
            tax_class="",
            station="",
            gift=card_of(state, wish),
        )
        for index, wish in enumerate(wishes)
    )


def card_of(state: Cafe, wish: GiftWish) -> Holding:
    """The account that a card opens."""
    return Holding(
        wish.account,
        AccountKind.GIFT_CARD,
        state.settings.currency,
        label=wish.last_four,
        serial=wish.serial,
        valid_days=state.settings.gift_cards.valid_days,
    )


def loyalty_terms(state: Cafe, customer: e.Customer | None) -> e.LoyaltyTerms | None:
    """Who earns points by paying an order, if anybody does: a number that is none earns nothing."""
    rules = state.settings.loyalty
    number = phone.normalise(customer.phone, rules.country) if customer and customer.phone else None
    if number is None or rules.points_per_unit == 0:
        return None
    return e.LoyaltyTerms(points_of(state.id, number), rules.points_per_unit)
