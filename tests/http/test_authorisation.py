"""Nobody gets past a door who has no business there (spec A1, A2): operation by operation, door by door.

``CASES`` and ``DOOR_CASES`` say by hand who may. They are compared with the tables of the code both ways, so a new
operation or door fails here until it has a case. Refused means: the right status and code, and nothing changed.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import httpx
import jwt
import pytest

from tabletap.http.auth import ALGORITHM, ISSUER
from tabletap.http.operations import OPERATIONS
from tabletap.http.operations.base import Key
from tabletap.http.sockets.table import DOORS

from .server import MENU, PREPAY, ROLES, SETTINGS, Cafe, Server, fields_at_fault, new_key, of_till, problem_of

STAFF = frozenset({"staff", "counter", "manager", "owner", "admin"})
CREW = STAFF | {"kitchen"}
MANAGEMENT = frozenset({"manager", "owner", "admin"})
ADMIN = frozenset({"admin"})

Fields = dict[str, Any]


class Premises:
    """Something of everything at cafe A: what the operations are about, and its rightful owners."""

    def __init__(self, server: Server, cafe: Cafe) -> None:
        self.server = server
        self.cafe = cafe
        self.anns_name = f"ann-{new_key()}"
        self.ann = server.token("customer", cafe.id, user=self.anns_name)
        self.bob = server.token("customer", cafe.id)
        self.order = server.place(cafe, self.ann, channel="table", table="1")
        self.other_order = server.place(cafe)
        self.payment = server.initiate(cafe, self.order, amount=100)
        self.elsewhere = server.initiate(cafe, self.other_order, "payconic_card", amount=1)
        given_up = server.perform("payments.cancel", self.elsewhere, server.admin)
        assert given_up.status_code == 200, given_up.text
        opened = server.perform(
            "drawers.open",
            {"cafe": cafe.slug, "name": "Till", "floatAmount": 100},
            cafe.tokens["counter"],
            key=new_key(),
        )
        assert opened.status_code == 201, opened.text
        self.drawer = opened.json()
        issued = server.perform("gift_cards.issue", {"cafe": cafe.slug, "amount": 90_000}, server.admin, key=new_key())
        assert issued.status_code == 201, issued.text
        self.card = issued.json()["card"]
        used = server.perform("gift_cards.deduct", self.of_card(amount=10_000), server.admin)
        assert used.status_code == 200, used.text
        self.used = used.json()["transactionId"]
        closed = server.perform("reports.close", self.of_cafe(force=True), server.admin, key=new_key())
        assert closed.status_code == 201, closed.text

    def of_cafe(self, **more: Any) -> Fields:
        return {"cafe": self.cafe.slug, **more}

    def of_card(self, **more: Any) -> Fields:
        return self.of_cafe(card=self.card, **more)

    def of_number(self, **more: Any) -> Fields:
        return self.of_cafe(phone="0412345678", **more)

    def of_order(self, **more: Any) -> Fields:
        return {"orderId": self.order["id"], **more}

    def of_payment(self, **more: Any) -> Fields:
        return {"paymentId": self.payment["paymentId"], **more}

    def of_drawer(self, **more: Any) -> Fields:
        return self.of_cafe(drawerId=self.drawer["drawerId"], **more)

    def of_endpoint(self, **more: Any) -> Fields:
        """The cafe's endpoint, a new one where it was deleted."""
        path = f"/api/{self.cafe.slug}/webhook-endpoints"
        there = self.server.call("GET", path, self.server.admin).json()["endpoints"]
        body = {"url": "http://127.0.0.1:1/", "types": ["menu_updated"]}
        endpoint = there[0] if there else self.server.call("POST", path, self.server.admin, body).json()
        return self.of_cafe(endpointId=endpoint["endpointId"], **more)

    def of_till_key(self) -> Fields:
        """A key of the cafe's, a new one where it was revoked."""
        there = self.server.call("GET", f"/api/{self.cafe.slug}/pos-keys", self.server.admin).json()["keys"]
        good = [key for key in there if "revokedAt" not in key and key["name"] == "Of the premises"]
        return self.of_cafe(keyId=(good or [self.server.key(self.cafe, name="Of the premises")])[0]["keyId"])

    def of_message(self) -> Fields:
        """A message on its way there."""
        sent = self.server.perform("endpoints.test", self.of_endpoint(), self.server.admin)
        assert sent.status_code == 200, sent.text
        return self.of_endpoint(messageId=sent.json()["messageId"])

    def of_webhook(self) -> Fields:
        """One about a payment of this cafe."""
        event_id = f"evt_{new_key()}"
        payment = {"id": "pay_1", "merchantReference": self.elsewhere["paymentId"], "status": "PENDING"}
        event = {"id": event_id, "eventType": "payment.other", "sequence": 1, "data": {"payment": payment}}
        assert self.server.tell("payconic", event).status_code == 200
        listed = self.server.call("GET", "/api/webhooks/inbox?limit=500", self.server.admin).json()["webhooks"]
        return {"webhookId": next(one["webhookId"] for one in listed if one["eventId"] == event_id)}


SHIFT: Mapping[str, Any] = {
    "from": "2026-01-01T00:00:00Z",
    "to": "2126-01-01T00:00:00Z",
    "staff": [{"user": "sam", "role": "floor"}],
}


