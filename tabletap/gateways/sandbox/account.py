"""A payment as the provider keeps it, and what may become of it. Pure: time, ids and chance come from outside.

Every function gives the payment as it then is and what happened, in order: each happening is one webhook.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

import msgspec

from tabletap.domain.money import percent_of

from . import wire
from .wire import EventType, PaymentRequest, RefundRequest, RefundStatus, Refused, Status

FEE_BASIS_POINTS = 290
DISPUTE_FEE = 2_500
TRANSFER_TAKES = timedelta(seconds=0.3)
"""From a bank transfer's approval (or its refund's) to the money being there. Cards and wallets are at once."""

DECLINED = MappingProxyType(
    {
        "card": "the card was declined by its bank",
        "bank_transfer": "the bank declined the transfer",
        "digital_wallet": "the wallet declined the payment",
    }
)
REFUND_DECLINED = "the customer's bank does not take the money back"
DISPUTE_REASON = "the customer does not know of this payment"


class Move(StrEnum):
    """What can be done with a payment as a whole. CAPTURE: the money of an approved transfer has come."""

    IDENTIFY = "identify"
    APPROVE = "approve"
    CAPTURE = "capture"
    DECLINE = "decline"
    CANCEL = "cancel"
    EXPIRE = "expire"


OPEN = frozenset({Status.PENDING, Status.IDENTIFIED})
_MOVES: Mapping[Move, tuple[frozenset[Status], Status, EventType | None]] = MappingProxyType(
    {
        Move.IDENTIFY: (frozenset({Status.PENDING}), Status.IDENTIFIED, None),
        Move.APPROVE: (OPEN, Status.AUTHORIZED, None),
        Move.CAPTURE: (frozenset({Status.AUTHORIZED}), Status.SUCCEEDED, EventType.PAYMENT_SUCCEEDED),
        Move.DECLINE: (OPEN, Status.FAILED, EventType.PAYMENT_FAILED),
        Move.CANCEL: (OPEN, Status.CANCELLED, EventType.PAYMENT_CANCELLED),
        Move.EXPIRE: (OPEN, Status.EXPIRED, EventType.PAYMENT_CANCELLED),
    }
)


class Refund(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``fails``: what will become of it at ``settles_at``, decided when it was asked for."""

    id: str
    key: str
    request: RefundRequest
    created_at: datetime
    settles_at: datetime
    fails: bool = False
    status: RefundStatus = RefundStatus.PENDING

    def view(self, payment_id: str) -> wire.Refund:
        """As the wire tells it."""
        return wire.Refund(
            id=self.id,
            payment_id=payment_id,
            merchant_reference=self.request.merchant_reference,
            status=self.status,
            amount=self.request.amount,
            failure_reason=REFUND_DECLINED if self.status is RefundStatus.FAILED else None,
            created_at=self.created_at,
        )


