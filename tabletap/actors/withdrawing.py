"""Withdrawing: when something has sold out, whoever is about to pay for it is stopped before their money moves.

The cafe says so in a job of the commit that takes the item off; every order without the kitchen's promise is told.
An order that has been told changes nothing, so the job may be done as often as it takes.
"""

from typing import Any

from tabletap.domain.base import SYSTEM, Kind, Ref
from tabletap.domain.errors import Refusal
from tabletap.domain.order import Withdraw
from tabletap.domain.tasks import WithdrawPayments

from .desk import Desk, come_back_if_not_now
from .ports import Reader, Sent


class NotWithdrawn(Exception):  # noqa: N818  read as a sentence at the raise
    """An order could not be told: the job is done again."""


class Withdrawing:
    """``withdraw`` is the worker of ``WithdrawPayments``."""

    def __init__(self, reader: Reader, desk: Desk) -> None:
        self._reader = reader
        self._desk = desk

    async def withdraw(self, task: WithdrawPayments, sent: Sent) -> None:  # noqa: ARG002  the task says it all
        """Tell every order that contains what has sold out."""
        cafe_id = task.cafe.cafe_id
        for order_id in await self._reader.unreleased(cafe_id, task.sku):
            order = Ref(Kind.ORDER, order_id, cafe_id)
            answer: Any = await self._desk.tell(order, Withdraw(task.sku, task.at), SYSTEM)
            come_back_if_not_now(order, answer)
            if isinstance(answer, Refusal):
                raise NotWithdrawn(f"{answer.code}: {answer.message}")
