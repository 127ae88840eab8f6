"""Reconciliation (spec P9): goes round every few minutes, compares what is with what should be, and mends what it can.

It is the net under everything that mends itself: payments ask their providers, the outbox delivers, orders are woken.
Whatever it finds has slipped through one of those, so each finding is told, whether it could be repaired or not. It
repairs by asking the entity concerned, which decides by its own rules; what was repaired is in order the next time.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
import trio

from tabletap.domain.base import SYSTEM, CafeId, Command, Kind, PaymentId, Ref, Wake
from tabletap.domain.charge import Charge, Standing
from tabletap.domain.errors import Refusal
from tabletap.domain.order import OrderView
from tabletap.domain.payment import OPEN, HearCharge, PaymentView
from tabletap.domain.reconciliation import FINDINGS, Finding, Known, Run, Sort, Verdict, compare, difference
from tabletap.domain.vocabulary import ChargeState, Method

from .audit_ports import Rounds, Stated, Statement
from .desk import Desk
from .ports import Gateway, GatewayDown, GatewaySilent
from .runtime import Outage

log = structlog.get_logger(__name__)

LOOK_BACK: Final = timedelta(hours=24)
"""How far the first run of all asks providers back."""
OVERLAP: Final = timedelta(minutes=10)
"""How far every other run looks back beyond the one before it: clocks differ, and listings lag."""
MOMENT: Final = timedelta(minutes=1)
"""What began a moment ago may be about to be done anyway."""


class ReconciliationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``most``: of each sort of thing, looked at in one run, and pages of a provider's statement."""

    every_s: float
    stuck_after_s: float
    stale_after_s: float
    run_at_most_s: float
    most: int


class Reconciliation:
    """``run`` in a task. ``wake_outbox``: have the relay and the workers look for what waits."""

    def __init__(
        self,
        *,
        rounds: Rounds,
        desk: Desk,
        gateways: Mapping[Method, Gateway],
        wake_outbox: Callable[[], None],
        clock: Callable[[], datetime],
        new_id: Callable[[], UUID],
        settings: ReconciliationSettings,
    ) -> None:
        self._rounds = rounds
        self._desk = desk
        self._gateways = gateways
        self._wake_outbox = wake_outbox
        self._clock = clock
        self._new_id = new_id
        self._settings = settings
        self._asked = trio.Event()
        self._totals = {"runs": 0, "repaired": 0, "remaining": 0}

    async def run(self) -> None:
        """Until cancelled. Of several nodes one goes round at a time, and not sooner than it is due."""
        while True:
            self._asked = trio.Event()
            with trio.move_on_after(self._settings.every_s):
                await self._asked.wait()
            recently = self._clock() - timedelta(seconds=self._settings.every_s / 2)
            try:
                await self.go_round(not_after=None if self._asked.is_set() else recently)
            except Outage as outage:
                log.info("reconciliation_waits", trouble=str(outage))
            except Exception:  # a bug of the net must not bring down what it is spread under
                log.exception("reconciliation_failed")

    def hurry(self) -> None:
        """Go round now, unless somebody is at it."""
        self._asked.set()

    async def newest(self) -> Run | None:
        """The run that was finished last, by whichever node."""
        return await self._rounds.newest()

    async def go_round(self, *, not_after: datetime | None) -> Run | None:
        """One run, unless another is under way or has begun after ``not_after``.

        What cannot be looked at in its time is left to the next.
        """
        started, run_id = self._clock(), self._new_id()
        turn = await self._rounds.begin(run_id, started, not_after=not_after)
        if turn is None:
            return None
        since = max(turn.since - OVERLAP, started - LOOK_BACK) if turn.since else started - LOOK_BACK
        round_ = _Round(self._rounds, self._desk, self._gateways, started, self._settings)
        with trio.move_on_after(self._settings.run_at_most_s):
            await round_.messages(self._wake_outbox)
            await round_.charges(since)
            await round_.payments()
            await round_.orders()
        run = round_.report(run_id, self._clock())
        await self._rounds.finish(run)
        self._totals["runs"] += 1
        self._totals["repaired"] += run.repaired
        self._totals["remaining"] = run.remaining
        log.info("reconciled", checked=run.checked, repaired=run.repaired, remaining=run.remaining)
        return run

    def figures(self) -> Mapping[str, float]:
        """For the metrics: runs of this node, what they repaired, what the newest could not."""
        return {f"reconciliation_{name}": count for name, count in self._totals.items()}


