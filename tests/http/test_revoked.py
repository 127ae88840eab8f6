"""Who has been shut out, as memory has it: who is concerned by what, what is forgotten, what bounds it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import trio

from tabletap.actors.runtime import Outage
from tabletap.domain.access import Principal
from tabletap.domain.base import By, CafeId, OrderId, Role
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.revocation import Revocation, rank
from tabletap.http.revoked import Revoked, RevokedSettings

HERE, THERE = CafeId(UUID(int=1)), CafeId(UUID(int=2))
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
KEPT = timedelta(seconds=60)
MANAGER, OWNER, ADMIN = By(Role.MANAGER, "mo"), By(Role.OWNER, "ola"), By(Role.ADMIN, "ada")


class Table:
    """What is written down; an outage while it is ``away``."""

    def __init__(self) -> None:
        self.rows: list[Revocation] = []
        self.away = False

    async def add(self, revocation: Revocation) -> None:
        if self.away:
            raise Outage("away")
        self.rows.append(revocation)

    async def newer(self, mark: int, now: datetime) -> tuple[Sequence[Revocation], int]:
        if self.away:
            raise Outage("away")
        return self.rows[max(0, mark - 1) :], len(self.rows)  # the last one twice, as it may be


class Office:
    """A node: its memory, its clock, and how often its doors were told to look again."""

    def __init__(self, table: Table | None = None, per_cafe: int = 100) -> None:
        self.table = table or Table()
        self.time = NOON
        settings = RevokedSettings(kept_s=60, per_cafe=per_cafe, read_every_s=0.5)
        self.revoked = Revoked(self.table, settings, lambda: self.time)
        self.told = 0
        self.revoked.changed = self.look

    def look(self) -> None:
        self.told += 1


def person(
    role: Role = Role.STAFF, *cafes: CafeId, token: str | None = "t1", issued_at: datetime | None = NOON
) -> Principal:
    named = None if role is Role.ADMIN else frozenset(cafes or (HERE,))
    return Principal(role=role, user="sam", cafes=named, token_id=token, issued_at=issued_at)


def shut_out(judged: Principal | Refusal) -> bool:
    return isinstance(judged, Refusal) and judged.code is Code.INVALID_TOKEN


async def test_a_token_that_is_taken_back_is_good_no_longer_and_others_of_that_person_are() -> None:
    office = Office()
    assert office.revoked.judge(person()) == person()
    await office.revoked.revoke([HERE], token_id="t1", by=MANAGER)
    assert shut_out(office.revoked.judge(person()))
    assert office.revoked.judge(person(token="t2")) == person(token="t2")
    assert office.revoked.judge(person(token=None)) == person(token=None)
    assert office.told == 1


async def test_a_person_is_shut_out_with_all_tokens_of_before_and_let_in_with_a_new_one() -> None:
    office = Office()
    await office.revoked.revoke([HERE], user="sam", by=OWNER)
    assert shut_out(office.revoked.judge(person(token="t2")))
    assert shut_out(office.revoked.judge(person(issued_at=None)))
    fresh = person(issued_at=NOON + timedelta(milliseconds=1))
    assert office.revoked.judge(fresh) == fresh


async def test_a_cafe_speaks_for_itself_alone() -> None:
    office = Office()
    both = person(Role.OWNER, HERE, THERE)
    await office.revoked.revoke([HERE], user="sam", by=ADMIN)
    assert office.revoked.judge(both) == person(Role.OWNER, THERE)
    await office.revoked.revoke([None], user="sam", by=ADMIN)
    assert shut_out(office.revoked.judge(both))


@pytest.mark.parametrize("by", [MANAGER, OWNER, ADMIN])
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SYSTEM])
@pytest.mark.parametrize("way", ["token_id", "user"])
async def test_nobody_shuts_out_who_stands_above_them(by: By, role: Role, way: str) -> None:
    office = Office()
    named = {"token_id": "t1"} if way == "token_id" else {"user": "sam"}
    await office.revoked.revoke([None], by=by, **named)
    assert shut_out(office.revoked.judge(person(role))) == (rank(role) <= rank(by.role))


async def test_no_cafe_shuts_out_the_installations_admin() -> None:
    office = Office()
    await office.revoked.revoke([HERE], user="sam", by=ADMIN)
    assert office.revoked.judge(person(Role.ADMIN)) == person(Role.ADMIN)


async def test_what_a_manager_says_does_not_undo_what_the_owner_said() -> None:
    office = Office()
    await office.revoked.revoke([HERE], user="sam", by=OWNER)
    await office.revoked.revoke([HERE], user="sam", by=MANAGER)
    assert shut_out(office.revoked.judge(person(Role.OWNER)))


async def test_a_tracking_token_is_nobodys_to_take_back() -> None:
    office = Office()
    await office.revoked.revoke([None], user="sam", by=ADMIN)
    customer = Principal(role=Role.CUSTOMER, order_id=OrderId(UUID(int=9)))
    assert office.revoked.judge(customer) == customer


async def test_another_node_hears_of_it_within_its_reading_pause(autojump_clock: trio.testing.MockClock) -> None:
    here = Office()
    there = Office(here.table)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(there.revoked.run)
        await here.revoked.revoke([HERE], token_id="t1", by=MANAGER)
        await trio.sleep(0.6)
        assert shut_out(there.revoked.judge(person()))
        assert there.told == 1
        await trio.sleep(5)
        assert there.told == 1, "what is read twice is no news"
        here.table.away = True
        await trio.sleep(5)
        here.table.away = False
        await here.revoked.revoke([HERE], token_id="t2", by=MANAGER)
        await trio.sleep(0.6)
        assert shut_out(there.revoked.judge(person(token="t2")))
        nursery.cancel_scope.cancel()


async def test_it_is_forgotten_when_no_such_token_can_be_good_any_longer() -> None:
    office = Office(per_cafe=1)
    await office.revoked.revoke([HERE], token_id="t1", by=MANAGER)
    office.time = NOON + KEPT
    await office.revoked.refresh()
    assert len(office.revoked) == 0
    assert office.revoked.of_cafe(HERE) == []
    assert isinstance(await office.revoked.revoke([HERE], token_id="t2", by=MANAGER), Revocation)


async def test_a_cafe_that_has_taken_back_too_many_tokens_is_refused_and_others_are_not() -> None:
    office = Office(per_cafe=2)
    for token in ("t1", "t2", "t2"):
        assert isinstance(await office.revoked.revoke([HERE], token_id=token, by=MANAGER), Revocation)
    refused = await office.revoked.revoke([HERE], token_id="t3", by=MANAGER)
    assert isinstance(refused, Refusal)
    assert refused.code is Code.OVERLOADED
    assert isinstance(await office.revoked.revoke([THERE], token_id="t3", by=MANAGER), Revocation)
    assert len(office.table.rows) == 4


async def test_what_could_not_be_written_down_does_not_hold() -> None:
    office = Office()
    office.table.away = True
    with pytest.raises(Outage):
        await office.revoked.revoke([HERE], token_id="t1", by=MANAGER)
    assert office.revoked.judge(person()) == person()
