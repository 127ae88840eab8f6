"""SEPA codes: the published example, what fits, and what a scanner makes of it."""

import zxingcpp
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain.bank import EPC_NAME_BYTES, is_iban
from tabletap.domain.errors import Refusal
from tabletap.gateways import bank_qr, epc
from tests.gateways.test_bank_qr import pixels

PUBLISHED = (
    "BCD\n002\n2\nSCT\n\nWikimedia Foerdergesellschaft\nDE33100205000001194700\nEUR20\n\n\nSpende fuer Wikipedia"
)
IBAN = "DE33100205000001194700"


def built(**changed):
    return epc.payload(**({"name": "Corner", "iban": IBAN, "amount": 2_000, "text": "TT0123456789AB"} | changed))


def test_the_published_code_is_reproduced():
    text = {"name": "Wikimedia Foerdergesellschaft", "text": "Spende fuer Wikipedia"}
    assert built(**text, charset="iso8859-1") == PUBLISHED.encode()


def test_cents_are_told_only_where_there_are_some():
    told = {amount: built(amount=amount).split(b"\n")[7] for amount in (1, 50, 1_205, 99_999_999_999)}
    assert told == {1: b"EUR0.01", 50: b"EUR0.50", 1_205: b"EUR12.05", 99_999_999_999: b"EUR999999999.99"}


def test_what_does_not_fit_is_refused_by_its_field():
    cases = (
        ("amount", {"amount": 0}),
        ("amount", {"amount": 100_000_000_000}),
        ("iban", {"iban": "DE33100205000001194701"}),
        ("name", {"name": ""}),
        ("name", {"name": "n" * 71}),
        ("name", {"name": "Corner\nEUR1"}),
        ("name", {"name": "\U0001f375" * 70, "text": "x" * 140}),
        ("text", {"text": "x" * 141}),
        ("text", {"text": ""}),
        ("charset", {"name": "北京", "charset": "iso8859-1"}),
    )
    for field, changed in cases:
        refusal = built(**changed)
        assert isinstance(refusal, Refusal), changed
        assert [error.field for error in refusal.errors] == [field]


LETTERS = st.characters(min_codepoint=32, max_codepoint=0x1F6FF, exclude_categories=["C", "Zl", "Zp", "Zs"])


@given(
    name=st.text(LETTERS, min_size=1, max_size=70).filter(lambda name: len(name.encode()) <= EPC_NAME_BYTES),
    amount=st.integers(1, 99_999_999_999),
    bic=st.sampled_from(("", "BFSWDE33", "BFSWDE33XXX")),
)
def test_whatever_is_built_says_what_was_meant_and_fits_the_largest_code(name, amount, bic):
    content = built(name=name, amount=amount, bic=bic)
    assert len(content) <= 331
    lines = content.decode().split("\n")
    assert lines[:7] == ["BCD", "002", "1", "SCT", bic, name, IBAN]
    currency, _, euros = lines[7].partition("EUR")
    whole, _, rest = euros.partition(".")
    assert (currency, int(whole) * 100 + int(rest or 0)) == ("", amount)
    assert lines[8:] == ["", "", "TT0123456789AB"]


def test_a_scanner_reads_the_largest_code_whose_error_correction_is_m():
    content = built(name="ü" * 70, bic="BFSWDE33XXX", amount=99_999_999_999)
    (code,) = zxingcpp.read_barcodes(pixels(bank_qr.picture(content)))
    assert code.text == content.decode()
    assert (code.ec_level, code.format) == ("M", zxingcpp.BarcodeFormat.QRCode)


def test_a_full_331_bytes_are_version_13():
    assert bank_qr._version_for(331) == 13
    assert bank_qr._version_for(332) == 14


def test_an_iban_holds_by_its_check_digits_and_its_countrys_length():
    good = ("DE33100205000001194700", "GB29NWBK60161331926819", "FR1420041010050500013M02606", "NO9386011117947")
    assert all(map(is_iban, good))
    bad = (
        "DE33100205000001194701",
        "DE3310020500000119470",
        "XX33100205000001194700",
        "de33100205000001194700",
        "",
        "DE",
    )
    assert not any(map(is_iban, bad))


@given(place=st.integers(2, 21), digit=st.sampled_from("0123456789"))
def test_one_wrong_digit_is_always_found(place, digit):
    wrong = IBAN[:place] + digit + IBAN[place + 1 :]
    assert is_iban(wrong) == (wrong == IBAN)
