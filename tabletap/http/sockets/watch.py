"""What looks odd at the doors (spec R5): counted always, logged and told to the admin door once per window."""

from collections import Counter
from collections.abc import Mapping

import msgspec
import structlog
import trio

from tabletap.domain.base import CafeId
from tabletap.realtime.payloads import Alert, AlertKind
from tabletap.realtime.sending import Sending

log = structlog.get_logger(__name__)


class WatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often within ``window_s`` is odd. ``keys``: how many addresses, cafes and tokens are kept in mind."""

    window_s: float
    failed_handshakes: int
    wrong_keys: int
    floods: int
    places: int
    keys: int


class _Sightings:
    """What was seen of one thing in the current window."""

    __slots__ = ("addresses", "count", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 0
        self.addresses: set[str] = set()


class Watch:
    """Each method says that something was seen. None waits or raises."""

    def __init__(self, sending: Sending, settings: WatchSettings) -> None:
        self._sending = sending
        self._settings = settings
        self._seen: dict[tuple[AlertKind, str], _Sightings] = {}
        self._counted: Counter[str] = Counter()

    def figures(self) -> Mapping[str, float]:
        """For the metrics."""
        names = ("handshakes", "handshakes_refused", "floods", "wrong_keys", *(f"alerts_{kind}" for kind in AlertKind))
        return {f"doors_{name}": self._counted[name] for name in names}

    def knocked(self) -> None:
        """Somebody is at a door."""
        self._counted["handshakes"] += 1

    def turned_away(self, address: str, cafe_id: CafeId | None) -> None:
        """A handshake was refused; ``cafe_id``: of the cafe that was named, where there is such a cafe."""
        self._counted["handshakes_refused"] += 1
        kind, most = AlertKind.FAILED_HANDSHAKES, self._settings.failed_handshakes
        if (count := self._count(kind, address)) == most:
            self._raise(cafe_id, kind, count, address=address)
        if cafe_id is not None and (count := self._count(kind, str(cafe_id))) == most:
            self._raise(cafe_id, kind, count)

    def wrong_key(self, address: str, cafe_id: CafeId | None) -> None:
        """A till's key was shown that is none."""
        self._counted["wrong_keys"] += 1
        kind, most = AlertKind.WRONG_KEYS, self._settings.wrong_keys
        if (count := self._count(kind, address)) == most:
            self._raise(cafe_id, kind, count, address=address)
        if cafe_id is not None and (count := self._count(kind, str(cafe_id))) == most:
            self._raise(cafe_id, kind, count)

    def flooded(self, cafe_id: CafeId, address: str, user: str | None) -> None:
        """A session was closed since it sent too much."""
        self._counted["floods"] += 1
        count = self._count(AlertKind.FLOOD, user or address)
        if count == self._settings.floods:
            self._raise(cafe_id, AlertKind.FLOOD, count, address=address, user=user)

    def entered(self, cafe_id: CafeId, address: str, user: str | None, token_id: str | None) -> None:
        """Somebody was let in. One token at many addresses has probably been passed on."""
        if token_id is None:
            return
        kind = AlertKind.TOKEN_IN_MANY_PLACES
        seen = self._sightings(kind, token_id)
        if address in seen.addresses or len(seen.addresses) >= self._settings.places:
            return
        seen.addresses.add(address)
        if len(seen.addresses) == self._settings.places:
            self._raise(cafe_id, kind, len(seen.addresses), user=user, token_id=token_id)

    def _count(self, kind: AlertKind, key: str) -> int:
        seen = self._sightings(kind, key)
        seen.count += 1
        return seen.count

    def _sightings(self, kind: AlertKind, key: str) -> _Sightings:
        now = trio.current_time()
        seen = self._seen.pop((kind, key), None)
        if seen is None or now - seen.since >= self._settings.window_s:
            seen = _Sightings(now)
        self._seen[kind, key] = seen
        if len(self._seen) > self._settings.keys:
            del self._seen[next(iter(self._seen))]  # what was not seen for longest
        return seen

    def _raise(self, cafe_id: CafeId | None, kind: AlertKind, count: int, **about: str | None) -> None:
        self._counted[f"alerts_{kind}"] += 1
        named = {name: text for name, text in about.items() if text is not None}
        log.warning("odd_pattern", kind=kind.value, count=count, cafe_id=cafe_id and str(cafe_id), **named)
        if cafe_id is not None:
            alert = Alert(kind=kind, count=count, window_s=self._settings.window_s, **about)
            self._sending.to_room(cafe_id, f"cafe:{cafe_id}:alerts", "alert_raised", alert)
