"""Tips (spec W2): what customers gave for the staff, shared out shift by shift, and handed to each of them.

What a payment brings stands on the account ``tips`` until it is distributed, then on ``tips:{user}`` until it is paid
out. A distribution takes the tips that came in from ``since`` to before ``until`` and that no earlier one has taken.
How much that is, the ledger says (``Pool``), as of an offset of the log. Whoever reads it says how many distributions
there had been: the jar refuses one that was read before another, so that no cent is shared out twice.

A tip that is refunded is kept back from the next distribution; of what has been shared out nothing is taken back.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

import msgspec

from . import events as e
from .base import CafeId, Command, Context, Decision, Event, Kind, Ref
from .errors import Code, Refusal, invalid
from .money import WHOLE, split
from .settings import TipSettings
from .vocabulary import TipRule


def tip_jar(cafe_id: CafeId) -> Ref:
    """Who decides about the tips of a cafe."""
    return Ref(Kind.TIPS, uuid5(cafe_id, "tips"), cafe_id)


class Pool(msgspec.Struct, frozen=True):
    """What there is to distribute: ``amount``, after ``charged`` was kept back for refunds. ``offset``: of the log,
    when it was read; ``distributions``: how many there had been by then."""

    amount: int
    charged: int
    offset: int
    distributions: int


class Worker(msgspec.Struct, frozen=True):
    """One of the staff on the shift. ``minutes`` worked and ``points`` count where the rule goes by them."""

    user: str
    role: str
    minutes: int = 0
    points: int = 0


class Way(StrEnum):
    """How tips are paid out: from the drawer's cash, or from the cafe's bank account."""

    CASH = "cash"
    BANK = "bank"


class Distribute(Command, frozen=True):
    """Share ``pool`` out among ``staff`` by the cafe's rule."""

    cafe_id: CafeId
    currency: str
    settings: TipSettings
    since: datetime
    until: datetime
    pool: Pool
    staff: tuple[Worker, ...]


class PayOut(Command, frozen=True):
    """Somebody of the staff is given ``amount`` of what they are owed."""

    user: str
    amount: int
    way: Way


TipCommand = Distribute | PayOut


class TipJar(msgspec.Struct, frozen=True):
    """``owed``: user -> cents not paid out. ``latest``: what was done last."""

    cafe_id: CafeId
    currency: str
    latest: e.TipsDistributed | e.TipsPaidOut
    distributions: int = 0
    owed: dict[str, int] = {}

    @property
    def ref(self) -> Ref:
        return tip_jar(self.cafe_id)


# -- shares


def check_settings(settings: TipSettings) -> Refusal | None:
    """Whether a cafe can have these rules."""
    whole = sum(settings.role_percent.values())
    if (settings.rule is TipRule.ROLE_PERCENT or settings.role_percent) and whole != WHOLE:
        return invalid("settings.tips.rolePercent", f"sums to {whole} basis points, not to {WHOLE}")
    return None


def shares(pool: int, settings: TipSettings, staff: Sequence[Worker]) -> tuple[e.TipShare, ...] | Refusal:
    """Each one's part of ``pool`` cents: none negative, and together exactly the pool."""
    for index, worker in enumerate(staff):
        if settings.participants and worker.role not in settings.participants:
            return invalid(f"staff.{index}.role", f"{worker.role!r} does not share tips here")
        if settings.rule is TipRule.ROLE_PERCENT and worker.role not in settings.role_percent:
            return invalid(f"staff.{index}.role", f"{worker.role!r} has no percentage")
    if len({worker.user for worker in staff}) < len(staff):
        return invalid("staff", "somebody stands there twice")
    if settings.rule is TipRule.ROLE_PERCENT:
        amounts = _by_role(pool, settings, staff)
    else:
        amounts = _by_weight(pool, [_weight(settings.rule, worker) for worker in staff])
    if amounts is None:
        return invalid("staff", f"nobody has a part by the rule {settings.rule}")
    return tuple(e.TipShare(worker.user, worker.role, amount) for worker, amount in zip(staff, amounts, strict=True))


def _weight(rule: TipRule, worker: Worker) -> int:
    match rule:
        case TipRule.HOURS:
            return worker.minutes
        case TipRule.POINTS:
            return worker.points
        case _:
            return 1


def _by_weight(pool: int, weights: Sequence[int]) -> list[int] | None:
    return split(pool, weights) if any(weights) else None


