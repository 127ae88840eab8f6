"""The only place that wires things together: one server, from its database to its port, and back down.

The order of starting is the order of leaning: database, storage, actors, doors. Stopping goes the other way and has a
deadline, whatever clients and disks do.
"""

import gc
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
import trio
from uuid_utils.compat import uuid7

from tabletap import __version__
from tabletap.actors.cafe import Boards, Kitchen, Nudge
from tabletap.actors.desk import Desk, address
from tabletap.actors.entity import Cradle, House
from tabletap.actors.nouns import factories, midwife
from tabletap.actors.ports import Sent
from tabletap.actors.runtime import DeadLetter, Limits, System, Waker, WallClock
from tabletap.banking import Banking, workers
from tabletap.domain.base import Kind, Ref
from tabletap.domain.charge import Charge
from tabletap.entrance import Entrance
from tabletap.http import asyncapi, openapi
from tabletap.http.auth import Authenticator
from tabletap.http.directory import CafeDirectory
from tabletap.http.dispatch import Dispatcher
from tabletap.http.limits import RateLimiter
from tabletap.http.listener import serve
from tabletap.http.metrics import Metered, Metrics
from tabletap.http.operations import OPERATIONS
from tabletap.http.operations.base import Services
from tabletap.http.rest import build
from tabletap.http.revoked import Revoked
from tabletap.http.sockets.stream import Connection
from tabletap.overview import figures, reports
from tabletap.realtime.hub import Hub, HubLimits
from tabletap.realtime.session import serve_session
from tabletap.realtime.tickets import tickets_from
from tabletap.settings import Settings, auth_of
from tabletap.store.balances import Balances
from tabletap.store.embedded import EmbeddedPostgres, serving
from tabletap.store.jobs import Jobs
from tabletap.store.migrate import migrate
from tabletap.store.outbox import Relay
from tabletap.store.pool import Database
from tabletap.store.reader import Reader
from tabletap.store.reports import ReportTable
from tabletap.store.revocations import RevocationTable
from tabletap.store.statements import StatementTable
from tabletap.store.sweep import keep_sweeping
from tabletap.store.trail import Trail
from tabletap.store.wakes import WakeTable
from tabletap.store.writer import Writer

log = structlog.get_logger(__name__)

