"""The database as the rest of the house sees it. The only file that knows asyncpg (its loop is in `loop`).

`Database.open()` carries an asyncio loop inside the trio program. A caller hands over a whole piece of work, which runs
there as **one** coroutine: crossing over once is fast, and a cancelled caller finds the connection given back, since
acquire and release never sit on different sides. Work may await its connection and nothing of trio.

Failures leave here in the three kinds of the house: `DatabaseDown` is an outage (wait, then do it again),
`UniqueViolation` and `Retry` are answers the writer acts upon, anything else is a bug.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from operator import itemgetter
from typing import Any, Final, NoReturn, Protocol, Self, TypeAlias, TypeVar, cast

import asyncpg
import msgspec
import trio
import trio_asyncio

from tabletap.actors.runtime import Outage
from tabletap.store.loop import open_loop

_log = logging.getLogger(__name__)

T = TypeVar("T")
# A time-out is an OSError. After a dying server bade an idle connection farewell, asyncpg fails on it with an internal
# error of its own.
DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

JSONB_VERSION: Final = b"\x01"  # leads every jsonb value in the binary format; the JSON follows as it is
# SQLSTATE classes that say the server cannot serve now, whatever was asked: lost connection, out of resources, taken
# down or cancelled by its time-outs, trouble with its machine.
OUTAGE_STATES: Final = ("08", "53", "57", "58", "25P03", "25P04")
RETRY_STATES: Final = ("40001", "40P01", "55P03")  # serialization failure, deadlock, lock not available


class DatabaseDown(Outage):
    """The database did not answer, or not in time. `maybe_committed`: it went away while the commit was under way."""

    def __init__(self, reason: str, *, maybe_committed: bool = False) -> None:
        super().__init__(reason)
        self.maybe_committed = maybe_committed


class UniqueViolation(Exception):  # noqa: N818 -- named after what it tells, like the two beside it
    """A row with this key exists. Nothing was written."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class Retry(Exception):  # noqa: N818 -- the same
    """Another transaction was in the way. Nothing was written; the same work may well succeed now."""


class PoolLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections, and how long each step may take."""

    connections: int = 10
    connect_seconds: float = 5.0
    acquire_seconds: float = 5.0  # waiting for a free connection, connecting included
    statement_seconds: float = 10.0
    cleanup_seconds: float = 2.0  # for the rollback of failed or cancelled work; then the connection is cut
    close_seconds: float = 5.0


class PoolStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics show."""

    transactions: int
    reads: int
    outages: int
    conflicts: int
    in_use: int
    connected: int
    limit: int


