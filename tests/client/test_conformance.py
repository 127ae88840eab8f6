"""One script, two clients: whatever the server does, both keep the same promises."""

import inspect
from collections.abc import Awaitable, Callable, Iterator

import pytest

from . import scenes_commands, scenes_events, scenes_lines
from .stage import KINDS, NODE, Node, Stage, staged

Scene = Callable[[Stage], Awaitable[None]]


def scenes(*modules: object) -> list[Scene]:
    """All public coroutine functions, in the order in which they are written."""
    return [
        scene
        for module in modules
        for name, scene in vars(module).items()
        if inspect.iscoroutinefunction(scene) and not name.startswith("_")
    ]


@pytest.fixture(scope="module")
def node() -> Iterator[Node | None]:
    if NODE is None:
        yield None
    else:
        process = Node()
        yield process
        process.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "scene", scenes(scenes_events, scenes_commands, scenes_lines), ids=lambda scene: scene.__name__
)
async def test_both_clients(scene: Scene, kind: str, node: Node | None) -> None:
    if kind == "javascript" and node is None:
        pytest.skip("no node: the JavaScript client cannot be run here (apt install nodejs)")
    async with staged(kind, node if kind == "javascript" else None) as stage:
        await scene(stage)