REPORT: Mapping[str, Any] = {
    "reportDate": "2026-01-01",
    "totalSales": 100,
    "totalOrders": 1,
    "cashSales": 100,
    "cardSales": 0,
    "netSales": 100,
}


class Case(NamedTuple):
    """``roles``: of the cafe's own people; ``public``: no token is needed; ``own``: also for the order's customer;
    ``account``: also for the customer who is named, by their token; ``till``: also for tills with such a key."""

    roles: frozenset[str]
    fields: Callable[[Premises], Fields]
    public: bool = False
    own: bool = False
    account: bool = False
    till: str | None = None


CASES: Mapping[str, Case] = {
    "cafes.open": Case(ADMIN, lambda p: {"slug": f"new-{new_key()}", "settings": SETTINGS, "menu": MENU}),
    "cafes.settings": Case(CREW, lambda p: p.of_cafe()),
    "cafes.configure": Case(MANAGEMENT, lambda p: p.of_cafe(**{**SETTINGS, "prepay": PREPAY, "approval": True})),
    "menu.get": Case(CREW, lambda p: p.of_cafe(), public=True),
    "menu.publish": Case(MANAGEMENT, lambda p: p.of_cafe(**{**MENU, "items": MENU["items"][:2]})),
    "menu.set_availability": Case(CREW, lambda p: p.of_cafe(sku="toast", available=True, remaining=9_000)),
    "tables.list": Case(CREW, lambda p: p.of_cafe()),
    "tables.png": Case(CREW, lambda p: p.of_cafe(table="1"), public=True),
    "tables.svg": Case(CREW, lambda p: p.of_cafe(table="1"), public=True),
    "orders.place": Case(
        CREW, lambda p: p.of_cafe(channel="online", items=[{"sku": "toast", "quantity": 1}]), public=True
    ),
    "orders.list": Case(CREW, lambda p: p.of_cafe()),
    "orders.get": Case(CREW, lambda p: p.of_order(), own=True),
    "orders.accept": Case(STAFF, lambda p: p.of_order()),
    "orders.change": Case(STAFF, lambda p: p.of_order(note="no nuts"), own=True),
    "orders.move": Case(STAFF, lambda p: p.of_order(table="2")),
    "orders.merge": Case(STAFF, lambda p: p.of_order(into=p.other_order["id"])),
    "orders.start": Case(CREW, lambda p: p.of_order()),
    "orders.ready": Case(CREW, lambda p: p.of_order()),
    "orders.complete": Case(CREW, lambda p: p.of_order()),
    "orders.cancel": Case(STAFF, lambda p: p.of_order(), own=True),
    "items.start": Case(CREW, lambda p: p.of_order(line=1)),
    "items.bump": Case(CREW, lambda p: p.of_order(line=1)),
    "items.recall": Case(CREW, lambda p: p.of_order(line=1)),
    "items.hold": Case(CREW, lambda p: p.of_order(line=1)),
    "items.fire": Case(CREW, lambda p: p.of_order(line=1)),
    "items.void": Case(STAFF, lambda p: p.of_order(line=1)),
    "kitchen.get": Case(CREW, lambda p: p.of_cafe()),
    "payments.initiate": Case(STAFF, lambda p: p.of_order(paymentMethod="cash", amount=1), own=True),
    "payments.status": Case(STAFF, lambda p: p.of_payment(), own=True),
    "payments.list": Case(STAFF, lambda p: p.of_order()),
    "payments.verify": Case(STAFF, lambda p: p.of_payment(tendered=5_000)),
    "payments.refund": Case(STAFF, lambda p: p.of_payment()),
    "payments.cancel": Case(STAFF, lambda p: p.of_payment(), own=True),
    "credits.balance": Case(STAFF, lambda p: p.of_cafe(customerId=p.anns_name), account=True),
    "credits.history": Case(STAFF, lambda p: p.of_cafe(customerId=p.anns_name), account=True),
    "credits.add": Case(STAFF, lambda p: p.of_cafe(customerId=p.anns_name, amount=100, reason="sorry")),
    "credits.deduct": Case(MANAGEMENT, lambda p: p.of_cafe(customerId=p.anns_name, amount=1, reason="a slip")),
    "gift_cards.issue": Case(MANAGEMENT, lambda p: p.of_cafe(amount=100, reason="sorry")),
    "gift_cards.balance": Case(CREW, lambda p: p.of_card(), public=True, till="read"),
    "gift_cards.history": Case(STAFF, lambda p: p.of_card(), till="read"),
    "gift_cards.deduct": Case(STAFF, lambda p: p.of_card(amount=1, orderId="R-7"), till="write"),
    "gift_cards.refund": Case(STAFF, lambda p: p.of_card(amount=1, transactionId=p.used), till="write"),
    "gift_cards.of_order": Case(STAFF, lambda p: p.of_order(), own=True),
    "loyalty.points": Case(STAFF, lambda p: p.of_number(), till="read"),
    "loyalty.history": Case(STAFF, lambda p: p.of_number(), till="read"),
    "loyalty.add": Case(STAFF, lambda p: p.of_number(points=1, reason="sorry"), till="write"),
    "loyalty.redeem": Case(STAFF, lambda p: p.of_number(points=1), till="write"),
    "loyalty.of_order": Case(STAFF, lambda p: p.of_order(), own=True),
    "loyalty.redeem_on_order": Case(STAFF, lambda p: p.of_order(points=1), own=True),
    "tips.get": Case(CREW, lambda p: p.of_cafe()),
    "tips.distribute": Case(MANAGEMENT, lambda p: p.of_cafe(**SHIFT)),
    "tips.payout": Case(MANAGEMENT, lambda p: p.of_cafe(user="sam", amount=1, way="cash")),
    "drawers.open": Case(STAFF, lambda p: p.of_cafe(name="Second till", floatAmount=0)),
    "drawers.list": Case(STAFF, lambda p: p.of_cafe()),
    "drawers.get": Case(STAFF, lambda p: p.of_drawer()),
    "drawers.pay": Case(STAFF, lambda p: p.of_drawer(amount=50, reason="change fetched")),
    "drawers.count": Case(STAFF, lambda p: p.of_drawer(counted=100)),
    "statements.import": Case(
        MANAGEMENT, lambda p: p.of_cafe(csv="Date,Amount,Description", format={"amount": "Amount"})
    ),
    "ledger.balances": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "ledger.entries": Case(MANAGEMENT, lambda p: p.of_cafe(account="receivable")),
    "orders.audit": Case(MANAGEMENT, lambda p: p.of_order()),
    "payments.audit": Case(MANAGEMENT, lambda p: p.of_payment()),
    "reconciliation.get": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "reconciliation.newest": Case(ADMIN, lambda p: {}),
    "reconciliation.run": Case(ADMIN, lambda p: {}),
    "jobs.queues": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "jobs.dead_letters": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "jobs.replay": Case(MANAGEMENT, lambda p: p.of_cafe(jobId=new_key())),
    "endpoints.create": Case(MANAGEMENT, lambda p: p.of_cafe(url="http://127.0.0.1:1/", types=["menu_updated"])),
    "endpoints.list": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "endpoints.change": Case(MANAGEMENT, lambda p: p.of_endpoint(description="the till's")),
    "endpoints.delete": Case(MANAGEMENT, lambda p: p.of_endpoint()),
    "endpoints.rotate": Case(MANAGEMENT, lambda p: p.of_endpoint()),
    "endpoints.attempts": Case(MANAGEMENT, lambda p: p.of_endpoint()),
    "endpoints.replay": Case(MANAGEMENT, lambda p: p.of_message()),
    "endpoints.test": Case(MANAGEMENT, lambda p: p.of_endpoint()),
    "tokens.revoke": Case(MANAGEMENT, lambda p: p.of_cafe(tokenId=new_key())),
    "tokens.revoked": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "cafes.announce": Case(MANAGEMENT, lambda p: p.of_cafe(text="closing soon", excludeRoles=["customer"])),
    "connections.list": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "connections.count": Case(ADMIN, lambda p: {}),
    "pos.health": Case(MANAGEMENT, lambda p: p.of_cafe(), till="read"),
    "pos.pending": Case(MANAGEMENT, lambda p: p.of_cafe(), till="read"),
    "pos.events": Case(MANAGEMENT, lambda p: p.of_cafe(after=0), till="read"),
    "pos.status": Case(MANAGEMENT, lambda p: p.of_cafe(), till="read"),
    "pos.batch": Case(STAFF, lambda p: p.of_cafe(updates=[{"orderId": p.order["id"], "move": "accept"}]), till="write"),
    "pos.log": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "pos.test": Case(MANAGEMENT, lambda p: p.of_cafe(text="hello")),
    "pos_keys.make": Case(MANAGEMENT, lambda p: p.of_cafe(name=f"Till {new_key()}")),
    "pos_keys.list": Case(MANAGEMENT, lambda p: p.of_cafe()),
    "pos_keys.rotate": Case(MANAGEMENT, lambda p: p.of_till_key()),
    "pos_keys.revoke": Case(MANAGEMENT, lambda p: p.of_till_key()),
    "reports.upload": Case(STAFF, lambda p: p.of_cafe(**REPORT), till="write"),
    "reports.uploads": Case(MANAGEMENT, lambda p: p.of_cafe(), till="read"),
    "reports.day": Case(MANAGEMENT, lambda p: p.of_cafe(day="2026-01-01"), till="read"),
    "reports.x": Case(STAFF, lambda p: p.of_cafe(), till="read"),
    "reports.close": Case(STAFF, lambda p: p.of_cafe()),
    "reports.zs": Case(STAFF, lambda p: p.of_cafe(), till="read"),
    "reports.z": Case(STAFF, lambda p: p.of_cafe(number=1), till="read"),
    "installation.revoke": Case(ADMIN, lambda p: {"user": f"nobody-{new_key()}"}),
    "webhooks.list": Case(ADMIN, lambda p: {}),
    "webhooks.rejections": Case(ADMIN, lambda p: {}),
    "webhooks.replay": Case(ADMIN, lambda p: p.of_webhook()),
    "installation.queues": Case(ADMIN, lambda p: {}),
    "installation.dead_letters": Case(ADMIN, lambda p: {}),
    "installation.replay": Case(ADMIN, lambda p: {"jobId": new_key()}),
}

