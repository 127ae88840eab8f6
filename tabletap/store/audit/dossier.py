"""All that log and ledger know of one entity, page by page: of an order its payments too, since they share its money.

For whoever judges what was written (``audit``). Memory holds the streams of one page, whatever the size of the log.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from tabletap.actors.ports import Recorded, State
from tabletap.domain.base import CafeId, Kind, Ref
from tabletap.domain.ledger import POSTINGS
from tabletap.store import codec
from tabletap.store.pool import Connection
from tabletap.store.rebuild import LIVES

PAGE: Final = 200
"""Entities at once."""

Posted = tuple[str, str, int, UUID | None, UUID | None]
"""An entry: account, currency, amount, order, payment."""


class Cut(NamedTuple):
    """The part of each cafe's log that is looked at: up to an offset."""

    heads: Mapping[CafeId, int]

    @property
    def columns(self) -> tuple[list[CafeId], list[int]]:
        return list(self.heads), list(self.heads.values())


class Dossier(NamedTuple):
    """``entries`` by offset. ``broken``: why its events cannot be followed."""

    ref: Ref
    events: list[Recorded]
    states: dict[Ref, State]
    entries: Mapping[int, list[Posted]]
    broken: str | None = None


async def cut(connection: Connection, cafe_id: CafeId | None, at: datetime | None) -> Cut:
    """The log as it was ``at`` (None: now), of one cafe or of all.

    What was decided by then and everything before it: a clock that runs ahead tears no payment from its order.
    """
    rows = await connection.fetch(
        """SELECT cafe_id, max("offset") FROM events
           WHERE ($1::uuid IS NULL OR cafe_id = $1) AND ($2::timestamptz IS NULL OR at <= $2) GROUP BY cafe_id""",
        cafe_id,
        at,
    )
    return Cut({CafeId(row[0]): row[1] for row in rows})


async def pages(connection: Connection, cut: Cut) -> AsyncIterator[Sequence[Dossier]]:
    """Every entity that was born within the cut, but payments: they come with their orders."""
    last = None
    while True:
        births = await connection.fetch(_BIRTHS, *cut.columns, last, PAGE)
        if not births:
            return
        last = births[-1]["entity_id"]
        refs = [Ref(Kind(kind), entity_id, CafeId(cafe_id)) for kind, entity_id, cafe_id in births]
        orders = [ref for ref in refs if ref.kind is Kind.ORDER]
        others = [ref for ref in refs if ref.kind not in (Kind.ORDER, Kind.PAYMENT)]
        yield [
            *await _read(connection, cut, orders, _OF_ORDERS, _ENTRIES_OF_ORDERS),
            *await _read(connection, cut, others, _OF_OTHERS, _ENTRIES_OF_OTHERS, CAFE_TYPES),
        ]


async def _read(
    connection: Connection, cut: Cut, refs: Sequence[Ref], streams: str, entries: str, *more: Any
) -> list[Dossier]:
    if not refs:
        return []
    ids = [ref.id for ref in refs]
    cafes = [ref.cafe_id for ref in refs]
    heads = [cut.heads[cafe_id] for cafe_id in cafes]
    events: dict[UUID, list[Recorded]] = defaultdict(list)
    for row in await connection.fetch(streams, ids, cafes, heads, *more):
        events[row["stream"]].append(codec.recorded(row))
    posted: dict[UUID, dict[int, list[Posted]]] = defaultdict(lambda: defaultdict(list))
    for stream, offset, account, currency, amount, order_id, payment_id in await connection.fetch(
        entries, ids, cafes, heads, *more
    ):
        posted[stream][offset].append((account, currency, amount, order_id, payment_id))
    return [_dossier(ref, events[ref.id], posted[ref.id]) for ref in refs]


def _dossier(ref: Ref, events: list[Recorded], entries: Mapping[int, list[Posted]]) -> Dossier:
    broken = _gap(events) if ref.kind is not Kind.CAFE else None  # of a cafe only some events were read
    return Dossier(ref, events, {} if broken else _followed(events), entries, broken)


def _gap(events: Iterable[Recorded]) -> str | None:
    versions: dict[Ref, int] = defaultdict(int)
    for one in events:
        versions[one.ref] += 1
        if one.version != versions[one.ref]:
            return f"version {versions[one.ref]} of {one.ref.kind} {one.ref.id} is missing from the log"
    return None


def _followed(events: Iterable[Recorded]) -> dict[Ref, State]:
    """The states that the events have led to; what one entity decided about another changes both."""
    states: dict[Ref, State] = {}
    for one in events:
        life = LIVES[one.ref.kind]
        known = states.get(one.ref)
        states[one.ref] = life.born(one) if known is None else life.evolve(known, one.event)
        author = states.get(one.author)
        if one.author != one.ref and author is not None:
            states[one.author] = LIVES[one.author.kind].evolve(author, one.event)
    return states


# Of a cafe only what its row is made of and what moves money: everything it says would be its whole log.
CAFE_TYPES: Final = [
    "cafe.opened",
    "cafe.configured",
    *(str(event.__struct_config__.tag) for event in POSTINGS),
]

_BIRTHS: Final = """
    SELECT kind, entity_id, cafe_id FROM events
    JOIN unnest($1::uuid[], $2::bigint[]) AS cut (cafe_id, head) USING (cafe_id)
    WHERE version = 1 AND "offset" <= head AND ($3::uuid IS NULL OR entity_id > $3)
    ORDER BY entity_id LIMIT $4
"""
_PAGE: Final = "unnest($1::uuid[], $2::uuid[], $3::bigint[])"
_COLUMNS: Final = ", ".join(f"events.{column.strip()}" for column in codec.RECORDED.split(","))
_POSTED: Final = "account, currency, amount, entry.order_id, entry.payment_id"
_ABOUT_ORDERS: Final = f"""
    FROM {_PAGE} AS page (order_id, cafe_id, head)
    JOIN events ON events.cafe_id = page.cafe_id AND events.order_id = page.order_id AND events."offset" <= head
"""
_ABOUT_OTHERS: Final = f"""
    FROM {_PAGE} AS page (entity_id, cafe_id, head)
    JOIN events ON events.entity_id = page.entity_id AND events."offset" <= head
        AND (events.kind <> 'cafe' OR events.type = ANY ($4::text[]))
"""
_ENTRY: Final = 'JOIN ledger_entries AS entry ON entry.cafe_id = events.cafe_id AND entry."offset" = events."offset"'
_OF_ORDERS: Final = f'SELECT {_COLUMNS}, page.order_id AS stream {_ABOUT_ORDERS} ORDER BY events."offset"'
_OF_OTHERS: Final = f'SELECT {_COLUMNS}, page.entity_id AS stream {_ABOUT_OTHERS} ORDER BY events."offset"'
_ENTRIES_OF_ORDERS: Final = f"""
    SELECT page.order_id, events."offset", {_POSTED} {_ABOUT_ORDERS} {_ENTRY} ORDER BY entry.line
"""
_ENTRIES_OF_OTHERS: Final = f"""
    SELECT page.entity_id, events."offset", {_POSTED} {_ABOUT_OTHERS} {_ENTRY} ORDER BY entry.line
"""
