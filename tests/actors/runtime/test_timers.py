"""The timing wheel: what is due is called, and nobody is woken for what is not."""

import trio
from trio.testing import MockClock

from tabletap.actors.runtime.timers import Timers


class Counted(Timers):
    """Counts how often it was woken."""

    def __init__(self) -> None:
        super().__init__()
        self.woken = 0

    def _fire(self, now: float) -> None:
        self.woken += 1
        super()._fire(now)


async def test_ticks_whose_timers_were_all_cancelled_wake_nobody(autojump_clock: MockClock) -> None:
    timers, called = Counted(), list[float]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(timers.run)
        for _ in range(200):
            timer = timers.after(1, lambda: called.append(-1))
            await trio.sleep(0.02)
            timer.cancel()
        due = trio.current_time() + 3
        timers.after(3, lambda: called.append(trio.current_time()))
        timers.after(2, lambda: called.append(-1)).cancel()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert len(called) == 1
    assert 0 <= called[0] - due < 0.02
    assert timers.woken < 20, "a second's worth of asks costs one look"
