"""The newest offset of each cafe's log, and whose decisions may be appended to it.

A node that finds an offset taken has learnt that another one writes for the same cafe. Whatever its own entities of
that cafe were decided on may be old, even where no version tells: an order that brings payments into the world keeps
its own version. So from then on an entity must have been loaded anew before its commits are taken, and the head that
the next offsets follow is read *before* the first of these loads. An entity that was loaded and not overtaken since
then passes; one that was overtaken collides at the head, and it all begins again.
"""

from collections.abc import Iterable
from uuid import UUID

from tabletap.domain.base import CafeId
from tabletap.store.pool import Connection, Database

REMEMBERED = 10_000
"""Entities of one cafe known to be fresh. Beyond it all are forgotten, which costs each of them one reload."""


class Fence:
    """One for all shards of a writer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heads: dict[CafeId, int] = {}
        self._fresh: dict[CafeId, set[UUID]] = {}  # only cafes that were lost once have an entry

    async def know(self, cafe_ids: Iterable[CafeId]) -> None:
        """Read the heads that are not known."""
        unknown = list({cafe_id for cafe_id in cafe_ids if cafe_id not in self._heads})
        if unknown:
            heads = await self._database.read(lambda connection: _read_heads(connection, unknown))
            for cafe_id in unknown:
                self._heads.setdefault(cafe_id, heads.get(cafe_id, 0))

    def head(self, cafe_id: CafeId) -> int:
        return self._heads[cafe_id]

    def advance(self, cafe_id: CafeId, head: int, born: Iterable[UUID]) -> None:
        """Our own commit was written up to ``head``; the entities it brought into the world are fresh."""
        self._heads[cafe_id] = max(head, self._heads.get(cafe_id, 0))
        fresh = self._fresh.get(cafe_id)
        if fresh is not None:
            fresh.update(born)

    async def overtaken(self, cafe_id: CafeId) -> bool:
        """Whether somebody else has written since the head was read."""
        heads = await self._database.read(lambda connection: _read_heads(connection, [cafe_id]))
        return heads.get(cafe_id, 0) != self._heads.get(cafe_id)

    def lost(self, cafe_id: CafeId) -> None:
        """Somebody else writes for this cafe."""
        self._heads.pop(cafe_id, None)
        self._fresh[cafe_id] = set()

    async def loading(self, cafe_id: CafeId, entity_id: UUID) -> None:
        """To be awaited before the entity is loaded."""
        fresh = self._fresh.get(cafe_id)
        if fresh is not None:
            if len(fresh) >= REMEMBERED:
                fresh.clear()
            fresh.add(entity_id)
        await self.know((cafe_id,))

    def admits(self, cafe_id: CafeId, author_id: UUID) -> bool:
        """Whether what the author decided may be appended."""
        fresh = self._fresh.get(cafe_id)
        return fresh is None or author_id in fresh


async def _read_heads(connection: Connection, cafe_ids: list[CafeId]) -> dict[CafeId, int]:
    rows = await connection.fetch(
        """SELECT cafe.id, newest."offset" FROM unnest($1::uuid[]) AS cafe (id) CROSS JOIN LATERAL
           (SELECT "offset" FROM events WHERE cafe_id = cafe.id ORDER BY "offset" DESC LIMIT 1) AS newest""",
        cafe_ids,
    )
    return {CafeId(row[0]): row[1] for row in rows}
