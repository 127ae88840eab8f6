"""The bank transfer's QR code, read back by a reader that is not ours."""

import base64
import io
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
import zxingcpp
from PIL import Image

from tabletap.domain import payment as payments
from tabletap.domain.base import PaymentId
from tabletap.domain.settings import BankDetails
from tabletap.domain.vocabulary import Method, PaymentStatus
from tabletap.gateways.bank_qr import BankQrGateway
from tests.domain.world import NOON, SETTINGS, World

PUBLIC = "https://order.example"
TRANSFER = Method.QR_CODE_BANK_TRANSFER


def begun(*, bank=SETTINGS.bank, name="Corner", tip=0):
    """An open transfer and its cafe."""
    world = World(msgspec.structs.replace(SETTINGS, bank=bank, name=name))
    order = world.place()
    return payments.view(world.payment(world.pay(order, TRANSFER, tip=tip))), world.cafe


def drawn(shown):
    """The picture of a presentation, and what a reader makes of it."""
    head, _, data = shown.qr_code_data.partition(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    (code,) = zxingcpp.read_barcodes(image)
    return image, code


def test_the_code_says_where_to_pay_how_much_and_with_which_reference():
    payment, cafe = begun(tip=99)
    _, code = drawn(BankQrGateway(lambda: PUBLIC).present(payment, cafe))
    assert msgspec.json.decode(code.text) == {
        "paymentMethod": "bank_transfer",
        "accountName": "Corner",
        "bsb": "062-000",
        "accountNumber": "123",
        "amount": 1_000,
        "currency": "AUD",
        "reference": payment.reference,
        "description": "Order at Corner",
    }
    assert payment.total_amount == 1_000


def test_the_picture_is_a_square_of_256_px_with_error_correction_m_and_a_quiet_zone():
    image, code = drawn(BankQrGateway(lambda: PUBLIC).present(*begun()))
    assert (image.format, image.size) == ("PNG", (256, 256))
    assert code.ec_level == "M"
    assert code.format is zxingcpp.BarcodeFormat.QRCode
    corners = code.position
    margins = (corners.top_left.x, corners.top_left.y, 255 - corners.bottom_right.x, 255 - corners.bottom_right.y)
    assert min(margins) >= 4 * 2, "less than four modules of white around it"


@pytest.mark.parametrize("name", ["Café Zoë & Söhne 北京", 'Joe\'s "Best" <Coffee>', "N" * 120])
def test_any_name_of_a_cafe_survives_the_code(name):
    bank = BankDetails(account_name=name[:60], bsb="062-000", account_number="123456789")
    image, code = drawn(BankQrGateway(lambda: PUBLIC).present(*begun(bank=bank, name=name)))
    said = msgspec.json.decode(code.text)
    assert (said["accountName"], said["description"]) == (name[:60], f"Order at {name}"[:280])
    assert 256 <= image.width <= 300


def test_a_damaged_code_is_still_read():
    image, code = drawn(BankQrGateway(lambda: PUBLIC).present(*begun()))
    worn = image.convert("L")
    worn.paste(255, (150, 150, 170, 170))
    (again,) = zxingcpp.read_barcodes(worn)
    assert again.text == code.text


def test_without_a_bank_account_there_is_nothing_to_show():
    shown = BankQrGateway(lambda: PUBLIC).present(*begun(bank=None))
    assert (shown.qr_code_data, shown.payment_url, shown.redirect_url) == (None, None, None)


def test_the_payment_url_leads_to_the_cafes_page():
    payment, cafe = begun()
    shown = BankQrGateway(lambda: PUBLIC).present(payment, cafe)
    assert shown.payment_url == f"{PUBLIC}/corner?payment={payment.reference}"


def test_every_payment_has_a_reference_of_its_own_that_fits_a_lodgement_reference():
    world = World()
    references = set()
    for number in range(2_000):
        ident = PaymentId(UUID(int=(NOON.toordinal() << 80) | 7 << 76 | 2 << 62 | (number * 7919)))
        references.add(payments.reference(ident))
    order = world.place()
    references.add(payments.view(world.payment(world.pay(order, TRANSFER))).reference)
    assert len(references) == 2_001
    assert all(len(reference) <= 18 and reference.isalnum() and reference.isascii() for reference in references)


def test_the_code_of_a_payment_that_is_over_is_the_same_so_that_a_late_customer_finds_it():
    payment, cafe = begun()
    gateway = BankQrGateway(lambda: PUBLIC)
    expired = msgspec.structs.replace(
        payment, status=PaymentStatus.EXPIRED, expires_at=payment.expires_at - timedelta(days=1)
    )
    assert gateway.present(expired, cafe) == gateway.present(payment, cafe)
