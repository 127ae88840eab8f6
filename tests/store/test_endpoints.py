"""Outgoing webhooks on a real database: each event of the log is one message per endpoint, tried until it arrives."""

import base64
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio
import uuid_utils.compat

from tabletap.actors.ports import Later, Sent
from tabletap.actors.webhook_ports import Answer, Outgoing
from tabletap.domain.base import SYSTEM, CafeId, Job
from tabletap.domain.endpoint import DELAYS_S
from tabletap.domain.tasks import DeliverWebhook
from tabletap.domain.vocabulary import Queue
from tabletap.realtime.outgoing import OFFERED, News, news_of
from tabletap.store.endpoints import BOTH_SIGN, Endpoints, EndpointSettings
from tabletap.store.forwarder import Forwarder
from tabletap.store.outbox import Relay, RelayLimits
from tabletap.store.pool import Database
from tabletap.store.postman import AT_ONCE, FAILING_S, Postman
from tests.domain.world import NOON
from tests.store.journal_contract import Store
from tests.store.opened import opened, rows, run
from tests.store.shop import Shop, Tape

CAFE, OTHER = CafeId(UUID(int=1)), CafeId(UUID(int=2))
URL = "https://integrator.example/hook"
PATIENCE_S = 30


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoints(migrated: Database, clock: Clock) -> Endpoints:
    return Endpoints(migrated, EndpointSettings(endpoints_per_cafe=3), b"installation", lambda: None, now=clock.now)


async def create(endpoints: Endpoints, cafe_id: CafeId = CAFE, *types: str) -> Any:
    made = await endpoints.create(cafe_id, URL, types, "")
    assert made is not None
    return made


def news(offset: int | None, type_: str = "order_created", about: str = "order") -> News:
    return News(offset, type_, about, b'{"type":"%s"}' % type_.encode())


async def messages(database: Database) -> list[tuple[Any, ...]]:
    return await rows(database, 'SELECT endpoint_id, "offset", type, status FROM webhook_messages ORDER BY id')


# -- endpoints


async def test_a_secret_is_told_when_it_is_made_and_is_nowhere_in_the_database(
    migrated: Database, endpoints: Endpoints
) -> None:
    made = await create(endpoints)
    key = base64.b64decode(made.secret.removeprefix("whsec_"))
    assert made.secret.startswith("whsec_")
    assert len(key) == 32
    (listed,) = await endpoints.listed(CAFE)
    assert listed == msgspec.structs.replace(made, secret=None)
    changed = await endpoints.change(CAFE, made.endpoint_id, description="till")
    assert changed is not None
    assert changed.secret is None
    (row,) = await rows(migrated, "SELECT webhook_endpoints::text FROM webhook_endpoints")
    assert key.hex() not in row[0]
    assert made.secret not in row[0]


async def test_no_two_secrets_are_alike_and_each_needs_the_installations(
    migrated: Database, endpoints: Endpoints
) -> None:
    first, second = await create(endpoints), await create(endpoints)
    assert first.secret != second.secret
    salt = b"s" * 32
    other = Endpoints(migrated, EndpointSettings(), b"another installation", lambda: None, now=lambda: NOON)
    assert endpoints.key(salt) != other.key(salt)


async def test_a_cafe_has_only_so_many_endpoints(endpoints: Endpoints) -> None:
    for _ in range(3):
        await create(endpoints)
    assert await endpoints.create(CAFE, URL, (), "") is None
    await create(endpoints, OTHER)


async def test_what_is_another_cafes_is_not_there(migrated: Database, endpoints: Endpoints) -> None:
    made = await create(endpoints)
    await endpoints.move(CAFE, 0, 1, [news(1)])
    ((message_id,),) = await rows(migrated, "SELECT id FROM webhook_messages")
    ident = made.endpoint_id
    assert await endpoints.listed(OTHER) == []
    assert await endpoints.change(OTHER, ident, enabled=False) is None
    assert await endpoints.rotate(OTHER, ident) is None
    assert await endpoints.attempts(OTHER, ident, None, 10) is None
    assert await endpoints.replay(OTHER, ident, message_id) is None
    assert await endpoints.test(OTHER, ident) is None
    assert not await endpoints.delete(OTHER, ident)
    assert [one.enabled for one in await endpoints.listed(CAFE)] == [True]