OF_NO_CAFE = {
    "cafes.open",
    "webhooks.list",
    "webhooks.rejections",
    "webhooks.replay",
    "installation.queues",
    "installation.dead_letters",
    "installation.replay",
    "installation.revoke",
    "connections.count",
    "reconciliation.newest",
    "reconciliation.run",
}


class DoorCase(NamedTuple):
    roles: frozenset[str]
    tracking: bool = False


DOOR_CASES: Mapping[str, DoorCase] = {
    "orders": DoorCase(CREW),
    "kitchen": DoorCase(frozenset({"kitchen", "staff"}) | MANAGEMENT),
    "counter": DoorCase(STAFF),
    "customers": DoorCase(frozenset({"customer"}), tracking=True),
    "payments": DoorCase(STAFF | {"customer"}, tracking=True),
    "admin": DoorCase(MANAGEMENT),
}

DOORS_OF_TILLS = {"pos"}
"""The others are people's."""

REFUSALS_OF_A_PERSON = {"AUTH_REQUIRED", "INVALID_TOKEN", "TOKEN_EXPIRED", "FORBIDDEN"}


@pytest.fixture(scope="module")
def premises(server: Server) -> Premises:
    """For what is refused, and so changes nothing."""
    return Premises(server, server.a)


@pytest.fixture(scope="module")
def foreign_order(server: Server) -> Any:
    return server.place(server.b)


