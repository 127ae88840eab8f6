"""Who may do and hear what, role by role and room by room; nothing of one cafe is for another (spec A1, A2)."""

from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabletap.domain import access
from tabletap.domain.access import (
    CAFE_ROOMS,
    Access,
    Principal,
    Room,
    Subject,
    credit_spender,
    may_act,
    may_hear,
    owns,
    parse_room,
)
from tabletap.domain.base import By, CafeId, OrderId, Role
from tabletap.domain.errors import Code, Refusal
from tabletap.domain.till import Scope

OWN, FOREIGN = (CafeId(UUID(f"00000000-0000-7000-8000-00000000000{n}")) for n in (1, 2))
ORDER, OTHER = (OrderId(UUID(f"00000000-0000-7000-8000-0000000000a{n}")) for n in (1, 2))
PEOPLE = [role for role in Role if role not in (Role.SYSTEM, Role.ADMIN, Role.TILL)]

PUBLIC = Access(roles=frozenset(), public=True)
OF_OWN_ORDER = Access(roles=access.STAFF, own_order=True)
OF_STAFF = Access(roles=access.STAFF)
OF_CREW = Access(roles=access.CREW)
OF_MANAGEMENT = Access(roles=access.MANAGEMENT)
OF_INSTALLATION = Access(roles=access.INSTALLATION)


def person(role: str, cafe: CafeId = OWN) -> Principal:
    """A token as people have it: the admin's is for every cafe."""
    return Principal(role=Role(role), user=f"{role}-1", cafes=None if role == "admin" else frozenset({cafe}))


TRACKING = Principal(role=Role.CUSTOMER, order_id=ORDER)

ALLOWED = {
    "customer": {"public", "own order"},
    "staff": {"public", "own order", "staff", "crew"},
    "kitchen": {"public", "crew"},
    "counter": {"public", "own order", "staff", "crew"},
    "manager": {"public", "own order", "staff", "crew", "management"},
    "owner": {"public", "own order", "staff", "crew", "management"},
    "admin": {"public", "own order", "staff", "crew", "management", "installation"},
    "till": {"public"},
}
OPERATIONS = {
    "public": PUBLIC,
    "own order": OF_OWN_ORDER,
    "staff": OF_STAFF,
    "crew": OF_CREW,
    "management": OF_MANAGEMENT,
    "installation": OF_INSTALLATION,
}


@pytest.mark.parametrize(("role", "operation"), [*product(ALLOWED, OPERATIONS)])
def test_a_role_may_do_at_its_own_cafe_what_it_is_there_for(role: str, operation: str) -> None:
    refused = may_act(person(role), OPERATIONS[operation], OWN)
    if operation in ALLOWED[role]:
        assert refused is None
    else:
        assert refused is not None
        assert refused.code is Code.FORBIDDEN
        assert role in refused.message


@pytest.mark.parametrize(("role", "operation"), [*product(PEOPLE, OPERATIONS)])
def test_nobody_may_do_anything_at_a_foreign_cafe(role: str, operation: str) -> None:
    refused = may_act(person(role, FOREIGN), OPERATIONS[operation], OWN)
    assert refused is not None
    assert refused.code is Code.FORBIDDEN


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_token_only_what_is_open_to_all_can_be_done(operation: str) -> None:
    refused = may_act(None, OPERATIONS[operation], OWN)
    assert (refused is None) == (operation == "public")
    assert refused is None or refused.code is Code.AUTH_REQUIRED


@pytest.mark.parametrize(("operation", "cafe"), [*product(OPERATIONS, (OWN, FOREIGN, None))])
def test_a_tracking_token_speaks_for_its_order_and_nothing_else(operation: str, cafe: CafeId | None) -> None:
    refused = may_act(TRACKING, OPERATIONS[operation], cafe)
    assert (refused is None) == (operation in ("public", "own order"))
    assert refused is None or refused.code is Code.FORBIDDEN


def test_a_tracking_token_does_not_gain_by_a_role_or_cafes_beside_it() -> None:
    forged = Principal(role=Role.OWNER, cafes=None, order_id=ORDER)
    assert may_act(forged, OF_STAFF, OWN) is not None
    assert not may_hear(forged, Room("cafe", str(OWN), "staff"), None)
    assert not may_hear(forged, Room("order", str(OTHER)), Subject(OWN, OTHER))


