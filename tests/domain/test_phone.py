"""Phone numbers: one spelling for each, whoever writes it how (ITU-T E.164)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain.phone import normalise, redact


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0412 345 678", "+61412345678"),
        ("(04) 1234-5678", "+61412345678"),
        ("+61 412 345 678", "+61412345678"),
        ("0061412345678", "+61412345678"),
        ("61412345678", "+61412345678"),
        ("412345678", "+61412345678"),
        ("+49 30 123456", "+4930123456"),
        ("+1-202-555-0100", "+12025550100"),
    ],
)
def test_a_number_has_one_spelling(text: str, number: str) -> None:
    assert normalise(text, "61") == number
    assert normalise(number, "44") == number


@pytest.mark.parametrize(
    "text", ["", "+", "0", "12345", "0412 345 67x", "+0412345678", "1" * 16, "\u0661" * 10, "++61412345678"]
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert normalise(text, "61") is None


@given(st.text(max_size=20))
def test_whatever_is_typed_is_a_number_in_e_164_or_none(text: str) -> None:
    number = normalise(text, "61")
    assert number is None or (number[0] == "+" and number[1:].isascii() and number[1:].isdigit() and len(number) <= 16)
    assert number is None or normalise(number, "61") == number


def test_no_number_is_written_down() -> None:
    assert redact("points of +61412345678 and %2B61412345678") == "points of [phone] and [phone]"
    assert redact("1 + 2 = +3") == "1 + 2 = +3"
