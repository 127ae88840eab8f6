"""What a cafe's owner may set. Amounts are cents, times carry their unit in the name."""

from typing import Annotated

import msgspec

from .menu import END, Name, Slug
from .money import WHOLE
from .vocabulary import Channel, CreditScope, Surplus, TipRule

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Merchant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """A merchant's account in an EMVCo code. ``fields``: the sub-tags of its ``template`` beside the ``guid`` (00)."""

    guid: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    mcc: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}" + END)]
    country: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}" + END)]
    city: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    fields: Annotated[
        dict[
            Annotated[str, msgspec.Meta(pattern=r"^(?:0[1-9]|[1-9][0-9])" + END)],
            Annotated[str, msgspec.Meta(min_length=1, max_length=99)],
        ],
        msgspec.Meta(max_length=20),
    ] = {}
    template: Annotated[str, msgspec.Meta(pattern=r"^(?:2[6-9]|[34][0-9]|5[01])" + END)] = "26"


class BankDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """Where a bank transfer goes: an Australian account, or one by ``iban``, or a ``merchant``'s at an EMVCo scheme.

    BSB as NNN-NNN, account at most 9 digits (Australian Payments Network). ``domain.bank`` knows what belongs together.
    """

    account_name: Annotated[str, msgspec.Meta(min_length=1, max_length=70)]
    bsb: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3}-[0-9]{3}" + END)] | None = None
    account_number: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}" + END)] | None = None
    pay_id: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,256}" + END)] | None = None
    iban: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}[0-9]{2}[0-9A-Z]{11,30}" + END)] | None = None
    bic: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?" + END)] | None = None
    merchant: Merchant | None = None


class Throttle(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """At most so many items, or so much value, per 15 minutes of promised time (spec O6)."""

    items_per_slot: Positive | None = None
    value_per_slot: Positive | None = None


class Ageing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """When a ticket turns yellow and red on the kitchen's screen, in seconds, per channel."""

    online: tuple[Positive, Positive] = (300, 600)
    table: tuple[Positive, Positive] = (300, 600)
    counter: tuple[Positive, Positive] = (300, 600)


class ServiceCharge(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Charged on the subtotal of these channels' orders: ``rate`` in basis points, the tax of its class included."""

    rate: Annotated[int, msgspec.Meta(ge=1, le=3_000)]
    tax_class: Slug
    channels: Annotated[tuple[Channel, ...], msgspec.Meta(min_length=1, max_length=len(Channel))] = tuple(Channel)


Rate = Annotated[int, msgspec.Meta(ge=0, le=WHOLE)]
Duty = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
"""What somebody does on a shift (barista, floor, kitchen): the cafe's own words, not who may do what."""


class TipSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``presets``: what customers are offered, in basis points. ``participants``: the roles that share (none: all).

    ``role_percent``: each role's part in basis points, 100 % together, where the ``rule`` goes by it.
    """

    presets: Annotated[tuple[Rate, ...], msgspec.Meta(max_length=6)] = (500, 1_000, 1_500)
    rule: TipRule = TipRule.EQUAL
    role_percent: Annotated[dict[Duty, Rate], msgspec.Meta(max_length=20)] = {}
    participants: Annotated[tuple[Duty, ...], msgspec.Meta(max_length=20)] = ()


class GiftCardRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``sold``: orders may buy them, worth ``min_value`` to ``max_value``. ``valid_days``: from then until they expire;
    None: never. Three years by default, the least that Australian Consumer Law (section 99B) allows."""

    sold: bool = True
    min_value: Positive = 500
    max_value: Annotated[int, msgspec.Meta(gt=0, le=100_000)] = 50_000
    valid_days: Annotated[int, msgspec.Meta(ge=1, le=36_525)] | None = 1_096


class LoyaltyRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``points_per_unit``: earned for each whole unit of the currency that is paid; 0: nobody earns any.

    ``cents_per_point``: what one is worth as a discount. ``country``: calling code of numbers that name none.
    ``self_service``: whoever holds an order may turn the points of its number into a discount on it. A number is no
    secret and is not proven: without this, only staff and tills do.
    """

    points_per_unit: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    cents_per_point: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    country: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,2}" + END)] = "61"
    self_service: bool = False


class CafeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """``prepay``: channels whose orders the kitchen sees when paid. ``approval``: staff accept each order first.
    ``surplus``: what becomes of money that no order had use for. ``service_charge``: no tip, but income (spec W5).
    ``credit``: where a customer's credit is held. Changing that moves none: what was held before waits where it is."""

    name: Name
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}" + END)] = "AUD"
    timezone: Annotated[str, msgspec.Meta(max_length=64)] = "Australia/Sydney"
    accepting: bool = True
    approval: bool = False
    prepay: tuple[Channel, ...] = ()
    tables: Annotated[
        tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=20)], ...], msgspec.Meta(max_length=500)
    ] = ()
    throttle: Throttle = Throttle()
    ageing: Ageing = Ageing()
    bank: BankDetails | None = None
    surplus: Surplus = Surplus.REFUND
    service_charge: ServiceCharge | None = None
    credit: CreditScope = CreditScope.CAFE
    tips: TipSettings = TipSettings()
    gift_cards: GiftCardRules = GiftCardRules()
    loyalty: LoyaltyRules = LoyaltyRules()
