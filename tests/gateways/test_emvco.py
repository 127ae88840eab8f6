"""EMVCo merchant-presented codes: the published example, and whatever we build, taken apart by a parser of our own."""

import zxingcpp
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain.bank import CURRENCIES
from tabletap.domain.errors import Refusal
from tabletap.domain.settings import Merchant
from tabletap.gateways import bank_qr, emvco
from tests.gateways.test_bank_qr import pixels

PUBLISHED = (
    "00020101021229300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN5914BEST TRANSPORT"
    "6007BEIJING64200002ZH0104最佳运输0202北京540523.7253031565502016233030412340603***0708A60086670902ME91320016A011"
    "2233449988770708123456786304A13A"
)
NESTED = {"62", "64", "80", *map(str, range(26, 52))}
MERCHANT = Merchant(
    guid="D15600000000", mcc="4111", country="CN", city="BEIJING", fields={"05": "A93FO3230Q"}, template="29"
)


def taken_apart(text, nested=NESTED):
    """The objects of a code, those that hold objects taken apart as well."""
    objects = {}
    while text:
        ident, chars = text[:2], int(text[2:4])
        value, text = text[4 : 4 + chars], text[4 + chars :]
        assert len(value) == chars, "a length says more than is there"
        assert ident not in objects, "an object stands twice"
        objects[ident] = taken_apart(value, ()) if ident in nested else value
    return objects


def crc_bit_by_bit(data):
    """The CRC as its definition says it."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ (0x1021 if crc & 0x8000 else 0)
        crc &= 0xFFFF
    return crc


def opened(text):
    """The objects of a code whose CRC holds."""
    objects = taken_apart(text)
    assert next(iter(objects)) == "00"
    assert [*objects][-1] == "63"
    assert objects.pop("63") == f"{crc_bit_by_bit(text[:-4].encode()):04X}"
    return objects


def test_the_published_code_is_the_same_when_it_is_taken_apart_and_built_again():
    objects = opened(PUBLISHED)
    assert objects["64"] == {"00": "ZH", "01": "最佳运输", "02": "北京"}
    assert objects["29"] == {"00": "D15600000000", "05": "A93FO3230Q"}
    assert emvco.sealed(objects) == PUBLISHED


def test_the_crc_of_the_nine_digits_is_the_published_one():
    assert emvco.crc(b"123456789") == 0x29B1 == crc_bit_by_bit(b"123456789")


@given(st.binary(max_size=300))
def test_the_crc_is_that_of_its_definition(data):
    assert emvco.crc(data) == crc_bit_by_bit(data)


def built(**changed):
    given = {"name": "BEST TRANSPORT", "merchant": MERCHANT, "amount": 2372, "currency": "CNY", "reference": "***"}
    return emvco.payload(**(given | changed))


def test_a_code_is_dynamic_and_says_who_is_paid_how_much_for_what():
    assert opened(built(reference="TT0123456789AB")) == {
        "00": "01",
        "01": "12",
        "29": {"00": "D15600000000", "05": "A93FO3230Q"},
        "52": "4111",
        "53": "156",
        "54": "23.72",
        "58": "CN",
        "59": "BEST TRANSPORT",
        "60": "BEIJING",
        "62": {"05": "TT0123456789AB"},
    }


def test_an_amount_has_the_digits_of_its_currency():
    told = {currency: opened(built(amount=1_205, currency=currency))["54"] for currency in ("AUD", "JPY", "KWD")}
    assert told == {"AUD": "12.05", "JPY": "1205", "KWD": "1.205"}


def test_what_does_not_fit_is_refused_by_its_field():
    cases = {
        "amount": {"amount": 10**13},
        "name": {"name": "N" * 26},
        "reference": {"reference": "R" * 26},
        "currency": {"currency": "XXX"},
        "merchant.fields": {"merchant": Merchant("G", "4111", "CN", "BEIJING", {"01": "x" * 60, "02": "x" * 60})},
    }
    for field, changed in cases.items():
        refusal = built(**changed)
        assert isinstance(refusal, Refusal)
        assert [error.field for error in refusal.errors] == [field]
    assert isinstance(built(amount=0), Refusal)


TEXT = st.characters(min_codepoint=32, max_codepoint=0x1F6FF, exclude_categories=["Cs", "Cc", "Cn"])


@given(
    name=st.text(TEXT, min_size=1, max_size=25),
    city=st.text(TEXT, min_size=1, max_size=15),
    amount=st.integers(1, 100_000_00),
    currency=st.sampled_from(sorted(CURRENCIES)),
    template=st.integers(26, 51).map(str),
    fields=st.dictionaries(st.integers(1, 99).map("{:02}".format), st.text(TEXT, min_size=1, max_size=20), max_size=2),
)
def test_whatever_is_built_is_read_back_as_it_was_meant(name, city, amount, currency, template, fields):
    merchant = Merchant("D15600000000", "5814", "SG", city, fields, template)
    objects = opened(built(name=name, merchant=merchant, amount=amount, currency=currency))
    assert (objects["59"], objects["60"], objects["53"]) == (name, city, CURRENCIES[currency][0])
    assert int(objects["54"].replace(".", "")) == amount
    assert objects[template] == {"00": "D15600000000"} | fields
    assert emvco.sealed(objects) == built(name=name, merchant=merchant, amount=amount, currency=currency)


def test_a_scanner_reads_what_was_built():
    text = built(name="最佳运输", reference="TT0123456789AB")
    (code,) = zxingcpp.read_barcodes(pixels(bank_qr.picture(text.encode())))
    assert code.text == text
