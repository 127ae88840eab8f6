"""The bank transfer's QR code, read back by a reader that is not ours."""

import base64
import io
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
import zxingcpp
from PIL import Image

from tabletap.actors.ports import MalformedWebhook
from tabletap.domain import payment as payments
from tabletap.domain.bank import check_bank
from tabletap.domain.base import PaymentId
from tabletap.domain.charge import Charge, RefundOrder, reference
from tabletap.domain.settings import BankDetails, CafeSettings, Merchant
from tabletap.domain.vocabulary import ChargeState, Method, PaymentStatus, RefundState
from tabletap.gateways.bank_qr import BankQrGateway
from tests.domain.world import NOON, SETTINGS, World

PUBLIC = "https://order.example"
TRANSFER = Method.QR_CODE_BANK_TRANSFER


def begun(*, bank=SETTINGS.bank, name="Corner", tip=0):
    """An open transfer and its cafe."""
    world = World(msgspec.structs.replace(SETTINGS, bank=bank, name=name))
    order = world.place()
    return payments.view(world.payment(world.pay(order, TRANSFER, tip=tip))), world.cafe


def pixels(url):
    """The picture in a data URL."""
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def drawn(shown):
    """The picture of a presentation, and what a reader makes of it."""
    image = pixels(shown.qr_code_data)
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
        references.add(reference(ident))
    order = world.place()
    references.add(payments.view(world.payment(world.pay(order, TRANSFER))).reference)
    assert len(references) == 2_001
    assert all(len(one) <= 18 and one.isalnum() and one.isascii() for one in references)


def test_the_code_of_a_payment_that_is_over_is_the_same_so_that_a_late_customer_finds_it():
    payment, cafe = begun()
    gateway = BankQrGateway(lambda: PUBLIC)
    expired = msgspec.structs.replace(
        payment, status=PaymentStatus.EXPIRED, expires_at=payment.expires_at - timedelta(days=1)
    )
    assert gateway.present(expired, cafe) == gateway.present(payment, cafe)


SEPA = BankDetails(account_name="Café Zoë", iban="DE33100205000001194700", bic="BFSWDE33XXX")
MERCHANT = BankDetails(
    account_name="Café Zoë",
    merchant=Merchant("SG.PAYNOW", "5814", "SG", "Singapore", {"01": "2", "02": "201403121W", "03": "0"}),
)


def told(bank, currency):
    """What a scanner reads of an open transfer to such an account, and the transfer."""
    payment, cafe = begun()
    payment = msgspec.structs.replace(payment, currency=currency)
    cafe = msgspec.structs.replace(cafe, settings=msgspec.structs.replace(cafe.settings, currency=currency, bank=bank))
    return drawn(BankQrGateway(lambda: PUBLIC).present(payment, cafe))[1].text, payment


def test_a_sepa_account_is_told_by_epc069_12():
    text, payment = told(SEPA, "EUR")
    lines = text.split("\n")
    assert lines[0] == "BCD"
    assert lines[4:8] == ["BFSWDE33XXX", "Café Zoë", "DE33100205000001194700", "EUR9.01"]
    assert lines[-1] == payment.reference


def test_a_merchants_account_is_told_by_emvco():
    text, payment = told(MERCHANT, "SGD")
    assert text.startswith("000201010212")
    for part in ("0009SG.PAYNOW", "5303702", "54049.01", "5908Café Zoë", f"62180514{payment.reference}"):
        assert part in text


def test_a_payid_is_told_with_the_account():
    bank = msgspec.structs.replace(SETTINGS.bank, pay_id="pay@corner.example")
    assert msgspec.json.decode(told(bank, "AUD")[0])["payId"] == "pay@corner.example"


def test_bank_details_that_were_stored_before_there_was_a_choice_are_read_and_told_as_they_were():
    stored = b'{"name":"Corner","bank":{"accountName":"Corner","bsb":"062-000","accountNumber":"123"}}'
    bank = msgspec.json.decode(stored, type=CafeSettings).bank
    assert bank == SETTINGS.bank
    assert msgspec.json.encode(bank) == b'{"accountName":"Corner","bsb":"062-000","accountNumber":"123"}'


AUSTRALIAN = {"bsb": "062-000", "account_number": "1"}


@pytest.mark.parametrize(
    ("bank", "currency", "field"),
    [
        ({}, "AUD", ""),
        ({"iban": "DE33100205000001194700", **AUSTRALIAN}, "EUR", ""),
        ({"merchant": MERCHANT.merchant, **AUSTRALIAN}, "SGD", ""),
        ({"bsb": "062-000"}, "AUD", ".accountNumber"),
        ({"account_number": "1"}, "AUD", ".bsb"),
        ({"pay_id": "a@b"}, "AUD", ".bsb"),
        ({"bic": "BFSWDE33"}, "EUR", ".iban"),
        ({"iban": "DE33100205000001194701"}, "EUR", ".iban"),
        ({"iban": "DE33100205000001194700"}, "AUD", ".iban"),
        ({"iban": "DE33100205000001194700", "account_name": "\U0001f375" * 60}, "EUR", ".accountName"),
        ({"iban": "DE33100205000001194700", "account_name": "a\nb"}, "EUR", ".accountName"),
        ({"merchant": MERCHANT.merchant}, "XTS", ".merchant"),
        ({"merchant": MERCHANT.merchant, "account_name": "N" * 26}, "SGD", ".accountName"),
        ({"merchant": Merchant("G", "5814", "SG", "S", {"01": "x" * 95})}, "SGD", ".merchant.fields"),
        ({"merchant": Merchant("G\n", "5814", "SG", "S")}, "SGD", ".merchant"),
    ],
)
def test_bank_details_that_are_not_one_whole_account_are_refused_by_their_field(bank, currency, field):
    refusal = check_bank(BankDetails(**({"account_name": "Corner"} | bank)), currency)
    assert refusal is not None
    assert [error.field for error in refusal.errors] == [f"settings.bank{field}"]


def test_bank_details_that_are_one_whole_account_pass():
    for bank, currency in ((SETTINGS.bank, "AUD"), (SEPA, "EUR"), (MERCHANT, "SGD")):
        assert check_bank(bank, currency) is None


async def test_nobody_is_asked_and_staff_are_believed():
    gateway = BankQrGateway(lambda: PUBLIC)
    payment, _ = begun()
    charge = Charge(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        cafe_id=World().cafe_ref.cafe_id,
        order_number=1,
        method=TRANSFER,
        amount=901,
        currency="AUD",
        reference=payment.reference,
        expires_at=payment.expires_at,
    )
    refund = RefundOrder(refund_id=UUID(int=1), amount=901)
    assert (gateway.provider, gateway.manual) == ("", True)
    assert (await gateway.initiate(charge)).state is ChargeState.OPEN
    assert (await gateway.verify(charge)).state is ChargeState.OPEN
    assert (await gateway.cancel(charge)).state is ChargeState.CANCELLED
    assert (await gateway.refund(charge, refund)).state is RefundState.SUCCEEDED
    assert (await gateway.verify_refund(charge, refund)).state is RefundState.SUCCEEDED
    with pytest.raises(MalformedWebhook):
        gateway.handle_webhook({}, b"{}")
