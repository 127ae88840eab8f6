import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest
import trio
import uuid_utils

from tabletap.store.pool import Connection, Database, DatabaseDown, PoolLimits, Retry, UniqueViolation
from tests.store.conftest import statement

CONNECTIONS = 4


@pytest.fixture
async def database(fresh_dsn: str) -> AsyncIterator[Database]:
    limits = PoolLimits(connections=CONNECTIONS, acquire_seconds=2, statement_seconds=0.5, cleanup_seconds=0.5)
    async with Database.open(fresh_dsn, limits) as database:
        await database.transact(statement("CREATE TABLE cups (size text CONSTRAINT one_of_each_size PRIMARY KEY)"))
        yield database


def put(size: str) -> Callable[[Connection], Awaitable[object]]:
    return statement("INSERT INTO cups VALUES ($1)", size)


async def count(database: Database) -> object:
    return await database.read(statement("SELECT count(*) FROM cups"))


async def test_work_that_returns_is_committed_and_work_that_raises_leaves_nothing(database: Database) -> None:
    async def work(connection: Connection) -> str:
        await connection.execute("INSERT INTO cups VALUES ('small')")
        return "done"

    async def failing(connection: Connection) -> None:
        await connection.execute("INSERT INTO cups VALUES ('large')")
        raise ZeroDivisionError

    assert await database.transact(work) == "done"
    with pytest.raises(ZeroDivisionError):
        await database.transact(failing)
    assert await count(database) == 1


async def test_work_is_all_of_one_transaction(database: Database) -> None:
    async def work(connection: Connection) -> bool:
        first = await connection.fetchval("SELECT pg_current_xact_id()")
        return bool(first == await connection.fetchval("SELECT pg_current_xact_id()"))

    assert await database.transact(work)


async def test_a_snapshot_sees_one_moment_and_may_not_write(database: Database) -> None:
    async def work(connection: Connection) -> tuple[int, int]:
        before = await connection.fetchval("SELECT count(*) FROM cups")
        counted.set()
        await connection.execute("SELECT pg_sleep(0.1)")
        return before, await connection.fetchval("SELECT count(*) FROM cups")

    async def write() -> None:
        await counted.wait()
        await database.transact(put("small"))

    counted = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        assert await database.snapshot(work) == (0, 0)
    assert await count(database) == 1
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await database.snapshot(put("large"))


async def test_jsonb_passes_as_the_bytes_of_msgspec_alone_and_in_arrays(database: Database) -> None:
    value = {"name": "Caffè ☕", "cents": [1, 2], "none": None}
    encoded = msgspec.json.encode(value)
    back = await database.read(statement("SELECT $1::jsonb", encoded))
    assert isinstance(back, bytes)
    assert msgspec.json.decode(back) == value
    many = await database.read(statement("SELECT array_agg(j) FROM unnest($1::jsonb[]) AS j", [encoded, None, b"1"]))
    assert many == [back, None, b"1"]
    assert await database.read(statement("SELECT $1::jsonb ->> 'name'", encoded)) == "Caffè ☕"


async def test_values_come_back_in_the_types_of_the_domain(database: Database) -> None:
    key = uuid_utils.uuid7()
    back = await database.read(statement("SELECT $1::uuid", key))
    assert isinstance(back, uuid.UUID)
    assert str(back) == str(key)
    assert hash(back) == hash(uuid.UUID(str(key)))
    assert msgspec.json.encode(back) == f'"{key}"'.encode()
    now = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    moment = await database.read(statement("SELECT $1::timestamptz", now))
    assert isinstance(moment, datetime)
    assert (moment, moment.tzinfo) == (now, UTC)


async def test_rows_may_be_copied_in(database: Database) -> None:
    async def work(connection: Connection) -> str:
        rows = [(str(number),) for number in range(100)]
        return await connection.copy_records_to_table("cups", records=rows, columns=["size"])

    assert await database.transact(work) == "COPY 100"
    assert await count(database) == 100


async def test_a_key_that_exists_is_told_by_the_name_of_its_constraint(database: Database) -> None:
    await database.transact(put("small"))
    with pytest.raises(UniqueViolation) as caught:
        await database.transact(put("small"))
    assert caught.value.constraint == "one_of_each_size"
    assert database.stats().conflicts == 1


async def test_transactions_in_each_others_way_are_told_to_retry(database: Database) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute("SET LOCAL deadlock_timeout = '10ms'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", first := numbers.pop())
        await connection.execute("SELECT pg_sleep(0.05)")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", 3 - first)

    async def try_it() -> None:
        try:
            await database.transact(work)
        except Retry:
            outcomes.append("retry")
        else:
            outcomes.append("done")

    numbers, outcomes = [1, 2], list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(try_it)
        nursery.start_soon(try_it)
    assert sorted(outcomes) == ["done", "retry"]


async def test_a_mistake_in_sql_stays_a_bug(database: Database) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.transact(statement("SELECT * FROM saucers"))
    assert database.stats().outages == 0


