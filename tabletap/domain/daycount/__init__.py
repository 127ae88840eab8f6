"""What a cafe took between two points of its log, counted from the ledger (spec S5): the figures of X and Z reports.

Pure: ``Facts`` are what the ledger holds of that time, added up; ``count`` makes the report of them. Amounts are cents.

The identity, which holds to the cent for any stretch of any log::

    orders = tenders + rounding + refunds + open        where orders = carried in + charged

``carried in``  what orders owed as the time began, less money that was here and not noted on its order yet.
``charged``     what was put on bills in that time: gross (with service charge, tax and gift cards that were bought),
                less discounts and voids. A sale that had been paid when it was voided is not taken off here: its money
                goes back as a refund, and stands there.
``tenders``     money for these orders by way of paying, less what went back the same way. Not in it: tips, and money
                that no order had use for (both are somebody else's). In it: fees that providers keep.
``rounding``    cash rounding; positive: given away, negative: gained.
``refunds``     of what was paid for orders, what was promised back; less refunds that failed. Counted when it is
                promised, out of the tender that it leaves by, done or not.
``open``        ``carried in`` of whatever comes next: no open order vanishes between two reports.

It is the ledger's own balance in other words, but for ``carried in`` and ``open``, which are balances and not sums of
this time's entries: a movement that was left out or counted twice would show. So no tip that comes or is refunded long
after its order can break it (a tip is no part of it), and no opening float is sales (drawers stand apart).

Reading order: ``facts``, ``report``, ``counting``.
"""

from .counting import count
from .facts import CARRIED, DrawerCount, Fact, Facts, Hour, Sold
from .report import DayCount, GiftCards, Identity, Sales, Takings, Tender, Tips

__all__ = [
    "CARRIED",
    "DayCount",
    "DrawerCount",
    "Fact",
    "Facts",
    "GiftCards",
    "Hour",
    "Identity",
    "Sales",
    "Sold",
    "Takings",
    "Tender",
    "Tips",
    "count",
]
