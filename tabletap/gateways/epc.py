"""The SEPA credit transfer as a QR code: EPC069-12 of the European Payments Council, version 002 of its payload.

Lines end with a line feed, the last one that says something with nothing: ``BCD, 002, charset, SCT, BIC, name, IBAN,
amount, purpose, structured reference, text``. Drawn with error correction M, at most version 13, so at most 331 bytes.
"""

from tabletap.domain.bank import is_iban
from tabletap.domain.errors import Refusal, invalid

MOST_BYTES = 331
NAME_CHARS = 70
TEXT_CHARS = 140
AMOUNT_CENTS = range(1, 999_999_999_99 + 1)

CHARSETS = ("utf-8", "iso8859-1", "iso8859-2", "iso8859-4", "iso8859-5", "iso8859-7", "iso8859-10", "iso8859-15")
"""What the digits 1 to 8 of the third line mean."""


def payload(
    *, name: str, iban: str, amount: int, text: str, bic: str = "", charset: str = CHARSETS[0]
) -> bytes | Refusal:
    """``amount`` cents of euros to ``name``, with ``text`` on both statements. Refuses what does not fit, by field."""
    for field, value, most in (("name", name, NAME_CHARS), ("text", text, TEXT_CHARS)):
        if not value.isprintable() or not 0 < len(value) <= most:
            return invalid(field, f"must be one line of 1 to {most} characters")
    if not is_iban(iban):
        return invalid("iban", "is not an IBAN")
    if amount not in AMOUNT_CENTS:
        return invalid("amount", "must be 0.01 to 999999999.99")
    lines = ("BCD", "002", str(CHARSETS.index(charset) + 1), "SCT", bic, name, iban, _euros(amount), "", "", text)
    try:
        written = "\n".join(lines).encode(charset)
    except UnicodeEncodeError:
        return invalid("charset", f"{charset} has not all of these letters")
    return written if len(written) <= MOST_BYTES else invalid("name", f"the code has room for {MOST_BYTES} bytes")


def _euros(cents: int) -> str:
    whole, rest = divmod(cents, 100)
    return f"EUR{whole}.{rest:02}" if rest else f"EUR{whole}"
