"""What was acknowledged survives kill -9: a short run of ``make crash``, which is the whole proof."""

from tests.load.crash import crash


def test_what_was_acknowledged_survives_kill_9() -> None:
    result = crash(rounds=2, seed=7)
    assert result.well, result
