"""What an audit tells: how much it looked at, what does not match, and what is on its way."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from tabletap.domain.audit import Finding

FINDINGS: Final = 1_000
"""So many are told of each sort; all are counted."""


class Checked(msgspec.Struct, rename="camel"):
    """How much was looked at."""

    cafes: int = 0
    events: int = 0
    entries: int = 0
    accounts: int = 0
    orders: int = 0
    payments: int = 0
    refunds: int = 0
    drawers: int = 0
    customer_accounts: int = 0
    rows: int = 0


class Report(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What an audit has found. ``sums``: of all entries by currency, each of which must be 0.

    ``on_its_way``: money between a payment and its order or account, with something left to move it on: no fault.
    """

    at: datetime | None
    checked: Checked
    sums: Mapping[str, int]
    fault_count: int
    faults: tuple[Finding, ...]
    on_its_way_count: int
    on_its_way: tuple[Finding, ...]


class Findings:
    """The first of many, and how many."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Finding] = []

    def add(self, *found: Finding) -> None:
        self.extend(found)

    def extend(self, found: Iterable[Finding]) -> None:
        for finding in found:
            self.count += 1
            if len(self.first) < FINDINGS:
                self.first.append(finding)


class Notes:
    """What is written down while an audit goes on. ``in_transit``: cents that payments account for, all told."""

    def __init__(self) -> None:
        self.checked = Checked()
        self.faults = Findings()
        self.on_its_way = Findings()
        self.sums: dict[str, int] = {}
        self.in_transit = 0

    def report(self, at: datetime | None) -> Report:
        return Report(
            at=at,
            checked=self.checked,
            sums=self.sums,
            fault_count=self.faults.count,
            faults=tuple(self.faults.first),
            on_its_way_count=self.on_its_way.count,
            on_its_way=tuple(self.on_its_way.first),
        )