class Row(Protocol):
    """A row of a result, by column name or by place."""

    def __getitem__(self, key: str | int, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def keys(self) -> Iterator[str]: ...
    def values(self) -> Iterator[Any]: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...


class Connection(Protocol):
    """What work may do: `$1` parameters, `jsonb` as bytes, `uuid` as UUID, `timestamptz` as aware datetime.

    Nothing is reset when a connection is given back (that would be a round trip): change settings by `SET LOCAL` only.
    """

    async def fetch(self, query: str, /, *args: Any) -> Sequence[Row]: ...
    async def fetchrow(self, query: str, /, *args: Any) -> Row | None: ...
    async def fetchval(self, query: str, /, *args: Any) -> Any: ...
    async def execute(self, query: str, /, *args: Any) -> str: ...
    async def executemany(self, query: str, args: Iterable[Sequence[Any]], /) -> None: ...
    async def copy_records_to_table(
        self, table: str, /, *, records: Iterable[Sequence[Any]], columns: Sequence[str]
    ) -> str: ...


Work = Callable[[Connection], Awaitable[T]]
_Pooled: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
_Raw: TypeAlias = "asyncpg.Connection[Any] | _Pooled"


class Database:
    """A pool of connections. It connects when first used and again after the server was away."""

    def __init__(self, dsn: str, limits: PoolLimits, loop: trio_asyncio.TrioEventLoop) -> None:
        self._dsn = dsn
        self._limits = limits
        self._loop = loop
        self.node: Final = secrets.randbelow(2**31)  # names this process in the rows it has leased
        self._pool: asyncpg.Pool[Any]
        self._transactions = 0
        self._reads = 0
        self._outages = 0
        self._conflicts = 0
        self._in_use = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, limits: PoolLimits | None = None) -> AsyncGenerator[Self, None]:
        """The database for as long as the block runs. Opening does not connect, so an outage does not stop a start."""
        async with open_loop() as loop:
            database = cls(dsn, limits or PoolLimits(), loop)
            loop.set_exception_handler(_log_failure)
            await loop.run_aio_coroutine(database._create_pool())
            try:
                yield database
            finally:
                with trio.CancelScope(shield=True):
                    await loop.run_aio_coroutine(database._close())

    async def transact(self, work: Work[T]) -> T:
        """Run `work` in one transaction and commit it; any error or cancellation rolls it back."""
        result = await self._cross(self._pooled(work, {}))
        self._transactions += 1
        return result

    async def read(self, work: Work[T]) -> T:
        """Run `work` without a transaction: one round trip per statement, each seeing the newest state."""
        result = await self._cross(self._pooled(work, None))
        self._reads += 1
        return result

    async def snapshot(self, work: Work[T]) -> T:
        """Run `work` where all its statements see the same moment, and none may write."""
        result = await self._cross(self._pooled(work, {"isolation": "repeatable_read", "readonly": True}))
        self._reads += 1
        return result

    async def session(self, work: Work[T]) -> T:
        """Run `work` on a connection of its own, outside the pool and without a statement time-out: for migrations."""
        return await self._cross(self._alone(work))

    async def ping(self) -> None:
        """Raise `DatabaseDown` unless the database answers."""
        await self.read(lambda connection: connection.fetchval("SELECT 1"))

    def stats(self) -> PoolStats:
        return PoolStats(
            transactions=self._transactions,
            reads=self._reads,
            outages=self._outages,
            conflicts=self._conflicts,
            in_use=self._in_use,
            connected=self._pool.get_size(),
            limit=self._limits.connections,
        )

    # From here to the end of the class everything runs on the asyncio side, except for the crossing itself.

    async def _cross(self, crossing: Coroutine[Any, Any, T]) -> T:
        try:
            return cast("T", await self._loop.run_aio_coroutine(crossing))
        except asyncio.CancelledError as error:  # by the loop's end; a cancelled caller gets trio.Cancelled
            raise DatabaseDown("the database was closed") from error
        except DatabaseDown:
            self._outages += 1
            raise
        except (UniqueViolation, Retry):
            self._conflicts += 1
            raise

    async def _create_pool(self) -> None:
        limits = self._limits
        milliseconds = int(limits.statement_seconds * 1000)
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=limits.connections,
            max_queries=10_000_000,  # prepared statements are few: no need to throw them away with their connection
            timeout=limits.connect_seconds,
            # The server ends a long statement and keeps the connection; ours is for a server that no longer answers.
            command_timeout=limits.statement_seconds + 1.0,
            server_settings={
                "application_name": "tabletap",
                "timezone": "UTC",
                "statement_timeout": str(milliseconds),
                "idle_in_transaction_session_timeout": str(2 * milliseconds),
            },
            init=_teach_types,
            reset=_keep_as_it_is,
        )

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(self._limits.close_seconds):
                await self._pool.close()
        except DRIVER_ERRORS:
            self._pool.terminate()

    async def _acquire(self) -> _Pooled:
        try:
            async with asyncio.timeout(self._limits.acquire_seconds):
                return await self._pool.acquire()
        except DRIVER_ERRORS as error:
            _raise_named(error, lost=self._pool.is_closing())

    async def _pooled(self, work: Work[T], begin: dict[str, Any] | None) -> T:
        connection = await self._acquire()
        self._in_use += 1
        try:
            if begin is None:
                return await work(cast("Connection", connection))
            return await self._in_transaction(connection, work, begin)
        except DRIVER_ERRORS as error:
            if isinstance(error, asyncpg.InternalClientError):
                _cut(connection)
            _raise_named(error, lost=_is_lost(connection))
        finally:
            self._in_use -= 1
            with suppress(*DRIVER_ERRORS):  # work that is committed stays done, whatever befalls its connection now
                await self._pool.release(connection, timeout=self._limits.cleanup_seconds)

    async def _in_transaction(self, connection: _Pooled, work: Work[T], begin: dict[str, Any]) -> T:
        transaction = connection.transaction(**begin)
        try:
            await transaction.start()
        except BaseException:
            _cut(connection)  # whether it is in a transaction now is known to the server alone
            raise
        try:
            result = await work(cast("Connection", connection))
        except BaseException:
            await self._roll_back(connection, transaction)
            raise
        try:
            await transaction.commit()
        except asyncpg.PostgresError as error:
            _raise_named(error, lost=_is_lost(connection), committing=True)
        except BaseException as error:
            _cut(connection)  # the same
            if isinstance(error, DRIVER_ERRORS):
                _raise_named(error, lost=True, committing=True)
            raise
        return result

    async def _roll_back(self, connection: _Pooled, transaction: asyncpg.transaction.Transaction) -> None:
        try:
            async with asyncio.timeout(self._limits.cleanup_seconds):
                await transaction.rollback()
        except DRIVER_ERRORS:
            _cut(connection)

    async def _alone(self, work: Work[T]) -> T:
        connection = None
        try:
            connection = await asyncpg.connect(
                self._dsn,
                timeout=self._limits.connect_seconds,
                server_settings={"application_name": "tabletap session", "timezone": "UTC"},
            )
            await _teach_types(connection)
            return await work(cast("Connection", connection))
        except DRIVER_ERRORS as error:
            _raise_named(error, lost=connection is not None and connection.is_closed())
        finally:
            if connection is not None:
                with suppress(*DRIVER_ERRORS):
                    await connection.close(timeout=self._limits.cleanup_seconds)


