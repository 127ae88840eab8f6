"""Bank statements: find the transfers that customers have made (spec P4)."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import msgspec
import trio

from tabletap.actors.entity import KEEP_ANSWER
from tabletap.actors.ports import Answered, CarriedOut
from tabletap.domain import access
from tabletap.domain.access import Access
from tabletap.domain.base import Kind, PaymentId, Ref
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.payment import VerifyTransfer
from tabletap.domain.statement import MOST_CHARS, Format, Line, LineError, Statement, read

from .base import Call, Key, Operation

PAYMENTS_AT_ONCE = 16


class StatementBody(msgspec.Struct, frozen=True):
    """``csv``: the file as text, of at most 5,000 lines."""

    csv: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_CHARS)]
    format: Format


class Matched(msgspec.Struct, frozen=True, rename="camel"):
    """A line whose payment was found. ``outcome``: the payment's status now, or the code with which it refused."""

    line: int
    id: str
    payment_id: UUID
    amount: int
    outcome: str


class Unmatched(msgspec.Struct, frozen=True, rename="camel"):
    """Money that names none of the cafe's payments: for staff to look at."""

    line: int
    booked_on: date
    amount: int
    description: str


class Imported(msgspec.Struct, frozen=True):
    """What became of a statement. ``lines``: where money came in; ``repeated``: of those, carried out before;
    ``outgoing``: the others."""

    lines: int
    outgoing: int
    repeated: int
    matched: tuple[Matched, ...]
    unmatched: tuple[Unmatched, ...]
    errors: tuple[LineError, ...]


async def import_(call: Call) -> Any:
    """Have each payment that a line names count the line's money, once for each line however often it is imported.

    That it is once is the payment's doing, which remembers its lines. An import that ends half-way is done again.
    """
    services, idempotency = call.services, call.idempotency
    assert idempotency is not None
    if await services.reader.answered(idempotency.scope, idempotency.key, services.now()):
        return Refusal(Code.IDEMPOTENCY_KEY_REUSED, "this key was used before")  # the dispatcher looks for what
    statement = read(call.body.csv, call.body.format)
    if isinstance(statement, Refusal):
        return statement
    known = await services.statements.carried_out(call.cafe_id, [line.id for line in statement.lines])
    payments = await services.statements.payments(call.cafe_id, statement.references)
    found, unmatched, errors = _sort(statement, known, payments)
    matched = await _carry_out(call, found)
    report = Imported(
        lines=len(statement.lines),
        outgoing=statement.outgoing,
        repeated=sum(_same(known.get(line.id), line) for line in statement.lines),
        matched=tuple(matched.values()),
        unmatched=tuple(unmatched),
        errors=tuple(sorted((*statement.errors, *errors), key=lambda error: error.line)),
    )
    done = [
        CarriedOut(line.id, payment_id, line.booked_on, line.amount, matched[line.number].outcome)
        for payment_id, lines in found.items()
        for line in lines
        if matched[line.number].outcome not in Code.__members__
    ]
    now = services.now()
    answered = Answered(idempotency, ok=True, body=msgspec.json.encode(report), expires_at=now + KEEP_ANSWER)
    await services.statements.record(call.cafe_id, done, answered, now)
    return report


def _same(known: CarriedOut | None, line: Line) -> bool:
    return known is not None and (known.booked_on, known.amount) == (line.booked_on, line.amount)


def _sort(
    statement: Statement, known: Mapping[str, CarriedOut], payments: Mapping[str, PaymentId]
) -> tuple[dict[PaymentId, list[Line]], list[Unmatched], list[LineError]]:
    """The lines to carry out by their payments, those that name none, and those that nobody can tell."""
    found: dict[PaymentId, list[Line]] = {}
    unmatched, errors = [], []
    for line in statement.lines:
        if line.id in known:
            if not _same(known[line.id], line):
                errors.append(LineError(line.number, "a line of another statement has the same id"))
            continue
        named = {payments[reference] for reference in line.references if reference in payments}
        if len(named) == 1:
            found.setdefault(named.pop(), []).append(line)
        elif named:
            errors.append(LineError(line.number, "names several payments"))
        else:
            unmatched.append(Unmatched(line.number, line.booked_on, line.amount, line.description))
    return found, unmatched, errors


async def _carry_out(call: Call, found: Mapping[PaymentId, Sequence[Line]]) -> dict[int, Matched]:
    """Tell the payments, several at once, each of its lines in order. What became of each line, by its number."""
    matched: dict[int, Matched] = {}
    waiting = iter(found.items())

    async def work(waiting: Iterator[tuple[PaymentId, Sequence[Line]]]) -> None:
        for payment_id, lines in waiting:
            for line in lines:
                command = VerifyTransfer(line.amount, statement_line=line.id)
                answer = await call.services.desk.ask(Ref(Kind.PAYMENT, payment_id, call.cafe_id), command, call.by)
                outcome = str(answer.code if isinstance(answer, Refusal) else answer.status)
                matched[line.number] = Matched(line.number, line.id, payment_id, line.amount, outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(min(PAYMENTS_AT_ONCE, len(found))):
            nursery.start_soon(work, waiting)
    return dict(sorted(matched.items()))


OPERATIONS = (
    Operation(
        name="statements.import",
        method="POST",
        path="/api/{cafe}/statements",
        summary="Match a bank's statement with the transfers that are awaited",
        access=Access(access.MANAGEMENT),
        body=StatementBody,
        reply=Imported,
        key=Key.REQUIRED,
        stored=Imported,
        screens="csv",
        handler=import_,
    ),
)
