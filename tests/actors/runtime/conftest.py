"""One way to raise a system of probes. Tests name ``autojump_clock`` themselves: pytest-trio looks only there."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from tabletap.actors.runtime import Address, Limits, System
from tabletap.actors.runtime.testing import Probes, TrioClock

A = Address("probe", "a")
B = Address("probe", "b")


class Bug(Exception):  # noqa: N818 - short, it is raised everywhere
    pass


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def raised(probes: Probes) -> Callable[..., Any]:
    @asynccontextmanager
    async def running(limits: Limits | None = None, **more: Any) -> AsyncIterator[System]:
        more.setdefault("on_crash", lambda *_: None)
        more.setdefault("on_escalate", lambda *_: None)
        factories = {"probe": probes, **more.pop("factories", {})}
        async with System(factories, limits, TrioClock(), rng=Random(1), **more) as system:
            yield system

    return running
