from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
import trio
import trio.testing
import uuid_utils.compat

from tabletap.actors.ports import Commit, Conflict, DuplicateKey, New, Recorded, Sent, SlugTaken
from tabletap.domain import events as e
from tabletap.domain import ledger
from tabletap.domain import order as orders
from tabletap.domain.base import Job, Kind, PaymentId, Ref
from tabletap.domain.tasks import ProcessWebhook
from tabletap.domain.vocabulary import Queue
from tabletap.store import sweep
from tabletap.store.batch import Batch
from tabletap.store.pending import Pending
from tabletap.store.pool import Database
from tabletap.store.shard import Unwritable
from tabletap.store.writer import Writer
from tests.domain.world import NOON, STAFF
from tests.store.journal_contract import Store, answer, availability, told
from tests.store.opened import opened, rows, run
from tests.store.shop import Shop


@pytest.fixture
async def store(migrated: Database) -> AsyncIterator[Store]:
    async with opened(migrated) as store:
        yield store


def counters(store: Store) -> Any:
    assert isinstance(store.journal, Writer)
    return store.journal.stats().counters


# -- one commit among others


async def test_a_group_that_fails_is_tried_one_by_one_and_only_the_bad_one_is_refused(store: Store) -> None:
    shop = Shop()
    refs = [shop.place() for _ in range(6)]
    await store.write(shop)
    for ref in refs:
        shop.do(ref, orders.MoveItem(line=1, move="start"))
    good = shop.taken()
    overpaid = e.PaymentSettled(
        order_id=refs[0].id, payment_id=PaymentId(uuid_utils.compat.uuid7()), amount=10_000, paid=0, owed=0  # type: ignore[arg-type]
    )  # fmt: skip
    bad = Commit(
        author=refs[0],
        version=3,
        events=[New(refs[0], 4, overpaid, shop.now, STAFF)],
        states=[shop.order(refs[0])],
    )
    outcomes: dict[int, Any] = {}

    async def commit(number: int, one: Commit) -> None:
        try:
            outcomes[number] = await store.journal.commit(one)
        except (Conflict, DuplicateKey, Unwritable) as refusal:
            outcomes[number] = refusal

    async with trio.open_nursery() as nursery:
        for number, one in enumerate([*good, bad]):
            nursery.start_soon(commit, number, one)
    assert [isinstance(outcomes[number], tuple) for number in range(7)] == [True] * 6 + [False]
    assert isinstance(outcomes[6], Unwritable)
    assert outcomes[6].constraint == "ledger_balances_from_below"
    assert counters(store).alone >= 2
    with pytest.raises(Conflict):
        await store.journal.commit(availability(shop, 1))
    log = await store.reader.log(shop.cafe_ref.cafe_id, 0, 100)
    assert told(log) == told(store.tape.events[shop.cafe_ref.cafe_id])
    assert len(log) == 7 + 2 * 6


async def test_a_slug_that_is_taken_is_refused_by_name(store: Store) -> None:
    await store.write(Shop("twin"))
    with pytest.raises(SlugTaken):
        await store.write(Shop("twin"))


async def test_an_event_for_the_log_of_another_cafe_is_refused_at_once(store: Store) -> None:
    shop, other = Shop(), Shop("other")
    foreign = availability(other, 2).events
    with pytest.raises(ValueError, match="another cafe"):
        await store.journal.commit(Commit(author=shop.cafe_ref, version=1, events=foreign))


async def test_money_without_the_state_it_belongs_to_is_refused_at_once(store: Store) -> None:
    shop = Shop()
    shop.place()
    opened_, placed = shop.taken()
    await store.journal.commit(opened_)
    with pytest.raises(ValueError, match="moves money"):
        await store.journal.commit(msgspec.structs.replace(placed, states=()))


async def test_a_publisher_that_fails_does_not_fail_the_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def publish(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store.tape, "publish", publish)
    assert len(await store.write(Shop())) == 1
    assert "publishing events 1-1" in caplog.text


# -- the ledger


async def test_the_ledger_is_that_of_the_domain_and_every_event_sums_to_zero(store: Store, migrated: Database) -> None:
    shop = Shop()
    shop.busy()
    await store.write(shop)
    balances = dict(await rows(migrated, "SELECT account, balance FROM ledger_balances"))  # type: ignore[arg-type]
    assert {account: cents for account, cents in balances.items() if cents} == {
        account: cents for account, cents in shop.balances.items() if cents
    }
    assert sum(balances.values()) == 0
    sums = await rows(migrated, 'SELECT DISTINCT sum(amount) FROM ledger_entries GROUP BY cafe_id, "offset"')
    assert sums == [(0,)]


async def test_the_database_itself_refuses_entries_that_do_not_sum_to_zero(migrated: Database) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="sum to zero"):
        await run(
            migrated,
            """INSERT INTO ledger_entries SELECT gen_random_uuid(), 1, line, 'cash', 'AUD', 5, NULL, NULL, now()
               FROM generate_series(1, 2) AS line""",
        )


async def test_the_guards_of_the_schema_are_those_of_the_domain(migrated: Database) -> None:
    definitions = dict(
        await rows(  # type: ignore[arg-type]
            migrated,
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname LIKE 'ledger_balances_from%'",
        )
    )
    for side, accounts in (("below", ledger.GUARDED_FROM_BELOW), ("above", ledger.GUARDED_FROM_ABOVE)):
        quoted = {part for part in definitions[f"ledger_balances_from_{side}"].split("'") if part.isidentifier()}
        assert quoted == accounts
    patterns = [part for part in definitions["ledger_balances_from_above"].split("'") if part.endswith(":%")]
    assert tuple(pattern.removesuffix("%") for pattern in patterns) == ledger.HELD_FOR_SOMEBODY