def test_operations_of_no_cafe_ask_for_the_role_alone() -> None:
    assert may_act(person("admin"), OF_INSTALLATION, None) is None
    assert may_act(person("owner"), OF_INSTALLATION, None) is not None


def test_an_order_is_owned_by_its_token_or_by_the_account_that_placed_it() -> None:
    customer = person("customer")
    assert owns(TRACKING, ORDER, None)
    assert not owns(TRACKING, OTHER, None)
    assert owns(customer, ORDER, "customer-1")
    assert not owns(customer, ORDER, "customer-2")
    assert not owns(customer, ORDER, None)
    assert not owns(Principal(role=Role.CUSTOMER), ORDER, None)
    assert not owns(person("staff"), ORDER, "staff-1")


def test_the_audit_trail_keeps_who_it_was() -> None:
    assert Principal(role=Role.STAFF, user="sam", device="till").by == By(Role.STAFF, "sam", "till")


# -- whose credit


@pytest.mark.parametrize("named", [None, "customer-1"])
def test_a_customer_spends_their_own_credit(named: str | None) -> None:
    assert credit_spender(person("customer"), named) == "customer-1"


@pytest.mark.parametrize("named", [None, "customer-1"])
@pytest.mark.parametrize("principal", [TRACKING, access.ANYBODY, person("kitchen")], ids=lambda one: str(one.role))
def test_who_is_neither_its_owner_nor_staff_spends_nobody_s_credit(principal: Principal, named: str | None) -> None:
    refused = credit_spender(principal, named)
    assert isinstance(refused, Refusal)
    assert refused.code is Code.FORBIDDEN


def test_nobody_spends_another_customer_s_credit() -> None:
    refused = credit_spender(person("customer"), "customer-2")
    assert isinstance(refused, Refusal)
    assert refused.code is Code.FORBIDDEN


@pytest.mark.parametrize("role", sorted(access.STAFF))
def test_staff_spend_the_credit_of_whom_they_name(role: str) -> None:
    assert credit_spender(person(role), "ada") == "ada"
    unnamed = credit_spender(person(role), None)
    assert isinstance(unnamed, Refusal)
    assert [error.field for error in unnamed.errors] == ["customerId"]


# -- rooms

ROOMS = [*CAFE_ROOMS, "station:bar", *(f"role:{role}" for role in Role)]
EVERYWHERE = {"", "staff", "customers", "presence"}
HEARS = {
    "customer": {"customers", "role:customer"},
    "staff": EVERYWHERE | {"kitchen", "station:bar", "role:staff", "payments"},
    "kitchen": EVERYWHERE | {"kitchen", "station:bar", "role:kitchen"},
    "counter": EVERYWHERE | {"role:counter", "payments"},
    "manager": set(ROOMS) - {"pos"},
    "owner": set(ROOMS) - {"pos"},
    "admin": set(ROOMS) - {"pos"},
    "till": {"pos"},
}


def cafe_room(part: str, cafe: CafeId = OWN) -> Room:
    room = parse_room(f"cafe:{cafe}:{part}" if part else f"cafe:{cafe}")
    assert room is not None
    return room


@pytest.mark.parametrize(("role", "part"), [*product(HEARS, ROOMS)])
def test_a_role_hears_the_rooms_of_its_cafe_that_are_for_it(role: str, part: str) -> None:
    assert may_hear(person(role), cafe_room(part), None) == (part in HEARS[role])


@pytest.mark.parametrize(("role", "part"), [*product(PEOPLE, ROOMS)])
def test_nobody_hears_a_foreign_cafe(role: str, part: str) -> None:
    assert not may_hear(person(role, FOREIGN), cafe_room(part), None)


@pytest.mark.parametrize("part", ROOMS)
def test_a_tracking_token_hears_no_room_of_a_cafe(part: str) -> None:
    assert not may_hear(TRACKING, cafe_room(part), None)


@pytest.mark.parametrize(("role", "kind"), [*product(PEOPLE, ("order", "payment", "flow"))])
def test_the_crew_hears_orders_payments_and_flows_of_its_own_cafe_and_customers_their_own(role: str, kind: str) -> None:
    room, subject = Room(kind, str(ORDER)), Subject(OWN, ORDER, "customer-9")
    assert may_hear(person(role), room, subject) == (role != "customer")
    assert not may_hear(person(role, FOREIGN), room, subject)
    assert not may_hear(person(role), room, None)
    own = Subject(OWN, ORDER, f"{role}-1")
    assert may_hear(person(role), room, own)
    assert may_hear(person(role, FOREIGN), room, own) == (role == "customer")


