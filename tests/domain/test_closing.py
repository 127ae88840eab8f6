"""The closing of a day: who may, when, and under which number (spec S5)."""

from datetime import date, timedelta

import pytest

from tabletap.domain import cafe as cafes
from tabletap.domain import events as e
from tabletap.domain.base import By, Role, business_day, day_bounds
from tabletap.domain.cafe import CloseDay
from tabletap.domain.errors import Code, Refusal

from .world import STAFF, World

MANAGER = By(Role.MANAGER, "mona")


def closing(world: World, command: CloseDay, by: By = MANAGER) -> e.DayClosed | Refusal:
    decision = world.ask(world.cafe_ref, command, by)
    if isinstance(decision, Refusal):
        return decision
    (event,) = decision.events
    assert isinstance(event, e.DayClosed)
    return event


def refused(answer: object, code: Code, field: str | None) -> None:
    assert isinstance(answer, Refusal)
    assert answer.code is code
    assert [error.field for error in answer.errors] == ([] if field is None else [field])


def test_closings_are_numbered_from_one_without_gaps_and_a_restart_forgets_none() -> None:
    world = World()
    numbers = []
    for _ in range(3):
        closed = closing(world, CloseDay((), None), STAFF)
        assert isinstance(closed, e.DayClosed)
        numbers.append(closed.number)
        world.restart()
        kept = cafes.restore(world.cafe, cafes.snapshot(world.cafe))
        assert kept.closed == closed
    assert numbers == [1, 2, 3]


def test_open_drawers_stop_it_unless_management_forces_it_and_then_they_are_named() -> None:
    world = World()
    opened = world.do(world.cafe_ref, cafes.OpenDrawer("Front", 0)).births[0].ref
    refused(closing(world, CloseDay(("Front",), opened.id)), Code.DRAWERS_OPEN, "force")
    refused(closing(world, CloseDay(("Front",), opened.id, force=True), STAFF), Code.FORBIDDEN, "force")
    forced = closing(world, CloseDay(("Front",), opened.id, force=True))
    assert isinstance(forced, e.DayClosed)
    assert forced.open_drawers == ("Front",)


def test_a_drawer_that_is_opened_while_somebody_looks_is_not_overlooked() -> None:
    world = World()
    opened = world.do(world.cafe_ref, cafes.OpenDrawer("Front", 0)).births[0].ref
    refused(closing(world, CloseDay((), None)), Code.DUPLICATE_IN_PROGRESS, None)
    assert isinstance(closing(world, CloseDay((), opened.id)), e.DayClosed), "counted meanwhile, for all it knows"


def test_the_day_is_the_one_it_is_or_one_before_that_and_never_before_one_that_is_closed() -> None:
    world = World()
    today = business_day(world.now, world.cafe.settings.timezone)
    refused(closing(world, CloseDay((), None, today + timedelta(1))), Code.VALIDATION_ERROR, "businessDay")
    yesterday = closing(world, CloseDay((), None, today - timedelta(1)))
    assert isinstance(yesterday, e.DayClosed)
    assert yesterday.business_day == today - timedelta(1)
    refused(closing(world, CloseDay((), None, today - timedelta(2))), Code.VALIDATION_ERROR, "businessDay")
    world.later(hours=15)  # 03:00 in Sydney: the evening before has not ended
    for _ in range(2):
        closed = closing(world, CloseDay((), None))
        assert isinstance(closed, e.DayClosed)
        assert closed.business_day == today


@pytest.mark.parametrize("timezone", ["Australia/Sydney", "Europe/Berlin", "America/New_York", "UTC"])
def test_a_business_day_is_what_lies_between_its_bounds_also_when_clocks_change(timezone: str) -> None:
    day, instant = date(2026, 3, 1), timedelta(milliseconds=1)
    for _ in range(300):
        begins, ends = day_bounds(day, timezone)
        assert business_day(begins, timezone) == business_day(ends - instant, timezone) == day
        assert business_day(begins - instant, timezone) == day - timedelta(1)
        day += timedelta(1)
