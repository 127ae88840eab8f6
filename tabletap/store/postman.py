"""The worker of outgoing webhooks: one attempt at a message, and when the next one is (spec H5).

The table of messages says how often it was tried; the queue only comes back when it is told to. A receiver that is slow
or down is tried by one job at a time, so that it takes no room from the others.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import trio

from tabletap.actors.ports import Later, Sent
from tabletap.actors.webhook_ports import Answer, Outgoing, Sender
from tabletap.domain.endpoint import GONE, pause_s, succeeded
from tabletap.domain.tasks import DeliverWebhook
from tabletap.store.endpoints import Endpoints
from tabletap.store.pool import Database, DatabaseDown, Retry

_log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Messages on their way to one endpoint."""

BUSY_S: Final = 1.0
FAILING_S: Final = 15.0
"""Until a message looks again whether there is room at its endpoint; longer where the last attempt failed."""

REMEMBERED: Final = 10_000
SWEEP_S: Final = 3600.0

_OUTGOING: Final = """
    SELECT endpoint_id, url, body, salt, CASE WHEN previous_until > $2 THEN previous_salt END, attempts, enabled
    FROM webhook_messages AS message JOIN webhook_endpoints AS endpoint ON endpoint.id = endpoint_id
    WHERE message.id = $1 AND message.status = 'pending'
"""
_NOTE: Final = """
    WITH noted AS (
        INSERT INTO webhook_attempts (endpoint_id, message_id, attempt, at, duration_ms, status, error, excerpt)
        VALUES ($2, $1, $3, $4, $5, $6, $7, $8)
    ), gone AS (
        UPDATE webhook_endpoints SET enabled = false, disabled_reason = 'the receiver says that it is gone (410)'
        WHERE id = $2 AND $10
    )
    UPDATE webhook_messages SET attempts = $3, status = $9 WHERE id = $1
"""
_FORGET: Final = """
    DELETE FROM webhook_messages WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM webhook_messages WHERE created_at < $1 AND status <> 'pending'
        ORDER BY created_at LIMIT 5000 FOR UPDATE SKIP LOCKED))
"""


class Postman:
    """``deliver`` is the worker of ``DeliverWebhook``; ``run()`` removes what is old, in a task."""

    def __init__(
        self,
        database: Database,
        endpoints: Endpoints,
        sender: Sender,
        *,
        now: Callable[[], datetime],
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311  spreads retries, keeps no secret
    ) -> None:
        self._database = database
        self._endpoints = endpoints
        self._sender = sender
        self._now = now
        self._jitter = jitter
        self._under_way: Counter[UUID] = Counter()
        self._failing: dict[UUID, None] = {}

    async def deliver(self, task: DeliverWebhook, sent: Sent) -> None:  # noqa: ARG002  all it needs is in the row
        """One attempt. Raises ``Later`` for the next one."""
        outgoing = await self._outgoing(task.message_id)
        if outgoing is None:
            return
        to = outgoing.endpoint_id
        if self._under_way[to] >= (1 if to in self._failing else AT_ONCE):
            raise Later(FAILING_S if to in self._failing else BUSY_S, "others are on their way to the same endpoint")
        self._under_way[to] += 1
        try:
            answer = await self._sender.send(outgoing)
            pause = await self._note(outgoing, answer)
        finally:
            self._under_way[to] -= 1
            if not self._under_way[to]:
                del self._under_way[to]
        if pause is not None:
            raise Later(pause, answer.error or f"it answered {answer.status}")

    async def _outgoing(self, message_id: UUID) -> Outgoing | None:
        """The message as it is to be sent now; None: it has been, or nobody wants it any more."""
        rows = await self._database.read(
            lambda connection: connection.fetch(_OUTGOING, message_id, self._now()),
        )
        if not rows:
            return None
        endpoint_id, url, body, salt, previous_salt, attempts, enabled = rows[0]
        if not enabled:
            await self._execute("UPDATE webhook_messages SET status = 'failed' WHERE id = $1", message_id)
            return None
        keys = tuple(self._endpoints.key(one) for one in (salt, previous_salt) if one is not None)
        return Outgoing(
            message_id=message_id, endpoint_id=endpoint_id, url=url, body=body, keys=keys, attempts=attempts
        )

    async def _note(self, outgoing: Outgoing, answer: Answer) -> float | None:
        """Write the attempt down; in how many seconds to try again, if at all."""
        attempt, to = outgoing.attempts + 1, outgoing.endpoint_id
        well = answer.status is not None and succeeded(answer.status)
        gone = answer.status == GONE
        pause = None if well or gone else pause_s(attempt, answer.retry_after_s)
        status = "delivered" if well else "failed" if pause is None else "pending"
        told = (answer.at, answer.duration_ms, answer.status, answer.error, answer.excerpt)
        await self._execute(_NOTE, outgoing.message_id, to, attempt, *told, status, gone)
        self._failing.pop(to, None)
        if not well:
            self._failing[to] = None
            if len(self._failing) > REMEMBERED:
                del self._failing[next(iter(self._failing))]
        return None if pause is None else max(pause * self._jitter(), answer.retry_after_s or 0.0)

    async def _execute(self, statement: str, *arguments: object) -> None:
        """One statement, which is a transaction of its own."""
        await self._database.read(lambda connection: connection.execute(statement, *arguments))

    # -- sweeping

    async def run(self) -> None:
        """Remove what is old, now and then, until cancelled."""
        while True:
            try:
                await self._execute(_FORGET, self._now() - self._endpoints.kept)
            except (DatabaseDown, Retry) as trouble:
                _log.info("the sweep of outgoing webhooks waits: %s", trouble)
            await trio.sleep(SWEEP_S)
