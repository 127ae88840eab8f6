"""Which ways of paying this installation takes: what is not set up is not there."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

import msgspec

from tabletap.actors.ports import Gateway, PaymentOf
from tabletap.domain.charge import Charge
from tabletap.domain.vocabulary import Method

from .bank_qr import BankQrGateway
from .cash import CashGateway
from .payconic import PayconicGateway, PayconicSettings
from .payconic_wire import METHODS as PAYCONIC_METHODS
from .stripe import StripeGateway, StripeSettings


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """``by_method``: who takes the money; ``by_provider``: whose webhooks come to ``/api/webhooks/{provider}``;
    ``payment_of``: those providers that must be asked which payment some of these are about."""

    by_method: Mapping[Method, Gateway]
    by_provider: Mapping[str, Gateway]
    payment_of: Mapping[str, PaymentOf]

    async def aclose(self) -> None:
        """Close the connections to providers."""
        for gateway in self.by_provider.values():
            if isinstance(gateway, PayconicGateway | StripeGateway):
                await gateway.aclose()


def gateways(
    *,
    payconic: PayconicSettings,
    stripe: StripeSettings,
    accounts: Mapping[Method, Gateway],
    public_url: Callable[[], str],
    return_to: Callable[[Charge], str],
) -> Registry:
    """``accounts``: those whose provider we are ourselves (credit, gift card). ``public_url``: where customers and
    providers reach this server; ``return_to``: the page a customer comes back to after paying elsewhere."""
    by_method: dict[Method, Gateway] = {
        Method.CASH: CashGateway(),
        Method.QR_CODE_BANK_TRANSFER: BankQrGateway(public_url),
        **accounts,
    }
    if payconic.url:
        by_method |= dict.fromkeys(PAYCONIC_METHODS, PayconicGateway(payconic, public_url, return_to))
    if stripe.key:
        by_method[Method.STRIPE_CARD] = StripeGateway(stripe, return_to, time.time)
    by_provider = {gateway.provider: gateway for gateway in by_method.values() if gateway.provider}
    payment_of = {
        name: gateway.payment_of for name, gateway in by_provider.items() if isinstance(gateway, StripeGateway)
    }
    return Registry(
        by_method=MappingProxyType(by_method),
        by_provider=MappingProxyType(by_provider),
        payment_of=MappingProxyType(payment_of),
    )
