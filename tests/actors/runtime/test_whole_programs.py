# ruff: noqa: TRY301 - crashing in the middle is what these actors are for
"""Whole random programs against the one rule that matters: nothing accepted is lost, doubled or out of order.

Senders tell and ask, actors crash, storage goes away and comes back, actors are passivated and crowded out, all at
seeded moments. Afterwards every message that was accepted was processed once, or is a dead letter; what was settled
or answered was never seen again; each sender's messages arrived in its order.
"""

from collections import Counter, defaultdict

import pytest
import trio

from tabletap.actors.runtime import (
    Actor,
    ActorFailed,
    Address,
    Asked,
    Limits,
    MailboxFull,
    Outage,
    OutcomeUnknown,
    Quarantined,
    System,
)
from tabletap.actors.runtime.testing import TrioClock, seeded, settle


class Program:
    """Effects happen whole: a batch is written and settled in one step, or not at all, as a transaction would."""

    def __init__(self, rng):
        self.rng = rng
        self.effects = defaultdict(list)
        self.alive = Counter()
        self.accepted = defaultdict(list)
        self.answered = set()
        self.failed = set()
        self.unknown = set()
        self.dead = set()

    def __call__(self, address):
        return Worker(self)

    async def pause(self):
        for _ in range(self.rng.randrange(3)):
            await trio.lowlevel.checkpoint()
        if self.rng.random() < 0.2:
            await trio.sleep(self.rng.random())


class Worker(Actor):
    def __init__(self, program):
        self.program = program

    async def started(self):
        self.program.alive[self.context.address] += 1
        try:
            await self.program.pause()
            if self.program.rng.random() < 0.05:
                raise Outage
        except BaseException:
            self.program.alive[self.context.address] -= 1
            raise

    async def receive(self, batch):
        program, address = self.program, self.context.address
        assert program.alive[address] == 1
        try:
            await program.pause()
            for item in batch:
                message = item.message if isinstance(item, Asked) else item
                if message[2] == "poison" or (message[2] == "fragile" and program.rng.random() < 0.3):
                    raise ValueError
            if program.rng.random() < 0.1:
                raise Outage
            program.effects[address] += [item.message if isinstance(item, Asked) else item for item in batch]
            batch.settle()
            await program.pause()
            if program.rng.random() < 0.05:
                raise ValueError
            for item in batch:
                if isinstance(item, Asked):
                    item.answer(item.message)
        except BaseException:
            program.alive[address] -= 1
            raise

    async def stopped(self):
        await self.program.pause()
        self.program.alive[self.context.address] -= 1


async def send(program, system, sender, addresses):
    for number in range(40):
        address = program.rng.choice(addresses)
        message = (sender, number, program.rng.choices(("fine", "fragile", "poison"), (90, 8, 2))[0])
        try:
            if program.rng.random() < 0.3:
                # Without a timeout: an ask must come to an end by itself, whatever happens to its actor.
                assert await system.ask(address, message, timeout=None) == message
                program.answered.add(message)
            else:
                system.tell(address, message, size=program.rng.randrange(20))
        except (MailboxFull, Quarantined):
            continue
        except ActorFailed:
            program.failed.add(message)
        except OutcomeUnknown:
            program.unknown.add(message)
        program.accepted[address].append(message)
        await program.pause()


@pytest.mark.parametrize("seed", range(40))
async def test_nothing_accepted_is_lost_doubled_or_out_of_order(autojump_clock, seed):
    with seeded(seed) as rng:
        program = Program(rng)
        addresses = [Address("worker", number) for number in range(5)]
        limits = Limits(
            mailbox_messages=rng.choice((3, 50)),
            mailbox_bytes=200,
            idle_seconds=0.3,
            active_limit=3,
            restarts=rng.choice((2, 20)),
            backoff_seconds=0.2,
            quarantine_seconds=2,
        )
        system = System({"worker": program}, limits, TrioClock(), rng=rng, on_crash=print, on_escalate=print)
        async with system:
            system.dead_letters.watch(lambda _, message: program.dead.add(message))
            async with trio.open_nursery() as nursery:
                for sender in range(4):
                    nursery.start_soon(send, program, system, sender, addresses)
            await settle(system)
        assert system.live == 0
        assert set(program.alive.values()) == {0}
        check(program)


def check(program):
    for address, accepted in program.accepted.items():
        effects = program.effects[address]
        assert len(effects) == len(set(effects)), "processed twice"
        for message in accepted:
            assert (message in effects) != (message in program.dead | program.failed), "lost, or both done and dead"
            if message in program.answered | program.unknown:
                assert message in effects
        for sender in range(4):
            numbers = [message[1] for message in effects if message[0] == sender]
            assert numbers == sorted(numbers), "a sender's order was broken"