def test_every_operation_and_every_door_has_a_case() -> None:
    signed = {name for name, operation in OPERATIONS.items() if operation.signed_bytes}  # see test_webhooks
    assert CASES.keys() | signed == OPERATIONS.keys()
    assert DOOR_CASES.keys() | DOORS_OF_TILLS == DOORS.keys()
    assert {name for name, door in DOORS.items() if door.till} == DOORS_OF_TILLS
    assert {name: op.access.till for name, op in OPERATIONS.items() if op.access.till} == {
        name: case.till for name, case in CASES.items() if case.till
    }


def key_for(name: str) -> str | None:
    return new_key() if OPERATIONS[name].key is Key.REQUIRED else None


# -- tokens that are none


def forged(server: Server, premises: Premises) -> Iterator[tuple[str, str, str]]:
    """Tokens that look like those of cafe A's owner: what is wrong with them, the token, the code."""
    now = datetime.now(UTC)
    claims = {
        "iss": ISSUER,
        "sub": "owner",
        "role": "owner",
        "cafes": [server.a.id],
        "iat": now,
        "exp": now + timedelta(hours=1),
    }
    ours = server.auth._people_key

    def signed(key: bytes | None = ours, algorithm: str = ALGORITHM, without: str = "", **changed: Any) -> str:
        told = {name: value for name, value in {**claims, **changed}.items() if name != without}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our key is short for the algorithm that is not ours
            return jwt.encode(told, key, algorithm=algorithm)

    invalid = "INVALID_TOKEN"
    yield "rubbish", "rubbish", invalid
    yield "rubbish with dots", "e30.e30.e30", invalid
    yield "a giant", "x" * 8_000, invalid
    yield "not ASCII", "\u00e4\u00f6\u00fc", invalid
    yield "expired", signed(exp=now - timedelta(minutes=5)), "TOKEN_EXPIRED"
    yield "not signed", signed(None, "none"), invalid
    yield "signed with another key", signed(b"k" * 64), invalid
    yield "signed with another algorithm", signed(algorithm="HS512"), invalid
    yield "of another issuer", signed(iss="somebody else"), invalid
    yield "without expiry", signed(without="exp"), invalid
    yield "without issuer", signed(without="iss"), invalid
    yield "without a user", signed(without="sub"), invalid
    yield "good for years", signed(exp=now + timedelta(days=400)), invalid
    yield "made at no time", signed(iat="yesterday"), invalid
    yield "of the house itself", signed(role="system"), invalid
    yield "of an unknown role", signed(role="emperor"), invalid
    yield "of all cafes without being the admin", signed(cafes=["*"]), invalid
    yield "of cafes that are none", signed(cafes="everything"), invalid
    yield "of a cafe that is no id", signed(cafes=[1]), invalid
    head, body, mac = signed().split(".")
    yield "changed after signing", f"{head}.{body[:-2]}AA.{mac}", invalid
    yield "a tracking token of nothing", "trk_", invalid
    yield "a tracking token with another MAC", premises.order["trackingToken"][:-4] + "AAAA", invalid


def header(token: str) -> dict[str, str | bytes]:
    return {"authorization": b"Bearer " + token.encode()}


@pytest.mark.parametrize("name", CASES)
def test_without_a_token_only_what_is_public_can_be_done(name: str, server: Server, premises: Premises) -> None:
    case = CASES[name]
    if case.public:
        answer = server.perform(name, case.fields(premises), key=key_for(name))
        assert answer.status_code == OPERATIONS[name].status, answer.text
        return
    before = server.footprint(server.a, server.b)
    answer = server.perform(name, case.fields(premises), key=key_for(name))
    problem_of(answer, 401, "AUTH_REQUIRED")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert server.footprint(server.a, server.b) == before


