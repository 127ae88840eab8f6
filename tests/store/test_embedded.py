import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from tabletap.store.embedded import SYSTEM_USER, EmbeddedPostgres, PostgresFailed, StateFolderBusy
from tabletap.store.pool import Database, DatabaseDown, PoolLimits
from tests.store.conftest import statement, temporary_folder

# A process of its own that serves, commits a row, keeps one backend busy, and waits for its end.
HOLDER = """
import sys, trio
from pathlib import Path
from tabletap.store.embedded import EmbeddedPostgres
from tabletap.store.pool import Database, PoolLimits

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    async with Database.open(await server.start(), PoolLimits(statement_seconds=600)) as database:
        await database.transact(lambda c: c.execute("CREATE TABLE cups AS SELECT 'small' AS size"))
        busy = "DO $$ BEGIN LOOP PERFORM count(*) FROM generate_series(1, 100000); END LOOP; END $$"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.transact, lambda c: c.execute(busy))
            while database.stats().in_use == 0:
                await trio.sleep(0.01)
            print(server.pid, flush=True)

trio.run(main)
"""


class Holder:
    """A TableTap process that owns `state`, to be killed by a test."""

    def __init__(self, state: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(state)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.postmaster = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill_postgres(self) -> None:
        """With its backends: the busy one would go on for ever, and nobody starts a server here again to end it."""
        postmaster = psutil.Process(self.postmaster)
        for process in (postmaster, *postmaster.children()):
            process.kill()


@pytest.fixture(scope="module")
def initialised() -> Iterator[Path]:
    """A state folder whose data are set up, to copy: quicker than initdb for each test."""

    async def set_up(server: EmbeddedPostgres) -> None:
        await server.start()
        await server.stop()

    with temporary_folder() as folder:
        trio.run(set_up, EmbeddedPostgres(folder / "state"))
        yield folder / "state"


@pytest.fixture
def used_state(initialised: Path, state: Path) -> Path:
    copy(initialised, state)
    return state


def copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # keeps the owner, unlike shutil


def is_private(folder: object) -> bool:
    path = Path(str(folder))
    return path.exists() and stat.S_IMODE(path.stat().st_mode) == 0o700


async def setting(dsn: str, name: str) -> object:
    async with Database.open(dsn) as database:
        return await database.read(statement("SELECT current_setting($1)", name))


async def test_a_fresh_folder_becomes_a_durable_server_that_only_its_owner_reaches(state: Path) -> None:
    server = EmbeddedPostgres(state)
    dsn = await server.start()
    try:
        durable = [await setting(dsn, name) for name in ("synchronous_commit", "fsync", "full_page_writes")]
        assert durable == ["on", "on", "on"]
        assert await setting(dsn, "data_checksums") == "on"
        assert await setting(dsn, "TimeZone") == "UTC"
        assert await setting(dsn, "listen_addresses") == ""
        assert is_private(await setting(dsn, "unix_socket_directories"))
        assert psutil.Process(server.pid).username() == (
            SYSTEM_USER if os.geteuid() == 0 else psutil.Process().username()
        )
    finally:
        await server.stop()


async def test_stop_leaves_no_process_and_the_next_start_finds_the_rows(used_state: Path) -> None:
    first = EmbeddedPostgres(used_state)
    async with Database.open(await first.start()) as database:
        await database.transact(statement("CREATE TABLE cups AS SELECT 'small' AS size"))
    pid = first.pid
    await first.stop()
    await first.stop()
    assert not psutil.pid_exists(pid)
    second = EmbeddedPostgres(used_state)
    async with Database.open(await second.start()) as database:
        assert await database.read(statement("SELECT size FROM cups")) == "small"
    await second.stop()


async def test_stop_ends_a_server_that_clients_still_use(used_state: Path) -> None:
    server = EmbeddedPostgres(used_state)

    async def hang(database: Database) -> None:
        with pytest.raises(DatabaseDown):
            await database.read(statement("SELECT pg_sleep(60)"))

    async with Database.open(await server.start()) as database, trio.open_nursery() as nursery:
        await database.ping()
        nursery.start_soon(hang, database)
        while database.stats().in_use == 0:  # noqa: ASYNC110 -- a counter has no event to wait for
            await trio.sleep(0.005)
        await server.stop()


async def test_a_second_process_on_the_same_state_folder_is_refused_by_name(used_state: Path) -> None:
    holder = await trio.to_thread.run_sync(Holder, used_state)
    try:
        with pytest.raises(StateFolderBusy, match=f"{used_state} is in use by .* pid {holder.process.pid}"):
            await EmbeddedPostgres(used_state).start()
        assert psutil.pid_exists(holder.postmaster)
    finally:
        holder.kill()
        holder.kill_postgres()


@pytest.mark.parametrize("postgres_too", [True, False], ids=["both killed", "Postgres left running"])
async def test_after_a_kill_the_next_start_works_at_once_and_finds_every_committed_row(
    used_state: Path, postgres_too: bool
) -> None:
    holder = await trio.to_thread.run_sync(Holder, used_state)
    holder.kill()
    if postgres_too:
        os.kill(holder.postmaster, signal.SIGKILL)
    server = EmbeddedPostgres(used_state)
    async with Database.open(await server.start()) as database:
        assert await database.read(statement("SELECT size FROM cups")) == "small"
    assert not psutil.pid_exists(holder.postmaster)
    await server.stop()


@pytest.fixture
def stranger(used_state: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no Postgres, runs as the user of one, and has the number in a stale postmaster.pid."""
    owner = (used_state / "pg").stat()
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid if os.geteuid() == 0 else None) as process:
        pid_file = used_state / "pg" / "postmaster.pid"
        pid_file.write_text(f"{process.pid}\n{used_state / 'pg'}\n1\n5432\n/tmp\n\n   1 1\nready\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        yield process
        process.kill()


async def test_a_pid_file_whose_number_went_to_a_stranger_does_not_stop_the_start(
    used_state: Path, stranger: subprocess.Popen[bytes]
) -> None:
    server = EmbeddedPostgres(used_state)
    await server.start()
    await server.stop()
    assert stranger.poll() is None


async def test_a_socket_lock_whose_number_went_to_a_stranger_does_not_stop_the_start(
    used_state: Path, stranger: subprocess.Popen[bytes]
) -> None:
    lock = used_state / "run" / ".s.PGSQL.5432.lock"
    lock.write_text(f"{stranger.pid}\n{used_state / 'pg'}\n1\n5432\n{used_state / 'run'}\n")
    owner = (used_state / "pg").stat()
    os.chown(lock, owner.st_uid, owner.st_gid)
    server = EmbeddedPostgres(used_state)
    await server.start()
    await server.stop()
    assert stranger.poll() is None


async def test_under_watch_a_killed_server_comes_back_and_the_same_pool_serves_again(used_state: Path) -> None:
    server = EmbeddedPostgres(used_state)
    limits = PoolLimits(connections=2)
    async with Database.open(await server.start(), limits) as database, trio.open_nursery() as nursery:
        nursery.start_soon(server.watch)
        await database.transact(statement("CREATE TABLE cups AS SELECT 'small' AS size"))
        for _ in range(2):
            killed = server.pid
            os.kill(killed, signal.SIGKILL)
            with pytest.raises(DatabaseDown):
                await asked_until_down(database)
            while not await answers(database):  # noqa: ASYNC110 -- the restart tells nobody
                await trio.sleep(0.02)
            assert server.pid != killed
            assert await database.read(statement("SELECT size FROM cups")) == "small"
        await server.stop()


async def test_stop_ends_the_watch_even_while_it_starts_the_server_again(used_state: Path) -> None:
    server = EmbeddedPostgres(used_state)
    await server.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.watch)
        await trio.testing.wait_all_tasks_blocked()
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        while server.pid == killed:  # noqa: ASYNC110 -- the restart tells nobody
            await trio.sleep(0.001)
        await server.stop()
    again = EmbeddedPostgres(used_state)
    await again.start()
    await again.stop()


async def test_a_folder_too_deep_for_a_socket_is_served_from_a_private_temporary_one(
    initialised: Path, state: Path
) -> None:
    deep = state / ("deep" * 30)
    deep.parent.mkdir()
    copy(initialised, deep)
    server = EmbeddedPostgres(deep)
    sockets = await setting(await server.start(), "unix_socket_directories")
    assert is_private(sockets)
    await server.stop()
    assert not is_private(sockets)


async def test_ctrl_c_at_our_terminal_does_not_reach_the_server(used_state: Path) -> None:
    server = EmbeddedPostgres(used_state)
    await server.start()
    assert os.getsid(server.pid) != os.getsid(0)
    await server.stop()


async def test_a_server_that_cannot_start_says_why_and_gives_the_folder_back(used_state: Path) -> None:
    version = used_state / "pg" / "PG_VERSION"
    right = version.read_text()
    version.write_text("9\n")
    with pytest.raises(PostgresFailed, match="incompatible with server"):
        await EmbeddedPostgres(used_state).start()
    version.write_text(right)
    server = EmbeddedPostgres(used_state)
    await server.start()
    await server.stop()


async def test_a_set_up_that_was_killed_halfway_is_begun_again(state: Path) -> None:
    (state / "pg.new" / "base").mkdir(parents=True)
    (state / "pg.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(state)
    await server.start()
    await server.stop()
    assert not (state / "pg.new").exists()


async def answers(database: Database) -> bool:
    try:
        await database.ping()
    except DatabaseDown:
        return False
    return True


async def asked_until_down(database: Database) -> None:
    while True:
        await database.ping()
