"""Cafes: open one, its settings, its menu, what is sold out, its tables and their codes."""

import io
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import msgspec
import qrcode
import qrcode.image.svg
from qrcode.image.pure import PyPNGImage

from tabletap.actors.cafe import GetCafe, GetMenu, GetTables
from tabletap.actors.ports import CafeEntry
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import CafeId, Kind, Ref, utc
from tabletap.domain.cafe import CafeView, Configure, OpenCafe, PublishMenu, SetAvailability
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.menu import Menu
from tabletap.domain.settings import CafeSettings
from tabletap.domain.vocabulary import Method

from .base import Call, Operation, Raw

QR_BOX_PX = 8
QR_BORDER = 4


class OpenBody(msgspec.Struct, frozen=True):
    slug: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    settings: CafeSettings
    menu: Menu


class Opened(msgspec.Struct, frozen=True, rename="camel"):
    cafe_id: UUID
    slug: str
    settings: CafeSettings


class AvailabilityBody(msgspec.Struct, frozen=True):
    """``available`` false: sold out, perhaps ``until`` a time. ``remaining``: so many left, then sold out."""

    available: bool
    until: datetime | None = None
    remaining: Annotated[int, msgspec.Meta(ge=0, le=100_000)] | None = None


class Table(msgspec.Struct, frozen=True):
    """A table: the page its code opens, and the code as a picture."""

    name: str
    url: str
    png: str
    svg: str


class Tables(msgspec.Struct, frozen=True):
    tables: tuple[Table, ...]


async def open_(call: Call) -> Any:
    """Open a cafe under a slug that nobody has."""
    body: OpenBody = call.body
    services = call.services
    if services.directory.by_slug(body.slug):
        return Refusal(Code.SLUG_TAKEN, f"there is a cafe {body.slug!r}")
    cafe_id = CafeId(services.new_id())
    ref = Ref(Kind.CAFE, cafe_id, cafe_id)
    settings = await services.desk.ask(ref, OpenCafe(body.slug, body.settings, body.menu), call.by, call.idempotency)
    if isinstance(settings, Refusal):
        return settings
    services.directory.add(CafeEntry(cafe_id, body.slug, settings.name))
    return Opened(cafe_id, body.slug, settings)


async def settings(call: Call) -> Any:
    """The settings as they stand."""
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    return cafe if isinstance(cafe, Refusal) else cafe.settings


async def configure(call: Call) -> Any:
    """Replace the settings."""
    return await call.services.desk.ask(call.cafe_ref(), Configure(call.body), call.by, call.idempotency)


async def menu(call: Call) -> Any:
    """What can be ordered now."""
    desk = call.services.desk
    shown: CafeView | Refusal = await desk.query(call.cafe_ref(), GetMenu())
    cafe = await desk.query(call.cafe_ref(), GetCafe())
    if isinstance(shown, Refusal) or isinstance(cafe, Refusal):
        return shown
    taken = (method for method in Method if method in call.services.gateways)
    without_bank = {Method.QR_CODE_BANK_TRANSFER} if cafe.settings.bank is None else set()
    return msgspec.structs.replace(shown, payment_methods=tuple(way for way in taken if way not in without_bank))


async def publish(call: Call) -> Any:
    """Replace the menu; answers it as customers see it."""
    answer = await call.services.desk.ask(call.cafe_ref(), PublishMenu(call.body), call.by)
    return answer if isinstance(answer, Refusal) else await menu(call)


async def set_availability(call: Call) -> Any:
    """86 an item or bring it back; answers the menu as customers see it."""
    body: AvailabilityBody = call.body
    if body.until is not None and body.until.tzinfo is None:
        return invalid("until", "needs a time zone")
    until = utc(body.until) if body.until else None
    command = SetAvailability(call.params["sku"], body.available, until, body.remaining)
    answer = await call.services.desk.ask(call.cafe_ref(), command, call.by)
    return answer if isinstance(answer, Refusal) else await menu(call)


