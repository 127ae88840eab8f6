"""The asyncio loop that carries the driver, made to do more than one thing at a time.

trio-asyncio gives way to every task of the program after each callback of asyncio. One question to the database takes
about ten of them, so in a busy server an answer came ten rounds of everything else after it was there, and half of what
a question cost was the giving way. Here a round of the loop does whatever is due by then, within a bound.

And it wakes up for every timer, cancelled or not. Every question has one, which its answer cancels: ten seconds later
the program was woken for nothing, once for each. Here a cancelled timer goes when it comes first.

And it looks at what kind of function each callback is, which asyncio does where it looks for bugs only.
"""

import heapq
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import trio
import trio_asyncio

AT_ONCE: Final = 64
"""Callbacks of one round: others must have their turn, too."""


@asynccontextmanager
async def open_loop() -> AsyncGenerator[trio_asyncio.TrioEventLoop, None]:
    """A loop for as long as the block runs."""
    async with trio_asyncio.open_loop() as loop:
        one = loop._main_loop_one  # noqa: SLF001  its only seam; a test says when it is gone

        def drop_cancelled() -> None:
            timers = loop._timers  # noqa: SLF001  the same
            while timers and timers[0].cancelled():
                heapq.heappop(timers)

        async def several(no_wait: bool = False) -> None:  # noqa: FBT001, FBT002  the signature is the library's
            drop_cancelled()
            await one(no_wait)
            if no_wait:
                return
            try:
                for _ in range(AT_ONCE - 1):
                    await one(no_wait=True)  # does not give way
            except trio.WouldBlock:
                return

        loop._main_loop_one = several  # noqa: SLF001  the same
        loop._check_callback = _unchecked  # noqa: SLF001  the same
        yield loop


def _unchecked(callback: object, method: str) -> None:
    """Whatever it is."""
