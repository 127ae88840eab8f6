"""The table of operations: all that a client can ask, one file per noun.

``OPERATIONS`` by name is what REST, socket commands and ``/openapi.json`` are made of; a door adds nothing to it.
"""

from types import MappingProxyType

from . import (
    audit,
    cafes,
    closings,
    connections,
    credits,  # noqa: A004  the builtin is for the interactive prompt
    drawers,
    endpoints,
    gift_cards,
    jobs,
    kitchen,
    ledger,
    loyalty,
    orders,
    payments,
    pos,
    pos_batch,
    pos_keys,
    pos_log,
    reports,
    statements,
    tips,
    tokens,
    webhooks,
)
from .base import Operation

OPERATIONS: MappingProxyType[str, Operation] = MappingProxyType(
    {
        operation.name: operation
        for noun in (
            cafes,
            orders,
            kitchen,
            payments,
            credits,
            gift_cards,
            loyalty,
            tips,
            drawers,
            statements,
            webhooks,
            endpoints,
            ledger,
            audit,
            jobs,
            tokens,
            connections,
            pos,
            pos_batch,
            pos_keys,
            pos_log,
            reports,
            closings,
        )
        for operation in noun.OPERATIONS
    }
)
