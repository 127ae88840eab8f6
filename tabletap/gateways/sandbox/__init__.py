"""A stand-in for the provider Payconic that speaks its wire format, as a process of its own: ``tabletap sandbox``.

Read in this order: ``wire`` (what is said), ``account`` (a payment as the provider keeps it), ``misbehaviour``,
``letters`` (webhooks), all of them pure; ``book`` and ``postbox`` (all of that in a file), ``clockwork`` (what happens
by itself: timers, and webhooks going out), ``lines`` (the port), then the ``doors``: ``api``, ``control``, ``pages``;
and ``process``, which puts them together.

What must hold: whatever was answered, or sent in a webhook, is in the file before; a payment is charged, and a refund
given, once per idempotency key; the webhooks of a payment are numbered from 1 without gaps and every delivery of one is
the same bytes. It takes no real money and must never be reachable from outside.
"""
