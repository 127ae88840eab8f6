"""The merchant-presented QR code of EMVCo: data objects of id (2 digits), length (2 digits) and value, some nested.

Lengths count characters. The last object, 63, is a CRC-16 (polynomial 1021, starting at FFFF) over the UTF-8 bytes of
everything before it, its own id and length included.
"""

import binascii
from collections.abc import Mapping
from typing import TypeAlias

from tabletap.domain.bank import CURRENCIES
from tabletap.domain.errors import Refusal, invalid
from tabletap.domain.settings import Merchant

VALUE_CHARS = 99
AMOUNT_CHARS = 13
NAME_CHARS = 25
CITY_CHARS = 15
REFERENCE_CHARS = 25

DYNAMIC = "12"
"""The code is for one payment only."""

Objects: TypeAlias = "Mapping[str, str | Objects]"
"""Id -> value, in the order in which they are written."""


def sealed(objects: Objects) -> str:
    """The objects as a code's text, with its CRC."""
    text = _written(objects) + "6304"
    return f"{text}{crc(text.encode()):04X}"


def crc(data: bytes) -> int:
    """CRC-16 with polynomial 1021 and start value FFFF.

    >>> f"{crc(b'123456789'):04X}"
    '29B1'
    """
    return binascii.crc_hqx(data, 0xFFFF)


def _written(objects: Objects) -> str:
    values = ((ident, value if isinstance(value, str) else _written(value)) for ident, value in objects.items())
    return "".join(f"{ident}{len(value):02}{value}" for ident, value in values)


def payload(*, name: str, merchant: Merchant, amount: int, currency: str, reference: str) -> str | Refusal:
    """``amount`` minor units for one payment, known by ``reference``. Refuses what does not fit, by field."""
    if currency not in CURRENCIES:
        return invalid("currency", f"no such codes are known for {currency}")
    numeric, exponent = CURRENCIES[currency]
    account = {"00": merchant.guid, **dict(sorted(merchant.fields.items()))}
    told = _decimal(amount, exponent)
    for field, text, most in (
        ("amount", told, AMOUNT_CHARS),
        ("name", name, NAME_CHARS),
        ("merchant.city", merchant.city, CITY_CHARS),
        ("reference", reference, REFERENCE_CHARS),
        ("merchant.fields", _written(account), VALUE_CHARS),
    ):
        if not 0 < len(text) <= most:
            return invalid(field, f"must have 1 to {most} characters")
    if amount < 1:
        return invalid("amount", "must be at least 1")
    objects: Objects = {
        "00": "01",
        "01": DYNAMIC,
        merchant.template: account,
        "52": merchant.mcc,
        "53": numeric,
        "54": told,
        "58": merchant.country,
        "59": name,
        "60": merchant.city,
        "62": {"05": reference},
    }
    return sealed(objects)


def _decimal(amount: int, exponent: int) -> str:
    """Minor units with a point where the currency has it.

    >>> _decimal(2372, 2), _decimal(2372, 0), _decimal(5, 3)
    ('23.72', '2372', '0.005')
    """
    if exponent == 0:
        return str(amount)
    whole, rest = divmod(amount, 10**exponent)
    return f"{whole}.{rest:0{exponent}}"
