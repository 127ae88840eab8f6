"""Credit and gift cards at the till: their provider is an account actor of ours, on the actors' own loop."""

from tabletap.actors.account import DeskAccounts
from tabletap.domain.account import Holding
from tabletap.domain.vocabulary import Method
from tabletap.gateways.account import AccountGateway
from tests.actors.corner import Corner

from .till import Lacks, Till

LOADED = 1_000_000


class AccountTill(Till):
    """``payer`` has more than any test spends."""

    lacks = frozenset({Lacks.CUSTOMER, Lacks.WEBHOOKS, Lacks.NETWORK, Lacks.STAFF, Lacks.SEQUENCE, Lacks.GUARD})

    def __init__(self, method: Method, corner: Corner, payer: Holding) -> None:
        self.method = method
        self.corner = corner
        self.payer = payer
        self.gateway = AccountGateway(payer.kind, DeskAccounts(corner.desk, corner.store))
