"""Log, entries and balances as whole tables: nothing missing, nothing too much, everything summing up."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

from tabletap.domain.audit import TRANSIT, Finding, Rule, bound_of, cents
from tabletap.domain.base import CafeId
from tabletap.store.pool import Connection, Row

from .dossier import CAFE_TYPES, Cut
from .report import Notes

PAGE: Final = 2_000
"""Rows of an answer at once."""


class Whole:
    """``now``: not a former state, so balances are compared as well."""

    def __init__(self, connection: Connection, notes: Notes, cut: Cut, cafe_id: CafeId | None, *, now: bool) -> None:
        self._connection = connection
        self._notes = notes
        self._cut = cut
        self._cafe_id = cafe_id
        self._now = now

    async def check_log(self) -> None:
        """Its offsets are contiguous."""
        self._notes.checked.cafes = len(self._cut.heads)
        async for cafe_id, head, count in self._stream("counts", _COUNTS, *self._cut.columns):
            self._notes.checked.events += count
            if count != head:
                words = f"the log ends at {head} and has {count} events: {head - count} are missing"
                self._blame(Rule.LOG, f"cafe {cafe_id}", words, cafe_id)

    async def check_entries(self) -> None:
        """Those of an event sum to nothing, and none is without an event that moves money."""
        columns = self._cut.columns
        async for (count,) in self._stream("entries", _ENTRIES, *columns):
            self._notes.checked.entries = count
        async for cafe_id, offset, currency, total in self._stream("uneven", _UNEVEN, *columns):
            words = f"its entries sum to {cents(total)} {currency}, not to nothing"
            self._blame(Rule.SUM, f"offset {offset}", words, cafe_id)
        async for cafe_id, offset, account, currency, amount in self._stream("orphans", _ORPHANS, self._cafe_id):
            words = f"{account} {cents(amount)} {currency} belongs to no event of the log"
            self._blame(Rule.ENTRIES, f"offset {offset}", words, cafe_id)
        # What a cafe says moves no money; what does is in its dossier, and all else here is too much.
        async for cafe_id, offset, type_, account, currency, amount in self._stream(
            "idle", _IDLE, *columns, CAFE_TYPES
        ):
            words = f"{type_} moves no money, the ledger has {account} {cents(amount)} {currency}"
            self._blame(Rule.ENTRIES, f"offset {offset}", words, cafe_id)

    async def check_balances(self) -> None:
        """They are the sums of their entries and within their bounds, and all of a currency sum to nothing."""
        notes, by_cafe, transit = self._notes, Counter[tuple[CafeId, str]](), 0
        arguments = (*self._cut.columns, self._cafe_id, self._now)
        async for cafe_id, account, currency, total, balance in self._stream("balances", _BALANCES, *arguments):
            notes.checked.accounts += 1
            notes.sums[currency] = notes.sums.get(currency, 0) + (total or 0)
            by_cafe[cafe_id, currency] += total or 0
            transit += total or 0 if account in TRANSIT else 0
            if self._now and (total is None or total != balance):
                words = f"the balance is {_or_none(balance)}, its entries sum to {_or_none(total)} {currency}"
                self._blame(Rule.BALANCE, account, words, cafe_id)
            bound = bound_of(account, total or 0)
            if bound is not None:
                self._blame(Rule.BOUND, account, bound, cafe_id)
        for (cafe_id, currency), total in by_cafe.items():
            if total:
                words = f"all entries sum to {cents(total)} {currency}, not to nothing"
                self._blame(Rule.SUM, f"cafe {cafe_id}", words, cafe_id)
        # Of one cafe alone, credit of the installation is not seen from both its ends.
        if self._cafe_id is None and transit != notes.in_transit:
            words = f"{cents(transit)} stands there, payments account for {cents(notes.in_transit)}"
            self._blame(Rule.TRANSIT, "transit of all cafes", words)

    def _blame(self, rule: Rule, about: str, words: str, cafe_id: CafeId | None = None) -> None:
        self._notes.faults.add(Finding(rule, about, words, cafe_id))

    async def _stream(self, name: str, query: str, *arguments: Any) -> AsyncIterator[Row]:
        """The rows of a query, page by page. Each has a cursor of its own name: the driver remembers its columns."""
        await self._connection.execute(f"DECLARE audited_{name} NO SCROLL CURSOR FOR {query}", *arguments)
        while page := await self._connection.fetch(f"FETCH {PAGE} FROM audited_{name}"):
            for row in page:
                yield row
        await self._connection.execute(f"CLOSE audited_{name}")


def _or_none(amount: int | None) -> str:
    return "missing" if amount is None else cents(amount)


_CUT: Final = "JOIN unnest($1::uuid[], $2::bigint[]) AS cut (cafe_id, head) USING (cafe_id)"
_COUNTS: Final = f"""
    SELECT cafe_id, head, count(*) FROM events {_CUT} WHERE "offset" <= head GROUP BY cafe_id, head
"""
_ENTRIES: Final = f'SELECT count(*) FROM ledger_entries {_CUT} WHERE "offset" <= head'
_UNEVEN: Final = f"""
    SELECT cafe_id, "offset", currency, sum(amount)::bigint FROM ledger_entries {_CUT} WHERE "offset" <= head
    GROUP BY 1, 2, 3 HAVING sum(amount) <> 0 ORDER BY 1, 2
"""
_ORPHANS: Final = """
    SELECT entry.cafe_id, entry."offset", account, currency, amount FROM ledger_entries AS entry
    WHERE ($1::uuid IS NULL OR entry.cafe_id = $1) AND NOT EXISTS (
        SELECT FROM events WHERE events.cafe_id = entry.cafe_id AND events."offset" = entry."offset")
    ORDER BY 1, 2
"""
_IDLE: Final = f"""
    SELECT cafe_id, "offset", type, account, currency, amount FROM ledger_entries AS entry {_CUT}
    JOIN events USING (cafe_id, "offset")
    WHERE "offset" <= head AND events.kind = 'cafe' AND type <> ALL ($3::text[]) ORDER BY 1, 2
"""
_BALANCES: Final = f"""
    SELECT cafe_id, account, currency, total, balance FROM (
        SELECT cafe_id, account, currency, sum(amount)::bigint AS total FROM ledger_entries {_CUT}
        WHERE "offset" <= head GROUP BY 1, 2, 3) AS summed
    FULL JOIN (SELECT * FROM ledger_balances WHERE $4::bool AND ($3::uuid IS NULL OR cafe_id = $3)) AS kept
        USING (cafe_id, account, currency)
"""
