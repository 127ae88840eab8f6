"""The kitchen's screen: a station's queue, or the expo's whole tickets."""

from typing import Annotated, Any

import msgspec

from tabletap.actors.cafe import GetCafe
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.errors import Refusal, invalid
from tabletap.domain.kitchen import KitchenView, display

from .base import Call, Operation


class KitchenQuery(msgspec.Struct, frozen=True):
    """``station`` left out: the expo."""

    station: Annotated[str, msgspec.Meta(max_length=64)] | None = None


async def get(call: Call) -> Any:
    """The screen as it stands."""
    services = call.services
    cafe = await services.desk.query(call.cafe_ref(), GetCafe())
    if isinstance(cafe, Refusal):
        return cafe
    station = call.query.station
    if station is not None and station not in cafe.menu.menu.stations:
        return invalid("station", f"there is no station {station!r}")
    _, orders = await services.reader.orders_with_offset(call.cafe_id)
    return display(orders, station, services.now(), cafe.settings.ageing)


OPERATIONS = (
    Operation(
        name="kitchen.get",
        method="GET",
        path="/api/{cafe}/kitchen",
        summary="A station's queue, or the expo's tickets",
        access=Access(access.CREW),
        query=KitchenQuery,
        reply=KitchenView,
        handler=get,
    ),
)
