"""Payments: begin one, look at it, verify it, give it up, give it back."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.actors.cafe import Available, GetCafe
from tabletap.actors.drawer import GetDrawer
from tabletap.actors.order import GetOrder
from tabletap.actors.payment import GetPayment
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import Kind, Ref, utc
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.order import InitiatePayment, Split
from tabletap.domain.payment import OPEN, Cancel, PaymentView, Refund, VerifyCash, VerifyNow, VerifyTransfer
from tabletap.domain.vocabulary import MANUAL, ItemStatus, Method, RefundTo

from .base import About, Call, Key, Operation
from .orders import ReasonBody
from .payers import GiftCode, payer_of

Amount = Annotated[int, msgspec.Meta(ge=1, le=100_000_00)]
Tip = Annotated[int, msgspec.Meta(ge=0, le=1_000_00)]
MetaKey = Annotated[str, msgspec.Meta(max_length=40)]
MetaValue = Annotated[str, msgspec.Meta(max_length=200)]


class InitiateBody(msgspec.Struct, frozen=True, rename="camel"):
    """``amount`` left out: all that is still owed, or what ``split`` comes to: these lines, or the next even share.

    ``giftCard``: its code, where it pays. ``customerId``: whose credit staff spend; a customer spends their own.
    """

    order_id: UUID
    payment_method: Method
    amount: Amount | None = None
    split: Split | None = None
    gift_card: GiftCode | None = None
    tip_amount: Tip | None = None
    customer_id: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$")] | None = None
    metadata: Annotated[dict[MetaKey, MetaValue], msgspec.Meta(max_length=20)] | None = None


class VerifyBody(msgspec.Struct, frozen=True, rename="camel"):
    """Cash: ``tendered`` (and the drawer it went into). Transfer: ``received``. Of a provider: neither."""

    tendered: Amount | None = None
    received: Amount | None = None
    drawer_id: UUID | None = None


class RefundBody(msgspec.Struct, frozen=True, rename="camel"):
    """``amount`` left out: all that is left. ``to``: the way it came, or the customer's credit."""

    amount: Amount | None = None
    reason: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    drawer_id: UUID | None = None
    to: RefundTo = RefundTo.ORIGINAL


class PaymentList(msgspec.Struct, frozen=True):
    """Oldest first, as they stand; how to pay one that is open is in its own answer."""

    payments: tuple[PaymentView, ...]


async def initiate(call: Call) -> Any:
    """Check that what has not been made yet can still be made, then have the order set the amount aside."""
    body: InitiateBody = call.body
    method, desk = body.payment_method, call.services.desk
    if method not in call.services.gateways:
        return Refusal(Code.METHOD_UNSUPPORTED, f"{method} is not taken here")
    checked_at = utc(call.services.now())
    sold_out = await _still_available(call)
    if sold_out is not None:
        return sold_out
    cafe = await desk.query(call.cafe_ref(), GetCafe())
    if isinstance(cafe, Refusal):
        return cafe
    payer = await payer_of(call, method, body.customer_id, body.gift_card, cafe.settings)
    if isinstance(payer, Refusal):
        return payer
    command = InitiatePayment(
        method=method,
        amount=body.amount,
        tip=body.tip_amount or 0,
        currency=body.currency,
        customer_id=payer.customer_id,
        metadata=body.metadata or {},
        split=body.split,
        account=payer.account,
        credit=payer.credit,
        surplus=cafe.settings.surplus,
        funds=payer.funds,
        checked_at=checked_at,
    )
    return await desk.ask(call.order_ref(), command, call.by, call.idempotency)


async def _still_available(call: Call) -> Refusal | None:
    """An order that the kitchen does not have yet must not be charged for what has sold out since."""
    desk = call.services.desk
    order = await desk.query(call.order_ref(), GetOrder())
    if isinstance(order, Refusal):
        return order
    if order.in_kitchen or order.status not in ("pending", "payment_pending"):
        return None
    skus = frozenset(line.sku for line in order.items if line.status is not ItemStatus.VOIDED)
    answer: Refusal | None = await desk.query(call.cafe_ref(), Available(skus))
    return answer


async def with_way_to_pay(call: Call, stored: PaymentView) -> PaymentView | Refusal:
    """The payment with how to pay it, while it can be paid."""
    gateway = call.services.gateways.get(stored.payment_method)
    if gateway is None or stored.status not in OPEN or not gateway.manual:
        return stored
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    if isinstance(cafe, Refusal):
        return cafe  # better no answer yet than one without a code to scan: the repeat under the same key has it
    shown = gateway.present(stored, cafe)
    return msgspec.structs.replace(
        stored, redirect_url=shown.redirect_url, payment_url=shown.payment_url, qr_code_data=shown.qr_code_data
    )


