"""A gateway with its provider behind it, as the contract suite needs them: what a customer does, what the provider's
own books say, and how to make its line bad. ``tests/gateways/test_contract.py`` says how to add one.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import trio
from uuid_utils.compat import uuid7

from tabletap.actors.ports import Gateway
from tabletap.domain.base import CafeId, OrderId, PaymentId
from tabletap.domain.charge import Charge, RefundOrder, RefundStanding, Standing, reference
from tabletap.domain.vocabulary import ChargeState, Method, RefundState
from tests.domain.world import NOON

PATIENCE_S = 10
POLL_S = 0.02


class Lacks(StrEnum):
    """What a gateway or its provider does not have, in the words of the skipped rules that ask for it."""

    CUSTOMER = "nobody approves anything: the money moves at once, or staff move it"
    PROVIDER = "there is no provider to ask: staff say when the money is here"
    STAFF = "its provider says when the money is here, not staff"
    FINAL_DECLINE = "a declined card is no end: the customer tries another on the same page"
    WEBHOOKS = "it has no webhooks"
    NETWORK = "its provider is in the same process: nothing can be lost between them"
    GUARD = "the stand-in gives back more than was paid when asked at once; the real provider refuses"
    SEQUENCE = "its provider does not number its events"


def new_charge(method: Method, amount: int = 1_250) -> Charge:
    """A charge of ``amount`` cents with an id of its own."""
    payment_id = PaymentId(uuid7())
    return Charge(
        payment_id=payment_id,
        order_id=OrderId(uuid7()),
        cafe_id=CafeId(UUID(int=1)),
        order_number=7,
        method=method,
        amount=amount,
        currency="AUD",
        reference=reference(payment_id),
        expires_at=NOON.replace(year=2099) + timedelta(minutes=30),
    )


def new_refund(amount: int) -> RefundOrder:
    """A refund of ``amount`` cents with an id of its own."""
    return RefundOrder(refund_id=uuid7(), amount=amount, reason="cold coffee")


class Till:
    """One gateway, and what its provider's side can do. Only what is not in ``lacks`` is ever asked for."""

    method: Method
    lacks: frozenset[Lacks] = frozenset({Lacks.STAFF})
    gateway: Gateway

    def charge(self, amount: int = 1_250) -> Charge:
        """A new charge; nobody has heard of it."""
        return new_charge(self.method, amount)

    def refund(self, amount: int) -> RefundOrder:
        """A new refund; nobody has heard of it."""
        return new_refund(amount)

    async def approve(self, charge: Charge) -> None:
        """The customer pays. Raises or does nothing where that is no longer possible."""
        raise NotImplementedError

    async def decline(self, charge: Charge) -> None:
        """The customer's bank says no."""
        raise NotImplementedError

    async def taken(self, charge: Charge) -> Sequence[int]:
        """Each time money was taken for the charge, by the provider's own books (cents)."""
        raise NotImplementedError

    async def given_back(self, charge: Charge) -> Sequence[int]:
        """Each refund of the charge that is done or on its way, by the provider's own books (cents)."""
        raise NotImplementedError

    def silence(self) -> AbstractAsyncContextManager[Any]:
        """In this block the provider does what it is asked for, and nobody ever hears of it."""
        raise NotImplementedError

    def unreachable(self) -> AbstractAsyncContextManager[Gateway]:
        """The same gateway, but where its provider should be, nobody listens."""
        raise NotImplementedError

    async def webhooks(self, count: int) -> Sequence[tuple[dict[str, str], bytes]]:
        """The first ``count`` webhooks that the provider has really sent: headers (names in lower case) and bodies."""
        raise NotImplementedError

    def signed(self, body: bytes) -> dict[str, str]:
        """The headers with which the provider would send ``body``."""
        raise NotImplementedError


class Opener(ABC):
    """How to come to a till. ``running`` is entered once for all tests, ``till`` for each of them.

    ``lacks``: what its tills lack.
    """

    lacks: frozenset[Lacks]

    @abstractmethod
    def running(self) -> AbstractContextManager[Any]:
        """Start what tests share (a provider's process)."""

    @abstractmethod
    def till(self, running: Any) -> AbstractAsyncContextManager[Till]:
        """A till of a test's own, with what ``running`` gave."""


@dataclass(frozen=True)
class Alone(Opener):
    """A till that shares nothing with other tests."""

    make: Callable[[], Till]

    @property
    def lacks(self) -> frozenset[Lacks]:
        return self.make().lacks

    @asynccontextmanager
    async def till(self, running: Any) -> AsyncIterator[Till]:
        yield self.make()

    def running(self) -> AbstractContextManager[Any]:
        return nullcontext()


async def paid(till: Till, amount: int = 1_250) -> Charge:
    """A charge whose money is here."""
    charge = till.charge(amount)
    standing = await till.gateway.initiate(charge)
    charge = known(charge, standing)
    if standing.state is not ChargeState.SUCCEEDED:
        await till.approve(charge)
        await until(till, charge, ChargeState.SUCCEEDED)
    return charge


def known(charge: Charge, standing: Standing) -> Charge:
    """The charge with the id that its provider gave it."""
    return msgspec.structs.replace(charge, external_id=standing.external_id)


async def until(till: Till, charge: Charge, state: ChargeState) -> Standing:
    """Ask until the charge stands so."""
    with trio.fail_after(PATIENCE_S):  # asked in a loop: a provider in another process sets no event of ours
        while (standing := await till.gateway.verify(charge)).state is not state:  # noqa: ASYNC110  as said
            await trio.sleep(POLL_S)
    return standing


async def until_refunded(till: Till, charge: Charge, refund: RefundOrder) -> RefundStanding:
    """Ask until the refund is done."""
    with trio.fail_after(PATIENCE_S):
        while (standing := await till.gateway.verify_refund(charge, refund)).state is not RefundState.SUCCEEDED:
            assert standing.state is RefundState.PENDING, standing
            await trio.sleep(POLL_S)
    return standing
