"""What the worker of the inbox does about a row; the store's tests run it on real ones, in every order."""

from typing import Any
from uuid import UUID

import pytest

from tabletap.actors.inbox import InboxWorker, NotAnswered, NotTold, news
from tabletap.actors.ports import GatewayDown, GatewaySilent, Heard, Later, PaymentOf, Sent
from tabletap.actors.runtime import RefusedForNow
from tabletap.actors.webhook_ports import GAP_KEY, Arrived, Unplaced, WebhookStatus
from tabletap.domain.base import SYSTEM, CafeId, Job, PaymentId
from tabletap.domain.charge import Dispute, RefundStanding, Standing
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.payment import HearCharge, HearDispute, HearRefund, VerifyNow
from tabletap.domain.tasks import ProcessWebhook
from tabletap.domain.vocabulary import ChargeState, Queue, RefundState

ID, PAYMENT, CAFE = UUID(int=1), PaymentId(UUID(int=2)), CafeId(UUID(int=3))
CHARGE = Standing(state=ChargeState.SUCCEEDED, amount=1)
REFUND = (UUID(int=4), RefundStanding(state=RefundState.SUCCEEDED))
DISPUTE = Dispute(dispute_id="d", amount=1)


class Rows:
    """One row, and what was done about it."""

    def __init__(self, **row: Any) -> None:
        told: dict[str, Any] = {"status": WebhookStatus.PENDING, "out_of_turn": False, "overdue": False, "told": 0}
        sequence = row.pop("sequence", 1)
        heard = Heard(event_id="e", type="t", payment_id=PAYMENT, sequence=sequence, standing=CHARGE)
        self.row: Arrived | Unplaced | None = Arrived(
            id=ID, payment_id=PAYMENT, cafe_id=CAFE, heard=heard, **{**told, **row}
        )
        self.done: list[str] = []

    async def look_up(self, _: UUID) -> Arrived | Unplaced | None:
        return self.row

    async def place(self, _: UUID, payment_id: PaymentId | None) -> None:
        self.done.append(f"place: {payment_id}")

    async def hold(self, _: UUID) -> None:
        self.done.append("hold")

    async def settle(self, _: UUID) -> None:
        self.done.append("settle")

    async def close_gap(self, _: UUID) -> None:
        self.done.append("close_gap")

    async def note_failure(self, _: UUID, words: str) -> None:
        self.done.append(f"failed: {words}")


class Payment:
    def __init__(self, answer: Refusal | None = None) -> None:
        self.answer = answer
        self.told: list[Any] = []

    async def tell(self, _ref: Any, command: Any, _by: Any) -> Any:
        self.told.append(command)
        return self.answer

    ask = tell


async def process(rows: Rows, payment: Payment, key: str = str(PAYMENT), **payment_of: PaymentOf) -> None:
    job = Job(Queue.WEBHOOKS, key, CAFE, ProcessWebhook(ID))
    worker = InboxWorker(rows, payment, payment_of)  # type: ignore[arg-type]
    await worker.process(ProcessWebhook(ID), Sent(ID, job, SYSTEM))


@pytest.mark.parametrize(
    ("row", "done", "told"),
    [
        ({"sequence": 1}, ["settle"], [HearCharge(CHARGE)]),
        ({"sequence": 4, "told": 3}, ["settle"], [HearCharge(CHARGE)]),
        ({"sequence": 2}, ["hold"], []),
        ({"sequence": 2, "status": WebhookStatus.WAITING, "overdue": True}, ["hold"], []),
        ({"sequence": 2, "out_of_turn": True}, ["settle"], [HearCharge(CHARGE)]),
        ({"sequence": 2, "told": 2}, ["settle"], []),
        ({"sequence": 1, "told": 2}, ["settle"], []),
        ({"sequence": 1, "told": 2, "status": WebhookStatus.DEAD}, ["settle"], [HearCharge(CHARGE)]),
        ({"sequence": 1, "status": WebhookStatus.PROCESSED}, [], []),
        ({"sequence": None}, ["settle"], [VerifyNow()]),
    ],
)
async def test_what_is_done_about_a_webhook_follows_from_its_place(row: Any, done: Any, told: Any) -> None:
    rows, payment = Rows(**row), Payment()
    await process(rows, payment)
    assert (rows.done, payment.told) == (done, told)


