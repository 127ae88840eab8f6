"""The service charge (spec W5): no tip, but income of the cafe's own, with tax in it.

It is worked out on the subtotal of the lines that come together, and each carries its share: so a void takes its part
of the charge along, and whoever pays for a line pays for its share.
"""

from collections.abc import Sequence

import msgspec

from tabletap.domain import events as e
from tabletap.domain.menu import Priced
from tabletap.domain.money import percent_of, split, tax_within


def number_lines(
    priced: Sequence[Priced], first: int, terms: e.ServiceTerms | None, *, added: bool = False
) -> tuple[e.Numbered, ...]:
    """Priced wishes as lines of a ticket, from the number ``first`` on, with their shares of the service charge."""
    totals = [line.total for line in priced]
    service = percent_of(sum(totals), terms.rate) if terms else 0
    shares = split(service, totals) if service else [0] * len(totals)
    tax = tax_within(service, terms.tax_rate) if terms else 0
    taxes = split(tax, shares) if tax else [0] * len(totals)
    return tuple(
        e.Numbered(
            line=first + index,
            added=added,
            service=shares[index],
            service_tax=taxes[index],
            service_class=terms.tax_class if terms and shares[index] else "",
            **msgspec.structs.asdict(line),
        )
        for index, line in enumerate(priced)
    )
