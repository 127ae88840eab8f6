"""The rows of the inbox, as its worker and its readers use them. Implements ``actors.webhook_ports.Arrivals``.

A job is given in the statement of the change that makes it necessary, so neither is there without the other.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from tabletap.actors.ports import Heard
from tabletap.actors.webhook_ports import GAP_KEY, Arrived, Rejection, Unplaced, WebhookStatus, WebhookView
from tabletap.domain.base import INSTALLATION_CAFE, SYSTEM, CafeId, PaymentId
from tabletap.domain.jobs import POLICIES
from tabletap.domain.tasks import ProcessWebhook
from tabletap.domain.vocabulary import Queue
from tabletap.store import codec, tables
from tabletap.store.batch import ROWS
from tabletap.store.pool import Connection, Database, Row

TRIES: Final = POLICIES[Queue.WEBHOOKS].attempts

SOUGHT_DAYS: Final = 3
"""For so long a provider is asked whose a charge is: as long as Stripe, unanswered, sends its webhooks again."""

_heard: Final = msgspec.json.Decoder(Heard)

_VIEW: Final = """
    id AS webhook_id, provider, event_id, type, status, attempts, received_at, payment_id, cafe_id, sequence,
    last_error, processed_at
"""


LINE: Final = "coalesce(payment_id, id)::text"
"""The key of a row's job: its payment's; its own, as long as nobody knows which that is."""


def give_jobs(rows: str, *, key: str = LINE, delay_s: str = "0") -> str:
    """Put a job for each of ``rows`` (what follows FROM: ``id``, ``cafe_id``, ``payment_id``) into its queue."""
    task = f"jsonb_build_object('type', '{ProcessWebhook.__name__}', 'inbox_id', id)"
    by = f"'{codec.encode(SYSTEM).decode()}'::jsonb"
    cafe = f"coalesce(cafe_id, '{INSTALLATION_CAFE}'::uuid)"
    job = f"gen_random_uuid(), {cafe}, '{Queue.WEBHOOKS}', {key}, {task}, {by}, 0, NULL::uuid, NULL::uuid, {delay_s}"
    return tables.JOBS.sql.replace(ROWS, f"(SELECT {job} FROM {rows})")


_LOOK_UP: Final = f"""
    SELECT id, provider, payment_id, cafe_id, status, out_of_turn, heard,
        coalesce(now() >= CASE WHEN cafe_id IS NULL THEN received_at + interval '{SOUGHT_DAYS} days' ELSE gap_at END,
            false) AS overdue,
        coalesce((SELECT max(sequence) FROM webhook_inbox AS other
                  WHERE other.payment_id = one.payment_id AND other.provider = one.provider AND other.id <> one.id
                      AND other.status IN ('processed', 'dead')), 0) AS told
    FROM webhook_inbox AS one WHERE id = $1 AND status <> 'ignored'
"""

_PLACE: Final = f"""
    WITH placed AS (
        UPDATE webhook_inbox AS one SET payment_id = $2, cafe_id = payments.cafe_id, attempts = 0,
            status = CASE WHEN payments.id IS NULL THEN 'ignored' ELSE 'pending' END
        FROM webhook_inbox AS before
            LEFT JOIN payments ON payments.id = $2 AND starts_with(payments.method, before.provider || '_')
        WHERE one.id = $1 AND before.id = one.id AND one.cafe_id IS NULL AND one.status <> 'ignored'
        RETURNING one.id, one.cafe_id, one.payment_id
    )
    {give_jobs("placed WHERE cafe_id IS NOT NULL")}
"""

_HOLD: Final = f"""
    WITH held AS (
        UPDATE webhook_inbox SET status = 'waiting', gap_at = now() + make_interval(secs => $2)
        WHERE id = $1 AND status = 'pending' RETURNING id, cafe_id, payment_id
    )
    {give_jobs("held", key=f"'{GAP_KEY}' || payment_id", delay_s="$2")}
"""

_RELEASE_NEXT: Final = f"""
    freed AS (
        UPDATE webhook_inbox AS next SET status = 'pending', gap_at = NULL FROM over
        WHERE next.payment_id = over.payment_id AND next.provider = over.provider AND next.status = 'waiting'
            AND next.sequence = over.sequence + 1
        RETURNING next.id, next.cafe_id, next.payment_id
    )
    {give_jobs("freed")}
"""
_SETTLE: Final = f"""
    WITH over AS (
        UPDATE webhook_inbox SET status = 'processed', processed_at = now(), gap_at = NULL
        WHERE id = $1 AND status <> 'processed' RETURNING provider, payment_id, sequence
    ), {_RELEASE_NEXT}
"""
_FAILED: Final = f"""
    WITH failed AS (
        UPDATE webhook_inbox SET attempts = attempts + 1, last_error = $2,
            status = CASE WHEN attempts + 1 >= $3 THEN 'dead' ELSE status END
        WHERE id = $1 RETURNING provider, payment_id, sequence, status
    ), over AS (SELECT * FROM failed WHERE status = 'dead'), {_RELEASE_NEXT}
"""
_CLOSE_GAP: Final = f"""
    WITH freed AS (
        UPDATE webhook_inbox AS waiting SET status = 'pending', gap_at = NULL, out_of_turn = true
        FROM webhook_inbox AS last
        WHERE last.id = $1 AND waiting.payment_id = last.payment_id AND waiting.provider = last.provider
            AND waiting.status = 'waiting' AND waiting.sequence <= last.sequence
        RETURNING waiting.id, waiting.cafe_id, waiting.payment_id, waiting.sequence
    )
    {give_jobs("freed ORDER BY sequence")}
