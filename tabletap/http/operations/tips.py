"""Tips (spec W2): what there is, share out a shift's, hand them out."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from tabletap.actors.cafe import GetCafe
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import utc
from tabletap.domain.errors import Code, Refusal, invalid
from tabletap.domain.settings import Duty
from tabletap.domain.tips import Distribute, DistributionView, PayOut, PayoutView, TipsView, Way, Worker, tip_jar

from .base import Call, Key, Operation

STAFF_AT_MOST = 200
TRIES = 3
"""How often the pool is read again because somebody else has just distributed."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

User = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Hours = Annotated[float, msgspec.Meta(ge=0, le=24 * 31)]


class TipsQuery(msgspec.Struct, frozen=True):
    """The time whose tips could be distributed; left out: all of it until now."""

    since: datetime | None = msgspec.field(default=None, name="from")
    until: datetime | None = msgspec.field(default=None, name="to")


class StaffBody(msgspec.Struct, frozen=True):
    """Somebody on the shift. ``role``: what they did; ``hours``, ``points``: where the cafe's rule asks."""

    user: User
    role: Duty
    hours: Hours = 0.0
    points: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0


class DistributeBody(msgspec.Struct, frozen=True):
    """A shift: from (including) to (not including), and who shares."""

    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    staff: Annotated[tuple[StaffBody, ...], msgspec.Meta(min_length=1, max_length=STAFF_AT_MOST)]


class PayoutBody(msgspec.Struct, frozen=True):
    """``way``: in cash, or from the bank account."""

    user: User
    amount: Annotated[int, msgspec.Meta(ge=1, le=100_000_00)]
    way: Way


def _naive(since: datetime | None, until: datetime | None) -> Refusal | None:
    for name, moment in (("from", since), ("to", until)):
        if moment is not None and moment.tzinfo is None:
            return invalid(name, "needs a time zone")
    return None


async def get(call: Call) -> Any:
    """The rule, the pool, and what became of former ones."""
    query: TipsQuery = call.query
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    if isinstance(cafe, Refusal):
        return cafe
    if naive := _naive(query.since, query.until):
        return naive
    holdings, cafe_id = call.services.reader.holdings, call.cafe_id
    pool = await holdings.tip_pool(cafe_id, query.since or EARLIEST, query.until or call.services.now())
    return TipsView(
        currency=cafe.settings.currency,
        presets=cafe.settings.tips.presets,
        rule=cafe.settings.tips.rule,
        pool=pool.amount,
        owed=tuple(await holdings.tips_owed(cafe_id)),
        distributions=tuple(await holdings.tip_distributions(cafe_id)),
    )


async def distribute(call: Call) -> Any:
    """Read what there is and have it shared out; again, where somebody else has shared out meanwhile."""
    body: DistributeBody = call.body
    cafe = await call.services.desk.query(call.cafe_ref(), GetCafe())
    if isinstance(cafe, Refusal):
        return cafe
    if naive := _naive(body.since, body.until):
        return naive
    since, until = utc(body.since), utc(body.until)
    staff = tuple(Worker(one.user, one.role, round(one.hours * 60), one.points) for one in body.staff)
    answer: Any = None
    for _ in range(TRIES):
        pool = await call.services.reader.holdings.tip_pool(call.cafe_id, since, until)
        command = Distribute(
            cafe_id=call.cafe_id,
            currency=cafe.settings.currency,
            settings=cafe.settings.tips,
            since=since,
            until=until,
            pool=pool,
            staff=staff,
        )
        answer = await call.services.desk.ask(tip_jar(call.cafe_id), command, call.by, call.idempotency)
        if not (isinstance(answer, Refusal) and answer.code is Code.DUPLICATE_IN_PROGRESS):
            break
    return answer


async def pay_out(call: Call) -> Any:
    """Somebody has been given (some of) their tips."""
    body: PayoutBody = call.body
    command = PayOut(body.user, body.amount, body.way)
    return await call.services.desk.ask(tip_jar(call.cafe_id), command, call.by, call.idempotency)


def _moving(name: str, summary: str, handler: Any, body: Any, reply: Any) -> Operation:
    return Operation(
        name=f"tips.{name}",
        method="POST",
        path=f"/api/{{cafe}}/tips/{name}",
        summary=summary,
        access=Access(access.MANAGEMENT),
        body=body,
        reply=reply,
        stored=reply,
        status=201,
        key=Key.REQUIRED,
        handler=handler,
    )


OPERATIONS = (
    Operation(
        name="tips.get",
        method="GET",
        path="/api/{cafe}/tips",
        summary="Tips: the rule, the pool, distributions, and what is owed",
        access=Access(access.CREW),
        query=TipsQuery,
        reply=TipsView,
        handler=get,
    ),
    _moving("distribute", "Share a shift's tips out", distribute, DistributeBody, DistributionView),
    _moving("payout", "Tips have been handed to somebody", pay_out, PayoutBody, PayoutView),
)
