"""The figures of a report. Amounts are cents."""

import msgspec

from tabletap.domain.vocabulary import Method

from .facts import DrawerCount, Hour, Sold


class Identity(msgspec.Struct, frozen=True, rename="camel"):
    """orders = carried in + charged = tenders + rounding + refunds + open.

    ``difference``: 0, or the books are wrong.
    """

    carried_in: int
    charged: int
    orders: int
    tenders: int
    rounding: int
    refunds: int
    open: int
    difference: int


class Sales(msgspec.Struct, frozen=True, rename="camel"):
    """``gross``: put on bills. ``moved``: 0, but if an order was on its way into another as the time began or ended.
    ``net`` = gross + moved - discounts - voids - refunds - gift cards (a liability, no sale, as far as they are good).
    ``tax`` is contained in it, by class, as is ``service_charge``, which is given without its tax."""

    gross: int
    moved: int
    discounts: int
    voids: int
    refunds: int
    gift_cards: int
    net: int
    service_charge: int
    tax: dict[str, int]


class Tender(msgspec.Struct, frozen=True, rename="camel"):
    """One way of paying. ``received``: all the money, by so many ``payments``, of which ``tips`` and ``surplus`` were
    for no order. ``refunded``: promised back by this way, of which ``refunded_tips`` and ``refunded_surplus`` (what no
    order had use for). ``taken`` = received - tips - surplus - (refunded - refunded tips - refunded surplus).
    ``disputed``: taken back by its provider; the sale stands. ``fees``: what providers keep of ``received``."""

    method: Method
    payments: int
    received: int
    tips: int
    surplus: int
    refunded: int
    refunded_tips: int
    refunded_surplus: int
    taken: int
    disputed: int
    fees: int


class Takings(msgspec.Struct, frozen=True, rename="camel"):
    """The same money as tills report it, each cent once: cash and gift cards wherever the order came from, ``card``
    (and wallets) for counter orders, ``online`` whatever else paid for online and table orders, ``other`` (transfers,
    credit) for counter orders. Cash as billed, before it was rounded.

    ``total``: all of it before discounts, ``net`` = total - discounts - refunds. ``total_orders``: placed in
    this time, and not cancelled in it or merged into another."""

    total_sales: int
    total_orders: int
    cash_sales: int
    card_sales: int
    gift_card_sales: int
    online_sales: int
    other_sales: int
    discounts: int
    refunds: int
    net_sales: int


class Tips(msgspec.Struct, frozen=True, rename="camel"):
    """``undistributed`` and ``owed`` (to staff, distributed and not paid out) as the time ended."""

    received: int
    refunded: int
    distributed: int
    paid_out: int
    undistributed: int
    owed: int


class GiftCards(msgspec.Struct, frozen=True, rename="camel"):
    """``sold``: have become good because their order was paid. ``granted``: loaded by management. ``used_here``: paid
    orders of ours, less refunds onto cards; ``used_at_tills``: for sales of the tills' own. ``taken_back``: of what was
    sold and refunded. ``outstanding``: what the cafe owed on cards as the time ended."""

    sold: int
    granted: int
    used_here: int
    used_at_tills: int
    expired: int
    taken_back: int
    outstanding: int


class DayCount(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The report. ``owed_back``: money that no order had use for and that waits for whoever paid it; ``refunds_due``:
    promised and not given back yet; both as the time ended. ``by_channel``: gross less voids."""

    currency: str
    placed: int
    cancelled: int
    identity: Identity
    sales: Sales
    by_channel: dict[str, int]
    tenders: tuple[Tender, ...]
    takings: Takings
    tips: Tips
    gift_cards: GiftCards
    owed_back: int
    refunds_due: int
    drawers: tuple[DrawerCount, ...]
    top_items: tuple[Sold, ...]
    busy_hours: tuple[Hour, ...]