@pytest.mark.parametrize("name", CASES)
def test_a_forged_token_does_nothing_even_where_none_is_needed(name: str, server: Server, premises: Premises) -> None:
    before = server.footprint(server.a, server.b)
    for what, token, code in forged(server, premises):
        operation, fields = OPERATIONS[name], CASES[name].fields(premises)
        body = None if operation.method == "GET" else fields
        path = operation.path.format(**fields)
        headers = {**header(token), "idempotency-key": new_key()}
        answer = server.http.request(operation.method, path, json=body, headers=headers)
        assert (what, problem_of(answer, 401, code)["code"]) == (what, code)
    problem_of(server.call("GET", f"/api/{server.a.slug}/menu", headers={"authorization": "Basic b3duZXI6"}), 401, code)
    assert server.footprint(server.a, server.b) == before


# -- people who have no business there


def strangers(server: Server, premises: Premises, foreign_order: Any, case: Case) -> Iterator[tuple[str, str]]:
    """Everybody who may not: those of another cafe, the wrong roles, other customers."""
    yield from ((f"{role} of another cafe", server.b.tokens[role]) for role in ROLES)
    if case.public:
        return
    yield from ((f"{role} of the cafe", server.a.tokens[role]) for role in ROLES if role not in case.roles)
    yield "another customer of the cafe", premises.bob
    yield "the tracking token of another order", premises.other_order["trackingToken"]
    yield "the tracking token of another cafe's order", foreign_order["trackingToken"]
    if not (case.own or case.account):
        yield "the order's customer", premises.ann
    if not case.own:
        yield "the order's tracking token", premises.order["trackingToken"]


@pytest.mark.parametrize("name", CASES)
def test_people_of_other_cafes_and_roles_and_orders_are_refused(
    name: str, server: Server, premises: Premises, foreign_order: Any
) -> None:
    case = CASES[name]
    before = server.footprint(server.a, server.b)
    for who, token in strangers(server, premises, foreign_order, case):
        if name in OF_NO_CAFE and who == "admin of another cafe":
            continue  # what they get there is their own cafe's: see below
        answer = server.perform(name, case.fields(premises), token, key=key_for(name))
        assert (who, problem_of(answer, 403, "FORBIDDEN")["code"]) == (who, "FORBIDDEN")
    assert server.footprint(server.a, server.b) == before


# -- tills


@pytest.fixture(scope="module")
def keys(server: Server) -> Mapping[str, str]:
    """Keys by what they are good for: at cafe A, and at the other one."""
    return {
        "read": server.key(server.a, "read")["key"],
        "write": server.key(server.a, "write")["key"],
        "other": server.key(server.b)["key"],
    }


def by_till(name: str, fields: Fields, cafe: Cafe, key: str, server: Server) -> httpx.Response:
    """An operation as a till of ``cafe`` would ask for it."""
    operation = OPERATIONS[name]
    body = {field: value for field, value in fields.items() if field not in operation.params}
    headers = {**of_till(cafe, key), "idempotency-key": new_key()}
    sent: Any = {"params": body} if operation.method == "GET" else {"json": body}
    return server.http.request(operation.method, operation.path.format(**fields), headers=headers, **sent)


@pytest.mark.parametrize("name", CASES)
def test_a_till_does_what_its_key_is_good_for_and_nothing_else(
    name: str, server: Server, premises: Premises, keys: Mapping[str, str]
) -> None:
    case = CASES[name]
    if case.public:
        return
    before = server.footprint(server.a, server.b)
    for scope in ("read", "write"):
        if scope != case.till:
            problem_of(by_till(name, case.fields(premises), server.a, keys[scope], server), 403, "FORBIDDEN")
    if OPERATIONS[name].of_cafe and "cafe" in OPERATIONS[name].params:
        for cafe, key in ((server.b, keys["other"]), (server.a, keys["other"]), (server.b, keys["read"])):
            problem_of(by_till(name, case.fields(premises), cafe, key, server), 403, "FORBIDDEN")
        problem_of(by_till(name, case.fields(premises), server.a, "tt_wrong", server), 401, "INVALID_TOKEN")
    assert server.footprint(server.a, server.b) == before
    if case.till is not None:
        admitted(by_till(name, case.fields(premises), server.a, keys[case.till], server))


async def test_the_door_of_tills_opens_to_keys_of_its_cafe_and_to_nobody_else(
    server: Server, premises: Premises, keys: Mapping[str, str]
) -> None:
    for token in (None, *server.a.tokens.values(), server.admin, premises.order["trackingToken"], keys["read"]):
        problem_of(server.knock("pos", server.a, token), 401, "AUTH_REQUIRED")
    for headers, status, code in (
        ({"X-API-Key": "tt_wrong"}, 401, "INVALID_TOKEN"),
        ({"X-API-Key": server.a.tokens["owner"]}, 401, "INVALID_TOKEN"),
        ({"X-API-Key": keys["other"]}, 403, "FORBIDDEN"),
        ({"X-API-Key": keys["write"]}, 403, "FORBIDDEN"),
        ({"X-API-Key": keys["read"], "X-Tenant-ID": server.b.slug}, 403, "FORBIDDEN"),
    ):
        problem_of(server.knock("pos", server.a, None, headers=headers), status, code)
    for till in ("x" * 65, "a\nb", "-", "4111 1111 1111 1111"):
        answer = server.knock("pos", server.a, None, headers={"X-API-Key": keys["read"]}, till=till)
        problem_of(answer, 400, "VALIDATION_ERROR")
    for door in DOOR_CASES:
        problem_of(server.knock(door, server.a, None, headers=of_till(server.a, keys["read"])), 401, "AUTH_REQUIRED")
    async with server.till(server.a, keys["read"]) as till:
        assert till.welcome["cafeId"] == server.a.id
        assert till.welcome["rooms"] == [f"cafe:{server.a.id}:pos"]


