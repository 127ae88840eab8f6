"""Cash and bank transfer at the till: staff say when the money is here."""

from tabletap.actors.ports import Gateway
from tabletap.domain.vocabulary import Method

from .till import Lacks, Till


class ManualTill(Till):
    """A gateway that has nobody to ask."""

    lacks = frozenset({Lacks.CUSTOMER, Lacks.PROVIDER, Lacks.WEBHOOKS, Lacks.NETWORK, Lacks.SEQUENCE})

    def __init__(self, method: Method, gateway: Gateway) -> None:
        self.method = method
        self.gateway = gateway
