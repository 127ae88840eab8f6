"""Who an actor is: a name that outlives every incarnation."""

from collections.abc import Hashable
from typing import NamedTuple


class Address(NamedTuple):
    """``Address("order", order_id)``. A tuple, so that hashing it for the registry costs no Python call."""

    kind: str
    key: Hashable

    def __str__(self) -> str:
        return f"{self.kind}:{self.key}"
