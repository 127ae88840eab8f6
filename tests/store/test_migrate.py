from pathlib import Path

import pytest
import trio

from tabletap.store.migrate import FOLDER, MigrationRefused, migrate, read_migrations
from tabletap.store.pool import Database
from tests.store.conftest import statement

TABLE = "CREATE TABLE cups (size text PRIMARY KEY); INSERT INTO cups VALUES ('small');"
ROW = "INSERT INTO cups VALUES ('large');"
INDEX = "-- no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS cups_by_length ON cups (length(size));"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_cups.sql").write_text(TABLE)
    (tmp_path / "0002_large.sql").write_text(ROW)
    return tmp_path


async def cups(database: Database) -> object:
    return await database.read(statement("SELECT array_agg(size ORDER BY size) FROM cups"))


async def test_files_are_applied_in_order_and_only_once(database: Database, folder: Path) -> None:
    assert await migrate(database, folder) == ["0001_cups.sql", "0002_large.sql"]
    assert await migrate(database, folder) == []
    assert await cups(database) == ["large", "small"]


async def test_a_new_file_is_applied_to_an_older_database(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    (folder / "0003_huge.sql").write_text("INSERT INTO cups VALUES ('huge');")
    assert await migrate(database, folder) == ["0003_huge.sql"]


async def test_nodes_that_start_at_once_apply_each_file_once_even_with_a_concurrent_index(
    database: Database, folder: Path
) -> None:
    (folder / "0003_index.sql").write_text(INDEX)
    applied: list[str] = []

    async def node() -> None:
        applied.extend(await migrate(database, folder))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(node)
    assert applied == ["0001_cups.sql", "0002_large.sql", "0003_index.sql"]
    assert await cups(database) == ["large", "small"]
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'cups_by_length'::regclass"
    assert await database.read(statement(valid)) is True


async def test_a_file_that_fails_leaves_nothing_of_itself_and_all_before_it(database: Database, folder: Path) -> None:
    (folder / "0003_half.sql").write_text("INSERT INTO cups VALUES ('huge'); SELECT no_such_function();")
    with pytest.raises(Exception, match="no_such_function"):
        await migrate(database, folder)
    assert await cups(database) == ["large", "small"]
    (folder / "0003_half.sql").write_text("INSERT INTO cups VALUES ('huge');")
    assert await migrate(database, folder) == ["0003_half.sql"]


async def test_a_file_changed_after_it_was_applied_is_refused_by_name(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    (folder / "0001_cups.sql").write_text(TABLE + " ")
    (folder / "0003_huge.sql").write_text("INSERT INTO cups VALUES ('huge');")
    with pytest.raises(MigrationRefused, match=r"0001_cups\.sql was changed"):
        await migrate(database, folder)
    assert await cups(database) == ["large", "small"]


async def test_a_database_newer_than_the_program_is_refused_by_name(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    (folder / "0002_large.sql").unlink()
    with pytest.raises(MigrationRefused, match=r"0002_large\.sql was applied by a newer TableTap"):
        await migrate(database, folder)


async def test_a_history_with_a_hole_is_refused_by_name(database: Database, folder: Path) -> None:
    await migrate(database, folder)
    await database.transact(statement("DELETE FROM schema_migrations WHERE version = 1"))
    with pytest.raises(MigrationRefused, match=r"0002_large\.sql was applied without the one before it"):
        await migrate(database, folder)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("0004_far.sql", "comes where number 0003 should"),
        ("0002_twin.sql", "comes where number 0003 should"),
        ("3_short.sql", "is not named like"),
    ],
)
def test_files_that_do_not_count_one_by_one_are_refused_by_name(folder: Path, name: str, reason: str) -> None:
    (folder / name).write_text("SELECT 1;")
    with pytest.raises(MigrationRefused, match=f"{name} {reason}"):
        read_migrations(folder)


def test_the_files_of_this_program_can_be_read() -> None:
    read_migrations(FOLDER)
