"""Endpoints of integrators, and the messages for them (spec H5). Implements ``actors.webhook_ports.Endpoints``.

A cafe that has endpoints has a cursor in its log. Messages, their jobs and the cursor move in one transaction, so each
event becomes one message per endpoint, whatever is killed when. Whoever changes which endpoints there are holds the
cursor's row: an endpoint hears everything from the place in the log where the cursor was when it came.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from uuid_utils.compat import uuid7

from tabletap.actors.webhook_ports import AttemptView, EndpointView
from tabletap.domain.base import CafeId, Job
from tabletap.domain.tasks import DeliverWebhook
from tabletap.domain.vocabulary import Queue
from tabletap.realtime.outgoing import News, test_news
from tabletap.store.jobs import insert
from tabletap.store.pool import Connection, Database, Row

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  what stands before the secrets
SALT_BYTES: Final = 32
BOTH_SIGN: Final = timedelta(hours=24)
"""After a rotation, so that receivers have time to learn the new secret."""

_VIEW: Final = "id, url, types, enabled, created_at, description, disabled_reason"
_OWN: Final = "WHERE id = $1 AND cafe_id = $2"

_LOCK: Final = """
    INSERT INTO webhook_cursors (cafe_id, "offset")
    SELECT $1, coalesce(max("offset"), 0) FROM events WHERE cafe_id = $1
    ON CONFLICT (cafe_id) DO UPDATE SET "offset" = webhook_cursors."offset"
"""
_MESSAGES: Final = """
    INSERT INTO webhook_messages (id, endpoint_id, "offset", type, about, body, created_at)
    SELECT *, now() FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::text[], $5::text[], $6::bytea[])
"""


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``private_networks``: endpoints may be where only we can reach them (for a demo on one machine). Messages and the
    log of their attempts are kept for ``messages_days``."""

    private_networks: bool = False
    endpoints_per_cafe: int = 20
    messages_days: float = 30.0
    timeout_s: float = 20.0


