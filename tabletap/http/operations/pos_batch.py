"""Many orders moved by one call (spec S7): each for itself, each answered, and the whole may be repeated."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5

import msgspec
import trio

from tabletap.actors.ports import Answered, Idempotency
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import Kind, OrderId, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.order import Accept, MoveOrder, OrderView
from tabletap.domain.till import Scope
from tabletap.http.problems import ProblemField, fields_at_fault

from .base import KEY_REUSED, Call, Key, Operation

BATCH_AT_MOST = 100
AT_ONCE = 8


class Update(msgspec.Struct, frozen=True, rename="camel"):
    order_id: UUID
    move: Literal["accept", "start", "ready", "complete", "cancel"]
    reason: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class BatchBody(msgspec.Struct, frozen=True):
    updates: Annotated[tuple[Update, ...], msgspec.Meta(min_length=1, max_length=BATCH_AT_MOST)]


class Fault(msgspec.Struct, frozen=True):
    """Why one of many was refused."""

    code: Code
    error: str
    errors: tuple[ProblemField, ...] = ()


class Updated(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Either the order as it is now, or why not."""

    order_id: UUID
    order: OrderView | None = None
    refused: Fault | None = None


class Results(msgspec.Struct, frozen=True):
    """In the order of the request."""

    results: tuple[Updated, ...]


async def batch(call: Call) -> Any:
    """Many orders in one call: each on its own, in a transaction of its own. A move that was made already changes
    nothing and is no error, so that the whole call may be repeated.

    Under an Idempotency-Key each update has a key of its own, made of that one and its place, and its answer is kept
    with its effect: repeated, the call tells again what was answered, and carries out what it did not come to.
    """
    updates: tuple[Update, ...] = call.body.updates
    keys = _keys_of(call.idempotency, len(updates))
    before = await _answered(call, keys)
    if isinstance(before, Refusal):
        return before
    results: dict[int, Updated] = {}
    of_order: dict[UUID, list[int]] = {}
    for place, update in enumerate(updates):
        of_order.setdefault(update.order_id, []).append(place)
    limit = trio.CapacityLimiter(AT_ONCE)

    async def carry_out(order_id: UUID, places: list[int]) -> None:
        async with limit:
            order = await _order(call, order_id) if any(place not in before for place in places) else None
            for place in places:  # one after the other
                known = before.get(place)
                results[place] = known or await _update(call, order, updates[place], keys[place])

    async with trio.open_nursery() as nursery:
        for order_id, places in of_order.items():
            nursery.start_soon(carry_out, order_id, places)
    return Results(tuple(results[place] for place in range(len(updates))))


def _keys_of(whole: Idempotency | None, count: int) -> Sequence[Idempotency | None]:
    if whole is None:
        return [None] * count
    return [msgspec.structs.replace(whole, key=uuid5(whole.key, str(place))) for place in range(count)]


async def _answered(call: Call, keys: Sequence[Idempotency | None]) -> Mapping[int, Updated] | Refusal:
    """What was answered to updates under these keys before, by their places."""
    places = {key.key: place for place, key in enumerate(keys) if key is not None}
    if call.idempotency is None:
        return {}
    scope, now = call.idempotency.scope, call.services.now()
    found = await call.services.reader.answered_among(scope, list(places), now)
    if any(one.idempotency.request != call.idempotency.request for one in found):
        return KEY_REUSED
    told = {places[one.idempotency.key]: one for one in found}
    return {place: _replayed(call.body.updates[place].order_id, one) for place, one in told.items()}


def _replayed(order_id: UUID, answered: Answered) -> Updated:
    if answered.ok:
        return Updated(order_id, order=msgspec.json.decode(answered.body, type=OrderView))
    return _refused(order_id, msgspec.json.decode(answered.body, type=Refusal))


def _refused(order_id: UUID, refusal: Refusal) -> Updated:
    return Updated(order_id, refused=Fault(refusal.code, refusal.message, fields_at_fault(refusal)))


async def _order(call: Call, order_id: UUID) -> Ref | None:
    """The order, if it is one of this cafe."""
    subject = await call.services.reader.subject("order", OrderId(order_id))
    return Ref(Kind.ORDER, order_id, call.cafe_id) if subject and subject.cafe_id == call.cafe_id else None


async def _update(call: Call, order: Ref | None, update: Update, key: Idempotency | None) -> Updated:
    if order is None:
        return _refused(update.order_id, Refusal(Code.NOT_FOUND, "there is no such order"))
    command = Accept() if update.move == "accept" else MoveOrder(update.move, update.reason)
    answer = await call.services.desk.ask(order, command, call.by, key)
    return _refused(order.id, answer) if isinstance(answer, Refusal) else Updated(order.id, order=answer)


OPERATIONS = (
    Operation(
        name="pos.batch",
        method="POST",
        path="/api/{cafe}/orders/batch",
        summary="Move many orders, each on its own",
        access=Access(access.STAFF, till=Scope.WRITE),
        body=BatchBody,
        reply=Results,
        key=Key.OPTIONAL,
        handler=batch,
    ),
)