async def test_a_change_changes_what_is_said_and_nothing_else(endpoints: Endpoints) -> None:
    made = await create(endpoints, CAFE, "order_created")
    off = await endpoints.change(CAFE, made.endpoint_id, enabled=False)
    assert off is not None
    assert (off.enabled, off.url, off.types, off.disabled_reason) == (
        False,
        URL,
        ("order_created",),
        "disabled by hand",
    )
    on = await endpoints.change(CAFE, made.endpoint_id, enabled=True, types=(), url="https://b.example/")
    assert on is not None
    assert (on.enabled, on.url, on.types, on.disabled_reason) == (True, "https://b.example/", (), None)


async def test_what_was_deleted_is_gone_with_its_messages_and_the_cafes_log_is_followed_no_more(
    migrated: Database, endpoints: Endpoints
) -> None:
    first, second = await create(endpoints), await create(endpoints)
    await endpoints.move(CAFE, 0, 1, [news(1)])
    assert await endpoints.delete(CAFE, first.endpoint_id)
    assert [row[0] for row in await messages(migrated)] == [second.endpoint_id]
    assert await endpoints.cursors() == {CAFE: 1}
    assert await endpoints.delete(CAFE, second.endpoint_id)
    assert await endpoints.cursors() == {}
    assert not await endpoints.move(CAFE, 1, 2, [news(2)])


# -- from the log


async def test_a_cursor_moves_once_from_each_place(migrated: Database, endpoints: Endpoints) -> None:
    await create(endpoints)
    outcomes: list[bool] = []

    async def move() -> None:
        outcomes.append(await endpoints.move(CAFE, 0, 2, [news(1), news(2)]))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(move)
    assert Counter(outcomes) == {True: 1, False: 7}
    assert [row[1] for row in await messages(migrated)] == [1, 2]


async def test_each_endpoint_gets_what_it_asked_for_and_one_that_is_disabled_nothing(
    migrated: Database, endpoints: Endpoints
) -> None:
    everything, some, none = [await create(endpoints, CAFE, *types) for types in ((), ("menu_updated",), ())]
    await endpoints.change(CAFE, none.endpoint_id, enabled=False)
    await endpoints.move(CAFE, 0, 9, [news(3), news(5, "menu_updated", "")])
    assert {row[:3] for row in await messages(migrated)} == {
        (everything.endpoint_id, 3, "order_created"),
        (everything.endpoint_id, 5, "menu_updated"),
        (some.endpoint_id, 5, "menu_updated"),
    }
    jobs = await rows(migrated, "SELECT destination, key, cafe_id FROM outbox")
    assert set(jobs) == {
        (Queue.NOTIFICATIONS.value, f"{everything.endpoint_id}:order", CAFE),
        (Queue.NOTIFICATIONS.value, f"{everything.endpoint_id}:", CAFE),
        (Queue.NOTIFICATIONS.value, f"{some.endpoint_id}:", CAFE),
    }


def evening() -> Shop:
    shop = Shop()
    for _ in range(3):
        shop.take(shop.pay(shop.place()))
        shop.deliver_all()
    return shop


@asynccontextmanager
async def forwarding(endpoints: Endpoints, store: Store, tape: Tape) -> AsyncIterator[None]:
    forwarder = Forwarder(endpoints, store.reader, tape)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forwarder.run)
        yield
        nursery.cancel_scope.cancel()


async def until(so: Callable[[], Any]) -> None:
    with trio.fail_after(PATIENCE_S):
        while not await so():  # noqa: ASYNC110  what is waited for comes out of the database
            await trio.sleep(0.001)


class Following(Tape):
    """A publisher that tells its followers nothing: they find what is there when they look."""

    def follow(self, cafe_id: CafeId, follower: Any) -> Any:
        return lambda: None