@pytest.mark.parametrize(
    ("row", "done", "told"),
    [
        ({"sequence": 2, "status": WebhookStatus.WAITING, "overdue": True}, ["close_gap"], [VerifyNow()]),
        ({"sequence": 2, "status": WebhookStatus.WAITING, "overdue": True, "told": 1}, ["close_gap"], []),
        ({"sequence": 2, "status": WebhookStatus.PENDING, "told": 1}, [], []),
        ({"sequence": 2, "status": WebhookStatus.PROCESSED}, [], []),
    ],
)
async def test_whoever_looks_at_a_gap_tells_nothing_but_to_ask(row: Any, done: Any, told: Any) -> None:
    rows, payment = Rows(**row), Payment()
    await process(rows, payment, f"{GAP_KEY}{PAYMENT}")
    assert (rows.done, payment.told) == (done, told)


# -- whose it is


def unplaced(*, overdue: bool = False) -> Rows:
    rows = Rows()
    rows.row = Unplaced(id=ID, provider="they", charge_id="pi_1", overdue=overdue)
    return rows


@pytest.mark.parametrize("whose", [PAYMENT, None])
async def test_whose_a_charge_is_its_provider_is_asked_and_its_payment_is_told_in_its_own_line(whose: Any) -> None:
    async def asked(charge_id: str) -> PaymentId | None:
        assert charge_id == "pi_1"
        return whose  # type: ignore[no-any-return]

    rows, payment = unplaced(), Payment()
    await process(rows, payment, str(ID), they=asked)
    assert (rows.done, payment.told) == ([f"place: {whose}"], [])


async def test_a_job_that_placed_its_webhook_before_and_is_done_again_leaves_the_rest_to_the_payments_line() -> None:
    rows, payment = Rows(), Payment()
    await process(rows, payment, str(ID))
    assert (rows.done, payment.told) == ([], [])


@pytest.mark.parametrize("silence", [GatewayDown("away"), GatewaySilent("what?")])
async def test_a_provider_that_does_not_say_whose_it_is_is_asked_again_for_days_and_then_it_is_a_failure(
    silence: Exception,
) -> None:
    async def away(_: str) -> PaymentId | None:
        raise silence

    rows = unplaced()
    with pytest.raises(Later):
        await process(rows, Payment(), str(ID), they=away)
    assert rows.done == []
    rows = unplaced(overdue=True)
    with pytest.raises(NotAnswered):
        await process(rows, Payment(), str(ID), they=away)
    assert rows.done == [f"failed: nobody says whose pi_1 is: {silence}"]


async def test_what_came_from_a_provider_that_is_not_set_up_any_more_waits_for_it() -> None:
    rows = unplaced()
    with pytest.raises(Later, match="not set up"):
        await process(rows, Payment(), str(ID), others=unplaced)  # type: ignore[arg-type]
    assert rows.done == []


async def test_a_row_that_is_gone_is_no_trouble() -> None:
    rows, payment = Rows(), Payment()
    rows.row = None
    await process(rows, payment)
    assert payment.told == []


@pytest.mark.parametrize("code", [Code.OVERLOADED, Code.UNAVAILABLE, Code.NOT_EXECUTED, Code.OUTCOME_UNKNOWN])
async def test_a_payment_that_cannot_be_reached_is_no_failure_of_the_webhook(code: Code) -> None:
    rows = Rows()
    with pytest.raises(RefusedForNow):
        await process(rows, Payment(Refusal(code, "later")))
    assert rows.done == []


async def test_a_payment_that_says_no_is_a_failure_and_is_written_down() -> None:
    rows = Rows()
    with pytest.raises(NotTold):
        await process(rows, Payment(Refusal(Code.ILLEGAL_MOVE, "no")))
    assert rows.done == ["failed: HearCharge: ILLEGAL_MOVE: no"]


def test_everything_that_a_webhook_says_is_told() -> None:
    told: dict[str, Any] = {"event_id": "e", "type": "t", "payment_id": PAYMENT}
    all_of_it: dict[str, Any] = {"standing": CHARGE, "refund": REFUND, "dispute": DISPUTE}
    others = [HearRefund(*REFUND), HearDispute(DISPUTE)]
    numbered = Heard(sequence=1, **told, **all_of_it)
    assert list(news(numbered)) == [HearCharge(CHARGE), *others]
    assert list(news(numbered, late=True)) == others
    assert list(news(Heard(**told, **all_of_it))) == [VerifyNow(), *others]
    assert list(news(Heard(sequence=1, **told))) == []
