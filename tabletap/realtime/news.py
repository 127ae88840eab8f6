"""What the log's events are in the words of the wire: their payloads, whoever hears them.

Only what the event holds: an order in full where it holds that, else its id and exactly what changed.
"""

import msgspec

from tabletap.domain import events as e
from tabletap.domain.giftcode import masked
from tabletap.domain.order import Line, born, line_view, view
from tabletap.domain.payment import part_view
from tabletap.domain.vocabulary import ItemStatus, OrderStatus, PaymentStatus, RefundStatus

from . import payloads as p

S = OrderStatus

Change = e.OrderChanged | e.ItemsMoved | e.ItemVoided | e.VoidAcknowledged | e.OrderTableMoved
Move = e.OrderStatusChanged | e.OrderCancelled | e.MergeUndone
Pay = (
    e.PaymentInitiated
    | e.PaymentProcessing
    | e.PaymentCompleted
    | e.PaymentClosed
    | e.PaymentUnapplied
    | e.MoreReceived
    | e.PaymentDisputed
    | e.DisputeWon
)


def placed(event: e.OrderPlaced) -> p.WholeOrder:
    return p.WholeOrder(order_id=event.order_id, number=event.number, order=view(born(event)))


def released(event: e.OrderReleased) -> p.WholeOrder:
    """The order as the kitchen first sees it. Of its money the event tells only whether it is paid."""
    placed_as = msgspec.structs.replace(event.placed, lines=event.lines, released=True, needs_approval=False)
    order = view(born(placed_as))
    if event.paid and order.total:
        order = msgspec.structs.replace(
            order, status=S.PAID, payment_status=PaymentStatus.COMPLETED, paid=order.total, owed=0
        )
    return p.WholeOrder(order_id=event.order_id, number=order.number, order=order)


def changed(event: Change) -> p.OrderNews:
    match event:
        case e.OrderChanged():
            added = tuple(
                line_view(Line(facts, event.statuses.get(facts.line, ItemStatus.QUEUED))) for facts in event.added
            )
            return p.OrderNews(order_id=event.order_id, added=added, note=event.note, absorbed=event.absorbed)
        case e.ItemsMoved():
            moved = tuple(p.ItemNews(line, event.to) for line in event.lines)
            return p.OrderNews(order_id=event.order_id, items=moved, device=event.device)
        case e.ItemVoided():
            struck = (p.ItemNews(event.line, ItemStatus.VOIDED),)
            return p.OrderNews(order_id=event.order_id, items=struck, voided=event.line, reason=event.reason)
        case e.VoidAcknowledged():
            struck = (p.ItemNews(event.line, ItemStatus.VOIDED),)
            return p.OrderNews(order_id=event.order_id, items=struck, acknowledged=event.line, device=event.device)
        case e.OrderTableMoved():
            return p.OrderNews(order_id=event.order_id, table=event.table)


def status(event: Move) -> p.OrderNews:
    match event:
        case e.OrderStatusChanged():
            return p.OrderNews(order_id=event.order_id, number=event.number, status=event.to, was=event.was)
        case e.OrderCancelled():
            return p.OrderNews(
                order_id=event.order_id,
                number=event.number,
                status=S.CANCELLED,
                was=event.was,
                reason=event.reason,
                merged_into=event.merged_into,
            )
        case e.MergeUndone():
            # The screens have dropped its lines: here they are again.
            again = tuple(line_view(Line(facts)) for facts in event.lines)
            return p.OrderNews(
                order_id=event.order_id, number=event.number, status=S.PENDING, was=S.CANCELLED, added=again
            )


