"""What stands at the socket doors, wired: who is let in, how much is let through, who is there, what looks odd."""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime

import trio
from uuid_utils.compat import uuid7

from tabletap.actors.ports import Reader
from tabletap.actors.runtime import Outage
from tabletap.domain.base import CafeId
from tabletap.domain.errors import Code
from tabletap.http.auth import Authenticator
from tabletap.http.directory import CafeDirectory
from tabletap.http.dispatch import Dispatcher
from tabletap.http.keyring import Keyring
from tabletap.http.problems import STATUS
from tabletap.http.sockets.admission import Admissions
from tabletap.http.sockets.commands import Commands
from tabletap.http.sockets.doors import Doors
from tabletap.http.sockets.gate import Gate
from tabletap.http.sockets.watch import Watch
from tabletap.http.tills import Tills
from tabletap.realtime.feed import TillFeed
from tabletap.realtime.hub import Hub
from tabletap.realtime.presence import MemoryRoster, Presence
from tabletap.realtime.sending import Sending
from tabletap.realtime.turns import Turns
from tabletap.settings import Settings
from tabletap.store.pool import Database
from tabletap.store.till_book import TillTable
from tabletap.store.till_keys import KeyTable

LAST_WORDS_S = 1.0


class Entrance:
    """One node's. ``open`` comes before the first client."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        hub: Hub,
        reader: Reader,
        auth: Authenticator,
        directory: CafeDirectory,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._hub = hub
        self._reader = reader
        self._auth = auth
        self._directory = directory
        sending, gate = Sending(hub, uuid7, now), Gate(settings.handshakes, settings.messages)
        self.presence = Presence(sending, MemoryRoster(), settings.presence, uuid7())
        self._watch = Watch(sending, settings.watch)
        self.turns = Turns(settings.storms.handshakes)
        self.tills = Tills(TillTable(database), settings.tills, now, head=hub.head)
        self.till_feed = TillFeed(hub, reader, sending)
        self.keyring = Keyring(KeyTable(database), settings.keys, now, uuid7, cafe_named=self._cafe_named)
        self.keyring.suspicious = self._suspicious
        hub.pushed = self.tills.pushed
        self.doors = Doors(
            hub=hub,
            reader=reader,
            auth=auth,
            admissions=Admissions(
                hub=hub,
                reader=reader,
                auth=auth,
                keyring=self.keyring,
                tills=self.tills,
                directory=directory,
                gate=gate,
                watch=self._watch,
                origins=frozenset(settings.rest.allowed_origins),
            ),
            gate=gate,
            watch=self._watch,
            presence=self.presence,
            keyring=self.keyring,
            tills=self.tills,
            limits=settings.sessions_at,
            now=now,
        )

        self.keyring.changed = self.doors.shut_out

    def open(self, dispatcher: Dispatcher) -> None:
        """What clients say goes to the operations from now on."""
        Commands(
            dispatcher=dispatcher,
            hub=self._hub,
            reader=self._reader,
            auth=self._auth,
            doors=self.doors,
            tills=self.tills,
            message_depth=self._settings.sockets.message_depth,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; reports when the keys of tills are known."""
        await self.keyring.refresh()
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.doors.run)
            nursery.start_soon(self.presence.run)
            nursery.start_soon(self.keyring.run)
            nursery.start_soon(self.tills.run)

    async def close(self) -> None:
        """The last of what tills have acknowledged is written down, if that is possible soon."""
        with trio.move_on_after(LAST_WORDS_S), contextlib.suppress(Outage):
            await self.tills.flush()

    def _cafe_named(self, slug: str) -> CafeId | None:
        found = self._directory.by_slug(slug)
        return None if found is None else found.id

    def _suspicious(self, address: str, cafe_id: CafeId | None) -> None:
        self._watch.wrong_key(address, cafe_id)
        if cafe_id is not None:
            self.tills.refused(cafe_id, "key", f"a wrong key from {address}", STATUS[Code.INVALID_TOKEN])

    def figures(self) -> Mapping[str, float]:
        """For the metrics."""
        at_doors = {f"sockets_at_{door}": count for door, count in self.doors.counts().items()}
        return {
            "sockets": self.doors.sessions,
            **at_doors,
            **self._watch.figures(),
            **self.turns.figures("handshakes"),
            **self._hub.shelves.figures(),
            **self.tills.figures(),
            "till_keys": len(self.keyring),
        }