"""
_REPLAY: Final = f"""
    WITH risen AS (
        UPDATE webhook_inbox SET status = 'pending', attempts = 0, out_of_turn = true
        WHERE id = $1 AND status = 'dead' RETURNING id, cafe_id, payment_id
    ), letters AS (
        DELETE FROM outbox_dead USING risen
        WHERE destination = '{Queue.WEBHOOKS}' AND message ->> 'inbox_id' = risen.id::text
    )
    {give_jobs("risen")}
"""


class InboxTable:
    """``wake``: there are new jobs. ``gap_s``: how long a webhook waits for its predecessor; ``tries``: attempts at it,
    as many as at its job."""

    def __init__(self, database: Database, gap_s: float, wake: Callable[[], None], tries: int = TRIES) -> None:
        self._database = database
        self._gap_s = gap_s
        self._tries = tries
        self._wake = wake

    async def look_up(self, webhook_id: UUID) -> Arrived | Unplaced | None:
        rows = await self._fetch(_LOOK_UP, webhook_id)
        return _found(rows[0]) if rows else None

    async def place(self, webhook_id: UUID, payment_id: PaymentId | None) -> None:
        await self._execute(_PLACE, webhook_id, payment_id)

    async def hold(self, webhook_id: UUID) -> None:
        await self._execute(_HOLD, webhook_id, self._gap_s)

    async def settle(self, webhook_id: UUID) -> None:
        await self._execute(_SETTLE, webhook_id)

    async def close_gap(self, webhook_id: UUID) -> None:
        await self._execute(_CLOSE_GAP, webhook_id)

    async def note_failure(self, webhook_id: UUID, words: str) -> None:
        await self._execute(_FAILED, webhook_id, words.replace("\0", " "), self._tries)

    async def listed(
        self, status: WebhookStatus | None, cafes: Collection[CafeId] | None, before: UUID | None, limit: int
    ) -> Sequence[WebhookView]:
        conditions, arguments = ["true"], list[Any]([limit])
        for condition, value in (
            ("status = ${}", status),
            ("cafe_id = ANY (${}::uuid[])", None if cafes is None else list(cafes)),
            ("(received_at, id) < (SELECT received_at, id FROM webhook_inbox WHERE id = ${})", before),
        ):
            if value is not None:
                arguments.append(value)
                conditions.append(condition.format(len(arguments)))
        rows = await self._fetch(
            f"""SELECT {_VIEW} FROM webhook_inbox WHERE {" AND ".join(conditions)}
                ORDER BY received_at DESC, id DESC LIMIT $1""",
            *arguments,
        )
        return [_view(row) for row in rows]

    async def rejections(self, limit: int) -> Sequence[Rejection]:
        rows = await self._fetch(
            """SELECT provider, at, reason, body_bytes, body_sha256 FROM webhook_rejections
               ORDER BY id DESC LIMIT $1""",
            limit,
        )
        return [
            Rejection(provider=provider, at=at, reason=reason, body_bytes=size, body_sha256=digest.hex())
            for provider, at, reason, size, digest in rows
        ]

    async def replay(self, webhook_id: UUID, cafes: Collection[CafeId] | None) -> WebhookView | None:
        named = f"SELECT {_VIEW} FROM webhook_inbox WHERE id = $1 AND ($2::uuid[] IS NULL OR cafe_id = ANY ($2))"
        rows = await self._fetch(named, webhook_id, None if cafes is None else list(cafes))
        if not rows:
            return None
        view = _view(rows[0])
        if view.status is not WebhookStatus.DEAD:
            return view
        await self._execute(_REPLAY, webhook_id)
        return msgspec.structs.replace(view, status=WebhookStatus.PENDING, attempts=0)

    async def forget(self, *, settled_before: datetime, dead_before: datetime, rejected_before: datetime) -> None:
        """Remove what is older."""

        async def work(connection: Connection) -> None:
            await connection.execute(
                """DELETE FROM webhook_inbox WHERE ctid = ANY (ARRAY(
                       SELECT ctid FROM webhook_inbox
                       WHERE (status IN ('processed', 'ignored') AND received_at < $1)
                           OR (status = 'dead' AND received_at < $2)
                       ORDER BY received_at LIMIT 5000 FOR UPDATE SKIP LOCKED))""",
                settled_before,
                dead_before,
            )
            await connection.execute("DELETE FROM webhook_rejections WHERE at < $1", rejected_before)

        await self._database.read(work)

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[Row]:
        return await self._database.read(lambda connection: connection.fetch(query, *arguments))

    async def _execute(self, statement: str, *arguments: Any) -> None:
        """One statement, which is a transaction of its own."""
        status = await self._database.read(lambda connection: connection.execute(statement, *arguments))
        if not status.endswith(" 0"):
            self._wake()


def _found(row: Row) -> Arrived | Unplaced:
    heard = _heard.decode(row["heard"])
    if row["cafe_id"] is None:
        assert heard.charge_id is not None
        return Unplaced(id=row["id"], provider=row["provider"], charge_id=heard.charge_id, overdue=row["overdue"])
    return Arrived(
        id=row["id"],
        payment_id=PaymentId(row["payment_id"]),
        cafe_id=CafeId(row["cafe_id"]),
        status=WebhookStatus(row["status"]),
        out_of_turn=row["out_of_turn"],
        overdue=row["overdue"],
        told=row["told"],
        heard=heard,
    )


def _view(row: Row) -> WebhookView:
    return WebhookView(**{**dict(row.items()), "status": WebhookStatus(row["status"])})
