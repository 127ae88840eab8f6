"""Short runs of loads: of ``make crash``, the whole proof that nothing is lost, and of benches."""

import msgspec

from tests.load import bench_pos
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


async def test_the_bench_of_tills_misses_nothing_and_tells_every_figure() -> None:
    told = await bench_pos.bench(cafes=2, tills=2, rate=10.0, seconds=1.0, polls=(0.3, 0.6))
    builtin = msgspec.to_builtins(told)
    assert (told["orders"], told["tills"], told["verdicts"]["nothing_is_missed"]["holds"]) == (10, 4, True)
    for way in ("push", "poll0.3", "poll0.6"):
        assert {"p50Ms", "p99Ms"} <= builtin[way]["delay"].keys()
        assert builtin[way].keys() >= {"requests", "messages", "bytesToServer", "bytesFromServer", "cpu"}
        assert (builtin[way]["missed"], builtin[way]["twice"]) == (0, 0)
    assert told["ratios"].keys() == {"push:poll0.3", "push:poll0.6"}
    assert builtin["push"]["messages"] >= 2 * 2 * 10, "each of a cafe's tills hears of each of its orders, and says so"
