"""What the server has acknowledged: the side that remembers when the other one is killed."""

from collections import Counter

import msgspec


class Order(msgspec.Struct):
    """An acknowledged order. ``end``: the last status that was acknowledged; ``paid``: acknowledged payments' cents."""

    cafe_id: str
    number: int
    total: int
    end: str = "pending"
    paid: int = 0
    refunded: int = 0


class Record:
    """All acknowledgements of a run."""

    def __init__(self) -> None:
        self.acked = 0
        self.orders: dict[str, Order] = {}
        self.initiated: dict[str, str] = {}
        self.completed: dict[str, int] = {}
        self.refunds: Counter[str] = Counter()
        self.lines_bumped: set[tuple[str, int]] = set()
        self.at_provider = 0
        self.declined = 0
        self.replays = 0
        self.lost = 0
        self.duplicated = 0
        self.surprises: Counter[str] = Counter()

    def surprise(self, what: str) -> None:
        """Something that no client should ever be told, or see."""
        self.surprises[what] += 1
