"""The audit trail of an order (spec P10): every change of a state, told from the log.

Nothing is written for it. The log has who, when and why; from and to are what the rules make of it: states are followed
event by event, and what stands otherwise after an event has changed by it.
"""

from collections.abc import Mapping

import msgspec

from . import order as orders
from . import payment as payments
from .base import Event, Kind, Ref
from .events import OrderPlaced, PaymentInitiated
from .order import Order
from .payment import PAYMENT_MOVES, Payment
from .vocabulary import PaymentStatus


class Change(msgspec.Struct, frozen=True, rename={"was": "from"}):
    """``what``: ``order.status``, ``order.paymentStatus``, ``line.1``, ``payment.status``, ``refund.ID``... ``was``
    None: it was not there."""

    what: str
    was: str | None
    to: str | None


class Follower:
    """One order and its payments, as they were after the last event it was shown."""

    def __init__(self) -> None:
        self._orders: dict[Ref, Order] = {}
        self._payments: dict[Ref, Payment] = {}

    def follow(self, ref: Ref, author: Ref, event: Event) -> tuple[Change, ...]:
        """What ``event`` about ``ref``, decided by ``author``, has changed."""
        changes = self._change(ref, event)
        return changes if author == ref else (*changes, *self._change(author, event))

    def _change(self, ref: Ref, event: Event) -> tuple[Change, ...]:
        if ref.kind is Kind.ORDER:
            order = self._orders.get(ref)
            before = standing_of_order(order) if order else {}
            if order is None and not isinstance(event, OrderPlaced):
                return ()
            order = orders.born(event) if isinstance(event, OrderPlaced) else orders.evolve(order, event)  # type: ignore[arg-type]
            self._orders[ref] = order
            return _changes(before, standing_of_order(order))
        if ref.kind is Kind.PAYMENT:
            payment = self._payments.get(ref)
            before = standing_of_payment(payment) if payment else {}
            if payment is None and not isinstance(event, PaymentInitiated):
                return ()
            payment = (
                payments.born(event) if isinstance(event, PaymentInitiated) else payments.evolve(payment, event)  # type: ignore[arg-type]
            )
            self._payments[ref] = payment
            return _changes(before, standing_of_payment(payment))
        return ()


def standing_of_order(order: Order) -> dict[str, str]:
    """All of an order that has a state."""
    return {
        "order.status": order.status.value,
        "order.paymentStatus": order.payment_status.value,
        "order.accepted": str(order.accepted).lower(),
        "order.inKitchen": str(order.in_kitchen).lower(),
        **{f"line.{number}": line.status.value for number, line in order.lines.items()},
    }


def standing_of_payment(payment: Payment) -> dict[str, str]:
    """All of a payment that has a state."""
    won = payment.disputes_won
    return {
        "payment.status": payment.status.value,
        **{f"refund.{id_}": refund.status.value for id_, refund in payment.refunds.items()},
        **{f"dispute.{id_}": "won" if id_ in won else "open" for id_ in payment.disputes},
    }


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    whats = dict.fromkeys((*before, *after))
    return tuple(
        Change(what, before.get(what), after.get(what)) for what in whats if before.get(what) != after.get(what)
    )


def why(event: Event, changes: tuple[Change, ...]) -> str | None:
    """The reason that was given; for a payment's move without one, what such a move means."""
    reason: str | None = getattr(event, "reason", None)
    if reason is not None:
        return reason
    for change in changes:
        if change.what == "payment.status" and change.was is not None and change.to is not None:
            return PAYMENT_MOVES.get((PaymentStatus(change.was), PaymentStatus(change.to)))
    return None
