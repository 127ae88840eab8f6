from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tabletap import auditing, settings
from tabletap.domain import account as accounts
from tabletap.domain import cafe as cafes
from tabletap.domain import drawer as drawers
from tabletap.domain import payment as payments
from tabletap.domain.audit import Rule
from tabletap.domain.base import PaymentId, Ref
from tabletap.domain.vocabulary import AccountKind, CreditScope, Method
from tabletap.store import audit as audits
from tabletap.store.audit import Report, audit, dossier, whole
from tabletap.store.pool import Database
from tests.store.opened import opened, rows
from tests.store.shop import Shop


@pytest.fixture
async def shop(migrated: Database) -> Shop:
    """An evening, written and come to rest: nothing waits, nothing is wrong."""
    shop = Shop()
    shop.busy()
    cash = shop.pay(shop.place())
    drawer = shop.do(shop.cafe_ref, cafes.OpenDrawer("till", 5_000)).births[0].ref
    shop.do(cash, payments.VerifyCash(tendered=shop.payment(cash).initiated.total, drawer_id=drawer.id))
    shop.do(drawer, drawers.Pay(-300, "milk"))
    shop.deliver_all()
    async with opened(migrated) as store:
        await store.write(shop)
    return shop


def told(report: Report) -> dict[Rule, list[str]]:
    found: dict[Rule, list[str]] = {}
    for fault in report.faults:
        found.setdefault(fault.rule, []).append(f"{fault.about}: {fault.words}")
    return found


async def tamper(database: Database, statement: str, *arguments: Any) -> None:
    """Change what stands there behind the server's back."""
    changed = await database.transact(lambda connection: connection.execute(statement, *arguments))
    assert not changed.endswith(" 0"), "nothing to tamper with"


def a_payment(shop: Shop) -> Ref:
    return next(state.ref for state in shop.payments if state.completed and not state.refunds)


async def test_an_evening_at_rest_matches_in_everything(migrated: Database, shop: Shop) -> None:
    report = await audit(migrated)
    assert told(report) == {}
    assert report.on_its_way == ()
    assert report.sums == {"AUD": 0}
    checked = report.checked
    assert checked.cafes == 1
    assert checked.events == len(shop.log)
    assert checked.orders == len(shop.orders)
    assert checked.payments == len(shop.payments)
    assert checked.refunds == sum(len(payment.refunds) for payment in shop.payments) > 0
    assert checked.drawers == 2
    assert (checked.entries,) == (await rows(migrated, "SELECT count(*) FROM ledger_entries"))[0]
    assert (checked.accounts,) == (await rows(migrated, "SELECT count(*) FROM ledger_balances"))[0]


async def test_cards_and_points_match_too_and_points_are_summed_apart(migrated: Database, shop: Shop) -> None:
    shop.reward("+61412345678")
    async with opened(migrated) as store:
        await store.write(shop)
    report = await audit(migrated)
    assert told(report) == {}
    assert report.sums == {"AUD": 0, "PTS": 0}
    await tamper(migrated, "UPDATE ledger_entries SET amount = amount - 1 WHERE account LIKE 'loyalty:%'")
    assert {Rule.HELD, Rule.ENTRIES} <= told(await audit(migrated)).keys()


