"""The corner cafe on virtual time."""

from collections.abc import AsyncIterator

import pytest
import trio.testing

from .corner import Corner


@pytest.fixture
async def corner(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Corner]:
    """An open cafe. A test that expects a crash of an actor empties ``crashes`` itself."""
    async with Corner().open() as opened:
        yield opened
    assert opened.crashes == []
