"""The tip jar's actor: ``domain.tips`` on the one loop."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from tabletap.domain import tips as rules
from tabletap.domain.base import Command, Context, Decision, Event, Ref
from tabletap.domain.errors import Refusal
from tabletap.domain.events import TipsDistributed
from tabletap.domain.tips import TipJar

from .entity import Life, Query
from .ports import State

SNAPSHOT_EVERY = 100

_decode_snapshot = msgspec.msgpack.Decoder(TipJar)


class TipsLife(Life[TipJar]):
    """A jar lives as long as its cafe: one or a few events for each shift."""

    snapshot_every = SNAPSHOT_EVERY

    def born(self, ref: Ref, event: Event) -> TipJar:  # noqa: ARG002  the distribution says it all
        """The jar after its first distribution."""
        assert isinstance(event, TipsDistributed)
        return rules.born(event)

    def decide(self, state: TipJar | None, command: Command, ctx: Context) -> Decision | Refusal:
        """By the rules; the first distribution brings the jar into the world."""
        return rules.decide(state, cast("rules.TipCommand", command), ctx)

    def evolve(self, state: TipJar, event: Event) -> TipJar:
        """By the rules."""
        return rules.evolve(state, event)

    def snapshot(self, state: TipJar) -> bytes:
        """All of it."""
        return msgspec.msgpack.encode(state)

    def restore(self, ref: Ref, pinned: Sequence[Event], snapshot: bytes) -> TipJar:  # noqa: ARG002  it is all in there
        """The jar as it was kept."""
        return _decode_snapshot.decode(snapshot)

    def reply(self, state: TipJar, births: Sequence[State], events: Sequence[Event]) -> Any:  # noqa: ARG002  its state says it
        """What has just been done: the distribution or the payout."""
        return rules.view(state.latest)

    def answer(self, state: TipJar | None, query: Query, now: datetime) -> Any:  # noqa: ARG002  nobody asks it
        """What there is to know of tips is read from the holdings."""
        raise AssertionError(query)