class _Round:
    """One run: what it looks at, what it finds."""

    def __init__(
        self,
        rounds: Rounds,
        desk: Desk,
        gateways: Mapping[Method, Gateway],
        started: datetime,
        settings: ReconciliationSettings,
    ) -> None:
        self._rounds = rounds
        self._desk = desk
        self._gateways = gateways
        self._started = started
        self._settings = settings
        self._checked: dict[str, int] = {}
        self._findings: list[Finding] = []
        self._repaired = 0
        self._remaining = 0
        self._told: set[PaymentId] = set()
        self._silent: set[Gateway] = set()

    def report(self, run_id: UUID, finished: datetime) -> Run:
        """What was found, the unrepaired first."""
        return Run(
            run_id=run_id,
            started_at=self._started,
            finished_at=finished,
            checked=self._checked,
            repaired=self._repaired,
            remaining=self._remaining,
            findings=tuple(sorted(self._findings, key=lambda finding: finding.repaired)[:FINDINGS]),
        )

    def _found(self, sort: Sort, about: str, words: str, cafe_id: CafeId | None, *, repaired: bool = False) -> None:
        self._repaired += repaired
        self._remaining += not repaired
        if len(self._findings) < 2 * FINDINGS:
            self._findings.append(Finding(sort=sort, about=about, words=words, cafe_id=cafe_id, repaired=repaired))

    def _ago(self, seconds: float) -> datetime:
        return self._started - timedelta(seconds=seconds)

    async def _tell(self, ref: Ref, command: Command) -> Any | Refusal:
        return await self._desk.ask(ref, command, SYSTEM)

    # -- the outbox

    async def messages(self, wake: Callable[[], None]) -> None:
        """What waits too long is looked for again at once; it is told until it has gone."""
        stuck = await self._rounds.stuck_messages(self._ago(self._settings.stuck_after_s), self._settings.most)
        self._checked["messages"] = sum(one.waiting for one in stuck)
        if stuck:
            wake()
        for one in stuck:
            minutes = math.floor((self._started - one.oldest).total_seconds() / 60)
            words = f"{one.waiting} wait, the oldest for {minutes} minutes: {one.last_error or 'never tried'}"
            self._found(Sort.MESSAGE_STUCK, one.receiver, words, one.cafe_id)

    # -- providers

    async def charges(self, since: datetime) -> None:
        """What providers have listed as changed, and what is under way here and may not be there."""
        self._checked["charges"] = 0
        for gateway in dict.fromkeys(self._gateways.values()):
            if isinstance(gateway, Statement):
                await self._heard_of(gateway, self._statement(gateway, since))
        for charge in await self._rounds.under_way(self._started - MOMENT, self._settings.most):
            asked = self._gateways.get(charge.method)
            if asked is not None and charge.payment_id not in self._told and asked not in self._silent:
                await self._heard_of(asked, self._verify(asked, charge))

    async def _heard_of(self, gateway: Gateway, asking: Awaitable[None]) -> None:
        """One that does not answer is not asked again in this run."""
        try:
            await asking
        except (GatewayDown, GatewaySilent) as silence:
            self._silent.add(gateway)
            provider = gateway.provider or type(gateway).__name__
            self._found(Sort.PROVIDER_SILENT, provider, str(silence) or type(silence).__name__, None)

    async def _statement(self, gateway: Statement, since: datetime) -> None:
        after: str | None = None
        for _ in range(self._settings.most):
            page = await gateway.changed_since(since, after, 100)
            ids = [stated.payment_id for stated in page.charges if stated.payment_id is not None]
            known = await self._rounds.known(ids)
            for stated in page.charges:
                await self._compare(stated, known.get(stated.payment_id) if stated.payment_id else None)
            after = page.next
            if after is None:
                return

    async def _verify(self, gateway: Gateway, charge: Charge) -> None:
        standing = await gateway.verify(charge)
        known = (await self._rounds.known([charge.payment_id])).get(charge.payment_id)
        reference = str(charge.payment_id)
        await self._compare(Stated(reference=reference, payment_id=charge.payment_id, standing=standing), known)

    async def _compare(self, stated: Stated, known: Known | None) -> None:
        self._checked["charges"] += 1
        match compare(known, stated.standing):
            case Verdict.AGREE:
                return
            case Verdict.UNKNOWN:
                words = f"its provider has it as {stated.standing.state} with {stated.standing.amount} cents"
                self._found(Sort.CHARGE_UNKNOWN, f"charge {stated.reference}", words, None)
            case Verdict.CONTRADICTION:
                assert known is not None
                about = f"payment {stated.payment_id}"
                self._found(Sort.CHARGE_DIFFERS, about, difference(known, stated.standing), known.cafe_id)
            case Verdict.TELL:
                assert known is not None
                assert stated.payment_id is not None
                await self._reconcile(stated.payment_id, known, stated.standing)

    async def _reconcile(self, payment_id: PaymentId, known: Known, standing: Standing) -> None:
        """The payment hears what its provider says; then both are compared once more."""
        self._told.add(payment_id)
        answer = await self._tell(Ref(Kind.PAYMENT, payment_id, known.cafe_id), HearCharge(standing))
        words = difference(known, standing)
        if isinstance(answer, Refusal):
            words = f"{words}; it was told, and says: {answer.message}"
        after = (await self._rounds.known([payment_id])).get(payment_id)
        agrees = after is not None and compare(after, standing) is Verdict.AGREE
        asked_again = standing.state is ChargeState.ABSENT and not isinstance(answer, Refusal)
        self._found(Sort.CHARGE_DIFFERS, f"payment {payment_id}", words, known.cafe_id, repaired=agrees or asked_again)

    # -- payments and orders

    async def payments(self) -> None:
        """Those whose time is over are woken: they know what to do."""
        overdue = await self._rounds.overdue_payments(self._started - MOMENT, self._settings.most)
        self._checked["payments"] = len(overdue)
        for ref in overdue:
            answer = await self._tell(ref, Wake())
            done = isinstance(answer, PaymentView) and answer.status not in OPEN
            words = "its time was over, and nobody had told it" if done else f"its time is over: {_said(answer)}"
            self._found(Sort.PAYMENT_OVERDUE, f"payment {ref.id}", words, ref.cafe_id, repaired=done)

    async def orders(self) -> None:
        """Paid ones go to the kitchen, where their own conditions are met; stale ones are for staff to see."""
        paid = await self._rounds.unreleased_orders(self._started - MOMENT, self._settings.most)
        for ref, number in paid:
            answer = await self._tell(ref, Wake())
            done = isinstance(answer, OrderView) and answer.in_kitchen
            words = "is paid and had not reached the kitchen" if done else f"is paid, and not made: {_said(answer)}"
            self._found(Sort.ORDER_NOT_IN_KITCHEN, _named(ref, number), words, ref.cafe_id, repaired=done)
        stale = await self._rounds.stale_orders(self._ago(self._settings.stale_after_s), self._settings.most)
        for ref, number in stale:
            self._found(Sort.ORDER_STALE, _named(ref, number), "nobody has paid it, or is about to", ref.cafe_id)
        self._checked["orders"] = len(paid) + len(stale)


def _named(ref: Ref, number: int) -> str:
    return f"order {number} ({ref.id})"


def _said(answer: Any | Refusal) -> str:
    match answer:
        case Refusal():
            return answer.message
        case OrderView(accepted=False):
            return "nobody has accepted it"
        case OrderView():
            return f"it is {answer.status}"
        case PaymentView():
            return f"it is {answer.status} all the same"
        case _:
            return "it was told"
