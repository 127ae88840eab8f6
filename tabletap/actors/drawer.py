"""The drawer actor: ``domain.drawer`` on the one loop."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from tabletap.domain import drawer as rules
from tabletap.domain.base import Command, Context, Decision, Event, Ref
from tabletap.domain.drawer import Drawer
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.events import DrawerOpened

from .entity import Life, Query
from .ports import State

MISSING = Refusal(Code.NOT_FOUND, "there is no such drawer")


class GetDrawer(Query, frozen=True):
    """The drawer's session as it stands."""


class DrawerLife(Life[Drawer]):
    """A day's session: it needs no snapshot."""

    def born(self, ref: Ref, event: Event) -> Drawer:  # noqa: ARG002  the opening says it all
        """The session as it was opened."""
        assert isinstance(event, DrawerOpened)
        return rules.born(event)

    def decide(self, state: Drawer | None, command: Command, ctx: Context) -> Decision | Refusal:
        """By the rules; nothing can be asked of a drawer that was never opened."""
        return MISSING if state is None else rules.decide(state, cast("rules.DrawerCommand", command), ctx)

    def evolve(self, state: Drawer, event: Event) -> Drawer:
        """By the rules."""
        return rules.evolve(state, event)

    def reply(self, state: Drawer, births: Sequence[State], events: Sequence[Event]) -> Any:  # noqa: ARG002  its state says it
        """The session."""
        return rules.view(state)

    def answer(self, state: Drawer | None, query: Query, now: datetime) -> Any:  # noqa: ARG002  it does not age
        """The session's view, or that there is none."""
        assert isinstance(query, GetDrawer)
        return MISSING if state is None else rules.view(state)