@pytest.mark.parametrize("kind", ["order", "payment", "flow"])
def test_a_tracking_token_hears_its_order_and_its_payments(kind: str) -> None:
    assert may_hear(TRACKING, Room(kind, str(ORDER)), Subject(OWN, ORDER))
    assert not may_hear(TRACKING, Room(kind, str(OTHER)), Subject(OWN, OTHER))
    assert not may_hear(TRACKING, Room(kind, str(ORDER)), None)


def test_a_user_s_room_is_for_that_user_alone() -> None:
    assert may_hear(person("staff"), Room("user", "staff-1"), None)
    assert not may_hear(person("admin"), Room("user", "staff-1"), None)
    assert not may_hear(access.ANYBODY, Room("user", "staff-1"), None)
    assert not may_hear(TRACKING, Room("user", ""), None)


@pytest.mark.parametrize(
    "name",
    [
        f"cafe:{OWN}",
        *(f"cafe:{OWN}:{part}" for part in ROOMS if part),
        f"order:{ORDER}",
        f"payment:{ORDER}",
        f"flow:{ORDER}",
        "user:sam",
    ],
)
def test_a_room_s_name_is_taken_apart_and_says_the_same_together(name: str) -> None:
    room = parse_room(name)
    assert room is not None
    assert ":".join(filter(None, (room.kind, room.id, room.part))) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ":",
        "cafe",
        "cafe:",
        "cafe:x",
        f"cafe:{OWN}:rubbish",
        f"cafe:{OWN}:staff:x",
        f"cafe:{OWN}:role:",
        f"cafe:{OWN}:role:rubbish",
        f"cafe:{OWN}:role:staff:x",
        f"cafe:{OWN}:role",
        f"cafe:{OWN}:station:",
        f"cafe:{OWN}:station:No Such",
        f"cafe:{OWN}:station:bar\n",
        f"cafe:{{{OWN}}}",
        f"cafe:{OWN.hex}",
        f"cafe: {OWN}",
        f"order:{str(ORDER).upper()}",
        f"order:urn:uuid:{ORDER}",
        f"order:{ORDER}:staff",
        f"payment:{ORDER}:x",
        "order:1",
        "user:",
        "user:sam:x",
        f"table:{OWN}",
        f"Cafe:{OWN}",
    ],
)
def test_rubbish_is_no_room(name: str) -> None:
    assert parse_room(name) is None


@given(st.text())
def test_no_text_breaks_the_reading_of_a_room(name: str) -> None:
    for text in (name, f"cafe:{name}", f"cafe:{OWN}:{name}", f"order:{name}"):
        room = parse_room(text)
        assert room is None or may_hear(person("admin"), room, None) in (True, False)


# -- tills


@pytest.mark.parametrize("needed", Scope)
@pytest.mark.parametrize("scopes", [(), (Scope.READ,), (Scope.WRITE,), tuple(Scope)])
def test_a_till_may_what_its_key_is_good_for_at_its_own_cafe(needed: Scope, scopes: tuple[Scope, ...]) -> None:
    till = Principal(role=Role.TILL, user="till:1", cafes=frozenset({OWN}), scopes=frozenset(scopes))
    operation = Access(access.MANAGEMENT, till=needed)
    assert (may_act(till, operation, OWN) is None) == (needed in scopes)
    assert may_act(till, operation, FOREIGN) is not None
    assert may_act(till, Access(frozenset({Role.TILL})), OWN) is not None, "only a scope lets a till do anything"


def test_a_till_hears_nothing_but_its_room_whatever_it_is_called() -> None:
    till = Principal(role=Role.TILL, user="ann", cafes=frozenset({OWN}), scopes=frozenset(Scope))
    subject = Subject(OWN, ORDER, "ann")
    for name in (f"order:{ORDER}", f"payment:{ORDER}", f"flow:{ORDER}", "user:ann"):
        room = parse_room(name)
        assert room is not None
        assert not may_hear(till, room, subject)
