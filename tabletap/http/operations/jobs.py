"""Queues and dead letters, for those who keep a cafe or the installation running (spec H4, H6)."""

from collections.abc import Callable, Collection
from typing import Annotated, Any
from uuid import UUID

import msgspec

from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import CafeId, Role
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.jobs import DeadLetter, QueueDepth

from .base import Call, Handler, Operation

NOT_DEAD = Refusal(Code.ILLEGAL_MOVE, "there is no such dead letter: it may have been replayed")

Cafes = Callable[[Call], Collection[CafeId] | None]
"""Whose jobs a request is about; None: everybody's."""


class DeadQuery(msgspec.Struct, frozen=True):
    """``before``: the last one of the page before."""

    before: UUID | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class QueueList(msgspec.Struct, frozen=True):
    """Queues with something in them; ``actor`` is that of messages between entities."""

    queues: tuple[QueueDepth, ...]


class DeadLetters(msgspec.Struct, frozen=True, rename="camel"):
    dead_letters: tuple[DeadLetter, ...]


class Replayed(msgspec.Struct, frozen=True):
    """It is in its queue again, behind what waits for the same receiver."""

    replayed: bool = True


def _of_cafe(call: Call) -> Collection[CafeId]:
    return (call.cafe_id,)


def _of_installation(call: Call) -> Collection[CafeId] | None:
    return call.principal.cafes


def _queues(cafes: Cafes) -> Handler:
    async def queues(call: Call) -> Any:
        return QueueList(tuple(await call.services.jobs.queues(cafes(call))))

    return queues


def _dead_letters(cafes: Cafes) -> Handler:
    async def dead_letters(call: Call) -> Any:
        query: DeadQuery = call.query
        found = await call.services.jobs.dead_letters(cafes(call), before=query.before, limit=query.limit)
        return DeadLetters(tuple(found))

    return dead_letters


def _replay(cafes: Cafes) -> Handler:
    async def replay(call: Call) -> Any:
        try:
            ident = UUID(call.params["jobId"])
        except ValueError:
            return NOT_DEAD
        return Replayed() if await call.services.jobs.replay(ident, cafes(call)) else NOT_DEAD

    return replay


def _operations(noun: str, path: str, whose: str, roles: frozenset[Role], cafes: Cafes) -> tuple[Operation, ...]:
    return (
        Operation(
            name=f"{noun}.queues",
            method="GET",
            path=path,
            summary=f"What is in the queues of {whose}",
            access=Access(roles),
            reply=QueueList,
            handler=_queues(cafes),
        ),
        Operation(
            name=f"{noun}.dead_letters",
            method="GET",
            path=f"{path}/dead",
            summary=f"Jobs and messages of {whose} that were given up, the latest first",
            access=Access(roles),
            query=DeadQuery,
            reply=DeadLetters,
            handler=_dead_letters(cafes),
        ),
        Operation(
            name=f"{noun}.replay",
            method="POST",
            path=f"{path}/{{jobId}}/replay",
            summary=f"Try a dead letter of {whose} again",
            access=Access(roles),
            reply=Replayed,
            handler=_replay(cafes),
        ),
    )


OPERATIONS = (
    *_operations("jobs", "/api/{cafe}/jobs", "a cafe", access.MANAGEMENT, _of_cafe),
    *_operations("installation", "/api/admin/jobs", "all cafes", access.INSTALLATION, _of_installation),
)
