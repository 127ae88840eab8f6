"""Tips are shared out to the cent, once, and handed out no further than they are owed (spec W2)."""

from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import events as e
from tabletap.domain import tips
from tabletap.domain.base import CafeId, Context, Decision
from tabletap.domain.cafe import Configure
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.settings import TipSettings
from tabletap.domain.tips import Distribute, PayOut, Pool, TipJar, Way, Worker, shares
from tabletap.domain.vocabulary import TipRule

from .world import NOON, SETTINGS, Ids, World

CAFE = CafeId(UUID(int=1))
THREE_ROLES = TipSettings(rule=TipRule.ROLE_PERCENT, role_percent={"bar": 2_000, "kitchen": 3_000, "floor": 5_000})
EVENLY = TipSettings()


def amounts(pool: int, settings: TipSettings, *staff: Worker) -> list[int]:
    found = shares(pool, settings, staff)
    assert not isinstance(found, Refusal), found
    assert [share.user for share in found] == [worker.user for worker in staff]
    return [share.amount for share in found]


# -- worked examples


def test_75_dollars_at_20_30_and_50_percent() -> None:
    staff = (Worker("b", "bar", 60), Worker("k", "kitchen", 60), Worker("f", "floor", 60))
    assert amounts(75_00, THREE_ROLES, *staff) == [15_00, 22_50, 37_50]


def test_the_share_of_a_role_that_is_absent_goes_to_the_others_in_proportion() -> None:
    staff = (Worker("k", "kitchen", 60), Worker("f", "floor", 60))
    assert amounts(80_00, THREE_ROLES, *staff) == [30_00, 50_00]


def test_within_a_role_it_goes_by_hours_and_evenly_where_nobody_has_any() -> None:
    staff = (Worker("b", "bar"), Worker("f", "floor", 120), Worker("g", "floor", 360), Worker("c", "bar"))
    assert amounts(70_00, THREE_ROLES, *staff) == [10_00, 12_50, 37_50, 10_00]


def test_by_hours_by_points_and_evenly() -> None:
    staff = (Worker("a", "bar", 8 * 60, 1), Worker("b", "bar", 4 * 60, 1), Worker("c", "bar", 0, 2))
    assert amounts(12_00, TipSettings(rule=TipRule.HOURS), *staff) == [8_00, 4_00, 0]
    assert amounts(12_00, TipSettings(rule=TipRule.POINTS), *staff) == [3_00, 3_00, 6_00]
    assert amounts(10_00, EVENLY, *staff) == [3_34, 3_33, 3_33]


# -- whoever works, whatever the rule


_ROLES = ("bar", "kitchen", "floor")
_STAFF = st.lists(
    st.tuples(st.sampled_from(_ROLES), st.integers(0, 24 * 31 * 60), st.integers(0, 10_000)), min_size=1, max_size=30
)


