"""Where tills and their keys are kept: a key once, a cursor that never goes back, a log that is forgotten in time."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from tabletap.actors.till_ports import KeyNameTaken, Line, LineKind, TillId, TillRow
from tabletap.domain.base import CafeId
from tabletap.domain.till import Scope, TillKey, digest_of
from tabletap.store import sweep
from tabletap.store.pool import Database
from tabletap.store.sweep import Kept
from tabletap.store.till_book import TillTable
from tabletap.store.till_keys import KeyTable, forget_keys

CAFE, ELSEWHERE = CafeId(UUID(int=1)), CafeId(UUID(int=2))
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def a_key(number: int, **more: Any) -> TillKey:
    given: dict[str, Any] = {
        "id": UUID(int=100 + number),
        "cafe_id": CAFE,
        "name": f"Till {number}",
        "scopes": frozenset(Scope),
        "digest": digest_of(f"key {number}"),
        "hint": "tt_abc",
        "since": NOON,
        "created_at": NOON,
        "created_by": "olga",
    }
    return TillKey(**(given | more))


async def test_a_key_is_read_as_it_was_written_by_who_has_not_seen_it(migrated: Database) -> None:
    table, key = KeyTable(migrated), a_key(1)
    assert await table.add(key, 5)
    newer, mark = await table.newer(0)
    assert newer == [key]
    rotated = await table.rotate(CAFE, key.id, digest_of("new"), "tt_def", NOON, NOON + timedelta(hours=1))
    assert rotated == msgspec.structs.replace(
        key, digest=digest_of("new"), hint="tt_def", previous=key.digest, until=NOON + timedelta(hours=1)
    )
    revoked = await table.revoke(CAFE, key.id, NOON)
    assert (await table.newer(mark))[0] == [revoked]
    assert (await table.newer(0))[0] == [], "a node that starts needs only what is good"
    assert await table.of_cafe(CAFE) == [revoked]


async def test_a_cafe_has_so_many_keys_each_with_a_name_of_its_own_until_they_are_revoked(migrated: Database) -> None:
    table = KeyTable(migrated)
    assert await table.add(a_key(1), 2)
    with pytest.raises(KeyNameTaken):
        await table.add(a_key(2, name="Till 1"), 2)
    assert await table.add(a_key(2, cafe_id=ELSEWHERE, name="Till 1"), 2)
    assert await table.add(a_key(3), 2)
    assert not await table.add(a_key(4), 2)
    assert await table.revoke(ELSEWHERE, a_key(1).id, NOON) is None, "not theirs"
    assert await table.revoke(CAFE, a_key(1).id, NOON) is not None
    assert await table.revoke(CAFE, a_key(1).id, NOON) is None
    assert await table.rotate(CAFE, a_key(1).id, b"x", "x", NOON, NOON) is None
    assert await table.add(a_key(4, name="Till 1"), 2)


async def test_a_key_was_used_when_it_was_used_last(migrated: Database) -> None:
    table, later = KeyTable(migrated), NOON + timedelta(minutes=5)
    await table.add(a_key(1), 5)
    for when in (NOON, later, NOON):
        await table.used({a_key(1).id: when, UUID(int=9): when})
    assert [key.last_used_at for key in await table.of_cafe(CAFE)] == [later]


async def test_a_till_begins_where_its_cafe_is_and_never_goes_back(migrated: Database) -> None:
    keys, book = KeyTable(migrated), TillTable(migrated)
    await keys.add(a_key(1), 5)
    bar = TillId(a_key(1).id, "bar")
    entered = await book.enter(bar, CAFE, 7, NOON, 2)
    assert entered == TillRow(key_id=bar.key_id, till="bar", cafe_id=CAFE, cursor=7, seen_at=NOON)
    for cursor in (9, 8):
        await book.write([msgspec.structs.replace(entered, cursor=cursor, last_error="slow", last_error_at=NOON)], [])
    await book.write([msgspec.structs.replace(entered, cursor=1)], [])
    again = await book.enter(bar, CAFE, 100, NOON, 2)
    assert again is not None
    assert (again.cursor, again.last_error, again.last_error_at) == (9, "slow", NOON)
    assert await book.enter(TillId(a_key(1).id, "front"), CAFE, 7, NOON, 2)
    assert await book.enter(TillId(a_key(1).id, "third"), CAFE, 7, NOON, 2) is None
    assert [row.till for row in await book.of_cafe(CAFE)] == ["bar", "front"]
    await keys.revoke(CAFE, a_key(1).id, NOON)
    assert await book.of_cafe(CAFE) == []


async def test_the_log_is_read_backwards_and_forgotten_in_time(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = TillTable(migrated)
    lines = [
        Line(cafe_id=CAFE, at=NOON + timedelta(days=day), kind=LineKind.PUSH, what="events", first_offset=day, events=3)
        for day in range(4)
    ]
    await book.write([], [*lines, Line(cafe_id=ELSEWHERE, at=NOON, kind=LineKind.REFUSED, what="key", status=401)])
    found = await book.lines(CAFE, None, 3)
    assert [line for _, line in found] == lines[:0:-1]
    assert [line for _, line in await book.lines(CAFE, found[-1][0], 3)] == lines[:1]
    kept = Kept(revoked_keys=timedelta(days=90), till_lines=timedelta(days=5))
    for page in (1, 2, 100):
        monkeypatch.setattr(sweep, "PAGE", page)
        await sweep.sweep(migrated, NOON + timedelta(days=7), kept)
        assert [line for _, line in await book.lines(CAFE, None, 10)] == lines[:1:-1]


async def test_a_revoked_key_is_forgotten_with_its_tills(migrated: Database) -> None:
    keys, book = KeyTable(migrated), TillTable(migrated)
    for number in (1, 2):
        await keys.add(a_key(number), 5)
        await book.enter(TillId(a_key(number).id, "bar"), CAFE, 0, NOON, 5)
    await keys.revoke(CAFE, a_key(1).id, NOON)
    await migrated.transact(lambda connection: forget_keys(connection, NOON + timedelta(seconds=1)))
    assert [key.id for key in await keys.of_cafe(CAFE)] == [a_key(2).id]
    assert await migrated.read(lambda connection: connection.fetchval("SELECT count(*) FROM pos_tills")) == 1
