"""``python -m tests.load.echo --port N``: an echo behind our own listener, session and stream.

For WebSocket conformance suites, which want to hear their own messages back: the door is one that lets everybody in
and answers each message with itself; everything below it is what serves kitchens. Suites send messages of megabytes,
fragmented into bytes, and thousands at a time, so the limits are theirs and not a cafe's. It prints ``ready URL``.
"""

import argparse
import signal
from collections.abc import Callable

import trio
from quart_trio import QuartTrio
from trio_websocket import WebSocketRequest

from tabletap.http.listener import ListenerLimits, serve
from tabletap.http.sockets.stream import Connection
from tabletap.realtime.frames import text_frame
from tabletap.realtime.limits import GOING_AWAY, SessionLimits
from tabletap.realtime.session import Admission, Session, serve_session

MEBIBYTE = 1024 * 1024
LIMITS = SessionLimits(
    max_message_bytes=17 * MEBIBYTE,
    messages_per_second=1e6,
    message_burst=1_000_000,
    commands_in_flight=10_000,
    queued_bytes=64 * MEBIBYTE,
    queued_age_seconds=60,
    close_grace_seconds=1,
)


class Echo:
    """Implements ``realtime.session.Door``."""

    def __init__(self, limits: SessionLimits = LIMITS) -> None:
        self._limits = limits
        self._sessions: set[Session] = set()

    async def admit(self, request: WebSocketRequest, remote: str) -> Admission:
        return Admission(principal=None)

    async def opened(self, session: Session) -> None:
        self._sessions.add(session)

    async def message(self, session: Session, message: str | bytes) -> None:
        if isinstance(message, str):
            session.send(text_frame(message.encode()))
        else:  # no door of ours ever sends one: a text frame but for its opcode
            session.send(b"\x82" + text_frame(message)[1:])

    def busy(self, session: Session, message: str | bytes) -> None:
        session.close(GOING_AWAY, "more at once than this echo takes")

    def closed(self, session: Session) -> None:
        self._sessions.discard(session)

    async def serve(self, connection: Connection) -> None:
        async with trio.open_nursery() as writing:
            await serve_session(connection, self, self._limits, writing, remote=connection.client)

    def close_all(self) -> None:
        for session in tuple(self._sessions):
            session.close(GOING_AWAY)


async def run(port: int, stop: trio.Event, ready: Callable[[int], None], limits: SessionLimits = LIMITS) -> None:
    """Echo until ``stop``; tell ``ready`` the port that was taken."""
    echo = Echo(limits)
    async with trio.open_nursery() as nursery:
        ready(
            await nursery.start(
                lambda task_status: serve(
                    QuartTrio("echo"),
                    echo.serve,
                    host="127.0.0.1",
                    port=port,
                    limits=ListenerLimits(graceful_seconds=2),
                    stop=stop,
                    close_doors=echo.close_all,
                    task_status=task_status,
                )
            )
        )


async def _main(port: int) -> None:
    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                run, port, stop, lambda taken: print(f"ready ws://127.0.0.1:{taken}/ws/echo", flush=True)
            )
            await anext(aiter(signals))
            stop.set()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="tests.load.echo", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    trio.run(_main, parser.parse_args().port)
