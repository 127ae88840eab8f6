"""Ways of paying (``actors.ports.Gateway``): how each takes its money. What a payment may do is ``domain.payment``'s.

``registry`` says which there are; ``client`` is how providers are talked to; then one file for each: ``cash``,
``bank_qr``, ``account`` (credit, gift cards), ``payconic`` and ``stripe`` (``..._wire``: what those two say).
``sandbox`` stands in for Payconic, in its own process; ``standard_webhooks`` is how we ourselves tell others.
What must hold: nothing is charged or refunded twice, and no answer is made up (GatewaySilent).
"""
