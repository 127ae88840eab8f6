"""CPU time of processes that a load runs against."""

from typing import Self

import msgspec
import psutil


class Spent(msgspec.Struct, frozen=True):
    """CPU seconds so far: of the server, of its Postgres (every process of it) and of another one beside them."""

    server: float
    postgres: float
    beside: float = 0.0

    @classmethod
    def by(cls, server: int, postmaster: int, beside: int | None = None) -> Self:
        """What these processes (by their ids) have spent."""
        parent = psutil.Process(postmaster)
        spent = parent.cpu_times()
        postgres = spent.user + spent.system + spent.children_user + spent.children_system
        postgres += sum(_cpu(child) for child in parent.children())
        return cls(_cpu(psutil.Process(server)), postgres, 0.0 if beside is None else _cpu(psutil.Process(beside)))


def _cpu(process: psutil.Process) -> float:
    """A backend that has just ended is in its postmaster's count."""
    try:
        spent = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(spent.user + spent.system)
