"""The front desk: how doors, timers and messages reach entities, and what they are told when something is in the way.

Everything comes back as a value: the answer, or a ``Refusal``. The three ways in which an ask can fail to be answered
are never mixed: *not executed* (ask again), *unknown* (look first), *failed* (a bug; it was loud elsewhere).
"""

from typing import Any, Protocol
from uuid import UUID

from tabletap.domain.base import By, Command, Message, Ref
from tabletap.domain.errors import Code, Refusal

from .entity import Done, Envelope, Query
from .ports import Idempotency, Sent
from .runtime import (
    ActorFailed,
    Address,
    MailboxFull,
    NotExecuted,
    NotRunning,
    Outage,
    OutcomeUnknown,
    Quarantined,
    RefusedForNow,
    Stopping,
    System,
)

NOT_NOW = frozenset({Code.OVERLOADED, Code.UNAVAILABLE})
"""Refusals that say nothing about the message: no failure of its own."""


TOLD_AGAIN = NOT_NOW | {Code.NOT_EXECUTED, Code.OUTCOME_UNKNOWN}
"""The same, where telling it twice does no harm."""


class Courier(Protocol):
    """Who carries outbox rows."""

    async def delivered(self, ids: tuple[UUID, ...], timeout_s: float) -> bool:
        """Wait until these rows have been handled, or for so long."""
        ...


class DeliveryRefused(Exception):  # noqa: N818  the receiver said no
    """An entity refused a message of another one: tried again, and set aside if it keeps refusing."""


def address(ref: Ref) -> Address:
    """Where the runtime finds the entity."""
    return Address(ref.kind.value, ref)


def come_back_if_not_now(ref: Ref, answer: Any) -> None:
    """For who does a job: raises RefusedForNow, which costs it no attempt, where the entity could not be told now (too
    much waits there, or the actors are not up yet, or no more)."""
    if isinstance(answer, Refusal) and answer.code in TOLD_AGAIN:
        raise RefusedForNow(address(ref), answer.message, answer.retry_after_s or 1)


class Desk:
    """``ask_timeout_s`` bounds every ask; ``follow_s`` how long an answer waits for what follows from it elsewhere."""

    def __init__(self, system: System, courier: Courier, *, ask_timeout_s: float, follow_s: float) -> None:
        self._system = system
        self._courier = courier
        self._ask_timeout_s = ask_timeout_s
        self._follow_s = follow_s

    async def ask(self, ref: Ref, command: Command, by: By, idempotency: Idempotency | None = None) -> Any | Refusal:
        """Have ``command`` carried out.

        The answer comes when it is durable, and when what it says to other entities has reached them and the jobs it
        gives have been tried (or a moment later): whoever is told that a payment is complete finds its order paid.
        """
        return await self._followed(await self._ask(ref, Envelope(command, by, idempotency)), jobs=True)

    async def tell(self, ref: Ref, command: Command, by: By) -> Any | Refusal:
        """The same for who does a job themselves: those that follow from it may have to wait for theirs to end."""
        return await self._followed(await self._ask(ref, Envelope(command, by)), jobs=False)

    async def _followed(self, answer: Any, *, jobs: bool) -> Any | Refusal:
        if not isinstance(answer, Done):
            return answer
        following = (*answer.sent, *answer.jobs) if jobs else answer.sent
        if following:
            await self._courier.delivered(following, self._follow_s)
        return answer.value

    async def query(self, ref: Ref, query: Query) -> Any | Refusal:
        """Ask a question."""
        return await self._ask(ref, query)

    def nudge(self, ref: Ref, query: Query) -> None:
        """Bring an entity to life, without waiting; never mind if that is not possible now."""
        try:
            self._system.tell(address(ref), query)
        except (MailboxFull, Quarantined, NotRunning, Stopping):
            return

    async def _ask(self, ref: Ref, message: Any) -> Any | Refusal:
        try:
            return await self._system.ask(address(ref), message, timeout=self._ask_timeout_s)
        except (MailboxFull, Quarantined, NotRunning) as busy:
            wait = max(1, round(busy.retry_after_seconds))
            code = Code.OVERLOADED if isinstance(busy, MailboxFull) else Code.UNAVAILABLE
            words = "the server is starting" if isinstance(busy, NotRunning) else "too much is waiting here: ask again"
            return Refusal(code, words, retry_after_s=wait)
        except Stopping:
            return Refusal(Code.UNAVAILABLE, "the server is going down", retry_after_s=1)
        except NotExecuted:
            return Refusal(Code.NOT_EXECUTED, "it was not carried out in time: ask again", retry_after_s=1)
        except OutcomeUnknown:
            return Refusal(Code.OUTCOME_UNKNOWN, "it may or may not have been carried out: look before asking again")
        except Outage:
            return Refusal(Code.UNAVAILABLE, "the database cannot be reached", retry_after_s=1)
        except ActorFailed:
            return Refusal(Code.INTERNAL_ERROR, "something went wrong here")

    async def deliver(self, sent: Sent) -> None:
        """Hand an outbox row to its entity, whose commit consumes it. Raises what the courier counts as a failure."""
        assert isinstance(sent.message, Message)
        envelope = Envelope(sent.message.command, sent.by, consumes=sent.id)
        answer = await self._system.ask(address(sent.message.to), envelope, timeout=self._ask_timeout_s)
        if isinstance(answer, Refusal) and answer.code in NOT_NOW:
            raise RefusedForNow(address(sent.message.to), answer.message, answer.retry_after_s or 1)
        if isinstance(answer, Refusal):
            raise DeliveryRefused(f"{answer.code}: {answer.message}")
