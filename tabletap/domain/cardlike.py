"""What looks like a card number (spec P10): no such thing may enter, rest anywhere, or be told to anybody.

A card number is 13 to 19 digits that begin as some network's do, in a length it gives out, and pass the check of
ISO/IEC 7812 (Luhn). It may be written with single spaces or hyphens between its groups, and stand among other numbers
(an expiry date). What is known to be something else is left alone: UUIDs, long hexadecimal words, IBANs, fractions.
"""

import re
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from .bank import IBAN_CHARS, is_iban
from .errors import Code, FieldError, Refusal

MASK = "[card]"
SHORTEST, LONGEST = 13, 19
FIELD_CHARS = 200
"""Of the name of a field, which is the client's own choice in free maps."""

_GAPS = " \u00a0\u2007\u2009\u202f\\-\u2010\u2011\u2012\u2013\u2014\u2212"
_RUN = re.compile(rf"\d(?:[{_GAPS}]?\d){{{SHORTEST - 1},}}")
_FOURS = re.compile(rf"(?<!\d)\d{{4,}}(?:[{_GAPS}]\d{{4,}})*(?:[{_GAPS}]\d{{1,3}}(?!\d))?")
_GROUP = re.compile(r"\d+")
_SUSPECT = re.compile(rb"[0-9](?=[0-9 -]{12})(?:[ -]?[0-9]){12}")
"""Cheap (looking ahead first halves it), and true of every ASCII text with a card number, but for what JSON escapes."""

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_LONG_HEX = r"(?=[0-9]*[a-f])[0-9a-f]{32,}"
_FRACTION = r"0\.[0-9]+"
_HARMLESS = re.compile(rf"(?<![0-9a-z])(?:{_UUID}|{_LONG_HEX}|{_FRACTION})(?![0-9a-z])", re.IGNORECASE | re.ASCII)


class _Network(NamedTuple):
    """Numbers that begin with ``first`` to ``last``, in these lengths."""

    first: str
    last: str
    lengths: range | frozenset[int]


_SIXTEEN = range(16, 17)
_SIXTEEN_UP = range(16, LONGEST + 1)
_NETWORKS = (
    _Network("4", "4", frozenset({16, 18, 19})),  # Visa
    # Of old. Those of 13 digits that begin with 43 or 49 are telephone numbers of Austria and Germany.
    _Network("40", "42", range(13, 14)),
    _Network("44", "48", range(13, 14)),
    _Network("51", "55", _SIXTEEN),  # Mastercard
    _Network("2221", "2720", _SIXTEEN),  # Mastercard
    _Network("34", "34", range(15, 16)),  # American Express
    _Network("37", "37", range(15, 16)),
    _Network("300", "305", range(14, LONGEST + 1)),  # Diners Club
    _Network("3095", "3095", range(14, LONGEST + 1)),
    _Network("36", "36", range(14, LONGEST + 1)),
    _Network("38", "39", range(14, LONGEST + 1)),
    _Network("3528", "3589", _SIXTEEN_UP),  # JCB
    _Network("60", "60", _SIXTEEN_UP),  # Discover, RuPay
    _Network("62", "62", _SIXTEEN_UP),  # UnionPay
    _Network("636", "639", _SIXTEEN_UP),  # InterPayment, InstaPayment, Maestro
    _Network("644", "659", _SIXTEEN_UP),  # Discover, RuPay, Troy
    _Network("50", "50", range(SHORTEST, LONGEST + 1)),  # Maestro, Verve, RuPay
    _Network("56", "58", range(SHORTEST, LONGEST + 1)),  # Maestro, eftpos
    _Network("6304", "6304", range(SHORTEST, LONGEST + 1)),
    _Network("6759", "6763", range(SHORTEST, LONGEST + 1)),
    _Network("2200", "2205", _SIXTEEN_UP),  # Mir, Borica
    _Network("9792", "9792", _SIXTEEN),  # Troy
)
_BY_FIRST_DIGIT = MappingProxyType(
    {digit: tuple(network for network in _NETWORKS if network.first.startswith(digit)) for digit in "2345679"}
)
_DOUBLED = str.maketrans("0123456789", "0246813579")
"""A digit -> the sum of the digits of its double."""