def payment(event: Pay) -> tuple[str, p.PaymentNews]:
    match event:
        case e.PaymentInitiated():
            return "payment_initiated", p.PaymentNews(
                payment_id=event.payment_id,
                order_id=event.order_id,
                status=PaymentStatus.PENDING,
                amount=event.amount,
                tip_amount=event.tip,
                total_amount=event.total,
                currency=event.currency,
                payment_method=event.method,
                rounding=event.rounding,
                lines=event.lines,
                part=part_view(event.share),
                reference=event.reference,
                expires_at=event.expires_at,
            )
        case e.PaymentCompleted():
            return "payment_completed", p.PaymentNews(
                payment_id=event.payment_id,
                order_id=event.order_id,
                status=PaymentStatus.COMPLETED,
                amount=event.amount,
                tip_amount=event.tip,
                total_amount=event.amount + event.tip + event.rounding,
                payment_method=event.method,
                rounding=event.rounding,
                received=event.received,
                tendered=event.tendered,
                change=event.change,
                surplus=event.surplus or None,
                late=event.late or None,
            )
        case e.PaymentClosed():
            return "payment_failed", p.PaymentNews(
                payment_id=event.payment_id, order_id=event.order_id, status=PaymentStatus(event.status)
            )
        case e.PaymentProcessing():
            return "payment_status_updated", p.PaymentNews(
                payment_id=event.payment_id,
                order_id=event.order_id,
                status=PaymentStatus.PROCESSING,
                redirect_url=event.redirect_url,
            )
        case e.MoreReceived():
            return "payment_status_updated", p.PaymentNews(
                payment_id=event.payment_id, order_id=event.order_id, surplus=event.amount
            )
        case e.PaymentDisputed():
            return "payment_status_updated", p.PaymentNews(
                payment_id=event.payment_id, order_id=event.order_id, disputed=event.amount
            )
        case e.DisputeWon():
            return "payment_status_updated", p.PaymentNews(
                payment_id=event.payment_id, order_id=event.order_id, disputed=0
            )
        case e.PaymentUnapplied():
            return "payment_status_updated", p.PaymentNews(
                payment_id=event.payment_id,
                order_id=event.order_id,
                status=PaymentStatus.COMPLETED,
                surplus=event.amount,
            )


def given_back(event: e.RefundNoted) -> p.OrderNews:
    status = PaymentStatus.PARTIALLY_REFUNDED if event.paid else PaymentStatus.REFUNDED
    return p.OrderNews(order_id=event.order_id, paid=event.paid, refunded=event.refunded, payment_status=status)


Refunding = e.RefundRequested | e.RefundCompleted | e.RefundFailed


def refund(event: Refunding) -> p.RefundNews:
    match event:
        case e.RefundRequested():
            status, refunded = None, None
            refund_status = RefundStatus.PENDING
        case e.RefundCompleted():
            status = PaymentStatus.REFUNDED if event.full else PaymentStatus.PARTIALLY_REFUNDED
            refunded, refund_status = event.refunded, RefundStatus.COMPLETED
        case e.RefundFailed():
            status, refunded = None, None
            refund_status = RefundStatus.FAILED
    return p.RefundNews(
        payment_id=event.payment_id,
        order_id=event.order_id,
        refund_id=event.refund_id,
        refund_status=refund_status,
        status=status,
        amount=event.amount,
        refunded_amount=refunded,
        payment_method=None if isinstance(event, e.RefundFailed) else event.method,
        to=None if isinstance(event, e.RefundFailed) else event.to,
    )


def credit(event: e.AccountCredited | e.AccountDebited) -> p.CreditNews:
    return p.CreditNews(
        account_id=event.account_id,
        entry_id=event.entry_id,
        amount=event.amount if isinstance(event, e.AccountCredited) else -event.amount,
        balance=event.balance,
        customer_id=event.owner,
        granted=event.granted,
        payment_id=event.payment_id,
    )


def discounted(event: e.OrderDiscounted | e.DiscountReturned) -> p.OrderNews:
    if isinstance(event, e.OrderDiscounted):
        return p.OrderNews(order_id=event.order_id, discount=event.amount, owed=event.owed)
    return p.OrderNews(order_id=event.order_id, discount=-event.amount)


def card_sold(event: e.AccountCredited) -> p.GiftCardNews:
    return p.GiftCardNews(
        account_id=event.account_id, card=masked(event.label or ""), balance=event.balance, order=event.reference
    )


def points(event: e.AccountCredited | e.AccountDebited) -> p.LoyaltyNews:
    return p.LoyaltyNews(
        account_id=event.account_id,
        phone=event.label or "",
        points=event.balance,
        change=event.amount if isinstance(event, e.AccountCredited) else -event.amount,
        cause=event.cause,
        order=event.reference,
        reason=event.reason,
    )
