"""Bank transfer by QR code (spec P4): the cafe's account, the amount and a unique reference, for a banking app to scan.

What the code says is what the cafe's bank reads: an Australian account is told in JSON (``paymentMethod, accountName,
bsb, accountNumber, payId``?, ``amount`` in cents, ``currency, reference, description``), a SEPA account by EPC069-12, a
merchant's account by EMVCo. The picture is a PNG of 256 px with error correction M, as a data URL.
"""

import base64
import io
from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec
import png
import qrcode
from qrcode.constants import ERROR_CORRECT_M

from tabletap.actors.ports import Heard, MalformedWebhook, Presentation
from tabletap.domain.bank import Scheme, scheme
from tabletap.domain.cafe import Cafe
from tabletap.domain.charge import Charge, RefundOrder, RefundStanding, Standing
from tabletap.domain.errors import Refusal
from tabletap.domain.payment import PaymentView
from tabletap.domain.settings import BankDetails
from tabletap.domain.vocabulary import ChargeState, RefundState

from . import emvco, epc

SIZE_PX = 256
QUIET_MODULES = 4
PICTURES_KEPT = 512
MASK = 3
"""Any mask reads well; trying all eight for the prettiest takes ten times as long (milliseconds of the one loop)."""

DESCRIPTION_CHARS = 280


class Payload(
    msgspec.Struct,
    frozen=True,
    rename="camel",
    kw_only=True,
    omit_defaults=True,
    tag_field="paymentMethod",
    tag="bank_transfer",
):
    """What the code of an Australian account says."""

    account_name: str
    bsb: str | None
    account_number: str | None
    pay_id: str | None = None
    amount: int
    currency: str
    reference: str
    description: str


def payload(payment: PaymentView, bank: BankDetails, cafe_name: str) -> bytes | Refusal:
    """What a banking app reads; a refusal where the payment does not fit the code of the cafe's bank."""
    match scheme(bank):
        case Scheme.SEPA:
            return epc.payload(
                name=bank.account_name,
                iban=bank.iban or "",
                bic=bank.bic or "",
                amount=payment.total_amount,
                text=payment.reference,
            )
        case Scheme.EMVCO:
            assert bank.merchant is not None
            text = emvco.payload(
                name=bank.account_name,
                merchant=bank.merchant,
                amount=payment.total_amount,
                currency=payment.currency,
                reference=payment.reference,
            )
            return text if isinstance(text, Refusal) else text.encode()
        case Scheme.AUSTRALIAN:
            return _json(payment, bank, cafe_name)


def _json(payment: PaymentView, bank: BankDetails, cafe_name: str) -> bytes:
    return msgspec.json.encode(
        Payload(
            account_name=bank.account_name,
            bsb=bank.bsb,
            account_number=bank.account_number,
            pay_id=bank.pay_id,
            amount=payment.total_amount,
            currency=payment.currency,
            reference=payment.reference,
            description=f"Order at {cafe_name}"[:DESCRIPTION_CHARS],
        )
    )


@lru_cache(maxsize=PICTURES_KEPT)
def picture(content: bytes) -> str:
    """The code as a data URL, in the middle of a white square. The last ones are kept: drawing takes milliseconds."""
    code = qrcode.QRCode(_version_for(len(content)), error_correction=ERROR_CORRECT_M, border=0, mask_pattern=MASK)
    code.add_data(content, optimize=0)
    code.make(fit=False)
    box = max(1, SIZE_PX // (code.modules_count + 2 * QUIET_MODULES))
    side = max(SIZE_PX, box * (code.modules_count + 2 * QUIET_MODULES))
    before = (side - box * code.modules_count) // 2
    blank = _packed("1" * side, side)
    rows = [blank] * before
    for modules in code.get_matrix():
        pixels = "1" * before + "".join("0" * box if dark else "1" * box for dark in modules)
        rows += [_packed(pixels, side)] * box
    rows += [blank] * (side - len(rows))
    drawn = io.BytesIO()
    png.Writer(side, side, greyscale=True, bitdepth=1).write_packed(drawn, rows)
    return "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode()


@lru_cache(maxsize=1024)
def _version_for(content_bytes: int) -> int:
    """The smallest version that holds so many bytes. Asking once per length is cheaper than fitting every code."""
    code = qrcode.QRCode(error_correction=ERROR_CORRECT_M)
    code.add_data(b"a" * content_bytes, optimize=0)
    version: int = code.best_fit()
    return version


def _packed(pixels: str, width: int) -> bytes:
    """A row of pixels ("1" is white), filled up with white, eight to a byte."""
    whole_bytes = -(-width // 8)
    return int(pixels.ljust(whole_bytes * 8, "1"), 2).to_bytes(whole_bytes, "big")


class BankQrGateway:
    """Nobody to ask: staff, or the cafe's bank statement, say when the money is here, and staff transfer it back.

    ``public_url``: where customers reach this server.
    """

    provider = ""
    manual = True

    def __init__(self, public_url: Callable[[], str]) -> None:
        self._public_url = public_url

    async def initiate(self, charge: Charge) -> Standing:  # noqa: ARG002  nobody to tell
        """The customer may transfer it."""
        return Standing(state=ChargeState.OPEN)

    async def verify(self, charge: Charge) -> Standing:  # noqa: ARG002  nobody to ask
        """Nobody but the bank's statement knows."""
        return Standing(state=ChargeState.OPEN)

    async def cancel(self, charge: Charge) -> Standing:  # noqa: ARG002  nobody to tell
        """It is not waited for any longer."""
        return Standing(state=ChargeState.CANCELLED)

    async def refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:  # noqa: ARG002  nobody to ask
        """Staff have transferred it back."""
        return RefundStanding(state=RefundState.SUCCEEDED)

    async def verify_refund(self, charge: Charge, refund: RefundOrder) -> RefundStanding:
        """As staff said."""
        return await self.refund(charge, refund)

    def handle_webhook(self, headers: Mapping[str, str], body: bytes) -> Heard:  # noqa: ARG002  whatever they say
        """No bank calls here."""
        raise MalformedWebhook("a bank transfer has no webhooks")

    def present(self, payment: PaymentView, cafe: Cafe) -> Presentation:
        """The code, and the page that shows it; nothing, where the cafe has no bank account."""
        bank = cafe.settings.bank
        if bank is None:
            return Presentation()
        content = payload(payment, bank, cafe.settings.name)
        return Presentation(
            payment_url=f"{self._public_url()}/{cafe.slug}?payment={payment.reference}",
            qr_code_data=None if isinstance(content, Refusal) else picture(content),
        )
