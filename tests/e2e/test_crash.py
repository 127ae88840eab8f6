"""Short runs of loads: of ``make crash``, the whole proof that nothing is lost, and of ``make bench-payments``."""

import msgspec

from tests.load.bench_payments import bench
from tests.load.crash import crash


def test_what_was_acknowledged_survives_kill_9() -> None:
    result = crash(rounds=2, seed=7)
    assert result.well, result


def test_the_bench_of_payments_completes_all_of_them_and_tells_every_figure() -> None:
    told = msgspec.to_builtins(bench(payments=6, rate=20.0, at_once=3))
    assert told["incomplete"] == 0
    for phase, steps in (
        ("steady", {"initiate", "webhook"}),
        ("crowd", {"initiate", "webhook"}),
        ("cash", {"initiate", "verify"}),
        ("storm", {"webhook"}),
    ):
        assert (told[phase]["payments"], told[phase]["completed"], told[phase]["steps"].keys()) == (6, 6, steps)
        assert {"p50Ms", "p99Ms"} <= told[phase]["toCompleted"].keys()
        assert {"perSecond", "serverCpuMs", "postgresCpuMs", "databaseCalls", "health"} <= told[phase].keys()
    assert {"ordersPerSecond", "webhookMedianMs", "crowdToCash", "idleHealth", "seconds"} <= told.keys()