async def test_every_event_that_concerns_integrators_is_one_message_even_if_the_server_is_killed_all_the_time(
    migrated: Database, endpoints: Endpoints
) -> None:
    shop = evening()
    cafe_id = shop.cafe_ref.cafe_id
    async with opened(migrated) as store:
        await create(endpoints, cafe_id)
        await store.write(shop)
        head = await store.reader.head(cafe_id)
        logged = await store.reader.log(cafe_id, 0, 10_000)
        told = [news_of(one) for one in logged]
        expected = [(one.offset, one.type) for one in told if one is not None]
        for steps in range(40):  # killed after so many steps, two at once
            with trio.move_on_after(PATIENCE_S) as killed:
                async with trio.open_nursery() as nursery:
                    for _ in range(2):
                        nursery.start_soon(Forwarder(endpoints, store.reader, Following()).run)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    killed.cancel()
        async with forwarding(endpoints, store, Following()):

            async def at_head() -> bool:
                return (await endpoints.cursors())[cafe_id] == head

            await until(at_head)
    assert expected
    assert [row[1:3] for row in sorted(await messages(migrated), key=lambda row: row[1])] == expected
    assert await rows(migrated, "SELECT count(*) FROM outbox WHERE destination <> 'actor'") == [(len(expected),)]


async def test_an_endpoint_hears_what_comes_after_it_and_nothing_that_was_before(
    migrated: Database, endpoints: Endpoints
) -> None:
    shop = evening()
    cafe_id = shop.cafe_ref.cafe_id
    async with opened(migrated) as store:
        await store.write(shop)
        await create(endpoints, cafe_id)
        before = await store.reader.head(cafe_id)
        assert await endpoints.cursors() == {cafe_id: before}
        shop.place()
        await store.write(shop)
        async with forwarding(endpoints, store, Following()):

            async def some() -> bool:
                return bool(await messages(migrated))

            await until(some)
        assert all(row[1] > before for row in await messages(migrated))


async def test_a_message_says_what_the_crew_sees_and_when(migrated: Database) -> None:
    shop = evening()
    async with opened(migrated) as store:
        await store.write(shop)
        logged = await store.reader.log(shop.cafe_ref.cafe_id, 0, 10_000)
    for recorded in logged:
        told = news_of(recorded)
        if told is None:
            continue
        body = msgspec.json.decode(told.body)
        assert body.keys() == {"type", "timestamp", "data"}
        assert body["type"] == told.type in OFFERED
        assert datetime.fromisoformat(body["timestamp"]) == recorded.at
        assert told.about == ("" if recorded.order_id is None else str(recorded.order_id))
    assert {"order_created", "payment_update", "order_state_changed"} <= {
        told.type for told in map(news_of, logged) if told is not None
    }


# -- on the way


class Receiver:
    """A sender whose messages get these answers, one after the other; the last one from then on."""

    def __init__(self, *statuses: int | None, retry_after_s: float | None = None) -> None:
        self.statuses = itertools.chain(statuses, itertools.repeat(statuses[-1] if statuses else 200))
        self.retry_after_s = retry_after_s
        self.sent: list[Outgoing] = []
        self.gate = trio.Event()
        self.gate.set()

    async def send(self, outgoing: Outgoing) -> Answer:
        self.sent.append(outgoing)
        await self.gate.wait()
        status = next(self.statuses)
        error = "no answer" if status is None else None
        return Answer(
            at=NOON, duration_ms=5, status=status, error=error, excerpt="told", retry_after_s=self.retry_after_s
        )


class Post:
    """A postman with one message to deliver."""

    def __init__(self, database: Database, endpoints: Endpoints, clock: Clock, receiver: Receiver) -> None:
        self.database = database
        self.endpoints = endpoints
        self.receiver = receiver
        self.postman = Postman(database, endpoints, receiver, now=clock.now, jitter=lambda: 1.0)

    async def deliver(self, message_id: UUID) -> float | None:
        """One attempt; in how many seconds the next one is."""
        job = Sent(message_id, Job(Queue.NOTIFICATIONS, "k", CAFE, DeliverWebhook(message_id)), SYSTEM)
        try:
            await self.postman.deliver(DeliverWebhook(message_id), job)
        except Later as later:
            return later.seconds
        return None

    async def status(self, message_id: UUID) -> str:
        ((status,),) = await rows(self.database, "SELECT status FROM webhook_messages WHERE id = $1", message_id)
        return str(status)


