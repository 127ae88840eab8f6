"""From facts to figures."""

from collections.abc import Iterable

from tabletap.domain.vocabulary import Channel, Method

from .facts import Fact, Facts
from .report import DayCount, GiftCards, Identity, Sales, Takings, Tender, Tips

CARDS = frozenset({Method.PAYCONIC_CARD, Method.PAYCONIC_DIGITAL_WALLET, Method.STRIPE_CARD})

_BILLED = frozenset({"order.placed", "order.changed"})
_VOIDED = frozenset({"order.item_voided", "order.cancelled"})
_LOWERED = frozenset({"order.discounted", "order.discount_returned"})
_CAME = frozenset({"payment.completed", "payment.more_received"})
_PROMISED = frozenset({"payment.refund_requested", "payment.refund_failed"})
_DISPUTES = frozenset({"payment.disputed", "payment.dispute_won"})


class _Sums:
    """Facts, added up by what is asked of them."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.facts = tuple(facts)

    def of(self, account: str | None, events: Iterable[str], **more: object) -> int:
        """What these events put onto ``account`` (None: all that name money and not what it is for)."""
        wanted = frozenset(events)
        return sum(
            fact.amount
            for fact in self.facts
            if fact.event in wanted
            and (fact.account == account if account is not None else _is_money(fact.account))
            and all(getattr(fact, name) == value for name, value in more.items())
        )

    def only(self, **more: object) -> "_Sums":
        return _Sums(fact for fact in self.facts if all(getattr(fact, name) == value for name, value in more.items()))

    def events(self, beginning: str) -> frozenset[str]:
        return frozenset(fact.event for fact in self.facts if fact.event.startswith(beginning))


def _is_money(account: str) -> bool:
    """Whether it is an asset that a way of paying lands on, or what its provider keeps of that."""
    return account in {"cash", "bank", "credit_transit", "gift_transit", "fees"} or account.startswith("provider:")


def count(facts: Facts) -> DayCount:
    """The report of a time, from what the ledger holds of it."""
    sums = _Sums(facts.entries)
    sales = _sales(sums)
    tenders = _tenders(sums)
    return DayCount(
        currency=facts.currency,
        placed=facts.placed,
        cancelled=facts.cancelled,
        identity=_identity(facts, sums, sales, tenders),
        sales=sales,
        by_channel={
            channel.value: amount
            for channel in Channel
            if (amount := sums.of("receivable", _BILLED | _VOIDED | {"order.merge_undone"}, channel=channel))
        },
        tenders=tenders,
        takings=_takings(facts, sums, sales),
        tips=_tips(facts, sums, tenders),
        gift_cards=_gift_cards(facts, sums),
        owed_back=-facts.after.get("unapplied", 0),
        refunds_due=-facts.after.get("refunds_due", 0),
        drawers=facts.drawers,
        top_items=facts.items,
        busy_hours=facts.hours,
    )


def _sales(sums: _Sums) -> Sales:
    moves = ("order.changed", "order.cancelled", "order.merge_undone")
    gross = sums.of("receivable", _BILLED, moved=False)
    moved = sums.of("receivable", moves, moved=True)
    voids = -sums.of("receivable", _VOIDED, moved=False)
    discounts = -sums.of("receivable", _LOWERED)
    refunds = sums.of("refunds", sums.events("payment."))
    orders = sums.events("order.")
    gift_cards = -sums.of("gift_sold", orders) + 0
    taxes: dict[str, int] = {}
    for fact in sums.facts:
        if fact.event in orders and fact.account.startswith("tax:"):
            tax_class = fact.account.removeprefix("tax:")
            taxes[tax_class] = taxes.get(tax_class, 0) - fact.amount
    return Sales(
        gross=gross,
        moved=moved,
        discounts=discounts,
        voids=voids,
        refunds=refunds,
        gift_cards=gift_cards,
        net=gross + moved - discounts - voids - refunds - gift_cards,
        service_charge=-sums.of("service_charge", orders),
        tax=dict(sorted(taxes.items())),
    )


def _identity(facts: Facts, sums: _Sums, sales: Sales, tenders: Iterable[Tender]) -> Identity:
    before, after = (moment.get("receivable", 0) + moment.get("clearing", 0) for moment in (facts.before, facts.after))
    charged = sales.gross + sales.moved - sales.discounts - sales.voids
    taken = sum(tender.taken for tender in tenders)
    rounding = sums.of("rounding", sums.events("payment."))
    return Identity(
        carried_in=before,
        charged=charged,
        orders=before + charged,
        tenders=taken,
        rounding=rounding,
        refunds=sales.refunds,
        open=after,
        difference=before + charged - taken - rounding - sales.refunds - after,
    )


def _tenders(sums: _Sums) -> tuple[Tender, ...]:
    found = (_tender(method, sums.only(way=method)) for method in Method)
    return tuple(one for one in found if one is not None)


def _tender(method: Method, sums: _Sums) -> Tender | None:
    if not sums.events("payment."):
        return None
    received = sums.of(None, _CAME)
    tips = -sums.of("tips", _CAME)
    surplus = -sums.of("unapplied", _CAME | {"payment.unapplied"})
    refunded = -sums.of("refunds_due", _PROMISED)
    refunded_tips, refunded_surplus = sums.of("tips", _PROMISED), sums.of("unapplied", _PROMISED)
    return Tender(
        method=method,
        payments=sum(fact.entries for fact in sums.facts if _is_completion(fact)),
        received=received,
        tips=tips,
        surplus=surplus,
        refunded=refunded,
        refunded_tips=refunded_tips,
        refunded_surplus=refunded_surplus,
        taken=received - tips - surplus - (refunded - refunded_tips - refunded_surplus),
        disputed=sums.of("chargebacks", _DISPUTES),
        fees=sums.of("fees", _CAME | _DISPUTES),
    )


def _is_completion(fact: Fact) -> bool:
    return fact.event == "payment.completed" and fact.account == "clearing"


def _takings(facts: Facts, sums: _Sums, sales: Sales) -> Takings:
    """What payments brought to their orders: what they put onto ``clearing``."""
    money = {"cash_sales": 0, "card_sales": 0, "gift_card_sales": 0, "online_sales": 0, "other_sales": 0}
    for fact in sums.facts:
        if fact.account == "clearing" and fact.event.startswith("payment."):
            money[_taken_as(fact)] -= fact.amount
    total = sum(money.values()) + sales.discounts
    return Takings(
        total_sales=total,
        total_orders=sum(hour.orders for hour in facts.hours),
        **money,
        discounts=sales.discounts,
        refunds=sales.refunds,
        net_sales=total - sales.discounts - sales.refunds,
    )


def _taken_as(fact: Fact) -> str:
    match fact.way:
        case Method.CASH:
            return "cash_sales"
        case Method.GIFT_CARD:
            return "gift_card_sales"
    if fact.channel is not Channel.COUNTER:
        return "online_sales"
    return "card_sales" if fact.way in CARDS else "other_sales"


def _tips(facts: Facts, sums: _Sums, tenders: Iterable[Tender]) -> Tips:
    shown = tuple(tenders)
    return Tips(
        received=sum(one.tips for one in shown),
        refunded=sum(one.refunded_tips for one in shown),
        distributed=sums.of("tips", {"tips.distributed"}),
        paid_out=sums.of("tips_owed", {"tips.paid_out"}),
        undistributed=-facts.after.get("tips", 0),
        owed=-facts.after.get("tips_owed", 0),
    )


def _gift_cards(facts: Facts, sums: _Sums) -> GiftCards:
    """By the other side of what moved on cards."""
    moved = ("account.credited", "account.debited")
    return GiftCards(
        sold=sums.of("gift_sold", moved),
        granted=-sums.of("gift", moved) - sum(sums.of(other, moved) for other in _OTHER_SIDES),
        used_here=-sums.of("gift_transit", moved),
        used_at_tills=-sums.of("gift_redeemed", moved),
        expired=-sums.of("breakage", moved),
        taken_back=-sums.of("refunds", moved),
        outstanding=-facts.after.get("gift", 0),
    )


_OTHER_SIDES = ("gift_sold", "gift_transit", "gift_redeemed", "breakage", "refunds")
"""Of gift cards; what management loads is on ``credit_granted``, as customers' credit is."""
