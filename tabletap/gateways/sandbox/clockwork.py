"""What happens by itself: timers that fall due, and webhooks going out until they arrive.

One task looks into the book whenever something was written there or falls due. Not more than ``IN_FLIGHT`` deliveries
are attempted at once; while the sandbox is down none begins.
"""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import structlog
import trio

from .book import Book
from .letters import Letter
from .wire import SIGNATURE_HEADER

IN_FLIGHT = 32
ANSWER_WITHIN_S = 10.0
ANSWER_BYTES = 64 * 1024
REMEMBERED = 10_000
"""Deliveries of which is told how long they took."""

LOOKS_AT_LEAST_EVERY_S = 60.0
"""Against clocks that are set back."""

log = structlog.get_logger(__name__)


def now() -> datetime:
    """The time of day."""
    return datetime.now(UTC)


class Clockwork:
    """``is_down``: whether the provider is to seem gone."""

    def __init__(self, book: Book, webhook_secret: str, is_down: Callable[[], bool]) -> None:
        self._book = book
        self._secret = webhook_secret
        self._is_down = is_down
        self._woken = trio.Event()
        self._in_flight: set[int] = set()
        self.answered = 0
        """Deliveries that got an answer, since the start; ``took_ms`` has the latest of them."""
        self.took_ms: deque[float] = deque(maxlen=REMEMBERED)

    def wake(self) -> None:
        """Something was written, or the sandbox is up again: look now."""
        self._woken.set()

    async def run(self) -> None:
        """Go on for ever."""
        limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
        timeout = httpx.Timeout(ANSWER_WITHIN_S)
        async with (
            httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as client,
            trio.open_nursery() as sending,
        ):
            while True:
                self._woken = trio.Event()
                at = now()
                self._book.elapse(at)
                if not self._is_down():
                    free = IN_FLIGHT - len(self._in_flight)
                    for letter in self._book.postbox.ready(at, free, without=self._in_flight):
                        self._in_flight.add(letter.number)
                        sending.start_soon(self._send, client, letter)
                next_at = self._book.next_at(at)
                sleep_s = LOOKS_AT_LEAST_EVERY_S if next_at is None else (next_at - now()).total_seconds()
                with trio.move_on_after(max(0.0, min(sleep_s, LOOKS_AT_LEAST_EVERY_S))):
                    await self._woken.wait()

    async def _send(self, client: httpx.AsyncClient, letter: Letter) -> None:
        try:
            status = await self._deliver(client, letter)
            if status is None or status >= 300:
                log.info("webhook_not_taken", payment=letter.payment, sequence=letter.sequence, status=status)
            self._book.postbox.attempted(letter, status, now())
        finally:
            self._in_flight.discard(letter.number)
            self.wake()

    async def _deliver(self, client: httpx.AsyncClient, letter: Letter) -> int | None:
        """The status of the answer; None without one."""
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: letter.signature(self._secret)}
        began = trio.current_time()
        try:
            with trio.fail_after(ANSWER_WITHIN_S):
                async with client.stream("POST", letter.url, content=letter.body, headers=headers) as answer:
                    read = 0
                    async for piece in answer.aiter_raw():  # to its end: the connection serves the next letter
                        read += len(piece)
                        if read > ANSWER_BYTES:
                            break
                    self.answered += 1
                    self.took_ms.append(round((trio.current_time() - began) * 1000, 2))
                    return answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError):
            return None
