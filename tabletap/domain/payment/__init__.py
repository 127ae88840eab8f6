"""A payment: one attempt to pay (part of) an order, by whatever way money comes.

Its order has set the amount aside before the payment exists, so a payment that completes always has an order waiting
for it; where the order is gone meanwhile, the money is *unapplied*: owed back, in its own account, never lost, and
given back by the cafe's rule.

* ``PAYMENT_MOVES`` and ``REFUND_MOVES`` are the whole lifecycle (spec P2, P6); docs/payments.md is drawn from them.
* Money that comes after the payment was given up (expired, cancelled, failed) completes it all the same, late: it is
  here, and pretending otherwise would lose it. Less than asked pays that much; more is owed back.
* A provider is asked by jobs and heard by commands (``HearCharge``...): asked, by webhook, twice, late, out of order.
  What is no news changes nothing. An answer that never came is looked up (``VerifyCharge``), never asked for again
  blindly; a payment given up is given up at its provider too, and followed until that is settled.
* Every question has its time (``wake_at``), kept with the payment: verification after 30 s and less and less often
  (spec P8), expiry, refunds under way. All of it survives a restart.

Reading order: ``state`` (the tables), ``commands``, ``taking``, ``refunding``, ``disputing``, ``asking``, ``view``.
"""

from typing import assert_never

import msgspec

from tabletap.domain.base import NOTHING, Context, Decision, Wake
from tabletap.domain.errors import Refusal
from tabletap.domain.messages import ClosePayment, ReturnUnapplied

from . import refunding, taking
from .commands import (
    Cancel,
    HearCharge,
    HearDispute,
    HearRefund,
    HearSilence,
    PaymentCommand,
    Refund,
    VerifyCash,
    VerifyNow,
    VerifyTransfer,
)
from .disputing import hear_dispute
from .state import (
    CLOSED,
    OPEN,
    PAYMENT_MOVES,
    REFUND_MOVES,
    TAKEN,
    UNDER_WAY,
    Payment,
    RefundRecord,
    born,
    evolve,
    silence_pause,
    verification_pause,
    wake_at,
)
from .view import PartView, PaymentView, RefundView, part_view, view

__all__ = [
    "CLOSED",
    "OPEN",
    "PAYMENT_MOVES",
    "REFUND_MOVES",
    "TAKEN",
    "UNDER_WAY",
    "Cancel",
    "HearCharge",
    "HearDispute",
    "HearRefund",
    "HearSilence",
    "PartView",
    "Payment",
    "PaymentCommand",
    "PaymentView",
    "Refund",
    "RefundRecord",
    "RefundView",
    "VerifyCash",
    "VerifyNow",
    "VerifyTransfer",
    "born",
    "decide",
    "evolve",
    "part_view",
    "silence_pause",
    "verification_pause",
    "view",
    "wake_at",
]


def decide(state: Payment, command: PaymentCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the payment as it stands."""
    match command:
        case VerifyCash():
            return taking.verify_cash(state, command, ctx)
        case VerifyTransfer():
            return taking.verify_transfer(state, command, ctx)
        case VerifyNow():
            return taking.verify_now(state)
        case Cancel():
            return taking.cancel(state, command.reason, ctx)
        case ClosePayment():
            return taking.cancel(state, command.reason, ctx) if state.status in OPEN else NOTHING
        case Refund():
            return refunding.refund(state, command, ctx)
        case ReturnUnapplied():
            return refunding.return_unapplied(state, command, ctx)
        case HearCharge():
            return taking.hear_charge(state, command, ctx)
        case HearRefund():
            return refunding.hear_refund(state, command, ctx)
        case HearDispute():
            return hear_dispute(state, command)
        case HearSilence():
            if command.refund_id is not None:
                return refunding.hear_silence(state, command, ctx)
            return taking.hear_silence(state, command, ctx)
        case Wake():
            return _wake(state, ctx)
        case _:
            assert_never(command)


def _wake(state: Payment, ctx: Context) -> Decision:
    own = taking.wake(state, ctx)
    after = state
    for event in own.events:
        after = evolve(after, event)
    refunds = refunding.wake(after, ctx)
    return msgspec.structs.replace(own, events=(*own.events, *refunds.events), jobs=(*own.jobs, *refunds.jobs))