# -- two nodes


async def test_two_nodes_on_one_cafe_lose_and_double_nothing(migrated: Database) -> None:
    shop = Shop()
    entities = [Ref(Kind.DRAWER, uuid_utils.compat.uuid7(), shop.cafe_ref.cafe_id) for _ in range(4)]
    written: list[Recorded] = []
    conflicts = 0

    async def live(store: Store, ref: Ref, wanted: int) -> None:
        """An actor that decides on what it has loaded, and loads again when it lost."""
        nonlocal conflicts
        version = (await store.journal.load(ref)).version
        while wanted:
            event = e.ItemAvailabilityChanged("toast", available=False)
            new = New(ref, version + 1, event, shop.now, STAFF)
            try:
                written.extend(await store.journal.commit(Commit(author=ref, version=version, events=[new])))
            except Conflict:
                conflicts += 1
                version = (await store.journal.load(ref)).version
            else:
                version, wanted = version + 1, wanted - 1
            await trio.lowlevel.checkpoint()

    async with opened(migrated) as one, opened(migrated) as two:
        await one.write(shop)
        async with trio.open_nursery() as nursery:
            for number, ref in enumerate(entities):
                nursery.start_soon(live, (one, two)[number % 2], ref, 10)
            nursery.start_soon(live, one, entities[1], 10)  # and both nodes believe to own this one
    log = await one.reader.log(shop.cafe_ref.cafe_id, 0, 1000)
    assert [one_.offset for one_ in log] == list(range(1, 52))
    assert sorted(told(written), key=lambda line: line[0]) == told(log[1:])
    assert conflicts > 0


async def test_what_was_decided_before_another_node_wrote_is_not_taken_even_where_no_version_tells(
    migrated: Database,
) -> None:
    shop = Shop()
    first, second = shop.place(), shop.place()
    opening = shop.taken()

    def payment_of(order: Ref) -> Commit:
        shop.pay(order, amount=100)
        *_, commit = shop.taken()
        birth = [new for new in commit.events if new.ref.kind is Kind.PAYMENT]
        return msgspec.structs.replace(commit, events=birth, states=commit.states[-1:])

    async with opened(migrated) as one, opened(migrated) as two:
        for commit in opening:
            await one.journal.commit(commit)
        for order in (first, second):
            await two.journal.load(order)
        await one.journal.commit(payment_of(first))
        with pytest.raises(Conflict):  # the head is not where this node thinks
            await two.journal.commit(payment_of(second))
        await two.journal.load(second)
        await two.journal.commit(payment_of(second))
        stale = msgspec.structs.replace(payment_of(second), author=first)
        with pytest.raises(Conflict):  # the head is known now, but what this order stands on is older than it
            await two.journal.commit(stale)
        await two.journal.load(first)
        await two.journal.commit(stale)


# -- the statement


async def test_the_largest_statement_is_still_one_the_driver_prepares_once() -> None:
    shop = Shop()
    shop.busy()
    batch = Batch()
    job = Job(Queue.WEBHOOKS, "key", shop.cafe_ref.cafe_id, ProcessWebhook(UUID(int=1)))
    for commit in shop.taken():
        whole = msgspec.structs.replace(
            commit,
            snapshot=b"kept",
            answered=[answer(uuid_utils.compat.uuid7())],
            sent=[*commit.sent, Sent(uuid_utils.compat.uuid7(), job, STAFF)],
        )
        Pending(whole, uuid_utils.compat.uuid7, NOON, node=1).write_into(batch, NOON)
    statement, arguments = batch.statement()
    assert statement.count(" AS (") >= 15
    assert len(statement) < 15_000  # asyncpg prepares longer ones anew each time
    assert f"${len(arguments)}::" in statement


async def test_times_are_kept_to_the_millisecond_and_in_utc(store: Store) -> None:
    shop = Shop()
    shop.now = NOON + timedelta(milliseconds=123)
    shop.place()
    await store.write(shop)
    shown = (await store.reader.orders(shop.cafe_ref.cafe_id))[0]
    assert msgspec.json.encode(shown.placed_at) == b'"2026-03-10T01:00:00.123000Z"'


async def test_what_looks_like_a_bug_on_an_old_state_is_a_conflict(migrated: Database) -> None:
    shop = Shop()
    order = shop.place()
    async with opened(migrated) as one, opened(migrated) as two:
        await one.write(shop)
        await two.journal.load(order)
        shop.paid(order)
        await one.write(shop)
        settled = e.PaymentSettled(
            order_id=shop.order(order).placed.order_id,
            payment_id=PaymentId(uuid_utils.compat.uuid7()),
            amount=901,
            paid=901,
            owed=0,
        )
        again = New(order, 9, settled, shop.now, STAFF)  # a version that is free, so that only the guard says no
        with pytest.raises(Conflict):
            await two.journal.commit(Commit(author=order, version=8, events=[again], states=[shop.order(order)]))
        await two.journal.load(order)
        with pytest.raises(Unwritable):
            await two.journal.commit(Commit(author=order, version=8, events=[again], states=[shop.order(order)]))


async def test_expired_answers_are_swept_away_and_others_stay(
    store: Store, migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 2)
    shop = Shop()
    await store.write(shop)
    kept = uuid_utils.compat.uuid7()
    old = [answer(uuid_utils.compat.uuid7(), hours=-1) for _ in range(5)]
    await store.journal.commit(Commit(author=shop.cafe_ref, version=1, answered=[*old, answer(kept)]))
    assert await sweep.forget_expired_answers(migrated, NOON) == 5
    assert await rows(migrated, "SELECT key FROM idempotency") == [(kept,)]
