"""Gift cards (spec W3): what is on one, taking from it at a till, putting back, issuing; and the codes an order bought.

Whoever knows a code may look at its card and pay orders with it (``payments.initiate``). A till takes from it for sales
of its own. The code is in the path, and in answers to whoever has it already or bought it; what is stored of requests
and answers holds the serial number of the card or a digest, never the code.
"""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.actors.cafe import GetCafe
from tabletap.actors.order import GetRewards
from tabletap.domain import access, giftcode
from tabletap.domain.access import Access
from tabletap.domain.account import AccountView, EntryView, Grant, Holding, Return, Use, gift_account
from tabletap.domain.cafe import GiftWish, card_of
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.till import Scope
from tabletap.domain.vocabulary import AccountKind

from .base import About, Call, Key, Operation

Amount = Annotated[int, msgspec.Meta(ge=1, le=100_000_00)]
Value = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
OrderName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

_UNKNOWN = Refusal(Code.NOT_FOUND, "there is no such gift card")


class CardStatus(StrEnum):
    """Whether a card can be used: not when nothing is left (``used``), nor when its time is over."""

    ACTIVE = "active"
    USED = "used"
    EXPIRED = "expired"


class GiftCardView(msgspec.Struct, frozen=True, rename="camel"):
    """A gift card on the wire. ``card``: as it was asked for; of a new one its code, which is told here."""

    card: str
    balance: int
    currency: str
    status: CardStatus
    expires_at: datetime | None


class IssueBody(msgspec.Struct, frozen=True):
    """A card worth ``amount`` cents that nobody pays for."""

    amount: Value
    reason: Reason | None = None


class DeductBody(msgspec.Struct, frozen=True, rename="camel"):
    """``orderId``: the till's own, noted with it. An order of ours is paid by a payment instead."""

    amount: Amount
    order_id: OrderName | None = None
    reason: Reason | None = None


class Deducted(msgspec.Struct, frozen=True, rename="camel"):
    """What is left after it. ``transactionId``: by which it can be refunded."""

    card: str
    deducted: int
    balance: int
    transaction_id: UUID


class RefundBody(msgspec.Struct, frozen=True, rename="camel"):
    """``transactionId``: of the deduction; all of it may come back, in parts if need be."""

    transaction_id: UUID
    amount: Amount
    reason: Reason | None = None


class Refunded(msgspec.Struct, frozen=True, rename="camel"):
    """What is on the card after it."""

    card: str
    refunded: int
    balance: int
    transaction_id: UUID
    expires_at: datetime | None


class HistoryQuery(msgspec.Struct, frozen=True):
    """``before``: the ``next`` of the page before."""

    before: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50


class History(msgspec.Struct, frozen=True):
    """Newest first. ``next``: to go on with; None: that was all."""

    entries: tuple[EntryView, ...]
    next: int | None


class BoughtCard(msgspec.Struct, frozen=True):
    """A gift card on an order. ``card``: its code once it is ``good``, until then but for its end hidden."""

    line: int
    value: int
    card: str
    good: bool


class BoughtCards(msgspec.Struct, frozen=True, rename="camel"):
    """Those of one order."""

    gift_cards: tuple[BoughtCard, ...]


def new_card(call: Call, value: int) -> GiftWish:
    """A card with a serial of its own."""
    serial = call.services.new_id()
    code = call.services.auth.gift_code(call.cafe_id, serial)
    return GiftWish(value, gift_account(call.cafe_id, code), serial, giftcode.last_four(code))


async def history_page(call: Call, account_id: UUID) -> History:
    """A page of what moved on an account."""
    limit = call.query.limit
    found = await call.services.reader.holdings.history(account_id, call.query.before, limit + 1)
    entries = tuple(found[:limit])
    return History(entries, entries[-1].cursor if len(found) > limit else None)


async def _card(call: Call) -> AccountView | Refusal:
    """The card of the path, if it was ever good."""
    code = call.params["card"]
    if not giftcode.is_code(code):
        return invalid("card", "this is no gift card's code: look at its signs again")
    account = await call.services.reader.holdings.account(gift_account(call.cafe_id, code).id)
    return account or _UNKNOWN


def _holding(call: Call, card: AccountView) -> Holding:
    return Holding(gift_account(call.cafe_id, call.params["card"]), AccountKind.GIFT_CARD, card.currency)


def _shown(call: Call, account: AccountView, code: str) -> GiftCardView:
    expired = account.expires_at is not None and call.services.now() >= account.expires_at
    status = CardStatus.EXPIRED if expired else CardStatus.ACTIVE if account.balance else CardStatus.USED
    left = 0 if expired else account.balance
    return GiftCardView(code, left, account.currency, status, account.expires_at)


async def balance(call: Call) -> Any:
    """What is left, for whoever knows the code."""
    card = await _card(call)
    return card if isinstance(card, Refusal) else _shown(call, card, call.params["card"])


async def history(call: Call) -> Any:
    """What moved on the card."""
    card = await _card(call)
    return card if isinstance(card, Refusal) else await history_page(call, card.account_id)


