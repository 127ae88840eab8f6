"""An order: from the basket to the table.

Three axes, never mixed (spec O4): where the order stands, where each line stands at its station, and what has been
paid. The cafe admits an order (``cafe.decide``); from then on it lives here.

* ``ORDER_MOVES`` and ``ITEM_MOVES`` are the whole lifecycle. A move that is not in its table is refused by name; a
  move to where the order or line already stands changes nothing and is no error, so that every retry is safe.
* The order follows its lines: the first started line makes it ``preparing``, the last ready one ``ready``; a recall
  takes it back. ``paid`` and ``payment_pending`` are said only while nothing is being made; the payment status always.
* The kitchen has the order once it is *released*: approved where the cafe approves, paid where it wants that first,
  and due where it was scheduled. Until then no line moves.
* ``total = paid + reserved + owed`` while it lives: each payment sets its amount aside before any money moves, so no
  two can take the same cent. A sale that is taken back (void, cancel) may not cut into money that was not given back:
  a refund counts when it is completed, not when it is promised.
* Gift cards on it are good, and points are earned, once it is paid; points may become a discount: less to pay, nothing
  that was paid. Card and points are accounts of their own, told by messages.
* What has sold out before the kitchen has the order is not paid for: payments in flight are withdrawn.

Reading order: ``state`` (the tables), ``commands``, ``making``, ``changing``, ``charging``, ``paying``, ``splitting``,
``rewarding``, ``following``, ``view``.
"""

from typing import assert_never

from tabletap.domain.base import Context, Decision, Wake
from tabletap.domain.errors import Refusal
from tabletap.domain.messages import Absorb, NoteRefund, Release, Settle, TakeDiscount, Unmerge

from .changing import absorb, change, merge_into, move_table, unmerge
from .charging import number_lines
from .commands import (
    MAX_SHARES,
    MAX_TIP,
    Accept,
    ByItem,
    ByShare,
    Change,
    InitiatePayment,
    MergeInto,
    MoveItem,
    MoveOrder,
    MoveTable,
    OrderCommand,
    Split,
    Withdraw,
)
from .following import release_to_kitchen
from .making import accept, move_item, move_order
from .paying import ACCOUNT_FIELD, initiate_payment, note_refund, release_payment, settle, withdraw
from .rewarding import take_discount, with_rewards
from .state import CLOSED, DONE, ITEM_MOVES, ORDER_MOVES, Line, Order, born, evolve, wake_at
from .view import LineView, OrderView, ShareView, line_view, view

__all__ = [
    "ACCOUNT_FIELD",
    "CLOSED",
    "DONE",
    "ITEM_MOVES",
    "MAX_SHARES",
    "MAX_TIP",
    "ORDER_MOVES",
    "Accept",
    "ByItem",
    "ByShare",
    "Change",
    "InitiatePayment",
    "Line",
    "LineView",
    "MergeInto",
    "MoveItem",
    "MoveOrder",
    "MoveTable",
    "Order",
    "OrderCommand",
    "OrderView",
    "ShareView",
    "Split",
    "Withdraw",
    "born",
    "decide",
    "evolve",
    "line_view",
    "number_lines",
    "view",
    "wake_at",
]


def decide(state: Order, command: OrderCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the order as it stands."""
    decision = _decide(state, command, ctx)
    return decision if isinstance(decision, Refusal) else with_rewards(state, decision, ctx)


def _decide(state: Order, command: OrderCommand, ctx: Context) -> Decision | Refusal:
    match command:
        case Accept():
            return accept(state, ctx)
        case MoveOrder():
            return move_order(state, command, ctx)
        case MoveItem():
            return move_item(state, command, ctx)
        case Change():
            return change(state, command, ctx)
        case MoveTable():
            return move_table(state, command)
        case MergeInto():
            return merge_into(state, command)
        case Absorb():
            return absorb(state, command, ctx)
        case Unmerge():
            return unmerge(state, command.into)
        case InitiatePayment():
            return initiate_payment(state, command, ctx)
        case Withdraw():
            return withdraw(state, command)
        case Settle():
            return settle(state, command, ctx)
        case Release():
            return release_payment(state, command)
        case NoteRefund():
            return note_refund(state, command)
        case TakeDiscount():
            return take_discount(state, command, ctx)
        case Wake():
            return Decision(release_to_kitchen(state, ctx))
        case _:
            assert_never(command)
