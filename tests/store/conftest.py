"""Real Postgres for the tests of the store, one server per session.

`postgres`       DSN of a server of this session (started on first use, in a temporary state folder)
`fresh_dsn`      DSN of an empty database of this test, dropped afterwards
`database`       an open `Database` on it
`migrated_dsn`   like `fresh_dsn`, with the schema of `tabletap/store/migrations`, copied from a template
`migrated`       an open `Database` on that
`state`          an empty state folder for a server of the test's own

Folders come from `mkdtemp`, not from pytest's `tmp_path`: as root the server runs as another user, and pytest closes
its folders to others again whenever another run begins.
"""

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from tabletap.store.embedded import EmbeddedPostgres
from tabletap.store.migrate import migrate
from tabletap.store.pool import Connection, Database

_numbers = itertools.count(1)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder in memory where there is room for it: a data folder is 60 MB that nobody needs to reach a disk."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    folder = Path(tempfile.mkdtemp(prefix="tabletap-tests-", dir=memory if roomy else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with temporary_folder() as folder:
        server = EmbeddedPostgres(folder)
        try:
            yield trio.run(server.start)
        finally:
            trio.run(server.stop)


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> str:
    """Name of a database that is copied for every test that wants the schema: a copy is cheaper than migrating."""

    async def create() -> None:
        await _administer(postgres, "CREATE DATABASE migrated_template")
        async with Database.open(_with_database(postgres, "migrated_template")) as database:
            await migrate(database)

    trio.run(create)
    return "migrated_template"


@pytest.fixture
async def fresh_dsn(postgres: str) -> AsyncIterator[str]:
    async with _temporary_database(postgres, "template1") as dsn:
        yield dsn


@pytest.fixture
async def database(fresh_dsn: str) -> AsyncIterator[Database]:
    async with Database.open(fresh_dsn) as database:
        yield database


@pytest.fixture
async def migrated_dsn(postgres: str, migrated_template: str) -> AsyncIterator[str]:
    async with _temporary_database(postgres, migrated_template) as dsn:
        yield dsn


@pytest.fixture
async def migrated(migrated_dsn: str) -> AsyncIterator[Database]:
    async with Database.open(migrated_dsn) as database:
        yield database


@pytest.fixture
def state() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder / "state"


@asynccontextmanager
async def _temporary_database(postgres: str, template: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await _administer(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield _with_database(postgres, name)
    finally:
        with trio.CancelScope(shield=True):
            await _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def _administer(postgres: str, statement: str) -> None:
    async with Database.open(postgres) as database:
        await database.session(lambda connection: connection.execute(statement))


def _with_database(dsn: str, name: str) -> str:
    return dsn.replace("/postgres?", f"/{name}?")


def statement(query: str, *args: object) -> Callable[[Connection], Awaitable[object]]:
    """Work that runs one statement and returns the first value of its result."""
    return lambda connection: connection.fetchval(query, *args)
