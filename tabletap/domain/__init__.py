"""The rules of cafes, orders and money. Pure: no I/O, no clock, no randomness; time and new ids are handed in.

Each noun is one file with the same parts in the same order: what it is (state), what may be asked of it (commands),
what can happen to it (events, in ``events.py``), the table of legal moves, ``decide`` (state and command to events or
a refusal) and ``evolve`` (state and event to state). ``decide`` may look at nothing but its arguments; ``evolve`` never
refuses: what happened, happened.

Reading order: ``money``, ``errors``, ``base``, ``menu``, ``events``, ``order``, ``payment``, ``cafe``, ``kitchen``,
``ledger``.
"""
