"""What every gateway promises, whatever it speaks behind the counter. A new one is a line in ``GATEWAYS``."""

import itertools

import msgspec
import pytest

from tabletap.actors.ports import Gateway, Presentation
from tabletap.domain import payment as payments
from tabletap.domain.settings import BankDetails
from tabletap.domain.vocabulary import Method
from tabletap.gateways.bank_qr import BankQrGateway
from tabletap.gateways.cash import CashGateway
from tests.domain.world import FLAT_WHITE, SETTINGS, TOAST, World, comparable

GATEWAYS: dict[Method, Gateway] = {
    Method.CASH: CashGateway(),
    Method.QR_CODE_BANK_TRANSFER: BankQrGateway(lambda: "http://127.0.0.1:9010"),
}

BANKS = (
    None,
    SETTINGS.bank,
    BankDetails(account_name="Ü" * 70, bsb="999-999", account_number="9" * 9),
)


def open_payments(method):
    """Open payments of one method, small and large, with and without a tip, and the cafes they belong to."""
    for bank, amount, tip in itertools.product(BANKS, (1, 901, None), (0, 500)):
        world = World(msgspec.structs.replace(SETTINGS, bank=bank))
        order = world.place(TOAST, FLAT_WHITE)
        yield payments.view(world.payment(world.pay(order, method, amount=amount, tip=tip))), world.cafe


def test_every_method_has_its_gateway():
    assert set(GATEWAYS) == set(Method)


@pytest.mark.parametrize("method", GATEWAYS)
class TestGateway:
    def test_every_open_payment_can_be_presented(self, method):
        for payment, cafe in open_payments(method):
            shown = GATEWAYS[method].present(payment, cafe)
            assert isinstance(shown, Presentation)
            assert shown.qr_code_data is None or shown.qr_code_data.startswith("data:image/png;base64,")
            for url in (shown.redirect_url, shown.payment_url):
                assert url is None or url.startswith(("http://", "https://"))

    def test_presenting_is_pure(self, method):
        for payment, cafe in open_payments(method):
            before = msgspec.json.encode(payment), comparable(cafe)
            first, second = (GATEWAYS[method].present(payment, cafe) for _ in range(2))
            assert first == second
            assert (msgspec.json.encode(payment), comparable(cafe)) == before
