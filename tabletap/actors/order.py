"""The order actor: ``domain.order`` on the one loop."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from tabletap.domain import order as rules
from tabletap.domain import payment
from tabletap.domain.base import Command, Context, Decision, Event, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.events import Numbered, OrderPlaced
from tabletap.domain.holding import Holding
from tabletap.domain.order import Order

from .entity import Life, Query
from .ports import State

MISSING = Refusal(Code.NOT_FOUND, "there is no such order")


class GetOrder(Query, frozen=True):
    """The order as it stands."""


class GetRewards(Query, frozen=True):
    """The gift cards it buys, and whose points it earns."""


class Rewards(msgspec.Struct, frozen=True):
    """``cards``: its lines that are gift cards. ``points``: what it has earned, for ``points_of``."""

    cards: tuple[Numbered, ...]
    points: int
    points_of: Holding | None


class OrderLife(Life[Order]):
    """An order is short: it needs no snapshot. Its row follows every event, the birth of a payment included."""

    def born(self, ref: Ref, event: Event) -> Order:  # noqa: ARG002  the placing says it all
        """The order as its cafe admitted it."""
        assert isinstance(event, OrderPlaced)
        return rules.born(event)

    def decide(self, state: Order | None, command: Command, ctx: Context) -> Decision | Refusal:
        """By the rules; nothing can be asked of an order that was never placed."""
        return MISSING if state is None else rules.decide(state, cast("rules.OrderCommand", command), ctx)

    def evolve(self, state: Order, event: Event) -> Order:
        """By the rules."""
        return rules.evolve(state, event)

    def wake_at(self, state: Order) -> datetime | None:
        """When a scheduled order is due in the kitchen."""
        return rules.wake_at(state)

    def reply(self, state: Order, births: Sequence[State], events: Sequence[Event]) -> Any:  # noqa: ARG002  as it is
        """The payment where one was begun, else the order."""
        return payment.view(cast("payment.Payment", births[0])) if births else rules.view(state)

    def answer(self, state: Order | None, query: Query, now: datetime) -> Any:  # noqa: ARG002  it does not age
        """The order's view or what it brings, or that there is none."""
        if state is None:
            return MISSING
        match query:
            case GetOrder():
                return rules.view(state)
            case GetRewards():
                terms = state.placed.loyalty
                cards = tuple(line.facts for line in state.cards)
                return Rewards(cards, state.points, terms.holding if terms else None)
            case _:
                raise AssertionError(query)
