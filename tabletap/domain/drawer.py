"""A cash drawer's session (spec P5): opened with a float, fed by payments, counted at the end.

``expected`` = float + cash payments - cash refunds + paid in - paid out; closing records the difference to what was
counted. A closed drawer takes nothing more; open another session.
"""

from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec

from . import events as e
from .base import NOTHING, Command, Context, Decision, Event, Kind, Ref
from .errors import Code, Refusal, invalid
from .messages import TakeCash


class Drawer(msgspec.Struct, frozen=True):
    """``cash``: entry id -> cents of payments (refunds negative); ``moved``: paid in less paid out."""

    opened: e.DrawerOpened
    cash: dict[UUID, int] = {}
    moved: int = 0
    closed: e.DrawerClosed | None = None

    @property
    def ref(self) -> Ref:
        return Ref(Kind.DRAWER, self.opened.drawer_id, self.opened.cafe_id)

    @property
    def expected(self) -> int:
        return self.opened.float_amount + sum(self.cash.values()) + self.moved


class Pay(Command, frozen=True):
    """Cash in (positive) or out (negative) that is no sale: change fetched, milk bought."""

    amount: int
    reason: str


class Count(Command, frozen=True):
    """Close the session with ``counted`` cents in the drawer."""

    counted: int


DrawerCommand = Pay | Count | TakeCash


def decide(state: Drawer, command: DrawerCommand, _ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the drawer as it stands."""
    drawer_id = state.opened.drawer_id
    match command:
        case TakeCash():
            if command.entry_id in state.cash:
                return NOTHING
            return Decision(
                (
                    e.DrawerCashTaken(
                        drawer_id=drawer_id,
                        payment_id=command.payment_id,
                        entry_id=command.entry_id,
                        amount=command.amount,
                    ),
                )
            )
        case Pay():
            if state.closed:
                return Refusal(Code.DRAWER_CLOSED, "the drawer has been counted: open another session")
            if command.amount == 0 or state.expected + command.amount < 0:
                return invalid("amount", f"the drawer holds {state.expected} cents")
            return Decision((e.DrawerMoved(drawer_id=drawer_id, amount=command.amount, reason=command.reason),))
        case Count():
            if state.closed:
                if state.closed.counted == command.counted:
                    return NOTHING
                return Refusal(Code.DRAWER_CLOSED, "the drawer has been counted already")
            if command.counted < 0:
                return invalid("counted", "cannot be less than nothing")
            return Decision(
                (
                    e.DrawerClosed(
                        drawer_id=drawer_id,
                        counted=command.counted,
                        expected=state.expected,
                        difference=command.counted - state.expected,
                    ),
                )
            )
        case _:
            assert_never(command)


def born(event: e.DrawerOpened) -> Drawer:
    """The drawer as its cafe opened it."""
    return Drawer(opened=event)


def evolve(state: Drawer, event: Event) -> Drawer:
    """The drawer after ``event``."""
    match event:
        case e.DrawerCashTaken():
            return msgspec.structs.replace(state, cash=state.cash | {event.entry_id: event.amount})
        case e.DrawerMoved():
            return msgspec.structs.replace(state, moved=state.moved + event.amount)
        case e.DrawerClosed():
            return msgspec.structs.replace(state, closed=event)
        case _:
            return state


class DrawerView(msgspec.Struct, frozen=True, rename="camel"):
    """A drawer's session on the wire."""

    drawer_id: UUID
    name: str
    currency: str
    float_amount: int
    cash_payments: int
    moved: int
    expected: int
    opened_at: datetime
    counted: int | None
    difference: int | None


def view(state: Drawer) -> DrawerView:
    """The session as the wire tells it."""
    return DrawerView(
        drawer_id=state.opened.drawer_id,
        name=state.opened.name,
        currency=state.opened.currency,
        float_amount=state.opened.float_amount,
        cash_payments=sum(state.cash.values()),
        moved=state.moved,
        expected=state.expected,
        opened_at=state.opened.opened_at,
        counted=state.closed.counted if state.closed else None,
        difference=state.closed.difference if state.closed else None,
    )
