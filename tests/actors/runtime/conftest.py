"""One way to raise a system of probes, on virtual time."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
import trio

from tabletap.actors.runtime import Address, Limits, System
from tabletap.actors.runtime.testing import Probes, TrioClock

A = Address("probe", "a")
B = Address("probe", "b")


class Bug(Exception):
    pass


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
def raised(autojump_clock: trio.testing.MockClock, probes: Probes) -> Callable[..., Any]:
    @asynccontextmanager
    async def running(limits: Limits | None = None, **more: Any) -> AsyncIterator[System]:
        more.setdefault("on_crash", lambda *_: None)
        more.setdefault("on_escalate", lambda *_: None)
        factories = {"probe": probes, **more.pop("factories", {})}
        async with System(factories, limits, TrioClock(), rng=Random(1), **more) as system:
            yield system

    return running
