"""``tabletap audit``: the proof of the ledger, as an operator reads it. It may be asked of a server at work."""

from datetime import datetime

import msgspec

from tabletap.app import reach_database
from tabletap.domain.audit import Finding
from tabletap.domain.base import CafeId
from tabletap.settings import Settings
from tabletap.store.audit import Report, audit
from tabletap.store.pool import Connection, Database, PoolLimits

LIMITS = PoolLimits(connections=1, statement_seconds=3_600.0)
"""One connection, whose statements may read for as long as a large log takes."""


async def run(settings: Settings, slug: str | None, at: datetime | None, as_json: bool) -> int:  # noqa: FBT001  trio.run
    """Print what was checked and what does not match; 1 if anything does not. Raises ValueError for an unknown cafe."""
    async with reach_database(msgspec.structs.replace(settings, pool=LIMITS)) as database:
        cafe_id = None if slug is None else await _cafe(database, slug)
        known = slug is None or cafe_id is not None
        report = await audit(database, cafe_id=cafe_id, at=at) if known else None
    if report is None:
        raise ValueError(f"there is no cafe {slug!r}")
    _print(report)
    if as_json:
        print(msgspec.json.encode(report).decode())  # noqa: T201  a command line prints
    return 1 if report.fault_count else 0


async def _cafe(database: Database, slug: str) -> CafeId | None:
    async def work(connection: Connection) -> CafeId | None:
        id_: CafeId | None = await connection.fetchval("SELECT id FROM cafes WHERE slug = $1", slug)
        return id_

    return await database.read(work)


def _print(report: Report) -> None:
    for finding in report.faults:
        _say("FAULT", finding)
    for finding in report.on_its_way:
        _say("on its way", finding)
    told, counted = len(report.faults), report.fault_count
    more = f" (the first {told} are told)" if counted > told else ""
    print(f"checked: {_in_words(report)}")  # noqa: T201  the same
    print(f"{counted} faults{more}, {report.on_its_way_count} amounts on their way")  # noqa: T201  the same


def _say(kind: str, finding: Finding) -> None:
    where = f" (cafe {finding.cafe_id})" if finding.cafe_id else ""
    print(f"{kind} {finding.rule}: {finding.about}{where}: {finding.words}")  # noqa: T201  the same


def _in_words(report: Report) -> str:
    counts = msgspec.structs.asdict(report.checked)
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