@st.composite
def _settings(draw: st.DrawFn) -> TipSettings:
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=2, max_size=2)))
    percents = [high - low for low, high in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    return TipSettings(rule=draw(st.sampled_from(TipRule)), role_percent=dict(zip(_ROLES, percents, strict=True)))


@given(st.integers(0, 10**9), _settings(), _STAFF)
def test_any_staff_and_rule_share_exactly_the_pool_and_nobody_less_than_nothing(
    pool: int, settings: TipSettings, drawn: list[tuple[str, int, int]]
) -> None:
    assert tips.check_settings(settings) is None
    staff = [Worker(str(number), *facts) for number, facts in enumerate(drawn)]
    found = shares(pool, settings, staff)
    if isinstance(found, Refusal):
        weight = {
            TipRule.HOURS: sum(worker.minutes for worker in staff),
            TipRule.POINTS: sum(worker.points for worker in staff),
            TipRule.ROLE_PERCENT: sum(settings.role_percent[worker.role] for worker in staff),
            TipRule.EQUAL: len(staff),
        }
        assert weight[settings.rule] == 0
        return
    assert sum(share.amount for share in found) == pool
    assert all(share.amount >= 0 for share in found)
    for worker, share in zip(staff, found, strict=True):
        if settings.rule is TipRule.HOURS and worker.minutes == 0:
            assert share.amount == 0


@pytest.mark.parametrize(
    ("settings", "staff"),
    [
        (EVENLY, (Worker("a", "bar"), Worker("a", "floor"))),
        (TipSettings(participants=("bar",)), (Worker("a", "bar"), Worker("b", "owner"))),
        (THREE_ROLES, (Worker("a", "bar"), Worker("b", "owner"))),
        (TipSettings(rule=TipRule.HOURS), (Worker("a", "bar"),)),
        (TipSettings(rule=TipRule.POINTS), (Worker("a", "bar", 60),)),
        (EVENLY, ()),
    ],
)
def test_a_list_that_the_rule_cannot_go_by_is_refused(settings: TipSettings, staff: tuple[Worker, ...]) -> None:
    refusal = shares(100, settings, staff)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.VALIDATION_ERROR


@pytest.mark.parametrize(
    "settings",
    [
        TipSettings(rule=TipRule.ROLE_PERCENT),
        TipSettings(rule=TipRule.ROLE_PERCENT, role_percent={"bar": 9_999}),
        TipSettings(role_percent={"bar": 5_001, "floor": 5_000}),
    ],
)
def test_a_cafe_has_no_rule_whose_percentages_are_not_the_whole(settings: TipSettings) -> None:
    world = World()
    refusal = world.ask(world.cafe_ref, Configure(msgspec.structs.replace(SETTINGS, tips=settings)))
    assert isinstance(refusal, Refusal)
    assert refusal.errors[0].field == "settings.tips.rolePercent"
    world.do(world.cafe_ref, Configure(msgspec.structs.replace(SETTINGS, tips=THREE_ROLES)))


# -- the jar


class Jar:
    def __init__(self) -> None:
        self.state: TipJar | None = None
        self.new_id = Ids()

    def ask(self, command: Distribute | PayOut) -> Decision | Refusal:
        decision = tips.decide(self.state, command, Context(NOON, self.new_id))
        for event in decision.events if isinstance(decision, Decision) else ():
            self.state = tips.evolve(self.state, event) if self.state else tips.born(event)  # type: ignore[arg-type]
        return decision

    def share(self, pool: Pool, *users: str, hours: int = 8) -> Decision | Refusal:
        staff = tuple(Worker(user, "floor") for user in users)
        return self.ask(Distribute(CAFE, "AUD", EVENLY, NOON - timedelta(hours=hours), NOON, pool, staff))


def code_of(outcome: Decision | Refusal) -> Code:
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def test_what_was_read_before_another_distribution_is_not_shared_out_again() -> None:
    jar, pool = Jar(), Pool(amount=100, charged=0, offset=9, distributions=0)
    assert isinstance(jar.share(pool, "sam", "kim"), Decision)
    assert code_of(jar.share(pool, "sam", "kim")) is Code.DUPLICATE_IN_PROGRESS
    assert isinstance(jar.share(Pool(40, 0, 12, 1), "kim"), Decision)
    assert jar.state is not None
    assert jar.state.owed == {"sam": 50, "kim": 90}


def test_where_there_is_nothing_or_no_time_nothing_is_shared_out() -> None:
    jar = Jar()
    assert code_of(jar.share(Pool(0, 0, 9, 0), "sam")) is Code.INSUFFICIENT_FUNDS
    assert code_of(jar.share(Pool(10, 0, 9, 0), "sam", hours=0)) is Code.VALIDATION_ERROR
    assert jar.state is None


def test_nobody_is_paid_out_more_than_they_are_owed() -> None:
    jar = Jar()
    assert code_of(jar.ask(PayOut("sam", 1, Way.CASH))) is Code.INSUFFICIENT_FUNDS
    jar.share(Pool(100, 0, 9, 0), "sam", "kim")
    assert code_of(jar.ask(PayOut("sam", 0, Way.CASH))) is Code.VALIDATION_ERROR
    assert isinstance(jar.ask(PayOut("sam", 30, Way.CASH)), Decision)
    assert code_of(jar.ask(PayOut("sam", 21, Way.CASH))) is Code.INSUFFICIENT_FUNDS
    assert code_of(jar.ask(PayOut("bob", 1, Way.BANK))) is Code.INSUFFICIENT_FUNDS
    paid = jar.ask(PayOut("sam", 20, Way.BANK))
    assert isinstance(paid, Decision)
    assert isinstance(paid.events[0], e.TipsPaidOut)
    assert jar.state is not None
    assert jar.state.owed == {"kim": 50}
