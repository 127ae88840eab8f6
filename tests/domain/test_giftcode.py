"""The codes of gift cards: what is mistyped is noticed, however they are spelt they are the same (spec W3)."""

import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import giftcode
from tabletap.domain.giftcode import ALPHABET, LENGTH, check_sign, is_code, last_four, masked, plain, redact, spell

CODES = st.binary(min_size=10, max_size=32).map(spell)


@given(CODES)
def test_a_code_is_four_groups_that_check(code: str) -> None:
    assert [len(group) for group in code.split("-")] == [4, 4, 4, 4]
    assert len(plain(code)) == LENGTH
    assert is_code(code)


@given(CODES, st.integers(0, LENGTH - 1), st.sampled_from(ALPHABET))
def test_any_one_sign_that_was_mistyped_is_noticed(code: str, place: int, sign: str) -> None:
    signs = plain(code)
    other = signs[:place] + sign + signs[place + 1 :]
    assert is_code(other) == (sign == signs[place])


@given(CODES, st.integers(0, LENGTH - 2))
def test_two_neighbours_that_were_swapped_are_noticed_but_for_0_and_z(code: str, place: int) -> None:
    signs = plain(code)
    one, two = signs[place], signs[place + 1]
    swapped = signs[:place] + two + one + signs[place + 2 :]
    assert is_code(swapped) == (one == two or {one, two} == {"0", "Z"})


@given(CODES)
def test_a_code_is_read_however_it_is_typed(code: str) -> None:
    for typed in (code.lower(), code.replace("-", ""), f" {code.replace('-', ' ')} ", code.replace("0", "O")):
        assert plain(typed) == plain(code)
        assert is_code(typed)
    assert plain(code.replace("1", "i")) == plain(code.replace("1", "L")) == plain(code)


@pytest.mark.parametrize(
    "text", ["", "7K2Q", "7K2Q-0XWM-4T9B-RC3", "7K2Q-0XWM-4T9B-RC3RR", "7K2Q-0XWM-4T9B-RCUR", "\u0661" * 16]
)
def test_what_is_no_code_is_told_apart(text: str) -> None:
    assert not is_code(text)


def test_all_that_two_codes_share_is_chance() -> None:
    codes = {spell(os.urandom(32)) for _ in range(2_000)}
    assert len(codes) == 2_000
    assert {code[0] for code in codes} == set(ALPHABET)


def test_only_fifteen_signs_are_drawn_and_the_last_follows_from_them() -> None:
    assert check_sign("0" * 15) == "0"
    assert {check_sign(f"{sign:0>15}") for sign in ALPHABET} == set(ALPHABET)


# No word of four letters right before a code in groups: with it, other four groups may be a code by chance.
@given(CODES, st.sampled_from(["card: {} used", "/gift-cards/{}/balance", '{{"card":"{}"}}', "{},{}"]))
def test_no_code_gets_through_in_any_spelling(code: str, around: str) -> None:
    for typed in (code, code.lower(), plain(code), code.replace("-", " "), code.replace("-", "%2D")):
        told = redact(around.replace("{}", typed).replace("{{", "{").replace("}}", "}"))
        assert masked(last_four(code)) in told
        assert typed not in told


def test_what_is_no_code_is_left_alone() -> None:
    order = "01a1ff11-111c-77cd-a7c2-054d9c75d090"
    assert redact(f"order {order} of table four") == f"order {order} of table four"
    assert giftcode.grouped("7k2q0xwm4t9brc3r") == "7K2Q-0XWM-4T9B-RC3R"
    assert b"7K2Q" not in msgspec.json.encode(masked(last_four("7K2Q-0XWM-4T9B-RC3R")))
