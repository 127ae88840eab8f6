"""The parts of a server that money goes through, wired together; ``app`` puts them into the whole.

Gateways and who asks them, the inbox of what providers tell, the endpoints of what we tell others, the net under all
of it. Built before the doors and run beside the actors; stopping them loses nothing, since all they do rests in the
database until it is done.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import trio
from uuid_utils.compat import uuid7

from tabletap.actors.account import DeskAccounts
from tabletap.actors.cashier import Cashier
from tabletap.actors.desk import Desk
from tabletap.actors.inbox import InboxWorker
from tabletap.actors.ports import Publisher, Sent, Workers
from tabletap.actors.reconciliation import Reconciliation
from tabletap.actors.withdrawing import Withdrawing
from tabletap.domain.base import Task
from tabletap.domain.charge import Charge
from tabletap.domain.tasks import (
    AbandonCharge,
    DeliverWebhook,
    GiveBack,
    OpenCharge,
    ProcessWebhook,
    VerifyCharge,
    VerifyRefund,
    WithdrawPayments,
)
from tabletap.domain.vocabulary import AccountKind, Method, Queue
from tabletap.gateways.account import AccountGateway
from tabletap.gateways.registry import gateways
from tabletap.gateways.standard_webhooks import WebhookSender
from tabletap.settings import Settings, secret_of
from tabletap.store.endpoints import Endpoints
from tabletap.store.forwarder import Forwarder
from tabletap.store.holdings import Holdings
from tabletap.store.inbox import Inbox
from tabletap.store.pool import Database
from tabletap.store.postman import Postman
from tabletap.store.reader import Reader
from tabletap.store.rounds import Rounds


class Banking:
    """``wake_queues``: have the workers look for jobs; ``wake_outbox``: the relay, for all that waits.
    ``return_to``: the page a customer comes back to."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        reader: Reader,
        publisher: Publisher,
        desk: Desk,
        *,
        wake_queues: Callable[[], None],
        wake_outbox: Callable[[], None],
        public_url: Callable[[], str],
        return_to: Callable[[Charge], str],
        now: Callable[[], datetime],
    ) -> None:
        accounts = DeskAccounts(desk, Holdings(database))
        self.registry = gateways(
            payconic=settings.payconic,
            stripe=settings.stripe,
            accounts={
                Method.CUSTOMER_CREDIT: AccountGateway(AccountKind.CREDIT, accounts),
                Method.GIFT_CARD: AccountGateway(AccountKind.GIFT_CARD, accounts),
            },
            public_url=public_url,
            return_to=return_to,
        )
        self.cashier = Cashier(self.registry.by_method, desk)
        tries = settings.queues[Queue.WEBHOOKS].attempts
        self.inbox = Inbox(database, settings.inbox, wake_queues, now=now, tries=tries)
        self.inbox_worker = InboxWorker(self.inbox, desk, self.registry.payment_of)
        self.withdrawing = Withdrawing(reader, desk)
        self.endpoints = Endpoints(database, settings.endpoints, secret_of(settings), wake_queues, now=now)
        self.forwarder = Forwarder(self.endpoints, reader, publisher)
        sender = WebhookSender(timeout_s=settings.endpoints.timeout_s, private=settings.endpoints.private_networks)
        self.postman = Postman(database, self.endpoints, sender, now=now)
        self.reconciliation = Reconciliation(
            rounds=Rounds(database),
            desk=desk,
            gateways=self.registry.by_method,
            wake_outbox=wake_outbox,
            clock=now,
            new_id=uuid7,
            settings=settings.reconciliation,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.inbox.run)
                nursery.start_soon(self.forwarder.run)
                nursery.start_soon(self.postman.run)
                nursery.start_soon(self.reconciliation.run)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await self.registry.aclose()


def workers(banking: Callable[[], Banking]) -> Workers:
    """Who does which task. The relay is there before they are: it asks for them when it has work."""

    async def charge(task: Any, _: Sent) -> None:
        await banking().cashier.charge(task)

    async def refund(task: Any, _: Sent) -> None:
        await banking().cashier.refund(task)

    async def webhook(task: Any, sent: Sent) -> None:
        await banking().inbox_worker.process(task, sent)

    async def withdraw(task: Any, sent: Sent) -> None:
        await banking().withdrawing.withdraw(task, sent)

    async def deliver(task: Any, sent: Sent) -> None:
        await banking().postman.deliver(task, sent)

    doing: Mapping[type[Task], Any] = {
        OpenCharge: charge,
        VerifyCharge: charge,
        AbandonCharge: charge,
        GiveBack: refund,
        VerifyRefund: refund,
        ProcessWebhook: webhook,
        WithdrawPayments: withdraw,
        DeliverWebhook: deliver,
    }
    return doing
