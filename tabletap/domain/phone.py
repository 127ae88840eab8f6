"""Phone numbers in one spelling, that of ITU-T E.164: a plus, the country's code, the number, at most 15 digits."""

import re

DIGITS_AT_LEAST, DIGITS_AT_MOST = 8, 15
_PUNCTUATION = re.compile(r"[ ().\-\u00a0\u2010-\u2013]")
_INTERNATIONAL = re.compile(r"(?:\+|%2B)[0-9]{8,15}(?![0-9])", re.IGNORECASE)
HIDDEN = "[phone]"


def normalise(text: str, country: str) -> str | None:
    """A number as people write it, in E.164; one without its country is of ``country`` (61). None: it is none.

    >>> [normalise(text, "61") for text in ("0412 345 678", "+61 412-345-678", "0061412345678", "61412345678", "12")]
    ['+61412345678', '+61412345678', '+61412345678', '+61412345678', None]
    """
    bare = _PUNCTUATION.sub("", text)
    digits = bare.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if bare.startswith("00"):
        digits = digits[2:]
    elif bare.startswith("0"):
        digits = country + digits[1:]
    elif not bare.startswith("+") and not (digits.startswith(country) and len(digits) > DIGITS_AT_LEAST + 2):
        digits = country + digits
    well = DIGITS_AT_LEAST <= len(digits) <= DIGITS_AT_MOST and not digits.startswith("0")
    return f"+{digits}" if well else None


def redact(text: str) -> str:
    """The text without the numbers in it that are written so.

    >>> redact("/loyalty/+61412345678/points")
    '/loyalty/[phone]/points'
    """
    return _INTERNATIONAL.sub(HIDDEN, text)
