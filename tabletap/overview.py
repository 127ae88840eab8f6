"""What the operator sees of one server: the health doors, ``/info`` and the figures of ``/metrics``."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import trio

from tabletap.actors.runtime import Outage, System, Waker
from tabletap.banking import Banking
from tabletap.entrance import Entrance
from tabletap.http.metrics import Metrics
from tabletap.http.rest import Report
from tabletap.http.revoked import Revoked
from tabletap.realtime.hub import Hub
from tabletap.store.outbox import Relay
from tabletap.store.pool import Database
from tabletap.store.writer import Writer


class Parts(Protocol):
    """The parts of a server that count."""

    system: System
    writer: Writer
    database: Database
    relay: Relay
    hub: Hub
    revoked: Revoked
    waker: Waker
    entrance: Entrance
    banking: Banking


def reports(
    database: Database, metrics: Metrics, info: Callable[[], Mapping[str, Any]], stops: Callable[[], bool]
) -> Mapping[str, Report]:
    """The operator's doors by their paths."""

    async def answers() -> bool:
        try:
            await database.ping()
        except Outage:
            return False
        return True

    async def live() -> tuple[int, Any]:
        return 200, {"status": "healthy", "service": "tabletap", "timestamp": datetime.now(UTC)}

    async def of_database() -> tuple[int, Any]:
        healthy = await answers()
        status = "healthy" if healthy else "unreachable"
        return (200 if healthy else 503), {"status": status, "timestamp": datetime.now(UTC)}

    async def ready() -> tuple[int, Any]:
        components = {"database": await answers(), "actors": not stops()}
        fine = all(components.values())
        told = {name: "healthy" if well else "unhealthy" for name, well in components.items()}
        return (200 if fine else 503), {"status": "ready" if fine else "not ready", "components": told}

    async def of_itself() -> tuple[int, Any]:
        return 200, info()

    async def measured() -> tuple[int, Any]:
        return 200, metrics.text()

    return {
        "/health": live,
        "/health/db": of_database,
        "/health/ready": ready,
        "/info": of_itself,
        "/metrics": measured,
    }


def figures(parts: Parts) -> Mapping[str, float]:
    """What is counted, by the names that ``/metrics`` gives it."""
    counters, written, pool, relay = (
        parts.system.counters,
        parts.writer.stats(),
        parts.database.stats(),
        parts.relay.stats(),
    )
    return {
        "actors_live": parts.system.live,
        "actors_asked": counters.asked,
        "actors_refused": counters.refused,
        "actors_restarts": counters.restarts,
        "actors_dead_letters": counters.dead_letters,
        "actors_passivations": counters.passivations,
        "commits": written.counters.commits,
        "commit_events": written.counters.events,
        "commits_waiting": written.waiting,
        "database_transactions": pool.transactions,
        "database_reads": pool.reads,
        "database_outages": pool.outages,
        "database_connections": pool.connected,
        "database_connections_in_use": pool.in_use,
        "outbox_delivered": relay.delivered,
        "outbox_failed": relay.failed,
        "outbox_dead": relay.dead,
        "outbox_held": relay.held,
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "rooms": len(parts.hub.rooms),
        "slow_sockets_coalesced": parts.hub.slow.coalesced,
        "slow_sockets_snapshots": parts.hub.slow.snapshots,
        "slow_sockets_closed": parts.hub.slow.closed,
        "tokens_revoked": len(parts.revoked),
        "wakes_held": parts.waker.held,
        **parts.entrance.figures(),
        **parts.banking.reconciliation.figures(),
    }
