"""Chargebacks: the provider takes money back that was paid, and perhaps gives it again."""

from tabletap.domain import events as e
from tabletap.domain.base import NOTHING, Decision
from tabletap.domain.errors import Refusal

from .asking import illegal
from .commands import HearDispute
from .state import TAKEN, P, Payment


def hear_dispute(state: Payment, command: HearDispute) -> Decision | Refusal:
    """Heard once when it is opened and once when it is won; lost is as it was when it was opened.

    The news of it may come in any order: one that was never heard of is opened, also where it has been won already.
    """
    dispute, started = command.dispute, state.initiated
    if state.status not in TAKEN:
        return illegal(state, P.REFUNDED)
    known = state.disputes.get(dispute.dispute_id)
    happened: list[e.PaymentDisputed | e.DisputeWon] = []
    if known is None:
        known = e.PaymentDisputed(
            payment_id=started.payment_id,
            order_id=started.order_id,
            method=started.method,
            dispute_id=dispute.dispute_id,
            amount=dispute.amount,
            fee=dispute.fee,
            reason=dispute.reason,
        )
        happened.append(known)
    if dispute.won and dispute.dispute_id not in state.disputes_won:
        won = e.DisputeWon(
            payment_id=started.payment_id,
            order_id=started.order_id,
            method=started.method,
            dispute_id=dispute.dispute_id,
            amount=known.amount,
        )
        happened.append(won)
    return Decision(tuple(happened)) if happened else NOTHING
