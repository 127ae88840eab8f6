"""Every kind of work that is done by a job (spec H6): tagged, since it rests in a table until it is done."""

from datetime import datetime
from uuid import UUID

from .base import Ref, Task
from .charge import Charge, RefundOrder


class OpenCharge(Task, frozen=True):
    """Have the provider begin to take the money. The answer is the payment's to hear."""

    charge: Charge


class VerifyCharge(Task, frozen=True):
    """Ask the provider how the charge stands: it has not been heard of for a while, or an answer never came."""

    charge: Charge


class AbandonCharge(Task, frozen=True):
    """Have the provider give the charge up; it may turn out that the money has been taken."""

    charge: Charge


class GiveBack(Task, frozen=True):
    """Have the money refunded."""

    charge: Charge
    refund: RefundOrder


class VerifyRefund(Task, frozen=True):
    """Ask how the refund stands: an answer never came, or it takes its time."""

    charge: Charge
    refund: RefundOrder


class ProcessWebhook(Task, frozen=True):
    """Carry what a provider has told us (a row of the inbox) to the payment it is about."""

    inbox_id: UUID


class DeliverWebhook(Task, frozen=True):
    """Send a message to the endpoint of an integrator, once more if need be."""

    message_id: UUID


class WithdrawPayments(Task, frozen=True):
    """An item sold out ``at``: whoever is about to pay for it, and does not have it in the kitchen yet, must not."""

    cafe: Ref
    sku: str
    at: datetime


AnyTask = (
    OpenCharge
    | VerifyCharge
    | AbandonCharge
    | GiveBack
    | VerifyRefund
    | ProcessWebhook
    | DeliverWebhook
    | WithdrawPayments
)