@pytest.fixture
async def endpoint(endpoints: Endpoints) -> Any:
    return await create(endpoints)


async def new_message(database: Database, endpoints: Endpoints) -> UUID:
    (after,) = (await endpoints.cursors()).values()
    await endpoints.move(CAFE, after, after + 1, [news(after + 1)])
    ((id_,),) = await rows(database, 'SELECT id FROM webhook_messages WHERE "offset" = $1', after + 1)
    assert isinstance(id_, UUID)
    return id_


async def test_what_arrives_is_delivered_and_never_sent_again(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(204))
    message = await new_message(migrated, endpoints)
    assert await post.deliver(message) is None
    assert await post.deliver(message) is None
    assert await post.status(message) == "delivered"
    (sent,) = post.receiver.sent
    key = base64.b64decode(endpoint.secret.removeprefix("whsec_"))
    assert (sent.webhook_id, sent.url, sent.keys) == (f"msg_{message.hex}", URL, (key,))


@pytest.mark.parametrize("status", [None, 199, 301, 400, 404, 429, 500])
async def test_what_does_not_is_tried_by_the_schedule_under_one_id_until_it_has_failed(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock, status: int | None
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(status))
    message = await new_message(migrated, endpoints)
    waits = [await post.deliver(message) for _ in DELAYS_S]
    assert waits == [*DELAYS_S[1:], None]
    assert await post.status(message) == "failed"
    assert len({sent.webhook_id for sent in post.receiver.sent}) == 1
    assert len({sent.body for sent in post.receiver.sent}) == 1
    attempts = await endpoints.attempts(CAFE, endpoint.endpoint_id, None, 100)
    assert attempts is not None
    assert [one.attempt for one in attempts] == list(range(len(DELAYS_S), 0, -1))
    assert {(one.status, one.message_status, one.excerpt) for one in attempts} == {(status, "failed", "told")}
    page = await endpoints.attempts(CAFE, endpoint.endpoint_id, attempts[1].attempt_id, 3)
    assert page is not None
    assert list(page) == list(attempts[2:5])


async def test_a_receiver_that_asks_for_more_time_gets_it(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(503, retry_after_s=90.0))
    message = await new_message(migrated, endpoints)
    assert [await post.deliver(message) for _ in range(3)] == [90.0, 300.0, 1800.0]


async def test_a_receiver_that_is_gone_is_left_alone(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(410))
    first, second = await new_message(migrated, endpoints), await new_message(migrated, endpoints)
    assert await post.deliver(first) is None
    (left,) = await endpoints.listed(CAFE)
    assert (left.enabled, left.disabled_reason) == (False, "the receiver says that it is gone (410)")
    assert await post.deliver(second) is None
    assert len(post.receiver.sent) == 1
    assert {await post.status(first), await post.status(second)} == {"failed"}
    assert await endpoints.test(CAFE, endpoint.endpoint_id) is None
    assert await endpoints.replay(CAFE, endpoint.endpoint_id, first) is False


async def test_a_replay_sends_the_same_message_again_and_tries_as_often(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(200, 500, 200))
    message = await new_message(migrated, endpoints)
    assert await endpoints.replay(CAFE, endpoint.endpoint_id, message) is False  # it is on its way
    await post.deliver(message)
    assert await endpoints.replay(CAFE, endpoint.endpoint_id, message) is True
    assert await post.deliver(message) == DELAYS_S[1]
    assert await post.deliver(message) is None
    first, *again = post.receiver.sent
    assert {(one.webhook_id, one.body) for one in again} == {(first.webhook_id, first.body)}
    assert await endpoints.replay(CAFE, endpoint.endpoint_id, uuid_utils.compat.uuid7()) is None
    assert await rows(migrated, "SELECT count(*) FROM outbox") == [(2,)]