class Dispute(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``won``: the merchant has the money again."""

    id: str
    amount: int
    won: bool = False

    def view(self) -> wire.Dispute:
        """As the wire tells it."""
        return wire.Dispute(id=self.id, amount=self.amount, fee=DISPUTE_FEE, reason=DISPUTE_REASON)


class Unasked(msgspec.Struct, frozen=True):
    """What a customer who is not there will do: auto approval."""

    at: datetime
    move: Move


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``number``: counts payments from 1; ``key``: the one it was asked for with; ``sequence``: happenings so far."""

    number: int
    id: str
    key: str
    request: PaymentRequest
    created_at: datetime
    status: Status = Status.PENDING
    captured: int = 0
    sequence: int = 0
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    unasked: Unasked | None = None
    captures_at: datetime | None = None

    @property
    def fee(self) -> int:
        """What we keep of what was captured, in cents."""
        return percent_of(self.captured, FEE_BASIS_POINTS)

    @property
    def refunded(self) -> int:
        """What has gone back, in cents."""
        return sum(refund.request.amount for refund in self.refunds if refund.status is RefundStatus.SUCCEEDED)

    @property
    def disputed(self) -> int:
        """What has been taken back, in cents."""
        return sum(dispute.amount for dispute in self.disputes if not dispute.won)

    @property
    def refundable(self) -> int:
        """What is left that is not gone, nor about to go, in cents."""
        asked = sum(refund.request.amount for refund in self.refunds if refund.status is not RefundStatus.FAILED)
        return self.captured - asked - self.disputed

    def view(self, base_url: str) -> wire.Payment:
        """As the wire tells it. ``base_url``: where the sandbox is reached."""
        here = f"{base_url}/v1/payments/{self.id}"
        return wire.Payment(
            id=self.id,
            merchant_reference=self.request.merchant_reference,
            status=self.status,
            amount=self.request.amount,
            currency=self.request.currency,
            method=self.request.method,
            captured_amount=self.captured,
            refunded_amount=self.refunded,
            fee=self.fee,
            failure_reason=DECLINED[self.request.method] if self.status is Status.FAILED else None,
            created_at=self.created_at,
            expires_at=self.request.expires_at,
            sequence=self.sequence,
            links=wire.Links(
                here=wire.Link(href=here),
                checkout=wire.Link(href=f"{base_url}/checkout/{self.id}"),
                cancel=wire.Link(href=here) if self.status in OPEN else None,
                refund=wire.Link(href=f"{here}/refunds") if self.status is Status.SUCCEEDED else None,
            ),
        )


class Happened(msgspec.Struct, frozen=True):
    """Something that the merchant is told by a webhook; ``account`` as it was right after it, ``sequence`` included."""

    type: EventType
    account: Account
    refund: Refund | None = None
    dispute: Dispute | None = None


Changed = tuple[Account, tuple[Happened, ...]]


def _tell(
    account: Account, event: EventType, *, refund: Refund | None = None, dispute: Dispute | None = None
) -> Changed:
    numbered = msgspec.structs.replace(account, sequence=account.sequence + 1)
    return numbered, (Happened(event, numbered, refund, dispute),)


def move(account: Account, wanted: Move, now: datetime) -> Changed:
    """Carry out a move. Raises Refused if the payment is past it."""
    allowed, status, event = _MOVES[wanted]
    if account.status not in allowed:
        raise Refused(422, "PAYMENT_NOT_PENDING", f"the payment is {account.status.value}")
    moved = msgspec.structs.replace(
        account,
        status=status,
        unasked=account.unasked if status in OPEN else None,
        captures_at=_money_is_there(account, now) if status is Status.AUTHORIZED else None,
        captured=account.request.amount if status is Status.SUCCEEDED else 0,
    )
    if event is not None:
        return _tell(moved, event)
    return elapse(moved, now) if status is Status.AUTHORIZED else (moved, ())


def refund(account: Account, request: RefundRequest, *, key: str, ident: str, fails: bool, now: datetime) -> Changed:
    """Give money back; the last of ``refunds`` is the new one. Raises Refused."""
    if account.status is not Status.SUCCEEDED:
        raise Refused(422, "PAYMENT_NOT_REFUNDABLE", f"the payment is {account.status.value}")
    if request.amount > account.refundable:
        raise Refused(422, "REFUND_EXCEEDS_PAYMENT", f"{account.refundable} of the payment can be refunded")
    made = Refund(
        id=ident, key=key, request=request, created_at=now, settles_at=_money_is_there(account, now), fails=fails
    )
    return elapse(msgspec.structs.replace(account, refunds=(*account.refunds, made)), now)


def dispute(account: Account, ident: str) -> Changed:
    """The customer has all that is left taken back. Raises Refused."""
    if account.status is not Status.SUCCEEDED or account.refundable <= 0:
        raise Refused(422, "PAYMENT_NOT_DISPUTABLE", "nothing of the payment is left to be taken back")
    made = Dispute(id=ident, amount=account.refundable)
    disputed = msgspec.structs.replace(account, disputes=(*account.disputes, made))
    return _tell(disputed, EventType.DISPUTE_OPENED, dispute=made)


def win_dispute(account: Account) -> Changed:
    """The merchant gets the money back after all. Raises Refused."""
    for index, made in enumerate(account.disputes):
        if not made.won:
            won = msgspec.structs.replace(made, won=True)
            disputes = (*account.disputes[:index], won, *account.disputes[index + 1 :])
            return _tell(msgspec.structs.replace(account, disputes=disputes), EventType.DISPUTE_WON, dispute=won)
    raise Refused(422, "NO_OPEN_DISPUTE", "the payment has no open dispute")


# -- what happens by itself


def due(account: Account) -> datetime | None:
    """When something happens by itself next."""
    expiry = [account.request.expires_at] if account.status in OPEN else []
    return min([*_soon(account), *expiry], default=None)


def busy(account: Account) -> bool:
    """Whether something happens by itself, apart from expiring."""
    return bool(_soon(account))


def elapse(account: Account, now: datetime) -> Changed:
    """Let happen, in its order, what is due by ``now``."""
    told: tuple[Happened, ...] = ()
    while (at := due(account)) is not None and at <= now:
        account, more = _fall_due(account, at)
        told += more
    return account, told


def _soon(account: Account) -> list[datetime]:
    unasked = [account.unasked.at] if account.unasked is not None else []
    captures = [account.captures_at] if account.captures_at is not None else []
    settles = [refund.settles_at for refund in account.refunds if refund.status is RefundStatus.PENDING]
    return [*unasked, *captures, *settles]


def _fall_due(account: Account, at: datetime) -> Changed:
    if account.unasked is not None and account.unasked.at == at:
        return move(account, account.unasked.move, at)
    if account.captures_at == at:
        return move(account, Move.CAPTURE, at)
    for index, made in enumerate(account.refunds):
        if made.status is RefundStatus.PENDING and made.settles_at == at:
            status = RefundStatus.FAILED if made.fails else RefundStatus.SUCCEEDED
            settled = msgspec.structs.replace(made, status=status)
            refunds = (*account.refunds[:index], settled, *account.refunds[index + 1 :])
            event = EventType.REFUND_FAILED if made.fails else EventType.REFUND_SUCCEEDED
            return _tell(msgspec.structs.replace(account, refunds=refunds), event, refund=settled)
    return move(account, Move.EXPIRE, at)


def _money_is_there(account: Account, now: datetime) -> datetime:
    return now + TRANSFER_TAKES if account.request.method == "bank_transfer" else now
