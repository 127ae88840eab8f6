"""The nouns together: which rules each kind of entity lives by, and how the runtime makes its actors."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tabletap.domain.base import Birth, Kind, Ref

from .account import AccountLife
from .cafe import CafeActor, CafeLife, Kitchen
from .drawer import DrawerLife
from .entity import Entity, House, Life, Newborn
from .order import OrderLife
from .payment import PaymentLife
from .runtime import Actor, Address
from .tips import TipsLife

_CAFE = CafeLife()
LIVES: Mapping[Kind, Life[Any]] = MappingProxyType(
    {
        Kind.CAFE: _CAFE,
        Kind.ORDER: OrderLife(),
        Kind.PAYMENT: PaymentLife(),
        Kind.DRAWER: DrawerLife(),
        Kind.ACCOUNT: AccountLife(),
        Kind.TIPS: TipsLife(),
    }
)


def midwife(birth: Birth) -> Newborn:
    """The state of an entity that is being born."""
    life = LIVES[birth.ref.kind]
    first, *later = birth.events
    state = life.born(birth.ref, first)
    for event in later:
        state = life.evolve(state, event)
    return Newborn(birth.ref, state, len(birth.events), life.wake_at(state))


def factories(house: House, kitchen: Kitchen) -> Mapping[str, Callable[[Address], Actor]]:
    """How each kind's actor is made. Cafes last to go: the others' events are news for their boards."""

    def ref_of(address: Address) -> Ref:
        ref = address.key
        assert isinstance(ref, Ref)
        return ref

    def entity(kind: Kind) -> Callable[[Address], Actor]:
        return lambda address: Entity(ref_of(address), LIVES[kind], house)

    return {
        Kind.CAFE.value: lambda address: CafeActor(ref_of(address), _CAFE, house, kitchen),
        **{kind.value: entity(kind) for kind in (Kind.TIPS, Kind.ACCOUNT, Kind.DRAWER, Kind.ORDER, Kind.PAYMENT)},
    }
