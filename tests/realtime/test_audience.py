"""The table of who hears what."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tabletap.domain import events as e
from tabletap.domain.base import Event, Kind, OrderId, PaymentId, Ref
from tabletap.domain.holding import Holding
from tabletap.domain.menu import Menu
from tabletap.domain.settings import CafeSettings
from tabletap.domain.vocabulary import AccountKind, Cause, Channel, ItemStatus, Method, OrderStatus, RefundTo
from tabletap.realtime.audience import SILENT, audience
from tabletap.realtime.catalogue import CATALOGUE, Hears
from tabletap.realtime.frames import encode
from tabletap.realtime.tickets import Ticket, Tickets

from .cafe_log import CAFE, NOON, Writer, casts_of, ident, line, logged, placed, recorded

ORDER = OrderId(ident(1))
PAYMENT = PaymentId(ident(77))
ANN = e.Customer(name="Ann", phone="0400 000 000", id="ann")
S = OrderStatus

PLACED = placed(1, customer=ANN)
UNRELEASED = placed(1, customer=ANN, released=False, prepay=True)
RELEASED = e.OrderReleased(order_id=ORDER, placed=UNRELEASED, lines=UNRELEASED.lines, paid=True)


def status(to: OrderStatus, was: OrderStatus = S.PENDING) -> e.OrderStatusChanged:
    return e.OrderStatusChanged(order_id=ORDER, number=1, was=was, to=to)


def cancelled(was: OrderStatus = S.PENDING) -> e.OrderCancelled:
    return e.OrderCancelled(order_id=ORDER, number=1, was=was, reversal=e.Reversal())


INITIATED = e.PaymentInitiated(
    payment_id=PAYMENT,
    order_id=ORDER,
    cafe_id=CAFE,
    order_number=1,
    method=Method.CASH,
    amount=1000,
    tip=0,
    rounding=0,
    total=1000,
    currency="AUD",
    reference="TT1",
    initiated_at=NOON,
    expires_at=NOON + timedelta(minutes=30),
    customer_id="ann",
    metadata={"secret": "staff"},
)

CREDITED = e.AccountCredited(
    account_id=ident(70),
    entry_id=ident(71),
    kind=AccountKind.CREDIT,
    amount=500,
    balance=700,
    granted=True,
    reason="waited too long",
    owner="ann",
)
DEBITED = e.AccountDebited(
    account_id=ident(70),
    entry_id=PAYMENT,
    kind=AccountKind.CREDIT,
    amount=300,
    balance=400,
    payment_id=PAYMENT,
    owner="ann",
)

CARD_SOLD = e.AccountCredited(
    account_id=ident(72),
    entry_id=ident(73),
    kind=AccountKind.GIFT_CARD,
    amount=5000,
    balance=5000,
    label="RC3R",
    cause=Cause.SOLD,
    reference=str(ORDER),
)
EARNED = e.AccountCredited(
    account_id=ident(74),
    entry_id=ident(75),
    kind=AccountKind.LOYALTY,
    amount=9,
    balance=12,
    label="+61412345678",
    cause=Cause.EARNED,
    reference=str(ORDER),
)
REDEEMED = e.AccountDebited(
    account_id=ident(74),
    entry_id=ident(76),
    kind=AccountKind.LOYALTY,
    amount=12,
    balance=0,
    label="+61412345678",
    cause=Cause.USED,
)
POINTS = Holding(Ref(Kind.ACCOUNT, ident(74), CAFE), AccountKind.LOYALTY, "PTS", label="+61412345678")

SAMPLES: tuple[Event, ...] = (
    e.CafeConfigured(CafeSettings(name="C")),
    e.MenuPublished(Menu("AUD", (), {}, (), (), ())),
    e.ItemAvailabilityChanged("latte", available=False),
    e.QueueMoved(load=5, active=1, places=(e.Place(ORDER, 1, NOON),)),
    PLACED,
    e.OrderAccepted(ORDER),
    RELEASED,
    msgspec.structs.replace(RELEASED, paid=False),
    e.OrderChanged(order_id=ORDER, added=(line(3, added=True),)),
    e.ItemsMoved(order_id=ORDER, lines=(1,), to=ItemStatus.STARTED),
    e.ItemVoided(order_id=ORDER, line=1, reversal=e.Reversal(), reason="dropped"),
    e.VoidAcknowledged(ORDER, 1),
    status(S.PAID),
    status(S.PREPARING),
    status(S.READY),
    status(S.COMPLETED, S.READY),
    cancelled(),
    e.MergeUndone(order_id=ORDER, number=1, lines=(line(1),)),
    e.OrderTableMoved(ORDER, "9"),
    e.PaymentSettled(order_id=ORDER, payment_id=PAYMENT, amount=1000, paid=1000, owed=0),
    e.RefundNoted(order_id=ORDER, payment_id=PAYMENT, refund_id=ident(9), amount=200, paid=800, refunded=200),
    INITIATED,
    e.PaymentCompleted(
        payment_id=PAYMENT, order_id=ORDER, method=Method.CASH, received=1000, amount=1000, tip=0, change=500
    ),
    e.PaymentClosed(payment_id=PAYMENT, order_id=ORDER, status="expired", reason="not paid in time"),
    e.PaymentUnapplied(payment_id=PAYMENT, order_id=ORDER, amount=5),
    e.PaymentProcessing(payment_id=PAYMENT, order_id=ORDER, external_id="pay_1", redirect_url="https://pay"),
    e.MoreReceived(
        payment_id=PAYMENT, order_id=ORDER, method=Method.QR_CODE_BANK_TRANSFER, amount=5, statement_line="7"
    ),
    e.PaymentDisputed(payment_id=PAYMENT, order_id=ORDER, method=Method.PAYCONIC_CARD, dispute_id="d", amount=5),
    e.DisputeWon(payment_id=PAYMENT, order_id=ORDER, method=Method.PAYCONIC_CARD, dispute_id="d", amount=5),
    e.RefundRequested(
        payment_id=PAYMENT,
        order_id=ORDER,
        refund_id=ident(9),
        method=Method.CASH,
        to=RefundTo.ORIGINAL,
        amount=5,
        from_surplus=0,
        from_sale=5,
        from_tip=0,
        from_rounding=0,
        requested_at=NOON,
        reason="cold",
    ),
    e.RefundCompleted(
        payment_id=PAYMENT,
        order_id=ORDER,
        refund_id=ident(9),
        method=Method.CASH,
        to=RefundTo.ORIGINAL,
        amount=5,
        refunded=5,
        full=False,
        reason="cold",
    ),
    e.RefundFailed(
        payment_id=PAYMENT,
        order_id=ORDER,
        refund_id=ident(9),
        amount=5,
        from_surplus=0,
        from_sale=5,
        from_tip=0,
        from_rounding=0,
        reason="the card is closed",
    ),
    e.OrderDiscounted(
        order_id=ORDER, discount_id=ident(76), amount=120, tax={"gst": 11}, points=12, holding=POINTS, owed=880
    ),
    e.DiscountReturned(order_id=ORDER, discount_id=ident(76), amount=120, tax={"gst": 11}),
    CREDITED,
    DEBITED,
    CARD_SOLD,
    EARNED,
    REDEEMED,
)

CREW_ROOM = f"cafe:{CAFE}:staff"
KITCHEN = f"cafe:{CAFE}:kitchen"
POS = f"cafe:{CAFE}:pos"
CUSTOMERS = f"cafe:{CAFE}:customers"
BAR, GRILL = f"cafe:{CAFE}:station:bar", f"cafe:{CAFE}:station:grill"


def kind_of(room: str) -> Hears | None:
    """The pattern of a room's name; None for a role's, which repeats another room."""
    if ":role:" in room:
        return None
    if ":station:" in room:
        return Hears.STATION
    kind, _, rest = room.partition(":")
    part = rest.partition(":")[2]
    return Hears(f"{kind}:{{id}}:{part}" if part else f"{kind}:{{id}}")


def types(*events: Event) -> dict[str, str]:
    return {room: cast.type for room, cast in casts_of(*events).items()}


def data(room: str, *events: Event) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(encode(casts_of(*events)[room].data))
    return decoded


def test_every_event_there_is_either_has_an_audience_or_is_silent_on_purpose() -> None:
    heard = {type(event) for event in SAMPLES}
    assert heard | SILENT == set(e.TYPES.values())
    assert not heard & SILENT
    for event in SAMPLES:
        assert casts_of(PLACED, event), event


def test_the_catalogue_says_exactly_what_the_table_does() -> None:
    seen: dict[str, tuple[set[type], set[Hears]]] = {}
    for event in SAMPLES:
        for room, cast in casts_of(PLACED, event).items():
            payloads, rooms = seen.setdefault(cast.type, (set(), set()))
            payloads.add(type(cast.data))
            if (kind := kind_of(room)) is not None:
                rooms.add(kind)
    assert {type_: (payloads, frozenset(rooms)) for type_, (payloads, rooms) in seen.items()} == {
        type_: (set(wire.payloads), wire.rooms) for type_, wire in CATALOGUE.items()
    }


@pytest.mark.parametrize("seed", range(10))
def test_no_event_says_two_things_to_a_room(seed: int) -> None:
    tickets = Tickets(10_000)
    for record in Writer(seed).write(300):
        tickets.note(record)
        rooms = [cast.room for cast in audience(record, tickets.of(record.event))]
        assert len(set(rooms)) == len(rooms), record.event


@pytest.mark.parametrize("seed", range(5))
def test_no_phone_number_and_no_metadata_leaves_the_house(seed: int) -> None:
    tickets = Tickets(10_000)
    for record in (*Writer(seed).write(300), recorded(INITIATED, 301)):
        tickets.note(record)
        for cast in audience(record, tickets.of(record.event)):
            assert b"0400" not in encode(cast.data)
            assert b"secret" not in encode(cast.data)


@pytest.mark.parametrize("event", SAMPLES)
def test_everybodys_room_is_told_of_items_and_of_ready_numbers_and_nothing_else(event: Event) -> None:
    cast = casts_of(PLACED, event).get(CUSTOMERS)
    if cast is None:
        return
    assert cast.type in {"menu_updated", "order_ready"}
    if cast.type == "order_ready":
        assert encode(cast.data) == b'{"number":1}'


def test_an_order_the_kitchen_has_from_the_start_is_created_everywhere() -> None:
    assert set(types(PLACED)) >= {f"order:{ORDER}", "user:ann", f"cafe:{CAFE}", CREW_ROOM, KITCHEN, BAR, GRILL}
    assert types(PLACED).pop(POS) == "new_order"
    assert {type_ for room, type_ in types(PLACED).items() if room != POS} == {"order_created"}
    assert data(KITCHEN, PLACED)["order"]["items"][0]["station"] == "bar"


def test_the_kitchen_hears_nothing_of_an_order_until_it_is_released() -> None:
    for event in (UNRELEASED, *SAMPLES):
        if isinstance(event, e.OrderReleased | e.QueueMoved | e.OrderPlaced) and event is not UNRELEASED:
            continue
        if e.order_of(event) is not None:
            rooms = types(UNRELEASED, event) if event is not UNRELEASED else types(UNRELEASED)
            assert not {KITCHEN, BAR, GRILL, f"cafe:{CAFE}:role:kitchen"} & set(rooms), event


def test_a_release_brings_the_kitchen_the_whole_order_in_the_state_it_has() -> None:
    heard = types(UNRELEASED, RELEASED)
    assert (heard[KITCHEN], heard[BAR], heard[f"order:{ORDER}"], heard[CREW_ROOM]) == (
        "new_paid_order",
        "new_paid_order",
        "order_status_updated",
        "order_updated",
    )
    order = data(KITCHEN, UNRELEASED, RELEASED)["order"]
    assert (order["status"], order["paid"], order["owed"], order["inKitchen"]) == ("paid", 1000, 0, True)
    unpaid = msgspec.structs.replace(RELEASED, paid=False)
    assert types(UNRELEASED, unpaid)[KITCHEN] == "new_order"
    assert data(KITCHEN, UNRELEASED, unpaid)["order"]["owed"] == 1000


def test_the_kitchen_is_told_that_an_order_it_has_is_paid_or_cancelled_but_not_that_somebody_tries_to_pay() -> None:
    assert types(PLACED, status(S.PAID, S.PAYMENT_PENDING))[KITCHEN] == "order_status_updated"
    assert types(PLACED, cancelled())[KITCHEN] == "order_status_updated"
    assert KITCHEN not in types(PLACED, status(S.PAYMENT_PENDING))
    assert KITCHEN not in types(PLACED, status(S.PENDING, S.PAYMENT_PENDING))
    assert types(PLACED, status(S.PENDING, S.PAID))[KITCHEN] == "order_status_updated"


def test_ready_has_its_own_word_for_customer_kitchen_and_screen() -> None:
    heard = types(PLACED, status(S.READY, S.PREPARING))
    assert heard[f"order:{ORDER}"] == heard["user:ann"] == heard[CUSTOMERS] == "order_ready"
    assert heard[KITCHEN] == heard[CREW_ROOM] == "kitchen_order_ready"
    assert heard[f"cafe:{CAFE}"] == "order_state_changed"
    assert types(PLACED, status(S.PREPARING))[CREW_ROOM] == "order_in_preparation"


def test_a_station_is_told_of_its_own_lines_only() -> None:
    both = e.ItemsMoved(order_id=ORDER, lines=(1, 2), to=ItemStatus.STARTED)
    assert data(BAR, PLACED, both)["items"] == [{"line": 1, "status": "started"}]
    assert data(GRILL, PLACED, both)["items"] == [{"line": 2, "status": "started"}]
    assert data(KITCHEN, PLACED, both)["items"] == [
        {"line": 1, "status": "started"},
        {"line": 2, "status": "started"},
    ]
    assert GRILL not in types(PLACED, e.ItemVoided(order_id=ORDER, line=1, reversal=e.Reversal()))


def test_why_a_line_was_voided_is_for_the_crew() -> None:
    voided = e.ItemVoided(order_id=ORDER, line=1, reversal=e.Reversal(), reason="complained")
    assert data(CREW_ROOM, PLACED, voided)["reason"] == "complained"
    assert data(f"order:{ORDER}", PLACED, voided) == {
        "orderId": str(ORDER),
        "items": [{"line": 1, "status": "voided"}],
        "voided": 1,
    }


def test_credit_is_news_for_its_owner_and_the_crew_and_why_it_was_given_for_the_crew() -> None:
    told = {"accountId": str(ident(70)), "entryId": str(ident(71)), "amount": 500, "balance": 700}
    told |= {"customerId": "ann", "granted": True}
    assert data("user:ann", CREDITED) == told
    assert data(CREW_ROOM, CREDITED) == told | {"reason": "waited too long"}
    assert data("user:ann", DEBITED)["amount"] == -300
    assert not {KITCHEN, CUSTOMERS} & set(types(CREDITED))
    nobodys = msgspec.structs.replace(CREDITED, owner=None)
    assert not any(room.startswith("user:") for room in types(nobodys))
    assert types(msgspec.structs.replace(CREDITED, kind=AccountKind.GIFT_CARD)) == {}


def test_orders_of_one_account_share_one_frame_when_the_queue_moves() -> None:
    other = placed(2, customer=ANN)
    moved = e.QueueMoved(load=40, active=2, places=(e.Place(ORDER, 1, NOON), e.Place(other.order_id, 2, NOON)))
    assert [place["position"] for place in data("user:ann", PLACED, other, moved)["places"]] == [1, 2]
    assert data(f"order:{ORDER}", PLACED, other, moved) == {
        "orderId": str(ORDER),
        "position": 1,
        "estimatedReadyAt": "2026-03-02T12:00:00Z",
        "load": 40,
    }
    assert data(KITCHEN, PLACED, other, moved)["active"] == 2


def test_roles_hear_what_the_room_of_those_people_hears() -> None:
    for event in SAMPLES:
        casts = casts_of(PLACED, event)
        for role, room in (("manager", CREW_ROOM), ("kitchen", KITCHEN), ("customer", CUSTOMERS)):
            twin = casts.get(f"cafe:{CAFE}:role:{role}")
            own = casts.get(room)
            assert (twin is None) == (own is None)
            assert twin is None or own is None or (twin.type, twin.data) == (own.type, own.data)


def test_a_ticket_says_the_same_of_an_event_however_much_later_it_was_written() -> None:
    added = e.OrderChanged(order_id=ORDER, added=(line(3, "oven", added=True),))
    events = logged(UNRELEASED, status(S.PAID), RELEASED, status(S.PREPARING, S.PAID), added, status(S.READY))
    late, live = Tickets(10), Tickets(10)
    for record in reversed(events):
        late.note(record)
    for record in events:
        live.note(record)
        said_live, said_late = audience(record, live.of(record.event)), audience(record, late.of(record.event))
        assert {cast.room: cast for cast in said_live} == {cast.room: cast for cast in said_late}


def test_without_a_ticket_the_kitchen_is_told_rather_than_kept_in_the_dark() -> None:
    rooms = {cast.room for cast in audience(recorded(cancelled()), {})}
    assert KITCHEN in rooms
    assert KITCHEN not in {cast.room for cast in audience(recorded(cancelled()), {ORDER: Ticket(whole=True)})}


def test_a_card_that_was_sold_is_told_to_the_crew_without_its_code() -> None:
    assert types(CARD_SOLD).keys() >= {CREW_ROOM, f"cafe:{CAFE}", POS}
    assert set(types(CARD_SOLD).values()) == {"gift_card_purchased"}
    told = data(CREW_ROOM, CARD_SOLD)
    assert (told["card"], told["balance"], told["order"]) == ("****-****-****-RC3R", 5000, str(ORDER))
    used = e.AccountDebited(
        account_id=ident(72),
        entry_id=ident(77),
        kind=AccountKind.GIFT_CARD,
        amount=1,
        balance=4999,
        label="RC3R",
        cause=Cause.USED,
    )
    issued = msgspec.structs.replace(CARD_SOLD, cause=None, granted=True)
    assert types(used) == types(issued) == {}


def test_points_are_told_to_the_crew_and_the_tills_and_to_nobody_else() -> None:
    for event, points, change in ((EARNED, 12, 9), (REDEEMED, 0, -12)):
        rooms = types(event)
        assert set(rooms.values()) == {"loyalty_updated"}
        assert not {KITCHEN, BAR, CUSTOMERS, f"order:{ORDER}", "user:ann"} & set(rooms)
        told = data(CREW_ROOM, event)
        assert (told["phone"], told["points"], told["change"]) == ("+61412345678", points, change)
        assert data(POS, event) == told


def test_a_till_is_told_the_whole_order_as_it_stands_after_each_change() -> None:
    started = e.ItemsMoved(order_id=ORDER, lines=(1,), to=ItemStatus.STARTED)
    assert types(PLACED, started)[POS] == "order_updated"
    order = data(POS, PLACED, started, e.OrderTableMoved(ORDER, "9"))["order"]
    assert (order["table"], [item["status"] for item in order["items"]]) == ("9", ["started", "queued"])
    assert order["id"] == data(POS, PLACED)["order"]["id"] == str(ORDER)


def test_a_till_hears_nothing_of_an_order_of_the_counter_nor_of_what_is_no_news_of_an_order() -> None:
    at_the_counter = placed(1, customer=ANN, channel=Channel.COUNTER)
    for event in SAMPLES:
        if not isinstance(event, e.OrderPlaced | e.AccountCredited | e.AccountDebited):
            heard = types(at_the_counter, event)
            assert POS not in heard, event
    for event in (INITIATED, CREDITED, e.MenuPublished(Menu("AUD", (), {}, (), (), ()))):
        assert POS not in types(PLACED, event)


def test_a_till_is_told_that_an_order_has_changed_even_where_nobody_knows_how_it_stands() -> None:
    casts = {cast.room: cast for cast in audience(recorded(e.OrderTableMoved(ORDER, "9"), 1), {})}
    assert encode(casts[POS].data) == encode({"orderId": ORDER})
