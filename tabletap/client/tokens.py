"""Tokens that run out: where fresh ones come from, and when to ask."""

import base64
import binascii
import contextlib
from collections.abc import Awaitable, Callable

import msgspec
import trio

from .errors import Refusal, Unanswered

TokenSource = Callable[[], Awaitable[str]]
"""Gives a token that is good for a while: by asking whoever signs people in. May raise OSError: then asked again."""

REFRESH_BEFORE_S = 60.0
REFRESH_AT_MOST_EVERY_S = 1.0


class _Claims(msgspec.Struct):
    exp: float | None = None


class Tokens:
    """The token in use. ``source``: a token for ever, or what gives fresh ones; ``now``: seconds since the epoch."""

    def __init__(self, source: str | TokenSource, now: Callable[[], float]) -> None:
        self._source = None if isinstance(source, str) else source
        self._token = source if isinstance(source, str) else ""
        self._now = now

    async def current(self) -> str:
        """The token to knock with."""
        if not self._token and self._source is not None:
            self._token = await self._source()
        return self._token

    def drop(self) -> bool:
        """It is of no use any more. Whether there is another."""
        if self._source is not None:
            self._token = ""
        return self._source is not None

    def take(self, token: str) -> None:
        """The server has taken another."""
        self._token = token

    async def keep_fresh(self, renew: Callable[[str], Awaitable[None]]) -> None:
        """Hand in a new token before the one in use runs out. If that fails, the server closes with 4001 in the end."""
        while self._source is not None:
            wait_s = refresh_in(self._token, self._now())
            if wait_s is None:
                return
            await trio.sleep(max(wait_s, REFRESH_AT_MOST_EVERY_S))
            with contextlib.suppress(Refusal, Unanswered, OSError):
                await renew(await self._source())


def expires_at(token: str) -> float | None:
    """When a token runs out (seconds since the epoch), as far as it says so itself: nothing is verified here."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).exp
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        return None


def refresh_in(token: str, now: float) -> float | None:
    """Seconds until a fresh one should be asked for: a minute before the end, or at four fifths of a short life."""
    end = expires_at(token)
    if end is None:
        return None
    left = end - now
    return max(0.0, left - min(REFRESH_BEFORE_S, left / 5))
