"""Pages for people: where a customer approves a payment, and where one sees what became of all of them.

Plain forms, no scripts. Whoever knows a payment's id (nobody can guess one) may act for its customer.
"""

import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from quart import Blueprint, Response, render_template, request

from .account import OPEN, Account, Move
from .clockwork import now
from .control import carry_out
from .doors import Sandbox
from .wire import RefundStatus, Refused, Status, origin

STYLE = (Path(__file__).parent / "static" / "sandbox.css").read_bytes()
LISTED_PAYMENTS = 100
METHODS = {"card": "Card", "bank_transfer": "Bank transfer", "digital_wallet": "Digital wallet"}
WORDS = {
    Status.PENDING: "Waiting",
    Status.IDENTIFIED: "Opened",
    Status.AUTHORIZED: "On its way",
    Status.SUCCEEDED: "Paid",
    Status.FAILED: "Declined",
    Status.CANCELLED: "Cancelled",
    Status.EXPIRED: "Expired",
}
BUTTONS = frozenset({Move.APPROVE, Move.DECLINE, Move.CANCEL, Move.EXPIRE})
DISPUTE_BUTTONS = frozenset({"dispute", "win-dispute"})


def routes(door: Blueprint, sandbox: Sandbox) -> None:
    """Add them."""
    book = sandbox.book

    @door.get("/")
    async def payments() -> Response:
        shown = [_row(account) for account in book.newest(LISTED_PAYMENTS)]
        page = await render_template("payments.html", payments=shown, most=LISTED_PAYMENTS)
        return _page(page)

    @door.post("/payments/<ident>")
    async def act(ident: str) -> Response:
        wanted = (await request.form).get("move", "")
        if wanted not in DISPUTE_BUTTONS:
            raise Refused(400, "INVALID_REQUEST", "there is no such button")
        carry_out(sandbox, ident, wanted)
        return _go("/")

    @door.get("/checkout/<ident>")
    async def checkout(ident: str) -> Response:
        if book.payment(ident).status is Status.PENDING:
            with contextlib.suppress(Refused):  # it expires this moment
                book.move(ident, Move.IDENTIFY, now())
        account = book.payment(ident)
        page = await render_template(
            "checkout.html",
            merchant=sandbox.credentials.merchant_id,
            payment=_row(account),
            minutes=max(1, (account.request.expires_at - now()) // timedelta(minutes=1)),
        )
        return _page(page, goes_to=origin(account.request.return_url))

    @door.post("/checkout/<ident>")
    async def decide(ident: str) -> Response:
        account = book.payment(ident)
        wanted = (await request.form).get("move", "")
        if wanted not in BUTTONS:
            raise Refused(400, "INVALID_REQUEST", "there is no such button")
        try:
            carry_out(sandbox, ident, wanted)
        except Refused:
            return _go(f"/checkout/{ident}")  # which says what has become of it meanwhile
        return _go(account.request.return_url)

    @door.get("/sandbox.css")
    async def style() -> Response:
        return Response(STYLE, content_type="text/css; charset=utf-8")


def _page(html: str, *, goes_to: str = "") -> Response:
    """``goes_to``: where its forms may lead in the end; browsers hold a form to its redirect as well."""
    response = Response(html, content_type="text/html; charset=utf-8")
    response.headers["content-security-policy"] = (
        f"default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {goes_to}; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    return response


def _go(url: str) -> Response:
    return Response(b"", 303, headers={"location": url})


def _row(account: Account) -> dict[str, Any]:
    """A payment as the pages show it."""
    request = account.request
    return {
        "id": account.id,
        "amount": _money(request.amount, request.currency),
        "description": request.description,
        "reference": request.reference,
        "merchant_reference": request.merchant_reference,
        "method": METHODS[request.method],
        "status": account.status.value.lower(),
        "word": WORDS[account.status],
        "open": account.status in OPEN,
        "made": account.created_at,
        "return_url": request.return_url,
        "refunded": _money(account.refunded, request.currency) if account.refunded else "",
        "refunding": any(refund.status is RefundStatus.PENDING for refund in account.refunds),
        "disputed": _money(account.disputed, request.currency) if account.disputed else "",
        "disputable": account.status is Status.SUCCEEDED and account.refundable > 0,
    }


def _money(cents: int, currency: str) -> str:
    """An amount for people.

    >>> _money(123405, "AUD")
    '1,234.05 AUD'
    """
    return f"{cents // 100:,}.{cents % 100:02} {currency}"
