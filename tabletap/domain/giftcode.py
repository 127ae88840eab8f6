"""The code of a gift card: sixteen signs that survive being read aloud, the last of which checks the others.

``7K2Q-0XWM-4T9B-RC3R``: Crockford's base 32 (no I, L, O or U; when read, O counts as 0, I and L as 1), in any case and
spacing. Fifteen signs are 75 random bits; the sixteenth is the check character of the Luhn mod N algorithm with N = 32
(the generalisation of ISO/IEC 7812-1's to any alphabet of even size: https://en.wikipedia.org/wiki/Luhn_mod_N_algorithm).
It finds every sign that was mistyped, and every two neighbours that were swapped but for 0 and Z.

A code is worth money. It is made (``http.auth``) from a serial number under the server's secret and never written down;
what is known of it is a digest (``holding.gift_account``) and its last four signs.
"""

import re

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 16
LAST = 4
HIDDEN = "****-****-****-"

_N = len(ALPHABET)
_VALUE = {sign: value for value, sign in enumerate(ALPHABET)}
_SPELLED = str.maketrans("OIL", "011")
_GROUPED = re.compile(r"(?<![0-9A-Za-z-])[0-9A-Za-z]{4}(?:(?:-|%2D|%20| )?[0-9A-Za-z]{4}){3}(?![0-9A-Za-z-])")


def plain(text: str) -> str:
    """The code as it is reckoned with, however it was typed."""
    return "".join(sign for sign in text.upper() if sign.isalnum()).translate(_SPELLED)


def check_sign(signs: str) -> str:
    """The sign that belongs after these.

    >>> check_sign("7K2Q0XWM4T9BRC3")
    'R'
    """
    total = 0
    for place, sign in enumerate(reversed(signs)):
        added = _VALUE[sign] * (1 if place % 2 else 2)
        total += added // _N + added % _N
    return ALPHABET[-total % _N]


def is_code(text: str) -> bool:
    """Whether it is written like a code, its last sign included.

    >>> is_code("7k2q 0xwm 4t9b rc3r"), is_code("7K2Q-0XWM-4T9B-RC3X")
    (True, False)
    """
    signs = plain(text)
    return len(signs) == LENGTH and set(signs) <= _VALUE.keys() and check_sign(signs[:-1]) == signs[-1]


def spell(digest: bytes) -> str:
    """The code that the first ten bytes of a digest stand for."""
    bits = int.from_bytes(digest[:10])
    signs = "".join(ALPHABET[bits >> shift & (_N - 1)] for shift in range(0, 5 * (LENGTH - 1), 5))
    return grouped(signs + check_sign(signs))


def grouped(code: str) -> str:
    """A code in groups of four, as it is printed."""
    signs = plain(code)
    return "-".join(signs[start : start + 4] for start in range(0, len(signs), 4))


def last_four(code: str) -> str:
    """What may be written down of a code."""
    return plain(code)[-LAST:]


def masked(last: str) -> str:
    """A card for whoever must not learn its code."""
    return HIDDEN + last


def redact(text: str) -> str:
    """The text without the codes in it, but for their last four signs.

    >>> redact("GET /api/demo/gift-cards/7K2Q-0XWM-4T9B-RC3R/balance")
    'GET /api/demo/gift-cards/****-****-****-RC3R/balance'
    """

    told, at, start = "", 0, 0
    while found := _GROUPED.search(text, start):
        code = re.sub("%2D|%20", "", found.group(), flags=re.IGNORECASE)
        if is_code(code):
            told += text[at : found.start()] + masked(last_four(code))
            at = start = found.end()
        else:
            start = found.start() + 1  # what looks like its first group may be the word before it
    return told + text[at:]
