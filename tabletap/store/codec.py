"""Events, messages and views as the bytes the database keeps. The only place that knows how they are written."""

from typing import Any, Final

import msgspec

from tabletap.actors.ports import Recorded, Sent
from tabletap.domain.base import By, CafeId, Job, Kind, Message, OrderId, Ref
from tabletap.domain.drawer import DrawerView
from tabletap.domain.events import AnyEvent
from tabletap.domain.messages import AnyMessage
from tabletap.domain.order import OrderView
from tabletap.domain.payment import PaymentView
from tabletap.domain.tasks import AnyTask
from tabletap.domain.vocabulary import Queue
from tabletap.store.pool import Row

encode: Final = msgspec.json.Encoder().encode
_event: Final = msgspec.json.Decoder(AnyEvent)
_message: Final = msgspec.json.Decoder(AnyMessage)
_task: Final = msgspec.json.Decoder(AnyTask)
_by: Final = msgspec.json.Decoder(By)
order_view: Final = msgspec.json.Decoder(OrderView).decode
drawer_view: Final = msgspec.json.Decoder(DrawerView).decode
payment_view: Final = msgspec.json.Decoder(PaymentView).decode

RECORDED: Final = 'cafe_id, "offset", id, kind, entity_id, version, author_kind, author_id, order_id, at, by, data'
"""The columns of ``events`` in the order in which ``recorded`` takes them."""

SENT: Final = "id, kind, entity_id, cafe_id, message, by"
"""The columns of ``outbox`` in the order in which ``sent`` takes them."""

JOB: Final = "id, destination, key, cafe_id, priority, parent, flow, message, by"
"""The columns of ``outbox`` in the order in which ``job`` takes them."""


def event(data: bytes) -> Any:
    """An event from its JSON."""
    return _event.decode(data)


def recorded(row: Row) -> Recorded:
    """An event of the log from the columns ``RECORDED``, with which the row begins."""
    cafe_id, offset, id_, kind, entity_id, version, author_kind, author_id, order_id, at, by, data, *_ = row
    cafe = CafeId(cafe_id)
    return Recorded(
        cafe_id=cafe,
        offset=offset,
        id=id_,
        ref=Ref(Kind(kind), entity_id, cafe),
        version=version,
        author=Ref(Kind(author_kind), author_id, cafe),
        order_id=None if order_id is None else OrderId(order_id),
        at=at,
        by=_by.decode(by),
        event=_event.decode(data),
    )


def sent(row: Row) -> Sent:
    """A message from the columns ``SENT``, with which the row begins."""
    id_, kind, entity_id, cafe_id, message, by, *_ = row
    to = Ref(Kind(kind), entity_id, CafeId(cafe_id))
    return Sent(id=id_, message=Message(to, _message.decode(message)), by=_by.decode(by))


def job(row: Row) -> Sent:
    """A job from the columns ``JOB``, with which the row begins."""
    id_, queue, key, cafe_id, priority, parent, flow, task, by, *_ = row
    job = Job(
        Queue(queue), key, CafeId(cafe_id), _task.decode(task), priority=priority, id=id_, parent=parent, flow=flow
    )
    return Sent(id=id_, message=job, by=_by.decode(by))
