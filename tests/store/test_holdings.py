"""What is held for people, on Postgres: wallets under fire, their history, and how much of the tips is to be shared."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
import trio
from uuid_utils.compat import uuid7

from tabletap.actors.account import DeskAccounts
from tabletap.actors.cafe import Boards, Kitchen
from tabletap.actors.desk import Desk
from tabletap.actors.entity import Cradle, House
from tabletap.actors.nouns import factories, midwife
from tabletap.actors.ports import Commit, New
from tabletap.actors.runtime import Limits, System, WallClock
from tabletap.domain import account as accounts
from tabletap.domain import events as e
from tabletap.domain import tips
from tabletap.domain.account import Bar, Grant, Holding, Spend, Withdraw, credit_account
from tabletap.domain.base import CafeId, PaymentId, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.payment import Refund
from tabletap.domain.vocabulary import AccountKind, CreditScope, Method
from tabletap.store.holdings import Holdings
from tabletap.store.pool import Database
from tabletap.store.shard import Unwritable
from tests.domain.world import NOON, STAFF, Ids
from tests.store.journal_contract import Store
from tests.store.opened import opened, rows, run
from tests.store.shop import Shop

CAFE = CafeId(UUID(int=1))


new_id = Ids()
"""Each says that it was made a millisecond after the one before."""


def anns(cafe_id: CafeId = CAFE) -> Holding:
    return Holding(credit_account(cafe_id, "ann", CreditScope.CAFE), AccountKind.CREDIT, "AUD", "ann")


class NoCourier:
    async def delivered(self, ids: tuple[UUID, ...], timeout_s: float) -> bool:
        return True


@asynccontextmanager
async def desk_on(store: Store) -> AsyncIterator[Desk]:
    """Actors on the database: what ``app`` wires, without doors."""
    house = House(
        journal=store.journal,
        answered=store.reader.answered,
        new_id=uuid7,
        midwife=midwife,
        scheduled=lambda ref, at: None,
        cradle=Cradle(10),
    )
    kitchen = Kitchen(store.reader, store.tape, Boards(), 60)
    system = System(
        factories(house, kitchen), Limits(), WallClock(), on_crash=lambda *_: None, on_escalate=lambda *_: None
    )
    async with system:
        yield Desk(system, NoCourier(), ask_timeout_s=30, follow_s=1)


async def all_at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    answers: list[Any] = [None] * count

    async def one(place: int) -> None:
        answers[place] = await work(place)

    async with trio.open_nursery() as nursery:
        for place in range(count):
            nursery.start_soon(one, place)
    return answers


# -- wallets


async def test_100_deductions_at_once_never_overdraw_a_wallet_and_lose_none(migrated: Database) -> None:
    holding, holdings = anns(), Holdings(migrated)
    async with opened(migrated) as store, desk_on(store) as desk:
        await desk.ask(holding.ref, Grant(holding, new_id(), 1000), STAFF)
        answers = await all_at_once(
            100,
            lambda number: desk.ask(
                holding.ref,
                Withdraw(holding, new_id(), 30) if number % 2 else Spend(holding, PaymentId(new_id()), 30),
                STAFF,
            ),
        )
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert {refusal.code for refusal in refused} == {Code.INSUFFICIENT_FUNDS}
    assert len(refused) == 67
    view = await holdings.account(holding.ref.id)
    assert view is not None
    assert view.balance == 10
    entries = await holdings.history(holding.ref.id, limit=200)
    assert [entry.balance for entry in entries] == [*range(10, 1001, 30)]
    assert sum(entry.amount for entry in entries) == 10
    balances = dict(await rows(migrated, "SELECT account, balance FROM ledger_balances"))  # type: ignore[arg-type]
    assert balances[f"credit:{holding.ref.id}"] == -10
    assert sum(balances.values()) == 0


async def test_two_nodes_that_both_serve_a_wallet_do_not_overdraw_it_either(migrated: Database) -> None:
    holding = anns()
    async with (
        opened(migrated) as one,
        opened(migrated) as two,
        desk_on(one) as left,
        desk_on(two) as right,
    ):
        await left.ask(holding.ref, Grant(holding, new_id(), 1000), STAFF)

        async def spend(number: int) -> Any:
            desk = (left, right)[number % 2]
            while True:  # a node that has lost the log to the other one says so, and nothing was done
                answer = await desk.ask(holding.ref, Spend(holding, PaymentId(UUID(int=number + 1)), 30), STAFF)
                if not (isinstance(answer, Refusal) and answer.code is Code.UNAVAILABLE):
                    return answer

        answers = await all_at_once(40, spend)
    assert sum(not isinstance(answer, Refusal) for answer in answers) == 33
    view = await Holdings(migrated).account(holding.ref.id)
    assert view is not None
    assert view.balance == 10


async def test_the_database_itself_holds_a_wallet_that_would_be_overdrawn(migrated: Database) -> None:
    shop = Shop()
    holding = anns(shop.cafe_ref.cafe_id)
    shop.do(holding.ref, Grant(holding, new_id(), 100))
    state = shop.states[holding.ref]
    assert isinstance(state, accounts.Account)
    wrong = e.AccountDebited(
        account_id=holding.ref.id, entry_id=new_id(), kind=AccountKind.CREDIT, amount=101, balance=0
    )
    for account_kind in AccountKind:
        event = msgspec.structs.replace(wrong, kind=account_kind)
        async with opened(migrated) as store:
            await store.write(shop)
            with pytest.raises(Unwritable, match="ledger_balances_from_above"):
                await store.journal.commit(
                    Commit(
                        author=holding.ref,
                        version=2,
                        events=[New(holding.ref, 3, event, NOON, STAFF)],
                        states=[accounts.evolve(state, event)],
                    )
                )


async def test_history_is_paged_newest_first_without_gap_or_repeat(migrated: Database) -> None:
    shop, holdings = Shop(), Holdings(migrated)
    holding = anns(shop.cafe_ref.cafe_id)
    for number in range(25):
        shop.do(holding.ref, Grant(holding, new_id(), number + 1, f"reason {number}"))
        shop.place()
    shop.credit("bob", 5)
    payment = PaymentId(new_id())
    shop.do(holding.ref, Spend(holding, payment, 7))
    shop.do(holding.ref, accounts.BarSpending(holding, PaymentId(new_id()), Bar.GIVEN_UP))
    async with opened(migrated) as store:
        await store.write(shop)
    pages, before = [], None
    while page := await holdings.history(holding.ref.id, before, 10):
        pages.append(page)
        before = page[-1].cursor
    assert [len(page) for page in pages] == [10, 10, 6]
    entries = [entry for page in pages for entry in page]
    assert [entry.amount for entry in entries] == [-7, *range(25, 0, -1)]
    assert (entries[0].payment_id, entries[0].granted, entries[0].balance) == (payment, False, 318)
    assert (entries[1].reason, entries[1].granted, entries[1].payment_id) == ("reason 24", True, None)
    found = await holdings.entry(holding.ref.id, payment)
    assert found == entries[0]
    assert await holdings.entry(holding.ref.id, new_id()) is None
    assert await holdings.history(new_id()) == []
    assert await holdings.account(new_id()) is None


async def test_what_an_account_forgot_is_found_in_the_database(
    migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts.state, "ENTRIES_REMEMBERED", 2)
    holding = anns()
    spent, never = PaymentId(new_id()), PaymentId(new_id())
    async with opened(migrated) as store, desk_on(store) as desk:
        asked = DeskAccounts(desk, Holdings(migrated))
        assert await asked.entry(holding.ref, spent) is None
        await asked.move(Grant(holding, new_id(), 100))
        await asked.move(Spend(holding, spent, 40))
        for _ in range(3):
            await asked.move(Grant(holding, new_id(), 1))
        assert await asked.entry(holding.ref, spent) == accounts.Entry(-40)
        assert await asked.entry(holding.ref, never) == accounts.Entry(0, Bar.GIVEN_UP)


# -- tips


class Jar(Shop):
    """A cafe where tips come in at minutes after noon."""

    def __init__(self) -> None:
        super().__init__()
        self.opened_at = self.now

    def at(self, minute: int) -> "Jar":
        self.now = self.opened_at + timedelta(minutes=minute)
        return self

    def tip(self, amount: int) -> Ref:
        return self.paid(self.place(), Method.QR_CODE_BANK_TRANSFER, tip=amount)

    def give_back(self, payment: Ref) -> None:
        self.do(payment, Refund())
        self.deliver_all()


async def pool_of(database: Database, jar: Jar, first: int, last: int) -> Any:
    since, until = (jar.opened_at + timedelta(minutes=minute) for minute in (first, last))
    return await Holdings(database).tip_pool(jar.cafe.id, since, until)


async def share(database: Database, store: Store, jar: Jar, first: int, last: int) -> int:
    """Distribute what there is of a time; how much that was."""
    await store.write(jar)
    pool = await pool_of(database, jar, first, last)
    since, until = (jar.opened_at + timedelta(minutes=minute) for minute in (first, last))
    staff = (tips.Worker("sam", "floor"), tips.Worker("kim", "floor"), tips.Worker("lee", "floor"))
    command = tips.Distribute(jar.cafe.id, "AUD", jar.cafe.settings.tips, since, until, pool, staff)
    outcome = jar.ask(tips.tip_jar(jar.cafe.id), command)
    assert isinstance(outcome, Refusal) == (pool.amount == 0)
    await store.write(jar)
    return int(pool.amount)


async def test_a_pool_is_the_tips_of_its_time_that_nobody_has_shared_out(migrated: Database) -> None:
    jar = Jar()
    for minute, amount in ((0, 100), (10, 200), (60, 400)):
        jar.at(minute).tip(amount)
    async with opened(migrated) as store:
        await store.write(jar)
        assert (await pool_of(migrated, jar, 0, 60)).amount == 300
        assert (await pool_of(migrated, jar, 10, 61)).amount == 600
        assert await share(migrated, store, jar, 0, 60) == 300
        assert await share(migrated, store, jar, 0, 60) == 0
        jar.at(30).tip(50)  # it comes in after its shift was shared out
        assert await share(migrated, store, jar, 0, 60) == 50
        assert await share(migrated, store, jar, 0, 1_000) == 400
        owed = await Holdings(migrated).tips_owed(jar.cafe.id)
        assert {one.user: one.amount for one in owed} == {"sam": 100 + 17 + 134, "kim": 250, "lee": 249}
        listed = await Holdings(migrated).tip_distributions(jar.cafe.id)
        assert [one.amount for one in listed] == [400, 50, 300]


async def test_a_tip_that_was_refunded_is_kept_back_once_and_nobody_owes_anything(migrated: Database) -> None:
    jar = Jar()
    first, second = jar.at(0).tip(100), jar.at(1).tip(30)
    async with opened(migrated) as store:
        jar.give_back(second)
        assert await share(migrated, store, jar, 0, 10) == 100
        jar.at(20).give_back(first)
        assert await share(migrated, store, jar, 0, 100) == 0
        assert jar.balances["tips"] == 100
        jar.at(30).tip(60)
        assert await share(migrated, store, jar, 0, 100) == 0
        jar.at(40).tip(70)
        assert await share(migrated, store, jar, 0, 100) == 30
        assert jar.balances["tips"] == 0
        jar.at(50).tip(5)
        assert await share(migrated, store, jar, 0, 100) == 5


@pytest.mark.parametrize("seed", range(8))
async def test_any_life_of_a_jar_is_that_of_a_naive_model(migrated: Database, seed: int) -> None:
    chance, jar = Random(seed), Jar()
    waiting: list[tuple[int, int]] = []
    """Minute and cents of tips that nobody has shared out."""
    kept: dict[Ref, int] = {}
    debt = shared = 0

    async def share_and_compare(first: int, last: int) -> None:
        nonlocal debt, shared, waiting
        given = sum(amount for at, amount in waiting if first <= at < last)
        expected = max(0, given - debt)
        assert await share(migrated, store, jar, first, last) == expected
        if expected:
            debt -= given - expected
            waiting = [(at, amount) for at, amount in waiting if not first <= at < last]
        shared += expected

    async with opened(migrated) as store:
        for minute in range(0, 100, 4):
            jar.at(minute)
            match chance.choice(("tip", "tip", "refund", "share")):
                case "tip":
                    amount = chance.randint(1, 500)
                    kept[jar.tip(amount)] = amount
                    waiting.append((minute, amount))
                case "refund" if kept:
                    payment = chance.choice(list(kept))
                    jar.give_back(payment)
                    debt += kept.pop(payment)
                case _:
                    first, last = sorted(chance.sample(range(110), 2))
                    await share_and_compare(first, last)
        await share_and_compare(0, 1_000)
        assert jar.balances["tips"] == shared - sum(kept.values())
        assert shared >= sum(kept.values()) or waiting


async def test_what_moves_on_cards_and_points_is_listed_under_the_names_that_tills_know(migrated: Database) -> None:
    async with opened(migrated) as store:
        shop = Shop()
        shop.reward("+61412345678")
        await store.write(shop)
    cards = await rows(
        migrated,
        """SELECT type, amount, balance, card_last_four, currency, order_id IS NOT NULL, by_role
           FROM pos_gift_card_transactions ORDER BY "offset" """,
    )
    assert cards == [
        ("sold", 5_000, 5_000, "RC3R", "AUD", True, "staff"),
        ("used", -1_200, 3_800, "RC3R", "AUD", True, "staff"),
        ("returned", 200, 4_000, "RC3R", "AUD", False, "staff"),
        ("expired", -4_000, 0, "RC3R", "AUD", False, "staff"),
    ]
    points = await rows(
        migrated,
        'SELECT type, points, balance, phone, reason FROM pos_loyalty_transactions ORDER BY "offset"',
    )
    assert points == [
        ("added", 100, 100, "+61412345678", "birthday"),
        ("used", -100, 0, "+61412345678", None),
        ("returned", 100, 100, "+61412345678", None),
    ]
    sums = await rows(migrated, "SELECT currency, sum(balance)::int8 FROM ledger_balances GROUP BY 1 ORDER BY 1")
    assert sums == [("AUD", 0), ("PTS", 0)]


async def test_the_database_itself_refuses_points_that_are_less_than_none(migrated: Database) -> None:
    async with opened(migrated) as store:
        shop = Shop()
        shop.reward("+61412345678")
        await store.write(shop)
    for table, change in (
        ("ledger_balances", "balance = 1 WHERE account LIKE 'loyalty:%'"),
        ("ledger_balances", "balance = 1 WHERE account LIKE 'gift:%'"),
        ("accounts", "balance = -1"),
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await run(migrated, f"UPDATE {table} SET {change}")