async def as_it_stands(call: Call, stored: PaymentView) -> PaymentView | Refusal:
    """What was begun, with what its provider has said since: a replayed answer, too, sends nobody to a stale page."""
    if stored.payment_method in MANUAL:
        return await with_way_to_pay(call, stored)
    now: PaymentView | Refusal = await call.services.desk.query(
        Ref(Kind.PAYMENT, stored.payment_id, call.cafe_id), GetPayment()
    )
    return now


async def get(call: Call) -> Any:
    """One payment as it stands."""
    payment = await call.services.reader.payment(call.payment_ref().id)  # type: ignore[arg-type]
    if payment is None:
        return Refusal(Code.NOT_FOUND, "there is no such payment")
    return await with_way_to_pay(call, payment)


async def list_(call: Call) -> Any:
    """Every attempt to pay an order."""
    assert call.subject is not None
    return PaymentList(tuple(await call.services.reader.payments(call.subject.order_id)))


async def verify(call: Call) -> Any:
    """Staff have counted the cash, or seen the transfer arrive; or the provider is to be asked now."""
    body: VerifyBody = call.body or VerifyBody()
    if body.tendered is not None and body.received is not None:
        return invalid("tendered", "say what was tendered (cash) or received (transfer), not both")
    missing = await _drawer_missing(call, body.drawer_id)
    if missing is not None:
        return missing
    command: VerifyCash | VerifyTransfer | VerifyNow = VerifyNow()
    if body.tendered is not None:
        sold_out = await _still_available(call)  # a transfer is here already: what nobody can have is given back
        if sold_out is not None:
            return sold_out
        command = VerifyCash(body.tendered, body.drawer_id)
    elif body.received is not None:
        command = VerifyTransfer(body.received)
    return await call.services.desk.ask(call.payment_ref(), command, call.by, call.idempotency)


async def refund(call: Call) -> Any:
    """Give money back."""
    body = call.body or RefundBody()
    missing = await _drawer_missing(call, body.drawer_id)
    if missing is not None:
        return missing
    command = Refund(body.amount, body.reason, body.drawer_id, body.to)
    return await call.services.desk.ask(call.payment_ref(), command, call.by, call.idempotency)


async def _drawer_missing(call: Call, drawer_id: UUID | None) -> Refusal | None:
    if drawer_id is None:
        return None
    drawer = await call.services.desk.query(Ref(Kind.DRAWER, drawer_id, call.cafe_id), GetDrawer())
    return invalid("drawerId", "there is no such drawer") if isinstance(drawer, Refusal) else None


async def cancel(call: Call) -> Any:
    """Give it up, so that another way of paying can be chosen."""
    command = Cancel(call.body.reason if call.body else None)
    return await call.services.desk.ask(call.payment_ref(), command, call.by, call.idempotency)


def _on_payment(
    name: str, verb: str, summary: str, body: Any, handler: Any, key: Key, *, own: bool = False
) -> Operation:
    return Operation(
        name=f"payments.{name}",
        method="POST",
        path=f"/api/payments/{{paymentId}}/{verb}",
        summary=summary,
        access=Access(access.STAFF, own_order=own),
        body=body,
        reply=PaymentView,
        key=key,
        about=About.PAYMENT,
        stored=PaymentView,
        finish=as_it_stands if verb != "cancel" else None,
        handler=handler,
    )


OPERATIONS = (
    Operation(
        name="payments.initiate",
        method="POST",
        path="/api/payments/initiate",
        summary="Begin to pay (part of) an order",
        access=Access(access.STAFF, own_order=True),
        body=InitiateBody,
        reply=PaymentView,
        status=201,
        key=Key.REQUIRED,
        about=About.ORDER,
        stored=PaymentView,
        finish=as_it_stands,
        handler=initiate,
    ),
    Operation(
        name="payments.status",
        method="GET",
        path="/api/payments/{paymentId}/status",
        summary="A payment as it stands",
        access=Access(access.STAFF, own_order=True),
        reply=PaymentView,
        about=About.PAYMENT,
        handler=get,
    ),
    Operation(
        name="payments.list",
        method="GET",
        path="/api/orders/{orderId}/payments",
        summary="Every attempt to pay an order, with its refunds",
        access=Access(access.STAFF),
        reply=PaymentList,
        about=About.ORDER,
        handler=list_,
    ),
    _on_payment(
        "verify", "verify", "Cash has been counted, a transfer has arrived", VerifyBody | None, verify, Key.REQUIRED
    ),
    _on_payment("refund", "refund", "Give money back", RefundBody | None, refund, Key.REQUIRED),
    _on_payment("cancel", "cancel", "Give a payment up", ReasonBody | None, cancel, Key.OPTIONAL, own=True),
)
