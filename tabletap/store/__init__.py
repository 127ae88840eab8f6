"""Everything Postgres: the log, the ledger, the outbox, and what is derived from them. Implements ``actors.ports``.

Who owns what
    ``pool`` owns the connections and is the only one to know the driver; ``embedded`` owns the server that comes along,
    ``migrate`` the schema. ``Writer`` alone appends: each cafe's offsets are given out by its ``Shard``, ``Fence``
    knows the newest. ``Relay`` owns the delivery of messages and, by its ``Queues``, of jobs; ``projections`` what rows
    are made of. A ``Node`` shows the others that it lives, so that what a killed one had leased is taken over.

What must hold
    1. Offsets of a cafe are contiguous from 1, an entity's versions too. The primary key is the fence: of two nodes
       that write for one cafe the second loses, and loads again what it decides on.
    2. Events, postings, projections, messages, answers to keys: one statement, so all of a commit or none of it.
    3. Nobody is told "failed" of what may have been written. An outage is waited out, then looked up.
    4. Published after the commit, in offset order, by one task per cafe.
    5. A message is delivered until the commit of its receiver has consumed it, one at a time per receiver. A job is
       done until its worker has returned, one at a time per key, parents after their children; both are outbox rows.
    6. Every derived row is a function of the log: ``rebuild`` makes the same bytes again.

Reading order: ``migrations/0001``, ``codec``, ``batch`` (rows of many commits as one statement), ``tables``,
``projections``, ``pending`` (a commit on its way), ``shard``, ``fence``, ``writer``; ``stream`` and ``reader``;
``node``, ``outbox_table``, ``jobs_table``, ``queues``, ``outbox``, ``jobs``, ``wakes``; ``rebuild``, ``sweep``.
"""
