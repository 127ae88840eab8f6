"""The worker of the inbox: carries what a provider has told us to the payment it is about, in the provider's order.

Jobs of one payment come one after the other. A webhook whose turn has not come waits, without holding up its payment's
line, and is given a job of its own when its predecessor has been told. A gap that stays open is given up: the payment
asks its provider how things stand, and the rest goes on. What comes late says nothing new of the charge, and only what
can be learned from nobody else (a dispute, a refund) is still passed on: to the payment, hearing it twice is no news.

A webhook that names its charge only as its provider does is in no payment's line until the provider has said whose that
is (Stripe's disputes): its payment's name is with the provider from the first question on, so it need not be known here
yet what the provider calls it.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from tabletap.domain.base import SYSTEM, Command, Job, Kind, PaymentId, Ref
from tabletap.domain.errors import Refusal
from tabletap.domain.payment import HearCharge, HearDispute, HearRefund, VerifyNow
from tabletap.domain.tasks import ProcessWebhook

from .desk import Desk, come_back_if_not_now
from .ports import GatewayDown, GatewaySilent, Heard, Later, PaymentOf, Sent
from .webhook_ports import GAP_KEY, Arrivals, Arrived, Unplaced, WebhookStatus

WORDS_CHARS = 1_000
"""As much as is kept of why an attempt failed."""


ASKED_AGAIN_S = 30.0
"""How soon a provider that did not say whose a charge is is asked again."""


class NotTold(Exception):  # noqa: N818  read as a sentence at the raise
    """The payment refused what it was told: tried again, and a dead letter if it keeps refusing."""


class NotAnswered(Exception):  # noqa: N818  read as a sentence at the raise
    """The provider does not say whose a charge is, and has been asked for days."""


class InboxWorker:
    """``process`` is the worker of ``ProcessWebhook``. ``payment_of``: by provider."""

    def __init__(self, arrivals: Arrivals, desk: Desk, payment_of: Mapping[str, PaymentOf]) -> None:
        self._arrivals = arrivals
        self._desk = desk
        self._payment_of = payment_of

    async def process(self, task: ProcessWebhook, sent: Sent) -> None:
        """Do what is to be done about the row now; doing it again changes nothing."""
        assert isinstance(sent.message, Job)
        arrived = await self._arrivals.look_up(task.inbox_id)
        if isinstance(arrived, Unplaced):
            await self._place(arrived)
            return
        if arrived is None or arrived.status is WebhookStatus.PROCESSED:
            return
        if sent.message.key == str(arrived.id):
            return  # it has been placed: there is another job, in its payment's line
        sequence = arrived.heard.sequence
        in_turn = sequence is None or sequence == arrived.told + 1
        if sent.message.key.startswith(GAP_KEY):
            await self._look_at_gap(arrived, in_turn=in_turn)
        elif in_turn or arrived.out_of_turn or arrived.status is WebhookStatus.DEAD:
            # A job for a dead one: somebody has given it another life.
            await self._carry(arrived, *news(arrived.heard))
        elif sequence is not None and sequence <= arrived.told:
            await self._carry(arrived, *news(arrived.heard, late=True))
        else:
            await self._arrivals.hold(arrived.id)

    async def _place(self, unplaced: Unplaced) -> None:
        """Ask whose it is; a provider that is away is asked again, and that is no failure of the webhook's."""
        try:
            payment_id = await self._ask(unplaced)
        except (GatewayDown, GatewaySilent) as silence:
            words = f"nobody says whose {unplaced.charge_id} is: {silence}"[:WORDS_CHARS]
            if not unplaced.overdue:
                raise Later(ASKED_AGAIN_S, words) from silence
            await self._arrivals.note_failure(unplaced.id, words)
            raise NotAnswered(words) from silence
        await self._arrivals.place(unplaced.id, payment_id)

    async def _ask(self, unplaced: Unplaced) -> PaymentId | None:
        ask = self._payment_of.get(unplaced.provider)
        if ask is None:
            raise GatewayDown(f"{unplaced.provider} is not set up here any more")
        return await ask(unplaced.charge_id)

    async def _look_at_gap(self, arrived: Arrived, *, in_turn: bool) -> None:
        """Beside the payment's line, so nothing is told here but that it should ask."""
        if arrived.status is WebhookStatus.WAITING and arrived.overdue:
            if not in_turn:
                await self._tell(arrived, VerifyNow(), self._desk.tell)
            await self._arrivals.close_gap(arrived.id)

    async def _carry(self, arrived: Arrived, *commands: Command) -> None:
        try:
            for command in commands:
                # A question is answered before the rest is told: of money nobody knows of, nothing can be disputed.
                answered_first = isinstance(command, VerifyNow) and len(commands) > 1
                await self._tell(arrived, command, self._desk.ask if answered_first else self._desk.tell)
        except NotTold as failure:
            await self._arrivals.note_failure(arrived.id, str(failure)[:WORDS_CHARS])
            raise
        await self._arrivals.settle(arrived.id)

    async def _tell(self, arrived: Arrived, command: Command, tell: Callable[..., Awaitable[Any]]) -> None:
        payment = Ref(Kind.PAYMENT, arrived.payment_id, arrived.cafe_id)
        answer = await tell(payment, command, SYSTEM)
        come_back_if_not_now(payment, answer)
        if isinstance(answer, Refusal):
            raise NotTold(f"{type(command).__name__}: {answer.code}: {answer.message}")


def news(heard: Heard, *, late: bool = False) -> Iterator[Command]:
    """What the payment is told; ``late``: what was told meanwhile is newer than its word on the charge. A provider
    that does not number its webhooks is asked, not believed, about a charge."""
    if heard.sequence is None:
        yield VerifyNow()
    elif heard.standing is not None and not late:
        yield HearCharge(heard.standing)
    if heard.refund is not None:
        yield HearRefund(*heard.refund)
    if heard.dispute is not None:
        yield HearDispute(heard.dispute)
