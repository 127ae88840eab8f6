"""TableTap: the real-time server behind cafes.

The house has floors; an import may only point down (``import-linter`` holds us to it)::

    cli, simulate      commands: serve, demo, migrate, token, rebuild, simulate
    client             for users: a client of the doors, which imports nothing of what is below
    app, settings      the only place that wires things together; the only reader of settings
    http               the doors: one port, REST, sockets, the table of operations
    store   gateways   Postgres in, Postgres out; how each way of paying presents itself
    realtime           rooms, frames, sessions; which room hears which event; replay
    actors             one task per live cafe, order and payment; ``actors.runtime`` knows nothing of cafes
    domain             the rules: pure functions from state and command to events

Three backbones carry everything: one ordered log of events per cafe, one double-entry ledger derived from those
events, one table of operations from which every door is made.

Reading order: ``domain.order`` (a lifecycle as a table), ``actors.entity`` (the one receive loop), ``store.writer``
(group commit), ``realtime.audience`` (who hears what), ``http.operations`` (what can be asked), ``app``.
"""

__version__ = "0.1.0"
