"""Keeping a cafe: opening it, its settings, its menu, what is sold out, its drawers."""

from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from tabletap.domain import events as e
from tabletap.domain.bank import check_bank
from tabletap.domain.base import NOTHING, Birth, Context, Decision, Job, Kind, Ref
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.holding import POINTS
from tabletap.domain.menu import Menu, check_menu, is_slug
from tabletap.domain.settings import CafeSettings
from tabletap.domain.tasks import WithdrawPayments
from tabletap.domain.tips import check_settings as check_tips
from tabletap.domain.vocabulary import Queue

from .commands import Configure, OpenCafe, OpenDrawer, PublishMenu, SetAvailability
from .state import Cafe, evolve

RESERVED_SLUGS = frozenset(
    {
        "admin",
        "api",
        "auth",
        "cafes",
        "compliance",
        "credits",
        "demo-token",
        "graphql",
        "group-payments",
        "health",
        "info",
        "internal",
        "kitchen",
        "marketplace",
        "metrics",
        "openapi",
        "orders",
        "payments",
        "public",
        "static",
        "tables",
        "v1",
        "v2",
        "venues",
        "webhooks",
        "ws",
    }
)
"""Words that stand in paths: a cafe of that slug would hide a door."""


def open_cafe(command: OpenCafe) -> Decision | Refusal:
    """Bring a cafe into the world."""
    if not is_slug(command.slug):
        return invalid("slug", "lower-case letters, digits and hyphens, at most 64")
    if command.slug in RESERVED_SLUGS:
        return invalid("slug", f"{command.slug!r} is a word of the paths")
    wrong = (
        _check_settings(command.settings)
        or check_menu(command.menu)
        or _check_currency(command)
        or _check_service_charge(command.settings, command.menu, "settings.serviceCharge.taxClass")
    )
    if wrong:
        return wrong
    return Decision((e.CafeOpened(command.slug, command.settings, command.menu),))


def _check_currency(command: OpenCafe) -> Refusal | None:
    if command.menu.currency != command.settings.currency:
        return invalid("menu.currency", f"the cafe's is {command.settings.currency}")
    return None


def _check_service_charge(settings: CafeSettings, menu: Menu, field: str) -> Refusal | None:
    charge = settings.service_charge
    if charge is None or charge.tax_class in menu.tax_classes:
        return None
    return invalid(field, f"the service charge is taxed as {charge.tax_class!r}, which is no tax class of the menu")


def _check_settings(settings: CafeSettings) -> Refusal | None:
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return invalid("settings.timezone", f"{settings.timezone!r} is no time zone")
    if len(set(settings.tables)) != len(settings.tables):
        return invalid("settings.tables", "a table stands twice")
    for channel, (first, second) in msgspec.structs.asdict(settings.ageing).items():
        if first >= second:
            return invalid(f"settings.ageing.{channel}", "the second threshold must be above the first")
    if settings.currency == POINTS:
        return invalid("settings.currency", f"{POINTS} is what points are counted in")
    if settings.gift_cards.min_value > settings.gift_cards.max_value:
        return invalid("settings.giftCards.minValue", "must not be above maxValue")
    wrong = check_bank(settings.bank, settings.currency) if settings.bank else None
    return wrong or check_tips(settings.tips)


def configure(state: Cafe, command: Configure) -> Decision | Refusal:
    if command.settings.currency != state.settings.currency:
        return invalid("settings.currency", "a cafe keeps its currency: its ledger is in it")
    wrong = _check_settings(command.settings) or _check_service_charge(
        command.settings, state.menu.menu, "settings.serviceCharge.taxClass"
    )
    if wrong:
        return wrong
    return NOTHING if command.settings == state.settings else Decision((e.CafeConfigured(command.settings),))


def publish(state: Cafe, command: PublishMenu) -> Decision | Refusal:
    if command.menu.currency != state.settings.currency:
        return invalid("currency", f"the cafe's is {state.settings.currency}")
    wrong = check_menu(command.menu) or _check_service_charge(state.settings, command.menu, "taxClasses")
    if wrong:
        return wrong
    return NOTHING if command.menu == state.menu.menu else Decision((e.MenuPublished(command.menu),))


def set_availability(state: Cafe, command: SetAvailability, ctx: Context) -> Decision | Refusal:
    if command.sku not in state.menu:
        return Refusal(Code.NOT_FOUND, f"{command.sku!r} is not on the menu")
    if command.available and command.until is not None:
        return invalid("available", "an item that is available is not sold out until a time")
    if command.available and command.remaining is not None and command.remaining < 1:
        return invalid("remaining", "an item that is available has at least one left")
    if command.until is not None and command.until <= ctx.now:
        return invalid("until", "must be in the future")
    changed = e.ItemAvailabilityChanged(
        command.sku,
        available=command.available,
        until=command.until,
        remaining=command.remaining if command.available else None,
    )
    if evolve(state, changed).sold_out == state.sold_out:
        return NOTHING
    return Decision((changed,), jobs=() if command.available else (_withdraw(state, command.sku, ctx),))


def _withdraw(state: Cafe, sku: str, ctx: Context) -> Job:
    """The work of stopping whoever is about to pay for what is gone."""
    task = WithdrawPayments(state.ref, sku, ctx.now)
    return Job(Queue.ORDERS, key=f"{state.id}:{sku}", cafe_id=state.id, task=task)


def open_drawer(state: Cafe, command: OpenDrawer, ctx: Context) -> Decision | Refusal:
    if command.float_amount < 0:
        return invalid("floatAmount", "cannot be less than nothing")
    drawer_id: UUID = ctx.new_id()
    opened = e.DrawerOpened(
        drawer_id=drawer_id,
        cafe_id=state.id,
        name=command.name,
        float_amount=command.float_amount,
        currency=state.settings.currency,
        opened_at=ctx.now,
    )
    return Decision(births=(Birth(Ref(Kind.DRAWER, drawer_id, state.id), (opened,)),))
