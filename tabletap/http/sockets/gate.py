"""How much is let in: handshakes and messages, by address, person and cafe (spec F2).

Each connection has limits of its own besides (``[sessions]``, and its door's). What many share, an address or a cafe,
is never a reason to close somebody's socket: there a message is refused. Whoever floods alone is closed (4029).
"""

import math

import msgspec
import trio

from tabletap.domain.errors import Code, Refusal
from tabletap.http.limits import Allowance


class HandshakeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Per minute, and how many at once. ``failed``: an address that was turned away so often is not looked at for a
    while. ``keys``: how many of each sort are remembered."""

    address_per_min: int
    address_burst: int
    user_per_min: int
    user_burst: int
    cafe_per_min: int
    cafe_burst: int
    failed_per_min: int
    failed_burst: int
    keys: int


class MessageLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Per minute, and how many at once."""

    address_per_min: int
    address_burst: int
    user_per_min: int
    user_burst: int
    cafe_per_min: int
    cafe_burst: int
    keys: int


class Gate:
    """Allowances at the doors. ``trio``'s clock is theirs."""

    def __init__(self, handshakes: HandshakeLimits, messages: MessageLimits) -> None:
        self._knocks_of_address = Allowance(handshakes.address_per_min, handshakes.address_burst, handshakes.keys)
        self._knocks_of_user = Allowance(handshakes.user_per_min, handshakes.user_burst, handshakes.keys)
        self._knocks_at_cafe = Allowance(handshakes.cafe_per_min, handshakes.cafe_burst, handshakes.keys)
        self._failures = Allowance(handshakes.failed_per_min, handshakes.failed_burst, handshakes.keys)
        self._words_of_address = Allowance(messages.address_per_min, messages.address_burst, messages.keys)
        self._words_of_user = Allowance(messages.user_per_min, messages.user_burst, messages.keys)
        self._words_at_cafe = Allowance(messages.cafe_per_min, messages.cafe_burst, messages.keys)

    def knock(self, address: str) -> Refusal | None:
        """Somebody is at the door; nothing of what they bring has been looked at."""
        now = trio.current_time()
        wait = self._failures.wait(address, now) or self._knocks_of_address.take(address, now)
        return _too_many("handshakes from this address", wait)

    def identified(self, who: str, cafe: str) -> Refusal | None:
        """It is known who they are and where they want to go."""
        now = trio.current_time()
        wait = self._knocks_of_user.take(who, now) or self._knocks_at_cafe.take(cafe, now)
        return _too_many("connections", wait)

    def failed(self, address: str) -> None:
        """They were turned away."""
        self._failures.take(address, trio.current_time())

    def message(self, address: str, cafe: str) -> Refusal | None:
        """A message has come, from an address and at a cafe that others share."""
        now = trio.current_time()
        wait = self._words_of_address.take(address, now) or self._words_at_cafe.take(cafe, now)
        return _too_many("messages", wait)

    def floods(self, who: str) -> bool:
        """Whether a message is one too many of somebody who has them all to themselves, on however many sockets."""
        return self._words_of_user.take(who, trio.current_time()) > 0


def _too_many(what: str, wait_s: float) -> Refusal | None:
    if wait_s <= 0:
        return None
    return Refusal(Code.RATE_LIMIT_EXCEEDED, f"too many {what}", retry_after_s=max(1, math.ceil(wait_s)))
