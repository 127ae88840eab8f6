"""Who is connected (spec R5): told in batches as people come and go, and listed as it stands.

Nothing of it is in the log. A node writes its connections into a roster under a lease that it renews for as long as it
lives: what a dead node had is gone from the list when its lease runs out, without anybody cleaning up.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec
import trio

from tabletap.domain.base import CafeId, OrderId

from .payloads import Data, PresenceNews, Present
from .seats import Listener
from .sending import Sending, Somebody, Whom


class PresenceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``tick_s``: how long comings and goings gather before they are told. ``renew_s``: well below ``lease_s``."""

    tick_s: float
    lease_s: float
    renew_s: float
    changes_per_event: int


class Connection(Somebody, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """An open socket: who holds it, where, and since when. ``order_id``: by the tracking token of that order."""

    session: str
    cafe_id: CafeId
    door: str
    order_id: OrderId | None = None
    device: str | None = None
    token_id: str | None = None
    address: str
    since: datetime

    @property
    def present(self) -> Present:
        """As those who work there hear of it."""
        return Present(
            session=self.session,
            door=self.door,
            role=self.role,
            user=self.user,
            order_id=self.order_id,
            device=self.device,
            since=self.since,
        )


class Roster(Protocol):
    """Who is connected at every node. A node's entries count for as long as its lease holds."""

    async def note(self, node: UUID, came: Sequence[Connection], went: Sequence[Connection]) -> None:
        """They have come to the node, or gone from it."""
        ...

    async def renew(self, node: UUID, lease_s: float) -> None:
        """The node is alive, and will be taken for that so long."""
        ...

    async def connections(self, cafe_id: CafeId | None) -> Sequence[Connection]:
        """Everybody at a cafe (None: at all of them), the longest connected first."""
        ...


class MemoryRoster:
    """For the nodes of one process."""

    def __init__(self) -> None:
        self._nodes: dict[UUID, dict[str, Connection]] = {}
        self._lapses: dict[UUID, float] = {}

    async def note(self, node: UUID, came: Sequence[Connection], went: Sequence[Connection]) -> None:
        entries = self._nodes.setdefault(node, {})
        entries.update((one.session, one) for one in came)
        for one in went:
            entries.pop(one.session, None)

    async def renew(self, node: UUID, lease_s: float) -> None:
        now = trio.current_time()
        self._lapses[node] = now + lease_s
        for gone in [node for node, lapse in self._lapses.items() if lapse <= now]:
            del self._lapses[gone]
            self._nodes.pop(gone, None)

    async def connections(self, cafe_id: CafeId | None) -> Sequence[Connection]:
        now = trio.current_time()
        alive = [entries for node, entries in self._nodes.items() if self._lapses.get(node, 0.0) > now]
        found = [one for entries in alive for one in entries.values() if cafe_id in (None, one.cafe_id)]
        return sorted(found, key=lambda one: one.since)


class Presence:
    """This node's connections. ``enter`` and ``leave`` never wait; ``run`` tells of them and keeps the lease."""

    def __init__(self, sending: Sending, roster: Roster, settings: PresenceSettings, node: UUID) -> None:
        self._sending = sending
        self._roster = roster
        self._settings = settings
        self._node = node
        self._here: dict[CafeId, dict[Listener, Connection]] = {}
        self._came: dict[str, Connection] = {}
        self._renewed: dict[str, Connection] = {}
        self._went: dict[str, Connection] = {}

    def enter(self, session: Listener, connection: Connection) -> None:
        """A session has been welcomed."""
        self._here.setdefault(connection.cafe_id, {})[session] = connection
        self._came[connection.session] = connection

    def renew(self, session: Listener, cafe_id: CafeId, token_id: str | None) -> None:
        """It goes on under another token. That is written down and told to nobody."""
        before = self._here.get(cafe_id, {}).get(session)
        if before is not None:
            renewed = msgspec.structs.replace(before, token_id=token_id)
            self._here[cafe_id][session] = renewed
            (self._came if renewed.session in self._came else self._renewed)[renewed.session] = renewed

    def leave(self, session: Listener, cafe_id: CafeId) -> None:
        """It has ended. Who was not told of yet has never been there."""
        sessions = self._here.get(cafe_id, {})
        connection = sessions.pop(session, None)
        if not sessions:
            self._here.pop(cafe_id, None)
        if connection is None:
            return
        self._renewed.pop(connection.session, None)
        if self._came.pop(connection.session, None) is None:
            self._went[connection.session] = connection

    async def connections(self, cafe_id: CafeId | None) -> Sequence[Connection]:
        """Everybody at a cafe (None: at all of them), at every node."""
        await self.tell()
        return await self._roster.connections(cafe_id)

    async def run(self) -> None:
        """Until cancelled."""
        renew_at = trio.current_time()
        while True:
            if trio.current_time() >= renew_at:
                await self._roster.renew(self._node, self._settings.lease_s)
                renew_at = trio.current_time() + self._settings.renew_s
            await self.tell()
            await trio.sleep(self._settings.tick_s)

    async def tell(self) -> None:
        """Write down who has come and gone since the last time, and say it in the rooms of their cafes."""
        came, renewed, went = (tuple(some.values()) for some in (self._came, self._renewed, self._went))
        if not came and not renewed and not went:
            return
        self._came, self._renewed, self._went = {}, {}, {}
        await self._roster.note(self._node, came + renewed, went)
        for cafe_id in dict.fromkeys(one.cafe_id for one in (*came, *went)):
            for news in self._news(cafe_id, came, went):
                self._sending.to_room(cafe_id, f"cafe:{cafe_id}:presence", "presence_updated", news)

    def say(self, cafe_id: CafeId, room: str, type_: str, data: Data, whom: Whom) -> int:
        """Tell something to the people of a cafe at this node; how many sockets took it."""
        return self._sending.to_people(cafe_id, self._here.get(cafe_id, {}), room, type_, data, whom)

    def _news(self, cafe_id: CafeId, came: Sequence[Connection], went: Sequence[Connection]) -> Iterator[PresenceNews]:
        joined = [one.present for one in came if one.cafe_id == cafe_id]
        left = [one.present for one in went if one.cafe_id == cafe_id]
        most, connected = self._settings.changes_per_event, len(self._here.get(cafe_id, ()))
        while joined or left:
            first = joined[:most]
            then = left[: most - len(first)]
            yield PresenceNews(joined=tuple(first), left=tuple(then), connected=connected)
            del joined[: len(first)], left[: len(then)]