def table_url(public_url: str, slug: str, table: str) -> str:
    """The page that a table's code opens."""
    return f"{public_url}/{slug}?table={quote(table)}"


async def tables(call: Call) -> Any:
    """The tables with their pages and codes."""
    names = await call.services.desk.query(call.cafe_ref(), GetTables())
    if isinstance(names, Refusal):
        return names
    assert call.cafe is not None
    base, slug = call.services.public_url(), call.cafe.slug
    picture = f"{base}/api/{slug}/tables"
    return Tables(
        tuple(
            Table(
                name,
                table_url(base, slug, name),
                f"{picture}/{quote(name)}/qr.png",
                f"{picture}/{quote(name)}/qr.svg",
            )
            for name in names
        )
    )


async def _code(call: Call, factory: Any, content_type: str) -> Any:
    names = await call.services.desk.query(call.cafe_ref(), GetTables())
    if isinstance(names, Refusal):
        return names
    name = call.params["table"]
    if name not in names:
        return Refusal(Code.NOT_FOUND, f"there is no table {name!r}")
    assert call.cafe is not None
    code = qrcode.QRCode(box_size=QR_BOX_PX, border=QR_BORDER, image_factory=factory)
    code.add_data(table_url(call.services.public_url(), call.cafe.slug, name))
    picture = io.BytesIO()
    code.make_image().save(picture)
    return Raw(content_type, picture.getvalue())


async def png(call: Call) -> Any:
    """A table's code for print."""
    return await _code(call, PyPNGImage, "image/png")


async def svg(call: Call) -> Any:
    """A table's code for print at any size."""
    return await _code(call, qrcode.image.svg.SvgPathImage, "image/svg+xml")


OPERATIONS = (
    Operation(
        name="cafes.open",
        method="POST",
        path="/api/cafes",
        summary="Open a cafe",
        access=Access(access.INSTALLATION),
        body=OpenBody,
        reply=Opened,
        status=201,
        handler=open_,
    ),
    Operation(
        name="cafes.settings",
        method="GET",
        path="/api/{cafe}/settings",
        summary="A cafe's settings",
        access=Access(access.CREW),
        reply=CafeSettings,
        handler=settings,
    ),
    Operation(
        name="cafes.configure",
        method="PUT",
        path="/api/{cafe}/settings",
        summary="Replace a cafe's settings",
        access=Access(access.MANAGEMENT),
        body=CafeSettings,
        reply=CafeSettings,
        stored=CafeSettings,
        handler=configure,
    ),
    Operation(
        name="menu.get",
        method="GET",
        path="/api/{cafe}/menu",
        summary="What can be ordered now",
        access=Access(access.CREW, public=True),
        reply=CafeView,
        handler=menu,
    ),
    Operation(
        name="menu.publish",
        method="PUT",
        path="/api/{cafe}/menu",
        summary="Replace the menu",
        access=Access(access.MANAGEMENT),
        body=Menu,
        reply=CafeView,
        handler=publish,
    ),
    Operation(
        name="menu.set_availability",
        method="POST",
        path="/api/{cafe}/menu/items/{sku}/availability",
        summary="86 an item, count it down, or bring it back",
        access=Access(access.CREW),
        body=AvailabilityBody,
        reply=CafeView,
        handler=set_availability,
    ),
    Operation(
        name="tables.list",
        method="GET",
        path="/api/{cafe}/tables",
        summary="The tables with their pages and codes",
        access=Access(access.CREW),
        reply=Tables,
        handler=tables,
    ),
    Operation(
        name="tables.png",
        method="GET",
        path="/api/{cafe}/tables/{table}/qr.png",
        summary="A table's code as PNG",
        access=Access(access.CREW, public=True),
        reply=Raw,
        handler=png,
    ),
    Operation(
        name="tables.svg",
        method="GET",
        path="/api/{cafe}/tables/{table}/qr.svg",
        summary="A table's code as SVG",
        access=Access(access.CREW, public=True),
        reply=Raw,
        handler=svg,
    ),
)