async def test_a_statement_over_its_time_is_an_outage_and_leaves_the_pool_whole(database: Database) -> None:
    with pytest.raises(DatabaseDown):
        await database.transact(statement("SELECT pg_sleep(60)"))
    assert database.stats().outages == 1
    await assert_whole(database)


async def test_a_pool_without_a_free_connection_refuses_after_its_time(fresh_dsn: str) -> None:
    limits = PoolLimits(connections=1, acquire_seconds=0.05)
    async with Database.open(fresh_dsn, limits) as database, trio.open_nursery() as nursery:
        await database.ping()
        nursery.start_soon(database.read, statement("SELECT pg_sleep(60)"))
        await in_use(database, 1)
        with pytest.raises(DatabaseDown):
            await database.ping()
        nursery.cancel_scope.cancel()


async def test_two_hundred_cancelled_transactions_leave_the_pool_whole_and_nothing_written(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute("INSERT INTO cups VALUES (gen_random_uuid()::text)")
        await connection.execute("SELECT pg_sleep(0.3)")

    async def cancelled_after(seconds: float) -> None:
        with trio.move_on_after(seconds):
            await database.transact(work)

    async with trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(cancelled_after, number % 40 * 0.005)
    assert await count(database) == 0
    await assert_whole(database)
    assert not caplog.records


async def test_a_transaction_cancelled_at_any_of_its_steps_is_whole_or_absent(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(connection: Connection) -> None:
        for size in ("small", "large"):
            await connection.execute("INSERT INTO cups VALUES ($1)", f"{size} {steps}")

    async def cancel_after_steps() -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    for steps in (number * number for number in range(40)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_after_steps)
            nursery.start_soon(database.transact, work)
        written = await database.read(statement("SELECT count(*) FROM cups WHERE size LIKE '% ' || $1", str(steps)))
        assert written in {0, 2}
    await assert_whole(database)
    assert not caplog.records


async def test_a_cancelled_caller_has_its_connection_back_in_the_pool_when_it_goes_on(database: Database) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.transact, statement("SELECT pg_sleep(60)"))
            await in_use(database, 1)
            scope.cancel()
    assert database.stats().in_use == 0


async def test_a_connection_lost_in_the_middle_of_work_is_an_outage_and_the_next_one_serves(
    database: Database,
) -> None:
    async def work(connection: Connection) -> None:
        await connection.execute("INSERT INTO cups VALUES ('small')")
        os.kill(await connection.fetchval("SELECT pg_backend_pid()"), signal.SIGTERM)
        await connection.execute("SELECT pg_sleep(60)")

    with pytest.raises(DatabaseDown) as caught:
        await database.transact(work)
    assert not caught.value.maybe_committed
    assert await count(database) == 0
    await assert_whole(database)


async def test_a_connection_lost_while_committing_is_told_as_of_unknown_outcome(database: Database) -> None:
    await database.transact(
        statement(
            """CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"""
        )
    )
    await database.transact(
        statement(
            """CREATE CONSTRAINT TRIGGER die_at_commit AFTER INSERT ON cups
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"""
        )
    )
    with pytest.raises(DatabaseDown) as caught:
        await database.transact(put("small"))
    assert caught.value.maybe_committed


@pytest.mark.parametrize("way", ["transact", "read", "snapshot", "session"])
async def test_an_absent_server_is_an_outage_whichever_way_it_is_asked(way: str) -> None:
    async with Database.open("postgresql://tabletap@/postgres?host=/nowhere") as database:
        with pytest.raises(DatabaseDown):
            await getattr(database, way)(statement("SELECT 1"))
        with pytest.raises(DatabaseDown):
            await database.ping()
        assert database.stats().outages == 2


async def test_a_pool_closes_in_its_time_although_work_hangs(fresh_dsn: str) -> None:
    async def hang(database: Database) -> None:
        with pytest.raises(DatabaseDown):
            await database.read(statement("SELECT pg_sleep(60)"))

    limits = PoolLimits(close_seconds=0.1)
    async with trio.open_nursery() as nursery, Database.open(fresh_dsn, limits) as database:
        await database.ping()
        nursery.start_soon(hang, database)
        await in_use(database, 1)


async def test_two_databases_serve_side_by_side_from_any_task(database: Database, postgres: str) -> None:
    async with Database.open(postgres) as other, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(database.ping)
            nursery.start_soon(other.ping)
    assert database.stats().reads == 5


async def in_use(database: Database, connections: int) -> None:
    while database.stats().in_use != connections:  # noqa: ASYNC110 -- a counter has no event to wait for
        await trio.sleep(0.005)


async def assert_whole(database: Database) -> None:
    """Every connection of the pool can be had at once, and none is left in a transaction."""
    async with trio.open_nursery() as nursery:
        for _ in range(CONNECTIONS):
            nursery.start_soon(database.read, statement("SELECT pg_sleep(0.1)"))
        await in_use(database, CONNECTIONS)
    assert database.stats().in_use == 0
    open_transactions = """SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""
    assert await database.read(statement(open_transactions)) == 0