async def issue(call: Call) -> Any:
    """A card that nobody paid for: an expense of the cafe's, owed to whoever has it."""
    body: IssueBody = call.body
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    if isinstance(cafe, Refusal):
        return cafe
    card = card_of(cafe, new_card(call, body.amount))
    command = Grant(card, call.services.new_id(), body.amount, body.reason)
    return await call.services.desk.ask(card.ref, command, call.by, call.idempotency)


async def issued(call: Call, stored: AccountView) -> GiftCardView:
    """The new card with its code."""
    assert stored.serial is not None
    return _shown(call, stored, call.services.auth.gift_code(call.cafe_id, stored.serial))


async def _move(call: Call, command: Callable[[Holding, UUID], Use | Return]) -> Any:
    """Something moves on the card that the path names."""
    card = await _card(call)
    if isinstance(card, Refusal):
        return card
    holding = _holding(call, card)
    return await call.services.desk.ask(
        holding.ref, command(holding, call.services.new_id()), call.by, call.idempotency
    )


async def deduct(call: Call) -> Any:
    """A till takes from the card for a sale of its own."""
    body: DeductBody = call.body
    return await _move(call, lambda card, entry_id: Use(card, entry_id, body.amount, body.reason, body.order_id))


async def deducted(call: Call, stored: AccountView) -> Deducted:
    """What a till is told of it."""
    assert stored.transaction_id is not None
    return Deducted(call.params["card"], call.body.amount, stored.balance, stored.transaction_id)


async def refund(call: Call) -> Any:
    """What a till took comes back."""
    body: RefundBody = call.body
    return await _move(
        call, lambda card, entry_id: Return(card, entry_id, body.amount, body.transaction_id, body.reason)
    )


async def refunded(call: Call, stored: AccountView) -> Refunded:
    """What a till is told of it."""
    assert stored.transaction_id is not None
    card, amount = call.params["card"], call.body.amount
    return Refunded(card, amount, stored.balance, stored.transaction_id, stored.expires_at)


async def of_order(call: Call) -> Any:
    """The cards that an order buys, with their codes once it is paid."""
    rewards = await call.services.desk.query(call.order_ref(), GetRewards())
    if isinstance(rewards, Refusal):
        return rewards
    return BoughtCards(tuple([await _bought(call, line.line, line.total, line.gift) for line in rewards.cards]))


async def _bought(call: Call, line: int, value: int, card: Holding) -> BoughtCard:
    """A card is good a moment after its order is paid: when it can be used, its code is told."""
    assert card.serial is not None
    good = await call.services.reader.holdings.account(card.ref.id) is not None
    code = call.services.auth.gift_code(call.cafe_id, card.serial) if good else giftcode.masked(card.label or "")
    return BoughtCard(line, value, code, good)


def _at_the_till(name: str, summary: str, body: Any, reply: Any, handler: Any, finish: Any) -> Operation:
    return Operation(
        name=f"gift_cards.{name}",
        method="POST",
        path=f"/api/{{cafe}}/gift-cards/{{card}}/{name}",
        summary=summary,
        access=Access(access.STAFF, till=Scope.WRITE),
        body=body,
        reply=reply,
        stored=AccountView,
        finish=finish,
        key=Key.OPTIONAL,
        handler=handler,
    )


OPERATIONS = (
    Operation(
        name="gift_cards.issue",
        method="POST",
        path="/api/{cafe}/gift-cards",
        summary="Issue a gift card that nobody pays for; a card is bought by an order with giftCards",
        access=Access(access.MANAGEMENT),
        body=IssueBody,
        reply=GiftCardView,
        status=201,
        stored=AccountView,
        finish=issued,
        key=Key.REQUIRED,
        handler=issue,
    ),
    Operation(
        name="gift_cards.balance",
        method="GET",
        path="/api/{cafe}/gift-cards/{card}/balance",
        summary="What is left on a gift card, for whoever knows its code",
        access=Access(access.CREW, public=True, till=Scope.READ),
        reply=GiftCardView,
        handler=balance,
    ),
    Operation(
        name="gift_cards.history",
        method="GET",
        path="/api/{cafe}/gift-cards/{card}/transactions",
        summary="What moved on a gift card, newest first",
        access=Access(access.STAFF, till=Scope.READ),
        query=HistoryQuery,
        reply=History,
        handler=history,
    ),
    _at_the_till(
        "deduct", "Take from a gift card for a sale of the till's own", DeductBody, Deducted, deduct, deducted
    ),
    _at_the_till("refund", "Put back what a till took", RefundBody, Refunded, refund, refunded),
    Operation(
        name="gift_cards.of_order",
        method="GET",
        path="/api/orders/{orderId}/gift-cards",
        summary="The gift cards that an order buys, with their codes once it is paid",
        access=Access(access.STAFF, own_order=True),
        reply=BoughtCards,
        about=About.ORDER,
        handler=of_order,
    ),
)
