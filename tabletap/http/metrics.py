"""What ``/metrics`` tells (Prometheus, spec Q2): money counted from the log, and the house from its own counters."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tabletap.actors.ports import Follower, Publisher, Recorded
from tabletap.domain import events as e
from tabletap.domain.base import CafeId
from tabletap.domain.vocabulary import Queue

_DOLLARS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SECONDS = (1, 5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
STARTS_KEPT = 10_000

Figures = Callable[[], Mapping[str, float]]
"""What a part of the house counts, by metric name."""


class _House(Collector):
    def __init__(self, figures: Sequence[Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        for part in self._figures:
            for name, value in part().items():
                yield GaugeMetricFamily(f"tabletap_{name}", name.replace("_", " "), value=value)


class QueueFigures(Protocol):
    """What is in a queue, and what has become of its jobs on this node since the start."""

    running: int
    waiting: int
    held: int
    dead: int
    done: int
    failed: int
    died: int
    oldest_due_s: float


class _Queues(Collector):
    def __init__(self, queues: Callable[[], Mapping[Queue, QueueFigures]]) -> None:
        self._queues = queues

    def collect(self) -> Iterable[Metric]:
        jobs = GaugeMetricFamily("tabletap_queue_jobs", "Jobs in a queue now, by state", labels=["queue", "state"])
        oldest = GaugeMetricFamily(
            "tabletap_queue_oldest_due_seconds", "For how long what waits longest could be done", labels=["queue"]
        )
        over = CounterMetricFamily(
            "tabletap_queue_attempts", "Attempts at jobs on this node, by outcome", labels=["queue", "outcome"]
        )
        for queue, told in self._queues().items():
            oldest.add_metric([queue.value], told.oldest_due_s)
            states = {"running": told.running, "waiting": told.waiting, "held": told.held, "dead": told.dead}
            for state, count in states.items():
                jobs.add_metric([queue.value, state], count)
            for outcome, count in {"done": told.done, "failed": told.failed, "given_up": told.died}.items():
                over.add_metric([queue.value, outcome], count)
        yield from (jobs, oldest, over)


class Metrics:
    """Counts what is published. One registry per server, so that two in a process do not mix."""

    def __init__(self, *figures: Figures, queues: Callable[[], Mapping[Queue, QueueFigures]] = dict) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_House(figures))
        registry.register(_Queues(queues))
        self._payments = Counter("payment_transactions", "Payments that ended", ["status", "method"], registry=registry)
        self._amount = Histogram("payment_amount_dollars", "Completed payments", buckets=_DOLLARS, registry=registry)
        self._refunds = Counter("payment_refunds", "Refunds", ["status"], registry=registry)
        self._duration = Histogram(
            "payment_processing_duration_seconds", "Initiated to ended", ["method"], buckets=_SECONDS, registry=registry
        )
        self._active = Gauge("payment_active_transactions", "Payments under way", registry=registry)
        self._orders = Counter("orders_placed", "Orders placed", ["channel"], registry=registry)
        self._begun: dict[object, tuple[float, str]] = {}

    def observe(self, events: Sequence[Recorded]) -> None:
        """Count committed events."""
        for recorded in events:
            match recorded.event:
                case e.OrderPlaced() as placed:
                    self._orders.labels(placed.channel.value).inc()
                case e.PaymentInitiated() as begun:
                    if len(self._begun) >= STARTS_KEPT:
                        del self._begun[next(iter(self._begun))]
                    self._begun[begun.payment_id] = (recorded.at.timestamp(), begun.method.value)
                case e.PaymentCompleted() as done:
                    self._amount.observe(done.received / 100)
                    self._ended(done.payment_id, "completed", recorded.at.timestamp(), done.method.value)
                case e.PaymentClosed() as closed:
                    self._ended(closed.payment_id, closed.status, recorded.at.timestamp())
                case e.RefundCompleted() as refund:
                    self._refunds.labels("full" if refund.full else "partial").inc()
                case _:
                    continue
        self._active.set(len(self._begun))

    def _ended(self, payment_id: object, status: str, at: float, method: str = "unknown") -> None:
        begun = self._begun.pop(payment_id, None)
        if begun is not None:
            method = begun[1]
            self._duration.labels(method).observe(at - begun[0])
        self._payments.labels(status, method).inc()

    def text(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)


class Metered:
    """A publisher that is counted."""

    def __init__(self, publisher: Publisher, metrics: Metrics) -> None:
        self._publisher = publisher
        self._metrics = metrics

    def publish(self, cafe_id: CafeId, events: Sequence[Recorded]) -> None:
        """Count, and pass on."""
        self._metrics.observe(events)
        self._publisher.publish(cafe_id, events)

    def follow(self, cafe_id: CafeId, follower: Follower) -> Callable[[], None]:
        """Pass on."""
        return self._publisher.follow(cafe_id, follower)

    def head(self, cafe_id: CafeId) -> int:
        """Pass on."""
        return self._publisher.head(cafe_id)
