"""The keys of tills as memory has them: wrong ones, old ones, and what another node has done."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
import trio

from tabletap.domain.access import Principal
from tabletap.domain.base import CafeId
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.till import Scope, TillKey
from tabletap.http.keyring import Keyring, KeySettings, Shown

HERE, THERE = CafeId(UUID(int=1)), CafeId(UUID(int=2))
CAFES = {"here": HERE, "there": THERE}
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class Table:
    """What is written down. ``slowly``: an answer that was read, and comes when it is set."""

    def __init__(self) -> None:
        self.rows: dict[UUID, TillKey] = {}
        self.reads = 0
        self.slowly: trio.Event | None = None
        self.was_used: dict[UUID, datetime] = {}

    async def add(self, key: TillKey, most: int) -> bool:
        self.rows[key.id] = key
        return len(self.rows) <= most

    async def rotate(
        self, cafe_id: CafeId, key_id: UUID, digest: bytes, hint: str, now: datetime, until: datetime
    ) -> TillKey | None:
        key = self.rows[key_id]
        self.rows[key_id] = msgspec.structs.replace(
            key, digest=digest, hint=hint, since=now, previous=key.digest, until=until
        )
        return self.rows[key_id]

    async def revoke(self, cafe_id: CafeId, key_id: UUID, now: datetime) -> TillKey | None:
        self.rows[key_id] = msgspec.structs.replace(self.rows[key_id], revoked_at=now)
        return self.rows[key_id]

    async def of_cafe(self, cafe_id: CafeId) -> Sequence[TillKey]:
        return [key for key in self.rows.values() if key.cafe_id == cafe_id]

    async def newer(self, mark: int) -> tuple[Sequence[TillKey], int]:
        self.reads += 1
        found = list(self.rows.values())
        if self.slowly is not None:
            await self.slowly.wait()
        return found, 1

    async def used(self, when: Mapping[UUID, datetime]) -> None:
        self.was_used |= when


class Node:
    """A node's keys, its clock, whom it told of wrong keys, and how often its doors looked again."""

    def __init__(self, table: Table | None = None) -> None:
        self.table = table or Table()
        self.time = NOON
        self.told: list[tuple[str, CafeId | None]] = []
        self.looked = 0
        settings = KeySettings(
            per_cafe=5,
            wrong_per_min=60,
            wrong_burst=3,
            addresses=10,
            read_every_s=0.5,
            used_every_s=10,
            revoked_days=90,
        )
        self._ids = iter(range(100, 1000))
        self.keys = Keyring(
            self.table, settings, lambda: self.time, lambda: UUID(int=next(self._ids)), cafe_named=CAFES.get
        )
        self.keys.suspicious = lambda address, cafe_id: self.told.append((address, cafe_id))
        self.keys.changed = self.look

    def look(self) -> None:
        self.looked += 1

    async def make(self) -> tuple[TillKey, str]:
        made = await self.keys.make(HERE, "Front", frozenset(Scope), "olga")
        assert not isinstance(made, Refusal)
        return made

    async def show(self, key: str, address: str = "1.1.1.1") -> Principal | Refusal:
        return await self.keys.principal(Shown(key, "here", "here", None, address), tenant_needed=True)


def code_of(answer: object) -> Code | None:
    return answer.code if isinstance(answer, Refusal) else None


async def test_wrong_keys_of_an_address_are_told_of_and_after_some_none_that_is_not_known_is_looked_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    node = Node()
    _, right = await node.make()
    for number in range(3):
        assert code_of(await node.show(f"tt_{number}")) is Code.INVALID_TOKEN
    assert node.told == [("1.1.1.1", HERE)] * 3
    reads = node.table.reads
    for key in ("tt_more", right[:-1], right + "x", "x" * 5_000):
        refused = await node.show(key)
        assert code_of(refused) is Code.RATE_LIMIT_EXCEEDED
    assert isinstance(await node.show(right), Principal), "who guesses shuts nobody out who is at the same address"
    assert node.table.reads == reads
    assert code_of(await node.show("tt_more", "2.2.2.2")) is Code.INVALID_TOKEN
    await trio.sleep(1)
    assert code_of(await node.show("tt_more")) is Code.INVALID_TOKEN


async def test_a_key_of_another_node_is_good_at_once_and_revoked_there_it_ends_with_the_next_reading() -> None:
    table = Table()
    node, other = Node(table), Node(table)
    key, text = await other.make()
    principal = await node.show(text)
    assert isinstance(principal, Principal)
    await other.keys.revoke(HERE, key.id)
    await node.keys.refresh()
    assert node.looked == 1
    assert code_of(node.keys.judge(principal)) is Code.INVALID_TOKEN
    assert code_of(await node.show(text)) is Code.INVALID_TOKEN


async def test_what_was_read_before_a_key_was_revoked_does_not_bring_it_back() -> None:
    node = Node()
    key, text = await node.make()
    node.table.slowly = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.keys.refresh)
        await trio.testing.wait_all_tasks_blocked()
        await node.keys.revoke(HERE, key.id)
        node.table.slowly.set()
    node.table.slowly = None
    node.table.rows.clear()
    assert code_of(await node.show(text)) is Code.INVALID_TOKEN


async def test_a_rotated_key_is_good_until_its_time_and_its_sockets_end_with_it() -> None:
    node = Node()
    key, old = await node.make()
    before = await node.show(old)
    assert isinstance(before, Principal)
    assert before.expires_at is None
    rotated = await node.keys.rotate(HERE, key.id, timedelta(hours=1))
    assert rotated is not None
    judged = node.keys.judge(before)
    assert isinstance(judged, Principal)
    assert judged.expires_at == NOON + timedelta(hours=1)
    now = await node.show(rotated[1])
    assert isinstance(now, Principal)
    assert (now.user, now.expires_at) == (before.user, None), "the same till, by another key"
    node.time += timedelta(hours=1)
    assert code_of(await node.show(old)) is Code.TOKEN_EXPIRED
    assert code_of(node.keys.judge(before)) is Code.TOKEN_EXPIRED
    assert isinstance(node.keys.judge(now), Principal)


@pytest.mark.parametrize(
    ("tenant", "slug", "code"),
    [
        ("here", "here", None),
        ("here", None, None),
        (None, "here", Code.VALIDATION_ERROR),
        ("there", "here", Code.FORBIDDEN),
        ("here", "there", Code.FORBIDDEN),
        ("there", "there", Code.FORBIDDEN),
        ("there", None, Code.FORBIDDEN),
        ("nowhere", "nowhere", Code.NOT_FOUND),
        ("nowhere", None, Code.FORBIDDEN),
    ],
)
async def test_tenant_path_and_key_are_of_one_cafe(tenant: str | None, slug: str | None, code: Code | None) -> None:
    node = Node()
    _, text = await node.make()
    answer = await node.keys.principal(Shown(text, tenant, slug, None, "1.1.1.1"), tenant_needed=True)
    assert code_of(answer) is code


async def test_when_a_key_was_used_is_written_down_in_a_while(autojump_clock: trio.testing.MockClock) -> None:
    node = Node()
    key, text = await node.make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.keys.run)
        await node.show(text)
        assert node.table.was_used == {}
        assert [one.last_used_at for one in await node.keys.of_cafe(HERE)] == [NOON]
        await trio.sleep(11)
        assert node.table.was_used == {key.id: NOON}
        nursery.cancel_scope.cancel()
