"""``/v1``: the protocol that merchants speak.

Where it is told to, it does what it is asked for and then never answers, or late: a payment or refund that is not a
repetition, by chance (``misbehaviour``).
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import trio
from quart import Blueprint, Response, request

from .account import Account, Move
from .clockwork import now
from .doors import Sandbox, answer, idempotency_key, let_in, read
from .wire import PAGE_PAYMENTS, Page, PaymentRequest, RefundRequest, Refused

HANGS_S = 60.0
"""How long an answer that never comes is waited for before the connection ends."""

LONGEST_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def routes(door: Blueprint, sandbox: Sandbox) -> None:
    """Add them."""
    book = sandbox.book

    async def misbehave(account: Account, asked: int) -> None:
        sandbox.clockwork.wake()
        if book.misbehaviour.times_out(account, asked):
            await trio.sleep(HANGS_S)
            sandbox.lines.hang_up()
            await trio.sleep_forever()  # ends with its connection
        await trio.sleep(book.misbehaviour.answers_after(account, asked).total_seconds())

    @door.post("/v1/payments")
    async def create() -> Response:
        let_in(sandbox.credentials, merchant=True)
        asked = await read(PaymentRequest)
        account, made = book.create(asked, idempotency_key(), now())
        if made:
            await misbehave(account, 0)
        return answer(account.view(book.base_url), 201 if made else 200)

    @door.get("/v1/payments")
    async def payments() -> Response:
        let_in(sandbox.credentials, merchant=True)
        reference = request.args.get("merchantReference")
        if reference is not None:
            found = book.by_reference(reference)
            return answer({"payments": [] if found is None else [found.view(book.base_url)]})
        return answer(_page(sandbox))

    @door.get("/v1/payments/<ident>")
    async def payment(ident: str) -> Response:
        let_in(sandbox.credentials, merchant=True)
        return answer(book.payment(ident).view(book.base_url))

    @door.delete("/v1/payments/<ident>")
    async def cancel(ident: str) -> Response:
        let_in(sandbox.credentials, merchant=True)
        cancelled = book.move(ident, Move.CANCEL, now())
        sandbox.clockwork.wake()
        return answer(cancelled.view(book.base_url))

    @door.post("/v1/payments/<ident>/refunds")
    async def refund(ident: str) -> Response:
        let_in(sandbox.credentials, merchant=True)
        asked = await read(RefundRequest)
        account, refund, made = book.refund(ident, asked, idempotency_key(), now())
        if made:
            await misbehave(account, len(account.refunds))
        return answer(refund.view(ident), 201 if made else 200)

    @door.get("/v1/payments/<ident>/refunds")
    async def refunds(ident: str) -> Response:
        let_in(sandbox.credentials, merchant=True)
        reference = request.args.get("merchantReference")
        found = [refund.view(ident) for refund in book.payment(ident).refunds]
        return answer({"refunds": [one for one in found if reference in (None, one.merchant_reference)]})


def _page(sandbox: Sandbox) -> Page:
    book = sandbox.book
    since = _asked("updatedSince", datetime, LONGEST_AGO)
    limit = _asked("limit", int, PAGE_PAYMENTS)
    after = request.args.get("after")
    if since.tzinfo is None or not 1 <= limit <= PAGE_PAYMENTS:
        raise Refused(400, "INVALID_REQUEST", f"updatedSince needs its offset, limit is from 1 to {PAGE_PAYMENTS}")
    if after is not None:
        book.payment(after)
    found = book.page(since, after, limit + 1)
    following = found[limit - 1].id if len(found) > limit else None
    return Page(payments=[account.view(book.base_url) for account in found[:limit]], next=following)


def _asked(name: str, kind: type[Any], otherwise: Any) -> Any:
    try:
        return msgspec.convert(request.args.get(name, otherwise), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, "INVALID_REQUEST", f"{name}: {error}") from None
