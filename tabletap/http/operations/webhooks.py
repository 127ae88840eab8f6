"""Webhooks of payment providers: the door of the inbox, and what is in it (spec H1, H2).

The signature is the only token. It is checked over the raw body before anything of it is read; a right webhook is
stored before it is answered, and everything else comes after.
"""

import hashlib
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec

from tabletap.actors.ports import ForgedWebhook, Heard, MalformedWebhook, Overloaded
from tabletap.actors.webhook_ports import Rejection, WebhookStatus, WebhookView
from tabletap.domain import access, cardlike
from tabletap.domain.access import Access
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.errors import Code, Refusal

from .base import Call, Operation, Signed

BODY_BYTES = 262_144
EVENT_ID_CHARS = 200
CHARGE_ID_CHARS = 255
TYPE_CHARS = 100
HIGHEST_SEQUENCE = (1 << 63) - 1
_NUL = b"\\u0000"

Told = TypeVar("Told", Standing, RefundStanding, Dispute)

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]


class Received(msgspec.Struct, frozen=True):
    """It is stored."""

    received: bool = True


class InboxQuery(msgspec.Struct, frozen=True):
    """``before``: the last one of the page before."""

    status: WebhookStatus | None = None
    before: UUID | None = None
    limit: Limit = 100


class Webhooks(msgspec.Struct, frozen=True):
    webhooks: tuple[WebhookView, ...]


class RejectionsQuery(msgspec.Struct, frozen=True):
    limit: Limit = 100


class Rejections(msgspec.Struct, frozen=True):
    rejections: tuple[Rejection, ...]


async def receive(call: Call) -> Any:
    """Check, store, answer."""
    services, provider, signed = call.services, call.params["provider"], call.body
    assert isinstance(signed, Signed)
    gateway = services.providers.get(provider)
    if gateway is None:
        return Refusal(Code.NOT_FOUND, "there is no such provider")
    try:
        heard = _readable(gateway.handle_webhook(signed.headers, signed.body), signed.body)
    except ForgedWebhook:
        services.inbox.reject(provider, "forged", signed.body)
        return Refusal(Code.INVALID_SIGNATURE, "the signature is not right, or too old")
    except MalformedWebhook as reason:
        services.inbox.reject(provider, "malformed", signed.body)
        return Refusal(Code.MALFORMED, f"it cannot be read: {reason}")
    try:
        await services.inbox.take(provider, heard)
    except Overloaded as full:
        return Refusal(Code.OVERLOADED, "too many are waiting: send it again", retry_after_s=full.retry_after_s)
    return Received()


def _readable(heard: Heard, body: bytes) -> Heard:
    """What no table could keep is not readable either; and what looks like a card number is not kept."""
    if _NUL in body:
        raise MalformedWebhook("it contains NUL")
    charge_id = heard.charge_id or ""
    if len(heard.event_id) > EVENT_ID_CHARS or len(heard.type) > TYPE_CHARS or len(charge_id) > CHARGE_ID_CHARS:
        raise MalformedWebhook("a name in it is too long")
    if cardlike.find(charge_id) is not None:
        raise MalformedWebhook("the name of its charge looks like a card number")
    if heard.sequence is not None and not 1 <= heard.sequence <= HIGHEST_SEQUENCE:
        raise MalformedWebhook("its sequence is no number of a webhook")
    if cardlike.field_in(msgspec.json.encode(heard)) is None:
        return heard
    known = cardlike.find(heard.event_id) is None
    refund = None if heard.refund is None else (heard.refund[0], _without_cards(heard.refund[1]))
    return msgspec.structs.replace(
        heard,
        event_id=heard.event_id if known else hashlib.sha256(heard.event_id.encode()).hexdigest(),
        type=cardlike.redact(heard.type),
        standing=heard.standing and _without_cards(heard.standing),
        refund=refund,
        dispute=heard.dispute and _without_cards(heard.dispute),
    )


def _without_cards(told: Told) -> Told:
    """Its reason is whatever somebody wrote."""
    return told if told.reason is None else msgspec.structs.replace(told, reason=cardlike.redact(told.reason))


async def listed(call: Call) -> Any:
    """What is in the inbox, newest first."""
    query: InboxQuery = call.query
    webhooks = await call.services.inbox.listed(query.status, call.principal.cafes, query.before, query.limit)
    return Webhooks(tuple(webhooks))


async def rejections(call: Call) -> Any:
    """What was turned away, newest first. It is of no cafe, and so only for who sees all of them."""
    if call.principal.cafes is not None:
        return Rejections(())
    return Rejections(tuple(await call.services.inbox.rejections(call.query.limit)))


async def replay(call: Call) -> Any:
    """Give a dead one another life."""
    missing = Refusal(Code.NOT_FOUND, "there is no such webhook")
    try:
        webhook_id = UUID(call.params["webhookId"])
    except ValueError:
        return missing
    webhook = await call.services.inbox.replay(webhook_id, call.principal.cafes)
    if webhook is None:
        return missing
    if webhook.status is not WebhookStatus.PENDING:
        return Refusal(Code.ILLEGAL_MOVE, f"it is {webhook.status}, not dead")
    return webhook


OPERATIONS = (
    Operation(
        name="webhooks.receive",
        method="POST",
        path="/api/webhooks/{provider}",
        summary="What a payment provider tells us, under its signature",
        access=Access(frozenset(), public=True),
        reply=Received,
        signed_bytes=BODY_BYTES,
        handler=receive,
    ),
    Operation(
        name="webhooks.list",
        method="GET",
        path="/api/webhooks/inbox",
        summary="The inbox",
        access=Access(access.INSTALLATION),
        query=InboxQuery,
        reply=Webhooks,
        handler=listed,
    ),
    Operation(
        name="webhooks.rejections",
        method="GET",
        path="/api/webhooks/rejections",
        summary="Webhooks that were turned away",
        access=Access(access.INSTALLATION),
        query=RejectionsQuery,
        reply=Rejections,
        handler=rejections,
    ),
    Operation(
        name="webhooks.replay",
        method="POST",
        path="/api/webhooks/inbox/{webhookId}/replay",
        summary="Give a dead webhook another life",
        access=Access(access.INSTALLATION),
        reply=WebhookView,
        handler=replay,
    ),
)