def luhn(digits: str) -> bool:
    """Whether the digits pass the check of ISO/IEC 7812, as every card number does.

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    return (sum(map(int, digits[::-2])) + sum(map(int, digits[-2::-2].translate(_DOUBLED)))) % 10 == 0


def find(text: str) -> tuple[int, int] | None:
    """Where in the text the first card number is (start and end), if there is one."""
    return next(_spans(text), None)


def redact(text: str) -> str:
    """The text with each card number replaced by ``[card]``.

    >>> redact("paid with 4111 1111 1111 1111, thanks")
    'paid with [card], thanks'
    """
    told, end = "", 0
    for start, stop in _spans(text):
        told += text[end:start] + MASK
        end = stop
    return told + text[end:] if end else text


def is_number(value: float) -> bool:
    """Whether a number (whole, or as good as whole) is a card's."""
    return (isinstance(value, int) or value.is_integer()) and find(str(abs(int(value)))) is not None


def field_in(body: bytes, beside: str | None = None) -> str | None:
    """The path of the first field of a JSON body in which there is a card number (``items.0.note``); None: nowhere.

    Empty where the body has no fields, or is no JSON. ``beside``: a field that somebody else looks through.
    """
    if body.isascii() and _SUSPECT.search(body) is None and b"\\u" not in body:
        return None
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None if find(body.decode(errors="replace")) is None else ""
    return next((path[:FIELD_CHARS] for path, text in _texts(value) if path != beside and find(text)), None)


def refusal(field: str) -> Refusal:
    """What is said to whoever sends one. Names the field, never the value."""
    told = "card numbers are not taken here: pay by card at the provider's page"
    named = (FieldError(field, "looks like a card number"),) if field else ()
    return Refusal(Code.CARD_DATA_REFUSED, f"{field}: {told}" if field else told, named)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the card numbers are, in order, none over another.

    All that stands together may be one number, grouped in any way. Among others a number is told by groups of four
    digits and more, but for its last: else telephone numbers beside each other would be many numbers.
    """
    if len(text) < SHORTEST or _RUN.search(text) is None:
        return
    for run in _RUN.finditer(_HARMLESS.sub(lambda match: "x" * len(match.group()), text)):
        iban_end = _iban_end(text, run.start())
        if run.end() - run.start() < 2 * LONGEST and _is_card("".join(_GROUP.findall(run.group()))):
            if run.end() > iban_end:
                yield run.span()
            continue
        for fours in _FOURS.finditer(run.group()):
            for start, end in _among([group.span() for group in _GROUP.finditer(fours.group())], fours.group()):
                if (stop := run.start() + fours.start() + end) > iban_end:
                    yield run.start() + fours.start() + start, stop


def _among(groups: list[tuple[int, int]], text: str) -> Iterator[tuple[int, int]]:
    """The card numbers that are one or more of these groups of digits."""
    first = 0
    while first < len(groups):
        digits, after = "", first + 1
        for last in range(first, len(groups)):
            start, end = groups[last]
            digits += text[start : min(end, start + LONGEST + 1)]
            if len(digits) > LONGEST:
                break
            if _is_card(digits):
                yield groups[first][0], end
                after = last + 1
                break
        first = after


def _is_card(digits: str) -> bool:
    if not SHORTEST <= len(digits) <= LONGEST:
        return False
    plain = digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)
    networks = _BY_FIRST_DIGIT.get(plain[0], ())
    return any(n.first <= plain[: len(n.first)] <= n.last and len(plain) in n.lengths for n in networks) and luhn(plain)


def _iban_end(text: str, start: int) -> int:
    """Where the IBAN ends whose first digit is at ``start``; 0: there is none."""
    country = text[max(0, start - 2) : start].upper()
    wanted, compact = IBAN_CHARS.get(country, 0), country
    for end in range(start, min(len(text), start + 2 * wanted)):
        compact += text[end] if text[end] != " " else ""
        if len(compact) == wanted:
            return end + 1 if is_iban(compact.upper()) else 0
    return 0


def _texts(value: Any) -> Iterator[tuple[str, str]]:
    """Every text and number of a JSON value with its path, in order; the names of fields with that of their object."""
    waiting = [("", value)]
    while waiting:
        path, inner = waiting.pop()
        match inner:
            case str():
                yield path, inner
            case int() | float() if is_number(inner):
                yield path, str(abs(int(inner)))
            case list():
                waiting += [(f"{path}.{index}".lstrip("."), one) for index, one in reversed([*enumerate(inner)])]
            case dict():
                yield from ((path, name) for name in inner)
                waiting += [(f"{path}.{name}".lstrip("."), one) for name, one in reversed(inner.items())]
