"""Ways of paying: how each presents itself to who pays. What a payment may do is ``domain.payment``'s."""
