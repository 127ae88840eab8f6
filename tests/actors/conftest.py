"""Virtual time for every test of actors, and the corner cafe.

A clock that only a fixture asks for never reaches the test's ``trio.run``: pytest-trio looks at the arguments of the
test itself. So the run brings it, and no test has to.
"""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from .corner import Corner

HERE = Path(__file__).parent


def on_virtual_time(main: Any, *, clock: trio.abc.Clock | None = None, instruments: Sequence[Any] = ()) -> None:
    trio.run(main, clock=clock or trio.testing.MockClock(autojump_threshold=0), instruments=instruments)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("trio"):
            item.add_marker(pytest.mark.trio(run=on_virtual_time), append=False)


@pytest.fixture
async def corner() -> AsyncIterator[Corner]:
    """An open cafe. A test that expects an actor to crash empties ``crashes`` itself."""
    async with Corner().open() as opened:
        yield opened
    assert opened.crashes == []
