"""Where it is written down which tokens are good no longer: nothing is passed over, nothing outlives its purpose."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import trio

from tabletap.domain.base import By, CafeId, Role
from tabletap.domain.revocation import Revocation
from tabletap.store.pool import Connection, Database
from tabletap.store.revocations import RevocationTable, forget_revocations

CAFE = CafeId(UUID(int=1))
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
OWNER = By(Role.OWNER, "ola", "till")


def of_token(name: str, cafe_id: CafeId | None = CAFE, at: datetime = NOON, by: By = OWNER) -> Revocation:
    return Revocation(cafe_id=cafe_id, token_id=name, at=at, until=at + timedelta(hours=1), by=by)


async def test_what_is_written_is_read_as_it_was(migrated: Database) -> None:
    table = RevocationTable(migrated)
    of_user = Revocation(cafe_id=None, user="sam", at=NOON, until=NOON + timedelta(days=90), by=By(Role.SYSTEM))
    assert (await table.newer(0, NOON))[0] == []
    for one in (of_token("t1"), of_user):
        await table.add(one)
    found, _ = await table.newer(0, NOON)
    assert sorted(found, key=str) == sorted([of_token("t1"), of_user], key=str)


async def test_the_same_said_again_takes_the_place_of_what_was_said_and_is_new(migrated: Database) -> None:
    table = RevocationTable(migrated)
    await table.add(of_token("t1"))
    _, mark = await table.newer(0, NOON)
    later = of_token("t1", at=NOON + timedelta(minutes=1))
    for again in (later, of_token("t1")):
        await table.add(again)
    assert (await table.newer(mark, NOON))[0] == [later]
    manager = of_token("t1", by=By(Role.MANAGER, "mo"))
    await table.add(manager)
    assert len((await table.newer(0, NOON))[0]) == 2


async def test_what_commits_late_is_not_passed_over(migrated: Database) -> None:
    """Somebody is writing while others write and we read: their row comes with the next reading."""
    table = RevocationTable(migrated)
    begun, go_on = trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def slow(connection: Connection) -> None:
        await connection.execute(
            """INSERT INTO revocations (cafe_id, kind, subject, rank, by, at, until)
               VALUES ($1, 'token', 'slow', 2, $2, $3, $4)""",
            *(CAFE, b'{"role":"owner"}', NOON, NOON + timedelta(hours=1)),
        )
        token.run_sync_soon(begun.set)
        while not go_on.is_set():
            await connection.execute("SELECT pg_sleep(0.01)")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(migrated.transact, slow)
        await begun.wait()
        await table.add(of_token("quick"))
        first, mark = await table.newer(0, NOON)
        assert [one.token_id for one in first] == ["quick"]
        go_on.set()
    found, _ = await table.newer(mark, NOON)
    assert {one.token_id for one in found} >= {"slow"}


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(days=1)])
async def test_what_has_run_out_is_not_read_and_then_deleted(migrated: Database, later: timedelta) -> None:
    table = RevocationTable(migrated)
    await table.add(of_token("t1"))
    assert (await table.newer(0, NOON + later))[0] == []
    await migrated.transact(lambda connection: forget_revocations(connection, NOON + later))
    assert (await table.newer(0, NOON))[0] == []