def _log_failure(_loop: object, context: dict[str, Any]) -> None:
    """Log what fails in the driver's background. trio-asyncio would end the whole program with it instead."""
    _log.error("in the background of the database pool: %s", context.get("message"), exc_info=context.get("exception"))


async def _teach_types(connection: _Raw) -> None:
    """Let jsonb pass as the bytes msgspec reads and writes, without a str in between; the two callables are C code."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=JSONB_VERSION.__add__,
        decoder=itemgetter(slice(len(JSONB_VERSION), None)),
        format="binary",
    )


async def _keep_as_it_is(_connection: _Raw) -> None:
    """Save asyncpg's reset, a round trip per transaction. An open transaction is rolled back before this is called."""


def _cut(connection: _Pooled) -> None:
    with suppress(asyncpg.InterfaceError):  # the pool has noticed already that it is gone
        connection.terminate()


def _is_lost(connection: _Pooled) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken the dead connection back
        return True


def _raise_named(error: Exception, *, lost: bool, committing: bool = False) -> NoReturn:
    """Raise what the house calls this failure; one it has no name for is a bug and goes on as it is."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, asyncpg.UniqueViolationError):
        raise UniqueViolation(error.constraint_name or "") from error
    # A statement prepared before a migration fails once; asyncpg has forgotten it by then.
    if state.startswith(RETRY_STATES) or isinstance(error, asyncpg.InvalidCachedStatementError):
        raise Retry(str(error)) from error
    if lost or isinstance(error, OSError) or state.startswith(OUTAGE_STATES):
        raise DatabaseDown(str(error) or type(error).__name__, maybe_committed=committing) from error
    raise error
