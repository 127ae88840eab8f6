"""The three kinds of bank account that a cafe may have, and what each must be like.

Australian: BSB and account number (Australian Payments Network), perhaps a PayID. SEPA: an IBAN (ISO 13616, its check
digits by ISO 7064 mod 97-10) and perhaps a BIC (ISO 9362). EMVCo: a merchant's account at a scheme, as its own codes
for customers name it.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from .errors import Refusal, invalid
from .settings import BankDetails

EPC_NAME_BYTES = 237
"""What a SEPA code of 331 bytes leaves to the name, beside the longest of everything else that we write."""
EMVCO_NAME_CHARS = 25
EMVCO_TEMPLATE_CHARS = 99
"""All sub-fields of a merchant's account, each with four characters of its own before it."""

IBAN_CHARS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("NO",), 15),
        **dict.fromkeys(("BE",), 16),
        **dict.fromkeys(("DK", "FI", "FO", "GL", "NL"), 18),
        **dict.fromkeys(("SI",), 19),
        **dict.fromkeys(("AT", "BA", "EE", "LT", "LU"), 20),
        **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
        **dict.fromkeys(("BG", "DE", "GB", "GI", "IE", "ME", "RS", "VA"), 22),
        **dict.fromkeys(("AD", "CZ", "ES", "MD", "RO", "SE", "SK"), 24),
        **dict.fromkeys(("PT",), 25),
        **dict.fromkeys(("IS",), 26),
        **dict.fromkeys(("FR", "GR", "IT", "MC", "SM"), 27),
        **dict.fromkeys(("AL", "CY", "HU", "PL"), 28),
        **dict.fromkeys(("MT",), 31),
    }
)
"""How long an IBAN of the SEPA countries and their neighbours is (the registry of ISO 13616)."""

CURRENCIES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "AED": ("784", 2),
        "AUD": ("036", 2),
        "BDT": ("050", 2),
        "BHD": ("048", 3),
        "BRL": ("986", 2),
        "CAD": ("124", 2),
        "CHF": ("756", 2),
        "CNY": ("156", 2),
        "EUR": ("978", 2),
        "GBP": ("826", 2),
        "HKD": ("344", 2),
        "IDR": ("360", 2),
        "INR": ("356", 2),
        "JPY": ("392", 0),
        "KES": ("404", 2),
        "KHR": ("116", 2),
        "KRW": ("410", 0),
        "KWD": ("414", 3),
        "LAK": ("418", 2),
        "LKR": ("144", 2),
        "MOP": ("446", 2),
        "MXN": ("484", 2),
        "MYR": ("458", 2),
        "NGN": ("566", 2),
        "NPR": ("524", 2),
        "NZD": ("554", 2),
        "OMR": ("512", 3),
        "PHP": ("608", 2),
        "PKR": ("586", 2),
        "SAR": ("682", 2),
        "SGD": ("702", 2),
        "THB": ("764", 2),
        "TWD": ("901", 2),
        "USD": ("840", 2),
        "VND": ("704", 0),
        "ZAR": ("710", 2),
    }
)
"""Numeric code and digits after the point (ISO 4217) of the currencies that merchant-presented codes are used with."""


class Scheme(Enum):
    """Which kind of account it is, and so which payload its code has."""

    AUSTRALIAN = "australian"
    SEPA = "sepa"
    EMVCO = "emvco"


def scheme(bank: BankDetails) -> Scheme:
    """The kind of a bank account that has passed ``check_bank``."""
    if bank.iban is not None:
        return Scheme.SEPA
    return Scheme.AUSTRALIAN if bank.merchant is None else Scheme.EMVCO


def is_iban(text: str) -> bool:
    """Whether it is an IBAN in its electronic form: upper case, no spaces.

    >>> is_iban("DE33100205000001194700"), is_iban("DE33100205000001194701")
    (True, False)
    """
    if len(text) != IBAN_CHARS.get(text[:2]) or not (text.isascii() and text.isalnum() and text.isupper()):
        return False
    if not text[2:4].isdigit():
        return False
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def check_bank(bank: BankDetails, currency: str) -> Refusal | None:
    """Whether the account is one whole account of one kind, and payable in the cafe's currency."""
    australian = (bank.bsb, bank.account_number, bank.pay_id) != (None, None, None)
    sepa = (bank.iban, bank.bic) != (None, None)
    if (australian, sepa, bank.merchant is not None).count(True) != 1:
        return invalid("settings.bank", "needs either bsb and accountNumber, or iban, or merchant")
    if sepa:
        return _check_sepa(bank, currency)
    if australian:
        missing = "bsb" if bank.bsb is None else "accountNumber" if bank.account_number is None else None
        return invalid(f"settings.bank.{missing}", "is missing") if missing else None
    return _check_merchant(bank, currency)


def _check_sepa(bank: BankDetails, currency: str) -> Refusal | None:
    if currency != "EUR":
        return invalid("settings.bank.iban", f"a SEPA transfer is in EUR, the cafe's currency is {currency}")
    if bank.iban is None or not is_iban(bank.iban):
        return invalid("settings.bank.iban", "is not an IBAN: look at its digits again")
    if len(bank.account_name.encode()) > EPC_NAME_BYTES:
        return invalid("settings.bank.accountName", f"takes more than {EPC_NAME_BYTES} bytes: the code has no room")
    return _check_printable(bank)


def _check_merchant(bank: BankDetails, currency: str) -> Refusal | None:
    merchant = bank.merchant
    assert merchant is not None
    if currency not in CURRENCIES:
        return invalid("settings.bank.merchant", f"no such codes are known for {currency}")
    if len(bank.account_name) > EMVCO_NAME_CHARS:
        return invalid("settings.bank.accountName", f"has at most {EMVCO_NAME_CHARS} characters in such a code")
    values = (merchant.guid, *merchant.fields.values())
    if sum(4 + len(value) for value in values) > EMVCO_TEMPLATE_CHARS:
        return invalid("settings.bank.merchant.fields", f"are more than {EMVCO_TEMPLATE_CHARS} characters together")
    if not "".join((merchant.city, *values)).isprintable():
        return invalid("settings.bank.merchant", "must be texts of one line")
    return _check_printable(bank)


def _check_printable(bank: BankDetails) -> Refusal | None:
    """A line feed would end a line of a SEPA code early."""
    if not bank.account_name.isprintable():
        return invalid("settings.bank.accountName", "must be text of one line")
    return None
