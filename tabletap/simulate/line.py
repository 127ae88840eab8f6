"""One person's line to a door: a client that waits for ever for its answers, and counts what no server should do."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import trio

from tabletap.client import Client, Event, Limits, Message, Pauses, Server

PAUSES = Pauses(first_s=0.05, longest_s=1.0)
"""Whoever measures how soon a server is back must not sleep through it."""

COMMANDS_WAITING = 100_000

OnEvent = Callable[[Event, float], None]
"""What is told of each event, with the moment (``trio.current_time``) at which it was received."""


class Line:
    """``run`` holds it; ``command`` may be called by any task, ``at_once`` of them at a time.

    It never asks twice for what it was told, so that whatever is told twice is the server's fault.
    """

    def __init__(
        self,
        server: Server,
        *,
        door: str,
        slug: str,
        token: str,
        on_event: OnEvent,
        after: int | None = None,
        at_once: int = 32,
    ) -> None:
        self._on_event = on_event
        self._client = Client(
            server,
            door=door,
            cafe=slug,
            token=token,
            after=after,
            on_message=self._take,
            check_every_s=None,
            pauses=PAUSES,
            limits=Limits(in_flight=at_once, waiting=COMMANDS_WAITING),
        )
        self.run = self._client.run

    def _take(self, message: Message) -> None:
        if isinstance(message, Event):
            self._on_event(message, trio.current_time())

    async def command(self, op: str, data: Mapping[str, Any], *, key: str | None = None) -> msgspec.Raw:
        """Have an operation carried out; its reply. Raises Refusal.

        It is sent until it is answered: commands that move money carry their key, and the others are moves to where
        something may stand already.
        """
        return await self._client.perform(op, data, key=key, repeatable=True, timeout_s=math.inf, into=msgspec.Raw)

    @property
    def welcomed(self) -> trio.Event:
        """Set when the door has let us in for the first time."""
        return self._client.welcomed

    @property
    def dropped(self) -> Counter[int]:
        """How often a connection ended with which code."""
        return self._client.dropped

    @property
    def repeated(self) -> int:
        """How often a command was sent again."""
        return self._client.commands_repeated

    @property
    def resynced(self) -> int:
        """How often a snapshot came in place of events."""
        return self._client.figures.resyncs

    @property
    def out_of_order(self) -> int:
        """How many events were told twice, or after newer ones."""
        return self._client.figures.repeated + self._client.figures.late