def _by_role(pool: int, settings: TipSettings, staff: Sequence[Worker]) -> list[int] | None:
    """To each role that is there in proportion to its percentage, then by hours (where nobody has any, evenly)."""
    there = [role for role in settings.role_percent if any(worker.role == role for worker in staff)]
    of_roles = _by_weight(pool, [settings.role_percent[role] for role in there])
    if of_roles is None:
        return None
    amounts = [0] * len(staff)
    for role, part in zip(there, of_roles, strict=True):
        places = [place for place, worker in enumerate(staff) if worker.role == role]
        hours = [staff[place].minutes for place in places]
        for place, amount in zip(places, split(part, hours if any(hours) else [1] * len(places)), strict=True):
            amounts[place] = amount
    return amounts


# -- decide


def decide(state: TipJar | None, command: TipCommand, ctx: Context) -> Decision | Refusal:
    """What follows from ``command`` for the jar as it stands (None: nothing was ever distributed)."""
    match command:
        case Distribute():
            return _distribute(state, command, ctx)
        case PayOut():
            return _pay_out(state, command, ctx)


def _distribute(state: TipJar | None, command: Distribute, ctx: Context) -> Decision | Refusal:
    pool = command.pool
    if pool.distributions != (state.distributions if state else 0):
        return Refusal(Code.DUPLICATE_IN_PROGRESS, "tips have just been distributed: ask again", retry_after_s=1)
    if command.since >= command.until:
        return invalid("to", "must be after its beginning")
    parts = shares(pool.amount, command.settings, command.staff)
    if isinstance(parts, Refusal):
        return parts
    if pool.amount < 1:
        return Refusal(Code.INSUFFICIENT_FUNDS, "no tips of that time are left to distribute")
    distributed = e.TipsDistributed(
        cafe_id=command.cafe_id,
        distribution_id=ctx.new_id(),
        since=command.since,
        until=command.until,
        read_offset=pool.offset,
        rule=command.settings.rule,
        currency=command.currency,
        amount=pool.amount,
        charged=pool.charged,
        shares=parts,
    )
    return Decision((distributed,))


def _pay_out(state: TipJar | None, command: PayOut, ctx: Context) -> Decision | Refusal:
    owed = state.owed.get(command.user, 0) if state else 0
    if command.amount < 1:
        return invalid("amount", "must be at least 1 cent")
    if state is None or command.amount > owed:
        return Refusal(Code.INSUFFICIENT_FUNDS, f"{command.amount} cents is more than the {owed} owed to them")
    paid = e.TipsPaidOut(
        cafe_id=state.cafe_id,
        payout_id=ctx.new_id(),
        user=command.user,
        amount=command.amount,
        owed=owed - command.amount,
        way=command.way.value,
    )
    return Decision((paid,))


# -- evolve


def born(event: e.TipsDistributed) -> TipJar:
    """The jar after the first distribution."""
    return evolve(TipJar(cafe_id=event.cafe_id, currency=event.currency, latest=event), event)


def evolve(state: TipJar, event: Event) -> TipJar:
    """The jar after ``event``."""
    owed = dict(state.owed)
    match event:
        case e.TipsDistributed():
            for share in event.shares:
                owed[share.user] = owed.get(share.user, 0) + share.amount
            times = state.distributions + 1
        case e.TipsPaidOut():
            owed[event.user] = event.owed
            times = state.distributions
        case _:
            return state
    left = {user: amount for user, amount in owed.items() if amount}
    return msgspec.structs.replace(state, latest=event, distributions=times, owed=left)


# -- view


class DistributionView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A distribution on the wire."""

    distribution_id: UUID
    since: datetime = msgspec.field(name="from")
    until: datetime = msgspec.field(name="to")
    rule: TipRule
    amount: int
    currency: str
    shares: tuple[e.TipShare, ...]


class PayoutView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A payout on the wire. ``owed``: what is left."""

    payout_id: UUID
    user: str
    amount: int
    owed: int
    way: Way


class Owed(msgspec.Struct, frozen=True):
    """What one of the staff has not been paid out yet."""

    user: str
    amount: int


class TipsView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The tips of a cafe. ``pool``: what can be distributed, of the time that was asked for."""

    currency: str
    presets: tuple[int, ...]
    rule: TipRule
    pool: int
    owed: tuple[Owed, ...]
    distributions: tuple[DistributionView, ...]


def view(event: e.TipsDistributed | e.TipsPaidOut) -> DistributionView | PayoutView:
    """What was done, as the wire tells it."""
    if isinstance(event, e.TipsPaidOut):
        return PayoutView(
            payout_id=event.payout_id, user=event.user, amount=event.amount, owed=event.owed, way=Way(event.way)
        )
    return DistributionView(
        distribution_id=event.distribution_id,
        since=event.since,
        until=event.until,
        rule=event.rule,
        amount=event.amount,
        currency=event.currency,
        shares=event.shares,
    )
