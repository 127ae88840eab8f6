"""The loop of the driver, without a driver."""

import math

import trio
import trio.testing

from tabletap.store.loop import AT_ONCE, open_loop


async def rounds_until(done: list[int], count: int) -> int:
    """How often everybody else had their turn before so many callbacks were done."""
    rounds = 0
    while len(done) < count:
        await trio.lowlevel.checkpoint()
        rounds += 1
        assert rounds < 10 * count
    return rounds


async def test_what_is_due_is_done_in_one_round() -> None:
    done: list[int] = []
    async with open_loop() as loop:
        await trio.testing.wait_all_tasks_blocked()
        for number in range(AT_ONCE):
            loop.call_soon(done.append, number)
        # One to wake it, one to do it all.
        assert await rounds_until(done, AT_ONCE) <= 3
    assert done == list(range(AT_ONCE))


async def test_callbacks_that_never_end_leave_others_their_turn() -> None:
    done: list[int] = []
    going_on = True

    async with open_loop() as loop:

        def again() -> None:
            done.append(1)
            if going_on:
                loop.call_soon(again)

        loop.call_soon(again)
        await rounds_until(done, 2 * AT_ONCE)
        before = len(done)
        await trio.lowlevel.checkpoint()
        assert len(done) - before <= 2 * AT_ONCE
        going_on = False


async def test_a_callback_that_fails_ends_neither_the_round_nor_the_loop() -> None:
    done: list[int] = []
    failures: list[BaseException] = []
    async with open_loop() as loop:
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(done.append, 1)
        await rounds_until(done, 1)
    assert [type(failure) for failure in failures] == [ZeroDivisionError]


async def test_a_timer_that_was_cancelled_wakes_nobody() -> None:
    async with open_loop() as loop:
        timers = [loop.call_later(seconds, print) for seconds in (5, 10, 20)]
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline <= 5
        for timer in timers[:2]:
            timer.cancel()
        loop.call_soon(int)  # an answer has come
        await trio.testing.wait_all_tasks_blocked()
        assert 10 < trio.lowlevel.current_statistics().seconds_to_next_deadline <= 20
        timers[2].cancel()
        loop.call_soon(int)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