def admitted(answer: httpx.Response) -> None:
    """Past the door: carried out, or refused by a rule of the trade."""
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["code"] not in REFUSALS_OF_A_PERSON | {"NOT_FOUND", "VALIDATION_ERROR"}, answer.text


def to_work_at(name: str, server: Server, premises: Premises) -> Premises:
    """Some for an operation that is carried out: of its own, unless it only reads."""
    if OPERATIONS[name].method == "GET":
        return premises
    return Premises(server, server.open_cafe(prepay=PREPAY))


@pytest.mark.parametrize("name", CASES)
def test_whoever_may_is_let_through(name: str, server: Server, premises: Premises) -> None:
    case, premises = CASES[name], to_work_at(name, server, premises)
    tokens = [premises.cafe.tokens[role] for role in ROLES if role in case.roles or case.public] + [server.admin]
    if case.own or case.account:
        tokens += [premises.ann]
    if case.own:
        tokens += [premises.order["trackingToken"]]
    for token in tokens:
        admitted(server.perform(name, case.fields(premises), token, key=key_for(name)))


def test_only_the_crew_rings_up_counter_orders(server: Server, premises: Premises) -> None:
    body = {"channel": "counter", "items": [{"sku": "toast", "quantity": 1}]}
    path = f"/api/{server.a.slug}/orders"
    before = server.footprint(server.a)
    problem_of(server.call("POST", path, None, body), 401, "AUTH_REQUIRED")
    for token in (server.a.tokens["customer"], premises.order["trackingToken"]):
        problem_of(server.call("POST", path, token, body), 403, "FORBIDDEN")
    assert server.footprint(server.a) == before
    assert server.call("POST", path, server.a.tokens["kitchen"], body).status_code == 201


def test_the_tracking_token_is_told_to_the_orders_owner_only(server: Server, premises: Premises) -> None:
    path = f"/api/orders/{premises.order['id']}"
    for token in (premises.ann, premises.order["trackingToken"]):
        assert server.call("GET", path, token).json()["trackingToken"] == premises.order["trackingToken"]
    for role in CREW:
        assert "trackingToken" not in server.call("GET", path, server.a.tokens[role]).json()
    listed = server.call("GET", f"/api/{server.a.slug}/orders", server.a.tokens["owner"]).text
    assert "trk_" not in listed


# -- ids that name something else


def test_an_id_of_another_kind_names_nothing(server: Server, premises: Premises) -> None:
    counter, order, payment = server.a.tokens["counter"], premises.order["id"], premises.payment["paymentId"]
    drawer = premises.drawer["drawerId"]
    assert server.call("GET", f"/api/orders/{order}", counter).status_code == 200
    assert server.call("GET", f"/api/payments/{payment}/status", counter).status_code == 200
    before = server.footprint(server.a)
    for path in (
        f"/api/orders/{payment}",
        f"/api/orders/{drawer}",
        f"/api/payments/{order}/status",
        f"/api/payments/{drawer}/status",
        f"/api/{server.a.slug}/drawers/{order}",
        f"/api/{server.a.slug}/drawers/{payment}",
        f"/api/{server.a.slug}/drawers/{server.a.id}",
    ):
        problem_of(server.call("GET", path, counter), 404, "NOT_FOUND")
    for path, body in (
        (f"/api/orders/{payment}/cancel", {}),
        (f"/api/payments/{order}/verify", {"tendered": 100}),
        (f"/api/{server.a.slug}/drawers/{order}/pay", {"amount": 1, "reason": "x"}),
        (f"/api/{server.a.slug}/drawers/{payment}/count", {"counted": 1}),
    ):
        problem_of(server.call("POST", path, counter, body, key=new_key()), 404, "NOT_FOUND")
    assert server.footprint(server.a) == before


def test_what_belongs_to_another_cafe_cannot_be_named_from_ones_own(server: Server, premises: Premises) -> None:
    theirs, cafe = Premises(server, server.b), server.a
    counter = cafe.tokens["counter"]
    before, drawer = server.footprint(server.a, server.b), theirs.drawer["drawerId"]
    for method, path, body in (
        ("GET", f"/api/{cafe.slug}/drawers/{drawer}", None),
        ("POST", f"/api/{cafe.slug}/drawers/{drawer}/pay", {"amount": 1, "reason": "x"}),
        ("POST", f"/api/{cafe.slug}/drawers/{drawer}/count", {"counted": 1}),
    ):
        problem_of(server.call(method, path, counter, body, key=new_key()), 404, "NOT_FOUND")
    into = {"into": theirs.order["id"]}
    problem_of(server.call("POST", f"/api/orders/{premises.order['id']}/merge", counter, into), 400, "VALIDATION_ERROR")
    paid_into = {"tendered": 1_000, "drawerId": drawer}
    verify = f"/api/payments/{premises.payment['paymentId']}/verify"
    problem_of(server.call("POST", verify, counter, paid_into, key=new_key()), 400, "VALIDATION_ERROR")
    listed = server.call("GET", f"/api/{cafe.slug}/orders?before={theirs.order['id']}", counter).json()
    assert listed["orders"] == []
    assert server.footprint(server.a, server.b) == before
    drawer_now = server.call("GET", f"/api/{server.b.slug}/drawers/{drawer}", server.b.tokens["counter"]).json()
    assert drawer_now == theirs.drawer


