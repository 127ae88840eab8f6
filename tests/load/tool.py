"""What the load tools share: how they talk, how they end, and the server with a provider beside it."""

import signal
import sys
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def say(text: str) -> None:
    """On stderr: stdout is for the result."""
    print(text, file=sys.stderr, flush=True)


def until_interrupted(run: Callable[[], T]) -> T:
    """Run; SIGTERM is taken as Ctrl-C, which trio knows to take at a moment that suits it, so that all that was started
    is ended. Exits with 130 then."""
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        return run()
    except* KeyboardInterrupt:
        sys.exit(130)
