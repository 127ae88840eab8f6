"""The sandbox as a process: its parts, started and stopped together."""

import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial

import trio
from quart import Blueprint

from . import api, control, pages
from .book import Book
from .clockwork import Clockwork
from .doors import Credentials, Sandbox, open_app
from .lines import Lines


class SandboxFailed(Exception):  # noqa: N818  what it has done
    """It did not come up."""


async def run(
    credentials: Credentials,
    *,
    host: str,
    port: int,
    state: str,
    until_stdin_closes: bool,
    ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, or until whoever holds the other end of the standard input is gone.

    ``port`` 0: the one it had last time, or else a free one; ``state``: its file, or ``:memory:``; ``ready``: called
    with its URL once it answers. Raises SandboxFailed.
    """
    try:
        book = Book(state)
    except sqlite3.Error as error:
        raise SandboxFailed(f"the sandbox cannot have its file: {error}") from error
    try:
        lines = Lines(host)
        _bind(lines, port, book.port)
        clockwork = Clockwork(book, credentials.webhook_secret, lambda: lines.is_down)
        url = f"http://{f'[{host}]' if ':' in host else host}:{lines.port}"
        book.settle_at(lines.port, url)
        sandbox = Sandbox(credentials=credentials, book=book, clockwork=clockwork, lines=lines)
        app = open_app()
        for room in (api, control, pages):
            door = Blueprint(room.__name__.rpartition(".")[2], __name__)
            room.routes(door, sandbox)
            app.register_blueprint(door)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                await nursery.start(partial(lines.serve, app, clockwork.wake))
                nursery.start_soon(clockwork.run)
                if until_stdin_closes:
                    nursery.start_soon(_await_end_of_stdin, nursery.cancel_scope)
                ready(url)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()
    finally:
        book.close()


def _bind(lines: Lines, port: int, last: int) -> None:
    try:
        lines.bind(port or last)
    except OSError as error:
        if port or not last:
            raise SandboxFailed(f"the sandbox cannot have its port: {error}") from error
        lines.bind(0)


async def _await_end_of_stdin(scope: trio.CancelScope) -> None:
    """The kernel closes it with the process that holds its other end, however that ends."""
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stdin:
        while await stdin.receive_some(1024):
            pass
        scope.cancel()