def test_credit_is_seen_by_its_owner_and_moved_by_nobody_elsewhere(server: Server, premises: Premises) -> None:
    at_b = {"cafe": server.b.slug, "customerId": premises.anns_name}
    for name in ("credits.balance", "credits.history"):
        for token in (premises.ann, server.a.tokens["owner"]):
            problem_of(server.perform(name, at_b, token), 403, "FORBIDDEN")
        nobody = server.perform(name, {"cafe": server.a.slug}, server.a.tokens["staff"])
        assert fields_at_fault(problem_of(nobody, 400, "VALIDATION_ERROR")) == {"customerId"}
        own = server.perform(name, {"cafe": server.a.slug}, premises.ann)
        assert own.status_code == 200, own.text
    move = {"customerId": premises.anns_name, "amount": 1, "reason": "x"}
    for name in ("credits.add", "credits.deduct"):
        answer = server.perform(name, {**move, "cafe": server.b.slug}, server.a.tokens["owner"], key=new_key())
        problem_of(answer, 403, "FORBIDDEN")
        # The cafe in the body decides, not one in the query; without one nothing is done.
        path = f"{OPERATIONS[name].path}?cafe={server.a.slug}"
        for body in (move, {**move, "cafe": None}, {**move, "cafe": 1}):
            answer = server.call("POST", path, server.a.tokens["owner"], body, key=new_key())
            assert fields_at_fault(problem_of(answer, 400, "VALIDATION_ERROR")) == {"cafe"}
        elsewhere = server.perform(name, {**move, "cafe": "nowhere"}, server.admin, key=new_key())
        problem_of(elsewhere, 404, "NOT_FOUND")


# -- the same over sockets


def door_of(role: str) -> str:
    return "customers" if role == "customer" else "orders"


def said(fields: Fields) -> Fields:
    """A socket is of one cafe: there the cafe is not said."""
    return {name: value for name, value in fields.items() if name != "cafe"}


class Outsider(NamedTuple):
    """Somebody who got in at a door, and what they may not do there."""

    door: str
    cafe: Cafe | None
    token: str
    names: list[str]


OUTSIDERS: Mapping[str, Callable[[Server, Premises, Any], Outsider]] = {
    **{
        f"{role} of the cafe": lambda server, premises, foreign, role=role: Outsider(
            door_of(role), server.a, server.a.tokens[role], closed(lambda case: role not in case.roles)
        )
        for role in ROLES
    },
    **{
        f"{role} of another cafe": lambda server, premises, foreign, role=role: Outsider(
            door_of(role), server.b, server.b.tokens[role], about_something()
        )
        for role in ROLES
    },
    "the admin, at another cafe": lambda server, premises, foreign: Outsider(
        "orders", server.b, server.admin, about_something()
    ),
    "another order's customer": lambda server, premises, foreign: Outsider(
        "customers", None, premises.other_order["trackingToken"], closed()
    ),
    "a customer of another cafe's order": lambda server, premises, foreign: Outsider(
        "customers", None, foreign["trackingToken"], about_something()
    ),
    "the order's customer, by name": lambda server, premises, foreign: Outsider(
        "customers", server.a, premises.ann, closed(lambda case: not (case.own or case.account))
    ),
    "the order's customer, by its tracking token": lambda server, premises, foreign: Outsider(
        "customers", None, premises.order["trackingToken"], closed(lambda case: not case.own)
    ),
}


def closed(to_them: Callable[[Case], bool] = lambda case: True) -> list[str]:
    """Operations that are not for everybody, nor for them."""
    return [name for name, case in CASES.items() if not case.public and to_them(case)]


def about_something() -> list[str]:
    """Those whose fields name something of the cafe."""
    return [name for name in closed() if OPERATIONS[name].about is not None]


@pytest.mark.parametrize("who", OUTSIDERS)
async def test_a_socket_command_is_refused_to_whoever_may_not(
    who: str, server: Server, premises: Premises, foreign_order: Any
) -> None:
    outsider = OUTSIDERS[who](server, premises, foreign_order)
    assert outsider.names or who == "admin of the cafe", "who may do everything there"
    before = server.footprint(server.a, server.b)
    async with server.socket(outsider.door, outsider.cafe, outsider.token) as socket:
        for name in outsider.names:
            answer = await socket.perform(name, said(CASES[name].fields(premises)), key=key_for(name))
            assert (name, answer["type"], answer.get("code")) == (name, "error", "FORBIDDEN"), answer
            assert (name, await socket.silence()) == (name, [])
    assert server.footprint(server.a, server.b) == before


@pytest.mark.parametrize("who", ["its owner", "the admin"])
async def test_a_socket_of_one_cafe_does_nothing_at_another_that_its_message_names(
    who: str, server: Server, premises: Premises
) -> None:
    token = server.admin if who == "the admin" else server.b.tokens["owner"]
    before = server.footprint(server.a)
    async with server.socket("orders", server.b, token) as socket:
        for name in [name for name, operation in OPERATIONS.items() if operation.of_cafe]:
            answer = await socket.perform(name, CASES[name].fields(premises), key=key_for(name))
            assert server.a.id not in str(answer), name
            if name == "pos.batch":  # tells which of many it is about, and that it knows none such
                assert [one["refused"]["code"] for one in answer["data"]["results"]] == ["NOT_FOUND"]
            else:
                assert premises.order["id"] not in str(answer), name
            assert server.a.slug not in str(answer.get("data")), name
    assert server.footprint(server.a) == before


