"""What is said on a connection, and what of it outlives the connection: rooms, commands, the last ack, the token."""

from collections.abc import Callable, Mapping
from typing import Any

import trio

from .commands import Commands
from .line import TOO_BIG
from .queue import Queue
from .rooms import Rooms
from .socket import Socket
from .tokens import Tokens
from .wire import Heard, Message, encode

AUTH_S = 15.0


class Talk:
    """Implements ``line.Talk``. ``give``: where messages go at once; None: into the queue. ``on_welcome``: it is up."""

    def __init__(
        self,
        door: str,
        rooms: Rooms,
        commands: Commands,
        queue: Queue,
        tokens: Tokens,
        give: Callable[[Message], None] | None,
        on_welcome: Callable[[], None],
    ) -> None:
        self._door = door
        self._rooms = rooms
        self._commands = commands
        self._queue = queue
        self._tokens = tokens
        self._give = give or queue.put
        self._queued = give is None
        self._on_welcome = on_welcome
        self._socket: Socket | None = None
        self._acked = -1

    def target(self) -> str:
        """Where to knock: the door, and the offset to go on from."""
        after = self._rooms.resume_after
        return self._door if after is None else f"{self._door}&after={after}"

    def welcome(self, heard: Heard, socket: Socket, nursery: trio.Nursery) -> None:
        """Go on with everything that was under way."""
        self._socket = socket
        self._rooms.connected(heard, self._say)
        self._commands.connected(socket.post)
        if self._acked >= 0:
            self._say({"op": "ack", "offset": self._acked})
        nursery.start_soon(self._tokens.keep_fresh, self.renew)
        self._on_welcome()

    def lost(self, code: int) -> None:
        """Nothing that was asked on this connection will be answered."""
        self._socket = None
        self._rooms.disconnected()
        self._commands.disconnected(too_big=code == TOO_BIG)

    def take(self, heard: Heard) -> None:
        """Whatever the server says. Types that are not known and are no events are for newer clients."""
        match heard.type:
            case "reply":
                self._commands.heard(heard)
            case "error":
                left = None if self._commands.heard(heard) else self._rooms.refused(heard)
                if left is not None:
                    self._give(left)
            case "heartbeat":
                self._rooms.heartbeat(heard.offset)
            case "subscribed":
                self._rooms.subscribed(heard)
            case _ if heard.type == "resync" or heard.is_event:
                # The space is looked for before the event counts as told: what is not taken is told again.
                message = self._rooms.take(heard) if not self._queued or self._queue.has_space else None
                if message is not None:
                    self._give(message)

    def ack(self, offset: int) -> None:
        """Say it now, and on every new connection; only ever more."""
        if offset > self._acked:
            self._acked = offset
            self._say({"op": "ack", "offset": offset})

    async def renew(self, token: str) -> None:
        """Go on with another token. Raises Refusal or Unanswered."""
        await self._commands.perform({"op": "auth", "token": token}, repeatable=True, timeout_s=AUTH_S)
        self._tokens.take(token)

    def _say(self, message: Mapping[str, Any]) -> None:
        if self._socket is not None:
            self._socket.post(encode(message))
