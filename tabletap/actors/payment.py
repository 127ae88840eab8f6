"""The payment actor: ``domain.payment`` on the one loop."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from tabletap.domain import payment as rules
from tabletap.domain.base import Command, Context, Decision, Event, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.events import PaymentInitiated
from tabletap.domain.payment import Payment

from .entity import Life, Query
from .ports import State

MISSING = Refusal(Code.NOT_FOUND, "there is no such payment")


class GetPayment(Query, frozen=True):
    """The payment as it stands."""


class PaymentLife(Life[Payment]):
    """A payment is short: it needs no snapshot."""

    def born(self, ref: Ref, event: Event) -> Payment:  # noqa: ARG002  the initiation says it all
        """The payment as its order admitted it."""
        assert isinstance(event, PaymentInitiated)
        return rules.born(event)

    def decide(self, state: Payment | None, command: Command, ctx: Context) -> Decision | Refusal:
        """By the rules; nothing can be asked of a payment that was never begun."""
        return MISSING if state is None else rules.decide(state, cast("rules.PaymentCommand", command), ctx)

    def evolve(self, state: Payment, event: Event) -> Payment:
        """By the rules."""
        return rules.evolve(state, event)

    def wake_at(self, state: Payment) -> datetime | None:
        """When an open payment is given up."""
        return rules.wake_at(state)

    def reply(self, state: Payment, births: Sequence[State], events: Sequence[Event]) -> Any:  # noqa: ARG002  its state says it
        """The payment."""
        return rules.view(state)

    def answer(self, state: Payment | None, query: Query, now: datetime) -> Any:  # noqa: ARG002  it does not age
        """The payment's view, or that there is none."""
        assert isinstance(query, GetPayment)
        return MISSING if state is None else rules.view(state)
