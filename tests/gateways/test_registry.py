"""Which ways of paying an installation takes, by its settings."""

import msgspec
import pytest

from tabletap.domain.vocabulary import AccountKind, Method
from tabletap.gateways.account import AccountGateway
from tabletap.gateways.registry import gateways
from tabletap.settings import load

from .till_payconic import return_to

ALWAYS = {Method.CASH, Method.QR_CODE_BANK_TRANSFER, Method.CUSTOMER_CREDIT}
PAYCONIC = {Method.PAYCONIC_CARD, Method.PAYCONIC_BANK_TRANSFER, Method.PAYCONIC_DIGITAL_WALLET}
PAYCONIC_SETUP = {
    "TABLETAP_PAYCONIC_URL": "https://pay.example",
    "TABLETAP_PAYCONIC_KEY": "k",
    "TABLETAP_PAYCONIC_MERCHANT": "m",
    "TABLETAP_PAYCONIC_WEBHOOK_SECRET": "s",
}
STRIPE_SETUP = {"TABLETAP_STRIPE_KEY": "sk_1", "TABLETAP_STRIPE_WEBHOOK_SECRET": "whsec_1"}


def registry(environment):
    settings = load(None, environment)
    return gateways(
        payconic=settings.payconic,
        stripe=settings.stripe,
        accounts={Method.CUSTOMER_CREDIT: AccountGateway(AccountKind.CREDIT, None)},
        public_url=lambda: "https://cafe.example",
        return_to=return_to,
    )


@pytest.mark.parametrize(
    ("environment", "methods", "providers"),
    [
        ({}, set(), set()),
        (PAYCONIC_SETUP, PAYCONIC, {"payconic"}),
        (STRIPE_SETUP, {Method.STRIPE_CARD}, {"stripe"}),
        (PAYCONIC_SETUP | STRIPE_SETUP, PAYCONIC | {Method.STRIPE_CARD}, {"payconic", "stripe"}),
    ],
    ids=["nothing", "payconic", "stripe", "both"],
)
async def test_what_is_not_set_up_is_not_there(environment, methods, providers):
    found = registry(environment)
    assert set(found.by_method) == ALWAYS | methods
    assert set(found.by_provider) == providers
    for name, gateway in found.by_provider.items():
        assert gateway.provider == name
        assert gateway in found.by_method.values()
    await found.aclose()


async def test_all_methods_of_a_provider_share_its_connections_and_its_breaker():
    found = registry(PAYCONIC_SETUP)
    assert len({id(found.by_method[method]) for method in PAYCONIC}) == 1
    await found.aclose()


@pytest.mark.parametrize("missing", [*list(PAYCONIC_SETUP)[1:], "TABLETAP_STRIPE_WEBHOOK_SECRET"])
def test_a_provider_set_up_by_halves_is_an_error_that_names_what_is_missing(missing):
    environment = PAYCONIC_SETUP | STRIPE_SETUP
    del environment[missing]
    with pytest.raises(msgspec.ValidationError, match="webhook_secret"):
        load(None, environment)


def test_how_long_payconic_is_waited_for_comes_from_the_environment_too():
    assert load(None, PAYCONIC_SETUP | {"TABLETAP_PAYCONIC_TIMEOUT_S": "2.5"}).payconic.timeout_s == 2.5
    assert load(None, PAYCONIC_SETUP).payconic.timeout_s == 30.0


def test_all_of_stripes_settings_come_from_the_environment_too():
    environment = {f"TABLETAP_STRIPE_{name}": "7" for name in ("URL", "KEY", "WEBHOOK_SECRET", "PAGE")}
    environment |= {"TABLETAP_STRIPE_TIMEOUT_S": "2.5", "TABLETAP_STRIPE_TOLERANCE_S": "60"}
    stripe = load(None, environment).stripe
    assert msgspec.structs.astuple(stripe) == ("7", "7", "7", "7", 2.5, 60)
    defaults = load(None, {}).stripe
    assert (defaults.url, defaults.key, defaults.page) == ("https://api.stripe.com", "", "")
    assert (defaults.timeout_s, defaults.tolerance_s) == (30.0, 300)
