"""Proves the ledger against log, orders and payments, and says in words what does not match (spec M1).

Everything is read as of one moment, in a transaction that may not write, so it can be asked of a server at work. What
must match is ``domain.audit``'s to say, but for what only a table can know: that nothing is missing from it.

Reading order: ``report``, ``whole`` (log, entries and balances as tables), ``dossier`` (all about one entity, page by
page), ``entities`` (judges them), ``rows`` (what doors show is what the log says).
"""

from datetime import datetime

from tabletap.domain.base import CafeId
from tabletap.store.pool import Connection, Database

from .dossier import cut, pages
from .entities import Judge
from .report import Checked, Notes, Report
from .rows import Rows
from .whole import Whole

__all__ = ["Checked", "Report", "audit"]


async def audit(database: Database, *, cafe_id: CafeId | None = None, at: datetime | None = None) -> Report:
    """Check all, or one cafe; ``at``: as it was then, as far as the log knows (no balances, rows or messages)."""

    async def work(connection: Connection) -> Report:
        notes = Notes()
        part = await cut(connection, cafe_id, at)
        whole = Whole(connection, notes, part, cafe_id, now=at is None)
        judge = Judge(connection, notes, at)
        rows = Rows(connection, notes)
        await whole.check_log()
        await whole.check_entries()
        async for page in pages(connection, part):
            sound = [one for one in page if judge.can_be_followed(one)]
            await judge.check(sound)
            if at is None:
                await rows.check(sound)
        await whole.check_balances()
        if at is None:
            await rows.check_counts(cafe_id)
        return notes.report(at)

    return await database.snapshot(work)
