"""One script, two clients: whatever the server does, both keep the same promises."""

import inspect
from collections.abc import Awaitable, Callable

import pytest

from . import scenes_events
from .stage import KINDS, NODE, Stage, staged

Scene = Callable[[Stage], Awaitable[None]]


def scenes(*modules: object) -> list[Scene]:
    """All public coroutine functions, in the order in which they are written."""
    return [
        scene
        for module in modules
        for name, scene in vars(module).items()
        if inspect.iscoroutinefunction(scene) and not name.startswith("_")
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scene", scenes(scenes_events), ids=lambda scene: scene.__name__)
async def test_both_clients(scene: Scene, kind: str) -> None:
    if kind == "javascript" and NODE is None:
        pytest.skip("no node: the JavaScript client cannot be run here (apt install nodejs)")
    async with staged(kind) as stage:
        await scene(stage)
