"""The worker of the inbox: carries what a provider has told us to the payment it is about, in the provider's order.

Jobs of one payment come one after the other. A webhook whose turn has not come waits, without holding up its payment's
line, and is given a job of its own when its predecessor has been told. A gap that stays open is given up: the payment
asks its provider how things stand, and the rest goes on. What comes late says nothing new of the charge, and only what
can be learned from nobody else (a dispute, a refund) is still passed on: to the payment, hearing it twice is no news.
"""

from collections.abc import Iterator

from tabletap.domain.base import SYSTEM, Command, Job, Kind, Ref
from tabletap.domain.errors import Refusal
from tabletap.domain.payment import HearCharge, HearDispute, HearRefund, VerifyNow
from tabletap.domain.tasks import ProcessWebhook

from .desk import Desk, come_back_if_not_now
from .ports import Heard, Sent
from .webhook_ports import GAP_KEY, Arrivals, Arrived, WebhookStatus

WORDS_CHARS = 1_000
"""As much as is kept of why an attempt failed."""


class NotTold(Exception):  # noqa: N818  read as a sentence at the raise
    """The payment refused what it was told: tried again, and a dead letter if it keeps refusing."""


class InboxWorker:
    """``process`` is the worker of ``ProcessWebhook``."""

    def __init__(self, arrivals: Arrivals, desk: Desk) -> None:
        self._arrivals = arrivals
        self._desk = desk

    async def process(self, task: ProcessWebhook, sent: Sent) -> None:
        """Do what is to be done about the row now; doing it again changes nothing."""
        assert isinstance(sent.message, Job)
        arrived = await self._arrivals.look_up(task.inbox_id)
        if arrived is None or arrived.status is WebhookStatus.PROCESSED:
            return
        sequence = arrived.heard.sequence
        in_turn = sequence is None or sequence == arrived.told + 1
        if sent.message.key.startswith(GAP_KEY):
            await self._look_at_gap(arrived, in_turn=in_turn)
        elif in_turn or arrived.out_of_turn or arrived.status is WebhookStatus.DEAD:
            # A job for a dead one: somebody has given it another life.
            await self._carry(arrived, *news(arrived.heard))
        elif sequence is not None and sequence <= arrived.told:
            await self._carry(arrived, *await self._late(arrived))
        else:
            await self._arrivals.hold(arrived.id)

    async def _look_at_gap(self, arrived: Arrived, *, in_turn: bool) -> None:
        """Beside the payment's line, so nothing is told here but that it should ask."""
        if arrived.status is WebhookStatus.WAITING and arrived.overdue:
            if not in_turn:
                await self._tell(arrived, VerifyNow())
            await self._arrivals.close_gap(arrived.id)

    async def _carry(self, arrived: Arrived, *commands: Command) -> None:
        try:
            for command in commands:
                await self._tell(arrived, command)
        except NotTold as failure:
            await self._arrivals.note_failure(arrived.id, str(failure)[:WORDS_CHARS])
            raise
        await self._arrivals.settle(arrived.id)

    async def _late(self, arrived: Arrived) -> list[Command]:
        """What was told meanwhile is newer than its word on the charge. A dispute that was won meanwhile is won again
        after this, or it would be open for ever."""
        commands = list(news(arrived.heard, late=True))
        if arrived.heard.dispute is not None:
            commands += [HearDispute(later) for later in await self._arrivals.disputes_after(arrived.id)]
        return commands

    async def _tell(self, arrived: Arrived, command: Command) -> None:
        payment = Ref(Kind.PAYMENT, arrived.payment_id, arrived.cafe_id)
        answer = await self._desk.tell(payment, command, SYSTEM)
        come_back_if_not_now(payment, answer)
        if isinstance(answer, Refusal):
            raise NotTold(f"{type(command).__name__}: {answer.code}: {answer.message}")


def news(heard: Heard, *, late: bool = False) -> Iterator[Command]:
    """What the payment is told. A provider that does not number its webhooks is asked, not believed, about a charge."""
    if heard.sequence is None:
        yield VerifyNow()
    elif heard.standing is not None and not late:
        yield HearCharge(heard.standing)
    if heard.refund is not None:
        yield HearRefund(*heard.refund)
    if heard.dispute is not None:
        yield HearDispute(heard.dispute)
