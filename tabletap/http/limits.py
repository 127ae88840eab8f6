"""Rate limits (spec F2): how often an address, a user and a user at one operation may ask.

The generic cell rate algorithm, one number per key: the moment at which the key's allowance is whole again. Written
here because the well-kept libraries keep a thread or a timer per process or need a server; this is one dictionary.
"""

import msgspec


class RateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Requests per minute; ``burst`` is how many may come at once. ``keys``: how many callers are remembered.
    ``till_...``: of one till's key, instead of the others: several share an address, and all they do is ask."""

    address_per_min: int
    user_per_min: int
    operation_per_min: int
    burst: int
    keys: int
    till_per_min: int
    till_burst: int


class Allowance:
    """One limit for many keys."""

    def __init__(self, per_min: int, burst: int, keys: int) -> None:
        self._step_s = 60.0 / per_min
        self._slack_s = self._step_s * burst
        self._keys = keys
        self._whole_at: dict[str, float] = {}

    def wait(self, key: str, now: float) -> float:
        """How long until one could be taken (seconds); 0: now. Takes nothing."""
        return max(0.0, self._whole_at.get(key, now) + self._step_s - now - self._slack_s)

    def take(self, key: str, now: float) -> float:
        """Take one. 0: granted; else how long to wait (seconds). ``now``: any steady clock."""
        whole_at = max(self._whole_at.pop(key, now), now)
        granted = whole_at + self._step_s - now <= self._slack_s
        self._whole_at[key] = whole_at + self._step_s if granted else whole_at
        if len(self._whole_at) > self._keys:
            del self._whole_at[next(iter(self._whole_at))]
        return 0.0 if granted else whole_at + self._step_s - now - self._slack_s


class RateLimiter:
    """The limits together."""

    def __init__(self, limits: RateLimits) -> None:
        self._address = Allowance(limits.address_per_min, limits.burst, limits.keys)
        self._user = Allowance(limits.user_per_min, limits.burst, limits.keys)
        self._till = Allowance(limits.till_per_min, limits.till_burst, limits.keys)
        self._operation = Allowance(limits.operation_per_min, limits.burst, limits.keys)

    def wait(self, *, address: str, user: str | None, operation: str, now: float) -> float:
        """How long the caller must wait (seconds); 0: go ahead."""
        waits = [self._address.take(address, now), self._operation.take(f"{user or address} {operation}", now)]
        if user is not None:
            waits.append(self._user.take(user, now))
        return max(waits)

    def wait_of_till(self, user: str, now: float) -> float:
        """How long a till must wait (seconds); 0: go ahead."""
        return self._till.take(user, now)