@pytest.mark.parametrize("name", CASES)
async def test_a_socket_command_is_carried_out_for_whoever_may(name: str, server: Server, premises: Premises) -> None:
    case, premises = CASES[name], to_work_at(name, server, premises)
    cafe = premises.cafe
    allowed = [(door_of(role), cafe, cafe.tokens[role]) for role in ROLES if role in case.roles or case.public]
    if case.own or case.account:
        allowed += [("customers", cafe, premises.ann)]
    if case.own:
        allowed += [("customers", None, premises.order["trackingToken"])]
    for door, where, token in allowed:
        async with server.socket(door, where, token) as socket:
            answer = await socket.perform(name, said(case.fields(premises)), key=key_for(name))
            if answer["type"] == "error":
                assert answer["code"] not in REFUSALS_OF_A_PERSON | {"NOT_FOUND", "VALIDATION_ERROR", "INTERNAL_ERROR"}


# -- doors


@pytest.mark.parametrize("door", DOOR_CASES)
def test_a_door_stays_closed_to_whoever_has_no_business_there(door: str, server: Server, premises: Premises) -> None:
    case, theirs = DOOR_CASES[door], server.place(server.b)["trackingToken"]
    answer = server.knock(door, server.a, None)
    problem_of(answer, 401, "AUTH_REQUIRED")
    for what, token, code in forged(server, premises):
        answer = server.knock(door, server.a, None, headers=header(token))
        assert (what, problem_of(answer, 401, code)["code"]) == (what, code)
    problem_of(server.knock(door, server.a, None, headers={"authorization": "Basic b3duZXI6"}), 401, "AUTH_REQUIRED")
    refused = [server.b.tokens[role] for role in ROLES]
    refused += [server.a.tokens[role] for role in ROLES if role not in case.roles]
    refused += [theirs]
    if not case.tracking:
        refused += [premises.order["trackingToken"]]
    for token in refused:
        problem_of(server.knock(door, server.a, token), 403, "FORBIDDEN")


@pytest.mark.parametrize("door", DOOR_CASES)
async def test_a_door_opens_to_whoever_works_there(door: str, server: Server, premises: Premises) -> None:
    case = DOOR_CASES[door]
    tokens = [(server.a, server.a.tokens[role]) for role in case.roles]
    if case.tracking:
        tokens += [(None, premises.order["trackingToken"]), (server.a, premises.order["trackingToken"])]
    for cafe, token in tokens:
        async with server.socket(door, cafe, token) as socket:
            assert socket.welcome["type"] == "welcome"
            assert socket.welcome["cafeId"] == server.a.id
        browser = ("tabletap.v1", f"bearer.{token}")
        async with server.socket(door, cafe, None, subprotocols=browser) as socket:
            assert socket.connection.subprotocol == "tabletap.v1"


def test_a_door_wants_to_know_a_cafe_that_exists(server: Server) -> None:
    staff = server.a.tokens["staff"]
    problem_of(server.knock("orders", None, staff), 400, "VALIDATION_ERROR")
    problem_of(server.knock("orders", None, staff, cafe_="nowhere"), 404, "NOT_FOUND")
    problem_of(server.knock("backdoor", server.a, staff), 404, "NOT_FOUND")
    for after in ("-1", "x", "1.5", "9" * 30, "\u0661"):
        problem_of(server.knock("orders", server.a, staff, after=after), 400, "VALIDATION_ERROR")


def test_a_page_of_another_origin_opens_no_socket(server: Server) -> None:
    staff = server.a.tokens["staff"]
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example"):
        problem_of(server.knock("orders", server.a, staff, headers={"origin": origin}), 403, "FORBIDDEN")
    assert server.knock("orders", server.a, staff, headers={"origin": server.url}).status_code == 101


async def test_a_socket_closes_when_its_token_expires_unless_a_fresh_one_of_the_same_person_came(
    server: Server,
) -> None:
    def owner(lifetime_s: int, user: str = "olga", cafe: Cafe = server.a, role: str = "owner") -> str:
        return server.token(role, cafe.id, user=user, lifetime_s=lifetime_s)

    async with (
        server.socket("orders", server.a, owner(3)) as forgetful,
        server.socket("orders", server.a, owner(3)) as careful,
    ):
        for somebody_else in (
            owner(60, user="oscar"),
            owner(60, role="manager"),
            owner(60, cafe=server.b),
            server.place(server.a)["trackingToken"],
        ):
            assert (await careful.say("auth", token=somebody_else))["code"] == "FORBIDDEN"
        assert (await careful.say("auth", token="rubbish"))["code"] == "INVALID_TOKEN"
        assert (await careful.say("auth"))["code"] == "INVALID_TOKEN"
        assert (await careful.say("auth", token=owner(60)))["type"] == "reply"
        assert await forgetful.close_code() == 4001
        assert (await careful.say("ping"))["data"] == {"pong": True}
