"""``/control``: how tests and the demo steer the sandbox, and read its books. No part of the protocol."""

import secrets
from typing import Annotated

import msgspec
from quart import Blueprint, Response

from . import account as accounts
from .account import Account, Move
from .clockwork import now
from .doors import Sandbox, answer, let_in, read
from .misbehaviour import Auto, Misbehaviour
from .wire import RefundStatus, Refused, Status

STATEMENT_PAYMENTS = 50_000
DOWN_S_AT_MOST = 600


class Down(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /control/down``."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=DOWN_S_AT_MOST)]


class StatementRefund(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    merchant_reference: str
    status: RefundStatus
    amount: int


class StatementPayment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``webhooks``: how many there are about it, each however often sent."""

    merchant_reference: str
    id: str
    status: Status
    captured: int
    refunded: int
    refunds: list[StatementRefund]
    webhooks: int


class Statement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was really charged and refunded, by payment in the order they were made. ``forged``: forgeries that were
    answered, ``forged_accepted``: by 2xx."""

    payments: list[StatementPayment]
    forged: int
    forged_accepted: int


def carry_out(sandbox: Sandbox, ident: str, wanted: str) -> Account:
    """What a person does with a payment: a move, ``dispute`` or ``win-dispute``. Raises Refused."""
    book = sandbox.book
    if wanted == "dispute":
        made = f"dsp_{secrets.token_hex(12)}"
        done = book.change(ident, lambda account: accounts.dispute(account, made), now())
    elif wanted == "win-dispute":
        done = book.change(ident, accounts.win_dispute, now())
    elif wanted in {Move.APPROVE, Move.DECLINE, Move.CANCEL, Move.EXPIRE}:
        done = book.move(ident, Move(wanted), now())
    else:
        raise Refused(404, "NOT_FOUND", "there is nothing of this name to be done with a payment")
    sandbox.clockwork.wake()
    return done


def routes(door: Blueprint, sandbox: Sandbox) -> None:
    """Add them."""
    book = sandbox.book

    @door.post("/control/misbehave")
    async def misbehave() -> Response:
        let_in(sandbox.credentials, merchant=False)
        book.misbehave(await read(Misbehaviour))
        return answer(book.misbehaviour)

    @door.post("/control/auto")
    async def auto() -> Response:
        let_in(sandbox.credentials, merchant=False)
        book.automate(await read(Auto))
        return answer(book.auto)

    @door.post("/control/down")
    async def down() -> Response:
        let_in(sandbox.credentials, merchant=False)
        asked = await read(Down)
        sandbox.lines.go_down(asked.seconds)
        response = answer(asked)
        response.headers["connection"] = "close"
        return response

    @door.post("/control/payments/<ident>/<wanted>")
    async def payment(ident: str, wanted: str) -> Response:
        let_in(sandbox.credentials, merchant=False)
        return answer(carry_out(sandbox, ident, wanted).view(book.base_url))

    @door.get("/control/statement")
    async def statement() -> Response:
        let_in(sandbox.credentials, merchant=False)
        found = book.newest(STATEMENT_PAYMENTS + 1)
        if len(found) > STATEMENT_PAYMENTS:
            raise Refused(409, "STATEMENT_TOO_LONG", f"there are more than {STATEMENT_PAYMENTS} payments")
        forged, believed = book.postbox.forged()
        stated = [_stated(account) for account in reversed(found)]
        return answer(Statement(payments=stated, forged=forged, forged_accepted=believed))

    @door.get("/control/quiet")
    async def quiet() -> Response:
        let_in(sandbox.credentials, merchant=False)
        pending = book.outstanding(now())
        return answer({"quiet": pending == 0, "pending": pending})

    @door.get("/control/deliveries")
    async def deliveries() -> Response:
        let_in(sandbox.credentials, merchant=False)
        return answer({"answered": sandbox.clockwork.answered, "tookMs": list(sandbox.clockwork.took_ms)})


def _stated(account: Account) -> StatementPayment:
    return StatementPayment(
        merchant_reference=account.request.merchant_reference,
        id=account.id,
        status=account.status,
        captured=account.captured,
        refunded=account.refunded,
        refunds=[
            StatementRefund(
                merchant_reference=refund.request.merchant_reference,
                status=refund.status,
                amount=refund.request.amount,
            )
            for refund in account.refunds
        ],
        webhooks=account.sequence,
    )