class Endpoints:
    """``secret``: the installation's; those of the endpoints are made of it. ``wake``: there are new jobs; ``changed``:
    a cafe may have its first endpoint."""

    def __init__(
        self,
        database: Database,
        settings: EndpointSettings,
        secret: bytes,
        wake: Callable[[], None],
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID] = uuid7,
    ) -> None:
        self.private_networks = settings.private_networks
        self.kept = timedelta(days=settings.messages_days)
        self.changed: Callable[[], None] = lambda: None
        self._database = database
        self._settings = settings
        self._secret = secret
        self._wake = wake
        self._now = now
        self._new_id = new_id

    def key(self, salt: bytes) -> bytes:
        """The 32 bytes that sign: out of reach for whoever has only the database, or only the installation's secret."""
        return hmac.digest(self._secret, b"tabletap.webhook" + salt, hashlib.sha256)

    def _shown(self, salt: bytes) -> str:
        return SECRET_PREFIX + base64.b64encode(self.key(salt)).decode()

    # -- endpoints

    async def create(self, cafe_id: CafeId, url: str, types: Sequence[str], description: str) -> EndpointView | None:
        salt, id_ = secrets.token_bytes(SALT_BYTES), self._new_id()

        async def work(connection: Connection) -> Row | None:
            await connection.execute(_LOCK, cafe_id)
            there = await connection.fetchval("SELECT count(*) FROM webhook_endpoints WHERE cafe_id = $1", cafe_id)
            if there >= self._settings.endpoints_per_cafe:
                return None
            return await connection.fetchrow(
                f"""INSERT INTO webhook_endpoints (id, cafe_id, url, description, types, enabled, salt, created_at)
                    VALUES ($1, $2, $3, $4, $5, true, $6, $7) RETURNING {_VIEW}""",
                *(id_, cafe_id, url, description, list(types), salt, self._now()),
            )

        row = await self._database.transact(work)
        self.changed()
        return None if row is None else _endpoint(row, self._shown(salt))

    async def listed(self, cafe_id: CafeId) -> Sequence[EndpointView]:
        rows = await self._fetch(
            f"SELECT {_VIEW} FROM webhook_endpoints WHERE cafe_id = $1 ORDER BY created_at, id", cafe_id
        )
        return [_endpoint(row) for row in rows]

    async def change(
        self,
        cafe_id: CafeId,
        endpoint_id: UUID,
        *,
        url: str | None = None,
        types: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
    ) -> EndpointView | None:
        reason = "disabled by hand"
        rows = await self._fetch(
            f"""UPDATE webhook_endpoints SET url = coalesce($3, url), types = coalesce($4::text[], types),
                    description = coalesce($5, description), enabled = coalesce($6, enabled),
                    disabled_reason = CASE WHEN $6 THEN NULL WHEN NOT $6 THEN $7 ELSE disabled_reason END
                {_OWN} RETURNING {_VIEW}""",
            *(endpoint_id, cafe_id, url, None if types is None else list(types), description, enabled, reason),
        )
        return _endpoint(rows[0]) if rows else None

    async def delete(self, cafe_id: CafeId, endpoint_id: UUID) -> bool:
        async def work(connection: Connection) -> bool:
            await connection.execute(_LOCK, cafe_id)
            status = await connection.execute(f"DELETE FROM webhook_endpoints {_OWN}", endpoint_id, cafe_id)
            await connection.execute(
                """DELETE FROM webhook_cursors WHERE cafe_id = $1
                   AND NOT EXISTS (SELECT FROM webhook_endpoints WHERE cafe_id = $1)""",
                cafe_id,
            )
            return status.endswith(" 1")

        return await self._database.transact(work)

    async def rotate(self, cafe_id: CafeId, endpoint_id: UUID) -> EndpointView | None:
        salt = secrets.token_bytes(SALT_BYTES)
        rows = await self._fetch(
            f"""UPDATE webhook_endpoints SET previous_salt = salt, previous_until = $4, salt = $3
                {_OWN} RETURNING {_VIEW}""",
            *(endpoint_id, cafe_id, salt, self._now() + BOTH_SIGN),
        )
        return _endpoint(rows[0], self._shown(salt)) if rows else None

    # -- their log

    async def attempts(
        self, cafe_id: CafeId, endpoint_id: UUID, before: int | None, limit: int
    ) -> Sequence[AttemptView] | None:
        if not await self._fetch(f"SELECT FROM webhook_endpoints {_OWN}", endpoint_id, cafe_id):
            return None
        rows = await self._fetch(
            """SELECT one.id AS attempt_id, message_id, type, message.status AS message_status, attempt, at,
                   duration_ms, one.status, error, excerpt
               FROM webhook_attempts AS one JOIN webhook_messages AS message ON message.id = message_id
               WHERE one.endpoint_id = $1 AND ($2::int8 IS NULL OR one.id < $2) ORDER BY one.id DESC LIMIT $3""",
            *(endpoint_id, before, limit),
        )
        return [AttemptView(**dict(row.items())) for row in rows]

    async def replay(self, cafe_id: CafeId, endpoint_id: UUID, message_id: UUID) -> bool | None:
        async def work(connection: Connection) -> bool | None:
            row = await connection.fetchrow(
                f"""SELECT about, status, enabled FROM webhook_messages AS message
                    JOIN (SELECT id, enabled FROM webhook_endpoints {_OWN}) AS own ON own.id = endpoint_id
                    WHERE message.id = $3 FOR UPDATE OF message""",
                *(endpoint_id, cafe_id, message_id),
            )
            if row is None:
                return None
            if row["status"] == "pending" or not row["enabled"]:
                return False
            await connection.execute(
                "UPDATE webhook_messages SET status = 'pending', attempts = 0 WHERE id = $1", message_id
            )
            await _give_jobs(connection, cafe_id, [(message_id, endpoint_id, row["about"])])
            return True

        replayed = await self._database.transact(work)
        self._wake()
        return replayed

    async def test(self, cafe_id: CafeId, endpoint_id: UUID) -> UUID | None:
        async def work(connection: Connection) -> UUID | None:
            if not await connection.fetchval(f"SELECT enabled FROM webhook_endpoints {_OWN}", endpoint_id, cafe_id):
                return None
            news = test_news(self._now(), str(endpoint_id))
            return (await self._put(connection, cafe_id, [(endpoint_id, news)]))[0]

        message_id = await self._database.transact(work)
        self._wake()
        return message_id

    # -- following the log

    async def cursors(self) -> Mapping[CafeId, int]:
        """Every cafe that has endpoints, and how far its log has been told."""
        rows = await self._fetch('SELECT cafe_id, "offset" FROM webhook_cursors')
        return {CafeId(cafe_id): offset for cafe_id, offset in rows}

    async def move(self, cafe_id: CafeId, after: int, to: int, told: Sequence[News]) -> bool:
        """Put what was ``told`` between these places of the log on its way. False: the cursor is elsewhere."""

        async def work(connection: Connection) -> bool:
            status = await connection.execute(
                'UPDATE webhook_cursors SET "offset" = $3 WHERE cafe_id = $1 AND "offset" = $2', cafe_id, after, to
            )
            if not status.endswith(" 1"):
                return False
            if told:
                endpoints = await connection.fetch(
                    "SELECT id, types FROM webhook_endpoints WHERE cafe_id = $1 AND enabled ORDER BY id", cafe_id
                )
                wanted = [(id_, news) for news in told for id_, types in endpoints if not types or news.type in types]
                await self._put(connection, cafe_id, wanted)
            return True

        moved = await self._database.transact(work)
        if moved and told:
            self._wake()
        return moved

    async def _put(self, connection: Connection, cafe_id: CafeId, wanted: Sequence[tuple[UUID, News]]) -> list[UUID]:
        """The messages and their jobs."""
        if not wanted:
            return []
        ids = [self._new_id() for _ in wanted]
        rows = [
            (id_, to, one.offset, one.type, one.about, one.body) for id_, (to, one) in zip(ids, wanted, strict=True)
        ]
        await connection.execute(_MESSAGES, *(list(column) for column in zip(*rows, strict=True)))
        about = [(id_, to, one.about) for id_, (to, one) in zip(ids, wanted, strict=True)]
        await _give_jobs(connection, cafe_id, about)
        return ids

    async def _fetch(self, query: str, *arguments: Any) -> Sequence[Row]:
        return await self._database.read(lambda connection: connection.fetch(query, *arguments))


async def _give_jobs(connection: Connection, cafe_id: CafeId, about: Sequence[tuple[UUID, UUID, str]]) -> None:
    """A job for each message: (message, endpoint, what it is about)."""
    jobs = [
        Job(Queue.NOTIFICATIONS, f"{endpoint_id}:{subject}", cafe_id, DeliverWebhook(message_id))
        for message_id, endpoint_id, subject in about
    ]
    await insert(connection, jobs)


def _endpoint(row: Row, secret: str | None = None) -> EndpointView:
    id_, url, types, enabled, created_at, description, reason = row
    return EndpointView(
        endpoint_id=id_,
        url=url,
        types=tuple(types),
        enabled=enabled,
        created_at=created_at,
        description=description,
        disabled_reason=reason,
        secret=secret,
    )
