"""Kitchen screens across crashes: what a client that resumes by offset heard, against the log told anew."""

from collections import Counter

import trio

from tabletap.client import Event, Server
from tabletap.simulate.line import Line

REPLAY_SECONDS = 30.0

Told = tuple[int, str, str, bytes]
"""One event as it was told: offset, event id, type, data."""


class Watch:
    """One cafe's screen, and its comparison with fresh replays."""

    def __init__(self, server: Server, slug: str, token: str) -> None:
        self._server = server
        self._slug = slug
        self._token = token
        self.heard: list[Told] = []
        self.missed = 0
        self.repeated = 0
        self.differed = 0
        self._compared = 0  # events of `heard`
        self.line = self._line(self.heard, 0)

    def _line(self, into: list[Told], after: int) -> Line:
        def on_event(heard: Event, at: float) -> None:
            del at
            into.append((heard.offset, heard.event_id, heard.type, bytes(heard.data)))

        return Line(self._server, door="kitchen", slug=self._slug, token=self._token, on_event=on_event, after=after)

    async def compare(self) -> None:
        """Hear what was heard since the last comparison once more, from the log, and count the differences."""
        heard = self.heard[self._compared :]
        if not heard:
            return
        after = self.heard[self._compared - 1][0] if self._compared else 0
        self._compared += len(heard)
        until = heard[-1][0]
        replayed: list[Told] = []
        line = self._line(replayed, after)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            with trio.move_on_after(REPLAY_SECONDS):
                while not replayed or replayed[-1][0] < until:  # noqa: ASYNC110 - the line tells nobody
                    await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
        self._count(heard, [told for told in replayed if told[0] <= until])

    def _count(self, heard: list[Told], replayed: list[Told]) -> None:
        had = Counter((offset, ident) for offset, ident, _, _ in heard)
        should = Counter((offset, ident) for offset, ident, _, _ in replayed)
        self.missed += (should - had).total()
        self.repeated += (had - should).total()
        if had == should:
            self.differed += sum(one != other for one, other in zip(heard, replayed, strict=True))