async def test_page_by_page_it_finds_the_same(migrated: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = await audit(migrated)
    monkeypatch.setattr(dossier, "PAGE", 2)
    monkeypatch.setattr(whole, "PAGE", 3)
    assert await audit(migrated) == at_once


async def test_nothing_at_all_matches(migrated: Database) -> None:
    report = await audit(migrated)
    assert (report.faults, report.sums, report.checked) == ((), {}, audits.Checked())


async def test_an_entry_that_was_changed_is_named_by_its_offset_its_order_and_its_balance(
    migrated: Database, shop: Shop
) -> None:
    order = next(state for state in shop.orders if state.unsettled)
    await tamper(
        migrated,
        "UPDATE ledger_entries SET amount = amount + 7 WHERE account = 'receivable' AND order_id = $1 AND amount > 0",
        order.placed.order_id,
    )
    found = told(await audit(migrated))
    assert any("sum to 0.07 AUD" in words for words in found[Rule.SUM])
    assert "the log posts" in found[Rule.ENTRIES][0]
    assert found[Rule.RECEIVABLE][0].startswith(f"order {order.placed.order_id}")
    assert found[Rule.BALANCE][0].startswith("receivable: the balance is")


async def test_an_entry_that_was_moved_to_another_account_is_named_although_all_sums_are_right(
    migrated: Database, shop: Shop
) -> None:
    await tamper(
        migrated, "UPDATE ledger_entries SET account = 'fees' WHERE account = 'cash' AND payment_id IS NOT NULL"
    )
    report = await audit(migrated)
    assert report.sums == {"AUD": 0}
    found = told(report)
    assert set(found) == {Rule.ENTRIES, Rule.BALANCE}, "fees and tender of a payment are told by one sum"


async def test_an_entry_that_was_lost_and_one_that_was_added_are_named(migrated: Database, shop: Shop) -> None:
    (((cafe_id, offset),)) = await rows(
        migrated, """SELECT cafe_id, "offset" FROM ledger_entries WHERE account = 'clearing' ORDER BY 2 LIMIT 1"""
    )
    await tamper(migrated, """DELETE FROM ledger_entries WHERE "offset" = $1 AND account = 'clearing'""", offset)
    (((moved,),)) = await rows(migrated, """SELECT "offset" FROM events WHERE type = 'cafe.queue_moved' LIMIT 1""")
    await tamper(
        migrated,
        """INSERT INTO ledger_entries (cafe_id, "offset", line, account, currency, amount, at)
           VALUES ($1, 9999, 1, 'cash', 'AUD', 5, now()), ($1, 9999, 2, 'sales', 'AUD', -5, now()),
                  ($1, 1, 1, 'cash', 'AUD', 6, now()), ($1, 1, 2, 'sales', 'AUD', -6, now()),
                  ($1, $2, 1, 'cash', 'AUD', 7, now()), ($1, $2, 2, 'sales', 'AUD', -7, now())""",
        cafe_id,
        moved,
    )
    found = told(await audit(migrated))
    assert any(words.startswith(f"offset {offset}:") for words in found[Rule.ENTRIES])
    assert "offset 9999: cash 0.05 AUD belongs to no event of the log" in found[Rule.ENTRIES]
    assert "offset 1: the log posts nothing, the ledger has cash 0.06 AUD, sales -0.06 AUD" in found[Rule.ENTRIES]
    assert f"offset {moved}: cafe.queue_moved moves no money, the ledger has cash 0.07 AUD" in found[Rule.ENTRIES]
    assert Rule.CLEARING in found


async def test_a_guarded_account_beyond_its_bound_is_named(migrated: Database, shop: Shop) -> None:
    await tamper(migrated, "UPDATE ledger_entries SET amount = -99999 WHERE account = 'receivable' AND amount < 0")
    (words,) = told(await audit(migrated))[Rule.BOUND]
    assert "it may not be less than nothing" in words


async def test_a_balance_that_was_dropped_changed_or_invented_is_named(migrated: Database, shop: Shop) -> None:
    await tamper(migrated, "DELETE FROM ledger_balances WHERE account = 'sales'")
    await tamper(migrated, "UPDATE ledger_balances SET balance = balance - 1 WHERE account = 'cash'")
    await tamper(migrated, "INSERT INTO ledger_balances SELECT cafe_id, 'magic', 'AUD', 0 FROM ledger_balances LIMIT 1")
    report = await audit(migrated)
    assert set(told(report)) == {Rule.BALANCE}
    assert [fault.about for fault in sorted(report.faults, key=lambda one: one.about)] == ["cash", "magic", "sales"]
    assert all(fault.cafe_id == shop.cafe_ref.cafe_id for fault in report.faults)


async def test_rows_that_were_changed_lost_or_invented_are_named(migrated: Database, shop: Shop) -> None:
    payment = a_payment(shop)
    await tamper(migrated, "UPDATE payments SET status = 'failed' WHERE id = $1", payment.id)
    order = shop.orders[0].placed.order_id
    await tamper(migrated, """UPDATE orders SET doc = jsonb_set(doc, '{owed}', '1') WHERE id = $1""", order)
    await tamper(migrated, "DELETE FROM refunds")
    await tamper(
        migrated,
        """INSERT INTO drawers SELECT gen_random_uuid(), cafe_id, 'ghost', true, opened_at, doc FROM drawers LIMIT 1""",
    )
    found = told(await audit(migrated))
    assert set(found) == {Rule.ROW}
    lines = "\n".join(found[Rule.ROW])
    assert f"payments {payment.id}: status is 'failed', by the log 'completed'" in lines
    assert f"orders {order}: doc is" in lines
    assert "the row is missing" in lines
    assert "drawers: 1 rows are of nothing that is in the log" in lines


async def test_what_is_held_for_people_is_compared_with_what_their_accounts_say(migrated: Database, shop: Shop) -> None:
    await tamper(migrated, "UPDATE accounts SET balance = balance + 1")
    await tamper(migrated, "UPDATE account_entries SET amount = amount + 1 WHERE granted AND amount > 0")
    await tamper(migrated, "DELETE FROM tip_distributions")
    found = told(await audit(migrated))
    assert set(found) == {Rule.ROW}
    assert [line.split()[0] for line in sorted(found[Rule.ROW])] == ["account_entries", "accounts", "tip_distributions"]
    await tamper(
        migrated, "UPDATE ledger_entries SET account = 'credit:7' WHERE account LIKE 'credit:%' AND amount > 0"
    )
    await tamper(migrated, "UPDATE ledger_entries SET account = 'tips:kim' WHERE account = 'tips:sam' AND amount > 0")
    found = told(await audit(migrated))
    assert [line.split(":")[0] for line in found[Rule.TIPS]] == ["tips of kim", "tips of sam"]
    assert {line.split(":")[0] for line in found[Rule.BOUND]} == {"credit"}


async def test_a_move_of_an_account_that_was_changed_in_the_log_is_named(migrated: Database, shop: Shop) -> None:
    await tamper(migrated, "UPDATE events SET data = jsonb_set(data, '{amount}', '9') WHERE type = 'account.debited'")
    found = told(await audit(migrated))
    assert any("its moves sum to" in line for line in found[Rule.HELD])


async def test_events_that_were_lost_are_named(migrated: Database, shop: Shop) -> None:
    payment = a_payment(shop)
    await tamper(migrated, "DELETE FROM events WHERE entity_id = $1 AND type = 'payment.completed'", payment.id)
    (first, *_) = [state for state in shop.orders if payment.id in state.applied]
    await tamper(migrated, "DELETE FROM events WHERE entity_id = $1 AND version = 2", first.placed.order_id)
    found = told(await audit(migrated))
    assert any("2 are missing" in words for words in found[Rule.LOG])
    assert any(f"order {first.placed.order_id}" in words for words in found[Rule.LOG])
    assert any("belongs to no event" in words for words in found[Rule.ENTRIES])


async def test_a_drawer_that_took_what_no_payment_knows_of_is_named(migrated: Database, shop: Shop) -> None:
    await tamper(
        migrated, """UPDATE events SET data = jsonb_set(data, '{amount}', '4') WHERE type = 'drawer.cash_taken'"""
    )
    found = told(await audit(migrated))
    assert any("0.04 went through it for payment" in words for words in found[Rule.DRAWER])


async def test_money_between_a_payment_and_its_order_is_named_and_no_fault_while_its_message_waits(
    migrated: Database,
) -> None:
    shop = Shop()
    payment = shop.pay(shop.place())
    shop.take(payment)
    async with opened(migrated) as store:
        await store.write(shop)
    report = await audit(migrated)
    assert report.faults == ()
    (between,) = report.on_its_way
    assert (between.rule, between.about) == (Rule.CLEARING, f"payment {payment.id}")
    await tamper(migrated, "DELETE FROM outbox")
    report = await audit(migrated)
    assert report.on_its_way == ()
    assert [(fault.rule, fault.about) for fault in report.faults] == [(Rule.CLEARING, f"payment {payment.id}")]
    assert "nothing is left that would move it on" in report.faults[0].words


@pytest.mark.parametrize("scope", list(CreditScope))
async def test_credit_between_its_account_and_a_payment_is_named_and_gone_when_the_payment_has_it(
    migrated: Database, scope: CreditScope
) -> None:
    shop = Shop()
    shop.account = accounts.credit_account(shop.cafe.id, "ann", scope)
    holding = accounts.Holding(shop.account, AccountKind.CREDIT, "AUD", "ann")
    shop.do(shop.account, accounts.Grant(holding, shop.new_id(), 5_000, "sorry"))
    payment = shop.pay(shop.place(), Method.CUSTOMER_CREDIT)
    total = shop.payment(payment).initiated.total
    shop.do(shop.account, accounts.Spend(holding, PaymentId(payment.id), total))
    async with opened(migrated) as store:
        await store.write(shop)
        report = await audit(migrated)
        assert (told(report), report.sums) == ({}, {"AUD": 0})
        assert [(one.rule, one.about) for one in report.on_its_way] == [(Rule.TRANSIT, f"payment {payment.id}")]
        shop.take(payment)
        shop.deliver_all()
        await store.write(shop)
    report = await audit(migrated)
    assert (told(report), report.on_its_way) == ({}, ())
    assert report.checked.customer_accounts == 1
    await tamper(migrated, "DELETE FROM events WHERE type = 'account.debited'")
    found = told(await audit(migrated))
    assert any(line.startswith(f"payment {payment.id}") for line in found[Rule.TRANSIT])


async def test_one_cafe_is_checked_alone(migrated: Database, shop: Shop) -> None:
    other = Shop("other")
    other.busy()
    async with opened(migrated) as store:
        await store.write(other)
    await tamper(
        migrated,
        "UPDATE ledger_balances SET balance = 1 WHERE cafe_id = $1 AND account = 'sales'",
        other.cafe_ref.cafe_id,
    )
    clean = await audit(migrated, cafe_id=shop.cafe_ref.cafe_id)
    assert (clean.faults, clean.checked.events) == ((), len(shop.log))
    assert {fault.cafe_id for fault in (await audit(migrated)).faults} == {other.cafe_ref.cafe_id}


async def test_any_past_moment_can_be_checked(migrated: Database) -> None:
    shop = Shop()
    shop.tick = timedelta(seconds=1)
    began = shop.now
    shop.busy()
    async with opened(migrated) as store:
        await store.write(shop)
    for seconds in range(0, int((shop.now - began).total_seconds()) + 1, 3):
        at = began + timedelta(seconds=seconds)
        report = await audit(migrated, at=at)
        assert told(report) == {}
        assert report.at == at
        assert report.checked.events == sum(line.at <= at for line in shop.log)
    before = await audit(migrated, at=began - timedelta(days=1))
    assert (before.checked.events, before.faults) == (0, ())


async def test_no_more_findings_are_told_than_fit_but_all_are_counted(
    migrated: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits.report, "FINDINGS", 2)
    await tamper(migrated, "UPDATE ledger_balances SET balance = balance - 1 WHERE account <> 'receivable'")
    report = await audit(migrated)
    assert len(report.faults) == 2
    assert report.fault_count > 3


# -- at the command line


async def test_the_command_says_what_it_checked_and_ends_well_where_all_matches(
    migrated: Database, migrated_dsn: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = settings.load(environment={}, database_url=migrated_dsn)
    assert await auditing.run(loaded, "corner", None, True) == 0
    *words, last = capsys.readouterr().out.splitlines()
    assert words[-1] == "0 faults, 0 amounts on their way"
    assert f"{len(shop.log)} events" in words[-2]
    report = msgspec.json.decode(last)
    assert report["faultCount"] == 0
    assert report["checked"]["payments"] == len(shop.payments)
    assert report["sums"] == {"AUD": 0}


async def test_the_command_names_what_does_not_match_and_ends_badly(
    migrated: Database, migrated_dsn: str, shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    await tamper(migrated, "DELETE FROM ledger_balances WHERE account = 'sales'")
    loaded = settings.load(environment={}, database_url=migrated_dsn)
    assert await auditing.run(loaded, None, None, False) == 1
    fault, *_, last = capsys.readouterr().out.splitlines()
    assert fault.startswith(f"FAULT balance: sales (cafe {shop.cafe_ref.cafe_id}): the balance is missing")
    assert last.startswith("1 faults")
    with pytest.raises(ValueError, match="there is no cafe 'nowhere'"):
        await auditing.run(loaded, "nowhere", None, False)
