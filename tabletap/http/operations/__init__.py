"""The table of operations: all that a client can ask, one file per noun.

``OPERATIONS`` by name is what REST, socket commands and ``/openapi.json`` are made of; a door adds nothing to it.
"""

from types import MappingProxyType

from . import cafes, drawers, kitchen, orders, payments
from .base import Operation

OPERATIONS: MappingProxyType[str, Operation] = MappingProxyType(
    {operation.name: operation for noun in (cafes, orders, kitchen, payments, drawers) for operation in noun.OPERATIONS}
)
