"""Brings the schema up to date from plain SQL files: `0001_name.sql`, `0002_other.sql`, ... in order, each once.

No kept library does it over asyncpg: yoyo and alembic want another driver, asyncpg-trek has neither lock nor checksum.

- Each file runs in a transaction with its row in `schema_migrations`: both are there or neither is.
- A file that begins with `-- no transaction` holds one statement that cannot run in one (`CREATE INDEX CONCURRENTLY`).
  Its row follows after it, so it must bear to be run again: write `IF NOT EXISTS`.
- One node migrates at a time, under an advisory lock. The others ask again and again instead of waiting inside one
  statement, since a concurrent index build waits for every statement that is older than itself: a deadlock.
- What has been applied is history. A changed, missing, misnamed or skipped file is refused by name before any runs.
"""

import hashlib
import re
from pathlib import Path
from typing import Final

import msgspec

from tabletap.store.pool import Connection, Database

FOLDER: Final = Path(__file__).parent / "migrations"
FILE_NAME: Final = re.compile(r"(\d{4})_(\w+)\.sql")
NO_TRANSACTION: Final = "-- no transaction"
LOCK: Final = 0x7AB1E7A9  # any number that nothing else in this database locks
LOCK_POLL_SECONDS: Final = 0.1
TABLE: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version integer PRIMARY KEY,
        name text NOT NULL,
        sha256 text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


class MigrationRefused(Exception):  # noqa: N818 -- read as a sentence at the raise
    """The files and the database do not tell the same history."""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One file."""

    version: int
    name: str  # of the file
    sql: str
    sha256: str


async def migrate(database: Database, folder: Path = FOLDER) -> list[str]:
    """Apply what is new; return the names of the files applied, in order."""
    migrations = read_migrations(folder)

    async def work(connection: Connection) -> list[str]:
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
            await connection.execute(f"SELECT pg_sleep({LOCK_POLL_SECONDS})")
        await connection.execute(TABLE)
        new = await _not_yet_applied(connection, migrations)
        for migration in new:
            await _apply(connection, migration)
        return [migration.name for migration in new]

    return await database.session(work)  # ends with its connection, and with it the lock


def read_migrations(folder: Path) -> list[Migration]:
    """The files in order, or `MigrationRefused` if they do not count 1, 2, 3, ..."""
    migrations: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationRefused(f"{path.name} is not named like 0001_what_it_does.sql")
        version = int(match[1])
        if version != len(migrations) + 1:
            raise MigrationRefused(f"{path.name} comes where number {len(migrations) + 1:04} should")
        content = path.read_bytes()
        migrations.append(
            Migration(version=version, name=path.name, sql=content.decode(), sha256=hashlib.sha256(content).hexdigest())
        )
    return migrations


async def _not_yet_applied(connection: Connection, migrations: list[Migration]) -> list[Migration]:
    applied = await connection.fetch("SELECT version, name, sha256 FROM schema_migrations ORDER BY version")
    for place, row in enumerate(applied):
        if row["version"] != place + 1:
            raise MigrationRefused(f"{row['name']} was applied without the one before it")
        if place >= len(migrations):
            raise MigrationRefused(f"{row['name']} was applied by a newer TableTap, this one does not have it")
        if row["sha256"] != migrations[place].sha256:
            raise MigrationRefused(f"{migrations[place].name} was changed after it was applied as {row['name']}")
    return migrations[len(applied) :]


async def _apply(connection: Connection, migration: Migration) -> None:
    """Run one file. An error leaves an open transaction to the end of the session, which rolls it back."""
    in_transaction = not migration.sql.startswith(NO_TRANSACTION)
    if in_transaction:
        await connection.execute("BEGIN")
    await connection.execute(migration.sql)
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)",
        migration.version,
        migration.name,
        migration.sha256,
    )
    if in_transaction:
        await connection.execute("COMMIT")