async def test_after_a_rotation_both_secrets_sign_for_a_day(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(200))
    rotated = await endpoints.rotate(CAFE, endpoint.endpoint_id)
    assert rotated is not None
    assert rotated.secret is not None
    old, new = (base64.b64decode(one.secret.removeprefix("whsec_")) for one in (endpoint, rotated))
    await post.deliver(await new_message(migrated, endpoints))
    clock.time += BOTH_SIGN
    await post.deliver(await new_message(migrated, endpoints))
    assert [sent.keys for sent in post.receiver.sent] == [(new, old), (new,)]


async def test_a_test_is_a_message_like_any_other(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(200))
    message = await endpoints.test(CAFE, endpoint.endpoint_id)
    assert message is not None
    await post.deliver(message)
    (sent,) = post.receiver.sent
    assert msgspec.json.decode(sent.body) == {
        "type": "test",
        "timestamp": msgspec.to_builtins(NOON),
        "data": {"endpointId": str(endpoint.endpoint_id)},
    }


async def test_a_receiver_that_is_slow_takes_no_more_than_its_share(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(500, 200))
    waiting = [await new_message(migrated, endpoints) for _ in range(AT_ONCE + 1)]
    post.receiver.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for message in waiting[:AT_ONCE]:
            nursery.start_soon(post.deliver, message)
        await until_sent(post, AT_ONCE)
        assert await post.deliver(waiting[-1]) is not None
        post.receiver.gate.set()
    assert len(post.receiver.sent) == AT_ONCE

    failing = Post(migrated, endpoints, clock, Receiver(500))
    more = [await new_message(migrated, endpoints) for _ in range(3)]
    await failing.deliver(more[0])
    failing.receiver.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(failing.deliver, more[1])
        await until_sent(failing, 2)
        assert await failing.deliver(more[2]) == FAILING_S
        failing.receiver.gate.set()


async def until_sent(post: Post, count: int) -> None:
    with trio.fail_after(PATIENCE_S):
        while len(post.receiver.sent) < count:
            await trio.lowlevel.checkpoint()


async def test_what_is_old_and_settled_is_forgotten_with_its_attempts(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver(200))
    done, open_ = await new_message(migrated, endpoints), await new_message(migrated, endpoints)
    await post.deliver(done)
    await run(migrated, "UPDATE webhook_messages SET created_at = $1", NOON - timedelta(days=31))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.postman.run)

        async def forgotten() -> bool:
            return not await rows(migrated, "SELECT FROM webhook_attempts")

        await until(forgotten)
        nursery.cancel_scope.cancel()
    assert await rows(migrated, "SELECT id FROM webhook_messages") == [(open_,)]


async def test_messages_about_one_order_arrive_in_their_order_through_the_queue(
    migrated: Database, endpoints: Endpoints, endpoint: Any, clock: Clock
) -> None:
    post = Post(migrated, endpoints, clock, Receiver())
    await endpoints.move(CAFE, 0, 6, [news(n, about=f"order {n % 2}") for n in range(1, 7)])

    async def nobody(_: Sent) -> None:
        raise AssertionError

    relay = Relay(migrated, nobody, RelayLimits(net_seconds=0.05), workers={DeliverWebhook: post.postman.deliver})
    async with trio.open_nursery() as nursery:
        await nursery.start(relay.run)

        async def delivered() -> bool:
            return {row[3] for row in await messages(migrated)} == {"delivered"}

        await until(delivered)
        nursery.cancel_scope.cancel()
    offsets = dict(await rows(migrated, 'SELECT id, "offset" FROM webhook_messages'))
    arrived = [offsets[sent.message_id] for sent in post.receiver.sent]
    assert [n for n in arrived if n % 2] == [1, 3, 5]
    assert [n for n in arrived if not n % 2] == [2, 4, 6]
