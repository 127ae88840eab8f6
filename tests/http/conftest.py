"""One server for all tests of this folder that talk to a whole one; ``test_listener`` brings its own parts."""

from collections.abc import Iterator

import pytest

from .server import Server, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running() as server:
        yield server