GC_THRESHOLD = (50_000, 20, 50)
"""Objects allocated before a young collection, and how many of those make an older one."""


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The configured database, or the embedded one (watched over, and stopped at the end), migrated."""
    async with AsyncExitStack() as stack:
        dsn = settings.server.database_url
        embedded = None
        if not dsn:
            settings.state.mkdir(parents=True, exist_ok=True)
            embedded = EmbeddedPostgres(settings.state, settings.embedded)
            dsn = await embedded.start()
            stack.push_async_callback(embedded.stop)
        nursery = await stack.enter_async_context(trio.open_nursery())
        if embedded is not None:
            nursery.start_soon(embedded.watch)
            stack.callback(nursery.cancel_scope.cancel)
        database = await stack.enter_async_context(Database.open(dsn, settings.pool))
        for applied in await migrate(database):
            log.info("migration_applied", migration=applied)
        yield database


@asynccontextmanager
async def reach_database(settings: Settings) -> AsyncIterator[Database]:
    """For a command beside a server at work: its database as it runs; else opened for this."""
    dsn = settings.server.database_url or serving(settings.state)
    if dsn:
        async with Database.open(dsn, settings.pool) as database:
            yield database
    else:
        async with open_database(settings) as database:
            yield database


class Server:
    """The parts of one running server."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.port = 0
        self._stopping = False
        self.reader = Reader(database)
        limits = HubLimits(heartbeat_ms=settings.sockets.heartbeat_ms, storms=settings.storms)
        self.hub = Hub(limits, settings.rooms, tickets_from(self.reader), self.reader.history)
        clock = WallClock()
        self.metrics = Metrics(lambda: figures(self), queues=lambda: self.relay.stats().queues)
        publisher = Metered(self.hub, self.metrics)
        self.relay = Relay(
            database,
            self._deliver,
            workers=workers(lambda: self.banking),
            policies=settings.queues,
            heard=self.hub.flows.tell,
        )
        self.writer = Writer(database, publisher, self.relay, clock=clock)
        self.boards = Boards()
        house = House(
            journal=self.writer,
            answered=self.reader.answered,
            new_id=uuid7,
            midwife=midwife,
            scheduled=lambda ref, at: self.waker.schedule(address(ref), at),
            cradle=Cradle(settings.actors.newborns_kept),
        )
        kitchen = Kitchen(self.reader, publisher, self.boards, settings.actors.queue_tick_s)
        self.system = System(
            factories(house, kitchen),
            Limits(
                mailbox_messages=settings.actors.mailbox_messages,
                mailbox_bytes=settings.actors.mailbox_bytes,
                idle_seconds=settings.actors.idle_seconds,
                active_limit=settings.actors.active_limit,
            ),
            clock,
            on_dead_letter=_log_dead_letter,
            on_crash=lambda where, error: log.error("actor_crashed", actor=str(where), exc_info=error),
            on_escalate=lambda where, error: log.error("actor_quarantined", actor=str(where), exc_info=error),
        )
        self.waker = Waker(self.system, WakeTable(database), clock)
        self.desk = Desk(
            self.system, self.relay, ask_timeout_s=settings.actors.ask_timeout_s, follow_s=settings.actors.follow_s
        )
        self.directory = CafeDirectory(self.reader)
        self.banking = Banking(
            settings,
            database,
            self.reader,
            publisher,
            self.desk,
            wake_queues=self.relay.wake_queues,
            wake_outbox=self.relay.wake,
            public_url=self.public_url,
            return_to=self._return_to,
            now=clock.now,
        )
        self.revoked = Revoked(RevocationTable(database), settings.revoked, clock.now)
        self.auth = Authenticator(auth_of(settings), self.revoked.judge)
        self.entrance = Entrance(settings, database, self.hub, self.reader, self.auth, self.directory, clock.now)
        self.doors = self.entrance.doors
        self.revoked.changed = self.doors.shut_out
        self.dispatcher = Dispatcher(
            Services(
                desk=self.desk,
                reader=self.reader,
                boards=self.boards,
                directory=self.directory,
                gateways=self.banking.registry.by_method,
                providers=self.banking.registry.by_provider,
                inbox=self.banking.inbox,
                endpoints=self.banking.endpoints,
                statements=StatementTable(database),
                balances=Balances(database),
                reports=ReportTable(database),
                trail=Trail(database),
                reconciliation=self.banking.reconciliation,
                jobs=Jobs(database, self.relay),
                auth=self.auth,
                revoked=self.revoked,
                presence=self.entrance.presence,
                keyring=self.entrance.keyring,
                tills=self.entrance.tills,
                till_feed=self.entrance.till_feed,
                public_url=self.public_url,
                now=clock.now,
                new_id=uuid7,
            ),
            RateLimiter(settings.rates),
        )
        self.entrance.open(self.dispatcher)

    def public_url(self) -> str:
        """Where customers reach this server."""
        server = self.settings.server
        return server.public_url.rstrip("/") or f"http://{server.host}:{self.port}"

    def _return_to(self, charge: Charge) -> str:
        cafe = self.directory.by_id(charge.cafe_id)
        return f"{self.public_url()}/{cafe.slug if cafe else ''}?payment={charge.reference}"

    async def _deliver(self, sent: Sent) -> None:
        await self.desk.deliver(sent)

    # -- running

    async def run(self, stop: trio.Event, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until ``stop``; reports the port once everything answers."""
        async with trio.open_nursery() as storage:
            await storage.start(self.hub.run)
            await storage.start(self.writer.run)
            await storage.start(self.relay.run)
            storage.start_soon(keep_sweeping, self.database, self.settings.kept)
            async with trio.open_nursery() as house:
                await house.start(self.system.run)
                await house.start(self.waker.run)
                await self.directory.refresh()
                house.start_soon(self.directory.run)
                await self.revoked.refresh()
                house.start_soon(self.revoked.run)
                await house.start(self.entrance.run)
                await house.start(self.banking.run)
                await self._wake_kitchens()
                await self._serve(stop, task_status)
                self._stopping = True
                await self.system.stop(self.settings.server.stop_within_s / 4)
                house.cancel_scope.cancel()
            await self.entrance.close()
            await self.writer.aclose()
            storage.cancel_scope.cancel()

    async def _serve(self, stop: trio.Event, task_status: trio.TaskStatus[int]) -> None:
        settings = self.settings
        app = build(
            self.dispatcher,
            self.auth,
            settings.rest,
            reports=reports(
                database=self.database, metrics=self.metrics, info=self._info, stops=lambda: self._stopping
            ),
            documents=self._documents(),
            slug_exists=lambda slug: self.directory.by_slug(slug) is not None,
        )

        async def door(connection: Connection) -> None:
            at, remote = self.entrance, connection.client
            await serve_session(connection, self.doors, settings.sessions, nursery, at.turns, remote=remote)

        async with trio.open_nursery() as nursery:
            self.port = await nursery.start(
                lambda task_status: serve(
                    app,
                    door,
                    host=settings.server.host,
                    port=settings.server.port,
                    limits=settings.listener,
                    stop=stop,
                    close_doors=self.doors.close_all,
                    proxies=settings.server.proxies,
                    task_status=task_status,
                )
            )
            _spare_the_collector()
            task_status.started(self.port)

    async def _wake_kitchens(self) -> None:
        """Cafes with orders in their kitchen have a board from the start."""
        for entry in await self.reader.cafes():
            if await self.reader.orders(entry.id, active=True, limit=1):
                self.desk.nudge(Ref(Kind.CAFE, entry.id, entry.id), Nudge())

    def _documents(self) -> Mapping[str, Callable[[], bytes]]:
        """What clients can know of the doors."""

        def sockets() -> bytes:
            url = urlsplit(self.public_url())
            secure = url.scheme == "https"
            return msgspec.json.encode(asyncapi.document(OPERATIONS.values(), __version__, url.netloc, secure=secure))

        return {
            "/openapi.json": lambda: msgspec.json.encode(openapi.document(OPERATIONS.values(), __version__)),
            "/asyncapi.json": sockets,
        }

    def _info(self) -> Mapping[str, Any]:
        return {
            "service": "tabletap",
            "version": __version__,
            "port": self.port,
            "paymentMethods": [method.value for method in self.banking.registry.by_method],
            "operations": len(OPERATIONS),
            "status": "running",
        }


def _spare_the_collector() -> None:
    """What has been loaded stays; and thousands of live actors are walked through less often: nearly all garbage here
    is freed by its count."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLD)


def _log_dead_letter(letter: DeadLetter) -> None:
    log.warning("dead_letter", actor=str(letter.address), reason=str(letter.reason))


Ready = Callable[[Server], Awaitable[None]]
"""Called when the server answers, before anybody is told so."""


async def run(settings: Settings, ready: Ready) -> None:
    """Serve until SIGTERM or SIGINT. Ends within ``stop_within_s`` of it, whatever clients do."""
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as watching:
            scope = trio.CancelScope()

            async def await_signal() -> None:
                async for number in signals:
                    if stop.is_set():
                        scope.cancel()  # asked twice: now
                    log.info("stopping", signal=signal.Signals(number).name)
                    stop.set()
                    scope.deadline = trio.current_time() + settings.server.stop_within_s

            watching.start_soon(await_signal)
            with scope:
                async with open_database(settings) as database, trio.open_nursery() as nursery:
                    server = Server(settings, database)
                    await nursery.start(server.run, stop)
                    await ready(server)
            watching.cancel_scope.cancel()
